//! `/try`: sends a request through the pool as a client would, and shows its answer and its log row.

pub mod answer;
pub mod form;
pub mod request_snippets;
pub mod result;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum_extra::extract::Query;
use futures_util::{Stream, stream};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;

use crate::app::App;
use crate::client_connections::ClientConnection;
use crate::dashboard::components::empty_state;
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::form_parts;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::snippets::model_among;
use crate::dashboard::try_it::answer::TriedAnswer;
use crate::dashboard::try_it::form::{FieldErrors, TryChoices, TryForm, TryRequest};
use crate::error::Error;
use crate::gemini::prices;
use crate::in_process::{ActingClient, ProxyService};
use crate::pool::request_id::RequestId;
use crate::storage::client_keys::{self, ListedClientKey, tries};
use crate::storage::model_lists;
use crate::storage::request_logs::listed::{self, RequestLog};

/// The user agent of the requests, by which the log shows where they come from.
pub const AGENT: HeaderValue = HeaderValue::from_static("gemini-pool dashboard");
/// Models used in this time are offered.
const MODELS_USED_WITHIN: Duration = Duration::from_hours(30 * 24);
/// From these headers trusted proxies report the client's address, and the server's name is read.
const OF_THE_CONNECTION: [HeaderName; 4] = [
    HOST,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
];

/// Fields that a link fills in.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct TryQuery {
    client: String,
    model: String,
    upstream_key: String,
}

/// The page without an answer.
pub async fn show(
    State(app): State<Arc<App>>,
    context: PageContext,
    Query(query): Query<TryQuery>,
) -> Result<Markup, ErrorPage> {
    let keys = client_keys::list(&app.db.readers).await?;
    let choices = choices(&app, &context, &keys).await?;
    let is_usable =
        |key: &&ListedClientKey| key.enabled && key.expires_at.is_none_or(|at| at > context.now);
    let chosen = keys.iter().find(|key| key.id.0.to_string() == query.client);
    // Probably the key that the admin has just made.
    let newest = keys.iter().filter(is_usable).max_by_key(|key| key.id);
    let key = chosen.or(newest).or(keys.first());
    let scopes = key.map(|key| key.models.as_slice()).unwrap_or_default();
    let model = Some(query.model).filter(|model| !model.is_empty());
    let form = TryForm {
        client: key.map(|key| key.id.0.to_string()).unwrap_or_default(),
        model: model.unwrap_or_else(|| model_among(scopes).to_owned()),
        text: context.language.try_default_text().to_owned(),
        streams: true,
        upstream_key: query.upstream_key,
        ..TryForm::default()
    };
    Ok(view(
        &context,
        &choices,
        &form,
        &FieldErrors::new(),
        result::nothing(&context),
    ))
}

/// Sends the request. A script gets the answer as a stream of events, a browser without scripts the whole page.
pub async fn create(
    State(app): State<Arc<App>>,
    Extension(proxy): Extension<ProxyService>,
    context: PageContext,
    request: Request,
) -> Result<Response, ErrorPage> {
    let (head, body) = request.into_parts();
    // The guard has measured it.
    let body = axum::body::to_bytes(body, usize::MAX).await;
    let body = body.map_err(|_| Error::TooLarge)?;
    let form = TryForm::of(form_parts::read_all(&head.headers, &body).await);
    let keys = client_keys::list(&app.db.readers).await?;
    let choices = choices(&app, &context, &keys).await?;
    let tried = form.request(context.language, &choices, |id| {
        app.keys.lock().get(id).is_some()
    });
    let tried = match tried {
        Ok(tried) => tried,
        Err(errors) => {
            let page = view(
                &context,
                &choices,
                &form,
                &errors,
                result::nothing(&context),
            );
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
        }
    };
    record(&app, &context, &keys, &tried).await?;
    let mut answer = TriedAnswer::new(proxy.send(proxied(&head, &tried)).await);
    if wants_events(&head) {
        let events = Sse::new(events(app, context, tried, answer));
        return Ok(events.keep_alive(KeepAlive::default()).into_response());
    }
    answer.read_to_end().await;
    let row = find_row(&app, answer.id).await;
    let result = result::view(&context, &tried, &answer, row.as_ref());
    Ok(view(&context, &choices, &form, &FieldErrors::new(), result).into_response())
}

