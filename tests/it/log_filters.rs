//! Every filter of the log gives the same requests in the same order by page, API and command, on a file and by a server.

use std::collections::BTreeSet;
use std::time::Duration;

use gemini_pool::clock::{self, Timestamp};
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::pool::clients::client_key::ClientKeyId;
use gemini_pool::pool::egress::address::ProxyAddress;
use gemini_pool::pool::egress::proxy::{EgressProxyId, EgressScope};
use gemini_pool::pool::keys::upstream_key::{ProjectId, UpstreamKeyId};
use gemini_pool::pool::outcome::Outcome;
use gemini_pool::pool::request_id::RequestId;
use gemini_pool::storage::egress_proxies::{self, EgressProxyTerms};
use gemini_pool::storage::request_logs::filter::LogFilter;
use gemini_pool::storage::request_logs::listed;
use gemini_pool::storage::request_logs::{LogKind, NewAttempt, NewRequestLog};
use gemini_pool::storage::upstream_keys;
use serde_json::Value;

use crate::support::admin::AdminClient;
use crate::support::api::ApiClient;
use crate::support::process::{run_command, run_remotely};
use crate::support::{TestPool, act, eventually};

/// Fewer than a page of the dashboard has.
const ROWS: i64 = 42;

/// A filter as each surface writes it.
struct Case {
    page: String,
    api: String,
    command: Vec<String>,
    filter: LogFilter,
}

/// The names of the conditions that a filter has. A new one does not compile until it is named here, and then fails until a
/// case has it.
fn conditions(filter: &LogFilter) -> Vec<(&'static str, bool)> {
    let LogFilter {
        kind,
        outcome,
        status,
        model,
        model_version,
        client_key_id,
        client_key,
        client_ip,
        user_agent,
        upstream_key_id,
        upstream_key,
        project,
        egress,
        method,
        path,
        operation,
        streamed,
        finish_reason,
        service_tier,
        min_duration_ms,
        min_first_byte_ms,
        retried,
        error,
        since,
        until,
        text,
    } = filter;
    vec![
        ("kind", kind.is_some()),
        ("outcome", outcome.is_some()),
        ("status", status.is_some()),
        ("model", model.is_some()),
        ("model_version", model_version.is_some()),
        ("client_key_id", client_key_id.is_some()),
        ("client_key", client_key.is_some()),
        ("client_ip", client_ip.is_some()),
        ("user_agent", user_agent.is_some()),
        ("upstream_key_id", upstream_key_id.is_some()),
        ("upstream_key", upstream_key.is_some()),
        ("project", project.is_some()),
        ("egress", egress.is_some()),
        ("method", method.is_some()),
        ("path", path.is_some()),
        ("operation", operation.is_some()),
        ("streamed", streamed.is_some()),
        ("finish_reason", finish_reason.is_some()),
        ("service_tier", service_tier.is_some()),
        ("min_duration_ms", min_duration_ms.is_some()),
        ("min_first_byte_ms", min_first_byte_ms.is_some()),
        ("retried", *retried),
        ("error", error.is_some()),
        ("since", since.is_some()),
        ("until", until.is_some()),
        ("text", text.is_some()),
    ]
}

/// A case of one condition with its value, percent-encoded where it is part of a URL.
fn case(
    (page, api, command): (&str, &str, &str),
    value: &str,
    set: impl FnOnce(&mut LogFilter),
) -> Case {
    let mut filter = LogFilter::default();
    set(&mut filter);
    let pair = |name: &str| {
        let mut pairs = url::form_urlencoded::Serializer::new(String::new());
        pairs.append_pair(name, value).finish()
    };
    let mut command = vec![format!("--{command}")];
    // A flag without a value.
    if command[0] != "--retried" {
        command.push(value.to_owned());
    }
    Case {
        page: pair(page),
        api: pair(api),
        command,
        filter,
    }
}

