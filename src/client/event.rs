//! What a msg_server says.

use bytes::Bytes;

use crate::base::enc_dec::Aes;
use crate::base::im_pdu::{ImPdu, PduError, PduRef};
use crate::base::public_define::msg_type_is_group;
use crate::pb::base_define::{MsgInfo, MsgType, SessionType};
use crate::pb::buddy::*;
use crate::pb::cmd::*;
use crate::pb::file::ImFileNotify;
use crate::pb::group::ImGroupChangeMemberNotify;
use crate::pb::login::ImKickUser;
use crate::pb::message::{ImMsgData, ImMsgDataAck, ImMsgDataReadNotify};
use crate::pb::switch_service::ImP2pCmdMsg;

/// With whom one talks.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Session {
    /// Another user.
    User(u32),
    /// A group.
    Group(u32),
}

impl Session {
    /// The id of the user or of the group.
    pub fn id(self) -> u32 {
        match self {
            Self::User(id) | Self::Group(id) => id,
        }
    }

    /// As messages say it.
    pub fn session_type(self) -> SessionType {
        match self {
            Self::User(_) => SessionType::Single,
            Self::Group(_) => SessionType::Group,
        }
    }

    /// The session of this kind and id.
    pub fn new(session_type: SessionType, id: u32) -> Self {
        match session_type {
            SessionType::Single => Self::User(id),
            SessionType::Group => Self::Group(id),
        }
    }
}

/// A message, as it came or as it stands in a history.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    /// Who wrote it.
    pub from_user_id: u32,
    /// To whom or to which group.
    pub to_session_id: u32,
    /// Its number in its session, from 1 on.
    pub msg_id: u32,
    /// Unix seconds.
    pub create_time: u32,
    /// The `MsgType`.
    pub msg_type: i32,
    /// What a text says in clear. `None`: it is no text, or of another key.
    pub clear_text: Option<String>,
    /// The content as it was sent: cipher text, or sound.
    pub data: Bytes,
}

impl Message {
    pub(super) fn of(msg: ImMsgData, aes: &Aes) -> Self {
        let clear_text = clear_text(msg.msg_type, &msg.msg_data, aes);
        let ImMsgData { from_user_id, to_session_id, msg_id, create_time, msg_type, .. } = msg;
        let data = msg.msg_data;
        Self { from_user_id, to_session_id, msg_id, create_time, msg_type, clear_text, data }
    }

    /// A message of the history of `session` as the user `me` sees it.
    pub(super) fn of_history(info: MsgInfo, session: Session, me: u32, aes: &Aes) -> Self {
        let to_session_id = match session {
            Session::User(id) if info.from_session_id == id => me,
            Session::User(id) | Session::Group(id) => id,
        };
        Self {
            from_user_id: info.from_session_id,
            to_session_id,
            msg_id: info.msg_id,
            create_time: info.create_time,
            msg_type: info.msg_type,
            clear_text: clear_text(info.msg_type, &info.msg_data, aes),
            data: info.msg_data,
        }
    }

    /// What a text says.
    pub fn text(&self) -> Option<&str> {
        self.clear_text.as_deref()
    }

    /// Where it belongs for the user `user_id`, who wrote or got it.
    pub fn session(&self, user_id: u32) -> Session {
        if msg_type_is_group(self.msg_type) {
            Session::Group(self.to_session_id)
        } else if self.from_user_id == user_id {
            Session::User(self.to_session_id)
        } else {
            Session::User(self.from_user_id)
        }
    }
}

fn clear_text(msg_type: i32, data: &[u8], aes: &Aes) -> Option<String> {
    match MsgType::try_from(msg_type) {
        Ok(MsgType::SingleText | MsgType::GroupText) => {
            String::from_utf8(aes.decrypt(data).ok()?).ok()
        }
        _ => None,
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "events are handed on one at a time")]
pub enum Event {
    /// Somebody wrote, or the user himself on another device.
    Message(Message),
    /// A message is stored and has this number.
    Stored {
        /// Of the request that sent it.
        seq_num: u16,
        /// Its number, and where it belongs.
        ack: ImMsgDataAck,
    },
    /// The user has read something on another device.
    Read(ImMsgDataReadNotify),
    /// Somebody came or went.
    Presence {
        /// Who.
        user_id: u32,
        /// The `UserStatType`.
        status: i32,
    },
    /// The user has logged in or out on a PC; phones are told.
    PcLogin(ImPcLoginStatusNotify),
    /// Another device took a session off the list.
    SessionRemoved(ImRemoveSessionNotify),
    /// Somebody has a new picture.
    AvatarChanged(ImAvatarChangedNotify),
    /// Somebody has a new signature.
    SignInfoChanged(ImSignInfoChangedNotify),
    /// Members came or went.
    GroupChanged(ImGroupChangeMemberNotify),
    /// Somebody sends a file.
    File(ImFileNotify),
    /// A command from client to client: typing, shaking the window.
    P2p(ImP2pCmdMsg),
    /// This connection is ended: the user logged in elsewhere, or was sent away.
    Kicked(ImKickUser),
    /// The answer to a heartbeat.
    Heartbeat,
    /// The answer to a request.
    Answer(ImPdu),
}

impl Event {
    /// What a PDU of a msg_server says.
    ///
    /// # Errors
    /// Its body is not what its command says.
    pub fn of(pdu: PduRef<'_>, aes: &Aes) -> Result<Self, PduError> {
        Ok(match pdu.command_id() {
            CID_OTHER_HEARTBEAT => Self::Heartbeat,
            CID_MSG_DATA => Self::Message(Message::of(pdu.decode()?, aes)),
            CID_MSG_DATA_ACK => Self::Stored { seq_num: pdu.seq_num(), ack: pdu.decode()? },
            CID_MSG_READ_NOTIFY => Self::Read(pdu.decode()?),
            CID_BUDDY_LIST_STATUS_NOTIFY => {
                let stat = pdu.decode::<ImUserStatNotify>()?.user_stat;
                Self::Presence { user_id: stat.user_id, status: stat.status }
            }
            CID_BUDDY_LIST_PC_LOGIN_STATUS_NOTIFY => Self::PcLogin(pdu.decode()?),
            CID_BUDDY_LIST_REMOVE_SESSION_NOTIFY => Self::SessionRemoved(pdu.decode()?),
            CID_BUDDY_LIST_AVATAR_CHANGED_NOTIFY => Self::AvatarChanged(pdu.decode()?),
            CID_BUDDY_LIST_SIGN_INFO_CHANGED_NOTIFY => Self::SignInfoChanged(pdu.decode()?),
            CID_GROUP_CHANGE_MEMBER_NOTIFY => Self::GroupChanged(pdu.decode()?),
            CID_FILE_NOTIFY => Self::File(pdu.decode()?),
            CID_SWITCH_P2P_CMD => Self::P2p(pdu.decode()?),
            CID_LOGIN_KICK_USER => Self::Kicked(pdu.decode()?),
            _ => Self::Answer(pdu.to_owned()),
        })
    }
}
