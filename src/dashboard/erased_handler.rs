//! A handler whose function is not part of its type.

use std::pin::Pin;
use std::sync::Arc;

use axum::extract::Request;
use axum::handler::Handler;
use axum::response::Response;

use crate::app::App;

type Answer = Pin<Box<dyn Future<Output = Response> + Send>>;

/// A handler behind one type. axum wraps each handler in a dozen generic services, and proves for each of them again that all the
/// handler awaits is `Send`: for the pages of the dashboard that was a quarter of the time of a build.
#[derive(Clone)]
pub struct ErasedHandler(Arc<dyn Fn(Request, Arc<App>) -> Answer + Send + Sync>);

impl ErasedHandler {
    pub fn new<H, T>(handler: H) -> Self
    where
        H: Handler<T, Arc<App>, Future = Answer> + Sync,
    {
        Self(Arc::new(move |request, app| {
            handler.clone().call(request, app)
        }))
    }
}

impl Handler<(), Arc<App>> for ErasedHandler {
    type Future = Answer;

    fn call(self, request: Request, app: Arc<App>) -> Answer {
        self.0(request, app)
    }
}
