//! Values that go into statements and come out of rows, the same on both engines.
//!
//! There are three types of columns, TEXT, BIGINT and a blob, and nothing is converted in
//! silence: a text is not read as a number, nor a number as a text.

use uuid::Uuid;

use crate::Error;

/// A value of a statement, or of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Param<'a> {
    /// SQL's NULL.
    Null,
    /// A BIGINT: numbers, times in microseconds, 0 and 1 for truth.
    Int(i64),
    /// A TEXT, valid UTF-8 without U+0000, which PostgreSQL does not store.
    Text(&'a str),
    /// Bytes: digests, ids, sealed columns.
    Blob(&'a [u8]),
}

impl Param<'_> {
    /// The name of the value's type, for error messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Param::Null => "NULL",
            Param::Int(_) => "a number",
            Param::Text(_) => "a text",
            Param::Blob(_) => "bytes",
        }
    }
}

impl<'a> From<&'a str> for Param<'a> {
    fn from(value: &'a str) -> Param<'a> {
        Param::Text(value)
    }
}

impl<'a> From<&'a String> for Param<'a> {
    fn from(value: &'a String) -> Param<'a> {
        Param::Text(value)
    }
}

impl From<i64> for Param<'_> {
    fn from(value: i64) -> Self {
        Param::Int(value)
    }
}

impl From<bool> for Param<'_> {
    fn from(value: bool) -> Self {
        Param::Int(i64::from(value))
    }
}

impl<'a> From<&'a [u8]> for Param<'a> {
    fn from(value: &'a [u8]) -> Param<'a> {
        Param::Blob(value)
    }
}

impl<'a> From<&'a Vec<u8>> for Param<'a> {
    fn from(value: &'a Vec<u8>) -> Param<'a> {
        Param::Blob(value)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Param<'a> {
    fn from(value: &'a [u8; N]) -> Param<'a> {
        Param::Blob(value)
    }
}

impl<'a> From<&'a Uuid> for Param<'a> {
    fn from(value: &'a Uuid) -> Param<'a> {
        Param::Blob(value.as_bytes())
    }
}

impl<'a, T: Into<Param<'a>>> From<Option<T>> for Param<'a> {
    fn from(value: Option<T>) -> Param<'a> {
        value.map_or(Param::Null, Into::into)
    }
}

/// A row of an answer. It borrows from the statement, so values are copied out of it.
pub struct Row<'a>(pub(crate) Source<'a>);

/// Whose row it is.
pub(crate) enum Source<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a postgres::Row),
}

impl Row<'_> {
    /// The value of a column, counted from 0. Fails if the column has another type or is not
    /// there; an `Option` takes NULL.
    pub fn get<T: FromColumn>(&self, index: usize) -> Result<T, Error> {
        let value = self.value(index)?;
        T::from_column(value).ok_or_else(|| {
            Error::internal(format!("column {index} holds {}, not {}", value.kind(), T::WANTED))
        })
    }

    /// The value of a column as it lies there, without a copy.
    pub fn value(&self, index: usize) -> Result<Param<'_>, Error> {
        match &self.0 {
            Source::Sqlite(row) => crate::sqlite::value(row, index),
            Source::Postgres(row) => crate::postgres::value(row, index),
        }
    }
}

/// A type that a column can be read as.
///
/// A trait, because `row.get(0)?` should give what the field that takes it wants.
pub trait FromColumn: Sized {
    /// What the column must hold, for the error message.
    const WANTED: &'static str;

    /// The value, or `None` if the column holds something else.
    fn from_column(value: Param<'_>) -> Option<Self>;
}

impl FromColumn for i64 {
    const WANTED: &'static str = "a number";

    fn from_column(value: Param<'_>) -> Option<i64> {
        match value {
            Param::Int(value) => Some(value),
            _ => None,
        }
    }
}

impl FromColumn for bool {
    const WANTED: &'static str = "0 or 1";

    fn from_column(value: Param<'_>) -> Option<bool> {
        match value {
            Param::Int(0) => Some(false),
            Param::Int(1) => Some(true),
            _ => None,
        }
    }
}

impl FromColumn for String {
    const WANTED: &'static str = "a text";

    fn from_column(value: Param<'_>) -> Option<String> {
        match value {
            Param::Text(value) => Some(value.to_owned()),
            _ => None,
        }
    }
}

impl FromColumn for Vec<u8> {
    const WANTED: &'static str = "bytes";

    fn from_column(value: Param<'_>) -> Option<Vec<u8>> {
        match value {
            Param::Blob(value) => Some(value.to_owned()),
            _ => None,
        }
    }
}

impl<const N: usize> FromColumn for [u8; N] {
    const WANTED: &'static str = "bytes of this length";

    fn from_column(value: Param<'_>) -> Option<[u8; N]> {
        match value {
            Param::Blob(value) => value.try_into().ok(),
            _ => None,
        }
    }
}

impl FromColumn for Uuid {
    const WANTED: &'static str = "16 bytes";

    fn from_column(value: Param<'_>) -> Option<Uuid> {
        <[u8; 16]>::from_column(value).map(Uuid::from_bytes)
    }
}

impl<T: FromColumn> FromColumn for Option<T> {
    const WANTED: &'static str = T::WANTED;

    fn from_column(value: Param<'_>) -> Option<Option<T>> {
        match value {
            Param::Null => Some(None),
            value => T::from_column(value).map(Some),
        }
    }
}