#[expect(clippy::too_many_lines, reason = "a line or two for each condition")]
fn cases(begin: Timestamp) -> Vec<Case> {
    let text = |text: &str| Some(text.to_owned());
    let middle = begin + Duration::from_secs(20);
    let time = middle.to_string();
    let half = [
        case(("since", "since", "since"), &time, |filter| {
            filter.since = Some(middle);
        }),
        case(("until", "until", "until"), &time, |filter| {
            filter.until = Some(middle);
        }),
    ];
    let outcomes = Outcome::ALL.iter().map(|outcome| outcome.name());
    let outcomes = outcomes
        .chain(["failed", "running", "quota,network"])
        .map(|name| {
            case(("outcome", "outcome", "outcome"), name, |filter| {
                filter.outcome = Some(name.parse().unwrap());
            })
        });
    let statuses = ["200", "4xx", "503"].map(|status| {
        case(("status", "status", "status"), status, |filter| {
            filter.status = Some(status.parse().unwrap());
        })
    });
    let others = [
        case(("kind", "kind", "kind"), "check", |filter| {
            filter.kind = Some(LogKind::Check);
        }),
        case(("kind", "kind", "kind"), "request", |filter| {
            filter.kind = Some(LogKind::Request);
        }),
        case(("model", "model", "model"), "gemini-pro", |filter| {
            filter.model = text("gemini-pro");
        }),
        case(
            ("version", "model_version", "model-version"),
            "gemini-pro-002",
            |filter| filter.model_version = text("gemini-pro-002"),
        ),
        case(("client", "client_key_id", "client-id"), "2", |filter| {
            filter.client_key_id = Some(ClientKeyId(2));
        }),
        case(("client", "client_key", "client"), "a & b", |filter| {
            filter.client_key = text("a & b");
        }),
        case(("ip", "client_ip", "ip"), "2001:db8::7", |filter| {
            filter.client_ip = text("2001:db8::7");
        }),
        case(
            ("agent", "user_agent", "user-agent"),
            "curl/8.0 (x; +y) 你好",
            |filter| filter.user_agent = text("curl/8.0 (x; +y) 你好"),
        ),
        case(("key", "upstream_key_id", "upstream-key"), "2", |filter| {
            filter.upstream_key_id = Some(UpstreamKeyId(2));
        }),
        case(
            ("key", "upstream_key", "upstream-key-label"),
            "second",
            |filter| filter.upstream_key = text("second"),
        ),
        case(("project", "project", "project"), "team", |filter| {
            filter.project = text("team");
        }),
        case(("egress", "egress", "egress"), "out & 1", |filter| {
            filter.egress = text("out & 1");
        }),
        case(("egress", "egress", "egress"), "2", |filter| {
            filter.egress = text("2");
        }),
        case(("method", "method", "method"), "GET", |filter| {
            filter.method = text("GET");
        }),
        case(("path", "path", "path"), "/v1beta/files/a%2Fb", |filter| {
            filter.path = text("/v1beta/files/a%2Fb");
        }),
        case(
            ("operation", "operation", "operation"),
            "countTokens",
            |filter| filter.operation = text("countTokens"),
        ),
        case(("streamed", "streamed", "streamed"), "true", |filter| {
            filter.streamed = Some(true);
        }),
        case(("streamed", "streamed", "streamed"), "false", |filter| {
            filter.streamed = Some(false);
        }),
        case(
            ("reason", "finish_reason", "finish-reason"),
            "MAX_TOKENS",
            |filter| filter.finish_reason = text("MAX_TOKENS"),
        ),
        case(("tier", "service_tier", "service-tier"), "flex", |filter| {
            filter.service_tier = text("flex");
        }),
        case(
            ("min_ms", "min_duration_ms", "min-duration"),
            "2000",
            |filter| filter.min_duration_ms = Some(2_000),
        ),
        case(
            ("min_first_byte_ms", "min_first_byte_ms", "min-first-byte"),
            "1000",
            |filter| filter.min_first_byte_ms = Some(1_000),
        ),
        case(("retried", "retried", "retried"), "true", |filter| {
            filter.retried = true;
        }),
        case(("error", "error", "error"), "went WRONG", |filter| {
            filter.error = text("went WRONG");
        }),
        case(("q", "q", "text"), "a & B", |filter| {
            filter.text = text("a & B");
        }),
    ];
    let all = half.into_iter().chain(outcomes).chain(statuses);
    all.chain(others).collect()
}

