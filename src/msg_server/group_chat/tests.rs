//! Groups, without sockets.

use super::*;
use crate::msg_server::db_serv_conn::DbServConn;
use crate::msg_server::fan_out::FAN_OUT_BUDGET;
use crate::msg_server::route_serv_conn::RouteServConn;
use crate::msg_server::tests::*;
use crate::pb::base_define::{GroupInfo, ShieldStatus};
use crate::pb::message::ImMsgDataAck;

const GROUP: u32 = 100;

/// A message of user 1 as it comes back from db_proxy_server, or from route_server.
fn text(msg_id: u32, from_user_id: u32, sender: Option<NetHandle>) -> ImMsgData {
    ImMsgData {
        from_user_id,
        to_session_id: GROUP,
        msg_id,
        create_time: NOW,
        msg_type: MsgType::GroupText.into(),
        msg_data: b"cipher".to_vec().into(),
        attach_data: sender.map(|conn| relay::handle_attach(conn).into()),
    }
}

/// The question for members.
#[track_caller]
fn question(bed: &mut Bed) -> ImGroupInfoListReq {
    let db = bed.db[0];
    bed.one(db, CID_GROUP_INFO_REQUEST)
}

fn members(req: &ImGroupInfoListReq, version: u32, members: &[u32]) -> ImGroupInfoListRsp {
    let info = GroupInfo {
        group_id: GROUP,
        version,
        group_member_list: members.to_vec(),
        ..GroupInfo::default()
    };
    ImGroupInfoListRsp {
        user_id: req.user_id,
        group_info_list: vec![info],
        attach_data: req.attach_data.clone(),
    }
}

/// Time passes, and no server is given up.
fn pass(bed: &mut Bed, ms: u64) {
    for _ in 0..ms / 1_000 {
        let heartbeat = request(CID_OTHER_HEARTBEAT, &());
        let (db, route) = (bed.db[0], bed.route[0]);
        bed.receive::<DbServConn>(db, &heartbeat).unwrap();
        bed.receive::<RouteServConn>(route, &heartbeat).unwrap();
        bed.pass_ms(1_000);
    }
    bed.forget_sent();
}

#[test]
fn f70_f71_a_group_message_is_delivered_and_its_members_asked_for_once() {
    let mut bed = bed();
    let (sender, other) = (bed.log_in(1, WINDOWS), bed.log_in(1, IOS));
    let (member, stranger) = (bed.log_in(2, MAC), bed.log_in(3, MAC));
    let (db, route) = (bed.db[0], bed.route[0]);
    bed.db_says(CID_MSG_DATA, &text(7, 1, Some(sender)));
    let ack: ImMsgDataAck = bed.one(sender, CID_MSG_DATA_ACK);
    assert_eq!((ack.session_id, ack.msg_id, ack.session_type), (GROUP, 7, 2));
    let passed: ImMsgData = bed.one(route, CID_MSG_DATA);
    assert_eq!(passed, text(7, 1, None), "f73");
    let req = question(&mut bed);
    assert_eq!((req.user_id, req.group_version_list[0].version), (1, 0));
    assert_eq!(req.attach_data().len(), DbAttachData::LENGTH, "f71: the message does not travel");
    bed.db_says(CID_GROUP_INFO_RESPONSE, &members(&req, 3, &[1, 2, 8]));
    for conn in [other, member] {
        let pdu = bed.one_pdu(conn, CID_MSG_DATA);
        assert_eq!(pdu.as_pdu().seq_num(), 0);
        assert_eq!(pdu.as_pdu().decode::<ImMsgData>().unwrap(), text(7, 1, None));
    }
    bed.assert_silent(sender);
    bed.assert_silent(stranger);
    let shield: ImGroupGetShieldReq = bed.one(db, CID_OTHER_GET_SHIELD_REQ);
    assert_eq!((shield.group_id, &shield.user_id[..]), (GROUP, &[1, 2, 8][..]));
    // The next one asks nobody but for pushes.
    bed.db_says(CID_MSG_DATA, &text(8, 1, Some(sender)));
    bed.one_pdu(member, CID_MSG_DATA);
    bed.one_pdu(db, CID_OTHER_GET_SHIELD_REQ);
}

