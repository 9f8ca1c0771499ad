//! What belongs to one project: found again, kept apart, listed together.

use std::collections::BTreeSet;

use gemini_pool::demo::fake_gemini::Rules;
use gemini_pool::demo::fake_gemini::fate::FakeKey;
use gemini_pool::demo::fake_gemini::quota::{ModelLimit, ProjectQuota, Tier};
use gemini_pool::pool::outcome::Outcome;
use serde_json::{Value, json};

use crate::support::asking::Heard;
use crate::support::{CLIENT_KEY, TestPool};

const OTHER_CLIENT: &str = "CLIENT_KEY_2";
const CACHES: &str = "/v1beta/cachedContents";
const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";

fn secret(number: usize) -> String {
    format!("AIzaSyTheKeyOfProjectNumber{number:012}")
}

fn keys(count: usize) -> Vec<FakeKey> {
    let numbers = 1..=count;
    numbers
        .map(|number| FakeKey::healthy(secret(number), number.to_string()))
        .collect()
}

fn cache() -> Value {
    let text = "A long story about a lighthouse. ".repeat(2_000);
    json!({"model": "models/gemini-2.5-flash", "ttl": "600s", "contents": [{"role": "user", "parts": [{"text": text}]}]})
}

fn question(cache: &str) -> Value {
    json!({"cachedContent": cache, "contents": [{"role": "user", "parts": [{"text": "Who?"}]}]})
}

async fn send(pool: &TestPool, method: &str, path: &str, client: &str, body: &Value) -> Heard {
    let request = pool
        .client
        .request(method.parse().unwrap(), format!("{}{path}", pool.url))
        .header("x-goog-api-key", client);
    let request = if body.is_null() {
        request
    } else {
        request
            .header("content-type", "application/json")
            .body(body.to_string())
    };
    Heard::whole(request.send().await.unwrap()).await
}

/// Makes a cache and tells its name.
async fn make(pool: &TestPool, client: &str) -> String {
    let heard = send(pool, "POST", CACHES, client, &cache()).await;
    assert_eq!(heard.status, 200, "{}", heard.text());
    heard.json()["name"].as_str().unwrap().to_owned()
}

/// Makes a cache behind the pool's back, in the project of a key.
async fn make_at_google(pool: &TestPool, number: usize) -> String {
    let request = pool
        .client
        .post(format!("{}{CACHES}", pool.google.url()))
        .header("x-goog-api-key", secret(number))
        .header("content-type", "application/json")
        .body(cache().to_string());
    let heard = Heard::whole(request.send().await.unwrap()).await;
    heard.json()["name"].as_str().unwrap().to_owned()
}

/// Every name of a list, read page by page.
async fn listed(pool: &TestPool, client: &str, size: usize) -> Vec<String> {
    let (mut names, mut token) = (Vec::new(), String::new());
    loop {
        let path = format!("{CACHES}?pageSize={size}&pageToken={token}");
        let heard = send(pool, "GET", &path, client, &Value::Null).await;
        assert_eq!(heard.status, 200, "{}", heard.text());
        let page = heard.json();
        let items = page["cachedContents"].as_array();
        let items = items.map(Vec::as_slice).unwrap_or_default();
        assert!(items.len() <= size);
        names.extend(
            items
                .iter()
                .map(|item| item["name"].as_str().unwrap().to_owned()),
        );
        match page["nextPageToken"].as_str() {
            Some(next) => next.clone_into(&mut token),
            None => return names,
        }
    }
}

