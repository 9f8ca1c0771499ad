//! Lists of resources: parses the request for a page, parses pages, and merges those of several projects.

use http::Method;
use serde_json::value::RawValue;

use crate::gemini::resources::name::{ResourceKind, ResourceName};
use crate::gemini::target::{Surface, Target};
use crate::gemini::url::query_parameter;
use crate::pool::keys::upstream_key::ProjectId;

/// Maximum size of a page that is read; a page of 1000 names has some hundred kilobytes.
pub const MAX_PAGE_BYTES: usize = 16 * 1024 * 1024;

/// A list that a client requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceListing {
    pub kind: ResourceKind,
    format: ListFormat,
}

/// The format of a list: Google's has page tokens, `OpenAI`'s continues after an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ListFormat {
    Native,
    OpenAi,
}

/// The position at which a list continues: in Google's format a project and Google's page token, empty for the first
/// page; in `OpenAI`'s format the id of the previous item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListCursor {
    PageToken {
        project_id: ProjectId,
        token: String,
    },
    AfterId {
        name: ResourceName,
        id: String,
    },
}

/// One page of one project.
#[derive(Debug)]
pub struct ListPage<'a> {
    /// The field that contains the items.
    field: String,
    pub items: Vec<ListItem<'a>>,
    /// Google's token for the next page, or in `OpenAI`'s format the last id if more items follow.
    pub next: Option<String>,
}

/// One item of a list, in its original text.
#[derive(Debug)]
pub struct ListItem<'a> {
    pub name: Option<ResourceName>,
    id: String,
    raw: &'a str,
}

/// The client's page token is not one of the pool's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidCursor;

impl ResourceListing {
    /// The list that a request asks for, if its items have owners. Lists inside a resource, such as the documents of a
    /// store, belong to a single project.
    pub fn of(method: &Method, target: &Target) -> Option<Self> {
        if method != Method::GET || ResourceName::of_path(&target.path_and_query).is_some() {
            return None;
        }
        let (collections, verb) = target.operation.as_deref()?.rsplit_once('.')?;
        let collection = collections.rsplit('.').next()?;
        let kind = ResourceKind::of_collection(collection).filter(|_| verb == "list")?;
        let format = match target.surface {
            Surface::OpenAi => ListFormat::OpenAi,
            Surface::Native | Surface::Interactions => ListFormat::Native,
        };
        Some(Self { kind, format })
    }

    /// The position at which the client continues the list; `None`: the first page.
    pub fn cursor(self, path_and_query: &str) -> Result<Option<ListCursor>, InvalidCursor> {
        let query = path_and_query
            .split_once('?')
            .map_or("", |(_, query)| query);
        let position =
            query_parameter(query, self.cursor_parameter()).filter(|text| !text.is_empty());
        let Some(text) = position else {
            return Ok(None);
        };
        let cursor = match self.format {
            ListFormat::OpenAi => {
                let name = ResourceName::of_id(self.kind, &text);
                name.map(|name| ListCursor::AfterId { name, id: text })
            }
            ListFormat::Native => text.strip_prefix("pool-").and_then(|rest| {
                let (project, token) = rest.split_once('-')?;
                Some(ListCursor::PageToken {
                    project_id: ProjectId(project.parse().ok()?),
                    token: token.to_owned(),
                })
            }),
        };
        cursor.map(Some).ok_or(InvalidCursor)
    }

