//! Clients that write without a pause and keep account of every answer.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use teamtalk::base::im_pdu::{ImPdu, PduHeader};
use teamtalk::pb::base_define::MsgType;
use teamtalk::pb::cmd::{CID_MSG_DATA, SID_MSG};
use teamtalk::pb::message::ImMsgData;
use teamtalk::storage::DbConn;

use crate::running::Peer;

/// Messages of one client that wait for their answers.
const IN_FLIGHT: u16 = 16;

/// Receivers, who never read.
pub const READERS: [u32; 3] = [901, 902, 903];

/// What the clients were told.
#[derive(Default)]
pub struct Account {
    /// Number of each acknowledged message, by its text.
    pub acknowledged: Mutex<HashMap<String, u32>>,
    pub refused: Mutex<HashSet<String>>,
    pub answers: AtomicU64,
    next: AtomicU64,
}

impl Account {
    /// Writes as `user_id`, in turn to each reader and to the group, until told to stop or until
    /// the connection breaks.
    pub fn write(&self, addr: SocketAddr, user_id: u32, group_id: u32, stop: &AtomicBool) {
        let mut peer = Peer::connect(addr);
        let mut last = HashMap::new();
        while !stop.load(Ordering::Relaxed) {
            let mut sent = HashMap::new();
            for seq_num in 0..IN_FLIGHT {
                let n = self.next.fetch_add(1, Ordering::Relaxed);
                let msg = message(n, user_id, group_id);
                let header = PduHeader::new(SID_MSG, CID_MSG_DATA, seq_num);
                if peer.try_send(&ImPdu::encode_with(header, &msg)).is_err() {
                    return;
                }
                sent.insert(seq_num, msg);
            }
            while !sent.is_empty() {
                let Ok(answer) = peer.try_receive() else { return };
                if answer.as_pdu().command_id() != CID_MSG_DATA {
                    continue;
                }
                let msg = sent.remove(&answer.as_pdu().seq_num()).unwrap();
                let to = msg.to_session_id;
                let msg_id = self.keep(msg, &answer);
                if msg_id != 0 {
                    let before = last.insert(to, msg_id).unwrap_or(0);
                    assert!(before < msg_id, "number {msg_id} after {before}");
                }
            }
        }
    }

    fn keep(&self, sent: ImMsgData, answer: &ImPdu) -> u32 {
        let msg_id = answer.as_pdu().decode::<ImMsgData>().unwrap().msg_id;
        let text = String::from_utf8(sent.msg_data.to_vec()).unwrap();
        if msg_id == 0 {
            self.refused.lock().unwrap().insert(text);
        } else {
            self.acknowledged.lock().unwrap().insert(text, msg_id);
        }
        self.answers.fetch_add(1, Ordering::Relaxed);
        msg_id
    }

    /// Holds everything against what is stored: acknowledged messages are there once, with the
    /// number that was told, and refused ones are not there. Gives the number of stored ones.
    pub fn check(&self, conn: &mut dyn DbConn) -> usize {
        let mut stored = HashMap::new();
        for table in tables() {
            let sql = format!("select content, msgId from {table}");
            for row in conn.execute_query(&sql, &[]).unwrap().rows() {
                let text: String = row.get("content").unwrap();
                let before = stored.insert(text.clone(), row.get::<u32>("msgId").unwrap());
                assert_eq!(before, None, "{text} is stored twice");
            }
        }
        for (text, msg_id) in &*self.acknowledged.lock().unwrap() {
            assert_eq!(stored.get(text), Some(msg_id), "{text} was acknowledged");
        }
        for text in &*self.refused.lock().unwrap() {
            assert!(!stored.contains_key(text), "{text} was refused");
        }
        stored.len()
    }
}

fn message(n: u64, from_user_id: u32, group_id: u32) -> ImMsgData {
    let (to_session_id, msg_type) = match READERS.get(n as usize % 4) {
        Some(&reader) => (reader, MsgType::SingleText),
        None => (group_id, MsgType::GroupText),
    };
    ImMsgData {
        from_user_id,
        to_session_id,
        msg_id: 0,
        create_time: 1_700_000_000,
        msg_type: msg_type.into(),
        msg_data: format!("message {n}").into_bytes().into(),
        attach_data: None,
    }
}

/// All tables of messages.
pub fn tables() -> impl Iterator<Item = String> {
    (0..8).flat_map(|shard| [format!("IMMessage_{shard}"), format!("IMGroupMessage_{shard}")])
}
