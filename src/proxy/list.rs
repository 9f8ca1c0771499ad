//! Lists of resources: merges the pages of all projects that own resources of the client.

use std::collections::HashSet;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::HeaderValue;
use http::header::CONTENT_TYPE;

use crate::app::App;
use crate::gemini::errors::classify::success;
use crate::gemini::resources::listing::{ListCursor, ListPage, MAX_PAGE_BYTES, ResourceListing};
use crate::gemini::resources::name::ResourceName;
use crate::gemini::response::content_decoder::decode_body;
use crate::gemini::response::tap::ResponseSummary;
use crate::pool::clients::client_key::{ClientKey, ClientKeyId};
use crate::pool::health::verdict::Rule;
use crate::pool::keys::upstream_key::ProjectId;
use crate::pool::settings::Settings;
use crate::proxy::attempt::{Attempt, Reply};
use crate::proxy::incoming::Incoming;
use crate::proxy::record::Record;
use crate::proxy::refusal::Refusal;
use crate::proxy::resource_lookup::lookup_failed;
use crate::proxy::retry::send_with_retry;
use crate::proxy::route_constraint::RouteConstraint;
use crate::storage::resources;

/// Maximum number of Google's pages read for one of ours: most may list other clients' resources only.
const PAGE_COUNT_LIMIT: u32 = 50;

/// The result of a list request.
pub enum Listed {
    Page(MergedPage),
    /// A project's answer that is no list; a page without its part would be taken for a complete one.
    Failed(Box<Attempt>),
}

/// A merged page.
pub struct MergedPage(String);

impl MergedPage {
    pub async fn answer(self, mut record: Record) -> Response {
        let mut response = Response::new(Body::empty());
        let length = u64::try_from(self.0.len()).unwrap_or(u64::MAX);
        let json = HeaderValue::from_static("application/json; charset=UTF-8");
        response.headers_mut().insert(CONTENT_TYPE, json);
        record.first_byte(response.status(), false);
        let verdict = success(response.status().as_u16());
        record.answered(&verdict, &ResponseSummary::default(), length);
        record.id_header(response.headers_mut());
        *response.body_mut() = Body::from(self.0);
        record.finish().await;
        response
    }
}

/// Requests the projects' pages until one has resources of this client.
pub async fn list(
    app: &App,
    settings: &Settings,
    client: &Arc<ClientKey>,
    listing: ResourceListing,
    incoming: &mut Incoming,
    record: &mut Record,
) -> Result<Listed, Refusal> {
    let path_and_query = incoming.target.path_and_query.clone();
    let maker = settings.client_isolation.then_some(client.id);
    let kind = listing.kind.collection();
    let projects = resources::list_projects(&app.db.readers, maker, kind).await;
    let mut projects: Vec<_> = projects
        .map_err(lookup_failed)?
        .into_iter()
        .map(Some)
        .collect();
    if projects.is_empty() && maker.is_none() {
        // No project is known to own any: any project may list its own.
        projects.push(None);
    }
    let cursor = listing.cursor(&path_and_query);
    let (mut at, mut from) = match cursor.map_err(|_| Refusal::BadCursor)? {
        None => (0, String::new()),
        Some(ListCursor::PageToken { project_id, token }) => {
            let at = projects.partition_point(|project| project.is_some_and(|id| id < project_id));
            let is_same = projects
                .get(at)
                .is_some_and(|project| project.is_none_or(|id| id == project_id));
            (at, if is_same { token } else { String::new() })
        }
        Some(ListCursor::AfterId { name, id }) => {
            let known = resources::list_named(&app.db.readers, &[name.as_str()]).await;
            let known = known.map_err(lookup_failed)?.pop();
            let is_owner = |project: &Option<ProjectId>| {
                project.is_none() || *project == known.as_ref().map(|known| known.project_id)
            };
            let at = projects
                .iter()
                .position(is_owner)
                .ok_or(Refusal::BadCursor)?;
            (at, id)
        }
    };
    let mut pages = 0;
    let mut gone = None;
    while let Some(project_id) = projects.get(at).copied() {
        pages += 1;
        let asked = listing.page_path(&path_and_query, Some(&from));
        incoming.outgoing.url = app.gemini.url(&asked).ok_or(Refusal::AlteredPath)?;
        let route = RouteConstraint::requiring(project_id);
        let attempt = match send_with_retry(app, settings, client, incoming, &route, record).await {
            // The resources of that project cannot be read any more; the others can.
            Err(refusal @ Refusal::OwnerGone { .. }) => {
                gone = Some(refusal);
                (at, from) = (at + 1, String::new());
                continue;
            }
            attempt => attempt?,
        };
        if attempt.verdict.rule != Rule::Success {
            return Ok(Listed::Failed(Box::new(attempt)));
        }
        let asked_project = attempt.lease.as_ref().map(|lease| lease.key.project_id);
        let Reply::Whole(whole) = attempt.reply else {
            return Err(Refusal::Unreachable);
        };
        let body = decode_body(&whole.body, &whole.head.headers, MAX_PAGE_BYTES);
        let mut page = body
            .as_deref()
            .and_then(|body| listing.parse_page(body))
            .ok_or(Refusal::Unreachable)?;
        let next = page.next.take();
        if let Some(maker) = maker {
            keep_own(app, &mut page, maker).await?;
        }
        let next = asked_project.zip(next).or_else(|| {
            at += 1;
            let next = projects.get(at).copied().flatten();
            next.map(|project_id| (project_id, String::new()))
        });
        if !page.items.is_empty() || next.is_none() || pages >= PAGE_COUNT_LIMIT {
            let next = next.as_ref().map(|(id, token)| (*id, token.as_str()));
            return Ok(Listed::Page(MergedPage(listing.write_page(&page, next))));
        }
        from = next.map_or_else(String::new, |(_, token)| token);
    }
    match gone {
        Some(refusal) => Err(refusal),
        None => Ok(Listed::Page(MergedPage(
            listing.write_page(&listing.empty_page(), None),
        ))),
    }
}

/// Removes the resources of other clients from a page.
async fn keep_own(app: &App, page: &mut ListPage<'_>, maker: ClientKeyId) -> Result<(), Refusal> {
    let names = page.items.iter().flat_map(|item| &item.name);
    let names: Vec<&str> = names.map(ResourceName::as_str).collect();
    let known = resources::list_named(&app.db.readers, &names).await;
    let known = known.map_err(lookup_failed)?.into_iter();
    let own = known.filter(|known| known.maker == Some(maker));
    let own: HashSet<String> = own.map(|known| known.name).collect();
    let is_own = |name: &ResourceName| own.contains(name.as_str());
    page.items
        .retain(|item| item.name.as_ref().is_some_and(is_own));
    Ok(())
}
