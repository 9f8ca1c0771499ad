//! Pages are accessible in every state: empty, with errors, with dialogs and menus open, with jobs that run or have ended.

use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};

use crate::dashboard::pages::{self, assert_no_problems, examine_open_page};
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
        assert_no_problems(&problems);
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
        (
            "/client-keys",
            &["[data-select-all]", "Delete…"],
            "Delete 1",
        ),
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
    for path in ["/status", "/usage", "/logs"] {
        let browser = &examination.browser;
        browser.open(path).await;
        let tips = async || browser.texts(".tip:not([hidden]) div").await;
        browser
            .wait_until("a chart can be explored", async || {
                let charts = browser.texts("figure.is-explored").await;
                (!charts.is_empty()).then_some(())
            })
            .await;
        // By keyboard, which shows the values as the pointer does.
        browser
            .inject("document.querySelector('.explored').focus()")
            .await;
        browser.press("ArrowLeft").await;
        assert!(!tips().await.is_empty(), "{path}");
        let name = format!("hovered{}", path.replace('/', "-"));
        examination.examine(&name).await;
    }
    let browser = &examination.browser;
    browser.use_phone_size().await;
    browser.open("/status").await;
    browser.click("Menu").await;
    let found = browser.accessibility_violations().await;
    examination.problems.extend(found);
    examination.finish();
}

#[tokio::test]
async fn forms_with_errors_are_accessible() {
    let pool = pages::pool().await;
    let Some(mut examination) = Examination::start(&pool).await else {
        return;
    };
    let submit = "[type=submit].primary";
    for (path, field, value, button) in [
        ("/client-keys/new", "Name", "", "Create key"),
        ("/client-keys/1/edit", "cost_per_month", "10€", "Save"),
        ("/settings/commit_wait_ms", "commit_wait_ms", "soon", "Save"),
        ("/upstream-keys/import", "text", "", submit),
        ("/upstream-keys/1/edit", "weight", "0", "Save"),
        ("/egress-proxies/new", "url", "ftp://x", submit),
        (
            "/alerts/targets/new?kind=webhook",
            "url",
            "somewhere",
            submit,
        ),
    ] {
        let browser = &examination.browser;
        browser.open(path).await;
        // What the browser checks itself is not sent.
        let script = "document.querySelectorAll('form').forEach(form => form.noValidate = true)";
        browser.inject(script).await;
        browser.fill(field, value).await;
        browser.click(button).await;
        let has_error =
            "return Boolean(document.querySelector('.form-error, [aria-invalid=true]'))";
        browser
            .wait_until(&format!("{path} has an error"), async || {
                (browser.inject(has_error).await == true).then_some(())
            })
            .await;
        let name = path.replace(['/', '?', '='], "-");
        examination.examine(&format!("error{name}")).await;
    }
    examination.finish();
}

#[tokio::test]
async fn jobs_that_run_and_have_ended_are_accessible() {
    let slow = FakeKey::new(
        "AIza-key-of-the-states-000000001",
        "projects/1",
        Behaviour::SlowFirstByte(600_000),
    );
    // Long enough for a page of the job.
    let short = FakeKey::new(
        "AIza-key-of-the-states-000000002",
        "projects/2",
        Behaviour::SlowFirstByte(3_000),
    );
    let pool = TestPool::with_keys([slow, short]).await;
    let Some(mut examination) = Examination::start(&pool).await else {
        return;
    };
    let test = async |examination: &Examination, row: usize| {
        let browser = &examination.browser;
        browser.open("/upstream-keys").await;
        let select = format!("document.querySelectorAll('[data-select]')[{row}].click()");
        browser.inject(&select).await;
        browser.click("Test").await;
    };
    test(&examination, 1).await;
    examination.browser.wait_for_text("1 of 1").await;
    examination.examine("job-ended").await;
    // Its updates have ended, which is no loss of the connection.
    let reads = "return performance.getEntriesByType('resource').filter((one) => one.name.endsWith('/problems')).length";
    examination
        .browser
        .wait_until("the page has looked for problems", async || {
            let reads = examination.browser.inject(reads).await;
            (reads.as_u64() >= Some(3)).then_some(())
        })
        .await;
    let shown = examination.browser.text().await;
    assert!(!shown.contains("connection to the server"), "{shown}");
    test(&examination, 0).await;
    examination
        .browser
        .wait_until("the job has a page", async || {
            let path = examination.browser.path_and_query().await;
            path.starts_with("/upstream-keys/jobs/").then_some(())
        })
        .await;
    examination.examine("job-running").await;
    examination.browser.open("/upstream-keys").await;
    examination.examine("job-running-list").await;

    let browser = &examination.browser;
    browser.open("/quota/what-if").await;
    browser.fill("number", "1").await;
    browser.click("[type=submit].primary").await;
    browser.wait_for_text("Choose a longer one").await;
    examination.examine("what-if-ended").await;
    examination.finish();
}
