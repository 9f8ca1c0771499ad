//! Every page is accessible: axe-core finds no serious violation in either theme, and no page is wider than a phone.

use std::time::Duration;

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;

use gemini_pool::clock;
use gemini_pool::pool::alert_schedule::{AlertPhase, QuietHours};
use gemini_pool::pool::alerts::{AlertKind, AlertObservation};
use gemini_pool::pool::api_token::{self, ApiScope, TokenAccess, TokenGrant};
use gemini_pool::pool::egress::address::ProxyAddress;
use gemini_pool::pool::egress::condition::EgressCondition;
use gemini_pool::pool::egress::proxy::EgressScope;
use gemini_pool::pool::health::verdict::Rule;
use gemini_pool::pool::keys::upstream_key::{KeyState, ProjectId, UpstreamKeyId};
use gemini_pool::pool::request_id::RequestId;
use gemini_pool::pool::secret::Secret;
use gemini_pool::storage::alert_deliveries::{self, FailedAttempt, NewAlertDelivery};
use gemini_pool::storage::alert_events;
use gemini_pool::storage::alert_targets::{
    self, AlertLanguage, AlertTarget, AlertTargetKind, AlertTargetTerms,
};
use gemini_pool::storage::api_tokens;
use gemini_pool::storage::audit::{Act, Actor};
use gemini_pool::storage::backup::BackupProgress;
use gemini_pool::storage::backups::{self, BackupKind};
use gemini_pool::storage::data_keys::DataKeys;
use gemini_pool::storage::egress_proxies::{self, EgressProxyTerms};
use gemini_pool::storage::upstream_keys::Evidence;

use serde_json::json;
use sqlx::{Sqlite, Transaction};

use crate::support::TestPool;
use crate::support::admin::AdminClient;
use crate::support::browser::{Browser, BrowserOptions};

/// The pages that the navigation leads to.
pub const NAVIGATION: [&str; 14] = [
    "/status",
    "/upstream-keys",
    "/client-keys",
    "/logs",
    "/usage",
    "/quota",
    "/models",
    "/try",
    "/settings",
    "/egress-proxies",
    "/alerts",
    "/audit",
    "/backups",
    "/account",
];

/// The pages to examine.
const PAGES: &[&str] = &[
    "/status",
    "/upstream-keys",
    "/upstream-keys?state=cooling_down",
    "/upstream-keys/import",
    "/upstream-keys/1",
    "/upstream-keys/1/edit",
    "/client-keys",
    "/client-keys/new",
    "/client-keys/1",
    "/client-keys/1/edit",
    "/client-keys/1/rotate",
    "/logs",
    "/logs?outcome=failed&retried=yes",
    "/logs?from=7d&key=no-such-key",
    "/search",
    "/search?q=gemini",
    "/search?q=no+such+thing",
    "/usage",
    "/quota",
    "/quota?model=gemini-2.5-flash",
    "/quota?project=none",
    "/quota/what-if",
    "/models",
    "/models/detail?name=gemini-2.5-flash",
    "/models?q=no-such-model",
    "/my-usage",
    "/usage?span=90d&by=time",
    "/usage?span=24h&by=key",
    "/usage?client=1",
    "/usage?from=2020-01-01&to=2020-01-02",
    "/try",
    "/backups",
    "/settings",
    "/settings?q=no+such+thing",
    "/settings/commit_wait_ms",
    "/egress-proxies",
    "/egress-proxies/new",
    "/egress-proxies/1/edit",
    "/egress-proxies/1/remove",
    "/alerts",
    "/alerts/targets/new?kind=webhook",
    "/alerts/targets/new?kind=email",
    "/alerts/targets/1/edit",
    "/alerts/targets/1/delete",
    "/audit",
    "/audit?revision=1&from=2999-01-01",
    "/account",
    "/account/tokens/new",
    "/api-reference",
    "/account/tokens/1/revoke",
    "/client-keys/1/delete",
    "/upstream-keys/deleted",
    "/logs?from=nonsense&key=no-such-key&status=9999",
];

