//! Why the database did not do it.

/// Why the database did not do it.
#[derive(Clone, Debug, thiserror::Error)]
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

    pub(crate) fn unavailable(reason: impl std::fmt::Display) -> Error {
        Error::Unavailable { reason: reason.to_string() }
    }

    /// The same for another closure of the same batch.
    pub(crate) fn again(&self) -> Error {
        match self {
            Error::Full {} => Error::Full {},
            other => Error::unavailable(other),
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Error {
        use rusqlite::{ErrorCode, ffi};
        let extended = error.sqlite_extended_error_code();
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation)
                if matches!(
                    extended,
                    Some(
                        ffi::SQLITE_CONSTRAINT_UNIQUE
                            | ffi::SQLITE_CONSTRAINT_PRIMARYKEY
                            | ffi::SQLITE_CONSTRAINT_ROWID
                    )
                ) =>
            {
                Error::Exists
            }
            Some(ErrorCode::DiskFull) => Error::Full {},
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::unavailable(error),
            _ => Error::internal(error),
        }
    }
}

impl From<postgres::Error> for Error {
    fn from(error: postgres::Error) -> Error {
        use postgres::error::SqlState;
        match error.code() {
            Some(code) if *code == SqlState::UNIQUE_VIOLATION => Error::Exists,
            Some(code) if *code == SqlState::DISK_FULL => Error::Full {},
            Some(_) => {
                let text = error.as_db_error().map_or_else(
                    || error.to_string(),
                    |db| format!("{}: {}", db.code().code(), db.message()),
                );
                Error::internal(text)
            }
            None => Error::unavailable(chain(&error)),
        }
    }
}

/// An error with what caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
