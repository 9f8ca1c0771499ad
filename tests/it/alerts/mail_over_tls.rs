//! Mail servers that encrypt, as the program itself sees them: it trusts the certificates of the machine.

use std::path::Path;

use reqwest::Method;
use serde_json::json;
use tokio_rustls::TlsAcceptor;

use super::receivers::{MailEncryption, MailReceiver};
use crate::support::api::ApiClient;
use crate::support::process::{PoolProcess, run_command};
use crate::support::{eventually, http_client, tls};

/// Of the user `ops@example.com`, as `AUTH PLAIN` sends it.
const PASSWORD: &str = "the-password-of-the-mailbox";
const SHOWN_PASSWORD: &str = "AG9wc0BleGFtcGxlLmNvbQB0aGUtcGFzc3dvcmQtb2YtdGhlLW1haWxib3g=";

#[tokio::test(flavor = "multi_thread")]
async fn mail_and_password_reach_a_server_over_tls_and_starttls() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = folder.path().join("ca.pem");
    let acceptor = tls::acceptor(tls::server_config(&certificate));
    let (pool, api) = start(folder.path(), &certificate).await;

    for (security, encryption) in encryptions(&acceptor) {
        let receiver = MailReceiver::start(encryption).await;
        let tested = test_target(&api, security, receiver.port).await;

        assert_eq!(tested, json!({ "sent": true, "error": null }), "{security}");
        let said = conversation(&receiver).await;
        let encrypted = said.split("(TLS)\r\n").last().unwrap();
        for part in [
            &format!("AUTH PLAIN {SHOWN_PASSWORD}\r\n"),
            "MAIL FROM:<pool@example.com>",
            "RCPT TO:<ops@example.com>",
            "Subject: ",
        ] {
            assert!(encrypted.contains(part), "{security}, {part}: {said}");
        }
        assert_eq!(said.matches("AUTH").count(), 1, "{security}: {said}");
        let begins_plain = said.contains("STARTTLS\r\n(TLS)\r\n");
        assert_eq!(begins_plain, security == "smtp+starttls", "{said}");
    }
    pool.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_with_an_unknown_certificate_gets_neither_mail_nor_password() {
    let folder = tempfile::tempdir().unwrap();
    let acceptor = tls::acceptor(tls::server_config(&folder.path().join("unknown.pem")));
    let trusted = folder.path().join("ca.pem");
    tls::server_config(&trusted);
    let (pool, api) = start(folder.path(), &trusted).await;

    for (security, encryption) in encryptions(&acceptor) {
        let receiver = MailReceiver::start(encryption).await;
        let tested = test_target(&api, security, receiver.port).await;

        assert_eq!(tested["sent"], false, "{security}: {tested}");
        let error = tested["error"].as_str().unwrap().to_lowercase();
        assert!(error.contains("certificate"), "{security}: {error}");
        let said = conversation(&receiver).await;
        assert!(
            !said.contains("AUTH") && !said.contains("MAIL"),
            "{security}: {said}"
        );
    }
    pool.kill();
}

fn encryptions(acceptor: &TlsAcceptor) -> [(&'static str, MailEncryption); 2] {
    [
        ("smtps", MailEncryption::Tls(acceptor.clone())),
        ("smtp+starttls", MailEncryption::StartTls(acceptor.clone())),
    ]
}

/// A server that trusts this certificate, and its API.
async fn start(folder: &Path, certificate: &Path) -> (PoolProcess, ApiClient) {
    let trust = [("SSL_CERT_FILE", certificate.to_str().unwrap())];
    let pool = PoolProcess::start_with(folder, "http://127.0.0.1:9", &[], &trust).await;
    let created = run_command(
        folder,
        &["admin", "create-token", "tests", "--write", "--json"],
    );
    let created: serde_json::Value = serde_json::from_slice(&created.stdout).unwrap();
    let api = ApiClient {
        client: http_client().build().unwrap(),
        url: format!("{}/api/v1", pool.url),
        token: created["secret"].as_str().unwrap().to_owned(),
    };
    (pool, api)
}

/// Adds a mail target and sends a test message to it.
async fn test_target(api: &ApiClient, security: &str, port: u16) -> serde_json::Value {
    let body = json!({
        "kind": "email", "name": security, "address": "ops@example.com", "sender": "gemini-pool <pool@example.com>",
        "mail_host": "localhost", "mail_port": port, "mail_security": security, "mail_user": "ops@example.com",
        "secret": PASSWORD,
    });
    let created = api.submit(Method::POST, "/alert-targets", &body).await;
    assert_eq!(created.status, 201, "{created:?}");
    let path = format!("/alert-targets/{}/test", created.json["id"]);
    api.post(&path, &json!({})).await.json
}

/// The only conversation, once it has ended.
async fn conversation(receiver: &MailReceiver) -> String {
    eventually("the connection is closed", async || receiver.take().pop()).await
}
