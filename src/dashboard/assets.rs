//! Style sheet, scripts and icon: embedded, named by their content, cached by browsers without a limit.

use std::borrow::Cow;
use std::io::Write;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, StatusCode};
use sha2::{Digest, Sha256};

struct Asset {
    name: &'static str,
    /// With the beginning of its hash.
    url: String,
    /// Its hash, as in an `integrity` attribute or a policy.
    integrity: String,
    kind: &'static str,
    content: Cow<'static, str>,
    compressed: Vec<u8>,
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    vec![
        asset("style.css", CSS, trimmed(include_str!("assets/style.css"))),
        asset(
            "dashboard.js",
            SCRIPT,
            trimmed(include_str!("assets/dashboard.js")),
        ),
        asset("chart.js", SCRIPT, trimmed(include_str!("assets/chart.js"))),
        asset(
            "uplot.js",
            SCRIPT,
            Cow::Borrowed(include_str!("assets/uplot/uPlot.iife.min.js")),
        ),
        asset(
            "icon.svg",
            "image/svg+xml",
            Cow::Borrowed(include_str!("assets/icon.svg")),
        ),
    ]
});

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A source without indentation and lines of comment, which are a tenth of its compressed size.
fn trimmed(source: &str) -> Cow<'static, str> {
    let lines = source.lines().map(str::trim_start);
    let lines: Vec<_> = lines.filter(|line| !line.starts_with("//")).collect();
    Cow::Owned(lines.join("\n"))
}

fn asset(name: &'static str, kind: &'static str, content: Cow<'static, str>) -> Asset {
    let hash = Sha256::digest(content.as_bytes());
    let (stem, extension) = name
        .split_once('.')
        .expect("every asset's name has an extension");
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer
        .write_all(content.as_bytes())
        .expect("memory takes it");
    Asset {
        name,
        url: format!(
            "/assets/{stem}.{:02x}{:02x}{:02x}{:02x}.{extension}",
            hash[0], hash[1], hash[2], hash[3]
        ),
        integrity: format!("sha256-{}", STANDARD.encode(hash)),
        kind,
        content,
        compressed: packer.finish().expect("memory takes it"),
    }
}

/// Where a page finds the asset of this name.
pub fn url(name: &str) -> &'static str {
    &named(name).url
}

/// The hash of the asset of this name, as in an `integrity` attribute or a policy.
pub fn integrity(name: &str) -> &'static str {
    &named(name).integrity
}

fn named(name: &str) -> &'static Asset {
    let asset = ASSETS.iter().find(|asset| asset.name == name);
    asset.expect("pages name assets that are embedded")
}

/// An asset by its name with the hash.
pub async fn show(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let asset = ASSETS
        .iter()
        .find(|asset| asset.url.ends_with(&format!("/{name}")));
    let Some(asset) = asset else {
        return (StatusCode::NOT_FOUND, "no such asset\n").into_response();
    };
    let response_headers = [
        (CONTENT_TYPE, asset.kind),
        (CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (VARY, "accept-encoding"),
    ];
    let accepted = headers
        .get(ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok());
    if accepted.is_some_and(|accepted| accepted.contains("gzip")) {
        (
            response_headers,
            [(CONTENT_ENCODING, "gzip")],
            asset.compressed.as_slice(),
        )
            .into_response()
    } else {
        (response_headers, asset.content.as_ref()).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_of_charts_are_small_and_unchanged() {
        let size = |name| named(name).compressed.len();
        let both = size("uplot.js") + size("chart.js");
        assert!(both <= 25 * 1_024, "{both} bytes");
        let hash = Sha256::digest(named("uplot.js").content.as_bytes());
        assert!(include_str!("assets/uplot/README.md").contains(&format!("`{hash:x}`")));
    }
}
