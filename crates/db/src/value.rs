//! Parameters of statements, and columns of rows.

use uuid::Uuid;

use crate::Error;

/// A parameter of a statement.
#[derive(Clone, Copy, Debug)]
pub enum Param<'a> {
    Null,
    Int(i64),
    Text(&'a str),
    Blob(&'a [u8]),
}

impl From<i64> for Param<'_> {
    fn from(value: i64) -> Self {
        Param::Int(value)
    }
}

impl From<bool> for Param<'_> {
    fn from(value: bool) -> Self {
        Param::Int(value.into())
    }
}

impl<'a> From<&'a str> for Param<'a> {
    fn from(value: &'a str) -> Self {
        Param::Text(value)
    }
}

impl<'a> From<&'a String> for Param<'a> {
    fn from(value: &'a String) -> Self {
        Param::Text(value)
    }
}

impl<'a> From<&'a [u8]> for Param<'a> {
    fn from(value: &'a [u8]) -> Self {
        Param::Blob(value)
    }
}

impl<'a> From<&'a Vec<u8>> for Param<'a> {
    fn from(value: &'a Vec<u8>) -> Self {
        Param::Blob(value)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Param<'a> {
    fn from(value: &'a [u8; N]) -> Self {
        Param::Blob(value)
    }
}

impl<'a> From<&'a Uuid> for Param<'a> {
    fn from(value: &'a Uuid) -> Self {
        Param::Blob(value.as_bytes())
    }
}

impl<'a, T: Into<Param<'a>>> From<Option<T>> for Param<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Param::Null, Into::into)
    }
}

/// A value of a column, as either engine gives it.
#[derive(Clone, Debug)]
pub enum Value {
    Null,
    Int(i64),
    Text(String),
    Blob(Vec<u8>),
}

/// A row of an answer.
pub struct Row<'a> {
    pub(crate) source: Source<'a>,
}

pub(crate) enum Source<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
}

impl Row<'_> {
    /// A column by its place, from 0.
    ///
    /// # Errors
    /// `Internal` when the column has another type: a statement of ours is wrong.
    pub fn get<T: FromColumn>(&self, index: usize) -> Result<T, Error> {
        let value = match self.source {
            Source::Sqlite(row) => match row.get_ref(index)? {
                rusqlite::types::ValueRef::Null => Value::Null,
                rusqlite::types::ValueRef::Integer(value) => Value::Int(value),
                rusqlite::types::ValueRef::Text(text) => {
                    Value::Text(String::from_utf8(text.to_vec()).map_err(Error::internal)?)
                }
                rusqlite::types::ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
                rusqlite::types::ValueRef::Real(_) => {
                    return Err(Error::internal("a column holds a fraction"));
                }
            },
        };
        T::from_column(value).ok_or_else(|| {
            Error::internal(format!("column {index} is not {}", std::any::type_name::<T>()))
        })
    }
}

/// What a column can be read as.
pub trait FromColumn: Sized {
    fn from_column(value: Value) -> Option<Self>;
}

impl FromColumn for i64 {
    fn from_column(value: Value) -> Option<i64> {
        if let Value::Int(value) = value { Some(value) } else { None }
    }
}

impl FromColumn for bool {
    fn from_column(value: Value) -> Option<bool> {
        match value {
            Value::Int(0) => Some(false),
            Value::Int(1) => Some(true),
            _ => None,
        }
    }
}

impl FromColumn for String {
    fn from_column(value: Value) -> Option<String> {
        if let Value::Text(value) = value { Some(value) } else { None }
    }
}

impl FromColumn for Vec<u8> {
    fn from_column(value: Value) -> Option<Vec<u8>> {
        if let Value::Blob(value) = value { Some(value) } else { None }
    }
}

impl<const N: usize> FromColumn for [u8; N] {
    fn from_column(value: Value) -> Option<[u8; N]> {
        Vec::from_column(value)?.try_into().ok()
    }
}

impl FromColumn for Uuid {
    fn from_column(value: Value) -> Option<Uuid> {
        <[u8; 16]>::from_column(value).map(Uuid::from_bytes)
    }
}

impl<T: FromColumn> FromColumn for Option<T> {
    fn from_column(value: Value) -> Option<Option<T>> {
        match value {
            Value::Null => Some(None),
            value => T::from_column(value).map(Some),
        }
    }
}