#[test]
fn f70_a_message_of_another_msg_server_is_not_pushed_from_here() {
    let mut bed = bed();
    let (member, db) = (bed.log_in(2, MAC), bed.db[0]);
    bed.route_says(CID_MSG_DATA, &text(7, 1, None));
    let req = question(&mut bed);
    bed.db_says(CID_GROUP_INFO_RESPONSE, &members(&req, 3, &[1, 2]));
    bed.one_pdu(member, CID_MSG_DATA);
    bed.assert_silent(db);
}

#[test]
fn messages_that_wait_for_the_members_keep_their_order() {
    let mut bed = bed();
    let member = bed.log_in(2, MAC);
    for msg_id in 1..=5 {
        bed.route_says(CID_MSG_DATA, &text(msg_id, 1, None));
    }
    let req = question(&mut bed);
    bed.db_says(CID_GROUP_INFO_RESPONSE, &members(&req, 3, &[1, 2]));
    let got: Vec<u32> = bed
        .sent(member)
        .iter()
        .map(|pdu| pdu.as_pdu().decode::<ImMsgData>().unwrap().msg_id)
        .collect();
    assert_eq!(got, [1, 2, 3, 4, 5]);
}

#[test]
fn members_are_looked_after_when_they_are_old_and_a_newcomer_makes_them_old() {
    let mut bed = bed();
    let (member, db) = (bed.log_in(2, MAC), bed.db[0]);
    bed.route_says(CID_MSG_DATA, &text(1, 1, None));
    let req = question(&mut bed);
    bed.db_says(CID_GROUP_INFO_RESPONSE, &members(&req, 3, &[1, 2]));
    pass(&mut bed, FRESH_MS + 1_000);
    bed.route_says(CID_MSG_DATA, &text(2, 1, None));
    bed.assert_silent(member);
    let req = question(&mut bed);
    assert_eq!(req.group_version_list[0].version, 3);
    // Nothing has changed.
    let unchanged = ImGroupInfoListRsp { group_info_list: Vec::new(), ..members(&req, 3, &[]) };
    bed.db_says(CID_GROUP_INFO_RESPONSE, &unchanged);
    bed.one_pdu(member, CID_MSG_DATA);
    // Somebody writes who is not among them.
    bed.route_says(CID_MSG_DATA, &text(3, 9, None));
    let req = question(&mut bed);
    assert_eq!((req.user_id, req.group_version_list[0].version), (9, 0));
    bed.db_says(CID_GROUP_INFO_RESPONSE, &members(&req, 4, &[1, 2, 9]));
    bed.one_pdu(member, CID_MSG_DATA);
    bed.assert_silent(db);
}

#[test]
fn f72_a_message_to_a_group_that_is_gone_is_given_up() {
    let mut bed = bed();
    let member = bed.log_in(2, MAC);
    bed.route_says(CID_MSG_DATA, &text(1, 1, None));
    let req = question(&mut bed);
    let gone = ImGroupInfoListRsp { group_info_list: Vec::new(), ..members(&req, 3, &[]) };
    bed.db_says(CID_GROUP_INFO_RESPONSE, &gone);
    bed.route_says(CID_MSG_DATA, &text(2, 1, None));
    let req = question(&mut bed);
    bed.db_says(CID_GROUP_INFO_RESPONSE, &members(&req, 3, &[2]));
    bed.assert_silent(member);
}

#[test]
fn an_unanswered_question_is_repeated_a_few_times() {
    let mut bed = bed();
    let (member, db) = (bed.log_in(2, MAC), bed.db[0]);
    bed.route_says(CID_MSG_DATA, &text(1, 1, None));
    question(&mut bed);
    for _ in 1..ASK_MAX {
        bed.pass_ms(ASK_AGAIN_MS + 1);
        let asked = bed.sent(db);
        let asked = ids(&asked);
        assert_eq!(asked.iter().filter(|id| **id == CID_GROUP_INFO_REQUEST).count(), 1);
    }
    bed.pass_ms(ASK_AGAIN_MS + 1);
    assert!(bed.srv.group_chat.groups[&GROUP].waiting.is_empty());
    bed.forget_sent();
    // The next message asks anew.
    bed.route_says(CID_MSG_DATA, &text(2, 1, None));
    let req = question(&mut bed);
    bed.db_says(CID_GROUP_INFO_RESPONSE, &members(&req, 3, &[1, 2]));
    bed.one_pdu(member, CID_MSG_DATA);
}

