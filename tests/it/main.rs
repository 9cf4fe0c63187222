//! The integration tests: one binary, one module per subject.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report; helpers count as tests")]

mod backends; // a private MariaDB and a private Redis
mod bytes; // any bytes from outside, random and nearly right
mod certificates; // TLS for servers of a test
mod client; // the client library against real servers, every command of a client
mod db_proxy_server; // requests and answers, order and restarts
mod file_server; // transfers between clients, and files that wait
mod http_msg_server; // groups made and changed by another program, seen by clients
mod install; // `make install`, units, manual pages
mod login_server; // which msg_server clients are sent to
mod metrics; // health and figures of every server
mod msfs; // uploads and downloads
mod msg_server; // logins, messages and presence over several msg_servers
mod process; // services as processes that can be killed
mod properties; // what must hold for them, shared with the fuzz targets
mod proto; // the protocol definition, item by item, and golden bytes
mod protocol_doc; // what docs/protocol.md says, byte by byte
mod push_server; // phones told through push services, played by HTTP servers of the tests
mod readme; // what README.md and docs/ tell people to do
mod route_server; // presence and messages between two msg_servers
mod running; // services in threads, and their peers
mod site; // all the servers of a chat
mod storage; // one contract for all drivers, pools, schema, faults
mod tidy; // rules that tools can check: documents, citations, lengths, layers
mod tool; // `teamtalk`, as scripts use it
