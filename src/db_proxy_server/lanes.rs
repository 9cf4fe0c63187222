//! Which requests wait for each other.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::business::Business;
use super::business::password::PasswordForm;
use crate::base::im_pdu::PduRef;
use crate::base::public_define::msg_type_is_group;
use crate::pb::base_define::SessionType;
use crate::pb::cmd::*;
use crate::pb::message::{ImMsgData, ImMsgDataReadAck};
use crate::pb::server::ImValidateReq;
use crate::storage::db_pool::TEAMTALK_MASTER;

/// Over how many lanes conversations and logins are spread. Those of one lane are worked on one
/// after the other, and what waits meanwhile is worked on together: fewer lanes share a commit or a
/// query among more requests, more of them keep more workers busy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lanes {
    conversations: u64,
    logins: u64,
}

impl Lanes {
    /// MySQL takes a few commits at a time …
    const CONVERSATIONS: u64 = 3;
    /// … and SQLite one, so that a second lane would wait for the first one with half as much.
    const CONVERSATIONS_ALONE: u64 = 1;
    /// One query serves all logins that have come meanwhile …
    const LOGINS: u64 = 1;
    /// … unless the work is in the hash, which is not less for several of them: all workers share
    /// it.
    const LOGINS_HASHED: u64 = u32::MAX as u64;

    pub(super) fn new(business: &Business) -> Self {
        Self {
            conversations: match business.db.writes_side_by_side(TEAMTALK_MASTER) {
                Ok(false) => Self::CONVERSATIONS_ALONE,
                _ => Self::CONVERSATIONS,
            },
            logins: match business.password_form {
                PasswordForm::Md5 => Self::LOGINS,
                PasswordForm::Argon2id => Self::LOGINS_HASHED,
            },
        }
    }

    /// Requests with the same key are worked on one after the other, in the order they came.
    ///
    /// What changes a conversation has the key of the lane of that conversation, whoever of the two
    /// it comes from. Logins under one name have one key, so that each is checked after the
    /// failures before it. Everything else has the key of the user, whose id stands in front of
    /// every request.
    pub(super) fn order_key(self, pdu: PduRef<'_>) -> u64 {
        #[derive(Clone, Copy, prost::Message)]
        struct First {
            #[prost(uint32, tag = "1")]
            user_id: u32,
            #[prost(uint32, tag = "2")]
            peer_id: u32,
        }
        match (pdu.command_id(), pdu.decode::<First>()) {
            (CID_MSG_DATA, Ok(first)) => match pdu.decode::<ImMsgData>() {
                Ok(msg) if msg_type_is_group(msg.msg_type) => self.conversation(first.peer_id),
                _ => self.conversation(first.user_id ^ first.peer_id),
            },
            (CID_MSG_READ_ACK, Ok(first)) => match pdu.decode::<ImMsgDataReadAck>() {
                Ok(ack) if ack.session_type == SessionType::Group as i32 => {
                    self.conversation(first.peer_id)
                }
                _ => self.conversation(first.user_id ^ first.peer_id),
            },
            (_, Ok(first)) => first.user_id.into(),
            // A name in front: a login, or a registration, which needs no order.
            (CID_OTHER_VALIDATE_REQ, Err(_)) => {
                let name = pdu.decode::<ImValidateReq>().unwrap_or_default().user_name;
                u64::from(u32::MAX) + 1 + hash(name) % self.logins
            }
            (_, Err(_)) => u64::MAX / 2 + u64::from(pdu.seq_num()),
        }
    }

    fn conversation(self, number: u32) -> u64 {
        u64::MAX - hash(number) % self.conversations
    }
}

/// Spreads evenly what is numbered in any pattern.
fn hash(it: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    it.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;
    use crate::base::im_pdu::ImPdu;
    use crate::pb::base_define::MsgType;
    use crate::pb::login::ImQueryPushShieldReq;

    const LANES: Lanes = Lanes { conversations: 3, logins: 5 };

    fn message(from_user_id: u32, to_session_id: u32, msg_type: MsgType) -> u64 {
        let msg_type = msg_type.into();
        let msg = ImMsgData { from_user_id, to_session_id, msg_type, ..ImMsgData::default() };
        LANES.order_key(ImPdu::encode(SID_MSG, CID_MSG_DATA, 0, &msg).as_pdu())
    }

    fn read(user_id: u32, session_id: u32, session_type: SessionType) -> u64 {
        let session_type = session_type.into();
        let ack = ImMsgDataReadAck { user_id, session_id, session_type, msg_id: 1 };
        LANES.order_key(ImPdu::encode(SID_MSG, CID_MSG_READ_ACK, 0, &ack).as_pdu())
    }

    fn login(name: &str, seq_num: u16) -> u64 {
        let msg = ImValidateReq { user_name: name.to_owned(), ..ImValidateReq::default() };
        LANES.order_key(ImPdu::encode(SID_OTHER, CID_OTHER_VALIDATE_REQ, seq_num, &msg).as_pdu())
    }

    #[test]
    fn all_of_a_conversation_keeps_its_order() {
        let between = message(5, 6, MsgType::SingleText);
        assert_eq!(message(6, 5, MsgType::SingleAudio), between);
        assert_eq!(read(5, 6, SessionType::Single), between);
        let group = message(5, 100, MsgType::GroupText);
        assert_eq!(message(6, 100, MsgType::GroupAudio), group);
        assert_eq!(read(7, 100, SessionType::Group), group);
    }

    /// As when half of the users write to those whose ids are 500 higher.
    #[test]
    fn conversations_are_spread_evenly_over_the_lanes() {
        let mut counts: HashMap<u64, usize> = HashMap::new();
        for from in 1..=500 {
            *counts.entry(message(from, from + 500, MsgType::SingleText)).or_default() += 1;
        }
        assert_eq!(counts.len(), 3);
        assert!(counts.values().all(|count| (100..250).contains(count)), "{counts:?}");
    }

    #[test]
    fn logins_under_one_name_keep_their_order_and_others_are_spread() {
        assert_eq!(login("alice", 1), login("alice", 2));
        let keys: HashSet<u64> = (0..100).map(|at| login(&format!("user{at}"), 1)).collect();
        assert_eq!(keys.len(), 5);
    }

    #[test]
    fn what_a_user_asks_waits_for_that_user_only() {
        let ask = |user_id| {
            let req = ImQueryPushShieldReq { user_id, ..ImQueryPushShieldReq::default() };
            let pdu = ImPdu::encode(SID_LOGIN, CID_LOGIN_REQ_QUERY_PUSH_SHIELD, 0, &req);
            LANES.order_key(pdu.as_pdu())
        };
        assert_eq!((ask(5), ask(6)), (5, 6));
        assert!(![5, 6].contains(&message(5, 6, MsgType::SingleText)));
    }
}
