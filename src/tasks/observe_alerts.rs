//! Observes which conditions for alerts hold now, from states that the server has in memory or in the database.

use std::collections::BTreeMap;

use crate::app::App;
use crate::clock::Timestamp;
use crate::pool::alerts::{AlertKind, AlertObservation};
use crate::pool::backup_schedule::BackupSchedule;
use crate::pool::clients::client_key::ClientLimit;
use crate::pool::egress::condition::EgressState;
use crate::pool::health::clock_watch::ClockFinding;
use crate::pool::keys::key_status::KeyStatusKind;
use crate::pool::keys::overview::PoolOverview;
use crate::pool::keys::upstream_key::KeyState;
use crate::storage::{alert_events, backups};

/// The limits of client keys that are budgets of a day or month.
const BUDGETS: [ClientLimit; 3] = [
    ClientLimit::RequestsPerDay,
    ClientLimit::TokensPerDay,
    ClientLimit::CostPerMonth,
];
/// A budget is nearly used at this share, in percent.
const NEARLY_USED_PERCENT: u64 = 80;

/// All conditions at `now`.
pub async fn observe(app: &App, now: Timestamp) -> AlertObservation {
    let mut found = AlertObservation::default();
    let overview = app.overview(now).await;
    let models = match app.recorder.problem() {
        None => alert_events::list_models_in_use(&app.db.readers, now)
            .await
            .ok(),
        Some(_) => None,
    };
    match models {
        Some(models) => add_models(&mut found, app, &overview, &models),
        None => found.unknown.extend([AlertKind::NoKey, AlertKind::PoolLow]),
    }
    add_keys(&mut found, app, now);
    add_upstream(&mut found, overview);
    match app.gemini.clock_finding() {
        ClockFinding::Unknown => found.unknown.push(AlertKind::ClockWrong),
        ClockFinding::Right => {}
        ClockFinding::WrongBySeconds(seconds) => {
            found.add(AlertKind::ClockWrong, "", format!("{seconds:+} s"));
        }
    }
    add_egress(&mut found, app);
    add_budgets(&mut found, app, now);
    if let Some(low) = *app.low_disk.lock() {
        let free = format!("{} MiB", low.free_bytes / 1_024 / 1_024);
        found.add(AlertKind::DiskLow, "", free);
    }
    if let Some(problem) = app.recorder.problem() {
        found.add(AlertKind::DatabaseFailing, "", problem.name());
    }
    add_backups(&mut found, app, now);
    found
}

/// Models in use without enough usable keys. If the whole pool lacks keys, it is one alert.
fn add_models(found: &mut AlertObservation, app: &App, overview: &PoolOverview, models: &[String]) {
    let least = usize::try_from(app.settings().alert_min_usable_keys).unwrap_or(usize::MAX);
    // A pool with fewer keys than that is only low when one of them fails.
    let enabled = overview.keys() - overview.count(KeyStatusKind::Disabled);
    let least = least.min(enabled);
    let mut add = |subject: &str, usable: usize| {
        if usable == 0 {
            found.add(AlertKind::NoKey, subject, "");
        } else if usable < least {
            found.add(AlertKind::PoolLow, subject, usable.to_string());
        }
    };
    if models.is_empty() {
        return;
    }
    add("", overview.usable);
    if overview.usable == 0 || overview.usable < least {
        return;
    }
    for model in models {
        add(model, overview.model(model).usable);
    }
}

/// Keys that Google refuses or reports as leaked.
fn add_keys(found: &mut AlertObservation, app: &App, now: Timestamp) {
    let mut refused = BTreeMap::new();
    app.keys.for_each_key(|keys, id| {
        let Some(summary) = keys.key_status_summary(id, now) else {
            return;
        };
        let (kind, state) = match summary.kind {
            KeyStatusKind::Leaked => (AlertKind::KeyLeaked, KeyState::Leaked),
            KeyStatusKind::Invalid => (AlertKind::KeyDead, KeyState::Invalid),
            KeyStatusKind::Suspended => (AlertKind::KeyDead, KeyState::Suspended),
            KeyStatusKind::Misconfigured => (AlertKind::KeyDead, KeyState::Misconfigured),
            KeyStatusKind::Ready
            | KeyStatusKind::PartlyCoolingDown
            | KeyStatusKind::CoolingDown
            | KeyStatusKind::Trial
            | KeyStatusKind::Disabled => return,
        };
        if let Some(key) = keys.get(id) {
            let name = format!("{} …{}", key.label, key.secret.last4());
            refused.insert(id, (kind, name.trim().to_owned(), state));
        }
    });
    for (id, (kind, name, state)) in refused {
        found.add_key(kind, id, name, state);
    }
}

/// What keeps us from Google. It is known from answers in memory: after a start the first one shows whether it still holds.
fn add_upstream(found: &mut AlertObservation, overview: PoolOverview) {
    let error = overview.connection_error.or(overview.wrong_answer);
    let is_throttled = overview.address_throttled_until.is_some();
    let throttled = is_throttled.then(String::new);
    for (kind, detail) in [
        (AlertKind::GoogleUnreachable, error),
        (AlertKind::AddressThrottled, throttled),
    ] {
        match detail {
            Some(detail) => found.add(kind, "", detail),
            None if !overview.has_upstream_answered => found.unknown.push(kind),
            None => {}
        }
    }
}

/// Egress proxies that are broken.
fn add_egress(found: &mut AlertObservation, app: &App) {
    let keys = app.keys.lock();
    let enabled = keys.egress().rows().iter().filter(|row| row.enabled);
    for row in enabled.filter(|row| row.condition.state == EgressState::Broken) {
        let detail = format!("{} ({})", row.label, row.address);
        found.add(AlertKind::EgressBroken, row.id.0, detail);
    }
}

/// Client keys that have used their budgets completely or nearly.
fn add_budgets(found: &mut AlertObservation, app: &App, now: Timestamp) {
    let client_keys = app.client_keys();
    for client in client_keys.iter().filter(|client| client.enabled) {
        for limit in BUDGETS {
            let Some(most) = client.limits.most(limit).filter(|most| *most > 0) else {
                continue;
            };
            let used = app.admission.lock().used(client.id, limit, now);
            let percent = u128::from(used) * 100 / u128::from(most);
            let subject = format!("{}:{}", client.id.0, limit.name());
            if percent >= u128::from(NEARLY_USED_PERCENT) {
                found.add(AlertKind::BudgetNearlyUsed, &subject, &client.name);
            }
            if percent >= 100 {
                found.add(AlertKind::BudgetUsed, &subject, &client.name);
            }
        }
    }
}

fn add_backups(found: &mut AlertObservation, app: &App, now: Timestamp) {
    let schedule = BackupSchedule::of(&app.settings());
    let Ok(status) = backups::status(app.db.path(), &app.backups, schedule, now) else {
        let kinds = [AlertKind::BackupFailed, AlertKind::BackupOverdue];
        return found.unknown.extend(kinds);
    };
    if let Some(failed) = status.failed {
        let reason = app.redactor().redact_for_row(&failed.reason);
        found.add(AlertKind::BackupFailed, "", reason);
    } else if !status.is_result_known {
        found.unknown.push(AlertKind::BackupFailed);
    }
    if status.is_overdue {
        found.add(AlertKind::BackupOverdue, "", "");
    }
}
