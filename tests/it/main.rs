//! The integration tests: one binary, one module per subject.
#![allow(
    clippy::unwrap_used,
    reason = "all of this is test code, the helper functions too"
)]

// The wire format: proto/ against a table kept apart from it, and bytes written by hand.
mod proto;
