//! `UnreadBody`: why a body cannot be read.

use std::borrow::Cow;

/// Why a body cannot be read, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnreadBody(pub Cow<'static, str>);
