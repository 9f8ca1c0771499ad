//! What belongs to one project: found again, kept apart, listed together.

use std::collections::BTreeSet;

use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::quota::{ModelLimit, ProjectQuota, Tier};
use gemini_pool::pool::outcome::Outcome;
use serde_json::{Value, json};

use crate::support::requests::ClientResponse;
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

async fn send(
    pool: &TestPool,
    method: &str,
    path: &str,
    client: &str,
    body: &Value,
) -> ClientResponse {
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
    ClientResponse::whole(request.send().await.unwrap()).await
}

/// Makes a cache and tells its name.
async fn create(pool: &TestPool, client: &str) -> String {
    let response = send(pool, "POST", CACHES, client, &cache()).await;
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["name"].as_str().unwrap().to_owned()
}

/// Makes a cache behind the pool's back, in the project of a key.
async fn create_at_google(pool: &TestPool, number: usize) -> String {
    let request = pool
        .client
        .post(format!("{}{CACHES}", pool.google.url()))
        .header("x-goog-api-key", secret(number))
        .header("content-type", "application/json")
        .body(cache().to_string());
    let response = ClientResponse::whole(request.send().await.unwrap()).await;
    response.json()["name"].as_str().unwrap().to_owned()
}

/// Every name of a list, read page by page.
async fn listed(pool: &TestPool, client: &str, size: usize) -> Vec<String> {
    let (mut names, mut token) = (Vec::new(), String::new());
    loop {
        let path = format!("{CACHES}?pageSize={size}&pageToken={token}");
        let response = send(pool, "GET", &path, client, &Value::Null).await;
        assert_eq!(response.status, 200, "{}", response.text());
        let page = response.json();
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
    let pool = TestPool::with_keys(keys(8)).await;
    let cache = create(&pool, CLIENT_KEY).await;
    let in_body = question(&cache);
    // The same name, hidden behind escapes.
    let escaped = in_body
        .to_string()
        .replace("cachedContents/", "cached\\u0043ontents\\/");
    let escaped = escaped.replace("\"cachedContent\"", "\"cached\\u005fcontent\"");

    for _ in 0..6 {
        let response = send(&pool, "POST", GENERATE, CLIENT_KEY, &in_body).await;
        assert_eq!(response.status, 200, "{}", response.text());
        let row = pool.row_of(&response).await;
        assert_eq!((row.attempts, row.bound_by), (1, Some(cache.clone())));
        assert!(row.cached_tokens > Some(0));
    }
    let response = ClientResponse::whole(pool.post(GENERATE, &escaped).send().await.unwrap()).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let path = format!("/v1beta/{cache}");
    let response = send(&pool, "GET", &path, CLIENT_KEY, &Value::Null).await;
    assert_eq!(response.status, 200, "{}", response.text());

    // What the same client makes next is beside it, also after a restart.
    let pool = pool.restart().await;
    for _ in 0..3 {
        create(&pool, CLIENT_KEY).await;
    }
    let projects: BTreeSet<_> = pool
        .google
        .resources()
        .into_iter()
        .map(|resource| resource.project)
        .collect();
    assert_eq!(projects.len(), 1, "{projects:?}");
    let response = send(&pool, "POST", GENERATE, CLIENT_KEY, &in_body).await;
    assert_eq!(response.status, 200, "{}", response.text());

    // Deleted, it is gone for good, and nobody is asked for it.
    let response = send(&pool, "DELETE", &path, CLIENT_KEY, &Value::Null).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let response = send(&pool, "GET", &path, CLIENT_KEY, &Value::Null).await;
    assert!(
        matches!(response.status.as_u16(), 403 | 404),
        "{}",
        response.text()
    );
    assert_eq!(pool.google.resources().len(), 3);
    pool.assert_sums_agree().await;
}

#[tokio::test]
async fn what_a_client_makes_at_once_comes_to_one_project() {
    let pool = TestPool::with_keys(keys(12)).await;
    let made = futures_util::future::join_all((0..12).map(|_| create(&pool, CLIENT_KEY))).await;

    let resources = pool.google.resources();
    assert_eq!(resources.len(), made.len());
    let projects: BTreeSet<_> = resources
        .into_iter()
        .map(|resource| resource.project)
        .collect();
    assert_eq!(projects.len(), 1, "{projects:?}");
}

#[tokio::test]
async fn clients_use_and_see_what_they_made_themselves() {
    let pool = TestPool::with_keys(keys(5)).await;
    pool.add_client_key(OTHER_CLIENT).await;
    let (mine, others) = (
        create(&pool, CLIENT_KEY).await,
        create(&pool, OTHER_CLIENT).await,
    );
    create_at_google(&pool, 5).await;

    for (client, own, foreign) in [(CLIENT_KEY, &mine, &others), (OTHER_CLIENT, &others, &mine)] {
        assert_eq!(listed(&pool, client, 1).await, [own.as_str()]);
        let response = send(&pool, "POST", GENERATE, client, &question(own)).await;
        assert_eq!(response.status, 200, "{}", response.text());
        for (method, path, body) in [
            ("POST", GENERATE.to_owned(), question(foreign)),
            ("GET", format!("/v1beta/{foreign}"), Value::Null),
            ("DELETE", format!("/v1/{foreign}"), Value::Null),
        ] {
            let response = send(&pool, method, &path, client, &body).await;
            assert_eq!(response.status, 404, "{method} {path}: {}", response.text());
            assert_eq!(response.json()["error"]["status"], "NOT_FOUND");
            assert!(
                response.text().contains(foreign.as_str()),
                "{}",
                response.text()
            );
            let row = pool.row_of(&response).await;
            assert_eq!((row.attempts, row.outcome), (0, Some(Outcome::Refused)));
        }
    }

    pool.set(&[("client_isolation", "off")]).await;
    let response = send(&pool, "POST", GENERATE, CLIENT_KEY, &question(&others)).await;
    assert_eq!(response.status, 200, "{}", response.text());
    pool.assert_sums_agree().await;
}

#[tokio::test]
async fn no_way_of_asking_leads_to_what_is_anothers() {
    let pool = TestPool::with_keys(keys(1)).await;
    pool.add_client_key(OTHER_CLIENT).await;
    let theirs = create(&pool, OTHER_CLIENT).await;
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
        ("POST", GENERATE.to_owned(), far_off.as_str(), 404),
    ];
    for (method, path, body, status) in cases {
        let request = pool
            .client
            .request(method.parse().unwrap(), format!("{}{path}", pool.url))
            .header("x-goog-api-key", CLIENT_KEY)
            .header("content-type", "application/json")
            .body(body.to_owned());
        let response = ClientResponse::whole(request.send().await.unwrap()).await;
        assert_eq!(
            response.status,
            status,
            "{method} {path}: {}",
            response.text()
        );
        assert_eq!(pool.row_of(&response).await.attempts, 0, "{path}");
    }
    // Packed, a body may name what it likes.
    let packed = pool
        .post(GENERATE, &hidden)
        .header("content-encoding", "gzip");
    let response = ClientResponse::whole(packed.send().await.unwrap()).await;
    assert_eq!(response.status, 400, "{}", response.text());
    assert!(
        response
            .text()
            .contains("cannot be read: its gzip encoding is broken")
    );
    let environment =
        json!({"model": "gemini-2.5-flash", "input": "Why?", "environment": "remote"});
    let response = send(
        &pool,
        "POST",
        "/v1beta/interactions",
        CLIENT_KEY,
        &environment,
    )
    .await;
    assert_eq!(response.status, 200, "{}", response.text());
}

