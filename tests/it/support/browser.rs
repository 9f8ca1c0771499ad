//! `Browser`: Chromium as an admin uses it; one method per action.
//!
//! `tests/run` installs it; without it the tests that need it report that and pass.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gemini_pool::auth::session;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::admin::{PASSWORD, USERNAME};
use super::webdriver::{By, Element, WebDriverSession};
use super::{TIMEOUT, TestPool, test_tools};

/// Maximum number of browsers at once: each is several processes, and all tests share the machine.
static BROWSER_SLOTS: Semaphore = Semaphore::const_new(2);
/// Interval at which a page is examined during a wait.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
const DESKTOP_SIZE: (u32, u32) = (1_280, 800);
const PHONE_SIZE: (u32, u32) = (390, 844);
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
    // Requests of a page to other hosts fail, as they do under the server's policy.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--window-size=1280,800",
];

/// A browser with a fresh profile. Ends when it is dropped, in a failing test too.
pub struct Browser {
    session: WebDriverSession,
    /// The URL of the pool's dashboard.
    url: String,
    _profile: tempfile::TempDir,
    _slot: SemaphorePermit<'static>,
}

/// The differences from a desktop browser in English.
#[derive(Debug, Clone, Copy)]
pub struct BrowserOptions {
    pub javascript: bool,
    /// The language it requests, as `zh-TW`.
    pub language: &'static str,
}

impl Default for BrowserOptions {
    fn default() -> Self {
        Self {
            javascript: true,
            language: "en",
        }
    }
}

impl Browser {
    /// A browser for the pool's dashboard; `None` if none is installed.
    pub async fn start(pool: &TestPool) -> Option<Self> {
        Self::start_with(pool, BrowserOptions::default()).await
    }

    pub async fn without_javascript(pool: &TestPool) -> Option<Self> {
        let options = BrowserOptions {
            javascript: false,
            ..BrowserOptions::default()
        };
        Self::start_with(pool, options).await
    }

    pub async fn start_with(pool: &TestPool, options: BrowserOptions) -> Option<Self> {
        if !installed() {
            return None;
        }
        pool.add_admin().await;
        let slot = BROWSER_SLOTS.acquire().await.unwrap();
        let profile = tempfile::tempdir().unwrap();
        let session =
            WebDriverSession::start(profile.path(), capabilities(profile.path(), options)).await;
        Some(Self {
            session,
            url: pool.url.clone(),
            _profile: profile,
            _slot: slot,
        })
    }

    /// Opens pages at another address of the same server.
    pub fn connect_through(&mut self, address: &str) {
        self.url = format!("http://{address}");
    }