#[test]
fn what_is_kept_of_groups_has_limits() {
    let mut bed = bed();
    let db = bed.db[0];
    for msg_id in 0..=WAITING_MAX as u32 {
        bed.route_says(CID_MSG_DATA, &text(msg_id, 1, None));
    }
    assert_eq!(bed.srv.group_chat.groups[&GROUP].waiting.len(), WAITING_MAX);
    let req = question(&mut bed);
    bed.db_says(CID_GROUP_INFO_RESPONSE, &members(&req, 3, &[1]));
    for group_id in 1_000..1_000 + GROUPS_MAX as u32 - 1 {
        bed.srv.group_chat.groups.insert(group_id, Group::default());
    }
    bed.route_says(CID_MSG_DATA, &ImMsgData { to_session_id: 5, ..text(1, 1, None) });
    assert_eq!(bed.srv.group_chat.groups.len(), 1);
    let req = question(&mut bed);
    assert_eq!(req.group_version_list[0].group_id, 5);
    let answer = ImGroupInfoListRsp { attach_data: req.attach_data, ..Default::default() };
    bed.db_says(CID_GROUP_INFO_RESPONSE, &answer);
    pass(&mut bed, FORGET_MS + 2_000);
    assert!(bed.srv.group_chat.groups.is_empty());
    bed.assert_silent(db);
}

#[test]
fn a_change_tells_everybody_once_and_the_members_are_known_from_then_on() {
    let mut bed = bed();
    let (requester, other) = (bed.log_in(1, WINDOWS), bed.log_in(1, IOS));
    let (stays, goes) = (bed.log_in(2, MAC), bed.log_in(3, MAC));
    let (db, route) = (bed.db[0], bed.route[0]);
    // The members are known, as they were.
    bed.route_says(CID_MSG_DATA, &text(1, 1, None));
    let req = question(&mut bed);
    bed.db_says(CID_GROUP_INFO_RESPONSE, &members(&req, 3, &[1, 2, 3]));
    bed.forget_sent();
    let del = GroupModifyType::Del.into();
    let msg = ImGroupChangeMemberReq {
        user_id: 666,
        change_type: del,
        group_id: GROUP,
        member_id_list: vec![3],
        attach_data: None,
    };
    bed.ask(requester, CID_GROUP_CHANGE_MEMBER_REQUEST, &msg).unwrap();
    let req: ImGroupChangeMemberReq = bed.one(db, CID_GROUP_CHANGE_MEMBER_REQUEST);
    assert_eq!(req.user_id, 1);
    let rsp = ImGroupChangeMemberRsp {
        user_id: 1,
        change_type: del,
        result_code: 0,
        group_id: GROUP,
        cur_user_id_list: vec![1, 2],
        chg_user_id_list: vec![3, 2],
        attach_data: req.attach_data.clone(),
    };
    bed.db_says(CID_GROUP_CHANGE_MEMBER_RESPONSE, &rsp);
    let got: ImGroupChangeMemberRsp = bed.one(requester, CID_GROUP_CHANGE_MEMBER_RESPONSE);
    assert_eq!(got, ImGroupChangeMemberRsp { attach_data: None, ..rsp.clone() });
    for conn in [other, stays, goes, route] {
        let got: ImGroupChangeMemberNotify = bed.one(conn, CID_GROUP_CHANGE_MEMBER_NOTIFY);
        assert_eq!((got.group_id, &got.cur_user_id_list[..]), (GROUP, &[1, 2][..]));
    }
    bed.route_says(CID_MSG_DATA, &text(2, 1, None));
    bed.one_pdu(stays, CID_MSG_DATA);
    bed.assert_silent(goes);
    bed.assert_silent(db);
    // A change through another msg_server.
    let notify = ImGroupChangeMemberNotify {
        user_id: 9,
        change_type: GroupModifyType::Add.into(),
        group_id: GROUP,
        cur_user_id_list: vec![1, 2, 3],
        chg_user_id_list: vec![3],
    };
    bed.forget_sent();
    bed.route_says(CID_GROUP_CHANGE_MEMBER_NOTIFY, &notify);
    for conn in [requester, other, stays, goes] {
        bed.one_pdu(conn, CID_GROUP_CHANGE_MEMBER_NOTIFY);
    }
    bed.assert_silent(route);
    bed.route_says(CID_MSG_DATA, &text(3, 1, None));
    bed.one_pdu(goes, CID_MSG_DATA);
    // A change that failed tells nobody else.
    bed.forget_sent();
    let failed = ImGroupChangeMemberRsp { result_code: 1, ..rsp };
    bed.db_says(CID_GROUP_CHANGE_MEMBER_RESPONSE, &failed);
    bed.one_pdu(requester, CID_GROUP_CHANGE_MEMBER_RESPONSE);
    bed.assert_silent(stays);
    bed.assert_silent(route);
}

