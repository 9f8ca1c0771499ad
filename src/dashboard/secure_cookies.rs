//! Marks the dashboard's cookies as `Secure` where the browser came by https.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderValue;
use http::header::SET_COOKIE;

use crate::app::App;
use crate::peer::{Peer, came_by_https};

/// Adds `Secure` to each cookie of the answer. A browser that came by plain HTTP would not keep such a cookie.
pub async fn secure_cookies(
    State(app): State<Arc<App>>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let is_secure = came_by_https(peer, request.headers(), &app.config);
    let mut response = next.run(request).await;
    if is_secure {
        for (name, value) in response.headers_mut() {
            if name == SET_COOKIE {
                let marked = [value.as_bytes(), b"; Secure"].concat();
                *value = HeaderValue::try_from(marked).expect("a header value and ASCII");
            }
        }
    }
    response
}