/// A row whose values differ from those of its neighbours in each column.
fn row(number: i64, begin: Timestamp, projects: &[ProjectId]) -> NewRequestLog {
    let at = begin + Duration::from_secs(number.unsigned_abs());
    let pick = |every: i64| number % every == 0;
    let index = |length: usize| usize::try_from(number).unwrap() % length;
    let outcome = Outcome::ALL[index(Outcome::ALL.len())];
    let attempt = |key: i64| NewAttempt {
        upstream_key_id: UpstreamKeyId(key),
        project_id: projects[usize::try_from(key - 1).unwrap()],
        status: Some(200),
        outcome: Some(outcome),
        rule: None,
        error: None,
        started_at: at,
        first_byte_ms: Some(1),
        duration_ms: Some(1),
        egress_id: (number % 5 < 2).then(|| EgressProxyId(1 + (number + key) % 2)),
    };
    let attempts = match number % 4 {
        // These end without an attempt.
        _ if matches!(outcome, Outcome::NoKey | Outcome::Refused) => Vec::new(),
        0 => vec![attempt(1), attempt(2)],
        1 => vec![attempt(2)],
        2 => vec![attempt(1)],
        _ => Vec::new(),
    };
    let method = if pick(5) { "GET" } else { "POST" }.to_owned();
    let path = ["/v1beta/files/a%2Fb", "/v1beta/models/x:y"][index(2)].to_owned();
    let text = |text: &str| Some(text.to_owned());
    NewRequestLog {
        kind: if pick(7) {
            LogKind::Check
        } else {
            LogKind::Request
        },
        client_key_id: Some(ClientKeyId(1 + number % 2)).filter(|_| !pick(7)),
        client_ip: text(["192.0.2.1", "2001:db8::7", "192.0.2.2"][index(3)]),
        user_agent: text(["curl/8.0 (x; +y) 你好", "genai/1", "genai/2"][index(3)]),
        model: text(["gemini-pro", "gemini-flash"][index(2)]),
        model_version: text(["gemini-pro-001", "gemini-pro-002", "gemini-pro-003"][index(3)]),
        operation: text(["generateContent", "countTokens"][index(2)]),
        streamed: pick(3),
        status: Some([200, 404, 429, 503][index(4)]),
        outcome: Some(outcome),
        error: text("it went wrong\nin line 2").filter(|_| pick(3)),
        attempts,
        first_byte_ms: Some(u64::try_from(number).unwrap() * 100),
        duration_ms: Some(u64::try_from(number).unwrap() * 100),
        finish_reason: text(["STOP", "MAX_TOKENS"][index(2)]),
        service_tier: text(["standard", "flex"][index(2)]),
        ..NewRequestLog::started(RequestId::first_at(at), at, method, path)
    }
}

/// The ids in a page of the dashboard, in their order.
fn ids_in(page: &str) -> Vec<String> {
    let links = page.split("href=\"/logs/").skip(1);
    let ids = links.filter_map(|link| link.split(['"', '?', '/']).next());
    let mut ids: Vec<_> = ids.filter(|id| id.len() == 13).map(str::to_owned).collect();
    ids.dedup();
    ids
}

fn ids_of(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|row| row["id"].as_str().unwrap().to_owned())
        .collect()
}

