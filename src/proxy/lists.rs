//! Lists of what belongs to projects: the pages of all that hold something of the client's, one after another.

use std::collections::HashSet;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::HeaderValue;
use http::header::CONTENT_TYPE;

use crate::app::App;
use crate::gemini::errors::classify::success;
use crate::gemini::resources::listing::{ListCursor, ListPage, ResourceListing};
use crate::gemini::resources::name::ResourceName;
use crate::gemini::response::tap::ResponseSummary;
use crate::pool::clients::client_key::{ClientKey, ClientKeyId};
use crate::pool::health::verdict::Rule;
use crate::pool::keys::upstream_key::ProjectId;
use crate::pool::settings::Settings;
use crate::proxy::bind::{Bound, not_looked_up};
use crate::proxy::forward::{Attempt, Reply};
use crate::proxy::incoming::Incoming;
use crate::proxy::record::Record;
use crate::proxy::refuse::Refusal;
use crate::proxy::tries::try_keys;
use crate::storage::resources;

/// So many of Google's pages are read for one of ours: where others made nearly all, most have nothing to show.
const MOST_PAGES: u32 = 50;

/// What came of asking for a list.
pub enum Listed {
    Page(MergedPage),
    /// A project's own answer, which is no list: what is left of one would be taken for the whole.
    Failed(Box<Attempt>),
}

/// A page for the client.
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

/// Asks the projects for the next page that has something to show to this client.
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
        .map_err(not_looked_up)?
        .into_iter()
        .map(Some)
        .collect();
    if projects.is_empty() && maker.is_none() {
        // Nobody is known to have made any: any project may show its own.
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
            let known = known.map_err(not_looked_up)?.pop();
            let place = |project: &Option<ProjectId>| {
                project.is_none() || *project == known.as_ref().map(|known| known.project_id)
            };
            let at = projects.iter().position(place).ok_or(Refusal::BadCursor)?;
            (at, id)
        }
    };
    let mut pages = 0;
    let mut gone = None;
    while let Some(project_id) = projects.get(at).copied() {
        pages += 1;
        let asked = listing.page_path(&path_and_query, Some(&from));
        incoming.outgoing.url = app.gemini.url(&asked).ok_or(Refusal::AlteredPath)?;
        let bound = Bound {
            only: project_id,
            ..Bound::default()
        };
        let attempt = match try_keys(app, settings, client, incoming, &bound, record).await {
            // What it had cannot be read by anybody any more; the rest can.
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
        let mut page = listing
            .parse_page(&whole.body)
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
        if !page.items.is_empty() || next.is_none() || pages >= MOST_PAGES {
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

/// Leaves of a page what this client has made.
async fn keep_own(app: &App, page: &mut ListPage<'_>, maker: ClientKeyId) -> Result<(), Refusal> {
    let names = page.items.iter().flat_map(|item| &item.name);
    let names: Vec<&str> = names.map(ResourceName::as_str).collect();
    let known = resources::list_named(&app.db.readers, &names).await;
    let known = known.map_err(not_looked_up)?.into_iter();
    let own = known.filter(|known| known.maker == Some(maker));
    let own: HashSet<String> = own.map(|known| known.name).collect();
    let is_own = |name: &ResourceName| own.contains(name.as_str());
    page.items
        .retain(|item| item.name.as_ref().is_some_and(is_own));
    Ok(())
}
