//! Lists of resources: merges the pages of all projects that own resources of the client.

use std::collections::HashSet;

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
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::keys::upstream_key::ProjectId;
use crate::pool::outcome::Outcome;
use crate::pool::settings::Settings;
use crate::proxy::attempt::{Attempt, Reply, Whole};
use crate::proxy::incoming::Incoming;
use crate::proxy::lease::KeySelector;
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
    /// An answer of Google that is no list.
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
        record.answer_head(response.headers(), false);
        record.answer_bytes(self.0.as_ref());
        let verdict = success(response.status().as_u16());
        record.answered(&verdict, &ResponseSummary::default(), length);
        record.add_headers(response.headers_mut());
        *response.body_mut() = Body::from(self.0);
        record.finish().await;
        response
    }
}

/// What a project answers to the request for a page.
enum ProjectAnswer {
    Page(Box<Whole>, Option<ProjectId>),
    /// The request is at fault, so every project would answer so.
    Failed(Box<Attempt>),
    /// The project cannot answer now.
    Missing(Result<Box<Attempt>, Refusal>),
}

/// Requests the projects' pages until one has resources of this client. All pages share the request's time. A project that
/// cannot answer in it is named as missing, unless no project of the whole list answers.
pub async fn list(
    app: &App,
    settings: &Settings,
    client: ClientKeyId,
    listing: ResourceListing,
    selector: &mut KeySelector<'_>,
    incoming: &mut Incoming,
    record: &mut Record,
) -> Result<Listed, Refusal> {
    let path_and_query = incoming.target.path_and_query.clone();
    let maker = settings.client_isolation.then_some(client);
    let projects = projects_to_list(app, listing, maker).await?;
    let (mut at, mut from) = position(app, listing, &path_and_query, &projects).await?;
    // A list that the client has read in part does not fail for the rest.
    let (mut pages, mut has_answer) = (0, at > 0);
    let (mut missing, mut why_missing) = (Vec::new(), None);
    while let Some(project_id) = projects.get(at).copied() {
        pages += 1;
        let asked = listing.page_path(&path_and_query, Some(&from));
        incoming.outgoing.url = app.gemini.url(&asked).ok_or(Refusal::AlteredPath)?;
        let route = RouteConstraint::requiring(project_id);
        selector.go_on_in(project_id);
        let sent = send_with_retry(app, settings, selector, incoming, &route, record).await;
        let (whole, asked_project) = match answer_of(sent)? {
            ProjectAnswer::Page(whole, project) => (whole, project),
            ProjectAnswer::Failed(attempt) => return Ok(Listed::Failed(attempt)),
            ProjectAnswer::Missing(why) => {
                missing.extend(project_id);
                why_missing = Some(why);
                (at, from) = (at + 1, String::new());
                continue;
            }
        };
        has_answer = true;
        let body = decode_body(&whole.body, &whole.head.headers, MAX_PAGE_BYTES);
        let mut page = body
            .as_deref()
            .and_then(|body| listing.parse_page(body))
            .ok_or(Refusal::PageUnreadable)?;
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
            let page = listing.write_page(&page, next, &missing);
            return Ok(Listed::Page(MergedPage(page)));
        }
        from = next.map_or_else(String::new, |(_, token)| token);
    }
    if let Some(why) = why_missing
        && !has_answer
    {
        return why.map(Listed::Failed);
    }
    let page = listing.write_page(&listing.empty_page(), None, &missing);
    Ok(Listed::Page(MergedPage(page)))
}