    /// Sets the clock of later pages wrong.
    pub async fn set_clock_ahead(&self, ahead: Duration) {
        let source = format!(
            "(() => {{
                const Right = Date, ahead = {};
                globalThis.Date = class extends Right {{
                    constructor(...parts) {{ parts.length ? super(...parts) : super(Right.now() + ahead); }}
                    static now() {{ return Right.now() + ahead; }}
                }};
            }})()",
            ahead.as_millis()
        );
        let command = "Page.addScriptToEvaluateOnNewDocument";
        let source = json!({"source": source});
        self.session.devtools_command(command, source).await;
    }

    /// Signs in, in any language.
    pub async fn sign_in(&self) {
        self.open("/login").await;
        self.fill("username", USERNAME).await;
        self.fill("password", PASSWORD).await;
        self.click("[type=submit].primary").await;
        self.wait_for_path("/status").await;
    }

    /// Opens a path of the dashboard.
    pub async fn open(&self, path: &str) {
        let url = format!("{}{path}", self.url);
        self.session
            .post("/url", json!({"url": url}))
            .await
            .unwrap();
    }

    /// The current path and query.
    pub async fn path_and_query(&self) -> String {
        let url = self.session.get("/url").await.unwrap();
        let url: reqwest::Url = url.as_str().unwrap().parse().unwrap();
        let query = url.query().map(|query| format!("?{query}"));
        url.path().to_owned() + query.as_deref().unwrap_or_default()
    }

    /// Waits until a path is open, with any query.
    pub async fn wait_for_path(&self, path: &str) {
        self.wait_until(&format!("it is at {path}"), async || {
            let location = self.path_and_query().await;
            (location.split('?').next() == Some(path)).then_some(())
        })
        .await;
    }

    pub async fn reload(&self) {
        self.session.post("/refresh", json!({})).await.unwrap();
    }

    /// Clicks a link or button with this text or label, or a CSS selector if it begins with `#`, `.` or `[`.
    pub async fn click(&self, what: &str) {
        let by = if what.starts_with(['#', '.', '[']) {
            By::Css(what.to_owned())
        } else {
            let text = quoted(what);
            By::XPath(format!(
                "//*[self::a or self::button or self::summary or self::label]\
                 [normalize-space()={text} or @aria-label={text}]"
            ))
        };
        self.wait_until(&format!("{what:?} can be clicked"), async || {
            let element = self.find_visible(&by).await?;
            // It may be replaced or moved at this moment.
            self.session.perform(&element, "click").await.ok()
        })
        .await;
    }

    /// Replaces the text of the field with this label or name, as pasting does, or chooses the option with it.
    pub async fn fill(&self, field: &str, text: &str) {
        let element = self.field(field).await;
        if self.session.property(&element, "name").await.unwrap() == "select" {
            let option = By::XPath(format!("./option[normalize-space()={}]", quoted(text)));
            let found = self
                .session
                .find_all(&option, Some(&element))
                .await
                .unwrap();
            return self.session.perform(&found[0], "click").await.unwrap();
        }
        self.session.perform(&element, "clear").await.unwrap();
        self.session.focus(&element).await;
        let text = json!({"text": text});
        self.session
            .devtools_command("Input.insertText", text)
            .await;
    }

    /// Presses a key where the focus is: a character, or a name as `ArrowLeft`, also after `Shift+`.
    pub async fn press(&self, key: &str) {
        let (modifiers, key) = match key.strip_prefix("Shift+") {
            Some(key) => (8, key),
            None => (0, key),
        };
        let (text, code) = match key {
            "Enter" => ("\r", 13),
            "Tab" => ("", 9),
            "Escape" => ("", 27),
            " " => (" ", 32),
            "ArrowLeft" => ("", 37),
            "ArrowUp" => ("", 38),
            "ArrowRight" => ("", 39),
            "ArrowDown" => ("", 40),
            _ if key.chars().count() == 1 => (key, 0),
            _ => ("", 0),
        };
        for kind in ["keyDown", "keyUp"] {
            let event = json!({
                "type": kind, "key": key, "text": text, "windowsVirtualKeyCode": code, "modifiers": modifiers,
            });
            self.session
                .devtools_command("Input.dispatchKeyEvent", event)
                .await;
        }
    }

    /// The place of the first element of a CSS selector in the window, scrolled into it: left, top, width and height.
    pub async fn place(&self, selector: &str) -> [f64; 4] {
        let script = "
            const found = document.querySelector(arguments[0]);
            found.scrollIntoView({block: 'center'});
            const {left, top, width, height} = found.getBoundingClientRect();
            return [left, top, width, height];
        ";
        let place = self.session.execute(script, &[json!(selector)]).await;
        serde_json::from_value(place).unwrap()
    }

    /// Moves the mouse to a point of the window, with its button pressed or not.
    pub async fn move_mouse(&self, (x, y): (f64, f64), is_pressed: bool) {
        self.mouse("mouseMoved", (x, y), is_pressed).await;
    }

    /// Presses or releases the mouse's button at a point of the window.
    pub async fn mouse_button(&self, point: (f64, f64), is_pressed: bool) {
        let kind = if is_pressed {
            "mousePressed"
        } else {
            "mouseReleased"
        };
        self.mouse(kind, point, true).await;
    }

    async fn mouse(&self, kind: &str, (x, y): (f64, f64), is_pressed: bool) {
        let button = if is_pressed { "left" } else { "none" };
        let event = json!({"type": kind, "x": x, "y": y, "button": button, "clickCount": 1});
        self.session
            .devtools_command("Input.dispatchMouseEvent", event)
            .await;
    }

    /// Touches a point of the window with a finger, and lifts it.
    pub async fn tap(&self, (x, y): (f64, f64)) {
        let touch = json!({"maxTouchPoints": 1, "enabled": true});
        self.session
            .devtools_command("Emulation.setTouchEmulationEnabled", touch)
            .await;
        for (kind, points) in [
            ("touchStart", json!([{"x": x, "y": y}])),
            ("touchEnd", json!([])),
        ] {
            let event = json!({"type": kind, "touchPoints": points});
            self.session
                .devtools_command("Input.dispatchTouchEvent", event)
                .await;
        }
    }

    /// The visible text of the page.
    pub async fn text(&self) -> String {
        let body = By::Css("body".to_owned());
        let found = self.session.find_all(&body, None).await.unwrap_or_default();
        // Between two pages there is none.
        let Some(body) = found.first() else {
            return String::new();
        };
        let text = self.session.property(body, "text").await;
        text.map_or(String::new(), |text| {
            text.as_str().unwrap_or_default().to_owned()
        })
    }

    /// Waits until the page shows a text.
    pub async fn wait_for_text(&self, text: &str) {
        self.wait_until(&format!("it shows {text:?}"), async || {
            self.text().await.contains(text).then_some(())
        })
        .await;
    }

    /// The texts of all elements of a CSS selector, visible or not.
    pub async fn texts(&self, selector: &str) -> Vec<String> {
        let script = "
            return [...document.querySelectorAll(arguments[0])].map(found => found.textContent.trim());
        ";
        let found = self.session.execute(script, &[json!(selector)]).await;
        serde_json::from_value(found).unwrap()
    }

    /// The page's current HTML, including changes by scripts.
    pub async fn source(&self) -> String {
        let source = self.session.get("/source").await.unwrap();
        source.as_str().unwrap().to_owned()
    }

    /// The document's own title.
    pub async fn title(&self) -> String {
        let title = self.session.get("/title").await.unwrap();
        title.as_str().unwrap().to_owned()
    }

    /// What a script returns, or hands to the last of its arguments, that somebody has got into the page.
    pub async fn inject(&self, script: &str) -> Value {
        self.session.execute(script, &[]).await
    }

    /// The names and values of all cookies of the page.
    pub async fn cookies(&self) -> Vec<(String, String)> {
        let cookies = self.session.get("/cookie").await.unwrap();
        let cookies = cookies.as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut cookies: Vec<_> = cookies
            .map(|cookie| (text(&cookie["name"]), text(&cookie["value"])))
            .collect();
        cookies.sort();
        cookies
    }

    /// Removes the session's cookie, as the browser does when it expires. Returns it.
    pub async fn take_session(&self) -> Value {
        let path = format!("/cookie/{}", session::COOKIE);
        let cookie = self.session.get(&path).await.unwrap();
        self.session.delete(&path).await.unwrap();
        cookie
    }

    /// Sets a cookie that was taken.
    pub async fn put_cookie(&self, cookie: Value) {
        let cookie = json!({"cookie": cookie});
        self.session.post("/cookie", cookie).await.unwrap();
    }

    /// Sets the window to the width of a phone.
    pub async fn use_phone_size(&self) {
        self.resize(PHONE_SIZE).await;
    }

    /// Sets the window to the width of a desktop.
    pub async fn use_desktop_size(&self) {
        self.resize(DESKTOP_SIZE).await;
    }

    /// Sets the system's preference for dark or light pages.
    pub async fn prefer_dark(&self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": value}]);
        let media = json!({"features": features});
        self.session
            .devtools_command("Emulation.setEmulatedMedia", media)
            .await;
    }

    /// Shows pages as they are printed, or again as on a screen.
    pub async fn show_print(&self, is_print: bool) {
        let media = json!({"media": if is_print { "print" } else { "screen" }});
        self.session
            .devtools_command("Emulation.setEmulatedMedia", media)
            .await;
    }

    /// Whether the page is no wider than the window, so that it needs no sideways scrolling.
    pub async fn fits_window(&self) -> bool {
        let script = "return document.documentElement.scrollWidth <= window.innerWidth";
        self.session.execute(script, &[]).await == json!(true)
    }

    /// What a reader would object to at this size: tables that have to be scrolled, controls whose text is cut off, and
    /// two sections with one heading.
    pub async fn layout_faults(&self) -> Vec<String> {
        let script = "
            const shown = (selector) => [...document.querySelectorAll(selector)].filter((one) => one.checkVisibility());
            const faults = shown('main .table').filter((one) => one.scrollWidth > one.clientWidth + 1)
                .map((one) => `a table is too wide: ${one.querySelector('thead').textContent}`);
            const pen = document.createElement('canvas').getContext('2d');
            const isCut = (one, text, beside) => {
                const {font, paddingLeft, paddingRight} = getComputedStyle(one);
                pen.font = font;
                const room = one.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight) - beside;
                return pen.measureText(text).width > room + 1;
            };
            for (const one of shown('main select')) {
                const text = one.selectedOptions[0]?.textContent || '';
                if (isCut(one, text, 18)) faults.push(`a choice is cut off: ${text}`);
            }
            for (const one of shown('main input')) {
                if (one.value === '' && isCut(one, one.placeholder, 0)) faults.push(`a hint is cut off: ${one.placeholder}`);
            }
            for (const one of shown('main input[type^=date]')) {
                const text = one.type === 'date' ? 'mm/dd/yyyy' : 'mm/dd/yyyy, --:--:-- --';
                if (isCut(one, text, 24)) faults.push(`a date is cut off: ${one.name}`);
            }
            const places = (found) => [...found].map((one) => [one, one.getBoundingClientRect()]);
            for (const row of shown('main :is(.actions, .filters, .bulk)')) {
                const controls = [...row.querySelectorAll('button, .button, select, input:not([type=checkbox])')];
                for (const [one, place] of places(controls.filter((one) => one.checkVisibility()))) {
                    const beside = places(controls).find(([, other]) => other.height && Math.abs(other.bottom - place.bottom) < 4);
                    const difference = Math.abs(beside[1].height - place.height) + Math.abs(beside[1].bottom - place.bottom);
                    if (difference > 0.5) faults.push(`controls side by side differ in height or place: ${[beside[0], one].map((one) => one.outerHTML.slice(0, 80))}`);
                }
            }
            for (const [, copy] of places(shown('main .copyable .copy'))) {
                const isOver = ([, code]) => copy.left < code.right && copy.right > code.left && copy.top < code.bottom && copy.bottom > code.top;
                if (places(shown('main .copyable pre')).some(isOver)) faults.push('a button covers code');
            }
            for (const axis of shown('main svg.x')) {
                const labels = places(axis.querySelectorAll('text'));
                const isOver = ([, label], index) => index > 0 && label.left < labels[index - 1][1].right + 2;
                if (labels.some(isOver)) faults.push(`the labels of a chart overlap: ${axis.textContent}`);
            }
            const headings = shown('main h1, main h2').map((one) => one.textContent);
            for (const [index, text] of headings.entries()) {
                if (headings.indexOf(text) !== index) faults.push(`two headings are: ${text}`);
            }
            return faults;
        ";
        serde_json::from_value(self.session.execute(script, &[]).await).unwrap()
    }

    /// Headings, labels and buttons without a Chinese character, except names.
    pub async fn untranslated(&self) -> Vec<String> {
        let script = "
            const names = /^(CSV|JSONL|API|ID|User-Agent|· [\\d.,]+ (B|KiB|MiB)|UTC|English|curl|Python|JavaScript|Go|OpenAI.*|Gemini|Interactions|Webhook|Slack|Discord|Telegram|URL|p\\d+|gemini-.*|.*_.*|.*[./:…].*)$/;
            const own = (one) => [...one.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data).join(' ').trim();
            const labels = document.querySelectorAll(
                'main :is(h2, h3, thead th, label, .label, button, a.button, legend, summary, dt, .tabs a, .legend span, .hint, p)');
            return [...labels].filter((one) => one.checkVisibility() && !one.querySelector('input, select'))
                .map(own).filter((text) => /[a-z]/i.test(text) && !/\\p{Script=Han}/u.test(text) && !names.test(text));
        ";
        serde_json::from_value(self.session.execute(script, &[]).await).unwrap()
    }

    /// Serious and critical violations of accessibility according to axe-core, with their elements.
    pub async fn accessibility_violations(&self) -> Vec<String> {
        let axe = std::fs::read_to_string(axe()).unwrap();
        self.session.execute(&axe, &[]).await;
        let run = "
            const done = arguments[arguments.length - 1];
            const describe = violation => violation.id + ': ' + violation.help + ': '
                + violation.nodes.map(node => node.target + ' ' + node.failureSummary).join('; ');
            axe.run(document, {resultTypes: ['violations']}).then(results => done(
                results.violations.filter(({impact}) => ['serious', 'critical'].includes(impact)).map(describe)
            ));
        ";
        serde_json::from_value(self.session.execute(run, &[]).await).unwrap()
    }

    /// Errors of scripts and failed requests of the page since the last call. A refused form is not an error.
    pub async fn console_errors(&self) -> Vec<String> {
        let log = self.session.post("/se/log", json!({"type": "browser"}));
        let log = log.await.unwrap();
        let entries = log.as_array().unwrap().iter();
        let entries = entries.filter(|entry| entry["level"] == "SEVERE");
        let entries = entries.map(|entry| entry["message"].as_str().unwrap().to_owned());
        let is_refusal = |message: &String| {
            let statuses = ["status of 401", "status of 422"];
            statuses.iter().any(|status| message.contains(status))
        };
        entries.filter(|message| !is_refusal(message)).collect()
    }

    /// Stores a screenshot of the whole page in the folder `SCREENSHOTS`, if that is set.
    pub async fn screenshot(&self, name: &str) {
        let Some(folder) = std::env::var_os("SCREENSHOTS") else {
            return;
        };
        std::fs::create_dir_all(&folder).unwrap();
        let script =
            "return [window.innerWidth, window.innerHeight, document.documentElement.scrollHeight]";
        let sizes = self.session.execute(script, &[]).await;
        let [width, height, whole]: [u32; 3] = serde_json::from_value(sizes).unwrap();
        self.resize((width, whole.max(height))).await;
        let file = PathBuf::from(folder).join(format!("{name}.png"));
        let picture = self.session.get("/screenshot").await.unwrap();
        std::fs::write(file, STANDARD.decode(picture.as_str().unwrap()).unwrap()).unwrap();
        self.resize((width, height)).await;
    }

    /// Waits for a condition of the page, and fails with the page's text if it is not met.
    pub async fn wait_until<T>(&self, what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
        let waited = tokio::time::timeout(TIMEOUT, async {
            loop {
                if let Some(found) = check().await {
                    return found;
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        });
        if let Ok(found) = waited.await {
            return found;
        }
        let (location, text) = (self.path_and_query().await, self.text().await);
        panic!("timed out waiting until {what}; {location} shows:\n{text}")
    }

    /// The first visible element.
    async fn find_visible(&self, by: &By) -> Option<Element> {
        for element in self.session.find_all(by, None).await.ok()? {
            let shown = self.session.property(&element, "displayed").await;
            if shown.is_ok_and(|shown| shown == true) {
                return Some(element);
            }
        }
        None
    }

    /// The field with this label or name.
    async fn field(&self, field: &str) -> Element {
        let text = quoted(field);
        let by = By::XPath(format!(
            "//*[self::input or self::textarea or self::select][not(@type='hidden')]\
             [@name={text} or @aria-label={text} or @id=//label[normalize-space()={text}]/@for \
             or ancestor::label[normalize-space()={text}]]"
        ));
        let what = format!("there is a field {field:?}");
        self.wait_until(&what, async || self.find_visible(&by).await)
            .await
    }

    async fn resize(&self, (width, height): (u32, u32)) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width == PHONE_SIZE.0,
        });
        let command = "Emulation.setDeviceMetricsOverride";
        self.session.devtools_command(command, size).await;
        // The browser lays an open page out again some time later. A page that never fits is a finding of the caller.
        let script = "
            const hasWidth = Math.abs(document.documentElement.clientWidth - arguments[0]) < 30;
            return hasWidth || !document.querySelector('meta[name=viewport]')";
        for _ in 0..200 {
            if self.session.execute(script, &[json!(width)]).await == json!(true) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
}

fn capabilities(profile: &Path, options: BrowserOptions) -> Value {
    let mut flags = FLAGS.map(str::to_owned).to_vec();
    flags.push(format!("--user-data-dir={}", profile.display()));
    flags.push(format!("--accept-lang={}", options.language));
    let mut preferences = json!({"intl.accept_languages": options.language});
    if !options.javascript {
        // 2: blocked.
        preferences["profile.managed_default_content_settings.javascript"] = json!(2);
    }
    json!({
        "goog:chromeOptions": {"args": flags, "prefs": preferences},
        "goog:loggingPrefs": {"browser": "ALL"},
        "timeouts": {"script": 60_000},
    })
}

/// Whether the browser and its test tools are installed.
fn installed() -> bool {
    let driver = Command::new("chromedriver").arg("--version").output();
    if driver.is_ok_and(|ran| ran.status.success()) && axe().exists() {
        return true;
    }
    test_tools::skip("the dashboard in a browser");
    false
}

fn axe() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/browser/node_modules/axe-core/axe.min.js")
}

/// Text in the quotes of an expression.
fn quoted(text: &str) -> String {
    assert!(!text.contains('"'), "quotes cannot be escaped: {text}");
    format!("\"{text}\"")
}
