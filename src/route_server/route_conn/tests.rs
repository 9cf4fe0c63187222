//! Each command, without sockets.

use bytes::Bytes;

use super::*;
use crate::netlib::keepalive::{SERVER_HEARTBEAT_INTERVAL_MS, SERVER_TIMEOUT_MS};
use crate::netlib::testing::TestBed;
use crate::pb::base_define::{MsgType, ServerUserStat};
use crate::pb::file::ImFileNotify;
use crate::pb::message::ImMsgData;

const ONLINE: UserStatType = UserStatType::UserStatusOnline;
const LEAVE: UserStatType = UserStatType::UserStatusLeave;
const OFFLINE: UserStatType = UserStatType::UserStatusOffline;
const PC: ClientType = ClientType::Windows;
const PHONE: ClientType = ClientType::Android;

type Bed = TestBed<RouteServer>;

fn bed<const N: usize>() -> (Bed, [NetHandle; N]) {
    let mut bed = Bed::new(RouteServer::default());
    init_route_conn_timer_callback(&mut bed.net);
    let conns = [(); N].map(|()| bed.accept::<RouteConn>());
    (bed, conns)
}

/// Three msg_servers that have told their users: 1 is on the first, 2 on the second.
fn three() -> (Bed, [NetHandle; 3]) {
    let (mut bed, conns) = bed();
    for (conn, users) in conns.into_iter().zip([&[(1, PC)][..], &[(2, PC)], &[]]) {
        receive(&mut bed, conn, &list(users));
    }
    (bed, conns)
}

fn receive(bed: &mut Bed, conn: NetHandle, pdu: &ImPdu) {
    bed.receive::<RouteConn>(conn, pdu).unwrap();
}

fn list(users: &[(u32, ClientType)]) -> ImPdu {
    let stat = |&(user_id, client_type): &(u32, ClientType)| ServerUserStat {
        user_id,
        status: ONLINE.into(),
        client_type: client_type.into(),
    };
    let msg = ImOnlineUserInfo { user_stat_list: users.iter().map(stat).collect() };
    ImPdu::encode(SID_OTHER, CID_OTHER_ONLINE_USER_INFO, 0, &msg)
}

fn update(user_id: u32, status: UserStatType, client_type: ClientType) -> ImPdu {
    let msg =
        ImUserStatusUpdate { user_status: status as u32, user_id, client_type: client_type.into() };
    ImPdu::encode(SID_OTHER, CID_OTHER_USER_STATUS_UPDATE, 0, &msg)
}

/// A message that begins with these numbers and has a field no version knows.
fn numbered(command_id: u16, numbers: &[(u8, u8)]) -> ImPdu {
    let mut body: Vec<u8> = numbers.iter().flat_map(|&(tag, n)| [tag << 3, n]).collect();
    body.extend_from_slice(&[0xa2, 0x06, 2, 0xff, 0xfe]);
    let header = PduHeader { flag: 3, reserved: 5, ..PduHeader::new(9, command_id, 77) };
    ImPdu::with_body(header, &body)
}

fn single(from: u8, to: u8) -> ImPdu {
    numbered(CID_MSG_DATA, &[(1, from), (2, to), (5, MsgType::SingleAudio as u8)])
}

/// Which of the connections have got exactly this PDU.
fn reached<const N: usize>(bed: &mut Bed, conns: [NetHandle; N], pdu: &ImPdu) -> [bool; N] {
    conns.map(|conn| match &bed.sent(conn)[..] {
        [] => false,
        [sent] => {
            assert_eq!(sent.as_pdu().as_bytes(), pdu.as_pdu().as_bytes());
            true
        }
        several => panic!("{} PDUs", several.len()),
    })
}

/// Where this PDU goes when the first of three msg_servers sends it.
fn route(pdu: &ImPdu) -> [bool; 3] {
    let (mut bed, conns) = three();
    receive(&mut bed, conns[0], pdu);
    reached(&mut bed, conns, pdu)
}

/// What presence a connection was told of, in words.
fn told(bed: &mut Bed, conn: NetHandle) -> Vec<String> {
    let told = |pdu: ImPdu| match pdu.as_pdu().command_id() {
        CID_OTHER_LOGIN_STATUS_NOTIFY => {
            let msg: ImServerPcLoginStatusNotify = pdu.as_pdu().decode().unwrap();
            format!("{} pc {}", msg.user_id, msg.login_status)
        }
        CID_BUDDY_LIST_STATUS_NOTIFY => {
            let stat = pdu.as_pdu().decode::<ImUserStatNotify>().unwrap().user_stat;
            format!("{} is {}", stat.user_id, stat.status)
        }
        command_id => panic!("{command_id:#06x}"),
    };
    bed.sent(conn).into_iter().map(told).collect()
}