#[tokio::test]
async fn what_was_made_is_used_with_the_keys_of_its_project() {
    let pool = TestPool::of(keys(8)).await;
    let cache = make(&pool, CLIENT_KEY).await;
    let in_body = question(&cache);
    // The same name, hidden behind escapes.
    let escaped = in_body
        .to_string()
        .replace("cachedContents/", "cached\\u0043ontents\\/");
    let escaped = escaped.replace("\"cachedContent\"", "\"cached\\u005fcontent\"");

    for _ in 0..6 {
        let heard = send(&pool, "POST", GENERATE, CLIENT_KEY, &in_body).await;
        assert_eq!(heard.status, 200, "{}", heard.text());
        let row = pool.row_of(&heard).await;
        assert_eq!((row.attempts, row.bound_by), (1, Some(cache.clone())));
        assert!(row.cached_tokens > Some(0));
    }
    let heard = Heard::whole(pool.post(GENERATE, &escaped).send().await.unwrap()).await;
    assert_eq!(heard.status, 200, "{}", heard.text());
    let path = format!("/v1beta/{cache}");
    let heard = send(&pool, "GET", &path, CLIENT_KEY, &Value::Null).await;
    assert_eq!(heard.status, 200, "{}", heard.text());

    // What the same client makes next is beside it, also after a restart.
    let pool = pool.restart().await;
    for _ in 0..3 {
        make(&pool, CLIENT_KEY).await;
    }
    let projects: BTreeSet<_> = pool
        .google
        .belongings()
        .into_iter()
        .map(|thing| thing.project)
        .collect();
    assert_eq!(projects.len(), 1, "{projects:?}");
    let heard = send(&pool, "POST", GENERATE, CLIENT_KEY, &in_body).await;
    assert_eq!(heard.status, 200, "{}", heard.text());

    // Deleted, it is gone for good, and nobody is asked for it.
    let heard = send(&pool, "DELETE", &path, CLIENT_KEY, &Value::Null).await;
    assert_eq!(heard.status, 200, "{}", heard.text());
    let heard = send(&pool, "GET", &path, CLIENT_KEY, &Value::Null).await;
    assert!(
        matches!(heard.status.as_u16(), 403 | 404),
        "{}",
        heard.text()
    );
    assert_eq!(pool.google.belongings().len(), 3);
    pool.assert_sums_agree().await;
}

#[tokio::test]
async fn what_a_client_makes_at_once_comes_to_one_project() {
    let pool = TestPool::of(keys(12)).await;
    let made = futures_util::future::join_all((0..12).map(|_| make(&pool, CLIENT_KEY))).await;

    let things = pool.google.belongings();
    assert_eq!(things.len(), made.len());
    let projects: BTreeSet<_> = things.into_iter().map(|thing| thing.project).collect();
    assert_eq!(projects.len(), 1, "{projects:?}");
}

#[tokio::test]
async fn clients_use_and_see_what_they_made_themselves() {
    let pool = TestPool::of(keys(5)).await;
    pool.add_client(OTHER_CLIENT).await;
    let (mine, others) = (
        make(&pool, CLIENT_KEY).await,
        make(&pool, OTHER_CLIENT).await,
    );
    make_at_google(&pool, 5).await;

    for (client, own, foreign) in [(CLIENT_KEY, &mine, &others), (OTHER_CLIENT, &others, &mine)] {
        assert_eq!(listed(&pool, client, 1).await, [own.as_str()]);
        let heard = send(&pool, "POST", GENERATE, client, &question(own)).await;
        assert_eq!(heard.status, 200, "{}", heard.text());
        for (method, path, body) in [
            ("POST", GENERATE.to_owned(), question(foreign)),
            ("GET", format!("/v1beta/{foreign}"), Value::Null),
            ("DELETE", format!("/v1/{foreign}"), Value::Null),
        ] {
            let heard = send(&pool, method, &path, client, &body).await;
            assert_eq!(heard.status, 404, "{method} {path}: {}", heard.text());
            assert_eq!(heard.json()["error"]["status"], "NOT_FOUND");
            assert!(heard.text().contains(foreign.as_str()), "{}", heard.text());
            let row = pool.row_of(&heard).await;
            assert_eq!((row.attempts, row.outcome), (0, Some(Outcome::Refused)));
        }
    }

    pool.set(&[("client_isolation", "off")]).await;
    let heard = send(&pool, "POST", GENERATE, CLIENT_KEY, &question(&others)).await;
    assert_eq!(heard.status, 200, "{}", heard.text());
    pool.assert_sums_agree().await;
}

