//! Egress proxies as lists show them, with their use.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sqlx::SqlitePool;

use crate::clock::Timestamp;
use crate::pool::egress::condition::EgressCondition;
use crate::pool::egress::proxy::{EgressProxy, EgressProxyId, EgressScope};
use crate::pool::health::verdict::Rule;
use crate::pool::keys::upstream_key::ProjectId;
use crate::storage::egress_proxies::{StoredEgressProxy, list_masked, project_ids, tags};
use crate::storage::error::{Error, Result, Thing};
use crate::storage::rollups::begin_of_day;

/// A proxy as lists show it; the names are those of the JSON.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ListedEgressProxy {
    pub id: EgressProxyId,
    pub label: String,
    /// Without user and password: `http://…@proxy.example.com:3128`.
    pub url: String,
    pub enabled: bool,
    /// `all`, `tags` or `projects`.
    pub scope: String,
    pub project_ids: Vec<ProjectId>,
    /// The names or numbers of these projects.
    pub projects: Vec<String>,
    /// Of upstream keys.
    pub tags: Vec<String>,
    /// `untested` (no answer has come through it yet), `working`, `broken`, `location_refused`, `throttled` or `disabled`.
    pub state: String,
    /// The rule that caused it.
    pub state_reason: Option<String>,
    pub state_message: Option<String>,
    pub state_since: Timestamp,
    /// The next probe, or the end.
    pub state_until: Option<Timestamp>,
    /// Of clients' requests since midnight UTC.
    pub attempts_today: i64,
    pub failures_today: i64,
    pub attempts: i64,
    pub failures: i64,
    /// The number of projects whose requests go through it now; `null` from the command line.
    pub serves_projects: Option<u64>,
    pub created_at: Timestamp,
}

impl ListedEgressProxy {
    /// Replaces the stored condition by that of a running server.
    pub fn set_condition(
        &mut self,
        condition: &EgressCondition,
        throttled_until: Option<Timestamp>,
    ) {
        if !self.enabled {
            return;
        }
        let state = condition.state.name();
        if self.state != state {
            self.state_message = None;
        }
        state.clone_into(&mut self.state);
        self.state_reason = condition.rule.map(|rule| rule.name().to_owned());
        self.state_since = condition.since;
        self.state_until = condition.until;
        if let Some(until) = throttled_until {
            "throttled".clone_into(&mut self.state);
            self.state_reason = Some(Rule::QuotaWithoutDetail.name().to_owned());
            self.state_until = Some(until);
        }
    }
}

/// All proxies in use, by id.
pub async fn list_all(db: &SqlitePool, now: Timestamp) -> Result<Vec<ListedEgressProxy>> {
    let mut snapshot = db.begin().await?;
    let stored = list_masked(&mut *snapshot).await?;
    let today = begin_of_day(now);
    let sums = sqlx::query!(
        r#"
        SELECT
            egress_proxy_id AS "id!: EgressProxyId", sum(attempts) AS "attempts!: i64", sum(failures) AS "failures!: i64",
            sum(iif(day_ms >= ?1, attempts, 0)) AS "attempts_today!: i64",
            sum(iif(day_ms >= ?1, failures, 0)) AS "failures_today!: i64"
        FROM egress_proxy_days
        GROUP BY egress_proxy_id
        "#,
        today,
    );
    let sums = sums.fetch_all(&mut *snapshot).await?;
    let names = sqlx::query!(
        r#"
        SELECT id AS "id!: ProjectId", coalesce(name, number, '#' || id) AS "name!: String"
        FROM projects
        WHERE id IN (
            SELECT coalesce(p.merged_into_id, p.id)
            FROM egress_proxies AS e, json_each(e.project_ids) AS named
            JOIN projects AS p ON p.id = named.value
        )
        "#,
    );
    let names = names.fetch_all(&mut *snapshot).await?;
    let names: HashMap<_, _> = names.into_iter().map(|row| (row.id, row.name)).collect();
    let listed = stored.into_iter().map(|stored| {
        let sum = sums.iter().find(|sum| sum.id == stored.proxy.id);
        let mut listed = of_stored(stored, &names);
        if let Some(sum) = sum {
            (listed.attempts, listed.failures) = (sum.attempts, sum.failures);
            listed.attempts_today = sum.attempts_today;
            listed.failures_today = sum.failures_today;
        }
        listed
    });
    Ok(listed.collect())
}

/// One proxy in use.
pub async fn find_listed(
    db: &SqlitePool,
    id: EgressProxyId,
    now: Timestamp,
) -> Result<ListedEgressProxy> {
    let found = list_all(db, now).await?.into_iter();
    let found = found.into_iter().find(|listed| listed.id == id);
    found.ok_or_else(|| Error::NotFound(Thing::EgressProxy, id.to_string()))
}

fn of_stored(stored: StoredEgressProxy, names: &HashMap<ProjectId, String>) -> ListedEgressProxy {
    let EgressProxy {
        id,
        label,
        address,
        enabled,
        scope,
        condition,
        ..
    } = stored.proxy;
    let name = |id: &ProjectId| names.get(id).cloned();
    let state = if enabled {
        condition.state.name()
    } else {
        "disabled"
    };
    ListedEgressProxy {
        id,
        label,
        url: address.to_string(),
        enabled,
        scope: match scope {
            EgressScope::All => "all",
            EgressScope::Tags(_) => "tags",
            EgressScope::Projects(_) => "projects",
        }
        .to_owned(),
        project_ids: project_ids(&scope).to_vec(),
        projects: project_ids(&scope).iter().filter_map(name).collect(),
        tags: tags(&scope).to_vec(),
        state: state.to_owned(),
        state_reason: condition.rule.map(|rule| rule.name().to_owned()),
        state_message: stored.state_message,
        state_since: condition.since,
        state_until: condition.until,
        attempts_today: 0,
        failures_today: 0,
        attempts: 0,
        failures: 0,
        serves_projects: None,
        created_at: stored.created_at,
    }
}
