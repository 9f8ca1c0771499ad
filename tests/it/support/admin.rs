//! `AdminClient`: a signed-in admin's requests without a browser, to send requests that no browser would.

use reqwest::header::{ACCEPT, CONTENT_TYPE, COOKIE, LOCATION, REFERER, SET_COOKIE};
use reqwest::{Method, RequestBuilder, Response};

use gemini_pool::auth::password;
use gemini_pool::clock;
use gemini_pool::dashboard::components::href;
use gemini_pool::storage::admins;
use gemini_pool::storage::audit::{Act, Actor};

use super::TestPool;

pub const USERNAME: &str = "admin";
pub const PASSWORD: &str = "correct horse battery staple";

impl TestPool {
    /// Makes sure that there is an admin.
    pub async fn add_admin(&self) {
        let hash = password::hash(PASSWORD).await;
        let mut tx = self.app.db.begin().await.unwrap();
        if admins::is_empty(&mut *tx).await.unwrap() {
            let act = Act::without_revision(Actor::cli(), clock::now());
            let made = admins::insert(&mut tx, USERNAME, &hash, &act).await;
            made.unwrap();
        }
        tx.commit().await.unwrap();
    }
}

/// A client with cookies, and the CSRF token of its last page.
#[derive(Clone)]
pub struct AdminClient {
    client: reqwest::Client,
    url: String,
    cookies: Vec<(String, String)>,
    csrf: String,
}

impl AdminClient {
    /// Signs in.
    pub async fn sign_in(pool: &TestPool) -> Self {
        let mut admin = Self::open_login(pool).await;
        let answer = admin.submit_login().await;
        assert_eq!(answer.status(), 303);
        assert_eq!(answer.headers()[LOCATION], "/status");
        admin.get_page("/account").await;
        admin
    }

    /// Opens the sign-in page.
    pub async fn open_login(pool: &TestPool) -> Self {
        pool.add_admin().await;
        Self::arrive_at(pool.client.clone(), &pool.url).await
    }

    /// The same at a server whose admin has [`USERNAME`] and [`PASSWORD`].
    pub async fn arrive_at(client: reqwest::Client, url: &str) -> Self {
        let mut admin = Self {
            client,
            url: url.to_owned(),
            cookies: Vec::new(),
            csrf: String::new(),
        };
        admin.get_page("/login").await;
        admin
    }

    /// Sends the right password.
    pub async fn submit_login(&mut self) -> Response {
        let fields = [("username", USERNAME), ("password", PASSWORD)];
        self.submit("/login", &fields).await
    }

    /// Fetches a page, and keeps the CSRF token of its forms.
    pub async fn get_page(&mut self, path: &str) -> String {
        self.get_markup(path).await.replace('\u{a0}', " ")
    }

    /// As [`Self::get_page`], with no-break spaces.
    pub async fn get_markup(&mut self, path: &str) -> String {
        let answer = self.request(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        self.keep_cookies(&answer);
        let page = answer.text().await.unwrap();
        if let Some(csrf) = csrf_in(&page) {
            csrf.clone_into(&mut self.csrf);
        }
        page
    }

    /// Sends a form with its token.
    pub async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Response {
        let mut fields = fields.to_vec();
        let csrf = self.csrf.clone();
        fields.push(("csrf", &csrf));
        let request = self.request(Method::POST, path);
        let answer = with_form(request, &fields).send().await.unwrap();
        self.keep_cookies(&answer);
        answer
    }

    /// Sends a form with its token, as a browser does from a page with this path.
    pub async fn submit_from(&self, page: &str, path: &str, fields: &[(&str, &str)]) -> Response {
        let mut fields = fields.to_vec();
        fields.push(("csrf", &self.csrf));
        let request = self.request(Method::POST, path);
        let request = request.header(REFERER, format!("{}{page}", self.url));
        with_form(request, &fields).send().await.unwrap()
    }

    /// A request with the cookies, and without any form fields.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let cookies = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        self.client
            .request(method, format!("{}{path}", self.url))
            .header(ACCEPT, "text/html")
            .header(COOKIE, cookies.collect::<Vec<_>>().join("; "))
    }

    /// The values of its cookies: the session among them.
    pub fn cookie_values(&self) -> Vec<String> {
        self.cookies
            .iter()
            .map(|(_, value)| value.clone())
            .collect()
    }

    fn keep_cookies(&mut self, answer: &Response) {
        for cookie in answer.headers().get_all(SET_COOKIE) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
    }
}

/// A request with the fields of a form.
pub fn with_form(request: RequestBuilder, fields: &[(&str, &str)]) -> RequestBuilder {
    // Forms have the encoding of queries.
    let body = href("", fields).trim_start_matches('?').to_owned();
    request
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(body)
}

/// The token in the first form of a page.
fn csrf_in(page: &str) -> Option<&str> {
    let (_, rest) = page.split_once(r#"name="csrf" value=""#)?;
    rest.split('"').next()
}