#[tokio::test]
async fn what_two_projects_hold_cannot_be_used_together() {
    let pool = TestPool::start_with(
        FakeConfig::with_keys(keys(4)),
        &[("client_isolation", "off")],
    )
    .await;
    pool.add_client_key(OTHER_CLIENT).await;
    let first = create(&pool, CLIENT_KEY).await;
    let mut second = create(&pool, OTHER_CLIENT).await;
    let project_of = |name: &str| {
        let mut all = pool.google.resources().into_iter();
        all.find(|resource| resource.name == name).unwrap().project
    };
    if project_of(&first) == project_of(&second) {
        // The rotation may have met the same key twice.
        let number = (1..=4).find(|number| number.to_string() != project_of(&first));
        second = create_at_google(&pool, number.unwrap()).await;
        let path = format!("/v1beta/{second}");
        let response = send(&pool, "GET", &path, CLIENT_KEY, &Value::Null).await;
        assert_eq!(response.status, 200, "{}", response.text());
    }
    let both = json!({"cachedContent": first, "contents": [{"cachedContent": second}]});

    let response = send(&pool, "POST", GENERATE, CLIENT_KEY, &both).await;

    let text = response.text();
    assert_eq!(response.status, 400, "{text}");
    assert!(text.contains(&first) && text.contains(&second), "{text}");
    assert_eq!(response.json()["error"]["status"], "INVALID_ARGUMENT");
    assert_eq!(pool.row_of(&response).await.attempts, 0);
}

