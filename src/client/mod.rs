//! The client side of the protocol: for bots, tools, tests and load generators.
//!
//! ```text
//! core        bytes in, events out, requests encoded: no sockets, no clock
//! event       what a msg_server says without being asked
//! blocking    a connection to msg_server on a socket that blocks, with time-outs
//! requests    everything a user may ask for, one call each
//! crowd       many connections on one thread
//! discovery   which msg_server to go to, asked of login_server
//! files       a connection to file_server: sending and fetching
//! session     a user who stays connected: reconnects, and misses and repeats nothing
//! wire        bytes over a socket, with time-outs
//! tls         whom a client trusts
//! error       what can go wrong
//! ```
//!
//! A bot that answers everybody:
//!
//! ```no_run
//! use std::time::Duration;
//! use teamtalk::client::{Client, ClientError, Event, Login, msg_server};
//!
//! fn main() -> Result<(), ClientError> {
//!     let addr = msg_server("127.0.0.1:8080")?.prior;
//!     let mut bot = Client::connect(&addr, b"12345678901234567890123456789012")?;
//!     bot.login(&Login::new("bot", "secret"))?;
//!     loop {
//!         match bot.next_event(Duration::from_secs(60))? {
//!             Some(Event::Message(message)) if message.from_user_id != bot.user_id() => {
//!                 let text = format!("you said: {}", message.text().unwrap_or("?"));
//!                 bot.send_text(message.session(bot.user_id()), &text)?;
//!             }
//!             _ => {}
//!         }
//!     }
//! }
//! ```
//!
//! [`Core`] is all there is to the protocol; [`Crowd`] drives thousands of them on one thread.

pub mod blocking;
pub mod core;
pub mod crowd;
pub mod discovery;
pub mod error;
pub mod event;
pub mod files;
pub mod requests;
pub mod session;
pub mod tls;

mod wire;

pub use self::core::Core;
pub use blocking::{Client, HEARTBEAT_INTERVAL, Login, logged_in};
pub use crowd::{Crowd, Happening};
pub use discovery::{MsgServer, msg_server};
pub use error::ClientError;
pub use event::{Event, Message, Session};
pub use files::Transfer;
pub use session::{Server, Update, UserSession};
pub use tls::TlsClient;
