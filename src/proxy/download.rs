//! Redirects of Google: follows the first one of a download, passes others of downloads and uploads to the client as
//! paths of the pool, and refuses those to another host.

use http::header::LOCATION;
use http::{HeaderValue, Response, StatusCode};
use hyper::body;

use crate::app::App;
use crate::gemini::connections::StreamGuard;
use crate::gemini::transport::{SendError, UpstreamRequest};
use crate::gemini::upload::is_upload;
use crate::pool::health::verdict::Rule;
use crate::pool::keys::lease::Lease;
use crate::proxy::incoming::Incoming;

/// The answer after redirects.
pub enum Followed {
    Here(Response<body::Incoming>, StreamGuard),
    /// A redirect that no key of ours and no client may follow.
    Foreign(StatusCode, String),
}

/// Follows the one redirect of a download with the same key; any other answer is returned as it came.
pub async fn follow(
    app: &App,
    lease: &Lease,
    incoming: &Incoming,
    answer: Response<body::Incoming>,
    stream: StreamGuard,
) -> Result<Followed, SendError> {
    let Some(path) = redirect(app, incoming, &answer) else {
        return Ok(Followed::Here(answer, stream));
    };
    let url = path.as_ref().and_then(|path| app.gemini.url(path));
    let Some((path, url)) = path.zip(url) else {
        return Ok(foreign(&answer));
    };
    if !incoming.target.is_download() {
        // An upload's answer names a session, which is rewritten, or another path of ours.
        return Ok(Followed::Here(with_location(answer, path)?, stream));
    }
    drop((answer, stream));
    let next = UpstreamRequest {
        url,
        ..incoming.outgoing.clone()
    };
    let key = &lease.key;
    let (answer, stream) = app.gemini.send(&next, &key.secret, key.egress).await?;
    // The client follows a second redirect, through the pool again.
    match redirect(app, incoming, &answer) {
        None => Ok(Followed::Here(answer, stream)),
        Some(None) => Ok(foreign(&answer)),
        Some(Some(path)) => Ok(Followed::Here(with_location(answer, path)?, stream)),
    }
}

/// A redirect elsewhere, with its address for the log.
fn foreign(answer: &Response<body::Incoming>) -> Followed {
    let location = answer.headers().get(LOCATION);
    let location = location.map_or_else(String::new, |location| {
        String::from_utf8_lossy(location.as_bytes()).into_owned()
    });
    Followed::Foreign(answer.status(), location)
}

fn with_location(
    mut answer: Response<body::Incoming>,
    path: String,
) -> Result<Response<body::Incoming>, SendError> {
    let path = HeaderValue::try_from(path).map_err(|_| SendError {
        rule: Rule::MalformedAnswer,
        message: "Gemini's redirect cannot be passed on".to_owned(),
    })?;
    answer.headers_mut().insert(LOCATION, path);
    Ok(answer)
}

/// The path of ours that a redirect leads to; `Some(None)`: one that may not be followed.
#[expect(
    clippy::option_option,
    reason = "no redirect and a redirect elsewhere are two cases"
)]
fn redirect(
    app: &App,
    incoming: &Incoming,
    answer: &Response<body::Incoming>,
) -> Option<Option<String>> {
    // A 304 is no redirect, and a 308 of the upload protocol has no location.
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = answer.headers().get(LOCATION)?;
    let may_lead_on = incoming.target.is_download() || is_upload(&incoming.target);
    let location = location.to_str().ok().filter(|_| may_lead_on);
    Some(location.and_then(|location| app.gemini.upstream_path(location)))
}
