//! Downloads: follows the one redirect by which Google serves a file from another of its paths.

use http::header::LOCATION;
use http::{HeaderValue, Response, StatusCode};
use reqwest::Body;

use crate::app::App;
use crate::gemini::transport::{SendError, StreamGuard, UpstreamRequest};
use crate::pool::health::verdict::Rule;
use crate::pool::keys::lease::Lease;
use crate::proxy::incoming::Incoming;

/// The answer after redirects.
pub enum Followed {
    Here(Response<Body>, StreamGuard),
    /// A redirect to another host, which no key of ours may reach.
    Foreign(StatusCode),
}

/// Follows the one redirect of a download with the same key; any other answer is returned as it came.
pub async fn follow(
    app: &App,
    lease: &Lease,
    incoming: &Incoming,
    answer: Response<Body>,
    stream: StreamGuard,
) -> Result<Followed, SendError> {
    let Some(path) = redirect(app, incoming, &answer) else {
        return Ok(Followed::Here(answer, stream));
    };
    let Some(url) = path.and_then(|path| app.gemini.url(&path)) else {
        return Ok(Followed::Foreign(answer.status()));
    };
    drop((answer, stream));
    let next = UpstreamRequest {
        url,
        ..incoming.outgoing.clone()
    };
    let (mut answer, stream) = app.gemini.send(&next, &lease.key.secret).await?;
    // The client follows a second redirect, through the pool again.
    match redirect(app, incoming, &answer) {
        None => {}
        Some(None) => return Ok(Followed::Foreign(answer.status())),
        Some(Some(path)) => {
            let path = HeaderValue::try_from(path).map_err(|_| SendError {
                rule: Rule::MalformedAnswer,
                message: "Gemini's redirect cannot be passed on".to_owned(),
            })?;
            answer.headers_mut().insert(LOCATION, path);
        }
    }
    Ok(Followed::Here(answer, stream))
}

/// The path of ours that a redirect leads to; `Some(None)`: it leads to another host.
#[expect(
    clippy::option_option,
    reason = "no redirect and a redirect to another host are two cases"
)]
fn redirect(app: &App, incoming: &Incoming, answer: &Response<Body>) -> Option<Option<String>> {
    if !incoming.target.is_download() || !answer.status().is_redirection() {
        return None;
    }
    let location = answer.headers().get(LOCATION)?;
    let location = location.to_str().ok();
    Some(location.and_then(|location| app.gemini.upstream_path(location)))
}
