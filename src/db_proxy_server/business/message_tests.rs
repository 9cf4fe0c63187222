//! Messages on the embedded driver: numbers, order, what is stored and what it costs.

use super::message_batch::BATCH_MAX;
use super::message_content::change_conversations;
use super::message_counter::clear_unread_msg_counter;
use super::tests::{Bed, bed};
use super::unread::unread;
use crate::base::im_pdu::{ImPdu, PduHeader};
use crate::pb::base_define::{MsgType, SessionType};
use crate::pb::cmd::{CID_MSG_DATA, CID_MSG_READ_ACK, SID_MSG};
use crate::pb::message::{ImMsgData, ImMsgDataReadAck};
use crate::storage::cache_pool::UNREAD;
use crate::storage::db_pool::TEAMTALK_MASTER;

pub(super) fn text(from_user_id: u32, to_session_id: u32, text: &str) -> ImMsgData {
    ImMsgData {
        from_user_id,
        to_session_id,
        msg_id: 0,
        create_time: 1_600_000_000,
        msg_type: MsgType::SingleText.into(),
        msg_data: text.as_bytes().to_vec().into(),
        attach_data: Some(b"mine".as_slice().into()),
    }
}

pub(super) fn group_text(from_user_id: u32, group_id: u32, data: &str) -> ImMsgData {
    ImMsgData { msg_type: MsgType::GroupText.into(), ..text(from_user_id, group_id, data) }
}

impl Bed {
    /// The numbers the messages got, sent as one batch.
    pub(super) fn send(&self, msgs: &[ImMsgData]) -> Vec<u32> {
        let pdus: Vec<ImPdu> = (0..)
            .zip(msgs)
            .map(|(seq, msg)| ImPdu::encode_with(PduHeader::new(SID_MSG, CID_MSG_DATA, seq), msg))
            .collect();
        let pdus: Vec<_> = pdus.iter().map(ImPdu::as_pdu).collect();
        let answers = change_conversations(&self.business, &pdus);
        assert_eq!(answers.len(), msgs.len());
        let msg_id = |((seq, msg), answer): ((u16, &ImMsgData), Option<ImPdu>)| {
            let answer = answer.unwrap();
            assert_eq!(answer.as_pdu().header().seq_num, seq);
            let answer: ImMsgData = answer.as_pdu().decode().unwrap();
            assert_eq!(ImMsgData { msg_id: 0, ..answer.clone() }, *msg);
            answer.msg_id
        };
        (0..).zip(msgs).zip(answers).map(msg_id).collect()
    }

    fn numbers(&self, sql: &str) -> Vec<u32> {
        let rows = self.business.master().unwrap().execute_query(sql, &[]).unwrap();
        rows.rows().map(|row| row.get("n").unwrap()).collect()
    }

    fn stored(&self) -> usize {
        (0..8)
            .flat_map(|k| [format!("IMMessage_{k}"), format!("IMGroupMessage_{k}")])
            .map(|table| self.numbers(&format!("select count(*) as n from {table}"))[0] as usize)
            .sum()
    }

    /// How many messages of this peer a user has not read.
    pub(super) fn unread(&self, user_id: u32, peer_id: u32) -> u32 {
        self.unread_of(user_id, SessionType::Single, peer_id)
    }

    pub(super) fn unread_of(&self, user_id: u32, kind: SessionType, id: u32) -> u32 {
        let mut conn = self.business.master().unwrap();
        let mut unread = unread(&self.business, &mut *conn, &[user_id]).unwrap();
        let unread = unread.remove(&user_id).unwrap_or_default();
        let found =
            unread.iter().find(|unread| (unread.session_type, unread.session_id) == (kind, id));
        found.map_or(0, |unread| unread.count)
    }

    pub(super) fn join(&self, group_id: u32, user_id: u32) {
        self.join_at(group_id, user_id, 1);
    }

    pub(super) fn join_at(&self, group_id: u32, user_id: u32, joined: u32) {
        self.execute(
            "insert into IMGroup (id, name, status) values (?,'group',0) \
             on conflict (id) do nothing",
            &[group_id.into()],
        );
        self.execute(
            "insert into IMGroupMember (groupId, userId, status, created, updated, readMsgId) \
             values (?,?,0,1,?,0)",
            &[group_id.into(), user_id.into(), joined.into()],
        );
    }

    pub(super) fn read(&self, user_id: u32, session_id: u32, kind: SessionType) {
        let session_type = kind.into();
        let msg = ImMsgDataReadAck { user_id, session_id, msg_id: 3, session_type };
        let pdu = ImPdu::encode(SID_MSG, CID_MSG_READ_ACK, 0, &msg);
        assert!(clear_unread_msg_counter(&self.business, pdu.as_pdu()).unwrap().is_none());
    }
}

