//! Pages are accessible in every state: empty, with dialogs, menus, charts and confirmations open.

use crate::dashboard::pages::{self, examine_open_page};
use crate::dashboard::status::empty_pool;
use crate::support::TestPool;
use crate::support::browser::Browser;

/// Examines states of pages, and collects what is wrong.
struct Examination {
    browser: Browser,
    problems: Vec<String>,
}

impl Examination {
    /// Of a signed-in admin; `None` if there is no browser.
    async fn start(pool: &TestPool) -> Option<Self> {
        let browser = Browser::start(pool).await?;
        browser.sign_in().await;
        let problems = Vec::new();
        Some(Self { browser, problems })
    }

    async fn examine(&mut self, name: &str) {
        let found = examine_open_page(&self.browser, name).await;
        self.problems.extend(found);
        self.browser.use_desktop_size().await;
    }

    /// Opens a page, clicks, and waits for a text before it examines.
    async fn examine_after(&mut self, path: &str, clicks: &[&str], text: &str) {
        self.browser.open(path).await;
        for what in clicks {
            self.browser.click(what).await;
        }
        self.browser.wait_for_text(text).await;
        let name = format!("{path} {}", clicks.join(" "));
        self.examine(&name.replace(['/', '?', '[', ']', '='], "-"))
            .await;
    }

    fn finish(self) {
        let problems = self.problems;
        assert_eq!(problems, [""; 0], "{}", problems.join("\n"));
    }
}

#[tokio::test]
async fn an_empty_pool_is_accessible_and_every_page_has_a_next_step() {
    let pool = empty_pool().await;
    let Some(mut examination) = Examination::start(&pool).await else {
        return;
    };
    let browser = &examination.browser;
    browser.open("/client-keys/1/delete").await;
    browser.click("Delete key").await;
    browser.wait_for_text("Deleted the client key").await;
    for path in [
        "/status",
        "/upstream-keys",
        "/client-keys",
        "/logs",
        "/usage",
        "/usage?by=key",
        "/quota",
        "/quota/what-if",
        "/models",
        "/try",
        "/egress-proxies",
        "/alerts",
        "/audit",
        "/backups",
    ] {
        examination.browser.open(path).await;
        let name = path.replace(['/', '?', '='], "-");
        examination.examine(&format!("empty{name}")).await;
        let actions = "main a:not(.zone a), main form:not([role=search])";
        let actions = examination.browser.texts(actions).await;
        assert!(!actions.is_empty(), "{path} leads nowhere");
    }
    examination.finish();
}

#[tokio::test]
async fn pages_with_something_open_are_accessible() {
    let pool = pages::pool().await;
    pool.settled().await;
    let Some(mut examination) = Examination::start(&pool).await else {
        return;
    };
    for (path, clicks, text) in [
        ("/logs", &["[data-find]"][..], "Find a request by its ID"),
        ("/logs", &["More filters"], "Min. duration"),
        ("/logs", &["Columns"], "Reset to default"),
        ("/logs", &["Export"], "CSV"),
        ("/upstream-keys", &["More filters"], "Sorted by"),
        ("/upstream-keys", &["[data-select-all]"], "1 selected"),
        (
            "/upstream-keys",
            &["[data-select-all]", "Delete…"],
            "Delete 1 upstream key",
        ),
        ("/upstream-keys", &["[data-select-all]", "Tag…"], "Add tags"),
        ("/client-keys", &["[data-select-all]", "Delete"], "Delete 1"),
        ("/status", &[".chart summary"], "Success"),
        (
            "/client-keys/1/rotate",
            &["[type=submit].primary"],
            "Copy it now",
        ),
        ("/backups", &[".table a[href$='/download']"], "Password"),
        ("/backups", &[".table a[href$='/delete']"], "Delete"),
        ("/no-such-page", &[], "Not found"),
    ] {
        let problem = examination.examine_after(path, clicks, text);
        problem.await;
    }
    let browser = &examination.browser;
    browser.use_phone_size().await;
    browser.open("/status").await;
    browser.click("Menu").await;
    let found = browser.accessibility_violations().await;
    examination.problems.extend(found);
    examination.finish();
}
