//! TeamTalk, MoGuJie's instant-messaging server, in Rust: the architecture page.
//!
//! Eight servers, each one process with one event loop, speak length-prefixed protobuf messages
//! (PDUs) with clients and with each other:
//!
//! ```text
//!            HTTP / PDU                      PDU                         PDU
//!  client ───────────────► login_server    client ──► msg_server    client ──► file_server
//!    "which msg_server?"        ▲                     │  │  │  │                    ▲
//!                               └───── load ──────────┘  │  │  └──── tasks ─────────┘
//!                                                        │  └────► push_server ──► phones
//!            other msg_servers ◄── route_server ◄────────┤
//!                                       ▲                ▼
//!  back end ── HTTP ──► http_msg_server ─┴────────► db_proxy_server ──► MySQL and Redis, or SQLite
//!
//!  client ── HTTP ──► msfs (pictures and voice)
//! ```
//!
//! # Codemap, in reading order
//!
//! - [`netlib`]: the reactor. Its module page has the rules of the loop; everything else obeys
//!   them. `netlib::event_dispatch` is the only code that knows sockets and the clock;
//!   `netlib::admin` is the port at which every server tells its health and its figures.
//! - [`base`]: what servers share besides the reactor. Start with [`base::im_pdu`], the unit of the
//!   protocol; then configuration, HTTP messages, the text cipher, workers, signals.
//! - [`pb`]: the messages, generated from `proto/` while building, and the command numbers.
//! - [`storage`]: databases and caches, each with a driver for a server and one for a file; the
//!   schema and its migrations.
//! - [`route_server`]: the smallest of the servers, and the pattern of the others: a state struct,
//!   a file for each class of connections, `read` for the configuration, `dispatch` to build the
//!   loop, `run` to serve.
//! - [`login_server`]: the same with several kinds of connections, one of them HTTP.
//! - [`msg_server`]: the largest, where clients stay: connections of clients, connections to five
//!   kinds of servers, and what passes between them.
//! - [`file_server`]: transfers between clients, as state machines, and files that wait on the disk
//!   for receivers who are away.
//! - [`http_msg_server`]: lets other programs make groups and change their members, with HTTP.
//! - [`push_server`]: tells phones, through the push services of their makers.
//! - [`msfs`]: the HTTP server of pictures and voice, and the pattern for work that blocks.
//! - [`client`]: the other side of the protocol, for bots, tools and tests.
//! - [`tool`]: `teamtalk`, the tool to run, operate, use and measure an installation.
//!
//! The layout follows the C++ original: a directory per C++ directory, a file per C++ class, and a
//! `C++:` line at every item that has an origin. `docs/cpp-map.md` is the index of those lines,
//! `docs/deviations.md` of the `Differs:` lines that say where and why this server behaves
//! otherwise.
//!
//! # Invariants
//!
//! - Handlers never touch sockets: they change state and queue bytes; the loop does the I/O.
//! - Handlers never block. What blocks runs on a worker and comes back through a
//!   [`netlib::ResponseList`].
//! - No clock below `netlib::event_dispatch`: time is [`netlib::Netlib::tick`], an argument in
//!   tests.
//! - No connection is borrowed across a call that may close it; handles name connections, and a
//!   stale handle finds nothing.
//! - No lock is held across a send; within a loop there are no locks at all.
//! - Nothing from the network indexes, allocates or multiplies before it is checked, and nothing
//!   from the network panics.
//! - Every buffer and queue has a limit with a name.
//! - Services never import each other, and no code is `unsafe`.
#![forbid(unsafe_code)]

pub mod base;
pub mod client;
pub mod db_proxy_server;
pub mod file_server;
pub mod http_msg_server;
pub mod login_server;
pub mod msfs;
pub mod msg_server;
pub mod netlib;
pub mod pb;
pub mod push_server;
pub mod route_server;
pub mod storage;
pub mod tool;
