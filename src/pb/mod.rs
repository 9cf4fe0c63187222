//! The bodies of all PDUs: what prost makes of `proto/`, one module per package, and the ids.
//!
//! `IM.Login.IMLoginReq` is [`login::ImLoginReq`], `IM.BaseDefine.MsgType` is
//! [`base_define::MsgType`]. A few `string` fields of the wire are bytes here because they are not
//! always UTF-8; `build.rs` lists them and says why. In all other `string` fields anything but
//! UTF-8 fails the whole message.
//!
//! Differs: decoding accepts more than the C++ protobuf does, and handlers make up for it.
//!
//! - C++ refuses a message that lacks a `required` field. Here the field reads as 0, as empty, as
//!   an empty message, and an enum field as the first value of its enum: a message without
//!   `msg_type` looks like one of [`SingleText`](base_define::MsgType::SingleText). A handler
//!   checks what must not be 0 or empty, above all ids.
//! - C++ takes a number that is not in the enum for an absent field, so that it, too, refuses the
//!   message if the field is `required`. Here the number stays, as an `i32`. A handler that acts on
//!   the field or sends it on converts it with `MsgType::try_from(msg.msg_type)` and refuses what
//!   that refuses, for old clients drop a message with such a number. The getter
//!   `msg.msg_type()` does not do: it turns unknown numbers into the first value.
//! - Fields that `proto/` does not have are skipped and do not reach the other side when the
//!   message is encoded again. What is relayed unchanged is relayed as the bytes that came.
//!
//! Encoding always writes every `required` field, set or not, and never packs repeated numbers;
//! decoding takes them packed as well.

pub mod cmd;

macro_rules! packages {
    ($($(#[$doc:meta])* $package:ident)*) => {$(
        $(#[$doc])*
        #[allow(missing_docs, clippy::all)]
        pub mod $package {
            include!(concat!(env!("OUT_DIR"), "/im.", stringify!($package), ".rs"));
        }
    )*};
}

packages! {
    /// `IM.BaseDefine`: enumerations, and the parts that messages of several packages share.
    base_define
    /// `IM.Login`: login and what belongs to one client, service 1.
    login
    /// `IM.Buddy`: users, sessions, departments and presence, service 2.
    buddy
    /// `IM.Message`: messages, service 3.
    message
    /// `IM.Group`: groups, service 4.
    group
    /// `IM.File`: file transfer, service 5.
    file
    /// `IM.SwitchService`: commands from client to client, service 6.
    switch_service
    /// `IM.Other`: the heartbeat, service 7.
    other
    /// `IM.Server`: what servers say to each other, service 7.
    server
}

/// `proto/` as an encoded `google.protobuf.FileDescriptorSet`, as it stands there: before
/// `build.rs` adapts the Rust types.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
