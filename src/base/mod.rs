//! What every server shares besides the reactor. C++ `server/src/base`, less the network part.
//!
//! ```text
//! http_parser_wrapper   one HTTP request from bytes
//! http_response         one HTTP answer into bytes
//! ```

pub mod http_parser_wrapper;
pub mod http_response;