async fn pool() -> (TestPool, ApiClient) {
    let key = |number: i64| {
        let secret = format!("AIza-key-of-the-filtered-log-{number:02}");
        FakeKey::healthy(&secret, format!("projects/{number}"))
    };
    let pool = TestPool::with_keys([key(1), key(2)]).await;
    let folder = pool.folder.path();
    for arguments in [
        &["clients", "create", "a & b"][..],
        &[
            "keys",
            "update",
            "2",
            "--project",
            "team",
            "--label",
            "second",
        ],
    ] {
        let output = run_command(folder, arguments);
        assert!(output.status.success(), "{output:?}");
    }
    let mut tx = pool.app.db.begin().await.unwrap();
    let act = act(&mut tx).await;
    let data_keys = pool.app.db.data_keys.load(&mut tx).await.unwrap();
    for label in ["out & 1", "out 2"] {
        let terms = EgressProxyTerms {
            label: label.to_owned(),
            address: ProxyAddress::parse("http://127.0.0.1:9").unwrap(),
            scope: EgressScope::All,
        };
        let id = egress_proxies::insert(&mut tx, &data_keys, &terms, &act)
            .await
            .unwrap();
        egress_proxies::update_enabled(&mut tx, id.unwrap(), false, &act)
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    let api = pool.admin_api().await;
    (pool, api)
}

async fn record(pool: &TestPool, begin: Timestamp) {
    let (keys, _) = upstream_keys::list_changed(&pool.app.db, -1).await.unwrap();
    let projects: Vec<_> = keys.iter().map(|key| key.project_id).collect();
    for number in 0..ROWS {
        let row = row(number, begin, &projects);
        pool.app
            .recorder
            .record_finished(Box::new(row))
            .await
            .unwrap();
    }
    for number in ROWS..ROWS + 2 {
        let mut row = row(number, begin, &projects);
        (row.outcome, row.status, row.duration_ms) = (None, None, None);
        for attempt in &mut row.attempts {
            (attempt.outcome, attempt.status) = (None, None);
        }
        pool.app.recorder.record_running(Box::new(row));
    }
    pool.settled().await;
}

// The server answers while the test waits for a command.
#[tokio::test(flavor = "multi_thread")]
async fn page_api_and_commands_agree_on_every_filter() {
    let (pool, api) = pool().await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let begin = Timestamp::from_millis(clock::now().as_millis() / 1_000 * 1_000);
    let begin = begin - Duration::from_hours(1);
    record(&pool, begin).await;
    let count = usize::try_from(ROWS).unwrap() + 2;
    let ids = eventually("all rows are in their tables", async || {
        let ids = api.all_items("/logs?kind=any", 500).await;
        (ids.len() == count).then_some(ids)
    });
    let ids: Vec<RequestId> = ids
        .await
        .iter()
        .map(|row| row["id"].as_str().unwrap().parse().unwrap())
        .collect();
    let rows = listed::list(pool.settled().await, &ids).await.unwrap();
    let recorded: Vec<_> = rows.iter().map(|row| row.started_at - begin).collect();
    let every_second = (0..ROWS.unsigned_abs() + 2).rev().map(Duration::from_secs);
    assert_eq!(recorded, every_second.collect::<Vec<_>>());

    let mut covered = BTreeSet::new();
    for case in cases(begin) {
        let Case {
            page,
            api: query,
            command,
            filter,
        } = case;
        let expected: Vec<_> = rows
            .iter()
            .filter(|row| filter.matches(row))
            .map(|row| row.id.to_string())
            .collect();
        assert!(
            !expected.is_empty() && expected.len() < rows.len(),
            "{page} tells {} rows apart",
            expected.len()
        );

        // The later of two `kind` counts on the page, and the API takes one.
        let any = if filter.kind.is_some() {
            ""
        } else {
            "kind=any&"
        };
        let shown = admin.get_page(&format!("/logs?{any}{page}")).await;
        assert_eq!(ids_in(&shown), expected, "page {page}");
        let list = api.get(&format!("/logs?{any}{query}&limit=500")).await;
        assert_eq!(ids_of(&list), expected, "API {query}");
        let mut arguments = vec!["logs", "list", "--json", "--limit", "500"];
        arguments.extend(command.iter().map(String::as_str));
        for output in [
            run_command(pool.folder.path(), &arguments),
            run_remotely(&api, pool.folder.path(), &arguments),
        ] {
            assert!(output.status.success(), "{command:?}: {output:?}");
            let list: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(ids_of(&list), expected, "{command:?}");
            assert_eq!(list["next"], Value::Null, "{command:?}");
        }
        let conditions = conditions(&filter).into_iter();
        covered.extend(
            conditions
                .filter(|(_, is_set)| *is_set)
                .map(|(name, _)| name),
        );
    }

    let all = conditions(&LogFilter::default());
    let all: BTreeSet<_> = all.into_iter().map(|(name, _)| name).collect();
    assert_eq!(covered, all, "every condition has a case");
}
