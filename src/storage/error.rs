//! What can go wrong in storage, told apart by what a caller can do about it.
//!
//! No message holds a stored or bound value (F104): servers like to quote them, so what they say
//! about a value is reduced to the name of its column or key.

use thiserror::Error;

use super::pool::PoolError;

/// A statement, or the way to the database, failed.
#[derive(Debug, Error)]
pub enum DbError {
    /// There is no connection to be had.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The database cannot be reached or does not let us in.
    #[error("cannot open {target}: {reason}")]
    Connect {
        /// Host, port and name, or the file.
        target: String,
        /// What the driver said.
        reason: String,
    },
    /// The connection broke or was silent for too long. What was being written may be stored or
    /// not.
    #[error("connection lost: {0}")]
    ConnectionLost(String),
    /// Another transaction was in the way; this one is rolled back and may be tried again as a
    /// whole.
    #[error("busy: {0}")]
    Busy(String),
    /// A row with this key exists.
    #[error("duplicate value for key {key}")]
    Duplicate {
        /// The unique key, as the database calls it.
        key: String,
    },
    /// The value does not fit the column. Nothing was stored.
    #[error("value too long for column {column}")]
    TooLong {
        /// The column.
        column: String,
    },
    /// The value is out of the range of the column, or not of its type. Nothing was stored.
    #[error("value not allowed in column {column}")]
    BadValue {
        /// The column.
        column: String,
    },
    /// The result has no such column.
    #[error("no column {0} in the result")]
    NoColumn(String),
    /// The column is NULL or holds something else than was asked for.
    #[error("column {column} is {found}, not {expected}")]
    WrongType {
        /// The column.
        column: String,
        /// What was asked for.
        expected: &'static str,
        /// What is there: a type, never the value.
        found: &'static str,
    },
    /// The tables were made by a newer program, which knows better how to use them.
    #[error("the schema has version {found}, this program knows versions up to {known}")]
    SchemaTooNew {
        /// The version of the tables.
        found: u32,
        /// The newest known one.
        known: u32,
    },
    /// The program uses the connection wrongly: number of values, order of calls, unknown pool.
    #[error("misuse: {0}")]
    Misuse(String),
    /// Anything else the database says.
    #[error("database error {code}: {message}")]
    Other {
        /// The number of the error.
        code: i64,
        /// Its text.
        message: String,
    },
}

impl DbError {
    /// Whether the same request may succeed if it is made again, as a whole.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Pool(_) | Self::Connect { .. } | Self::ConnectionLost(_) | Self::Busy(_)
        )
    }

    /// Whether the request asked for something that the tables refuse, now and later.
    pub fn is_refused_value(&self) -> bool {
        matches!(self, Self::Duplicate { .. } | Self::TooLong { .. } | Self::BadValue { .. })
    }
}

/// A cache command, or the way to the cache, failed.
#[derive(Debug, Error)]
pub enum CacheError {
    /// There is no connection to be had.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The cache cannot be reached or does not let us in.
    #[error("cannot open {target}: {reason}")]
    Connect {
        /// Host, port and number of the database, or the file.
        target: String,
        /// What the driver said.
        reason: String,
    },
    /// The connection broke or was silent for too long. What was being written may be stored or
    /// not.
    #[error("connection lost: {0}")]
    ConnectionLost(String),
    /// The cache refuses the command, for example to count with what is no number.
    #[error("refused: {0}")]
    Refused(String),
    /// The reply is not what the command gives.
    #[error("reply is not {0}")]
    WrongReply(&'static str),
    /// There is no pool of this name.
    #[error("no cache pool {0}")]
    NoPool(String),
}

impl CacheError {
    /// Whether the same command may succeed if it is given again.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Pool(_) | Self::Connect { .. } | Self::ConnectionLost(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_tell_what_may_be_tried_again() {
        let lost = DbError::ConnectionLost("closed".to_owned());
        let long = DbError::TooLong { column: "name".to_owned() };
        assert!(lost.is_retryable() && !lost.is_refused_value());
        assert!(!long.is_retryable() && long.is_refused_value());
        assert!(CacheError::ConnectionLost("closed".to_owned()).is_retryable());
        assert!(!CacheError::Refused("not a number".to_owned()).is_retryable());
    }
}
