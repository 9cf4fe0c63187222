//! What every server shares besides the reactor. C++ `server/src/base`, less the network part.
//!
//! ```text
//! command_line          what the mains share
//! slog                  the logger
//! config_file_reader    key=value files: strict reading, warnings, rewriting
//! config_snapshot       what a configuration file said, to be read again
//! config_value          the types a value can have
//! im_pdu                header and body of a protocol data unit
//! util_pdu              big-endian cursors
//! attach_data           what requests carry to recognise their answers by
//! file_places           which file_server has which offline file
//! http_parser_wrapper   one HTTP request from bytes
//! http_response         one HTTP answer into bytes
//! styled_json           JSON in the layout of the original
//! http_client           a blocking client for workers
//! histogram             how long something takes
//! metrics_text          figures as Prometheus reads them
//! process_stats         what the process costs
//! enc_dec               the cipher of message texts
//! md5                   digests of passwords, comparison of secrets
//! plain_file            files and directories that last
//! public_define         numbers several servers share
//! limits                what one request may ask for
//! address_class         addresses that probably belong to one owner
//! allow_list            which peers may connect
//! token_bucket          how fast a connection may ask
//! thread_pool           workers that keep the order of a key
//! service_manager       telling systemd, or `teamtalk up`, that a server serves
//! signals               signals as values
//! unix_time             the time of the world
//! util                  lists in values, the pid file
//! ```

pub mod address_class;
pub mod allow_list;
pub mod attach_data;
pub mod command_line;
pub mod config_file_reader;
mod config_rewrite;
pub mod config_snapshot;
pub mod config_value;
mod config_warning;
pub mod enc_dec;
pub mod file_places;
pub mod histogram;
pub mod http_client;
pub mod http_parser_wrapper;
pub mod http_response;
pub mod im_pdu;
pub mod limits;
pub mod md5;
pub mod metrics_text;
pub mod plain_file;
pub mod process_stats;
pub mod public_define;
pub mod service_manager;
pub mod signals;
pub mod slog;
pub mod styled_json;
pub mod thread_pool;
pub mod token_bucket;
pub mod unix_time;
pub mod util;
pub mod util_pdu;
