//! `Browser`: Chromium as an admin uses it; a method per thing they do.
//!
//! `tests/run` installs it; where it is not installed the tests that need it say so and pass.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use thirtyfour::prelude::*;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::admin::{PASSWORD, USERNAME};
use super::{PATIENCE, TestPool, http_client};

/// How many run at once: each is several processes, and all tests share the machine.
static TURNS: Semaphore = Semaphore::const_new(2);
/// How often a page is looked at while something is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const DESK: (u32, u32) = (1_280, 800);
const PHONE: (u32, u32) = (390, 844);
const FLAGS: [&str; 14] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-crash-reporter",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--no-proxy-server",
    // What a page asks of elsewhere fails, as it does under the policy that the server sends.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--window-size=1280,800",
];

/// A browser with a fresh profile. It ends when it is dropped, in a failing test too.
pub struct Browser {
    driver: WebDriver,
    /// Where the pool's dashboard is.
    url: String,
    _processes: Processes,
    _profile: tempfile::TempDir,
    _turn: SemaphorePermit<'static>,
}

/// How a browser differs from one on a desk that speaks English.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    pub javascript: bool,
    /// What it asks servers for, as `zh-TW`.
    pub language: &'static str,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            javascript: true,
            language: "en",
        }
    }
}

impl Browser {
    /// A browser for the pool's dashboard; `None` where there is none on this machine.
    pub async fn start(pool: &TestPool) -> Option<Self> {
        Self::start_with(pool, Manner::default()).await
    }

    pub async fn without_javascript(pool: &TestPool) -> Option<Self> {
        let manner = Manner {
            javascript: false,
            ..Manner::default()
        };
        Self::start_with(pool, manner).await
    }

    pub async fn start_with(pool: &TestPool, manner: Manner) -> Option<Self> {
        if !installed() {
            return None;
        }
        pool.add_admin().await;
        let turn = TURNS.acquire().await.unwrap();
        let profile = tempfile::tempdir().unwrap();
        let (mut processes, url) = Processes::start(profile.path());
        let client = http_client().build().unwrap();
        let driver = WebDriver::builder(url, capabilities(profile.path(), manner)).client(client);
        let driver = driver.await.unwrap();
        processes.browser = driver.capabilities().get("goog:processID").cloned();
        Some(Self {
            driver,
            url: pool.url.clone(),
            _processes: processes,
            _profile: profile,
            _turn: turn,
        })
    }

    /// Signs in, in whatever language.
    pub async fn sign_in(&self) {
        self.open("/login").await;
        self.fill("username", USERNAME).await;
        self.fill("password", PASSWORD).await;
        self.click("[type=submit].primary").await;
        self.arrives("/status").await;
    }

    /// Goes to a path of the dashboard.
    pub async fn open(&self, path: &str) {
        let url = format!("{}{path}", self.url);
        self.driver.goto(url).await.unwrap();
    }

    /// Where it is: path and query.
    pub async fn place(&self) -> String {
        let url = self.driver.current_url().await.unwrap();
        let query = url.query().map(|query| format!("?{query}"));
        format!("{}{}", url.path(), query.unwrap_or_default())
    }

    /// Waits until it is at a path, whatever the query.
    pub async fn arrives(&self, path: &str) {
        self.until(&format!("it is at {path}"), async || {
            let place = self.place().await;
            (place.split('?').next() == Some(path)).then_some(())
        })
        .await;
    }

    pub async fn reload(&self) {
        self.driver.refresh().await.unwrap();
    }

    /// Clicks a link or button with this text or label, or what a CSS selector finds if it begins with `#`, `.` or `[`.
    pub async fn click(&self, what: &str) {
        let by = if what.starts_with(['#', '.', '[']) {
            By::Css(what)
        } else {
            let text = quoted(what);
            By::XPath(format!(
                "//*[self::a or self::button or self::summary or self::label]\
                 [normalize-space()={text} or @aria-label={text}]"
            ))
        };
        self.until(&format!("{what:?} can be clicked"), async || {
            let element = self.shown(by.clone()).await?;
            // It may be replaced, or move away from under the pointer, just now.
            element.click().await.ok()
        })
        .await;
    }

