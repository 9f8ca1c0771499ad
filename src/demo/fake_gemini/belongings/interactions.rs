//! Interactions: what is kept of them, and how they are asked for later.

use super::asks::Asks;
use super::owned::Thing;
use crate::demo::fake_gemini::answer::Answer;
use crate::demo::fake_gemini::answers::Said;
use crate::demo::fake_gemini::answers::interactions;
use crate::demo::fake_gemini::asked::{Asked, Delivery};
use crate::demo::fake_gemini::errors::GoogleError;

/// 55 days for projects that pay (Google's docs on interactions).
const LIFE_MS: i64 = 55 * 24 * 60 * 60 * 1000;

/// An interaction that is kept.
pub struct Interaction {
    said: Said,
    progress: Progress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Worked on in the background, for this many more looks.
    Running(u32),
    Completed,
    Cancelled,
}

pub fn create(asks: &Asks, asked: &Asked, mut said: Said) -> Result<Answer, GoogleError> {
    if let Some(previous) = &asked.previous {
        // The whole conversation is read again.
        said.prompt_tokens += find(asks, previous, |before| before.said.total_tokens())?;
    }
    let id = interactions::id(asks.project, &said);
    let answer = match asked.delivery {
        Delivery::Stream { .. } if asked.is_background => {
            Answer::events(interactions::resumable(&said, &id))
        }
        Delivery::Stream { .. } => Answer::events(interactions::sse(&said, &id)),
        Delivery::Background => {
            Answer::compact(interactions::unfinished(&said, &id, "in_progress"))
        }
        Delivery::Whole => Answer::compact(interactions::unary(&said, &id)),
    };
    if !asked.forgets {
        let looks = asks.google.looks_until_answered;
        let progress = if asked.is_background && looks > 0 {
            Progress::Running(looks)
        } else {
            Progress::Completed
        };
        let interaction = Interaction { said, progress };
        asks.keep(
            &format!("interactions/{id}"),
            Some(asks.now_ms + LIFE_MS),
            Thing::Interaction(interaction),
        )?;
    }
    Ok(answer)
}

/// What asks for an interaction that was created before.
pub fn answer(asks: &Asks) -> Result<Answer, GoogleError> {
    match (asks.method(), asks.segments().as_slice()) {
        ("GET", [_, id]) if asks.param("stream") == Some("true") => resume(asks, id),
        ("GET", [_, id]) => find(asks, id, |interaction| {
            if let Progress::Running(looks) = interaction.progress {
                interaction.progress = match looks.saturating_sub(1) {
                    0 => Progress::Completed,
                    left => Progress::Running(left),
                };
            }
            interaction.shown(id)
        }),
        ("POST", [_, id, "cancel"]) => find(asks, id, |interaction| match interaction.progress {
            Progress::Running(_) | Progress::Cancelled => {
                interaction.progress = Progress::Cancelled;
                Ok(interaction.shown(id))
            }
            Progress::Completed => Err(GoogleError::bad_argument()),
        })?,
        ("DELETE", [_, id]) => {
            find(asks, id, |_| ())?;
            asks.delete(&format!("interactions/{id}"));
            Ok(Answer::compact("{}".to_owned()))
        }
        _ => Err(GoogleError::not_found()),
    }
}

/// The events of the stream, after the one that the client saw last.
fn resume(asks: &Asks, id: &str) -> Result<Answer, GoogleError> {
    let events = find(asks, id, |interaction| {
        interactions::resumable(&interaction.said, id)
    })?;
    let Some(last) = asks.param("last_event_id") else {
        return Ok(Answer::events(events));
    };
    let mark = format!("\"event_id\":\"{last}\"");
    let seen = events.iter().position(|event| event.contains(&mark));
    let seen = seen.ok_or_else(GoogleError::bad_argument)?;
    Ok(Answer::events(events.into_iter().skip(seen + 1).collect()))
}

fn find<T>(
    asks: &Asks,
    id: &str,
    look: impl FnOnce(&mut Interaction) -> T,
) -> Result<T, GoogleError> {
    let found = asks.look(&format!("interactions/{id}"), |thing| match thing {
        Thing::Interaction(interaction) => Some(look(interaction)),
        _ => None,
    });
    found.flatten().ok_or_else(GoogleError::not_found)
}

impl Interaction {
    fn shown(&self, id: &str) -> Answer {
        Answer::compact(match self.progress {
            Progress::Running(_) => interactions::unfinished(&self.said, id, "in_progress"),
            Progress::Cancelled => interactions::unfinished(&self.said, id, "cancelled"),
            Progress::Completed => interactions::unary(&self.said, id),
        })
    }
}