    /// The path and query for a project's page: the client's, with the position replaced.
    pub fn page_path(self, path_and_query: &str, from: Option<&str>) -> String {
        let (path, query) = path_and_query
            .split_once('?')
            .unwrap_or((path_and_query, ""));
        let is_cursor = |pair: &&str| pair.split('=').next() == Some(self.cursor_parameter());
        let mut pairs: Vec<String> = query
            .split('&')
            .filter(|pair| !pair.is_empty() && !is_cursor(pair))
            .map(ToOwned::to_owned)
            .collect();
        if let Some(from) = from.filter(|from| !from.is_empty()) {
            let mut pair = form_urlencoded::Serializer::new(String::new());
            pairs.push(pair.append_pair(self.cursor_parameter(), from).finish());
        }
        if pairs.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{}", pairs.join("&"))
        }
    }

    fn cursor_parameter(self) -> &'static str {
        match self.format {
            ListFormat::Native => "pageToken",
            ListFormat::OpenAi => "after",
        }
    }

    /// Parses a page; `None`: the body is not one.
    pub fn parse_page(self, body: &[u8]) -> Option<ListPage<'_>> {
        let fields: Vec<(String, &RawValue)> = fields_of(body)?;
        let (mut field, mut raws, mut next, mut has_more) = (None, Vec::new(), None, false);
        for (name, value) in fields {
            let raw = value.get();
            match name.as_str() {
                "nextPageToken" => next = serde_json::from_str(raw).ok(),
                "has_more" => has_more = raw == "true",
                _ if raw.starts_with('[') && field.is_none() => {
                    raws = serde_json::from_str::<Vec<&RawValue>>(raw).ok()?;
                    field = Some(name);
                }
                _ => {}
            }
        }
        let items = raws.into_iter().map(|raw| self.item(raw.get()));
        let items: Vec<_> = items.collect();
        if self.format == ListFormat::OpenAi {
            let last = items.last().map(|item| item.id.clone());
            next = last.filter(|_| has_more);
        }
        Some(ListPage {
            field: field.unwrap_or_else(|| self.empty_page().field),
            items,
            next: next.filter(|next: &String| !next.is_empty()),
        })
    }

    fn item(self, raw: &str) -> ListItem<'_> {
        let value: serde_json::Value = serde_json::from_str(raw).unwrap_or_default();
        let text = |key: &str| value[key].as_str().map(ToOwned::to_owned);
        let by_id = self.format == ListFormat::OpenAi || self.kind.is_named_by_id();
        let id = if by_id { text("id") } else { text("name") }.unwrap_or_default();
        let name = if by_id {
            ResourceName::of_id(self.kind, &id)
        } else {
            ResourceName::of_text(&id)
        };
        ListItem { name, id, raw }
    }

    /// A page for the client; `next`: the project and position at which the list continues; `missing`: the projects whose
    /// resources it lacks. Their field has the name that Google's own lists give it (<https://google.aip.dev/217>).
    pub fn write_page(
        self,
        page: &ListPage<'_>,
        next: Option<(ProjectId, &str)>,
        missing: &[ProjectId],
    ) -> String {
        let missing: Vec<_> = missing
            .iter()
            .map(|id| format!("gemini-pool/projects/{}", id.0))
            .collect();
        let missing = (!missing.is_empty()).then(|| {
            let names = serde_json::to_string(&missing).expect("strings serialize to JSON");
            format!("\"unreachable\": {names}")
        });
        let raws: Vec<_> = page.items.iter().map(|item| item.raw).collect();
        let items = raws.join(",\n    ");
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let field = text(&page.field);
        match self.format {
            ListFormat::Native => {
                let items = (!raws.is_empty()).then(|| format!("  {field}: [\n    {items}\n  ]"));
                let token = next.map(|(project, token)| format!("pool-{}-{token}", project.0));
                let token = token.map(|token| format!("  \"nextPageToken\": {}", text(&token)));
                let missing = missing.map(|missing| format!("  {missing}"));
                let fields: Vec<_> = items.into_iter().chain(token).chain(missing).collect();
                if fields.is_empty() {
                    "{}\n".to_owned()
                } else {
                    format!("{{\n{}\n}}\n", fields.join(",\n"))
                }
            }
            ListFormat::OpenAi => {
                let id =
                    |item: Option<&ListItem>| item.map_or("null".to_owned(), |item| text(&item.id));
                let missing = missing.map_or_else(String::new, |missing| format!(",{missing}"));
                format!(
                    "{{\"object\":\"list\",{field}:[{}],\"first_id\":{},\"last_id\":{},\"has_more\":{}{missing}}}\n",
                    raws.join(","),
                    id(page.items.first()),
                    id(page.items.last()),
                    next.is_some(),
                )
            }
        }
    }

    /// An empty page.
    pub fn empty_page(self) -> ListPage<'static> {
        let field = match self.format {
            ListFormat::Native => self.kind.collection(),
            ListFormat::OpenAi => "data",
        };
        ListPage {
            field: field.to_owned(),
            items: Vec::new(),
            next: None,
        }
    }
}

