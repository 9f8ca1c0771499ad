//! Names that are as long as they can be break no page, on a desktop or a phone.

use crate::dashboard::pages::{self, NAVIGATION, assert_no_problems};
use crate::support::browser::Browser;

/// Long names without a space, where a line could break.
async fn names(pool: &crate::support::TestPool) {
    let model = format!("gemini-{}", "m".repeat(113));
    let long = |letter: &str| letter.repeat(200);
    for sql in [
        format!(
            "UPDATE client_keys SET name = '{}', note = '{}', tags = '[\"{}\"]', models = '[\"{model}\"]'",
            long("N"),
            long("o"),
            "t".repeat(64)
        ),
        format!(
            "UPDATE upstream_keys SET label = '{}', tags = '[\"{}\"]'",
            long("L"),
            "g".repeat(64)
        ),
        format!("UPDATE projects SET name = '{}'", long("P")),
        format!("UPDATE strings SET value = '{model}' WHERE value = 'gemini-2.5-flash'"),
        format!("UPDATE request_logs SET error = '{}'", long("e")),
        format!("UPDATE attempts SET error = '{}'", long("e")),
        format!(
            "UPDATE strings SET value = value || '{}' WHERE value LIKE '/v1beta/%'",
            "p".repeat(450)
        ),
        format!(
            "UPDATE egress_proxies SET label = label || '{}', url = 'http://' || id || '{}.example:3128'",
            long("x"),
            "h".repeat(190)
        ),
        format!(
            "UPDATE alert_targets SET name = '{}', address = '-100{}'",
            long("A"),
            "1".repeat(40)
        ),
        format!("UPDATE alert_events SET subject = '{model}' WHERE kind = 'no_key'"),
        format!("UPDATE api_tokens SET name = '{}'", long("T")),
        format!(
            "UPDATE audit_log SET name = '{}' WHERE name <> '' AND subject <> 'setting'",
            long("B")
        ),
        format!(
            "INSERT INTO log_views (admin_id, name, query, created_at_ms) SELECT id, '{}', 'outcome=failed', 1 FROM admins",
            long("V")
        ),
    ] {
        sqlx::query(&sql)
            .execute(&pool.app.db.writer)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn long_names_break_no_page() {
    let pool = pages::pool().await;
    pool.settled().await;
    names(&pool).await;
    let pool = pool.restart().await;
    let Some(browser) = Browser::start(&pool).await else {
        return;
    };
    browser.sign_in().await;
    let rows = pool.rows().await;
    let request = format!("/logs/{}", rows[0].id);
    let model = format!("/models/detail?name=gemini-{}", "m".repeat(113));
    let more = [
        "/upstream-keys/1",
        "/upstream-keys/1/edit",
        "/client-keys/1",
        "/client-keys/1/edit",
        "/client-keys/1/rotate",
        "/client-keys/1/delete",
        "/usage?by=client",
        "/usage?by=key",
        "/usage?by=project",
        "/usage?by=tag",
        "/usage?client=1",
        "/logs?from=7d&kind=all",
        "/search?q=LLLL",
        "/egress-proxies/1/edit",
        "/egress-proxies/1/remove",
        "/alerts/targets/1/edit",
        "/alerts/targets/1/delete",
        "/account/tokens/1/revoke",
        &request,
        &model,
    ];
    let mut problems = Vec::new();
    for path in NAVIGATION.into_iter().chain(more) {
        browser.use_desktop_size().await;
        browser.open(path).await;
        let name: String = path.chars().take(40).collect();
        let name = name
            .trim_start_matches('/')
            .replace(['/', '?', '=', '&'], "-");
        for is_phone in [false, true] {
            if is_phone {
                browser.use_phone_size().await;
            }
            let size = if is_phone { "phone" } else { "desktop" };
            browser.screenshot(&format!("long-{name}-{size}")).await;
            let faults = browser.layout_faults().await.into_iter();
            // A choice has one line, whatever its name.
            let faults = faults.filter(|fault| !fault.starts_with("a choice is cut off"));
            let faults =
                faults.map(|fault| format!("{name} {size}: {}", &fault[..fault.len().min(90)]));
            problems.extend(faults);
            if !browser.fits_window().await {
                problems.push(format!("{name} {size}: wider than the window"));
            }
        }
    }
    assert_no_problems(&problems);
}
