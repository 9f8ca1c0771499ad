//! `/client-keys/bulk`: changes of many client keys at once, and the filter that selects them.

use std::mem::take;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::authorize::ApiCaller;
use crate::api::client_keys::fallback::fallback;
use crate::api::client_keys::limits::LimitsBody;
use crate::api::input::{JsonBody, Patch};
use crate::api::pages::PageQuery;
use crate::api::problem::Problem;
use crate::app::App;
use crate::clock::{self, Timestamp};
use crate::pool::clients::client_key::{ClientKeyId, ClientKeyState};
use crate::pool::clients::scopes::{self, InvalidScope};
use crate::storage::client_keys;
use crate::storage::client_keys::change::{
    self, ChangedClientKeys, ClientKeyChange, ListChange, TermChange,
};
use crate::storage::client_keys::filter::ClientKeyFilter;

/// The largest number of ids in one request.
const MAX_IDS: usize = 100_000;

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(bulk))
}

/// Filters and position of the list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ClientKeyListParams {
    /// Text in the name, note, tags or last four characters.
    q: Option<String>,
    state: Option<ClientKeyState>,
    /// Keys that may use upstream keys with this tag.
    tag: Option<String>,
    /// The `next` of the page before.
    cursor: Option<String>,
    /// Maximum number of items.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<usize>,
}

impl ClientKeyListParams {
    pub fn split(self) -> (ClientKeyFilter, PageQuery) {
        let filter = ClientKeyFilter {
            text: self.q,
            state: self.state,
            tag: self.tag,
        };
        let page = PageQuery {
            cursor: self.cursor,
            limit: self.limit,
        };
        (filter, page)
    }
}

/// Selects client keys, as the parameters of the list do; an empty object selects all.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ClientKeyFilterBody {
    q: Option<String>,
    state: Option<ClientKeyState>,
    tag: Option<String>,
}

/// What to do with many client keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ClientKeyAction {
    Enable,
    Disable,
    Delete,
    Update,
}

/// A change of many client keys: of `ids`, or of all that match `filter`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ClientKeyBulkBody {
    action: ClientKeyAction,
    #[schema(min_items = 1)]
    ids: Option<Vec<ClientKeyId>>,
    filter: Option<ClientKeyFilterBody>,
    /// For `update`; `null`: never.
    #[serde(default)]
    #[schema(value_type = Option<Timestamp>)]
    expires_at: Patch<Timestamp>,
    /// For `update`.
    #[serde(default)]
    limits: LimitsBody,
    /// For `update`, like the lists and the switch below.
    #[schema(max_length = 1000)]
    note: Option<String>,
    /// Globs; an empty list allows all, here and below.
    models: Option<Vec<String>>,
    paths: Option<Vec<String>>,
    /// Addresses or networks, as in `192.0.2.0/24`.
    addresses: Option<Vec<String>>,
    /// Replaces the tags of the upstream keys that they may use.
    tags: Option<Vec<String>>,
    direct_access: Option<bool>,
    /// Chains of models that answer in place of others; an empty text: none; `null`: those of the setting.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    model_fallback: Patch<String>,
    /// For `update`: tags of the upstream keys that they may use.
    #[serde(default)]
    add_tags: Vec<String>,
    /// For `update`.
    #[serde(default)]
    remove_tags: Vec<String>,
    /// Report how many keys are selected, and change nothing.
    #[serde(default)]
    dry_run: bool,
}

/// What a change of many client keys selected and did.
#[derive(Debug, Serialize, ToSchema)]
struct ClientKeyBulkAnswer {
    /// How many keys were selected.
    selected: usize,
    #[serde(flatten)]
    done: ChangedClientKeys,
}

type Check = fn(&str) -> Result<(), InvalidScope>;

