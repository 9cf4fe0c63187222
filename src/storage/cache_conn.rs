//! One connection to a cache: strings and hashes by key.

use std::collections::HashMap;

use super::db_conn::Counters;
use super::error::CacheError;

/// One command. Keys and values are separate arguments, never parts of a text (F90).
#[derive(Clone, Debug, Eq, PartialEq)]
#[allow(missing_docs, reason = "the fields are the arguments of the command")]
pub enum CacheCmd {
    /// The string at a key: [`CacheReply::Text`].
    Get { key: String },
    /// Stores a string: [`CacheReply::Done`].
    Set { key: String, value: String },
    /// The strings at several keys: [`CacheReply::Texts`].
    MGet { keys: Vec<String> },
    /// Whether a key exists, 0 or 1: [`CacheReply::Int`].
    Exists { key: String },
    /// Removes a key, 0 or 1: [`CacheReply::Int`].
    Del { key: String },
    /// Adds to the number at a key; a missing one is 0. The sum: [`CacheReply::Int`].
    IncrBy { key: String, by: i64 },
    /// A field of a hash: [`CacheReply::Text`].
    HGet { key: String, field: String },
    /// Stores a field of a hash: [`CacheReply::Done`].
    HSet { key: String, field: String, value: String },
    /// Stores fields of a hash: [`CacheReply::Done`].
    HMSet { key: String, fields: Vec<(String, String)> },
    /// Several fields of a hash: [`CacheReply::Texts`].
    HMGet { key: String, fields: Vec<String> },
    /// Removes fields of a hash. How many there were: [`CacheReply::Int`].
    HDel { key: String, fields: Vec<String> },
    /// The whole hash, empty if there is none: [`CacheReply::Map`].
    HGetAll { key: String },
    /// Adds to a field of a hash; a missing one is 0. The sum: [`CacheReply::Int`].
    HIncrBy { key: String, field: String, by: i64 },
}

impl CacheCmd {
    /// Whether the command changes nothing, so that it may be given twice.
    pub fn is_read(&self) -> bool {
        match self {
            Self::Get { .. }
            | Self::MGet { .. }
            | Self::Exists { .. }
            | Self::HGet { .. }
            | Self::HMGet { .. }
            | Self::HGetAll { .. } => true,
            Self::Set { .. }
            | Self::Del { .. }
            | Self::IncrBy { .. }
            | Self::HSet { .. }
            | Self::HMSet { .. }
            | Self::HDel { .. }
            | Self::HIncrBy { .. } => false,
        }
    }

    /// What to reply without asking, to a command about nothing; Redis refuses these.
    pub(super) fn empty_reply(&self) -> Option<CacheReply> {
        match self {
            Self::MGet { keys } if keys.is_empty() => Some(CacheReply::Texts(Vec::new())),
            Self::HMGet { fields, .. } if fields.is_empty() => Some(CacheReply::Texts(Vec::new())),
            Self::HMSet { fields, .. } if fields.is_empty() => Some(CacheReply::Done),
            Self::HDel { fields, .. } if fields.is_empty() => Some(CacheReply::Int(0)),
            _ => None,
        }
    }
}

/// The answer to a [`CacheCmd`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CacheReply {
    /// Stored.
    Done,
    /// A number.
    Int(i64),
    /// A text, if there is one.
    Text(Option<String>),
    /// A text, if there is one, for each key or field, in their order.
    Texts(Vec<Option<String>>),
    /// The fields of a hash.
    Map(HashMap<String, String>),
}

impl CacheReply {
    /// The number of a command that counts.
    pub fn into_int(self) -> Result<i64, CacheError> {
        let Self::Int(number) = self else {
            return Err(CacheError::WrongReply("a number"));
        };
        Ok(number)
    }

    /// The text of a command that reads one.
    pub fn into_text(self) -> Result<Option<String>, CacheError> {
        let Self::Text(text) = self else {
            return Err(CacheError::WrongReply("text"));
        };
        Ok(text)
    }

    /// The texts of a command that reads several.
    pub fn into_texts(self) -> Result<Vec<Option<String>>, CacheError> {
        let Self::Texts(texts) = self else {
            return Err(CacheError::WrongReply("texts"));
        };
        Ok(texts)
    }

    /// The fields of a hash.
    pub fn into_map(self) -> Result<HashMap<String, String>, CacheError> {
        let Self::Map(map) = self else {
            return Err(CacheError::WrongReply("a hash"));
        };
        Ok(map)
    }
}

/// A connection to a cache. Commands alone are pipelines of one.
///
/// C++: db_proxy_server/CachePool.h CacheConn
/// Differs: what fails is an error; the original gave an empty text, 0 or -1 (S2).
pub trait CacheConn: Send {
    /// Gives all commands at once and returns as many replies, in one round trip. After an error
    /// it is not known which of the commands took place. On Redis, others' commands may come in
    /// between; the embedded driver does all or none.
    fn pipeline(&mut self, cmds: &[CacheCmd]) -> Result<Vec<CacheReply>, CacheError>;

    /// Whether the connection is of no more use.
    fn is_broken(&self) -> bool;

    /// Asks the other side whether it is there.
    fn ping(&mut self) -> Result<(), CacheError>;

    /// What this connection did.
    fn counters(&self) -> Counters;

    /// Gives one command.
    fn command(&mut self, cmd: CacheCmd) -> Result<CacheReply, CacheError> {
        let reply = self.pipeline(&[cmd])?.pop();
        reply.ok_or(CacheError::WrongReply("there"))
    }

