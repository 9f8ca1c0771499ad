//! Interactions: what is kept of them, and how they are asked for later.

use super::request_context::RequestContext;
use super::resource_store::Resource;
use crate::demo::fake_gemini::errors::GoogleError;
use crate::demo::fake_gemini::request_body::{Delivery, RequestBody};
use crate::demo::fake_gemini::response::FakeResponse;
use crate::demo::fake_gemini::responses::Generation;
use crate::demo::fake_gemini::responses::interactions;

/// 55 days for projects that pay (Google's docs on interactions).
const LIFE_MS: i64 = 55 * 24 * 60 * 60 * 1000;

/// An interaction that is kept.
pub struct Interaction {
    generation: Generation,
    state: InteractionState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InteractionState {
    /// Worked on in the background, for this many more looks.
    Running(u32),
    Completed,
    Cancelled,
}

pub fn create(
    context: &RequestContext,
    request_body: &RequestBody,
    mut generation: Generation,
) -> Result<FakeResponse, GoogleError> {
    if let Some(previous) = &request_body.previous {
        // The whole conversation is read again.
        generation.prompt_tokens +=
            find(context, previous, |before| before.generation.total_tokens())?;
    }
    let id = interactions::id(context.project, &generation);
    let answer = match request_body.delivery {
        Delivery::Stream { .. } if request_body.is_background => {
            FakeResponse::events(interactions::resumable(&generation, &id))
        }
        Delivery::Stream { .. } => FakeResponse::events(interactions::sse(&generation, &id)),
        Delivery::Background => {
            FakeResponse::compact(interactions::unfinished(&generation, &id, "in_progress"))
        }
        Delivery::Whole => FakeResponse::compact(interactions::unary(&generation, &id)),
    };
    if !request_body.is_unstored {
        let polls = context.state.polls_until_answered;
        let state = if request_body.is_background && polls > 0 {
            InteractionState::Running(polls)
        } else {
            InteractionState::Completed
        };
        let interaction = Interaction { generation, state };
        context.insert(
            &format!("interactions/{id}"),
            Some(context.now_ms + LIFE_MS),
            Resource::Interaction(interaction),
        )?;
    }
    Ok(answer)
}

/// What asks for an interaction that was created before.
pub fn answer(context: &RequestContext) -> Result<FakeResponse, GoogleError> {
    match (context.method(), context.segments().as_slice()) {
        ("GET", [_, id]) if context.param("stream") == Some("true") => resume(context, id),
        ("GET", [_, id]) => find(context, id, |interaction| {
            if let InteractionState::Running(polls) = interaction.state {
                interaction.state = match polls.saturating_sub(1) {
                    0 => InteractionState::Completed,
                    left => InteractionState::Running(left),
                };
            }
            interaction.view(id)
        }),
        ("POST", [_, id, "cancel"]) => find(context, id, |interaction| match interaction.state {
            InteractionState::Running(_) | InteractionState::Cancelled => {
                interaction.state = InteractionState::Cancelled;
                Ok(interaction.view(id))
            }
            InteractionState::Completed => Err(GoogleError::bad_argument()),
        })?,
        ("DELETE", [_, id]) => {
            find(context, id, |_| ())?;
            context.delete(&format!("interactions/{id}"));
            Ok(FakeResponse::compact("{}".to_owned()))
        }
        _ => Err(GoogleError::not_found()),
    }
}

/// The events of the stream, after the one that the client saw last.
fn resume(context: &RequestContext, id: &str) -> Result<FakeResponse, GoogleError> {
    let events = find(context, id, |interaction| {
        interactions::resumable(&interaction.generation, id)
    })?;
    let Some(last) = context.param("last_event_id") else {
        return Ok(FakeResponse::events(events));
    };
    let mark = format!("\"event_id\":\"{last}\"");
    let seen = events.iter().position(|event| event.contains(&mark));
    let seen = seen.ok_or_else(GoogleError::bad_argument)?;
    Ok(FakeResponse::events(
        events.into_iter().skip(seen + 1).collect(),
    ))
}

fn find<T>(
    context: &RequestContext,
    id: &str,
    read: impl FnOnce(&mut Interaction) -> T,
) -> Result<T, GoogleError> {
    let found = context.with_resource(&format!("interactions/{id}"), |resource| match resource {
        Resource::Interaction(interaction) => Some(read(interaction)),
        _ => None,
    });
    found.flatten().ok_or_else(GoogleError::not_found)
}

impl Interaction {
    fn view(&self, id: &str) -> FakeResponse {
        FakeResponse::compact(match self.state {
            InteractionState::Running(_) => {
                interactions::unfinished(&self.generation, id, "in_progress")
            }
            InteractionState::Cancelled => {
                interactions::unfinished(&self.generation, id, "cancelled")
            }
            InteractionState::Completed => interactions::unary(&self.generation, id),
        })
    }
}
