//! Parameters of statements, and columns of rows.

use bytes::BytesMut;
use postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use rusqlite::types::ValueRef;
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    Postgres(&'a postgres::Row),
}

impl Row<'_> {
    /// A column by its place, from 0.
    ///
    /// # Errors
    /// `Internal` when the column has another type: a statement of ours is wrong.
    pub fn get<T: FromColumn>(&self, index: usize) -> Result<T, Error> {
        let value = match self.source {
            Source::Sqlite(row) => sqlite_value(row.get_ref(index)?)?,
            Source::Postgres(row) => row.try_get(index)?,
        };
        T::from_column(value).ok_or_else(|| {
            Error::internal(format!("column {index} is not {}", std::any::type_name::<T>()))
        })
    }
}

pub(crate) fn sqlite_value(value: ValueRef<'_>) -> Result<Value, Error> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Int(value),
        ValueRef::Text(text) => {
            Value::Text(String::from_utf8(text.to_vec()).map_err(Error::internal)?)
        }
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
        ValueRef::Real(_) => return Err(Error::internal("a column holds a fraction")),
    })
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Value, BoxError> {
        Ok(match *kind {
            Type::BOOL => Value::Int(bool::from_sql(kind, raw)?.into()),
            Type::INT2 => Value::Int(i16::from_sql(kind, raw)?.into()),
            Type::INT4 => Value::Int(i32::from_sql(kind, raw)?.into()),
            Type::INT8 => Value::Int(i64::from_sql(kind, raw)?),
            Type::BYTEA => Value::Blob(raw.to_vec()),
            _ => Value::Text(String::from_sql(kind, raw)?),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Value, BoxError> {
        Ok(Value::Null)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl ToSql for Param<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
        match self {
            Param::Null => Ok(IsNull::Yes),
            Param::Int(value) => match *kind {
                Type::INT2 => i16::try_from(*value)?.to_sql(kind, out),
                Type::INT4 => i32::try_from(*value)?.to_sql(kind, out),
                _ => value.to_sql(&Type::INT8, out),
            },
            Param::Text(text) => text.to_sql(&Type::TEXT, out),
            Param::Blob(bytes) => bytes.to_sql(&Type::BYTEA, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

type BoxError = Box<dyn std::error::Error + Sync + Send>;

/// What a column can be read as.
pub trait FromColumn: Sized {
    fn from_column(value: Value) -> Option<Self>;
}

impl FromColumn for Value {
    fn from_column(value: Value) -> Option<Value> {
        Some(value)
    }
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
