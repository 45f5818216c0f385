//! Why the database did not do it.

/// Why the database did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A row with this key is there already.
    #[error("a row with this key exists already")]
    Exists,

    /// The database is not there, busy for too long, or did not say what became of a commit.
    #[error("the database is not available: {reason}")]
    Unavailable { reason: String },

    /// There is no room left on the disk.
    #[error("the database's disk is full")]
    Full {},

    /// The database's schema is newer than this program.
    #[error("the database has schema {found}, this program knows {known}: use a newer one")]
    Newer { found: i64, known: i64 },

    /// Another process serves this database.
    #[error("{0}")]
    Locked(String),

    /// Anything else: a statement of ours is wrong, or the file is damaged.
    #[error("{context}")]
    Internal { context: String },
}

impl Error {
    pub(crate) fn internal(context: impl std::fmt::Display) -> Error {
        Error::Internal { context: context.to_string() }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Error {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => Error::Exists,
            Some(ErrorCode::DiskFull) => Error::Full {},
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Error::Unavailable { reason: error.to_string() }
            }
            _ => Error::internal(error),
        }
    }
}
