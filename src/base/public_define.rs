//! Numbers several servers share that no message definition names.

/// How the `client_version` of a client begins that is built on this project's client library. It
/// understands what clients of the original do not, so servers may tell it more.
pub const CLIENT_VERSION_PREFIX: &str = "TeamTalk-Rust/";

/// The user came: `user_action` of the count update sent to login_server.
///
/// C++: base/public_define.h USER_CNT_INC
pub const USER_CNT_INC: u32 = 1;
/// The user left.
///
/// C++: base/public_define.h USER_CNT_DEC
pub const USER_CNT_DEC: u32 = 2;

/// The kind of group setting that switches push off and on.
///
/// C++: base/public_define.h IM_GROUP_SETTING_PUSH
pub const IM_GROUP_SETTING_PUSH: u32 = 1;

/// A push the phone shows.
///
/// C++: base/public_define.h IM_PUSH_TYPE_NORMAL
pub const IM_PUSH_TYPE_NORMAL: u32 = 1;
/// A push the phone only counts.
///
/// C++: base/public_define.h IM_PUSH_TYPE_SILENT
pub const IM_PUSH_TYPE_SILENT: u32 = 2;

/// `result_code` of a push: the push service has taken it.
pub const PUSH_RESULT_ACCEPTED: u32 = 0;
/// `result_code` of a push: it was not taken.
pub const PUSH_RESULT_REFUSED: u32 = 1;
/// `result_code` of a push: it was not taken, and no phone has this token any more. Servers of the
/// original take it for a refusal.
pub const PUSH_RESULT_TOKEN_DEAD: u32 = 2;

/// A computer of the user is online.
///
/// C++: base/public_define.h IM_PC_LOGIN_STATUS_ON
pub const IM_PC_LOGIN_STATUS_ON: u32 = 1;
/// No computer of the user is online.
///
/// C++: base/public_define.h IM_PC_LOGIN_STATUS_OFF
pub const IM_PC_LOGIN_STATUS_OFF: u32 = 0;

/// Neither computer nor phone.
///
/// C++: base/public_define.h CLIENT_TYPE_FLAG_NONE
pub const CLIENT_TYPE_FLAG_NONE: u32 = 0;
/// At least one computer.
///
/// C++: base/public_define.h CLIENT_TYPE_FLAG_PC
pub const CLIENT_TYPE_FLAG_PC: u32 = 1;
/// At least one phone.
///
/// C++: base/public_define.h CLIENT_TYPE_FLAG_MOBILE
pub const CLIENT_TYPE_FLAG_MOBILE: u32 = 2;
/// Both.
///
/// C++: base/public_define.h CLIENT_TYPE_FLAG_BOTH
pub const CLIENT_TYPE_FLAG_BOTH: u32 = CLIENT_TYPE_FLAG_PC | CLIENT_TYPE_FLAG_MOBILE;

/// Bytes of a message text the original schema has room for; declared there and never enforced.
///
/// C++: base/public_define.h MAX_MSG_LEN
pub const MAX_MSG_LEN: usize = 4096;

const CLIENT_TYPE_MOBILE_BIT: i32 = 0x10;

/// Whether a `ClientType` is a computer. Numbers the protocol does not name count too.
///
/// C++: base/public_define.h CHECK_CLIENT_TYPE_PC
pub fn client_type_is_pc(client_type: i32) -> bool {
    client_type & CLIENT_TYPE_MOBILE_BIT == 0
}

/// Whether a `ClientType` is a phone or tablet.
///
/// C++: base/public_define.h CHECK_CLIENT_TYPE_MOBILE
pub fn client_type_is_mobile(client_type: i32) -> bool {
    !client_type_is_pc(client_type)
}

/// Whether a `MsgType` goes to one user.
///
/// C++: base/public_define.h CHECK_MSG_TYPE_SINGLE
pub fn msg_type_is_single(msg_type: i32) -> bool {
    matches!(msg_type, 0x01 | 0x02)
}

/// Whether a `MsgType` goes to a group.
///
/// C++: base/public_define.h CHECK_MSG_TYPE_GROUP
pub fn msg_type_is_group(msg_type: i32) -> bool {
    matches!(msg_type, 0x11 | 0x12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fifth_bit_tells_phones_from_computers() {
        for (client_type, mobile) in [(0x01, false), (0x02, false), (0x11, true), (0x12, true)] {
            assert_eq!(client_type_is_mobile(client_type), mobile, "{client_type:#x}");
            assert_eq!(client_type_is_pc(client_type), !mobile, "{client_type:#x}");
        }
    }

    #[test]
    fn a_message_type_is_single_or_group_or_neither() {
        let kinds = [0, 0x01, 0x02, 0x03, 0x10, 0x11, 0x12, 0x13]
            .map(|msg_type| (msg_type_is_single(msg_type), msg_type_is_group(msg_type)));
        let (none, single, group) = ((false, false), (true, false), (false, true));
        assert_eq!(kinds, [none, single, single, none, none, group, group, none]);
    }
}