#[test]
fn messages_of_a_conversation_are_numbered_from_one_in_their_order() {
    let bed = bed();
    let batch = [text(1, 2, "a"), text(2, 1, "b"), text(1, 3, "c"), text(1, 2, "d")];
    assert_eq!(bed.send(&batch), [1, 2, 1, 3]);
    assert_eq!(bed.send(&[text(2, 1, "e")]), [4]);
    let ids = bed.numbers("select msgId as n from IMMessage_1 where relateId=1 order by msgId");
    assert_eq!(ids, [1, 2, 3, 4]);
    assert_eq!((bed.unread(2, 1), bed.unread(1, 2)), (2, 2));
    assert_eq!(bed.unread(3, 1), 1);
}

#[test]
fn f93_s3_both_sessions_come_to_the_top() {
    let bed = bed();
    bed.send(&[text(1, 2, "a"), group_text(1, 9, "not a member")]);
    let sessions =
        "select userId * 10 + peerId as n from IMRecentSession where status=0 order by n";
    assert_eq!(bed.numbers(sessions), [12, 21]);
    bed.execute("update IMRecentSession set status=1, updated=5", &[]);
    bed.send(&[text(1, 2, "b")]);
    assert_eq!(bed.numbers(sessions), [12, 21], "a removed session comes back");
    assert_eq!(bed.numbers("select count(*) as n from IMRecentSession where updated > 5"), [2]);
}

#[test]
fn f92_s5_what_cannot_be_stored_is_refused_with_number_0() {
    let bed = bed();
    let bad = [
        text(1, 1, "to oneself"),
        text(0, 2, "from nobody"),
        text(1, 0, "to nobody"),
        text(1, 2, ""),
        ImMsgData { msg_type: 0x55, ..text(1, 2, "x") },
        ImMsgData { msg_data: b"\xff\xfe".as_slice().into(), ..text(1, 2, "x") },
        group_text(1, 9, "not a member"),
    ];
    assert_eq!(bed.send(&bad), [0; 7]);
    assert_eq!(bed.stored(), 0);
    assert_eq!(bed.send(&[bad[0].clone(), text(1, 2, "good"), bad[3].clone()]), [0, 1, 0]);
    // A failing database: nothing is acknowledged, and nothing is left behind.
    bed.execute("alter table IMRecentSession rename to away", &[]);
    assert_eq!(bed.send(&[text(1, 2, "a"), text(3, 4, "b")]), [0, 0]);
    bed.execute("alter table away rename to IMRecentSession", &[]);
    assert_eq!((bed.stored(), bed.unread(2, 1)), (1, 1));
    let ids = bed.send(&[text(1, 2, "c")]);
    assert!(ids[0] > 1, "{ids:?}");
}

#[test]
fn f30_a_message_is_stored_whole_or_refused() {
    let bed = bed();
    let longest = "x".repeat(bed.business.msg_len_max);
    let batch = [text(1, 2, "a"), text(3, 4, &longest), text(5, 6, &format!("{longest}x"))];
    assert_eq!(bed.send(&batch), [1, 1, 0]);
    assert_eq!(bed.stored(), 2);
    let length = (0..8).map(|k| format!("select max(length(content)) as n from IMMessage_{k}"));
    let lengths = length.flat_map(|sql| {
        let rows = bed.business.master().unwrap().execute_query(&sql, &[]).unwrap();
        rows.first().unwrap().get::<Option<u32>>("n").unwrap()
    });
    assert_eq!(lengths.max(), Some(longest.len() as u32));
}

#[test]
fn one_message_that_does_not_fit_its_column_costs_the_others_nothing() {
    let mut bed = bed();
    bed.business.msg_len_max = usize::MAX;
    let long = "x".repeat(20 << 20);
    let msg_ids = bed.send(&[text(1, 2, "a"), text(3, 4, &long), text(5, 6, "b")]);
    assert_eq!(msg_ids.iter().filter(|msg_id| **msg_id == 0).count(), 1);
    assert_eq!((msg_ids[1], bed.stored()), (0, 2));
}

#[test]
fn f91_s1_a_lost_cache_gives_no_number_twice() {
    let bed = bed();
    bed.join(9, 1);
    let batch: Vec<_> = (0..10).flat_map(|_| [text(1, 2, "a"), group_text(1, 9, "b")]).collect();
    bed.send(&batch);
    for forget_too in [false, true] {
        let mut cache = bed.business.cache.cache_conn(UNREAD).unwrap();
        cache.del("msg_id_1").unwrap();
        cache.set("group_msg_id_9", "3").unwrap();
        drop(cache);
        if forget_too {
            // Another process, which has met neither conversation.
            bed.business.msg_ids.doubt([
                super::msg_ids::Conversation::Single(1),
                super::msg_ids::Conversation::Group(9),
            ]);
        }
        let last = bed.numbers("select max(msgId) as n from IMMessage_1")[0];
        let last_of_group = bed.numbers("select max(msgId) as n from IMGroupMessage_1")[0];
        let ids = bed.send(&[text(2, 1, "c"), group_text(1, 9, "d"), text(2, 1, "e")]);
        assert!(ids[0] > last && ids[2] == ids[0] + 1 && ids[1] > last_of_group, "{ids:?}");
    }
}

