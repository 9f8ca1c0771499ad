//! `Caller`: a client that may send its request, and the credentials that came beside its key.

use std::sync::Arc;

use crate::gemini::resources::name::ResourceName;
use crate::gemini::target::{Target, is_live_path};
use crate::pool::clients::client_key::ClientKey;
use crate::pool::keys::upstream_key::UpstreamKeyId;
use crate::storage::upload_sessions::UploadSession;

/// A client that may send this request.
#[derive(Debug)]
pub struct Caller {
    pub client: Arc<ClientKey>,
    pub target: Target,
    /// The ephemeral token that opens a live session in place of the client key.
    pub token: Option<ResourceName>,
    /// The upload session that the request continues.
    pub session: Option<UploadSession>,
    /// The only upstream key that may serve the request: the admin who sends it chose it.
    pub upstream_key: Option<UpstreamKeyId>,
}

impl Caller {
    /// Whether the request opens a live session.
    pub fn is_live(&self) -> bool {
        is_live_path(&self.target.path_and_query)
    }
}
