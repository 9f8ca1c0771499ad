//! Every route requires a session, and forms of other sites change nothing.

use gemini_pool::dashboard::admin_paths;
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use reqwest::Method;
use reqwest::header::{ACCEPT, LOCATION};
use sqlx::{Row, SqlitePool};

use crate::support::admin::{AdminClient, PASSWORD, with_form};
use crate::support::{CLIENT_KEY, TestPool};

const METHODS: [Method; 5] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
];

const UPSTREAM_KEY: &str = "AIza-key-behind-the-guard-0001";

/// A pool with data on every page, and with secrets.
async fn pool() -> TestPool {
    let pool = TestPool::with_keys([FakeKey::healthy(UPSTREAM_KEY, "projects/1")]).await;
    assert_eq!(pool.generate().await.status(), 200);
    pool
}

/// Every admin path, with the id 1 or the first name for each parameter.
fn paths() -> Vec<String> {
    let paths = admin_paths();
    assert!(paths.len() > 10, "{paths:?}");
    let named = |path: &str| {
        let parts = path
            .split('/')
            .map(|part| if part.starts_with('{') { "1" } else { part });
        parts.collect::<Vec<_>>().join("/")
    };
    paths.into_iter().map(named).collect()
}

#[tokio::test]
async fn every_admin_route_requires_a_session() {
    let pool = pool().await;
    pool.add_admin().await;
    let before = dump(pool.settled().await).await;

    for path in paths() {
        for method in METHODS {
            for accepted in ["text/html", "*/*"] {
                let case = format!("{method} {path} for {accepted}");
                let request = pool
                    .client
                    .request(method.clone(), format!("{}{path}", pool.url));
                let answer = request.header(ACCEPT, accepted).send().await.unwrap();

                match answer.status().as_u16() {
                    303 => {
                        let to = answer.headers()[LOCATION].to_str().unwrap();
                        assert!(to.starts_with("/login"), "{case}: {to}");
                    }
                    401 | 403 | 405 => {}
                    status => panic!("{case}: {status}"),
                }
                let body = answer.text().await.unwrap();
                assert!(
                    !body.contains("CLIENT_KEY") && !body.contains("<nav"),
                    "{case}: {body}"
                );
            }
        }
    }
    assert_eq!(dump(pool.settled().await).await, before);
}

#[tokio::test]
async fn a_page_that_does_not_exist_is_a_page_for_an_admin_and_the_sign_in_for_others() {
    let pool = pool().await;
    let admin = AdminClient::sign_in(&pool).await;

    let page = admin.request(Method::GET, "/upstream-key?x=1");
    let page = page.send().await.unwrap();
    assert_eq!(page.status(), 404);
    let page = page.text().await.unwrap();
    assert!(page.contains("has no page /upstream-key."), "{page}");
    assert!(page.contains("<nav"), "{page}");

    let unknown = format!("{}/upstream-key", pool.url);
    let other = pool.client.get(&unknown).header(ACCEPT, "text/html");
    let other = other.send().await.unwrap();
    assert_eq!(other.status(), 303);
    assert_eq!(other.headers()[LOCATION], "/login?next=/upstream-key");
    let program = pool.client.get(&unknown).send().await.unwrap();
    assert_eq!(program.status(), 404);
    assert_eq!(
        program.headers()["content-type"],
        "application/json; charset=UTF-8"
    );
}

#[tokio::test]
async fn a_form_without_a_csrf_token_changes_nothing() {
    let pool = pool().await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let before = dump(pool.settled().await).await;

    for path in paths() {
        for method in METHODS.into_iter().filter(|method| *method != Method::GET) {
            let token = "00".repeat(32);
            let forged = with_form(
                admin.request(method.clone(), &path),
                &[("csrf", &token), ("id", "1")],
            );
            let answers = [
                admin.request(method.clone(), &path).send().await.unwrap(),
                forged.send().await.unwrap(),
            ];
            for answer in answers {
                let status = answer.status().as_u16();
                assert!([403, 405].contains(&status), "{method} {path}: {status}");
            }
        }
    }
    assert_eq!(dump(pool.settled().await).await, before);
    admin.get_page("/account").await;
}