#[test]
fn f60_the_table_of_notifications_is_that_of_the_original() {
    // What user 1 does, and what both msg_servers are told.
    let steps: [(usize, UserStatType, ClientType, &[&str]); 16] = [
        (0, ONLINE, PHONE, &[]),
        (1, ONLINE, ClientType::Ios, &[]),
        (1, OFFLINE, ClientType::Ios, &[]),
        (0, ONLINE, PC, &["1 pc 1", "1 is 1"]),
        (1, ONLINE, PHONE, &["1 pc 1"]),
        (1, OFFLINE, PHONE, &[]),
        (1, LEAVE, ClientType::Mac, &["1 pc 1", "1 is 3"]),
        (0, OFFLINE, PC, &[]),
        (1, OFFLINE, ClientType::Mac, &["1 pc 0", "1 is 2"]),
        (0, OFFLINE, PHONE, &[]),
        (0, ONLINE, PC, &["1 pc 1", "1 is 1"]),
        (0, ONLINE, PC, &["1 pc 1", "1 is 1"]),
        (0, OFFLINE, PC, &[]),
        (0, OFFLINE, PC, &["1 is 2"]),
        // Of nobody anything is known; it is told all the same.
        (1, OFFLINE, PC, &["1 is 2"]),
        (1, OFFLINE, PHONE, &[]),
    ];
    let (mut bed, conns) = bed::<2>();
    for (at, (from, status, client_type, expected)) in steps.into_iter().enumerate() {
        receive(&mut bed, conns[from], &update(1, status, client_type));
        for conn in conns {
            assert_eq!(told(&mut bed, conn), expected, "step {at}");
        }
    }
    assert!(bed.srv.users.is_empty());
}

#[test]
fn a_report_without_user_or_of_an_unknown_kind_is_dropped() {
    let (mut bed, [a]) = bed();
    let msg = |user_id, user_status, client_type| {
        let msg = ImUserStatusUpdate { user_status, user_id, client_type };
        ImPdu::encode(SID_OTHER, CID_OTHER_USER_STATUS_UPDATE, 0, &msg)
    };
    for pdu in [msg(0, 1, 1), msg(1, 0, 1), msg(1, u32::MAX, 1), msg(1, 1, 3), msg(1, 1, 0)] {
        receive(&mut bed, a, &pdu);
        assert!(bed.srv.users.is_empty() && bed.sent(a).is_empty());
    }
    receive(&mut bed, a, &list(&[(0, PC)]));
    assert!(bed.srv.users.is_empty());
}

#[test]
fn f59_the_users_of_a_lost_msg_server_go_off_line_for_everybody() {
    let (mut bed, [lost, other]) = bed();
    receive(&mut bed, lost, &list(&[(1, PC), (2, PC), (3, PC), (4, PHONE)]));
    receive(&mut bed, other, &list(&[(2, PHONE), (3, PC)]));
    assert!(bed.sent(other).is_empty(), "a list is told to nobody");
    bed.lose(lost);
    bed.pass_ms(TELL_MS);
    assert_eq!(told(&mut bed, other), ["1 is 2", "2 pc 0", "2 is 2"]);
    let back = bed.accept::<RouteConn>();
    receive(&mut bed, back, &list(&[(1, PC), (3, PC)]));
    bed.pass_ms(TELL_MS);
    assert_eq!(told(&mut bed, other), ["1 pc 1", "1 is 1"]);
    bed.pass_ms(TELL_MS);
    assert!(bed.sent(other).is_empty());
}

#[test]
fn f59_many_users_of_a_lost_msg_server_are_told_a_few_at_a_time() {
    let (mut bed, [lost, other]) = bed();
    let count = 2 * TELL_BUDGET + 1;
    receive(&mut bed, lost, &list(&Vec::from_iter((1..=count as u32).map(|id| (id, PC)))));
    bed.lose(lost);
    let turns = [(); 4].map(|()| {
        bed.pass_ms(TELL_MS);
        told(&mut bed, other).len()
    });
    assert_eq!(turns, [TELL_BUDGET, TELL_BUDGET, 1, 0]);
}