/// Before the request is sent: one that cannot be recorded is refused.
async fn record(
    app: &App,
    context: &PageContext,
    keys: &[ListedClientKey],
    tried: &TryRequest,
) -> Result<(), ErrorPage> {
    let key = keys.iter().find(|key| key.id == tried.client);
    let client = (tried.client, key.map_or("", |key| &key.name));
    let request = json!({
        "model": tried.model, "path": tried.path, "upstream_key": tried.upstream_key.map(|id| id.0),
    });
    tries::insert(&app.db, &context.actor(), context.now, client, request).await?;
    Ok(())
}

/// The request as the proxy receives it from a client at the admin's address.
fn proxied(head: &Parts, tried: &TryRequest) -> Request {
    let body = tried.body.to_string();
    let mut request = Request::post(&tried.path)
        .header(CONTENT_TYPE, "application/json")
        .header(CONTENT_LENGTH, body.len())
        .header(USER_AGENT, AGENT)
        .body(Body::from(body))
        .expect("a form's path has only safe characters");
    for name in &OF_THE_CONNECTION {
        for value in head.headers.get_all(name) {
            request.headers_mut().append(name, value.clone());
        }
    }
    let extensions = request.extensions_mut();
    extensions.insert(ActingClient {
        client: tried.client,
        upstream_key: tried.upstream_key,
    });
    if let Some(connection) = head.extensions.get::<ClientConnection>() {
        extensions.insert(connection.clone());
    }
    request
}

fn wants_events(head: &Parts) -> bool {
    let accepted = head.headers.get(ACCEPT);
    accepted.is_some_and(|accepted| accepted == "text/event-stream")
}

/// The text as it arrives, then the result.
fn events(
    app: Arc<App>,
    context: PageContext,
    tried: TryRequest,
    answer: TriedAnswer,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let event = |name: &str, value: String| Event::default().data(json!({name: value}).to_string());
    stream::unfold(
        Some((app, context, tried, answer)),
        move |state| async move {
            let (app, context, tried, mut answer) = state?;
            while let Some(text) = answer.next_text().await {
                if !text.is_empty() {
                    let event = event("text", text);
                    return Some((Ok(event), Some((app, context, tried, answer))));
                }
            }
            answer.finish();
            let row = find_row(&app, answer.id).await;
            let result = result::view(&context, &tried, &answer, row.as_ref());
            Some((Ok(event("html", result.into_string())), None))
        },
    )
}

/// The log row of a request that has ended.
async fn find_row(app: &App, id: Option<RequestId>) -> Option<RequestLog> {
    app.recorder.settle().await;
    listed::find(&app.db.readers, id?).await.ok()
}

/// The client keys by name, and the models that the pool knows.
async fn choices(
    app: &App,
    context: &PageContext,
    keys: &[ListedClientKey],
) -> Result<TryChoices, ErrorPage> {
    let language = context.language;
    let mut clients: Vec<_> = keys
        .iter()
        .map(|key| {
            let note = if key.enabled {
                String::new()
            } else {
                format!(" ({})", language.try_disabled())
            };
            (key.id.0.to_string(), format!("{}{note}", key.name))
        })
        .collect();
    clients.sort_by_cached_key(|(_, name)| name.to_lowercase());
    let used = listed::list_models(&app.db.readers, context.now - MODELS_USED_WITHIN).await?;
    let known = prices::model_ids().map(ToOwned::to_owned);
    let offered = model_lists::offered(&app.db.readers).await?.models;
    let models: BTreeSet<String> = if offered.is_empty() {
        used.into_iter().chain(known).collect()
    } else {
        used.into_iter().chain(offered.into_keys()).collect()
    };
    Ok(TryChoices {
        clients,
        models: models.into_iter().collect(),
    })
}

fn view(
    context: &PageContext,
    choices: &TryChoices,
    form: &TryForm,
    errors: &FieldErrors,
    result: Markup,
) -> Markup {
    let language = context.language;
    let body = html! {
        (heading(language.try_it(), html! {}))
        @if choices.clients.is_empty() {
            (empty_state(language.try_no_client_key(), language.try_no_client_key_text(), html! {
                a.button.primary href="/client-keys/new" { (language.new_client_key()) }
            }))
        } @else {
            p.muted { (language.try_lead()) }
            div.tries {
                (form.view(context, choices, errors))
                (result)
            }
            template data-try-running { (result::running(context)) }
        }
    };
    layout::page(context, Section::Try, language.try_it(), body)
}
