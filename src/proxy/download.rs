//! Downloads: Google sends whoever asks for a file on to another path of its own, and the pool goes there itself.

use http::header::LOCATION;
use http::{HeaderValue, Response, StatusCode};
use reqwest::Body;

use crate::app::App;
use crate::gemini::transport::{SendError, StreamGuard, UpstreamRequest};
use crate::pool::health::verdict::Rule;
use crate::pool::keys::lease::Lease;
use crate::proxy::incoming::Incoming;

/// Where an answer came from in the end.
pub enum Followed {
    Here(Response<Body>, StreamGuard),
    /// It leads to somebody to whom no key of ours may be sent.
    Elsewhere(StatusCode),
}

/// Follows the one redirect of a download, with the same key; any other answer is as it came.
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
        return Ok(Followed::Elsewhere(answer.status()));
    };
    drop((answer, stream));
    let next = UpstreamRequest {
        url,
        ..incoming.outgoing.clone()
    };
    let (mut answer, stream) = app.gemini.send(&next, &lease.key.secret).await?;
    // A second one is the client's to follow, through us again.
    match redirect(app, incoming, &answer) {
        None => {}
        Some(None) => return Ok(Followed::Elsewhere(answer.status())),
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

/// Where an answer sends the request on; `Some(None)`: away from the upstream.
#[expect(
    clippy::option_option,
    reason = "no redirect and one to nobody we trust are two things"
)]
fn redirect(app: &App, incoming: &Incoming, answer: &Response<Body>) -> Option<Option<String>> {
    if !incoming.target.is_download() || !answer.status().is_redirection() {
        return None;
    }
    let location = answer.headers().get(LOCATION)?;
    let location = location.to_str().ok();
    Some(location.and_then(|location| app.gemini.upstream_path(location)))
}