#[tokio::test]
async fn no_page_contains_a_secret() {
    let pool = pool().await;
    let admin = AdminClient::sign_in(&pool).await;
    let request = format!("/logs/{}", pool.finished_rows(1).await[0].id);
    let mut page_count = 0;

    // Live streams never end, and contain only data of their page.
    let paths = paths().into_iter().filter(|path| !path.ends_with("/live"));
    for path in paths.chain([request, "/login".to_owned()]) {
        let answer = admin.request(Method::GET, &path).send().await.unwrap();
        page_count += usize::from(answer.status() == 200);
        let headers = format!("{:?}", answer.headers());
        let page = answer.text().await.unwrap();
        for secret in [UPSTREAM_KEY, CLIENT_KEY, PASSWORD, "$argon2id$"] {
            assert!(!page.contains(secret), "{path}");
            assert!(!headers.contains(secret), "{path}");
        }
    }
    assert!(
        page_count > 15,
        "only {page_count} pages responded with 200"
    );
}

#[tokio::test]
async fn large_forms_require_a_session() {
    let pool = pool().await;
    let mut admin = AdminClient::open_login(&pool).await;
    let large = format!("{UPSTREAM_KEY}{}", "\n".repeat(1_500_000));

    let fields = [("username", "admin"), ("password", large.as_str())];
    assert_eq!(admin.submit("/login", &fields).await.status(), 413);
    admin.get_page("/login").await;
    assert_eq!(admin.submit_login().await.status(), 303);
    admin.get_page("/upstream-keys/import").await;
    let fields = [("text", large.as_str())];
    let preview = admin.submit("/upstream-keys/import", &fields).await;
    assert_eq!(preview.status(), 303);
}

#[tokio::test]
async fn changing_the_language_on_a_form_response_returns_to_the_form() {
    let pool = pool().await;
    let mut admin = AdminClient::sign_in(&pool).await;
    admin.get_page("/settings").await;

    let form = [("current", "wrong"), ("new", "x"), ("repeated", "y")];
    let answer = admin
        .submit_from("/account?from=here", "/account/password", &form)
        .await;
    assert_eq!(answer.status(), 422);
    let page = answer.text().await.unwrap();
    assert!(page.contains(r#"name="back" value="/account?from=here""#));
}

#[tokio::test]
async fn pages_forbid_content_from_other_sites() {
    let pool = pool().await;
    let admin = AdminClient::sign_in(&pool).await;

    for path in ["/login", "/account", "/nowhere-of-ours/1"] {
        let answer = admin.request(Method::GET, path).send().await.unwrap();
        if answer.status() == 404 {
            continue;
        }
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert!(header("content-security-policy").contains("default-src 'none'"));
        assert!(!header("content-security-policy").contains("unsafe"));
        // The origin is the proxy's too.
        let policy = header("content-security-policy");
        let sources = |directive: &str| {
            let mut directives = policy.split("; ");
            let found = directives.find_map(|found| found.strip_prefix(directive));
            found.expect("the directive is there").trim().to_owned()
        };
        let (script, style) = (sources("script-src "), sources("style-src "));
        assert!(
            script
                .split(' ')
                .all(|source| source.starts_with("'sha256-")),
            "{policy}"
        );
        assert!(
            style.starts_with("'nonce-") && !style.contains(' '),
            "{policy}"
        );
        let again = admin.request(Method::GET, path).send().await.unwrap();
        let again = again.headers()["content-security-policy"].to_str().unwrap();
        assert!(
            again.contains(&script) && !again.contains(&style),
            "{again}"
        );
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("x-frame-options"), "DENY");
        assert_eq!(header("cache-control"), "no-store");
    }
}

/// All rows of all tables, except the writes of sign-ins and page views.
async fn dump(db: &SqlitePool) -> Vec<String> {
    let tables = sqlx::query(
        "SELECT m.name, group_concat('quote(\"' || c.name || '\")', ' || \"|\" || ') AS columns
         FROM sqlite_schema m, pragma_table_info(m.name) c
         WHERE m.type = 'table' AND m.name NOT GLOB 'sqlite_*' AND m.name NOT GLOB '*session*'
             AND m.name NOT IN ('sign_ins', '_sqlx_migrations')
         GROUP BY m.name
         ORDER BY m.name",
    );
    let mut rows = Vec::new();
    for table in tables.fetch_all(db).await.unwrap() {
        let (name, columns): (String, String) = (table.get("name"), table.get("columns"));
        let columns = columns.replace("\"|\"", "'|'");
        let sql = format!("SELECT '{name}: ' || {columns} FROM \"{name}\"");
        let mut rows_of_table: Vec<String> = sqlx::query_scalar(&sql).fetch_all(db).await.unwrap();
        rows_of_table.sort();
        rows.append(&mut rows_of_table);
    }
    assert!(rows.iter().any(|row| row.starts_with("client_keys: ")));
    rows
}