#[test]
fn a_silent_msg_server_is_sent_heartbeats_and_then_given_up() {
    let (mut bed, [silent]) = bed();
    receive(&mut bed, silent, &list(&[(1, PC)]));
    bed.pass_ms(SERVER_HEARTBEAT_INTERVAL_MS + 1);
    assert_eq!(bed.sent(silent)[0].as_pdu().command_id(), CID_OTHER_HEARTBEAT);
    let other = bed.accept::<RouteConn>();
    bed.pass_ms(SERVER_TIMEOUT_MS - SERVER_HEARTBEAT_INTERVAL_MS - 1);
    assert!(bed.net.is_open(silent));
    receive(&mut bed, other, &ImPdu::encode(SID_OTHER, CID_OTHER_HEARTBEAT, 0, &()));
    bed.pass_ms(TIMER_MS);
    assert!(!bed.net.is_open(silent) && bed.net.is_open(other));
    bed.sent(other);
    bed.pass_ms(TELL_MS);
    assert_eq!(told(&mut bed, other), ["1 is 2"]);
}

#[test]
fn f62_a_message_goes_where_sender_or_receiver_is() {
    assert_eq!(route(&single(1, 2)), [false, true, false]);
    assert_eq!(route(&single(2, 1)), [false, true, false]);
    assert_eq!(route(&single(1, 9)), [false, false, false], "the receiver is off line");
    assert_eq!(route(&single(8, 9)), [false, true, true], "nobody knows either");
    let p2p = |from, to| numbered(CID_SWITCH_P2P_CMD, &[(1, from), (2, to)]);
    assert_eq!(route(&p2p(1, 2)), [false, true, false]);
    assert_eq!(route(&p2p(8, 9)), [false, true, true]);
}

#[test]
fn f62_what_concerns_one_user_goes_where_he_is() {
    for command_id in [CID_MSG_READ_NOTIFY, CID_BUDDY_LIST_REMOVE_SESSION_NOTIFY] {
        let notify = |user_id| numbered(command_id, &[(1, user_id), (2, 1)]);
        assert_eq!(route(&notify(1)), [false, false, false]);
        assert_eq!(route(&notify(2)), [false, true, false]);
        assert_eq!(route(&notify(9)), [false, true, true]);
    }
    let file = |from, to| numbered(CID_FILE_NOTIFY, &[(1, from), (2, to)]);
    assert_eq!(route(&file(2, 1)), [false, false, false], "the sender knows of his file");
    assert_eq!(route(&file(1, 2)), [false, true, false]);
    assert_eq!(route(&file(1, 9)), [false, true, true]);
}

#[test]
fn f62_what_concerns_many_goes_to_all_others() {
    let group = MsgType::GroupText as u8;
    for pdu in [
        numbered(CID_MSG_DATA, &[(1, 1), (2, 2), (5, group)]),
        numbered(CID_MSG_DATA, &[(1, 1), (2, 2), (5, 0x7f)]),
        numbered(CID_GROUP_CHANGE_MEMBER_NOTIFY, &[(1, 1), (2, 2)]),
        numbered(CID_OTHER_SERVER_KICK_USER, &[(1, 2), (2, 1), (3, 1)]),
    ] {
        assert_eq!(route(&pdu), [false, true, true]);
    }
    let sign_info = numbered(CID_BUDDY_LIST_SIGN_INFO_CHANGED_NOTIFY, &[(1, 1)]);
    assert_eq!(route(&sign_info), [true, true, true]);
}

#[test]
fn f62_a_msg_server_that_has_not_told_its_users_gets_everything() {
    let (mut bed, conns) = three();
    let new = bed.accept::<RouteConn>();
    let all = [conns[0], conns[1], conns[2], new];
    receive(&mut bed, conns[0], &single(1, 2));
    assert_eq!(reached(&mut bed, all, &single(1, 2)), [false, true, false, true]);
    receive(&mut bed, new, &list(&[]));
    receive(&mut bed, conns[0], &single(1, 2));
    assert_eq!(reached(&mut bed, all, &single(1, 2)), [false, true, false, false]);
}

#[test]
fn f62_of_two_who_log_in_at_the_same_time_each_is_told_of_the_other() {
    let (mut bed, conns) = three();
    // Kicks come before presence, and the pairs of the two msg_servers may cross.
    let kick = numbered(CID_OTHER_SERVER_KICK_USER, &[(1, 1), (2, 1), (3, 1)]);
    receive(&mut bed, conns[1], &kick);
    assert_eq!(reached(&mut bed, conns, &kick), [true, false, true]);
    receive(&mut bed, conns[2], &kick);
    assert_eq!(reached(&mut bed, conns, &kick), [true, true, false]);
}

