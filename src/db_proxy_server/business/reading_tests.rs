//! What was sent is read again: pages, single messages, unread counts, sessions.

use super::message_content::*;
use super::message_counter::get_unread_msg_counter;
use super::message_tests::{group_text, text};
use super::recent_session::{delete_recent_session, get_recent_session};
use super::tests::{Bed, NOW, bed};
use crate::pb::base_define::SessionType;
use crate::pb::buddy::*;
use crate::pb::message::*;
use crate::storage::db_pool::TEAMTALK_MASTER;

const SINGLE: i32 = SessionType::Single as i32;
const GROUP: i32 = SessionType::Group as i32;

/// Kind, peer, unread, newest number, newest text.
type UnreadRow = (i32, u32, u32, u32, String);

impl Bed {
    fn page(&self, user_id: u32, kind: i32, id: u32, begin: u32, count: u32) -> Vec<(u32, String)> {
        let msg = ImGetMsgListReq {
            user_id,
            session_type: kind,
            session_id: id,
            msg_id_begin: begin,
            msg_cnt: count,
            attach_data: None,
        };
        let (_, answer) = self.ask::<ImGetMsgListRsp>(get_message, &msg);
        let info = |info: crate::pb::base_define::MsgInfo| {
            (info.msg_id, String::from_utf8(info.msg_data.to_vec()).unwrap())
        };
        answer.msg_list.into_iter().map(info).collect()
    }

    fn latest_msg_id(&self, user_id: u32, kind: i32, id: u32) -> u32 {
        let msg =
            ImGetLatestMsgIdReq { user_id, session_type: kind, session_id: id, attach_data: None };
        self.ask::<ImGetLatestMsgIdRsp>(get_latest_msg_id, &msg).1.latest_msg_id
    }

    fn unread_list(&self, user_id: u32) -> (u32, Vec<UnreadRow>) {
        let msg = ImUnreadMsgCntReq { user_id, attach_data: None };
        let (_, answer) = self.ask::<ImUnreadMsgCntRsp>(get_unread_msg_counter, &msg);
        let mut list: Vec<_> = answer
            .unreadinfo_list
            .into_iter()
            .map(|info| {
                let data = String::from_utf8(info.latest_msg_data.to_vec()).unwrap();
                (info.session_type, info.session_id, info.unread_cnt, info.latest_msg_id, data)
            })
            .collect();
        list.sort();
        (answer.total_cnt, list)
    }

    fn sessions(&self, user_id: u32, latest_update_time: u32) -> Vec<(i32, u32, u32, String)> {
        let msg = ImRecentContactSessionReq { user_id, latest_update_time, attach_data: None };
        let (_, answer) = self.ask::<ImRecentContactSessionRsp>(get_recent_session, &msg);
        let mut list: Vec<_> = answer
            .contact_session_list
            .into_iter()
            .map(|info| {
                let data = String::from_utf8(info.latest_msg_data.to_vec()).unwrap();
                (info.session_type, info.session_id, info.latest_msg_id, data)
            })
            .collect();
        list.sort();
        list
    }
}

#[test]
fn s18_a_history_is_read_in_pages_from_both_sides() {
    let bed = bed();
    let texts: Vec<_> = (1..=5).map(|i| text(1, 2, &format!("m{i}"))).collect();
    bed.send(&texts);
    let numbers = |page: Vec<(u32, String)>| page.into_iter().map(|m| m.0).collect::<Vec<_>>();
    for (user, peer) in [(1, 2), (2, 1)] {
        assert_eq!(bed.page(user, SINGLE, peer, 0, 2), [(5, "m5".into()), (4, "m4".into())]);
        assert_eq!(numbers(bed.page(user, SINGLE, peer, 3, 10)), [3, 2, 1]);
    }
    assert_eq!(bed.page(1, SINGLE, 3, 0, 10), []);
    assert_eq!(bed.page(3, SINGLE, 2, 0, 10), []);
    assert_eq!(bed.page(1, 77, 2, 0, 10), [], "an unknown kind of session");
    let msg_id_list = (0..200).chain([4, 2]).collect();
    let msg = ImGetMsgByIdReq {
        user_id: 2,
        session_type: SINGLE,
        session_id: 1,
        msg_id_list,
        attach_data: None,
    };
    let (_, answer) = bed.ask::<ImGetMsgByIdRsp>(get_message_by_id, &msg);
    let ids: Vec<u32> = answer.msg_list.iter().map(|info| info.msg_id).collect();
    assert_eq!(ids, [5, 4, 3, 2, 1]);
}

#[test]
fn f29_a_page_has_an_end() {
    let bed = bed();
    let texts: Vec<_> = (0..120).map(|_| text(1, 2, "m")).collect();
    bed.send(&texts);
    assert_eq!(bed.page(1, SINGLE, 2, 0, u32::MAX).len(), 100);
}

#[test]
fn f15_a_group_is_read_by_its_members_from_when_they_joined() {
    let bed = bed();
    bed.join_at(9, 1, 1);
    bed.join_at(9, 2, 1_600_000_001);
    bed.send(&[group_text(1, 9, "a"), group_text(1, 9, "b")]);
    assert_eq!(bed.page(1, GROUP, 9, 0, 10).len(), 2);
    assert_eq!(bed.page(2, GROUP, 9, 0, 10), [], "from before he joined");
    assert_eq!(bed.page(3, GROUP, 9, 0, 10), []);
    assert_eq!((bed.latest_msg_id(1, GROUP, 9), bed.latest_msg_id(3, GROUP, 9)), (2, 0));
    assert_eq!(bed.latest_msg_id(1, SINGLE, 9), 0);
}