#[tokio::test]
async fn the_lists_of_all_projects_are_one() {
    let fake_config = FakeConfig::with_keys(keys(6));
    let pool = TestPool::start_with(fake_config, &[("client_isolation", "off")]).await;
    let mut made = BTreeSet::new();
    for number in [1, 1, 1, 4, 4, 6] {
        let name = create_at_google(&pool, number).await;
        let path = format!("/v1beta/{name}");
        let response = send(&pool, "GET", &path, CLIENT_KEY, &Value::Null).await;
        assert_eq!(response.status, 200, "{}", response.text());
        made.insert(name);
    }

    for size in [1, 2, 100] {
        let names = listed(&pool, CLIENT_KEY, size).await;
        assert_eq!(names.len(), made.len(), "each once");
        assert_eq!(names.into_iter().collect::<BTreeSet<_>>(), made);
    }
    let path = format!("{CACHES}?pageToken=somebody-elses");
    let response = send(&pool, "GET", &path, CLIENT_KEY, &Value::Null).await;
    assert_eq!(response.status, 400, "{}", response.text());
    pool.assert_sums_agree().await;
}

#[tokio::test]
async fn what_nobody_is_known_to_have_made_is_looked_for() {
    let fake_config = FakeConfig::with_keys(keys(5));
    let pool = TestPool::start_with(fake_config, &[("client_isolation", "off")]).await;
    let name = create_at_google(&pool, 4).await;

    let response = send(&pool, "POST", GENERATE, CLIENT_KEY, &question(&name)).await;
    assert_eq!(response.status, 200, "{}", response.text());
    // Once found it is known.
    let response = send(&pool, "POST", GENERATE, CLIENT_KEY, &question(&name)).await;
    let row = pool.row_of(&response).await;
    assert_eq!((row.attempts, row.bound_by), (1, Some(name.clone())));

    let nowhere = question("cachedContents/nowhere");
    let response = send(&pool, "POST", GENERATE, CLIENT_KEY, &nowhere).await;
    assert_eq!(
        response.status,
        403,
        "Google's own answer: {}",
        response.text()
    );
    assert_eq!(
        pool.row_of(&response).await.attempts,
        5,
        "every project once"
    );

    // Who is kept apart has it looked for at home alone, and has none.
    pool.set(&[("client_isolation", "on")]).await;
    pool.add_client_key(OTHER_CLIENT).await;
    let response = send(&pool, "POST", GENERATE, OTHER_CLIENT, &nowhere).await;
    assert_eq!(response.status, 404, "{}", response.text());
    assert_eq!(pool.row_of(&response).await.attempts, 0);
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
    let fake_config = FakeConfig {
        quotas: (1..=4).map(quota).collect(),
        ..FakeConfig::with_keys(keys(4))
    };
    let pool = TestPool::start_with(fake_config, &[("wait_for_key_seconds", "0")]).await;
    let cache = create(&pool, CLIENT_KEY).await;

    let mut statuses = Vec::new();
    for _ in 0..4 {
        let response = send(&pool, "POST", GENERATE, CLIENT_KEY, &question(&cache)).await;
        statuses.push(response.status.as_u16());
        if response.status == 429 {
            let row = pool.row_of(&response).await;
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
    let pool = TestPool::with_keys(keys(2)).await;
    let paths = [
        "/v1alpha/auth_tokens",
        "/v1beta/tunedModels/x/permissions",
        "/v1beta/webhooks",
        "/v1beta/tunedModels/x:transferOwnership",
    ];
    for path in paths {
        let response = send(&pool, "POST", path, CLIENT_KEY, &json!({})).await;
        assert_eq!(response.status, 403, "{path}");
        assert!(
            response.text().contains("--direct-access"),
            "{}",
            response.text()
        );
        assert_eq!(pool.row_of(&response).await.attempts, 0);
    }
    pool.allow(|terms| terms.direct_access = true).await;
    let response = send(&pool, "POST", paths[0], CLIENT_KEY, &json!({})).await;
    assert!(
        !response.text().contains("gemini-pool"),
        "{}",
        response.text()
    );
}

#[tokio::test]
async fn long_work_is_counted_where_it_is_first_seen_done() {
    let mut pool = TestPool::with_keys(keys(6)).await;
    let request = json!({"request": {"contents": [{"role": "user", "parts": [{"text": "Why?"}]}]}});
    let batch = json!({"batch": {"displayName": "b", "inputConfig": {"requests": {"requests": [request, request]}}}});
    let path = "/v1beta/models/gemini-2.5-flash:batchGenerateContent";
    let background = json!({"model": "gemini-2.5-flash", "input": "Why?", "background": true});
    let mut paths = Vec::new();
    for (path, body, name) in [
        (path, batch, "name"),
        ("/v1beta/interactions", background, "id"),
    ] {
        let response = send(&pool, "POST", path, CLIENT_KEY, &body).await;
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(
            pool.row_of(&response).await.output_tokens,
            None,
            "not done yet"
        );
        let name = response.json()[name].as_str().unwrap().to_owned();
        let name = if name.contains('/') {
            name
        } else {
            format!("interactions/{name}")
        };
        paths.push(format!("/v1beta/{name}"));
    }

    for path in paths {
        let mut counted = Vec::new();
        for poll in 0..8 {
            if poll == 6 {
                pool = pool.restart().await;
            }
            let response = send(&pool, "GET", &path, CLIENT_KEY, &Value::Null).await;
            assert_eq!(response.status, 200, "{}", response.text());
            let row = pool.row_of(&response).await;
            assert_eq!(row.attempts, 1);
            counted.extend(row.output_tokens);
        }
        assert_eq!(counted.len(), 1, "{path}: {counted:?}");
    }
    pool.assert_sums_agree().await;
}

#[tokio::test]
async fn a_conversation_goes_on_where_it_began() {
    let pool = TestPool::with_keys(keys(10)).await;
    let mut projects = BTreeSet::new();
    for _ in 0..3 {
        let mut previous = Value::Null;
        let mut project = None;
        for turn in 0..5 {
            let body = json!({
                "model": "gemini-2.5-flash", "input": format!("Turn {turn}"), "stream": turn % 2 == 1,
                "previous_interaction_id": previous,
            });
            let response = send(&pool, "POST", "/v1beta/interactions", CLIENT_KEY, &body).await;
            let text = response.text();
            assert_eq!(response.status, 200, "{text}");
            let row = pool.row_of(&response).await;
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