/// A pool with data on every page.
pub async fn pool() -> TestPool {
    let pool = TestPool::with_keys([FakeKey::healthy(
        "AIza-key-of-the-pages-0000001",
        "projects/1",
    )])
    .await;
    pool.allow(|terms| {
        "for the tests".clone_into(&mut terms.note);
        terms.limits.requests_per_day = Some(1_000);
        terms.limits.cost_per_month_nano_usd = Some(2_500_000_000);
        terms.models = vec!["gemini-2.5-*".to_owned()];
    })
    .await;
    for hours in [1, 2, 30, 100] {
        pool.record_past_request(Duration::from_hours(hours)).await;
    }
    pool.set(&[("body_log_mode", "all"), ("my_usage", "on")])
        .await;
    assert_eq!(pool.generate().await.status(), 200);
    let (actor, progress) = (Actor::cli(), BackupProgress::default());
    let made = backups::create(
        &pool.app.db,
        BackupKind::Manual,
        &actor,
        clock::now(),
        &progress,
    );
    made.await.unwrap();
    let mut tx = pool.app.db.begin().await.unwrap();
    let act = Act::without_revision(Actor::cli(), clock::now());
    let secret = api_token::generate(&mut rand::rng());
    let grant = TokenGrant::new(TokenAccess::Write, vec![ApiScope::Logs], None);
    let inserted = api_tokens::insert(&mut tx, "deploy", &secret, &grant, &act);
    assert!(inserted.await.unwrap().is_some());
    insert_alerts(&mut tx, &act).await;
    insert_egress_proxies(&mut tx, &act).await;
    tx.commit().await.unwrap();
    pool
}

/// Proxies of every scope, one of them broken. Without a revision the server does not use them.
async fn insert_egress_proxies(tx: &mut Transaction<'_, Sqlite>, act: &Act) {
    let project = EgressScope::Projects(vec![ProjectId(1)]);
    let tags = EgressScope::Tags(vec!["eu".to_owned()]);
    for (label, scope) in [("one", EgressScope::All), ("two", project), ("three", tags)] {
        let terms = EgressProxyTerms {
            label: label.to_owned(),
            address: ProxyAddress::parse("socks5h://user:password@127.0.0.1:9").unwrap(),
            scope,
        };
        let id = egress_proxies::insert(tx, &DataKeys::default(), &terms, act)
            .await
            .unwrap()
            .unwrap();
        let working = EgressCondition::working(act.now);
        let broken = working.after_failures(2, Rule::ConnectFailed, act.now);
        let evidence = Evidence {
            status: None,
            message: "through egress proxy \"home\": could not connect to Gemini".to_owned(),
            request_id: RequestId(0),
        };
        if label == "one" {
            let broken = broken.unwrap();
            let updated = egress_proxies::update_condition(&mut **tx, id, &broken, &evidence);
            updated.await.unwrap();
        }
    }
}

/// A target, an open alert, and messages in every state.
async fn insert_alerts(tx: &mut Transaction<'_, Sqlite>, act: &Act) {
    let terms = AlertTargetTerms {
        kind: AlertTargetKind::Telegram,
        name: "on call".to_owned(),
        address: Secret::new("-1001234567890"),
        secret: Secret::new("123456:a-token-of-the-pages"),
        // Nothing listens there: no test leaves the machine.
        server: Some("http://127.0.0.1:9".to_owned()),
        sender: None,
        events: vec![AlertKind::NoKey, AlertKind::KeyLeaked],
        quiet: QuietHours::new(22 * 60, 7 * 60),
        zone: "Asia/Taipei".to_owned(),
        language: AlertLanguage::English,
    };
    let id = alert_targets::insert(tx, &DataKeys::default(), &terms, act)
        .await
        .unwrap();
    let target = AlertTarget {
        id: id.unwrap(),
        enabled: true,
        terms,
    };
    let mut observation = AlertObservation::default();
    observation.add(AlertKind::NoKey, "gemini-2.5-flash", "");
    observation.add_key(
        AlertKind::KeyLeaked,
        UpstreamKeyId(1),
        "main …0001".to_owned(),
        KeyState::Leaked,
    );
    for condition in &observation.conditions {
        let event = alert_events::insert(tx, condition, act.now).await.unwrap();
        let severity = condition.key.kind.severity();
        let mut delivery = NewAlertDelivery::new(&target, AlertPhase::Begin, severity, act.now);
        if condition.key.kind == AlertKind::KeyLeaked {
            delivery.count_attempt(Ok(()), act.now);
        } else {
            let (error, is_gone) = ("status 502".to_owned(), false);
            delivery.count_attempt(Err(FailedAttempt { error, is_gone }), act.now);
        }
        let inserted = alert_deliveries::insert(tx, Some(event), &delivery, act.now);
        inserted.await.unwrap();
    }
}

#[tokio::test]
async fn every_page_is_accessible() {
    let pool = pool().await;
    let Some(browser) = Browser::start(&pool).await else {
        return;
    };
    browser.sign_in().await;
    examine(&pool, &browser, "en").await;
}

#[tokio::test]
async fn every_page_is_accessible_in_chinese() {
    let pool = pool().await;
    let options = BrowserOptions {
        language: "zh-TW",
        ..BrowserOptions::default()
    };
    let Some(browser) = Browser::start_with(&pool, options).await else {
        return;
    };
    browser.sign_in().await;
    examine(&pool, &browser, "zh").await;
}

