//! `Error`: the reason why a handler fails, its status, and its public message. No HTML, no JSON.

use http::StatusCode;

use crate::storage;
use crate::storage::error::Thing;

/// The reason why a page or a response cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What is missing, and its name or id.
    #[error("{0} {1} not found")]
    NotFound(Thing, String),
    /// A valid request that cannot be carried out; contains the reason.
    #[error("{0}")]
    Invalid(String),
    /// The form has no valid CSRF token.
    #[error("the form was not sent by a current page of this dashboard")]
    InvalidCsrfToken,
    #[error("the form is too large")]
    TooLarge,
    #[error("the form did not arrive in time")]
    TooSlow,
    #[error("this page has no such action")]
    WrongMethod,
    #[error(transparent)]
    Storage(storage::error::Error),
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(..) => StatusCode::NOT_FOUND,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::InvalidCsrfToken => StatusCode::FORBIDDEN,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            // Only the log contains its text.
            Self::Storage(error) if error.is_transient() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Storage(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<storage::error::Error> for Error {
    fn from(error: storage::error::Error) -> Self {
        match error {
            storage::error::Error::NotFound(thing, name) => Self::NotFound(thing, name),
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
