//! The sketches of stored rollups. SQL can add sums, but no sketches: a new one is appended to the text of those before it, and
//! now and then they are merged into one.

use foldhash::HashMap;
use serde::Serialize;
use sqlx::{Sqlite, Transaction};

use crate::pool::outcome::Outcome;
use crate::storage::error::Result;
use crate::storage::json_columns::json_array;
use crate::storage::recorder::statistics::BatchStatistics;
use crate::storage::rollups::Rollup;

/// The number of sketches that a row has before they are merged into one: to read, merge and write them takes longer than
/// everything else that a request adds to its rollups.
const MAX_APPENDED: u32 = 32;
/// Maximum number of keys that are remembered; then all are forgotten.
const MAX_REMEMBERED: usize = 32_768;

/// A table with sketches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Table {
    ModelHours,
    ModelDays,
    ClientKeyHours,
    UpstreamKeyDays,
}

/// A key of these tables, but for the period, and the outcome if it has one.
type RollupKey = (Table, i64, Option<Outcome>);

/// For each key the begin of the last period that was written, and how many sketches stand one after the other in its row. A row
/// that is not known has too many.
#[derive(Debug, Default)]
pub struct AppendedSketches(HashMap<RollupKey, (i64, u32)>);

impl AppendedSketches {
    /// Counts one more sketch of a row. Returns whether those before it must be merged into it.
    fn append(&mut self, key: RollupKey, begin: i64) -> bool {
        if self.0.len() >= MAX_REMEMBERED && !self.0.contains_key(&key) {
            self.0.clear();
        }
        let last = self.0.get(&key).filter(|(last, _)| *last == begin);
        let count = last.map_or(MAX_APPENDED, |(_, count)| *count);
        let is_full = count >= MAX_APPENDED;
        self.0
            .insert(key, (begin, if is_full { 1 } else { count + 1 }));
        is_full
    }
}

/// Merges the sketches of rows that have too many into those of the batch, and removes them from the rows. In the transaction that
/// appends those of the batch.
pub async fn merge_full(
    tx: &mut Transaction<'_, Sqlite>,
    statistics: &mut BatchStatistics,
    sketches: &mut AppendedSketches,
) -> Result<()> {
    let (model_hours, mut in_model_hours) = full_rows(&mut statistics.model_hours, |key| {
        sketches.append((Table::ModelHours, key.1, Some(key.2)), key.0)
    });
    let (model_days, mut in_model_days) = full_rows(&mut statistics.model_days, |key| {
        sketches.append((Table::ModelDays, key.1, Some(key.2)), key.0)
    });
    let (client_key_hours, mut in_client_key_hours) =
        full_rows(&mut statistics.client_key_hours, |key| {
            sketches.append((Table::ClientKeyHours, key.1, None), key.0)
        });
    let (upstream_key_days, mut in_upstream_key_days) =
        full_rows(&mut statistics.upstream_key_days, |key| {
            sketches.append((Table::UpstreamKeyDays, key.1, None), key.0)
        });
    let mut tables = [
        &mut in_model_hours,
        &mut in_model_days,
        &mut in_client_key_hours,
        &mut in_upstream_key_days,
    ];
    if tables.iter().all(|rows| rows.is_empty()) {
        return Ok(());
    }
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
    let mut found = [false; 4];
    for stored in stored.fetch_all(&mut **tx).await? {
        let (table, place) = (usize::try_from(stored.table), usize::try_from(stored.place));
        let (Ok(table), Ok(place)) = (table, place) else {
            continue;
        };
        if let Some(rollup) = tables.get_mut(table).and_then(|rows| rows.get_mut(place)) {
            rollup.first_byte.merge_json(&stored.first_byte);
            rollup.duration.merge_json(&stored.duration);
            found[table] = true;
        }
    }
    let keys = [model_hours, model_days, client_key_hours, upstream_key_days];
    remove(tx, found, keys).await
}

/// Removes the sketches of rows with these keys, from the tables that have some.
async fn remove(
    tx: &mut Transaction<'_, Sqlite>,
    found: [bool; 4],
    [model_hours, model_days, client_key_hours, upstream_key_days]: [String; 4],
) -> Result<()> {
    if found[Table::ModelHours as usize] {
        let removed = sqlx::query!(
            "
            UPDATE model_hours SET first_byte_sketch = '', duration_sketch = ''
            WHERE (hour_ms, model_id, outcome) IN (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?1))
            ",
            model_hours,
        );
        removed.execute(&mut **tx).await?;
    }
    if found[Table::ModelDays as usize] {
        let removed = sqlx::query!(
            "
            UPDATE model_days SET first_byte_sketch = '', duration_sketch = ''
            WHERE (day_ms, model_id, outcome) IN (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?1))
            ",
            model_days,
        );
        removed.execute(&mut **tx).await?;
    }
    if found[Table::ClientKeyHours as usize] {
        let removed = sqlx::query!(
            "
            UPDATE client_key_hours SET first_byte_sketch = '', duration_sketch = ''
            WHERE (hour_ms, client_key_id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?1))
            ",
            client_key_hours,
        );
        removed.execute(&mut **tx).await?;
    }
    if found[Table::UpstreamKeyDays as usize] {
        let removed = sqlx::query!(
            "
            UPDATE upstream_key_days SET first_byte_sketch = '', duration_sketch = ''
            WHERE (day_ms, upstream_key_id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?1))
            ",
            upstream_key_days,
        );
        removed.execute(&mut **tx).await?;
    }
    Ok(())
}

/// The rows with too many sketches: their keys as JSON, and their rollups in the same order.
fn full_rows<'a, K: Serialize + 'a>(
    rollups: impl IntoIterator<Item = (K, &'a mut Rollup)>,
    mut is_full: impl FnMut(&K) -> bool,
) -> (String, Vec<&'a mut Rollup>) {
    let full = rollups.into_iter().filter(|(key, _)| is_full(key));
    let (keys, rollups): (Vec<_>, Vec<_>) = full.unzip();
    (json_array(&keys), rollups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sketches_of_a_row_are_merged_when_it_is_new_and_each_time_it_has_many() {
        let mut sketches = AppendedSketches::default();
        let key = (Table::ModelDays, 1, Some(Outcome::Success));
        for _ in 0..3 {
            assert!(sketches.append(key, 0));
            for _ in 1..MAX_APPENDED {
                assert!(!sketches.append(key, 0));
            }
        }
        assert!(sketches.append((Table::ModelHours, 1, Some(Outcome::Success)), 0));
        assert!(sketches.append((Table::ModelDays, 1, Some(Outcome::Network)), 0));
    }

    #[test]
    fn one_period_of_each_key_and_so_many_keys_are_remembered() {
        let mut sketches = AppendedSketches::default();
        let key = |id| (Table::UpstreamKeyDays, id, None);
        for day in 0..1_000 {
            assert!(sketches.append(key(1), day));
            assert!(!sketches.append(key(1), day));
        }
        assert_eq!(sketches.0.len(), 1);
        for id in 0..=i64::try_from(MAX_REMEMBERED).unwrap() {
            sketches.append(key(id), 0);
        }
        assert_eq!(sketches.0.len(), 1);
    }
}
