//! Admission of a request: takes the client's concurrency slot, and once the body is read checks its models and content
//! and counts it against the rate limits of the client key → `Permit`.

use crate::app::App;
use crate::clock;
use crate::gemini::request_body::content::BodyContent;
use crate::gemini::request_body::unread::UnreadBody;
use crate::gemini::system_parameters::ForbiddenParameter;
use crate::gemini::target::{Surface, Target, TargetError};
use crate::pool::clients::admission::Permit;
use crate::pool::clients::client_key::ClientKey;
use crate::pool::settings::Settings;
use crate::proxy::incoming::Incoming;
use crate::proxy::refusal::Refusal;

/// Takes the client's slot, which bounds its concurrent requests. `None` for a client key without limits.
pub fn take_slot(app: &App, client: &ClientKey) -> Result<Option<Permit>, Refusal> {
    let slot = app
        .admission
        .take_slot(client.id, &client.limits, clock::now);
    slot.map_err(Refusal::Limited)
}

/// Refuses a request whose body cannot be read where that matters, or that may not be sent because of what it contains;
/// counts it if the client's limits on requests, tokens and cost have room.
pub fn admit(
    client: &ClientKey,
    settings: &Settings,
    incoming: &Incoming,
    permit: Option<&mut Permit>,
) -> Result<(), Refusal> {
    check_content(
        client,
        settings,
        &incoming.content,
        incoming.unread.as_ref(),
    )?;
    // A selection of fields may hide usage and names.
    let needs_all_fields =
        counts_usage(client) || incoming.creates().is_some() || incoming.listing.is_some();
    if incoming.target.selects_fields() && needs_all_fields {
        return Err(TargetError::from(ForbiddenParameter("fields".to_owned())).into());
    }
    if incoming.setup.is_some()
        && !incoming.content.has_setup
        && depends_on_reading(client, settings)
    {
        return Err(Refusal::NoSetup);
    }
    check_models(client, incoming)?;
    match permit {
        Some(permit) => permit
            .admit(&client.limits, incoming.amount.tokens, clock::now)
            .map_err(Refusal::Limited),
        None => Ok(()),
    }
}

/// Refuses a body that is not read completely although a rule depends on it, and one that names an address which the
/// client key may not give to Google.
pub fn check_content(
    client: &ClientKey,
    settings: &Settings,
    content: &BodyContent,
    unread: Option<&UnreadBody>,
) -> Result<(), Refusal> {
    if let Some(unread) = unread
        && depends_on_reading(client, settings)
    {
        return Err(Refusal::Unread(unread.clone()));
    }
    if content.has_webhook && !client.direct_access {
        return Err(Refusal::DirectAccess);
    }
    Ok(())
}

/// Whether a rule for this client depends on what its requests contain.
pub fn depends_on_reading(client: &ClientKey, settings: &Settings) -> bool {
    let has_models = client
        .scopes
        .as_ref()
        .is_none_or(|scopes| !scopes.models.is_empty());
    settings.client_isolation || has_models || !client.direct_access || counts_usage(client)
}

/// Whether the client key has a limit on tokens or cost.
fn counts_usage(client: &ClientKey) -> bool {
    let limits = &client.limits;
    let limits = [
        limits.tokens_per_minute,
        limits.tokens_per_day,
        limits.cost_per_month_nano_usd,
    ];
    limits.iter().any(Option::is_some)
}

/// Refuses models that the client key may not use, and requests whose models are not known.
fn check_models(client: &ClientKey, incoming: &Incoming) -> Result<(), Refusal> {
    let scopes = client.scopes.as_ref().ok_or(Refusal::ScopesUnreadable)?;
    if scopes.models.is_empty() {
        return Ok(());
    }
    let allowed = || scopes.models.patterns().join(", ");
    if incoming.content.has_request_file {
        return Err(Refusal::RequestFile { allowed: allowed() });
    }
    let models: Vec<&String> = incoming
        .target
        .model
        .iter()
        .chain(&incoming.content.models)
        .collect();
    if models.is_empty() && uses_unnamed_model(incoming) {
        return Err(Refusal::ModelUnknown { allowed: allowed() });
    }
    match models
        .into_iter()
        .find(|model| !scopes.models.matches(model))
    {
        Some(model) => Err(Refusal::ModelOutOfScope {
            model: model.clone(),
            allowed: allowed(),
        }),
        None => Ok(()),
    }
}

/// Whether a request that names no model may use one.
fn uses_unnamed_model(incoming: &Incoming) -> bool {
    if incoming.setup.is_some() {
        return true;
    }
    let body = incoming.outgoing.body.trim_ascii();
    match incoming.target.surface {
        _ if body.is_empty() || body == b"{}" => false,
        // Many requests use no model, for example those for files and stores.
        Surface::Native => may_use_any_model(&incoming.target),
        Surface::OpenAi | Surface::Interactions => true,
    }
}

/// Whether a request whose path has no model may use one: an unknown path, another spelling of a model's path, or a
/// resource that schedules work.
fn may_use_any_model(target: &Target) -> bool {
    let collections = [
        "models.",
        "tunedModels.",
        "dynamic.",
        "agents.",
        "triggers.",
    ];
    let operation = target.operation.as_deref();
    operation.is_none_or(|operation| collections.iter().any(|of| operation.starts_with(of)))
}