#[test]
fn a_notification_is_newer_than_an_answer_that_was_under_way() {
    let mut bed = bed();
    let (member, newcomer) = (bed.log_in(2, MAC), bed.log_in(3, MAC));
    bed.route_says(CID_MSG_DATA, &text(1, 1, None));
    let req = question(&mut bed);
    let notify = ImGroupChangeMemberNotify {
        group_id: GROUP,
        cur_user_id_list: vec![1, 2, 3],
        chg_user_id_list: vec![3],
        ..ImGroupChangeMemberNotify::default()
    };
    bed.route_says(CID_GROUP_CHANGE_MEMBER_NOTIFY, &notify);
    bed.forget_sent();
    bed.db_says(CID_GROUP_INFO_RESPONSE, &members(&req, 3, &[1, 2]));
    bed.route_says(CID_MSG_DATA, &text(2, 1, None));
    bed.one_pdu(member, CID_MSG_DATA);
    bed.one_pdu(newcomer, CID_MSG_DATA);
}

#[test]
fn a_large_group_is_served_a_few_members_at_a_time_and_in_order() {
    let mut bed = bed_with("MaxConnCnt=10000\n");
    let count = 3 * FAN_OUT_BUDGET as u32;
    let conns: Vec<NetHandle> = (2..2 + count).map(|user_id| bed.log_in(user_id, MAC)).collect();
    let everybody: Vec<u32> = (1..2 + count).collect();
    bed.route_says(CID_MSG_DATA, &text(1, 1, None));
    let req = question(&mut bed);
    bed.db_says(CID_GROUP_INFO_RESPONSE, &members(&req, 1, &everybody));
    bed.route_says(CID_MSG_DATA, &text(2, 1, None));
    let mut got = vec![Vec::new(); conns.len()];
    for turn in 0..12 {
        for (conn, got) in conns.iter().zip(&mut got) {
            let msgs = bed.sent(*conn);
            got.extend(msgs.iter().map(|p| p.as_pdu().decode::<ImMsgData>().unwrap().msg_id));
        }
        let served: usize = got.iter().map(Vec::len).sum();
        assert!(served <= (turn + 1) * FAN_OUT_BUDGET, "turn {turn} served {served}");
        bed.pass_ms(1);
    }
    assert!(got.iter().all(|got| *got == [1, 2]));
}

#[test]
fn pushes_go_to_members_who_want_them() {
    let mut bed = bed();
    let db = bed.db[0];
    let status = |user_id, shield_status| ShieldStatus { user_id, group_id: GROUP, shield_status };
    let rsp = ImGroupGetShieldRsp {
        group_id: GROUP,
        shield_status_list: vec![status(2, 0), status(3, 1), status(4, 0)],
        attach_data: Some(push_msg(&text(1, 1, None)).into()),
    };
    bed.db_says(CID_OTHER_GET_SHIELD_RSP, &rsp);
    let req: ImGetDeviceTokenReq = bed.one(db, CID_OTHER_GET_DEVICE_TOKEN_REQ);
    assert_eq!((req.user_id, req.attach_data), (vec![2, 4], rsp.attach_data.clone()));
    let nobody = ImGroupGetShieldRsp { shield_status_list: vec![status(3, 1)], ..rsp };
    bed.db_says(CID_OTHER_GET_SHIELD_RSP, &nobody);
    bed.assert_silent(db);
}