fn answer_of(sent: Result<Attempt, Refusal>) -> Result<ProjectAnswer, Refusal> {
    let attempt = match sent {
        Ok(attempt) => attempt,
        Err(refusal) if refusal.is_unavailability() => {
            return Ok(ProjectAnswer::Missing(Err(refusal)));
        }
        Err(refusal) => return Err(refusal),
    };
    match attempt.verdict.rule.outcome() {
        Outcome::Success => {
            let project = attempt.lease.as_ref().map(|lease| lease.key.project_id);
            match attempt.reply {
                Reply::Whole(whole) => Ok(ProjectAnswer::Page(whole, project)),
                _ => Err(Refusal::PageTooLarge),
            }
        }
        Outcome::ClientError => Ok(ProjectAnswer::Failed(Box::new(attempt))),
        _ => Ok(ProjectAnswer::Missing(Ok(Box::new(attempt)))),
    }
}

/// The projects whose resources the client may list, in the order of their pages; `None` stands for any project.
async fn projects_to_list(
    app: &App,
    listing: ResourceListing,
    maker: Option<ClientKeyId>,
) -> Result<Vec<Option<ProjectId>>, Refusal> {
    // A resource that was just created is in its table then.
    app.recorder.settle().await;
    let (db, kind) = (&app.db.readers, listing.kind.collection());
    let projects = match maker {
        Some(maker) => resources::list_projects_of_client(db, maker, kind).await,
        None => resources::list_projects(db, kind).await,
    };
    let projects = projects.map_err(lookup_failed)?;
    if projects.is_empty() && maker.is_none() {
        // No project is known to own any: any project may list its own.
        return Ok(vec![None]);
    }
    Ok(projects.into_iter().map(Some).collect())
}

/// Where the client continues the list: the project, by its position, and Google's own position in it.
async fn position(
    app: &App,
    listing: ResourceListing,
    path_and_query: &str,
    projects: &[Option<ProjectId>],
) -> Result<(usize, String), Refusal> {
    let cursor = listing.cursor(path_and_query);
    match cursor.map_err(|_| Refusal::BadCursor)? {
        None => Ok((0, String::new())),
        Some(ListCursor::PageToken { project_id, token }) => {
            let at = projects.partition_point(|project| project.is_some_and(|id| id < project_id));
            let is_same = projects
                .get(at)
                .is_some_and(|project| project.is_none_or(|id| id == project_id));
            Ok((at, if is_same { token } else { String::new() }))
        }
        Some(ListCursor::AfterId { name, id }) => {
            let known = resources::list_named(&app.db.readers, &[name.as_str()]).await;
            let known = known.map_err(lookup_failed)?.pop();
            let is_owner = |project: &Option<ProjectId>| {
                project.is_none() || *project == known.as_ref().map(|known| known.project_id)
            };
            let at = projects.iter().position(is_owner);
            Ok((at.ok_or(Refusal::BadCursor)?, id))
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::health::verdict::{Rule, Verdict};

    fn attempt(rule: Rule) -> Attempt {
        Attempt {
            lease: None,
            verdict: Verdict::without_answer(rule, String::new()),
            reply: Reply::None,
        }
    }

    #[test]
    fn a_list_goes_on_without_a_project_that_cannot_answer_and_ends_at_a_fault_of_the_client() {
        for rule in [
            Rule::QuotaPerMinute,
            Rule::ApiKeyInvalid,
            Rule::InternalError,
        ] {
            let answer = answer_of(Ok(attempt(rule)));
            assert!(
                matches!(answer, Ok(ProjectAnswer::Missing(Ok(_)))),
                "{rule:?}"
            );
        }
        for refusal in [Refusal::AllBusy, Refusal::Timeout, Refusal::Unreachable] {
            let answer = answer_of(Err(refusal));
            assert!(matches!(answer, Ok(ProjectAnswer::Missing(Err(_)))));
        }

        let answer = answer_of(Ok(attempt(Rule::InvalidRequest)));
        assert!(matches!(answer, Ok(ProjectAnswer::Failed(_))));
        let answer = answer_of(Ok(attempt(Rule::Success)));
        assert!(
            matches!(answer, Err(Refusal::PageTooLarge)),
            "it has no whole page"
        );
        let answer = answer_of(Err(Refusal::BadCursor));
        assert!(matches!(answer, Err(Refusal::BadCursor)));
    }
}
