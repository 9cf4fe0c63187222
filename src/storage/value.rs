//! Values that are bound to statements, and the rows that come back.

use std::sync::Arc;

use super::error::DbError;

/// What a column holds or a parameter is. All columns of the schema are whole numbers or text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// A whole number.
    Int(i64),
    /// Text: any characters, NUL and emoji included.
    Text(String),
}

impl Value {
    fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Int(_) => "a number",
            Self::Text(_) => "text",
        }
    }
}

macro_rules! impl_from_number {
    ($($number:ty),*) => {$(
        impl From<$number> for Value {
            fn from(number: $number) -> Self {
                Self::Int(number.into())
            }
        }
    )*};
}

impl_from_number!(u8, u16, u32, i32, i64, bool);

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A type a column can be read as. `Option` stands for a column that may be NULL.
pub trait FromValue<'a>: Sized {
    /// What is expected, for the message.
    const EXPECTED: &'static str;

    /// The value, or `None` if it is of another type or out of range.
    fn from_value(value: &'a Value) -> Option<Self>;
}

/// Sums come as decimal text from some servers, hence the second arm.
macro_rules! impl_from_value {
    ($($number:ty, $expected:literal;)*) => {$(
        impl FromValue<'_> for $number {
            const EXPECTED: &'static str = $expected;

            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::Int(number) => Self::try_from(*number).ok(),
                    Value::Text(text) => text.parse().ok(),
                    Value::Null => None,
                }
            }
        }
    )*};
}

impl_from_value! {
    u8, "a number below 256";
    u32, "a number of 32 bits";
    i64, "a number";
    u64, "a number from 0";
}

impl<'a> FromValue<'a> for &'a str {
    const EXPECTED: &'static str = "text";

    fn from_value(value: &'a Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text),
            Value::Int(_) | Value::Null => None,
        }
    }
}

impl FromValue<'_> for String {
    const EXPECTED: &'static str = "text";

    fn from_value(value: &Value) -> Option<Self> {
        <&str>::from_value(value).map(str::to_owned)
    }
}

impl<'a, T: FromValue<'a>> FromValue<'a> for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn from_value(value: &'a Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            Value::Int(_) | Value::Text(_) => T::from_value(value).map(Some),
        }
    }
}

/// All rows of a query.
///
/// C++: db_proxy_server/DBPool.h CResultSet
/// Differs: columns are read by type, and NULL is a value, not a null pointer (F103, S13).
#[derive(Clone, Debug, Default)]
pub struct ResultSet {
    columns: Arc<[String]>,
    rows: Vec<Vec<Value>>,
}

impl ResultSet {
    /// C++: db_proxy_server/DBPool.cpp CResultSet::CResultSet
    pub(super) fn new(columns: Arc<[String]>, rows: Vec<Vec<Value>>) -> Self {
        Self { columns, rows }
    }

    /// The rows, in the order of the query.
    ///
    /// C++: db_proxy_server/DBPool.cpp CResultSet::Next
    pub fn rows(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        self.rows.iter().map(|values| Row { columns: &self.columns, values })
    }

    /// The first row, of a query that gives one at most.
    pub fn first(&self) -> Option<Row<'_>> {
        self.rows().next()
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// One row of a [`ResultSet`].
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    columns: &'a [String],
    values: &'a [Value],
}

impl<'a> Row<'a> {
    /// All values, in the order of the columns.
    pub fn values(&self) -> &'a [Value] {
        self.values
    }

    /// The value of a column. NULL is an error unless the type is an `Option`.
    ///
    /// C++: db_proxy_server/DBPool.cpp CResultSet::GetInt
    /// Differs: a number is a number or an error; `atoi` read NULL, text and large values (F103).
    pub fn get<T: FromValue<'a>>(&self, column: &str) -> Result<T, DbError> {
        let value = self.value(column)?;
        T::from_value(value).ok_or_else(|| DbError::WrongType {
            column: column.to_owned(),
            expected: T::EXPECTED,
            found: value.type_name(),
        })
    }

    /// The value of a column that may be NULL although nobody means anything by it.
    ///
    /// C++: db_proxy_server/DBPool.cpp CResultSet::GetString
    /// Differs: NULL reads as the default instead of a null pointer (S13).
    pub fn get_or_default<T: FromValue<'a> + Default>(&self, column: &str) -> Result<T, DbError> {
        Ok(self.get::<Option<T>>(column)?.unwrap_or_default())
    }

    /// C++: db_proxy_server/DBPool.cpp CResultSet::_GetIndex
    /// Differs: a result has a dozen columns, so they are searched, and a missing one is an error.
    fn value(&self, column: &str) -> Result<&'a Value, DbError> {
        let index = self.columns.iter().position(|name| name == column);
        index
            .and_then(|index| self.values.get(index))
            .ok_or_else(|| DbError::NoColumn(column.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result() -> ResultSet {
        let columns: Arc<[String]> = ["id", "name", "avatar", "total"].map(String::from).into();
        let total = Value::from("4294967296");
        ResultSet::new(columns, vec![vec![3_u32.into(), "a\0b".into(), Value::Null, total]])
    }

    #[test]
    fn columns_are_read_by_name_and_type() {
        let result = result();
        let row = result.first().unwrap();
        assert_eq!(row.get::<u32>("id").unwrap(), 3);
        assert_eq!(row.get::<&str>("name").unwrap(), "a\0b");
        assert_eq!(row.get::<u64>("total").unwrap(), 1 << 32);
        assert!(matches!(row.get::<u32>("total"), Err(DbError::WrongType { .. })));
        assert!(matches!(row.get::<u32>("name"), Err(DbError::WrongType { .. })));
        assert!(matches!(row.get::<u32>("none"), Err(DbError::NoColumn(_))));
        assert_eq!((result.len(), result.is_empty()), (1, false));
    }

    #[test]
    fn f103_s13_null_is_a_value_and_never_a_crash() {
        let result = result();
        let row = result.first().unwrap();
        assert_eq!(row.get::<Option<String>>("avatar").unwrap(), None);
        assert_eq!(row.get_or_default::<String>("avatar").unwrap(), "");
        assert_eq!(row.get_or_default::<u32>("avatar").unwrap(), 0);
        let error = row.get::<String>("avatar").unwrap_err();
        assert_eq!(error.to_string(), "column avatar is NULL, not text");
    }

    #[test]
    fn values_are_made_of_what_models_have() {
        assert_eq!(Value::from(u32::MAX), Value::Int(4_294_967_295));
        assert_eq!(Value::from(None::<u32>), Value::Null);
        assert_eq!(Value::from(Some("x")), Value::Text("x".to_owned()));
    }
}