#[test]
fn messages_are_routed_by_the_fields_of_the_protocol() {
    let msg = ImMsgData {
        from_user_id: 1,
        to_session_id: 2,
        msg_id: 3,
        create_time: 4,
        msg_type: MsgType::SingleText.into(),
        msg_data: Bytes::from_static(b"\xff text"),
        attach_data: Some(Bytes::from_static(b"attached")),
    };
    assert_eq!(route(&ImPdu::encode(SID_MSG, CID_MSG_DATA, 5, &msg)), [false, true, false]);
    let msg = ImFileNotify {
        from_user_id: 1,
        to_user_id: 2,
        file_name: Bytes::from_static(b"\xb0\xa1"),
        task_id: "task".to_owned(),
        ..ImFileNotify::default()
    };
    assert_eq!(route(&ImPdu::encode(SID_FILE, CID_FILE_NOTIFY, 0, &msg)), [false, true, false]);
}

#[test]
fn f63_a_request_for_presence_is_answered_with_one_entry_for_each_id() {
    let (mut bed, [a, b]) = bed();
    receive(&mut bed, b, &list(&[(1, PC), (2, PHONE), (3, ClientType::Mac)]));
    let attach_data = Some(Bytes::from_static(b"\x01\xff"));
    let request = ImUsersStatReq { user_id: 7, user_id_list: vec![3, 9, 2, 1], attach_data };
    let command_id = CID_BUDDY_LIST_USERS_STATUS_REQUEST;
    receive(&mut bed, a, &ImPdu::encode(SID_BUDDY_LIST, command_id, 321, &request));
    let sent = bed.sent(a);
    let [answer] = &sent[..] else { panic!("{} answers", sent.len()) };
    let header = answer.as_pdu().header().to_owned();
    let expected = PduHeader::new(SID_BUDDY_LIST, CID_BUDDY_LIST_USERS_STATUS_RESPONSE, 321);
    assert_eq!(PduHeader { length: expected.length, ..header }, expected);
    let answer: ImUsersStatRsp = answer.as_pdu().decode().unwrap();
    let stats = answer.user_stat_list.iter().map(|stat| (stat.user_id, stat.status));
    assert_eq!(stats.collect::<Vec<_>>(), [(3, 1), (9, 2), (2, 2), (1, 1)]);
    assert_eq!((answer.user_id, answer.attach_data), (7, request.attach_data));
    assert!(bed.sent(b).is_empty());
}

#[test]
fn a_master_is_noted_and_an_unknown_command_changes_nothing() {
    let (mut bed, conns) = three();
    for (master, expected) in [(1, true), (0, false)] {
        receive(&mut bed, conns[0], &numbered(CID_OTHER_ROLE_SET, &[(1, master)]));
        assert_eq!(bed.srv.route_conns.get(conns[0]).unwrap().master, expected);
    }
    for command_id in [0, 0x0103, 0x0709, 0xffff] {
        let pdu = numbered(command_id, &[(1, 1), (2, 2)]);
        receive(&mut bed, conns[0], &pdu);
        assert_eq!(reached(&mut bed, conns, &pdu), [false; 3]);
    }
}

#[test]
fn f63_a_body_that_does_not_parse_is_an_error_and_changes_nothing() {
    let (mut bed, conns) = three();
    for command_id in [
        CID_OTHER_ONLINE_USER_INFO,
        CID_OTHER_USER_STATUS_UPDATE,
        CID_OTHER_ROLE_SET,
        CID_BUDDY_LIST_USERS_STATUS_REQUEST,
        CID_MSG_DATA,
        CID_SWITCH_P2P_CMD,
        CID_MSG_READ_NOTIFY,
        CID_BUDDY_LIST_REMOVE_SESSION_NOTIFY,
        CID_FILE_NOTIFY,
    ] {
        let pdu = ImPdu::with_body(PduHeader::new(7, command_id, 0), &[0x0a, 0xff]);
        let result = bed.receive::<RouteConn>(conns[0], &pdu);
        assert!(matches!(result, Err(PduError::Decode { .. })), "{command_id:#06x}");
        assert_eq!(reached(&mut bed, conns, &pdu), [false; 3]);
    }
    assert_eq!(bed.srv.users.len(), 2);
}

#[test]
fn a_second_close_finds_nothing() {
    let (mut bed, conns) = three();
    RouteConn::close(&mut bed.cx(), conns[0]);
    RouteConn::close(&mut bed.cx(), conns[0]);
    assert_eq!((bed.srv.route_conns.len(), bed.srv.users.len()), (2, 1));
    bed.pass_ms(TELL_MS);
    assert_eq!(told(&mut bed, conns[1]), ["1 is 2"]);
}