    /// Puts text in the place of what the field with this label or name holds, as pasting does, or chooses the option with it.
    pub async fn fill(&self, field: &str, text: &str) {
        let element = self.field(field).await;
        if element.tag_name().await.unwrap() == "select" {
            let option = By::XPath(format!("./option[normalize-space()={}]", quoted(text)));
            return element.find(option).await.unwrap().click().await.unwrap();
        }
        element.clear().await.unwrap();
        element.focus().await.unwrap();
        self.tell("Input.insertText", json!({"text": text})).await;
    }

    /// What the page shows.
    pub async fn text(&self) -> String {
        // There is none between two pages.
        let text = async { self.driver.find(By::Tag("body")).await?.text().await };
        text.await.unwrap_or_default()
    }

    /// Waits until the page shows a text.
    pub async fn sees(&self, text: &str) {
        self.until(&format!("it shows {text:?}"), async || {
            self.text().await.contains(text).then_some(())
        })
        .await;
    }

    /// The texts of what a CSS selector finds, shown or not.
    pub async fn texts(&self, selector: &str) -> Vec<String> {
        let script = "
            return [...document.querySelectorAll(arguments[0])].map(found => found.textContent.trim());
        ";
        let found = self.execute(script, json!(selector)).await;
        serde_json::from_value(found).unwrap()
    }

    /// The page as the server sent it and scripts have changed it.
    pub async fn source(&self) -> String {
        self.driver.source().await.unwrap()
    }

    /// From now on as wide as a phone.
    pub async fn phone(&self) {
        self.resize(PHONE).await;
    }

    /// From now on as wide as at a desk.
    pub async fn desk(&self) {
        self.resize(DESK).await;
    }

    /// From now on in a system that prefers dark pages, or light ones.
    pub async fn prefer_dark(&self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": value}]);
        self.tell("Emulation.setEmulatedMedia", json!({"features": features}))
            .await;
    }

    /// Whether the page is no wider than the window, so that nobody must scroll sideways.
    pub async fn fits(&self) -> bool {
        let script = "return document.documentElement.scrollWidth <= window.innerWidth";
        self.execute(script, Value::Null).await == json!(true)
    }

    /// What axe-core calls a serious or critical violation of accessibility, with the elements that do it.
    pub async fn axe(&self) -> Vec<String> {
        let axe = std::fs::read_to_string(axe()).unwrap();
        self.execute(&axe, Value::Null).await;
        let run = "
            const done = arguments[arguments.length - 1];
            const told = violation => violation.id + ': ' + violation.help + ': '
                + violation.nodes.map(node => node.target + ' ' + node.failureSummary).join('; ');
            axe.run(document, {resultTypes: ['violations']}).then(results => done(
                results.violations.filter(({impact}) => ['serious', 'critical'].includes(impact)).map(told)
            ));
        ";
        let violations = self.driver.execute_async(run, Vec::new()).await.unwrap();
        serde_json::from_value(violations.json().clone()).unwrap()
    }

