//! Why an operation of the account's services failed: an exception's name and its sentence.

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An exception of an AWS service.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The exception's name on JSON's wire.
    pub exception: &'static str,
    /// The HTTP status.
    pub status: u16,
    pub message: String,
    #[source]
    pub cause: Option<anyhow::Error>,
}

impl Error {
    /// Ours, not the caller's; the cause is logged where the response is written.
    pub fn internal(cause: impl Into<anyhow::Error>) -> Error {
        Error {
            exception: "InternalFailure",
            status: 500,
            message: "internal error".to_owned(),
            cause: Some(cause.into()),
        }
    }

    /// The database is not there, or could not say what became of a change.
    pub fn unavailable(cause: impl Into<anyhow::Error>) -> Error {
        Error {
            exception: "ServiceUnavailableException",
            status: 503,
            message: "The service is not available, try again".to_owned(),
            cause: Some(cause.into()),
        }
    }

    /// `UnrecognizedClientException`: the key is unknown, inactive or gone.
    pub fn unrecognized_client() -> Error {
        Error {
            exception: "UnrecognizedClientException",
            status: 400,
            message: "The security token included in the request is invalid.".to_owned(),
            cause: None,
        }
    }
}

impl From<bonded_db::Error> for Error {
    fn from(error: bonded_db::Error) -> Error {
        match error {
            bonded_db::Error::Unavailable { .. } => Error::unavailable(error),
            _ => Error::internal(error),
        }
    }
}