#[test]
fn f91_numbers_that_somebody_else_used_meanwhile_are_taken_anew() {
    let bed = bed();
    bed.send(&[text(1, 2, "a")]);
    // Stored behind our back, as by a process that was given the same numbers.
    bed.execute(
        "insert into IMMessage_1 \
         (relateId, fromId, toId, msgId, content, type, status, created, updated) \
         values (1,1,2,2,'x',1,0,1,1), (1,1,2,3,'x',1,0,1,1)",
        &[],
    );
    let ids = bed.send(&[text(1, 2, "b"), text(1, 2, "c")]);
    assert!(ids[0] > 3 && ids[1] == ids[0] + 1, "{ids:?}");
}

#[test]
fn who_writes_to_a_group_has_read_it_so_far() {
    let bed = bed();
    bed.join(9, 1);
    bed.join(9, 2);
    bed.send(&[group_text(1, 9, "a"), group_text(2, 9, "b"), group_text(1, 9, "c")]);
    let unread = |user_id| bed.unread_of(user_id, SessionType::Group, 9);
    assert_eq!((unread(1), unread(2)), (0, 1));
    bed.read(2, 9, SessionType::Group);
    assert_eq!(unread(2), 0);
    bed.send(&[text(1, 2, "d")]);
    bed.read(2, 1, SessionType::Single);
    bed.read(2, 77, SessionType::Single);
    bed.read(3, 9, SessionType::Group);
    assert_eq!(bed.unread(2, 1), 0);
    let rows = "select (select count(*) from IMRecentSession) * 10 \
                + (select count(*) from IMGroupMember) as n";
    assert_eq!(bed.numbers(rows), [42], "reading what is not there makes no rows");
}

#[test]
fn messages_and_marks_of_one_batch_happen_in_their_order() {
    let bed = bed();
    bed.join(9, 1);
    bed.join(9, 2);
    let ack = |user_id, session_id, kind: SessionType| {
        let session_type = kind.into();
        let msg = ImMsgDataReadAck { user_id, session_id, msg_id: 0, session_type };
        ImPdu::encode(SID_MSG, CID_MSG_READ_ACK, 0, &msg)
    };
    let message = |msg: &ImMsgData| ImPdu::encode(SID_MSG, CID_MSG_DATA, 0, msg);
    let batch = [
        message(&text(1, 2, "a")),
        message(&group_text(1, 9, "b")),
        ack(2, 1, SessionType::Single),
        ack(2, 9, SessionType::Group),
        message(&text(1, 2, "c")),
        message(&group_text(1, 9, "d")),
        message(&group_text(1, 9, "e")),
    ];
    let pdus: Vec<_> = batch.iter().map(ImPdu::as_pdu).collect();
    let answers = change_conversations(&bed.business, &pdus);
    let answered: Vec<bool> = answers.iter().map(Option::is_some).collect();
    assert_eq!(answered, [true, true, false, false, true, true, true]);
    assert_eq!((bed.unread(2, 1), bed.unread_of(2, SessionType::Group, 9)), (1, 2));
}

#[test]
fn a_message_costs_what_the_module_says() {
    let bed = bed();
    let batch: Vec<_> = (0..BATCH_MAX as u32).map(|i| text(1 + i, 1001 + i, "a")).collect();
    // The first time, relations and numbers are looked up.
    bed.send(&batch);
    let cost = |msgs: &[ImMsgData]| {
        let pools = || {
            let db = bed.business.db.pool(TEAMTALK_MASTER).unwrap().counters();
            (db, bed.business.cache.pool(UNREAD).unwrap().counters())
        };
        let (db, cache) = pools();
        bed.send(msgs);
        let (db_after, cache_after) = pools();
        let db = db_after.since(db);
        (db.statements, db.commits, cache_after.since(cache).round_trips)
    };
    assert_eq!(cost(&batch[..1]), (2, 1, 1));
    assert_eq!(cost(&batch), (9, 1, 1), "one statement for each of eight tables, one for sessions");
    (1..=64).for_each(|user_id| bed.join(9, user_id));
    let batch: Vec<_> = (1..=64).map(|user_id| group_text(user_id, 9, "a")).collect();
    bed.send(&batch);
    let why = "memberships, messages, sessions, the group, marks";
    assert_eq!((cost(&batch[..1]), cost(&batch)), ((5, 1, 1), (5, 1, 1)), "{why}");
}

#[test]
fn f92_s26_a_voice_message_that_cannot_be_kept_is_refused() {
    let bed = bed();
    let voice = |data: &'static [u8]| ImMsgData {
        msg_type: MsgType::SingleAudio.into(),
        msg_data: data.into(),
        ..text(1, 2, "")
    };
    // Nothing, no sound, and sound that msfs, which is not there, does not take.
    let batch = [voice(b""), voice(b"\0\0\0\x05"), voice(b"\0\0\0\x05sound"), text(1, 2, "a")];
    assert_eq!(bed.send(&batch), [0, 0, 0, 1]);
    assert_eq!(bed.numbers("select count(*) as n from IMAudio"), [0]);
}
