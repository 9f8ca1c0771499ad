//! Security headers of every page, with the `Content-Security-Policy` that limits what its browser loads and runs.

use std::fmt::{self, Display};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderValue};

use crate::dashboard::assets;

/// A random value that allows the style sheet of one page.
#[derive(Debug, Clone)]
pub struct Nonce(String);

impl Nonce {
    pub fn generate() -> Self {
        Self(STANDARD.encode(rand::random::<[u8; 16]>()))
    }
}

impl Display for Nonce {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Allows nothing from other origins, nothing inline, no frame around the page and no copy in a cache.
pub fn set_security_headers(headers: &mut HeaderMap, nonce: &Nonce) {
    let policy = HeaderValue::try_from(policy(nonce)).expect("base64 is ASCII");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    let fixed = [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        (
            "permissions-policy",
            "camera=(), geolocation=(), microphone=()",
        ),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
}

/// The proxied surface shares the dashboard's origin, and may answer with a script or a style sheet, so `'self'` allows
/// neither. The scripts are allowed by their hashes, the style sheet by the page's nonce, because browsers accept no hash of an
/// external style sheet. Images and data of the origin are harmless.
fn policy(nonce: &Nonce) -> String {
    let [main, chart, uplot] = ["dashboard.js", "chart.js", "uplot.js"].map(assets::integrity);
    format!(
        "default-src 'none'; script-src '{main}' '{chart}' '{uplot}'; style-src 'nonce-{nonce}'; img-src 'self' data:; \
         connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
}