    /// Errors of scripts, and what the page asked for and did not get, since this was asked last. That a form was refused
    /// is none.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.driver.browser_log().await.unwrap();
        let refused = |message: &str| {
            ["status of 401", "status of 422"]
                .iter()
                .any(|status| message.contains(status))
        };
        let severe = log
            .into_iter()
            .filter(|entry| entry.level == "SEVERE" && !refused(&entry.message));
        severe.map(|entry| entry.message).collect()
    }

    /// Leaves a picture of the whole page in the folder that `SCREENSHOTS` names, if it does.
    pub async fn picture(&self, name: &str) {
        let Some(folder) = std::env::var_os("SCREENSHOTS") else {
            return;
        };
        std::fs::create_dir_all(&folder).unwrap();
        let script =
            "return [window.innerWidth, window.innerHeight, document.documentElement.scrollHeight]";
        let sizes = self.execute(script, Value::Null).await;
        let [width, height, whole]: [u32; 3] = serde_json::from_value(sizes).unwrap();
        self.resize((width, whole.max(height))).await;
        let file = PathBuf::from(folder).join(format!("{name}.png"));
        self.driver.screenshot(&file).await.unwrap();
        self.resize((width, height)).await;
    }

    /// Waits for something to become true of the page, and tells what it shows if it does not.
    pub async fn until<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(found) = look().await {
                    return found;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        if let Ok(found) = waited.await {
            return found;
        }
        let (place, text) = (self.place().await, self.text().await);
        panic!("waited in vain until {what}; at {place} it shows:\n{text}")
    }

    /// The first shown element.
    async fn shown(&self, by: By) -> Option<WebElement> {
        for element in self.driver.find_all(by).await.ok()? {
            if element.is_displayed().await.unwrap_or(false) {
                return Some(element);
            }
        }
        None
    }

    /// The field with this label or name.
    async fn field(&self, field: &str) -> WebElement {
        let text = quoted(field);
        let by = By::XPath(format!(
            "//*[self::input or self::textarea or self::select][not(@type='hidden')]\
             [@name={text} or @aria-label={text} or @id=//label[normalize-space()={text}]/@for \
             or ancestor::label[normalize-space()={text}]]"
        ));
        let what = format!("there is a field {field:?}");
        self.until(&what, async || self.shown(by.clone()).await)
            .await
    }

    async fn resize(&self, (width, height): (u32, u32)) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width == PHONE.0,
        });
        self.tell("Emulation.setDeviceMetricsOverride", size).await;
    }

    async fn execute(&self, script: &str, argument: Value) -> Value {
        let returned = self.driver.execute(script, vec![argument]).await;
        returned.unwrap().json().clone()
    }

    async fn tell(&self, command: &str, parameters: Value) {
        let told = self.driver.cdp().send_raw(command, parameters).await;
        told.unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its own end would wait for answers of a browser that is killed without asking.
        let _ = self.driver.clone().leak();
    }
}

/// The driver and the browser that it started.
struct Processes {
    driver: Child,
    /// The process id of the browser.
    browser: Option<Value>,
}

impl Processes {
    /// Starts a driver on a free port, and tells its URL.
    fn start(home: &Path) -> (Self, String) {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        let url = format!("http://127.0.0.1:{}", port.expect("chromedriver starts"));
        // It must always find a reader for what it says.
        std::thread::spawn(move || lines.for_each(drop));
        let browser = None;
        (Self { driver, browser }, url)
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        if let Some(browser) = &self.browser {
            // Its renderers end with it.
            let killed = Command::new("kill")
                .args(["-KILL", &browser.to_string()])
                .status();
            let _ = killed;
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn capabilities(profile: &Path, manner: Manner) -> Capabilities {
    let mut flags = FLAGS.map(str::to_owned).to_vec();
    flags.push(format!("--user-data-dir={}", profile.display()));
    flags.push(format!("--accept-lang={}", manner.language));
    let mut preferences = json!({"intl.accept_languages": manner.language});
    if !manner.javascript {
        // 2: blocked.
        preferences["profile.managed_default_content_settings.javascript"] = json!(2);
    }
    let capabilities = json!({
        "goog:chromeOptions": {"args": flags, "prefs": preferences},
        "goog:loggingPrefs": {"browser": "ALL"},
    });
    serde_json::from_value(capabilities).unwrap()
}

/// Whether there is a browser, with what tests it.
fn installed() -> bool {
    let driver = Command::new("chromedriver").arg("--version").output();
    if driver.is_ok_and(|ran| ran.status.success()) && axe().exists() {
        return true;
    }
    let required = std::env::var("GEMINI_POOL_BROWSER").is_ok_and(|browser| browser == "required");
    assert!(!required, "the browser of the tests is not installed");
    // The print macros would be heard by nobody, because the test passes.
    let left_out = "left out: the dashboard in a browser, which tests/run installs\n";
    std::io::stderr().write_all(left_out.as_bytes()).unwrap();
    false
}

fn axe() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/browser/node_modules/axe-core/axe.min.js")
}

/// Text in the quotes of an expression.
fn quoted(text: &str) -> String {
    assert!(!text.contains('"'), "there are no escapes: {text}");
    format!("\"{text}\"")
}
