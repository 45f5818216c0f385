//! Why the database did not do what was asked, in the cases that callers tell apart.

/// An error of the database.
///
/// What [`Error::Exists`] means depends on the row, so the operation that can meet it turns it
/// into its own error by hand.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A row with this key is there already, and the statement did not say what then.
    #[error("a row with this key exists already")]
    Exists,

    /// The database cannot be reached or cannot take the work now, or the connection was lost
    /// while it committed and the outcome is unknown. The caller may try again later (503).
    #[error("the database is not available")]
    Unavailable(#[source] anyhow::Error),

    /// There is no room for what should be written (507). Nothing of the transaction is kept.
    #[error("the disk of the database is full")]
    Full,

    /// The database may not be opened as it is; the text says why and what to do about it.
    #[error("{0}")]
    Refused(String),

    /// Ours: a wrong statement, a value of another type, a damaged file.
    #[error("the database failed")]
    Internal(#[source] anyhow::Error),
}

impl Error {
    /// An error of ours that has no other cause.
    pub(crate) fn internal(text: impl Into<String>) -> Error {
        Error::Internal(anyhow::Error::msg(text.into()))
    }

    /// The database cannot take the work now.
    pub(crate) fn unavailable(text: impl Into<String>) -> Error {
        Error::Unavailable(anyhow::Error::msg(text.into()))
    }

    /// The same error once more: one for the closure, and one that the transaction remembers or
    /// that each caller of a batch is told. The chain of causes becomes one text.
    pub(crate) fn again(&self) -> Error {
        match self {
            Error::Exists => Error::Exists,
            Error::Unavailable(cause) => Error::unavailable(format!("{cause:#}")),
            Error::Full => Error::Full,
            Error::Refused(text) => Error::Refused(text.clone()),
            Error::Internal(cause) => Error::internal(format!("{cause:#}")),
        }
    }
}