#[tokio::test]
async fn no_way_of_asking_leads_to_what_is_anothers() {
    let pool = TestPool::of(keys(1)).await;
    pool.add_client(OTHER_CLIENT).await;
    let theirs = make(&pool, OTHER_CLIENT).await;
    let hidden = format!(r#"{{"cachedContent":"{theirs}","contents":[]}}"#);
    let spaces = " ".repeat(100_000);
    let far_off = format!(r#"{{"fileSearchStoreNames":[{spaces}"fileSearchStores/x"]}}"#);
    let cases = [
        ("GET", format!("{CACHES}/"), "", 400),
        ("GET", format!("{CACHES}%2F"), "", 400),
        (
            "GET",
            "/v1beta/fileSearchStores/-/documents".to_owned(),
            "",
            400,
        ),
        ("GET", format!("/gemini/v1beta/{theirs}"), "", 404),
        (
            "GET",
            format!("/v1beta/{}", theirs.replace('/', "%2F")),
            "",
            404,
        ),
        ("POST", GENERATE.to_owned(), hidden.as_str(), 404),
        ("POST", GENERATE.to_owned(), far_off.as_str(), 400),
    ];
    for (method, path, body, status) in cases {
        let request = pool
            .client
            .request(method.parse().unwrap(), format!("{}{path}", pool.url))
            .header("x-goog-api-key", CLIENT_KEY)
            .header("content-type", "application/json")
            .body(body.to_owned());
        let heard = Heard::whole(request.send().await.unwrap()).await;
        assert_eq!(heard.status, status, "{method} {path}: {}", heard.text());
        assert_eq!(pool.row_of(&heard).await.attempts, 0, "{path}");
    }
    // Packed, a body may name what it likes.
    let packed = pool
        .post(GENERATE, &hidden)
        .header("content-encoding", "gzip");
    let heard = Heard::whole(packed.send().await.unwrap()).await;
    assert_eq!(heard.status, 400, "{}", heard.text());
    assert!(heard.text().contains("Send plain JSON"));
    let environment =
        json!({"model": "gemini-2.5-flash", "input": "Why?", "environment": "remote"});
    let heard = send(
        &pool,
        "POST",
        "/v1beta/interactions",
        CLIENT_KEY,
        &environment,
    )
    .await;
    assert_eq!(heard.status, 200, "{}", heard.text());
}

#[tokio::test]
async fn what_two_projects_hold_cannot_be_used_together() {
    let pool =
        TestPool::start_with(Rules::with_keys(keys(4)), &[("client_isolation", "off")]).await;
    pool.add_client(OTHER_CLIENT).await;
    let first = make(&pool, CLIENT_KEY).await;
    let mut second = make(&pool, OTHER_CLIENT).await;
    let project_of = |name: &str| {
        let mut all = pool.google.belongings().into_iter();
        all.find(|thing| thing.name == name).unwrap().project
    };
    if project_of(&first) == project_of(&second) {
        // The rotation may have met the same key twice.
        let number = (1..=4).find(|number| number.to_string() != project_of(&first));
        second = make_at_google(&pool, number.unwrap()).await;
        let path = format!("/v1beta/{second}");
        let heard = send(&pool, "GET", &path, CLIENT_KEY, &Value::Null).await;
        assert_eq!(heard.status, 200, "{}", heard.text());
    }
    let both = json!({"cachedContent": first, "cached_content": second, "contents": []});

    let heard = send(&pool, "POST", GENERATE, CLIENT_KEY, &both).await;

    let text = heard.text();
    assert_eq!(heard.status, 400, "{text}");
    assert!(text.contains(&first) && text.contains(&second), "{text}");
    assert_eq!(heard.json()["error"]["status"], "INVALID_ARGUMENT");
    assert_eq!(pool.row_of(&heard).await.attempts, 0);
}

#[tokio::test]
async fn the_lists_of_all_projects_are_one() {
    let rules = Rules::with_keys(keys(6));
    let pool = TestPool::start_with(rules, &[("client_isolation", "off")]).await;
    let mut made = BTreeSet::new();
    for number in [1, 1, 1, 4, 4, 6] {
        let name = make_at_google(&pool, number).await;
        let path = format!("/v1beta/{name}");
        let heard = send(&pool, "GET", &path, CLIENT_KEY, &Value::Null).await;
        assert_eq!(heard.status, 200, "{}", heard.text());
        made.insert(name);
    }

    for size in [1, 2, 100] {
        let names = listed(&pool, CLIENT_KEY, size).await;
        assert_eq!(names.len(), made.len(), "each once");
        assert_eq!(names.into_iter().collect::<BTreeSet<_>>(), made);
    }
    let path = format!("{CACHES}?pageToken=somebody-elses");
    let heard = send(&pool, "GET", &path, CLIENT_KEY, &Value::Null).await;
    assert_eq!(heard.status, 400, "{}", heard.text());
    pool.assert_sums_agree().await;
}

#[tokio::test]
async fn what_nobody_is_known_to_have_made_is_looked_for() {
    let rules = Rules::with_keys(keys(5));
    let pool = TestPool::start_with(rules, &[("client_isolation", "off")]).await;
    let name = make_at_google(&pool, 4).await;

    let heard = send(&pool, "POST", GENERATE, CLIENT_KEY, &question(&name)).await;
    assert_eq!(heard.status, 200, "{}", heard.text());
    // Once found it is known.
    let heard = send(&pool, "POST", GENERATE, CLIENT_KEY, &question(&name)).await;
    let row = pool.row_of(&heard).await;
    assert_eq!((row.attempts, row.bound_by), (1, Some(name.clone())));

    let nowhere = question("cachedContents/nowhere");
    let heard = send(&pool, "POST", GENERATE, CLIENT_KEY, &nowhere).await;
    assert_eq!(heard.status, 403, "Google's own answer: {}", heard.text());
    assert_eq!(pool.row_of(&heard).await.attempts, 5, "every project once");

    // Who is kept apart has it looked for at home alone, and has none.
    pool.set(&[("client_isolation", "on")]).await;
    pool.add_client(OTHER_CLIENT).await;
    let heard = send(&pool, "POST", GENERATE, OTHER_CLIENT, &nowhere).await;
    assert_eq!(heard.status, 404, "{}", heard.text());
    assert_eq!(pool.row_of(&heard).await.attempts, 0);
}

#[tokio::test]
async fn when_its_project_rests_no_other_is_asked() {
    let limit = ModelLimit::new("*", Some(2), None, None);
    let quota = |number: usize| {
        let quota = ProjectQuota {
            tier: Tier::Free,
            limits: vec![limit.clone()],
        };
        (number.to_string(), quota)
    };
    let rules = Rules {
        quotas: (1..=4).map(quota).collect(),
        ..Rules::with_keys(keys(4))
    };
    let pool = TestPool::start_with(rules, &[("wait_for_key_seconds", "0")]).await;
    let cache = make(&pool, CLIENT_KEY).await;

    let mut statuses = Vec::new();
    for _ in 0..4 {
        let heard = send(&pool, "POST", GENERATE, CLIENT_KEY, &question(&cache)).await;
        statuses.push(heard.status.as_u16());
        if heard.status == 429 {
            let row = pool.row_of(&heard).await;
            assert_eq!(row.bound_by.as_deref(), Some(cache.as_str()));
            assert!(row.attempts <= 1, "{row:?}");
        }
    }
    assert_eq!(statuses, [200, 200, 429, 429]);
    // Others still serve what names nothing.
    assert_eq!(pool.generate().await.status(), 200);
}

#[tokio::test]
async fn what_goes_past_the_pool_is_off_until_it_is_allowed() {
    let pool = TestPool::of(keys(2)).await;
    let paths = [
        "/v1alpha/auth_tokens",
        "/v1beta/tunedModels/x/permissions",
        "/v1beta/webhooks",
        "/v1beta/tunedModels/x:transferOwnership",
    ];
    for path in paths {
        let heard = send(&pool, "POST", path, CLIENT_KEY, &json!({})).await;
        assert_eq!(heard.status, 403, "{path}");
        assert!(heard.text().contains("--direct-access"), "{}", heard.text());
        assert_eq!(pool.row_of(&heard).await.attempts, 0);
    }
    pool.allow(|terms| terms.direct_access = true).await;
    let heard = send(&pool, "POST", paths[0], CLIENT_KEY, &json!({})).await;
    assert!(!heard.text().contains("gemini-pool"), "{}", heard.text());
}

#[tokio::test]
async fn long_work_is_counted_where_it_is_first_seen_done() {
    let mut pool = TestPool::of(keys(6)).await;
    let request = json!({"request": {"contents": [{"role": "user", "parts": [{"text": "Why?"}]}]}});
    let batch = json!({"batch": {"displayName": "b", "inputConfig": {"requests": {"requests": [request, request]}}}});
    let path = "/v1beta/models/gemini-2.5-flash:batchGenerateContent";
    let background = json!({"model": "gemini-2.5-flash", "input": "Why?", "background": true});
    let mut paths = Vec::new();
    for (path, body, name) in [
        (path, batch, "name"),
        ("/v1beta/interactions", background, "id"),
    ] {
        let heard = send(&pool, "POST", path, CLIENT_KEY, &body).await;
        assert_eq!(heard.status, 200, "{}", heard.text());
        assert_eq!(
            pool.row_of(&heard).await.output_tokens,
            None,
            "not done yet"
        );
        let name = heard.json()[name].as_str().unwrap().to_owned();
        let name = if name.contains('/') {
            name
        } else {
            format!("interactions/{name}")
        };
        paths.push(format!("/v1beta/{name}"));
    }

    for path in paths {
        let mut counted = Vec::new();
        for look in 0..8 {
            if look == 6 {
                pool = pool.restart().await;
            }
            let heard = send(&pool, "GET", &path, CLIENT_KEY, &Value::Null).await;
            assert_eq!(heard.status, 200, "{}", heard.text());
            let row = pool.row_of(&heard).await;
            assert_eq!(row.attempts, 1);
            counted.extend(row.output_tokens);
        }
        assert_eq!(counted.len(), 1, "{path}: {counted:?}");
    }
    pool.assert_sums_agree().await;
}

#[tokio::test]
async fn a_conversation_goes_on_where_it_began() {
    let pool = TestPool::of(keys(10)).await;
    let mut projects = BTreeSet::new();
    for _ in 0..3 {
        let mut previous = Value::Null;
        let mut project = None;
        for turn in 0..5 {
            let body = json!({
                "model": "gemini-2.5-flash", "input": format!("Turn {turn}"), "stream": turn % 2 == 1,
                "previous_interaction_id": previous,
            });
            let heard = send(&pool, "POST", "/v1beta/interactions", CLIENT_KEY, &body).await;
            let text = heard.text();
            assert_eq!(heard.status, 200, "{text}");
            let row = pool.row_of(&heard).await;
            assert_eq!(row.attempts, 1, "{row:?}");
            assert!(
                row.total_tokens > Some(0) || row.output_tokens > Some(0),
                "{row:?}"
            );
            assert!(
                project.is_none_or(|project| project == row.project_id),
                "{row:?}"
            );
            assert_eq!(row.bound_by.is_some(), turn > 0);
            project = Some(row.project_id);
            let at = text.find("v1_").unwrap();
            let id: String = text[at..].chars().take_while(|char| *char != '"').collect();
            previous = Value::from(id);
        }
        projects.insert(project);
    }
    assert!(projects.len() > 1, "conversations are spread: {projects:?}");
}
