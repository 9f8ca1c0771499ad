//! `Error`: why a handler fails, its status, its public message. No HTML, no JSON.

use http::StatusCode;

use crate::storage;

/// Why a page or an answer cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked for is not there; the text names it.
    #[error("{0} not found")]
    NotFound(String),
    /// What was sent cannot be done as it is; the text says why.
    #[error("{0}")]
    Invalid(String),
    /// The form does not come from a page of ours, or from one that is too old.
    #[error("the form was not sent by a current page of this dashboard")]
    InvalidCsrfToken,
    #[error("the form is too large")]
    TooLarge,
    #[error("this page has no such action")]
    WrongMethod,
    #[error(transparent)]
    Storage(storage::error::Error),
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::InvalidCsrfToken => StatusCode::FORBIDDEN,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            // Its text goes to the log only.
            Self::Storage(error) if error.is_transient() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Storage(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<storage::error::Error> for Error {
    fn from(error: storage::error::Error) -> Self {
        match error {
            storage::error::Error::NotFound(what) => Self::NotFound(what),
            storage::error::Error::Refused(why) => Self::Invalid(why),
            other => Self::Storage(other),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Storage(error.into())
    }
}
