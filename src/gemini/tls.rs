//! How TLS to the upstream is set up: which certificates are trusted.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use url::Url;

/// The variables that name other certificates than the system's.
const VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// No CA certificates were found.
#[derive(Debug, thiserror::Error)]
#[error(
    "no CA certificate was found to verify {upstream} with{place}: install the package ca-certificates, or set \
     SSL_CERT_FILE to a PEM file of CA certificates"
)]
pub struct NoCertificates {
    upstream: Url,
    /// The variables that named other places than the system's.
    place: String,
}

/// Trusts what the system trusts. An upstream without TLS needs no certificates.
pub fn config(upstream: &Url) -> Result<ClientConfig, NoCertificates> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has TLS 1.2 and 1.3");
    match builder.clone().with_platform_verifier() {
        Ok(verifying) => Ok(verifying.with_no_client_auth()),
        Err(_) if upstream.scheme() == "https" => Err(NoCertificates {
            upstream: upstream.clone(),
            place: place(),
        }),
        Err(_) => {
            let no_roots = RootCertStore::empty();
            Ok(builder
                .with_root_certificates(no_roots)
                .with_no_client_auth())
        }
    }
}

fn place() -> String {
    let set = VARIABLES.iter().filter_map(|name| {
        let value = std::env::var_os(name)?;
        Some(format!("{name} is {}", value.display()))
    });
    let set: Vec<_> = set.collect();
    if set.is_empty() {
        return String::new();
    }
    format!(" ({})", set.join(", "))
}
