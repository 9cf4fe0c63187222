//! What keeps messages whole when one of several route_servers dies: the sender repeats what it
//! sent last through the next one, and receivers pass on each message once.

use std::collections::{HashSet, VecDeque};

use crate::base::im_pdu::ImPdu;
use crate::base::public_define::msg_type_is_group;
use crate::pb::message::ImMsgData;

/// How far back a sender repeats. A route_server that dies takes what has reached it and was not
/// passed on yet: milliseconds, seconds if it was overloaded.
pub const RECENT_MS: u64 = 5_000;

/// Most bytes kept to be repeated; the oldest are given up.
pub const RECENT_LEN_MAX: usize = 16 << 20;

/// How long a receiver remembers a message, and how many of them.
pub const SEEN_MS: u64 = 60_000;
/// See [`SEEN_MS`].
pub const SEEN_MAX: usize = 100_000;

/// PDUs that were sent through the master.
#[derive(Debug)]
pub(super) struct RecentPdus {
    /// There is another route_server to repeat them through.
    enabled: bool,
    pdus: VecDeque<(u64, ImPdu)>,
    len: usize,
}

impl RecentPdus {
    pub(super) fn new(enabled: bool) -> Self {
        Self { enabled, pdus: VecDeque::new(), len: 0 }
    }

    /// Nothing is kept while it is off.
    pub(super) fn set_enabled(&mut self, enabled: bool) {
        if self.enabled != enabled {
            *self = Self::new(enabled);
        }
    }

    pub(super) fn push(&mut self, pdu: &ImPdu, tick: u64) {
        if !self.enabled {
            return;
        }
        self.len += pdu.as_pdu().as_bytes().len();
        self.pdus.push_back((tick, pdu.clone()));
        while let Some((sent, oldest)) = self.pdus.front()
            && (self.len > RECENT_LEN_MAX || tick > sent + RECENT_MS)
        {
            self.len -= oldest.as_pdu().as_bytes().len();
            self.pdus.pop_front();
        }
    }

    /// What is recent enough to be repeated, in order.
    pub(super) fn take(&mut self, tick: u64) -> Vec<ImPdu> {
        self.len = 0;
        let recent = self.pdus.drain(..).filter(|(sent, _)| tick <= sent + RECENT_MS);
        recent.map(|(_, pdu)| pdu).collect()
    }
}

/// Sender, receiver, number, and whether the receiver is a group.
type MsgKey = (u32, u32, u32, bool);

/// Messages that have come through a route_server.
#[derive(Debug)]
pub(super) struct SeenMsgs {
    /// There is more than one route_server they could come through.
    enabled: bool,
    keys: HashSet<MsgKey>,
    order: VecDeque<(u64, MsgKey)>,
}

impl SeenMsgs {
    pub(super) fn new(enabled: bool) -> Self {
        Self { enabled, keys: HashSet::new(), order: VecDeque::new() }
    }

    /// Nothing is kept while it is off.
    pub(super) fn set_enabled(&mut self, enabled: bool) {
        if self.enabled != enabled {
            *self = Self::new(enabled);
        }
    }

    /// Whether the message has not come before.
    pub(super) fn is_new(&mut self, msg: &ImMsgData, tick: u64) -> bool {
        if !self.enabled {
            return true;
        }
        while let Some((seen, key)) = self.order.front()
            && (self.order.len() >= SEEN_MAX || tick > seen + SEEN_MS)
        {
            self.keys.remove(key);
            self.order.pop_front();
        }
        let group = msg_type_is_group(msg.msg_type);
        let key = (msg.from_user_id, msg.to_session_id, msg.msg_id, group);
        let is_new = self.keys.insert(key);
        if is_new {
            self.order.push_back((tick, key));
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::base_define::MsgType;
    use crate::pb::cmd::*;

    fn pdu(len: usize) -> ImPdu {
        let msg = ImMsgData { msg_data: vec![0; len].into(), ..ImMsgData::default() };
        ImPdu::encode(SID_MSG, CID_MSG_DATA, 0, &msg)
    }

    fn msg(msg_id: u32, msg_type: MsgType) -> ImMsgData {
        ImMsgData { msg_id, msg_type: msg_type.into(), ..ImMsgData::default() }
    }

    #[test]
    fn only_what_is_recent_is_repeated_and_once() {
        let mut recent = RecentPdus::new(true);
        recent.push(&pdu(1), 0);
        recent.push(&pdu(2), RECENT_MS);
        recent.push(&pdu(3), RECENT_MS + 1);
        assert_eq!(recent.take(2 * RECENT_MS).len(), 2);
        assert!(recent.take(2 * RECENT_MS).is_empty() && recent.len == 0);
    }

    #[test]
    fn what_is_kept_has_a_limit() {
        let mut recent = RecentPdus::new(true);
        for _ in 0..40 {
            recent.push(&pdu(1 << 20), 0);
        }
        assert!(recent.len <= RECENT_LEN_MAX && recent.pdus.len() == 15);
        let mut seen = SeenMsgs::new(true);
        for msg_id in 0..=SEEN_MAX as u32 {
            assert!(seen.is_new(&msg(msg_id, MsgType::SingleText), 0));
        }
        assert_eq!((seen.keys.len(), seen.order.len()), (SEEN_MAX, SEEN_MAX));
    }

    #[test]
    fn a_message_is_new_once_for_a_while() {
        let mut seen = SeenMsgs::new(true);
        assert!(seen.is_new(&msg(1, MsgType::SingleText), 0));
        assert!(!seen.is_new(&msg(1, MsgType::SingleAudio), SEEN_MS));
        assert!(seen.is_new(&msg(1, MsgType::GroupText), SEEN_MS));
        assert!(seen.is_new(&msg(1, MsgType::SingleText), SEEN_MS + 1));
    }

    #[test]
    fn with_one_route_server_nothing_is_kept() {
        let (mut recent, mut seen) = (RecentPdus::new(false), SeenMsgs::new(false));
        recent.push(&pdu(1), 0);
        assert!(recent.take(0).is_empty());
        assert!((0..2).all(|_| seen.is_new(&msg(1, MsgType::SingleText), 0)));
    }
}
