//! Uploads as clients send them: the start with a key, the rest with nothing but the session's URL.

use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use serde_json::Value;

use super::requests::ClientResponse;
use super::{CLIENT_KEY, TestPool};

/// Google accepts parts of a multiple of this size.
pub const GRANULARITY: usize = 8 * 1024 * 1024;

/// The path of uploads.
pub const FILES: &str = "/upload/v1beta/files";

/// The keys of a pool with two projects.
pub const KEY: &str = "AIzaSyTheSecretOfTheFirstKeyOfThePool001";
pub const OTHER_KEY: &str = "AIzaSyTheSecretOfTheOtherKeyOfThePool002";
/// A second client, where one is added.
pub const OTHER_CLIENT: &str = "CLIENT_KEY_2";

/// A session, as its client has it.
#[derive(Debug, Clone)]
pub struct ClientUpload {
    pub url: String,
}

impl TestPool {
    /// Begins an upload as the usual client.
    pub async fn begin_upload(&self) -> ClientUpload {
        self.begin_upload_with(CLIENT_KEY).await
    }

    pub async fn begin_upload_with(&self, client_key: &str) -> ClientUpload {
        let begun = self.request_upload(client_key, FILES).await;
        assert_eq!(begun.status, 200, "{}", begun.text());
        assert_eq!(begun.header("x-goog-upload-status"), Some("active"));
        ClientUpload {
            url: begun.header("x-goog-upload-url").unwrap().to_owned(),
        }
    }

    pub async fn request_upload(&self, client_key: &str, path: &str) -> ClientResponse {
        let request = self
            .client
            .post(format!("{}{path}", self.url))
            .header("x-goog-api-key", client_key)
            .header("x-goog-upload-protocol", "resumable")
            .header("x-goog-upload-command", "start")
            .header("x-goog-upload-header-content-type", "text/plain")
            .header("content-type", "application/json")
            .body(r#"{"file":{"display_name":"long.txt"}}"#);
        ClientResponse::whole(request.send().await.unwrap()).await
    }

    /// Sends an upload command, as Google's client for Python does: without a key.
    pub async fn send_command(
        &self,
        upload: &ClientUpload,
        command: &str,
        offset: usize,
        part: &[u8],
    ) -> ClientResponse {
        let request = self.part(upload, command, offset).body(part.to_vec());
        ClientResponse::whole(request.send().await.unwrap()).await
    }

    pub fn part(
        &self,
        upload: &ClientUpload,
        command: &str,
        offset: usize,
    ) -> reqwest::RequestBuilder {
        self.client
            .post(&upload.url)
            .header("x-goog-upload-command", command)
            .header("x-goog-upload-offset", offset)
    }
}

impl ClientUpload {
    /// The id of the session, which is its only credential.
    pub fn id(&self) -> &str {
        let (_, query) = self.url.split_once("?upload_id=").unwrap();
        query.strip_suffix("&upload_protocol=resumable").unwrap()
    }

    /// The same session at a pool with another address.
    pub fn at(&self, pool: &TestPool) -> Self {
        let (_, path) = self.url.split_once("/upload/").unwrap();
        Self {
            url: format!("{}/upload/{path}", pool.url),
        }
    }
}

/// The name of the file in the last response of an upload.
pub fn file_name(ended: &ClientResponse) -> String {
    assert_eq!(ended.status, 200, "{}", ended.text());
    let body: Value = ended.json();
    body["file"]["name"].as_str().unwrap().to_owned()
}

/// A pool with two keys, each in its own project.
pub async fn two_projects() -> TestPool {
    TestPool::start(config_of_two_projects()).await
}

pub fn config_of_two_projects() -> FakeConfig {
    FakeConfig::with_keys([
        FakeKey::healthy(KEY, "100000000001"),
        FakeKey::healthy(OTHER_KEY, "100000000002"),
    ])
}

/// Sends a GET request as one of the clients.
pub async fn get(pool: &TestPool, client_key: &str, path: &str) -> ClientResponse {
    let request = pool
        .client
        .get(format!("{}{path}", pool.url))
        .header("x-goog-api-key", client_key);
    ClientResponse::whole(request.send().await.unwrap()).await
}