    /// The string at a key.
    ///
    /// C++: db_proxy_server/CachePool.cpp CacheConn::get
    fn get(&mut self, key: &str) -> Result<Option<String>, CacheError> {
        self.command(CacheCmd::Get { key: key.to_owned() })?.into_text()
    }

    /// Stores a string.
    ///
    /// C++: db_proxy_server/CachePool.cpp CacheConn::set
    fn set(&mut self, key: &str, value: &str) -> Result<(), CacheError> {
        let cmd = CacheCmd::Set { key: key.to_owned(), value: value.to_owned() };
        self.command(cmd).map(drop)
    }

    /// The strings at several keys, in their order.
    ///
    /// C++: db_proxy_server/CachePool.cpp CacheConn::mget
    /// Differs: keys may hold blanks and percent signs (F90).
    fn mget(&mut self, keys: &[String]) -> Result<Vec<Option<String>>, CacheError> {
        self.command(CacheCmd::MGet { keys: keys.to_vec() })?.into_texts()
    }

    /// Whether a key exists.
    ///
    /// C++: db_proxy_server/CachePool.cpp CacheConn::isExists
    /// Differs: a failure is not "no", and frees nothing twice (F89, S12).
    fn is_exists(&mut self, key: &str) -> Result<bool, CacheError> {
        Ok(self.command(CacheCmd::Exists { key: key.to_owned() })?.into_int()? != 0)
    }

    /// Removes a key. Whether there was one.
    fn del(&mut self, key: &str) -> Result<bool, CacheError> {
        Ok(self.command(CacheCmd::Del { key: key.to_owned() })?.into_int()? != 0)
    }

    /// Adds to the number at a key, and gives the sum.
    ///
    /// C++: db_proxy_server/CachePool.cpp CacheConn::incrBy
    /// Differs: a failure is an error, not the number -1 (S2).
    fn incr_by(&mut self, key: &str, by: i64) -> Result<i64, CacheError> {
        self.command(CacheCmd::IncrBy { key: key.to_owned(), by })?.into_int()
    }

    /// A field of a hash.
    ///
    /// C++: db_proxy_server/CachePool.cpp CacheConn::hget
    fn hget(&mut self, key: &str, field: &str) -> Result<Option<String>, CacheError> {
        let cmd = CacheCmd::HGet { key: key.to_owned(), field: field.to_owned() };
        self.command(cmd)?.into_text()
    }

    /// Stores a field of a hash.
    ///
    /// C++: db_proxy_server/CachePool.cpp CacheConn::hset
    fn hset(&mut self, key: &str, field: &str, value: &str) -> Result<(), CacheError> {
        let (key, field) = (key.to_owned(), field.to_owned());
        self.command(CacheCmd::HSet { key, field, value: value.to_owned() }).map(drop)
    }

    /// Stores fields of a hash.
    ///
    /// C++: db_proxy_server/CachePool.cpp CacheConn::hmset
    fn hmset(&mut self, key: &str, fields: &[(String, String)]) -> Result<(), CacheError> {
        self.command(CacheCmd::HMSet { key: key.to_owned(), fields: fields.to_vec() }).map(drop)
    }

    /// Several fields of a hash, in their order.
    fn hmget(&mut self, key: &str, fields: &[String]) -> Result<Vec<Option<String>>, CacheError> {
        let cmd = CacheCmd::HMGet { key: key.to_owned(), fields: fields.to_vec() };
        self.command(cmd)?.into_texts()
    }

    /// Removes a field of a hash. Whether there was one.
    ///
    /// C++: db_proxy_server/CachePool.cpp CacheConn::hdel
    fn hdel(&mut self, key: &str, field: &str) -> Result<bool, CacheError> {
        let cmd = CacheCmd::HDel { key: key.to_owned(), fields: vec![field.to_owned()] };
        Ok(self.command(cmd)?.into_int()? != 0)
    }

    /// The whole hash, empty if there is none.
    ///
    /// C++: db_proxy_server/CachePool.cpp CacheConn::hgetAll
    fn hget_all(&mut self, key: &str) -> Result<HashMap<String, String>, CacheError> {
        self.command(CacheCmd::HGetAll { key: key.to_owned() })?.into_map()
    }

    /// Adds to a field of a hash, and gives the sum.
    ///
    /// C++: db_proxy_server/CachePool.cpp CacheConn::hincrBy
    fn hincr_by(&mut self, key: &str, field: &str, by: i64) -> Result<i64, CacheError> {
        let cmd = CacheCmd::HIncrBy { key: key.to_owned(), field: field.to_owned(), by };
        self.command(cmd)?.into_int()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_of_another_kind_is_an_error() {
        assert_eq!(CacheReply::Int(-1).into_int().unwrap(), -1);
        assert!(CacheReply::Done.into_int().is_err());
        assert!(CacheReply::Int(1).into_text().is_err());
        assert!(CacheReply::Text(None).into_texts().is_err());
        assert!(CacheReply::Texts(Vec::new()).into_map().is_err());
    }

    #[test]
    fn commands_about_nothing_are_answered_without_asking() {
        let key = || "k".to_owned();
        let nothing = CacheCmd::HMGet { key: key(), fields: Vec::new() };
        assert_eq!(nothing.empty_reply(), Some(CacheReply::Texts(Vec::new())));
        let nothing = CacheCmd::HDel { key: key(), fields: Vec::new() };
        assert_eq!(nothing.empty_reply(), Some(CacheReply::Int(0)));
        assert_eq!(CacheCmd::Get { key: key() }.empty_reply(), None);
        assert!(CacheCmd::Get { key: key() }.is_read());
        assert!(!CacheCmd::Del { key: key() }.is_read());
    }
}
