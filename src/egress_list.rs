//! Egress proxies as the dashboard and the API show them, with what the running server has seen of each, and their test.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use sqlx::SqlitePool;
use utoipa::ToSchema;

use crate::clock::{self, Timestamp};
use crate::gemini::reachability;
use crate::gemini::redact::Redactor;
use crate::gemini::transport::GeminiClient;
use crate::pool::egress::address::ProxyAddress;
use crate::pool::egress::proxy::EgressProxyId;
use crate::pool::keys::lease::SharedKeyRegistry;
use crate::pool::keys::upstream_key::ProjectId;
use crate::pool::settings::Settings;
use crate::storage::egress_proxies::listed::{self, ListedEgressProxy};
use crate::storage::error::{Error, Result, Thing};

/// The result of a test; the names are those of the JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EgressTest {
    /// Whether an answer came.
    pub ok: bool,
    /// The status of the answer: 403 is usual for a request without a key.
    pub status: Option<u16>,
    /// Why no answer came, redacted.
    pub error: Option<String>,
    pub duration_ms: u64,
}

/// All proxies in use with their conditions now, by id.
pub async fn list(
    db: &SqlitePool,
    keys: &SharedKeyRegistry,
    now: Timestamp,
) -> Result<Vec<ListedEgressProxy>> {
    let mut proxies = listed::list_all(db, now).await?;
    if proxies.is_empty() {
        return Ok(proxies);
    }
    let mut projects = HashMap::<EgressProxyId, HashSet<ProjectId>>::new();
    keys.for_each_key(|keys, id| {
        if let (Ok(Some(egress)), Some(row)) = (keys.egress_of(id), keys.get(id)) {
            projects.entry(egress).or_default().insert(row.project_id);
        }
    });
    let keys = keys.lock();
    for proxy in &mut proxies {
        let served = projects.get(&proxy.id).map_or(0, HashSet::len);
        proxy.serves_projects = u64::try_from(served).ok();
        if let Some(row) = keys.egress().get(proxy.id) {
            let throttled_until = keys.egress().throttled_until(proxy.id, now);
            proxy.set_condition(&row.condition, throttled_until);
        }
    }
    Ok(proxies)
}

/// One of them.
pub async fn find(
    db: &SqlitePool,
    keys: &SharedKeyRegistry,
    id: EgressProxyId,
    now: Timestamp,
) -> Result<ListedEgressProxy> {
    let found = list(db, keys, now).await?.into_iter();
    let found = found.into_iter().find(|proxy| proxy.id == id);
    found.ok_or_else(|| Error::NotFound(Thing::EgressProxy, id.to_string()))
}

/// Sends a request without a key to Google through a proxy, over a new connection.
pub async fn test(
    gemini: &GeminiClient,
    settings: &Settings,
    redactor: &Redactor,
    address: &ProxyAddress,
) -> EgressTest {
    let began = clock::instant();
    let found = reachability::check_through(gemini, settings, address).await;
    let error = found.as_ref().err().map(|error| {
        let mut message = redactor.redact_for_row(&error.message);
        // Those of an address that is not stored yet are not among the values of the redactor.
        for secret in address.secrets() {
            message = message.replace(&secret, "[redacted]");
        }
        message
    });
    EgressTest {
        ok: found.is_ok(),
        status: found.ok().map(|found| found.status),
        error,
        duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}
