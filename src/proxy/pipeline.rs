//! The steps after a request has been read, the same for every kind: admit, route, send.

use crate::app::App;
use crate::gemini::quota_estimate::is_billed_in_tokens;
use crate::pool::clients::admission::Permit;
use crate::pool::settings::Settings;
use crate::proxy::admit::admit;
use crate::proxy::attempt::Attempt;
use crate::proxy::caller::Caller;
use crate::proxy::hedge::count_request;
use crate::proxy::incoming::Incoming;
use crate::proxy::lease::KeySelector;
use crate::proxy::list::{Listed, MergedPage, list};
use crate::proxy::model_fallback::{ask_for, fallback_models, is_out};
use crate::proxy::record::Record;
use crate::proxy::refusal::Refusal;
use crate::proxy::request_facts::RequestFacts;
use crate::proxy::retry::send_with_retry;
use crate::proxy::route::resolve_resources;

/// What came of a request.
pub enum Sent {
    Attempt(Box<Attempt>),
    Page(MergedPage),
}

/// Admits a request, finds the projects that may serve it, and sends it until one answers.
pub async fn send(
    app: &App,
    settings: &Settings,
    caller: &Caller,
    mut permit: Option<Permit>,
    incoming: &mut Incoming,
    record: &mut Record,
) -> Result<Sent, Refusal> {
    record.request(RequestFacts {
        model: incoming.model.as_deref(),
        streams: incoming.streams,
        body_bytes: incoming.outgoing.body.len(),
        progress: incoming.streaming.as_ref().map(|(_, progress)| progress),
        quota_requests: incoming.amount.requests,
        estimated_tokens: is_billed_in_tokens(&incoming.target, incoming.amount)
            .then_some(incoming.amount.tokens),
        deletes: incoming.deletes(),
    });
    record.set_traceparent(settings, &mut incoming.outgoing.headers);
    admit(&caller.client, settings, incoming, permit.as_mut())?;
    record.hold(permit);
    let mut route = resolve_resources(app, caller, incoming).await?;
    if let Some(id) = caller.upstream_key {
        route.only = Some(id);
        route.name = Some(format!("upstream key {}", id.0));
    }
    record.route(&route);
    let client = &caller.client;
    let model = incoming.model.as_deref();
    let mut selector = KeySelector::new(app, settings, client, &route, model);
    if let Some(listing) = incoming.listing {
        // In a box: few requests list, and each would have room for it.
        let listed = Box::pin(list(
            app,
            settings,
            client.id,
            listing,
            &mut selector,
            incoming,
            record,
        ))
        .await?;
        return Ok(match listed {
            Listed::Page(page) => Sent::Page(page),
            Listed::Failed(attempt) => Sent::Attempt(attempt),
        });
    }
    count_request(app, settings, incoming, &route);
    let models = fallback_models(settings, client, incoming, &route);
    let mut sent = send_with_retry(app, settings, &mut selector, incoming, &route, record).await;
    for model in models {
        if !is_out(&sent) || !ask_for(app, incoming, &model) {
            break;
        }
        selector.go_on_in(None);
        record.fall_back(&model);
        sent = send_with_retry(app, settings, &mut selector, incoming, &route, record).await;
    }
    Ok(Sent::Attempt(Box::new(sent?)))
}