#[test]
fn f71_a_voice_message_is_pushed_without_its_sound() {
    let msg = ImMsgData { msg_type: MsgType::GroupAudio.into(), ..text(1, 1, None) };
    let push = ImMsgData::decode(&push_msg(&msg)[..]).unwrap();
    assert_eq!(push, ImMsgData { msg_data: Vec::new().into(), ..msg });
}

#[test]
fn f74_without_a_database_every_request_about_groups_is_refused_with_all_fields() {
    let mut bed = bed();
    let (conn, db) = (bed.log_in(1, WINDOWS), bed.db[0]);
    bed.lose(db);
    bed.ask(conn, CID_GROUP_NORMAL_LIST_REQUEST, &()).unwrap();
    let rsp: ImNormalGroupListRsp = bed.one(conn, CID_GROUP_NORMAL_LIST_RESPONSE);
    assert_eq!(rsp.user_id, 1);
    bed.ask(conn, CID_GROUP_INFO_REQUEST, &()).unwrap();
    let rsp: ImGroupInfoListRsp = bed.one(conn, CID_GROUP_INFO_RESPONSE);
    assert_eq!(rsp.user_id, 1);
    let create = ImGroupCreateReq {
        group_type: GroupType::Tmp.into(),
        group_name: "g".to_owned(),
        ..ImGroupCreateReq::default()
    };
    bed.ask(conn, CID_GROUP_CREATE_REQUEST, &create).unwrap();
    let rsp: ImGroupCreateRsp = bed.one(conn, CID_GROUP_CREATE_RESPONSE);
    assert_eq!((rsp.user_id, rsp.result_code, rsp.group_name.as_str()), (1, 1, "g"));
    let add = GroupModifyType::Add.into();
    let change = ImGroupChangeMemberReq { change_type: add, group_id: 7, ..Default::default() };
    bed.ask(conn, CID_GROUP_CHANGE_MEMBER_REQUEST, &change).unwrap();
    let rsp: ImGroupChangeMemberRsp = bed.one(conn, CID_GROUP_CHANGE_MEMBER_RESPONSE);
    assert_eq!((rsp.user_id, rsp.result_code, rsp.group_id, rsp.change_type), (1, 1, 7, add));
    let shield = ImGroupShieldReq { group_id: 7, ..ImGroupShieldReq::default() };
    bed.ask(conn, CID_GROUP_SHIELD_GROUP_REQUEST, &shield).unwrap();
    let pdu = bed.one_pdu(conn, CID_GROUP_SHIELD_GROUP_RESPONSE);
    assert_eq!(pdu.as_pdu().seq_num(), 42);
    let rsp: ImGroupShieldRsp = pdu.as_pdu().decode().unwrap();
    assert_eq!((rsp.user_id, rsp.result_code, rsp.group_id), (1, 1, 7));
}

#[test]
fn clients_make_no_groups_of_the_kind_that_administrators_make() {
    let mut bed = bed();
    let (conn, db) = (bed.log_in(1, WINDOWS), bed.db[0]);
    let create = ImGroupCreateReq { group_type: GroupType::Normal.into(), ..Default::default() };
    bed.ask(conn, CID_GROUP_CREATE_REQUEST, &create).unwrap();
    let rsp: ImGroupCreateRsp = bed.one(conn, CID_GROUP_CREATE_RESPONSE);
    assert_eq!(rsp.result_code, 1);
    let odd = ImGroupChangeMemberReq { change_type: 3, ..Default::default() };
    bed.ask(conn, CID_GROUP_CHANGE_MEMBER_REQUEST, &odd).unwrap();
    bed.assert_silent(db);
}