impl ClientKeyBulkBody {
    fn change(&mut self, now: Timestamp) -> Result<ClientKeyChange, Problem> {
        let mut changes = Vec::new();
        match take(&mut self.expires_at) {
            Patch::Missing => {}
            Patch::Null => changes.push(TermChange::Expiry(None)),
            Patch::Value(at) if at <= now => {
                return Err(Problem::invalid("expires_at is in the past"));
            }
            Patch::Value(at) => changes.push(TermChange::Expiry(Some(at))),
        }
        let limits = take(&mut self.limits).members()?;
        let limits = limits.into_iter();
        changes.extend(limits.map(|(limit, most)| TermChange::Limit(limit, most)));
        if let Some(note) = self.note.take() {
            let note = note.trim();
            if note.chars().count() > 1_000 {
                return Err(Problem::invalid("note has at most 1,000 characters"));
            }
            changes.push(TermChange::Note(note.to_owned()));
        }
        let not_empty = |tags: &mut Vec<String>| Some(take(tags)).filter(|tags| !tags.is_empty());
        let lists: [(_, _, Check, ListChange); 6] = [
            (
                "models",
                self.models.take(),
                scopes::check_model,
                TermChange::Models,
            ),
            (
                "paths",
                self.paths.take(),
                scopes::check_path,
                TermChange::Paths,
            ),
            (
                "addresses",
                self.addresses.take(),
                scopes::check_address,
                TermChange::Addresses,
            ),
            (
                "tags",
                self.tags.take(),
                scopes::check_tag,
                TermChange::Tags,
            ),
            (
                "add_tags",
                not_empty(&mut self.add_tags),
                scopes::check_tag,
                TermChange::AddTags,
            ),
            (
                "remove_tags",
                not_empty(&mut self.remove_tags),
                scopes::check_tag,
                TermChange::RemoveTags,
            ),
        ];
        for (member, items, check, to_change) in lists {
            let Some(items) = items else { continue };
            if let Some(why) = items.iter().find_map(|item| check(item).err()) {
                return Err(Problem::invalid(format!("{member}: {why}")));
            }
            changes.push(to_change(items));
        }
        changes.extend(self.direct_access.map(TermChange::DirectAccess));
        let fallback = fallback(take(&mut self.model_fallback))?;
        changes.extend(fallback.map(TermChange::Fallback));
        if (self.action == ClientKeyAction::Update) == changes.is_empty() {
            let detail = "`update` needs a member to change; other actions have none";
            return Err(Problem::invalid(detail));
        }
        Ok(match self.action {
            ClientKeyAction::Enable => ClientKeyChange::Enable,
            ClientKeyAction::Disable => ClientKeyChange::Disable,
            ClientKeyAction::Delete => ClientKeyChange::Delete,
            ClientKeyAction::Update => ClientKeyChange::Update(changes),
        })
    }
}

/// Change many client keys
///
/// Many keys are changed in several acts, each of which can be undone for a day.
#[utoipa::path(post, path = "/client-keys/bulk", tag = "client keys", request_body = ClientKeyBulkBody,
    params(("idempotency-key" = Option<String>, Header, description = "Makes a repeated request harmless", min_length = 1, max_length = 255)),
    responses((status = 200, body = ClientKeyBulkAnswer)))]
async fn bulk(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    JsonBody(mut body): JsonBody<ClientKeyBulkBody>,
) -> Result<Json<ClientKeyBulkAnswer>, Problem> {
    let change = body.change(caller.now)?;
    let keys = client_keys::list(&app.db.readers).await?;
    let ids: Vec<_> = match (body.ids, body.filter) {
        (Some(mut ids), None) if (1..=MAX_IDS).contains(&ids.len()) => {
            ids.sort_unstable();
            ids.dedup();
            ids.retain(|id| keys.binary_search_by_key(id, |key| key.id).is_ok());
            ids
        }
        (Some(_), None) => return Err(Problem::invalid("ids must name 1 to 100,000 keys")),
        (None, Some(filter)) => {
            let filter = ClientKeyFilter {
                text: filter.q,
                state: filter.state,
                tag: filter.tag,
            };
            let matching = keys.iter().filter(|key| filter.matches(key, caller.now));
            matching.map(|key| key.id).collect()
        }
        _ => {
            let detail = "select keys by either ids or filter; an empty filter selects all";
            return Err(Problem::invalid(detail));
        }
    };
    let done = if body.dry_run {
        ChangedClientKeys::default()
    } else {
        let done = change::change_all(&app.db, &caller.actor(), caller.now, &ids, &change).await?;
        app.reload(clock::now()).await?;
        done
    };
    Ok(Json(ClientKeyBulkAnswer {
        selected: ids.len(),
        done,
    }))
}