/// The fields of a JSON object, in order.
fn fields_of(body: &[u8]) -> Option<Vec<(String, &RawValue)>> {
    struct Fields;
    impl<'de> serde::de::Visitor<'de> for Fields {
        type Value = Vec<(String, &'de RawValue)>;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("an object")
        }

        fn visit_map<M: serde::de::MapAccess<'de>>(
            self,
            mut map: M,
        ) -> Result<Self::Value, M::Error> {
            let mut fields = Vec::new();
            while let Some(field) = map.next_entry()? {
                fields.push(field);
            }
            Ok(fields)
        }
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    serde::Deserializer::deserialize_map(&mut reader, Fields).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(line: &str) -> Option<ResourceListing> {
        let (method, path) = line.split_once(' ').unwrap();
        let method = method.parse().unwrap();
        let (path, query) = path
            .split_once('?')
            .map_or((path, None), |(path, query)| (path, Some(query)));
        let target = Target::read(&method, path, query, false).unwrap();
        ResourceListing::of(&method, &target)
    }

    #[test]
    fn lists_of_owned_resources_are_recognized() {
        let cases = [
            ("GET /v1beta/files?pageSize=5", Some(ResourceKind::File)),
            ("GET /v1/cachedContents", Some(ResourceKind::CachedContent)),
            ("GET /v1beta/batches", Some(ResourceKind::Batch)),
            (
                "GET /v1beta/fileSearchStores",
                Some(ResourceKind::FileSearchStore),
            ),
            (
                "GET /v1beta/models/m/operations",
                Some(ResourceKind::Operation),
            ),
            ("GET /v1beta/agents", Some(ResourceKind::Agent)),
            ("GET /v1beta/openai/files", Some(ResourceKind::File)),
            ("GET /v1beta/openai/batches", Some(ResourceKind::Batch)),
            ("GET /v1beta/models", None),
            ("GET /v1beta/openai/models", None),
            ("POST /v1beta/cachedContents", None),
            ("GET /v1beta/files/a", None),
            ("GET /v1beta/fileSearchStores/s/documents", None),
        ];
        for (line, expected) in cases {
            assert_eq!(
                listing(line).map(|listing| listing.kind),
                expected,
                "{line}"
            );
        }
    }

    #[test]
    fn a_list_continues_at_its_page_token() {
        let native = listing("GET /v1beta/files").unwrap();
        let cursor = ListCursor::PageToken {
            project_id: ProjectId(12),
            token: "a-b=/+".to_owned(),
        };
        let path = "/v1beta/files?pageSize=2&pageToken=pool-12-a-b%3D%2F%2B";
        assert_eq!(native.cursor(path), Ok(Some(cursor)));
        assert_eq!(native.cursor("/v1beta/files?pageToken="), Ok(None));
        assert_eq!(
            native.cursor("/v1beta/files?pageToken=x"),
            Err(InvalidCursor)
        );
        assert_eq!(
            native.cursor("/v1beta/files?pageToken=pool-x-y"),
            Err(InvalidCursor)
        );
        assert_eq!(native.page_path(path, None), "/v1beta/files?pageSize=2");
        assert_eq!(native.page_path("/v1beta/files", Some("")), "/v1beta/files");
        assert_eq!(
            native.page_path(path, Some("a-b=/+")),
            "/v1beta/files?pageSize=2&pageToken=a-b%3D%2F%2B"
        );
        let openai = listing("GET /v1beta/openai/files").unwrap();
        let after = ListCursor::AfterId {
            name: ResourceName::of_text("files/a").unwrap(),
            id: "files/a".to_owned(),
        };
        let path = "/v1beta/openai/files?after=files%2Fa&limit=1";
        assert_eq!(openai.cursor(path), Ok(Some(after)));
    }

    #[test]
    fn the_remaining_items_of_a_page_are_unchanged() {
        let native = listing("GET /v1beta/files").unwrap();
        let body = "{\n  \"files\": [\n    {\n      \"name\": \"files/a\",\n      \"x\": 1.50\n    },\n    {\"name\": \"files/b\"}\n  ],\n  \"nextPageToken\": \"t\"\n}\n";
        let mut page = native.parse_page(body.as_bytes()).unwrap();
        assert_eq!(page.next.as_deref(), Some("t"));
        let last = body.replace(",\n  \"nextPageToken\": \"t\"", "");
        assert_eq!(native.write_page(&page, None, &[]), last);
        page.items.remove(0);
        assert_eq!(
            native.write_page(&page, Some((ProjectId(3), "")), &[]),
            "{\n  \"files\": [\n    {\"name\": \"files/b\"}\n  ],\n  \"nextPageToken\": \"pool-3-\"\n}\n"
        );
        assert_eq!(native.write_page(&native.empty_page(), None, &[]), "{}\n");
        assert!(native.parse_page(b"{}").unwrap().items.is_empty());
        assert!(native.parse_page(b"[]").is_none());

        let batches = listing("GET /v1beta/batches").unwrap();
        let page = batches
            .parse_page(br#"{"operations":[{"name":"batches/b"}]}"#)
            .unwrap();
        let names: Vec<_> = page.items.iter().flat_map(|item| &item.name).collect();
        assert_eq!(names, [&ResourceName::of_text("batches/b").unwrap()]);
        assert!(
            batches
                .write_page(&page, None, &[])
                .contains("\"operations\": [")
        );

        let openai = listing("GET /v1beta/openai/files").unwrap();
        let body =
            br#"{"object":"list","data":[{"id":"files/a"},{"id":"files/b"}],"has_more":true}"#;
        let page = openai.parse_page(body).unwrap();
        assert_eq!(page.next.as_deref(), Some("files/b"));
        assert_eq!(
            openai.write_page(&page, None, &[]),
            "{\"object\":\"list\",\"data\":[{\"id\":\"files/a\"},{\"id\":\"files/b\"}],\"first_id\":\"files/a\",\"last_id\":\"files/b\",\"has_more\":false}\n"
        );
        let nothing = openai.write_page(&openai.empty_page(), None, &[]);
        assert_eq!(
            nothing,
            "{\"object\":\"list\",\"data\":[],\"first_id\":null,\"last_id\":null,\"has_more\":false}\n"
        );
    }
}
