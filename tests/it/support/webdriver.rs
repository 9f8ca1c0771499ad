//! `WebDriverSession`: controls a browser by the W3C's `WebDriver` protocol, as far as the tests need it.
//!
//! The crates that implement all of it change the order of `serde_json` objects, which the tests depend on, or include
//! half a browser's text shaping.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use reqwest::Method;
use serde_json::{Value, json};

use super::http_client;

/// The key of an element in JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// What the driver says when a page was replaced while a script ran in it.
const REPLACED_PAGE: [&str; 3] = [
    "document unloaded while waiting for result",
    "aborted by navigation",
    "Cannot find context with specified id",
];

/// A browser and its driver. Both end when this is dropped, in a failing test too.
pub struct WebDriverSession {
    client: reqwest::Client,
    url: String,
    driver: Child,
    /// The process id of the browser.
    browser: Option<Value>,
}

/// A way to find elements.
#[derive(Debug, Clone)]
pub enum By {
    Css(String),
    XPath(String),
}

/// An element of the open page.
#[derive(Debug, Clone)]
pub struct Element(String);

impl WebDriverSession {
    /// Starts a driver on a free port, and with it a browser.
    pub async fn start(home: &Path, capabilities: Value) -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let mut session = Self {
            client: http_client().build().unwrap(),
            url: String::new(),
            driver,
            browser: None,
        };
        let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        session.url = format!("http://127.0.0.1:{}", port.expect("chromedriver starts"));
        // The driver's output must always have a reader.
        std::thread::spawn(move || lines.for_each(drop));
        let wanted = json!({"capabilities": {"alwaysMatch": capabilities}});
        let begun = session.post("/session", wanted).await.unwrap();
        session.browser = Some(begun["capabilities"]["goog:processID"].clone());
        session.url += "/session/";
        session.url += begun["sessionId"].as_str().unwrap();
        session
    }

    /// The driver's response; the error is its message.
    pub async fn get(&self, path: &str) -> Result<Value, String> {
        self.send(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Result<Value, String> {
        self.send(Method::POST, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Result<Value, String> {
        self.send(Method::DELETE, path, None).await
    }

    /// All matching elements, within another one if given.
    pub async fn find_all(
        &self,
        by: &By,
        within: Option<&Element>,
    ) -> Result<Vec<Element>, String> {
        let (using, value) = match by {
            By::Css(selector) => ("css selector", selector),
            By::XPath(expression) => ("xpath", expression),
        };
        let path = within.map_or(String::new(), |Element(id)| format!("/element/{id}"));
        let body = json!({"using": using, "value": value});
        let found = self.post(&format!("{path}/elements"), body).await?;
        let ids = found.as_array().into_iter().flatten();
        Ok(ids
            .map(|id| Element(id[ELEMENT].as_str().unwrap().to_owned()))
            .collect())
    }

    /// A property of an element: `text`, `name`, `displayed`.
    pub async fn property(&self, Element(id): &Element, what: &str) -> Result<Value, String> {
        self.get(&format!("/element/{id}/{what}")).await
    }

    /// An action on an element: `click`, `clear`.
    pub async fn perform(&self, Element(id): &Element, what: &str) -> Result<(), String> {
        self.post(&format!("/element/{id}/{what}"), json!({}))
            .await
            .map(drop)
    }

    /// The result of a script, returned or passed to the last of its arguments. If the page is replaced meanwhile, it runs
    /// again in the next one.
    pub async fn execute(&self, script: &str, arguments: &[Value]) -> Value {
        let (kind, body) = ("async", json!({"script": script, "args": arguments}));
        let kind = if script.contains("arguments[arguments.length - 1]") {
            kind
        } else {
            "sync"
        };
        let path = format!("/execute/{kind}");
        loop {
            match self.post(&path, body.clone()).await {
                Ok(result) => return result,
                Err(error) if REPLACED_PAGE.iter().any(|text| error.contains(text)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Gives an element the focus.
    pub async fn focus(&self, Element(id): &Element) {
        self.execute("arguments[0].focus()", &[json!({ELEMENT: id})])
            .await;
    }

    /// Sends a command of Chromium's own protocol.
    pub async fn devtools_command(&self, command: &str, parameters: Value) {
        let body = json!({"cmd": command, "params": parameters});
        self.post("/goog/cdp/execute", body).await.unwrap();
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, String> {
        let request = self.client.request(method, format!("{}{path}", self.url));
        let body = body.map_or(String::new(), |body| body.to_string());
        let answer = request.body(body).send().await.unwrap();
        let succeeded = answer.status().is_success();
        let text = answer.text().await.unwrap();
        let mut response: Value = serde_json::from_str(&text).unwrap();
        if succeeded {
            Ok(response["value"].take())
        } else {
            Err(text)
        }
    }
}

impl Drop for WebDriverSession {
    fn drop(&mut self) {
        if let Some(browser) = &self.browser {
            // Its renderers end with it. It may have ended already.
            let kill = Command::new("kill")
                .args(["-KILL", &browser.to_string()])
                .status();
            drop(kill);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
