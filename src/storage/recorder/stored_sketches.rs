//! Merges the sketches that are stored for the rollups of a batch into those of the batch: SQL can add sums, but no sketches.

use serde::Serialize;
use sqlx::{Sqlite, Transaction};

use crate::storage::error::Result;
use crate::storage::json_columns::json_array;
use crate::storage::recorder::statistics::BatchStatistics;
use crate::storage::rollups::Rollup;

/// Makes the sketches of a batch those that its rollups have afterwards. In the transaction that writes them.
pub async fn merge(
    tx: &mut Transaction<'_, Sqlite>,
    statistics: &mut BatchStatistics,
) -> Result<()> {
    let (model_hours, mut in_model_hours) = split(&mut statistics.model_hours);
    let (model_days, mut in_model_days) = split(&mut statistics.model_days);
    let (client_key_hours, mut in_client_key_hours) = split(&mut statistics.client_key_hours);
    let (upstream_key_days, mut in_upstream_key_days) = split(&mut statistics.upstream_key_days);
    // One statement, because each has to be handed to the thread of SQLite.
    let stored = sqlx::query!(
        r#"
        SELECT
            0 AS "table!: i64", CAST(k.key AS INTEGER) AS "place!: u32", s.first_byte_sketch AS "first_byte!: String",
            s.duration_sketch AS "duration!: String"
        FROM json_each(?1) AS k
        CROSS JOIN model_hours AS s
            ON s.hour_ms = k.value ->> 0 AND s.model_id = k.value ->> 1 AND s.outcome = k.value ->> 2
        UNION ALL
        SELECT 1, k.key, s.first_byte_sketch, s.duration_sketch
        FROM json_each(?2) AS k
        CROSS JOIN model_days AS s
            ON s.day_ms = k.value ->> 0 AND s.model_id = k.value ->> 1 AND s.outcome = k.value ->> 2
        UNION ALL
        SELECT 2, k.key, s.first_byte_sketch, s.duration_sketch
        FROM json_each(?3) AS k
        CROSS JOIN client_key_hours AS s ON s.hour_ms = k.value ->> 0 AND s.client_key_id = k.value ->> 1
        UNION ALL
        SELECT 3, k.key, s.first_byte_sketch, s.duration_sketch
        FROM json_each(?4) AS k
        CROSS JOIN upstream_key_days AS s ON s.day_ms = k.value ->> 0 AND s.upstream_key_id = k.value ->> 1
        "#,
        model_hours,
        model_days,
        client_key_hours,
        upstream_key_days,
    );
    for stored in stored.fetch_all(&mut **tx).await? {
        let table = match stored.table {
            0 => &mut in_model_hours,
            1 => &mut in_model_days,
            2 => &mut in_client_key_hours,
            _ => &mut in_upstream_key_days,
        };
        let place = usize::try_from(stored.place).ok();
        if let Some(rollup) = place.and_then(|place| table.get_mut(place)) {
            rollup.first_byte.merge_json(&stored.first_byte);
            rollup.duration.merge_json(&stored.duration);
        }
    }
    Ok(())
}

/// The keys as JSON, and the rollups in the same order.
fn split<'a, K: Serialize + 'a>(
    rollups: impl IntoIterator<Item = (K, &'a mut Rollup)>,
) -> (String, Vec<&'a mut Rollup>) {
    let (keys, rollups): (Vec<_>, Vec<_>) = rollups.into_iter().unzip();
    (json_array(&keys), rollups)
}
