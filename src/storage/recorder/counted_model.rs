//! `CountedModel`: the model that rollups and quotas count a row under. Clients can invent any number of models.

use sqlx::{Sqlite, Transaction};

use crate::pool::outcome::Outcome;
use crate::storage::error::Result;
use crate::storage::request_logs::{LogKind, NewRequestLog};
use crate::storage::strings::{Lifetime, OTHER_MODEL, Strings};

/// The model of a row, by the ids of strings.
#[derive(Debug, Clone, Copy, Default)]
pub struct CountedModel {
    /// The model that the request names.
    pub id: Option<i64>,
    /// The model that rollups count it under.
    pub rollup_id: Option<i64>,
    /// Whether Google has ever answered well for the model.
    pub is_confirmed: bool,
}

impl CountedModel {
    /// Stores the model of a row.
    pub async fn of(
        row: &NewRequestLog,
        tx: &mut Transaction<'_, Sqlite>,
        strings: &mut Strings,
    ) -> Result<Self> {
        let was_answered = row.outcome == Some(Outcome::Success) && !row.attempts.is_empty();
        let lifetime = if was_answered {
            Lifetime::Model
        } else {
            Lifetime::Rows
        };
        let model = strings.intern(tx, row.model.as_deref(), lifetime).await?;
        let Some(model) = model else {
            return Ok(Self::default());
        };
        let is_in_rollups = row.kind == LogKind::Request && row.outcome.is_some();
        let is_refused = row.outcome == Some(Outcome::Refused);
        let rollup_id = if is_in_rollups && (is_refused || !model.is_model) {
            let other = strings
                .intern(tx, Some(OTHER_MODEL), Lifetime::Kept)
                .await?;
            other.map(|other| other.id)
        } else {
            Some(model.id)
        };
        Ok(Self {
            id: Some(model.id),
            rollup_id,
            is_confirmed: model.is_model,
        })
    }
}