/// Asserts that nothing was found to be wrong. Each problem is a line of the message.
pub fn assert_no_problems(problems: &[String]) {
    assert_eq!(problems, [""; 0], "{}", problems.join("\n"));
}

/// The problems of the open page as it is, in both themes and sizes, with a picture of each.
pub async fn examine_open_page(browser: &Browser, name: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for (dark, theme) in [(false, "light"), (true, "dark")] {
        browser.prefer_dark(dark).await;
        browser.use_desktop_size().await;
        browser.screenshot(&format!("{name}-desk-{theme}")).await;
        let violations = browser.accessibility_violations().await;
        problems.extend(
            violations
                .into_iter()
                .map(|message| format!("{name} {theme}: {message}")),
        );
        let faults = browser.layout_faults().await.into_iter();
        problems.extend(faults.map(|fault| format!("{name} desktop: {fault}")));
        browser.use_phone_size().await;
        let faults = browser.layout_faults().await.into_iter();
        problems.extend(faults.map(|fault| format!("{name} phone: {fault}")));
        browser.screenshot(&format!("{name}-phone-{theme}")).await;
        if !browser.fits_window().await {
            problems.push(format!("{name} is wider than a phone"));
        }
    }
    problems
}

async fn examine(pool: &TestPool, browser: &Browser, language: &str) {
    let mut problems = Vec::new();
    pool.app.body_log.settle().await;
    let rows = pool.rows().await;
    let newest = rows[rows.len() - 1].id;
    let requests = [
        format!("/logs/{}", rows[0].id),
        format!("/logs/{newest}"),
        format!("/logs/{newest}/bodies"),
    ];
    for path in PAGES
        .iter()
        .copied()
        .chain(requests.iter().map(String::as_str))
    {
        browser.open(path).await;
        let name = path.trim_start_matches('/').replace('/', "-");
        problems.extend(examine_open_page(browser, &format!("{name}-{language}")).await);
        // The names of the API's resources are English.
        if language == "zh" && *path != *"/api-reference" {
            let untranslated = browser.untranslated().await.into_iter();
            problems.extend(untranslated.map(|text| format!("{path} is in English: {text}")));
        }
        let complaints = browser.console_errors().await;
        problems.extend(
            complaints
                .into_iter()
                .map(|message| format!("{path}: {message}")),
        );
    }
    assert_no_problems(&problems);
}

#[tokio::test]
async fn the_navigation_leads_to_every_main_page() {
    let pool = TestPool::with_keys([]).await;
    let mut admin = AdminClient::sign_in(&pool).await;

    let page = admin.get_page("/status").await;

    let links = |part: &str| -> Vec<String> {
        let links = part.split("href=\"/").skip(1);
        let links = links.map(|rest| format!("/{}", rest.split('"').next().unwrap()));
        links.collect()
    };
    let side = page.split("<main").next().unwrap();
    let of_side = links(side);
    for path in NAVIGATION {
        assert!(
            of_side.iter().any(|link| link == path),
            "{path}: {of_side:?}"
        );
    }
    let nav = side.split("<nav").nth(1).unwrap();
    for link in links(nav.split("</nav>").next().unwrap()) {
        assert!(NAVIGATION.contains(&link.as_str()), "{link}");
    }
}

#[tokio::test]
async fn a_printed_page_has_its_content_and_no_controls() {
    let pool = pool().await;
    let Some(browser) = Browser::start(&pool).await else {
        return;
    };
    browser.sign_in().await;
    browser.show_print(true).await;
    for (path, content) in [
        ("/status", "Requests"),
        ("/upstream-keys", "key-0001"),
        ("/upstream-keys/1", "key-0001"),
        ("/client-keys", "for the tests"),
        ("/logs", "gemini-2.5-flash"),
        ("/usage", "gemini-2.5-flash"),
    ] {
        browser.open(path).await;
        let name = path.trim_start_matches('/').replace('/', "-");
        browser.screenshot(&format!("{name}-print")).await;
        let violations = browser.accessibility_violations().await;
        assert_eq!(violations, [""; 0], "{path}");
        assert_eq!(browser.layout_faults().await, [""; 0], "{path}");
        let script = "
            const controls = document.querySelectorAll('button, input:not([type=hidden]), select, nav, .side');
            const shown = [...controls].filter((one) => one.checkVisibility());
            return shown.map((one) => one.outerHTML.slice(0, 120));
        ";
        assert_eq!(browser.inject(script).await, json!([]), "{path}");
        assert!(browser.text().await.contains(content), "{path}");
    }
}
