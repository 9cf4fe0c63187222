//! TeamTalk, MoGuJie's instant-messaging server, in Rust.
#![forbid(unsafe_code)]

pub mod base;
pub mod netlib;
pub mod pb;