#[test]
fn f96_f97_s8_unread_messages_are_counted_per_session() {
    let bed = bed();
    for (group_id, user_id) in [(8, 1), (8, 2), (9, 1), (9, 2)] {
        bed.join_at(group_id, user_id, 1);
    }
    bed.send(&[
        text(1, 2, "a"),
        text(3, 2, "b"),
        text(1, 2, "c"),
        group_text(1, 8, "d"),
        group_text(2, 9, "e"),
    ]);
    let expected = vec![
        (SINGLE, 1, 2, 2, "c".into()),
        (SINGLE, 3, 1, 1, "b".into()),
        (GROUP, 8, 1, 1, "d".into()),
    ];
    assert_eq!(bed.unread_list(2), (4, expected));
    assert_eq!(bed.unread_list(1), (1, vec![(GROUP, 9, 1, 1, "e".into())]));
    assert_eq!(bed.unread_list(7), (0, vec![]));
}

#[test]
fn sessions_are_listed_with_their_newest_message_and_can_be_removed() {
    let bed = bed();
    bed.join_at(9, 1, 1);
    bed.send(&[text(1, 2, "a"), text(3, 1, "b"), group_text(1, 9, "c"), text(2, 1, "d")]);
    let all = [(SINGLE, 2, 2, "d".into()), (SINGLE, 3, 1, "b".into()), (GROUP, 9, 1, "c".into())];
    assert_eq!(bed.sessions(1, 0), all);
    assert_eq!(bed.sessions(1, NOW), []);
    let remove = |session_type, session_id| {
        let msg = ImRemoveSessionReq { user_id: 1, session_type, session_id, attach_data: None };
        bed.ask::<ImRemoveSessionRsp>(delete_recent_session, &msg).1.result_code
    };
    assert_eq!((remove(SINGLE, 2), remove(SINGLE, 2), remove(77, 3)), (0, 1, 1));
    assert_eq!(bed.sessions(1, 0), all[1..]);
    assert_eq!(bed.unread(1, 2), 0, "and nothing of it is unread");
    bed.send(&[text(2, 1, "e")]);
    assert_eq!(bed.sessions(1, 0).len(), 3, "a new message brings it back");
}

#[test]
fn what_a_late_replica_does_not_have_is_read_from_the_primary() {
    let mut bed = bed();
    bed.join_at(9, 1, 1);
    bed.send(&[text(1, 2, "a"), group_text(1, 9, "b")]);
    let replica = bed.make_late_replica();
    let change = "update IMMessage_1 set content='of the replica'";
    replica.db_conn(TEAMTALK_MASTER).unwrap().execute_update(change, &[]).unwrap();
    bed.join_at(9, 2, 1);
    bed.send(&[text(2, 1, "c"), group_text(2, 9, "d"), text(3, 1, "e")]);

    let page = |user, kind, id, begin| bed.page(user, kind, id, begin, 10);
    assert_eq!(page(1, SINGLE, 2, 1), [(1, "of the replica".into())], "what it has it serves");
    let whole = [(2, "c".into()), (1, "a".into())];
    assert_eq!(page(1, SINGLE, 2, 2), whole);
    assert_eq!(page(1, SINGLE, 2, 0), whole, "the newest ones, whatever they are");
    assert_eq!(page(2, GROUP, 9, 2), [(2, "d".into()), (1, "b".into())], "a new member");
    assert_eq!(page(1, SINGLE, 3, 1), [(1, "e".into())], "a new conversation");
    let by_id = |msg_id_list: &[u32]| {
        let msg = ImGetMsgByIdReq {
            user_id: 1,
            session_type: SINGLE,
            session_id: 2,
            msg_id_list: msg_id_list.to_vec(),
            attach_data: None,
        };
        let (_, answer) = bed.ask::<ImGetMsgByIdRsp>(get_message_by_id, &msg);
        answer.msg_list.into_iter().map(|info| info.msg_data).collect::<Vec<_>>()
    };
    assert_eq!(by_id(&[1]), ["of the replica"]);
    assert_eq!(by_id(&[1, 2]), ["c", "a"]);
    assert_eq!(bed.latest_msg_id(1, SINGLE, 2), 2);
    let sessions = bed.sessions(1, 0);
    assert_eq!(sessions[..2], [(SINGLE, 2, 2, "c".into()), (SINGLE, 3, 1, "e".into())]);
}

#[test]
fn f98_s25_a_voice_message_whose_sound_is_gone_is_silent() {
    let bed = bed();
    bed.send(&[text(1, 2, "a")]);
    bed.execute(
        "insert into IMAudio (id, fromId, toId, path, size, duration, created) \
         values (77, 1, 2, 'http://127.0.0.1:1/g0/x', 5, 9, 1)",
        &[],
    );
    bed.execute(
        "insert into IMMessage_1 \
         (relateId, fromId, toId, msgId, content, type, status, created, updated) \
         values (1,1,2,2,'77',2,0,1,1), (1,1,2,3,'78',2,0,1,1)",
        &[],
    );
    let page = bed.page(2, SINGLE, 1, 0, 10);
    assert_eq!(page, [(3, "\0\0\0\0".into()), (2, "\0\0\0\x09".into()), (1, "a".into())]);
    let (_, answer) = bed.ask::<ImUnreadMsgCntRsp>(
        get_unread_msg_counter,
        &ImUnreadMsgCntReq { user_id: 2, attach_data: None },
    );
    let shown = &answer.unreadinfo_list[0].latest_msg_data;
    assert_eq!(bed.business.aes.decrypt(shown).unwrap(), "[语音]".as_bytes());
}
