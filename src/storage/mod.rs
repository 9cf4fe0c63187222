//! Databases and caches behind one seam, with two drivers each.
//!
//! ```text
//! db_conn          DbConn: statements, transactions; what every database driver does
//! cache_conn       CacheConn: strings, hashes, pipelines; what every cache driver does
//! value            values, rows, typed columns
//! sql              the few places in which the dialects differ; rows in groups
//! error            what can go wrong, so that a caller can decide what to do
//! pool             connections that are borrowed, with limits
//! db_pool          teamtalk_master and teamtalk_slave, as configured
//! cache_pool       unread, group_set, sync, token and group_member, as configured
//! mysql, redis     drivers of an installation with servers
//! sqlite, embedded_cache   drivers that keep everything in one file
//! timed            how long all of them take
//! metrics          what is told of pools and connections
//! schema           tables, and the way there from older ones
//! ```
//!
//! The models above are written once, in one SQL: the configuration chooses the driver, and a
//! contract suite (`tests/it/storage`) holds both to the same behaviour. An SQL call dwarfs a
//! virtual call, so connections are trait objects.
//!
//! # Rules
//!
//! - A request never holds two connections of one pool: while requests wait for their second one,
//!   none of them gives back its first. A pool refuses the second at once (F85).
//! - Values are bound, never written into the text of a statement (F4).
//! - A statement is tried again by itself only if it reads, outside of a transaction. When the
//!   connection is lost while something is written, nobody knows whether it is there: the caller
//!   gets [`DbError::ConnectionLost`] and refuses, or looks.
//! - Everything ends: waiting for a connection, connecting, and every command.
//!
//! # Cost
//!
//! [`Counters`] count what a connection did. A statement with values is one round trip, and one
//! more the first time a connection sees its text; `begin` and `commit` are one each. A pipeline
//! of cache commands is one round trip, whatever its length; on the embedded driver it is one
//! transaction.

pub mod cache_conn;
pub mod cache_pool;
pub mod db_conn;
pub mod db_pool;
pub mod embedded_cache;
pub mod error;
pub mod metrics;
pub mod mysql;
pub mod pool;
pub mod redis;
pub mod schema;
pub mod sql;
pub mod sqlite;
pub mod timed;
pub mod value;

pub use cache_conn::{CacheCmd, CacheConn, CacheReply};
pub use cache_pool::CacheManager;
pub use db_conn::{Counters, DbConn, Transaction};
pub use db_pool::DbManager;
pub use error::{CacheError, DbError};
pub use sql::{Dialect, InsertRows, Merge, OnConflict};
pub use value::{ResultSet, Row, Value};
