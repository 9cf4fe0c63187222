//! Logins, kicks and messages, without sockets.

use super::*;
use crate::base::attach_data::{DbAttachData, PduAttachData};
use crate::base::public_define::CLIENT_VERSION_PREFIX;
use crate::msg_server::db_serv_conn::{DbServConn, STOP_RECV_MS};
use crate::msg_server::login_serv_conn::LoginServConn;
use crate::msg_server::route_serv_conn::RouteServConn;
use crate::msg_server::tests::*;
use crate::pb::base_define::{KickReasonType, MsgType, ResultType, SessionType};
use crate::pb::buddy::ImAllUserReq;
use crate::pb::login::*;
use crate::pb::message::*;
use crate::pb::other::ImHeartBeat;
use crate::pb::server::*;
use crate::pb::switch_service::ImP2pCmdMsg;

/// A 0x0103 is answered with this refusal, and the connection ends.
#[track_caller]
fn assert_refused(bed: &mut Bed, conn: NetHandle, result_code: ResultType) {
    let pdu = bed.one_pdu(conn, CID_LOGIN_RES_USERLOGIN);
    assert_eq!(pdu.as_pdu().seq_num(), 42);
    let res: ImLoginRes = pdu.as_pdu().decode().unwrap();
    assert_eq!((res.result_code, res.server_time), (result_code.into(), NOW));
    assert!(!bed.net.is_open(conn) && bed.srv.msg_conns.get(conn).is_none());
}

#[test]
fn f11_db_proxy_server_is_told_where_a_login_comes_from() {
    let mut bed = bed();
    let (conn, db) = (bed.client(), bed.db[0]);
    bed.set_peer(conn, "192.0.2.7");
    bed.ask(conn, CID_LOGIN_REQ_USERLOGIN, &login_req(5, WINDOWS)).unwrap();
    let req: ImValidateReq = bed.one(db, CID_OTHER_VALIDATE_REQ);
    let attach_data = req.attach_data.unwrap();
    let attach = PduAttachData::parse(&attach_data).unwrap();
    assert_eq!((attach.handle, attach.pdu), (conn.to_u32(), &b"192.0.2.0/24"[..]));
}

#[test]
fn a_login_is_validated_announced_and_answered() {
    let mut bed = bed();
    let (conn, req) = bed.ask_login(5, WINDOWS);
    assert_eq!((req.user_name.as_str(), req.password.len()), ("user5", 32));
    bed.db_says(CID_OTHER_VALIDATE_RSP, &validated(5, &req));
    let pdu = bed.one_pdu(conn, CID_LOGIN_RES_USERLOGIN);
    assert_eq!(pdu.as_pdu().seq_num(), 42);
    let res: ImLoginRes = pdu.as_pdu().decode().unwrap();
    assert_eq!((res.result_code, res.server_time, res.result_string()), (0, NOW, "ok"));
    assert_eq!(
        (res.online_status(), res.user_info.unwrap().user_id),
        (UserStatType::UserStatusOnline, 5)
    );
    let (login, route) = (bed.login[0], bed.route[0]);
    let count: ImUserCntUpdate = bed.one(login, CID_OTHER_USER_CNT_UPDATE);
    assert_eq!((count.user_action, count.user_id), (USER_CNT_INC, 5));
    let sent = bed.sent(route);
    assert_eq!(ids(&sent), [CID_OTHER_SERVER_KICK_USER, CID_OTHER_USER_STATUS_UPDATE]);
    let kick: ImServerKickUser = sent[0].as_pdu().decode().unwrap();
    assert_eq!((kick.user_id, kick.client_type, kick.reason), (5, WINDOWS.into(), 1));
    let status: ImUserStatusUpdate = sent[1].as_pdu().decode().unwrap();
    assert_eq!((status.user_id, status.user_status), (5, 1));
    // And gone again.
    bed.lose(conn);
    let count: ImUserCntUpdate = bed.one(login, CID_OTHER_USER_CNT_UPDATE);
    assert_eq!((count.user_action, count.user_id), (USER_CNT_DEC, 5));
    let status: ImUserStatusUpdate = bed.one(route, CID_OTHER_USER_STATUS_UPDATE);
    assert_eq!((status.user_id, status.user_status), (5, 2));
    assert!(bed.srv.im_users.is_empty() && bed.srv.msg_conns.is_empty());
}

#[test]
fn a_wrong_password_is_refused_with_the_text_of_the_database() {
    let mut bed = bed();
    let (conn, req) = bed.ask_login(5, WINDOWS);
    let text = Some("wrong".to_owned());
    let rsp = ImValidateRsp {
        result_code: 1,
        result_string: text,
        user_info: None,
        ..validated(5, &req)
    };
    bed.db_says(CID_OTHER_VALIDATE_RSP, &rsp);
    assert_refused(&mut bed, conn, ResultType::RefuseReasonDbValidateFailed);
    assert!(bed.srv.im_users.is_empty());
}

#[test]
fn f2_nobody_is_logged_in_without_a_user_id() {
    let mut bed = bed();
    let (conn, req) = bed.ask_login(5, WINDOWS);
    bed.db_says(CID_OTHER_VALIDATE_RSP, &validated(0, &req));
    assert_refused(&mut bed, conn, ResultType::RefuseReasonDbValidateFailed);
    let (conn, req) = bed.ask_login(5, WINDOWS);
    let rsp = ImValidateRsp { user_info: None, ..validated(5, &req) };
    bed.db_says(CID_OTHER_VALIDATE_RSP, &rsp);
    assert_refused(&mut bed, conn, ResultType::RefuseReasonDbValidateFailed);
}

#[test]
fn a_login_needs_a_server_of_each_of_three_kinds() {
    let mut bed = bed_alone("");
    let (db, login, route) = (bed.db[0], bed.login[0], bed.route[0]);
    let refused = |bed: &mut Bed, result| {
        let conn = bed.client();
        bed.ask(conn, CID_LOGIN_REQ_USERLOGIN, &login_req(5, WINDOWS)).unwrap();
        assert_refused(bed, conn, result);
    };
    refused(&mut bed, ResultType::RefuseReasonNoDbServer);
    bed.confirm::<DbServConn>(db);
    refused(&mut bed, ResultType::RefuseReasonNoLoginServer);
    bed.confirm::<LoginServConn>(login);
    refused(&mut bed, ResultType::RefuseReasonNoRouteServer);
    bed.confirm::<RouteServConn>(route);
    bed.forget_sent();
    bed.log_in(5, WINDOWS);
}

#[test]
fn f80_a_login_is_refused_at_once_when_its_database_is_lost() {
    let mut bed = bed();
    let (conn, req) = bed.ask_login(5, WINDOWS);
    let db = bed.db[0];
    bed.lose(db);
    assert_refused(&mut bed, conn, ResultType::RefuseReasonNoDbServer);
    // Nothing is harmed by an answer that comes late, over another connection.
    bed.pass_ms(5_000);
    bed.db = bed.srv.db_servers.conns.handles();
    let db = bed.db[0];
    bed.confirm::<DbServConn>(db);
    bed.db_says(CID_OTHER_VALIDATE_RSP, &validated(5, &req));
    assert!(bed.srv.im_users.is_empty());
}

#[test]
fn f66_a_failed_login_disturbs_no_other_of_the_same_name() {
    let mut bed = bed();
    let (wrong, wrong_req) = bed.ask_login(5, WINDOWS);
    let (right, right_req) = bed.ask_login(5, IOS);
    let rsp = ImValidateRsp { result_code: 1, user_info: None, ..validated(5, &wrong_req) };
    bed.db_says(CID_OTHER_VALIDATE_RSP, &rsp);
    assert_refused(&mut bed, wrong, ResultType::RefuseReasonDbValidateFailed);
    bed.db_says(CID_OTHER_VALIDATE_RSP, &validated(5, &right_req));
    let res: ImLoginRes = bed.one(right, CID_LOGIN_RES_USERLOGIN);
    assert_eq!(res.result_code, 0);
    // A third one, while the last logged-in connection goes.
    let (third, third_req) = bed.ask_login(5, WINDOWS);
    bed.lose(right);
    bed.db_says(CID_OTHER_VALIDATE_RSP, &validated(5, &third_req));
    assert!(user_of(&bed.cx(), third).is_some());
}

#[test]
fn f1_before_the_login_only_a_login_is_taken() {
    let mut bed = bed();
    let db = bed.db[0];
    for (command_id, _) in COMMANDS {
        let conn = bed.client();
        let pdu = ImPdu::with_body(PduHeader::new(SID_MSG, *command_id, 1), &[]);
        let result = bed.receive::<MsgConn>(conn, &pdu);
        let allowed = [CID_OTHER_HEARTBEAT, CID_LOGIN_REQ_USERLOGIN, CID_LOGIN_REQ_REGIST];
        assert_eq!(result.is_ok(), allowed.contains(command_id), "{command_id:#06x}");
        let asked = bed.sent(db);
        let expected = if *command_id == CID_LOGIN_REQ_USERLOGIN {
            vec![CID_OTHER_VALIDATE_REQ]
        } else {
            vec![]
        };
        assert_eq!(ids(&asked), expected, "{command_id:#06x}");
    }
    // Nor while the login is under way.
    let (conn, _) = bed.ask_login(5, WINDOWS);
    bed.ask(conn, CID_LOGIN_REQ_USERLOGIN, &login_req(6, WINDOWS)).unwrap();
    bed.assert_silent(db);
    assert!(bed.ask(conn, CID_MSG_TIME_REQUEST, &ImClientTimeReq::default()).is_err());
}

#[test]
fn a_client_that_does_not_log_in_is_closed_and_one_that_waits_is_told() {
    let mut bed = bed();
    let silent = bed.client();
    let (waiting, _) = bed.ask_login(5, WINDOWS);
    bed.pass_ms(TIMEOUT_WAIT_LOGIN_RESPONSE_MS);
    assert!(bed.net.is_open(silent) && bed.net.is_open(waiting));
    bed.pass_ms(TIMER_MS);
    assert!(!bed.net.is_open(silent));
    assert_refused(&mut bed, waiting, ResultType::RefuseReasonNoDbServer);
    assert_eq!((bed.srv.given_up.no_login, bed.srv.logins_refused), (1, 1));
}

#[test]
fn f31_a_client_above_the_maximum_is_closed() {
    let mut bed = bed_with("MaxConnCnt=2\n");
    let conns = [(); 3].map(|()| bed.client());
    assert_eq!(conns.map(|conn| bed.net.is_open(conn)), [true, true, false]);
    let login = bed.login[0];
    bed.confirm::<LoginServConn>(login);
    let info: ImMsgServInfo = bed.one(login, CID_OTHER_MSG_SERV_INFO);
    assert_eq!((info.max_conn_cnt, info.cur_conn_cnt, info.port), (2, 0, 8000));
    assert_eq!((info.ip1.as_str(), info.ip2.as_str()), ("192.0.2.1", "192.0.2.2"));
}

#[test]
fn f54_login_servers_are_told_the_true_count_every_minute() {
    let mut bed = bed();
    bed.log_in(5, WINDOWS);
    bed.log_in(5, IOS);
    let login = bed.login[0];
    for _ in 0..3 {
        let heartbeat = request(CID_OTHER_HEARTBEAT, &ImHeartBeat::default());
        bed.receive::<LoginServConn>(login, &heartbeat).unwrap();
        bed.pass_ms(20_000);
    }
    let sent = bed.sent(login);
    let info = sent.iter().find(|pdu| pdu.as_pdu().command_id() == CID_OTHER_MSG_SERV_INFO);
    let info: ImMsgServInfo = info.unwrap().as_pdu().decode().unwrap();
    assert_eq!(info.cur_conn_cnt, 2);
}

#[test]
fn a_heartbeat_comes_back_as_it_is_and_the_time_is_told() {
    let mut bed = bed();
    let conn = bed.log_in(5, WINDOWS);
    let pdu = request(CID_OTHER_HEARTBEAT, &ImHeartBeat::default());
    bed.receive::<MsgConn>(conn, &pdu).unwrap();
    assert_eq!(bed.sent_bytes(conn), pdu.as_pdu().as_bytes());
    bed.ask(conn, CID_MSG_TIME_REQUEST, &ImClientTimeReq::default()).unwrap();
    let pdu = bed.one_pdu(conn, CID_MSG_TIME_RESPONSE);
    assert_eq!(pdu.as_pdu().seq_num(), 42);
    assert_eq!(pdu.as_pdu().decode::<ImClientTimeRsp>().unwrap().server_time, NOW);
}

#[test]
fn f82_the_time_out_is_that_of_the_class() {
    let mut bed = bed();
    let (pc, phone) = (bed.log_in(5, MAC), bed.log_in(5, ANDROID));
    bed.pass_ms(CLIENT_TIMEOUT_MS + TIMER_MS);
    assert_eq!([pc, phone].map(|conn| bed.net.is_open(conn)), [false, true]);
    bed.pass_ms(MOBILE_CLIENT_TIMEOUT_MS - CLIENT_TIMEOUT_MS);
    assert!(!bed.net.is_open(phone) && bed.srv.im_users.is_empty());
}

#[test]
fn f64_a_second_pc_kicks_the_first_which_is_heard_no_more_and_closed_later() {
    let mut bed = bed();
    let (first, phone) = (bed.log_in(5, WINDOWS), bed.log_in(5, IOS));
    let (second, req) = bed.ask_login(5, MAC);
    bed.db_says(CID_OTHER_VALIDATE_RSP, &validated(5, &req));
    let kick: ImKickUser = bed.one(first, CID_LOGIN_KICK_USER);
    assert_eq!((kick.user_id, kick.kick_reason()), (5, KickReasonType::KickReasonDuplicateUser));
    bed.assert_silent(phone);
    bed.forget_sent();
    let db = bed.db[0];
    for (command_id, _) in COMMANDS.iter().filter(|(id, _)| *id != CID_OTHER_HEARTBEAT) {
        let pdu = ImPdu::with_body(PduHeader::new(SID_MSG, *command_id, 1), &[]);
        bed.receive::<MsgConn>(first, &pdu).unwrap();
        bed.assert_silent(db);
        bed.assert_silent(first);
    }
    bed.ask(first, CID_OTHER_HEARTBEAT, &ImHeartBeat::default()).unwrap();
    bed.one_pdu(first, CID_OTHER_HEARTBEAT);
    // It gets nothing of the user's any more.
    bed.route_says(CID_MSG_READ_NOTIFY, &ImMsgDataReadNotify { user_id: 5, ..Default::default() });
    bed.assert_silent(first);
    bed.one_pdu(second, CID_MSG_READ_NOTIFY);
    // It counts until it has gone.
    bed.forget_sent();
    bed.pass_ms(KICK_GRACE_MS);
    assert!(bed.net.is_open(first));
    bed.pass_ms(TIMER_MS);
    assert!(!bed.net.is_open(first) && bed.net.is_open(second) && bed.net.is_open(phone));
    assert_eq!(bed.srv.given_up.stayed_after_kick, 1);
    let route = bed.route[0];
    let sent = bed.sent(route);
    assert_eq!(
        sent.iter().filter(|pdu| pdu.as_pdu().command_id() == CID_OTHER_USER_STATUS_UPDATE).count(),
        1
    );
}

#[test]
fn a_phone_sends_the_pcs_away_and_a_pc_cannot() {
    let mut bed = bed();
    let (pc, phone, route) = (bed.log_in(5, WINDOWS), bed.log_in(5, IOS), bed.route[0]);
    bed.ask(pc, CID_LOGIN_REQ_KICKPCCLIENT, &ImKickPcClientReq { user_id: 5 }).unwrap();
    bed.assert_silent(pc);
    bed.assert_silent(route);
    bed.ask(phone, CID_LOGIN_REQ_KICKPCCLIENT, &ImKickPcClientReq { user_id: 666 }).unwrap();
    let kick: ImKickUser = bed.one(pc, CID_LOGIN_KICK_USER);
    assert_eq!((kick.user_id, kick.kick_reason()), (5, KickReasonType::KickReasonMobileKick));
    let rsp: ImKickPcClientRsp = bed.one(phone, CID_LOGIN_RES_KICKPCCLIENT);
    assert_eq!((rsp.user_id, rsp.result_code), (5, 0));
    let kick: ImServerKickUser = bed.one(route, CID_OTHER_SERVER_KICK_USER);
    assert_eq!((kick.user_id, kick.client_type, kick.reason), (5, MAC.into(), 2));
    // Without a route_server nobody can tell whether there was one elsewhere.
    bed.lose(route);
    bed.ask(phone, CID_LOGIN_REQ_KICKPCCLIENT, &ImKickPcClientReq { user_id: 5 }).unwrap();
    let rsp: ImKickPcClientRsp = bed.one(phone, CID_LOGIN_RES_KICKPCCLIENT);
    assert_eq!(rsp.result_code, 1);
}

#[test]
fn f13_only_a_phone_takes_its_token_along_when_it_logs_out() {
    let mut bed = bed();
    let (pc, phone, db) = (bed.log_in(5, WINDOWS), bed.log_in(5, IOS), bed.db[0]);
    for (conn, erases) in [(pc, false), (phone, true)] {
        bed.ask(conn, CID_LOGIN_REQ_LOGINOUT, &ImLogoutReq::default()).unwrap();
        let rsp: ImLogoutRsp = bed.one(conn, CID_LOGIN_RES_LOGINOUT);
        assert!(rsp.result_code == 0 && !bed.net.is_open(conn));
        if erases {
            let req: ImDeviceTokenReq = bed.one(db, CID_LOGIN_REQ_DEVICETOKEN);
            assert_eq!((req.user_id, req.device_token.as_str()), (5, ""));
        } else {
            bed.assert_silent(db);
        }
    }
}

fn text(from_user_id: u32, to_session_id: u32) -> ImMsgData {
    ImMsgData {
        from_user_id,
        to_session_id,
        msg_type: MsgType::SingleText.into(),
        msg_data: b"cipher".to_vec().into(),
        ..ImMsgData::default()
    }
}

/// The message as db_proxy_server got it, and gives it back with a number.
fn stored(bed: &mut Bed, msg_id: u32) -> ImMsgData {
    let db = bed.db[0];
    let msg: ImMsgData = bed.one(db, CID_MSG_DATA);
    ImMsgData { msg_id, ..msg }
}

#[test]
fn a_single_message_reaches_all_clients_but_the_one_that_sent_it() {
    let mut bed = bed();
    let (sender, other) = (bed.log_in(1, WINDOWS), bed.log_in(1, IOS));
    let (pc, phone) = (bed.log_in(2, MAC), bed.log_in(2, ANDROID));
    // Whatever the client says of itself (F1, F6).
    bed.ask(sender, CID_MSG_DATA, &ImMsgData { msg_id: 9, ..text(666, 2) }).unwrap();
    let msg = stored(&mut bed, 77);
    assert_eq!((msg.from_user_id, msg.to_session_id, msg.create_time), (1, 2, NOW));
    let attach = DbAttachData::parse(msg.attach_data()).unwrap();
    assert_eq!((attach.attach_type, attach.handle), (1, sender.to_u32()));
    bed.db_says(CID_MSG_DATA, &msg);
    let ack = bed.one_pdu(sender, CID_MSG_DATA_ACK);
    assert_eq!(ack.as_pdu().seq_num(), 42);
    let ack: ImMsgDataAck = ack.as_pdu().decode().unwrap();
    let single = i32::from(SessionType::Single);
    assert_eq!(ack, ImMsgDataAck { user_id: 1, session_id: 2, msg_id: 77, session_type: single });
    let route = bed.route[0];
    for conn in [other, pc, phone, route] {
        let pdu = bed.one_pdu(conn, CID_MSG_DATA);
        assert_eq!(pdu.as_pdu().seq_num(), 0, "f73");
        let got: ImMsgData = pdu.as_pdu().decode().unwrap();
        assert_eq!(got, ImMsgData { attach_data: None, ..msg.clone() }, "f73");
    }
    let db = bed.db[0];
    let req: ImGetDeviceTokenReq = bed.one(db, CID_OTHER_GET_DEVICE_TOKEN_REQ);
    let push: ImMsgData = prost::Message::decode(req.attach_data.unwrap()).unwrap();
    assert_eq!((req.user_id, push), (vec![2], ImMsgData { attach_data: None, ..msg }));
    assert_eq!(bed.srv.msg_stats.down_msg_total_cnt, 3);
}

#[test]
fn what_is_no_message_is_dropped() {
    let mut bed = bed();
    let (conn, db) = (bed.log_in(1, WINDOWS), bed.db[0]);
    let empty = ImMsgData { msg_data: Vec::new().into(), ..text(1, 2) };
    let odd_type = ImMsgData { msg_type: 3, ..text(1, 2) };
    for msg in [empty, odd_type, text(1, 1), text(666, 1), text(1, 0)] {
        bed.ask(conn, CID_MSG_DATA, &msg).unwrap();
        bed.assert_silent(db);
        bed.assert_silent(conn);
    }
}

#[test]
fn f69_who_understands_it_is_told_that_a_message_is_not_stored() {
    let mut bed = bed();
    let (android, windows) = (bed.log_in(1, ANDROID), bed.log_in(1, WINDOWS));
    let client_version = Some(format!("{CLIENT_VERSION_PREFIX}1.0"));
    let req = ImLoginReq { client_version, ..login_req(3, IOS) };
    let (own, req) = bed.ask_login_with(&req);
    bed.db_says(CID_OTHER_VALIDATE_RSP, &validated(3, &req));
    bed.forget_sent();
    let refused = |bed: &mut Bed, conn: NetHandle, told: bool| {
        if told {
            let pdu = bed.one_pdu(conn, CID_MSG_DATA_ACK);
            assert_eq!(pdu.as_pdu().seq_num(), 42);
            let ack: ImMsgDataAck = pdu.as_pdu().decode().unwrap();
            assert_eq!((ack.session_id, ack.msg_id), (2, 0));
        } else {
            bed.assert_silent(conn);
        }
    };
    for (conn, told) in [(android, true), (windows, false), (own, true)] {
        bed.ask(conn, CID_MSG_DATA, &text(1, 2)).unwrap();
        let failed = stored(&mut bed, 0);
        bed.db_says(CID_MSG_DATA, &failed);
        refused(&mut bed, conn, told);
    }
    let db = bed.db[0];
    bed.lose(db);
    for (conn, told) in [(android, true), (windows, false), (own, true)] {
        bed.ask(conn, CID_MSG_DATA, &text(1, 2)).unwrap();
        refused(&mut bed, conn, told);
    }
    assert_eq!((bed.srv.msg_stats.up_msg_total_cnt, bed.srv.msg_stats.up_msg_miss_cnt), (6, 6));
    let route = bed.route[0];
    bed.assert_silent(route);
}

#[test]
fn f68_every_known_form_of_acknowledgement_is_understood() {
    let mut bed = bed();
    let conn = bed.log_in(2, IOS);
    let ack = |user_id, session_id| ImMsgDataAck {
        user_id,
        session_id,
        msg_id: 77,
        session_type: SessionType::Single.into(),
    };
    // Windows, iOS, Android, and another client of the sender.
    for (msg, ack) in [
        (text(1, 2), ack(2, 1)),
        (text(1, 2), ack(0, 1)),
        (text(1, 2), ack(1, 2)),
        (text(2, 1), ack(2, 1)),
    ] {
        bed.route_says(CID_MSG_DATA, &ImMsgData { msg_id: 77, ..msg });
        assert_eq!(bed.srv.msg_conns.get(conn).unwrap().send_msg_list.len(), 1);
        bed.ask(conn, CID_MSG_DATA_ACK, &ack).unwrap();
        assert!(bed.srv.msg_conns.get(conn).unwrap().send_msg_list.is_empty());
    }
    bed.route_says(CID_MSG_DATA, &ImMsgData { msg_id: 78, ..text(1, 2) });
    bed.ask(conn, CID_MSG_DATA_ACK, &ack(2, 1)).unwrap();
    assert_eq!(bed.srv.msg_conns.get(conn).unwrap().send_msg_list.len(), 1);
}

#[test]
fn f68_who_misses_a_message_and_then_is_silent_is_closed() {
    let mut bed = bed();
    let (dead, alive) = (bed.log_in(2, IOS), bed.log_in(2, WINDOWS));
    bed.route_says(CID_MSG_DATA, &ImMsgData { msg_id: 77, ..text(1, 2) });
    bed.forget_sent();
    bed.pass_ms(TIMEOUT_WAITING_MSG_DATA_ACK_MS + TIMER_MS);
    assert_eq!(bed.srv.msg_stats.down_msg_miss_cnt, 2);
    for conn in [dead, alive] {
        bed.one_pdu(conn, CID_OTHER_HEARTBEAT);
    }
    bed.pass_ms(SUSPICION_MS - TIMER_MS);
    bed.ask(alive, CID_OTHER_HEARTBEAT, &ImHeartBeat::default()).unwrap();
    bed.pass_ms(2 * TIMER_MS);
    bed.pass_ms(TIMER_MS);
    assert_eq!([dead, alive].map(|conn| bed.net.is_open(conn)), [false, true]);
    assert_eq!(bed.srv.given_up.not_acknowledged, 1);
    bed.forget_sent();
    bed.pass_ms(SUSPICION_MS);
    assert!(bed.net.is_open(alive), "it has shown that it lives");
}

#[test]
fn what_a_client_owes_has_a_limit() {
    let mut bed = bed();
    let conn = bed.log_in(2, IOS);
    for msg_id in 1..=SEND_LIST_MAX as u32 + 1 {
        bed.route_says(CID_MSG_DATA, &ImMsgData { msg_id, ..text(1, 2) });
    }
    assert_eq!(bed.srv.msg_conns.get(conn).unwrap().send_msg_list.len(), SEND_LIST_MAX);
    assert_eq!(bed.srv.msg_stats.down_msg_miss_cnt, 1);
}

#[test]
fn a_read_ack_is_stored_and_told_to_the_other_clients() {
    let mut bed = bed();
    let (pc, phone) = (bed.log_in(2, WINDOWS), bed.log_in(2, IOS));
    bed.route_says(CID_MSG_DATA, &ImMsgData { msg_id: 77, ..text(1, 2) });
    bed.forget_sent();
    let session_type = i32::from(SessionType::Single);
    let ack = ImMsgDataReadAck { user_id: 666, session_id: 1, msg_id: 77, session_type };
    bed.ask(pc, CID_MSG_READ_ACK, &ack).unwrap();
    let (db, route) = (bed.db[0], bed.route[0]);
    let got: ImMsgDataReadAck = bed.one(db, CID_MSG_READ_ACK);
    assert_eq!(got, ImMsgDataReadAck { user_id: 2, ..ack });
    for conn in [phone, route] {
        let notify: ImMsgDataReadNotify = bed.one(conn, CID_MSG_READ_NOTIFY);
        assert_eq!((notify.user_id, notify.session_id, notify.msg_id), (2, 1, 77));
    }
    bed.assert_silent(pc);
    assert!(bed.srv.msg_conns.get(pc).unwrap().send_msg_list.is_empty());
    let odd = ImMsgDataReadAck { session_type: 7, ..ack };
    bed.ask(pc, CID_MSG_READ_ACK, &odd).unwrap();
    bed.assert_silent(db);
}

#[test]
fn f6_nobody_sends_a_command_in_the_name_of_another() {
    let mut bed = bed();
    let (sender, other) = (bed.log_in(1, WINDOWS), bed.log_in(1, IOS));
    let (receiver, route) = (bed.log_in(2, MAC), bed.route[0]);
    let msg = ImP2pCmdMsg {
        from_user_id: 666,
        to_user_id: 2,
        cmd_msg_data: b"\xff{typing}".to_vec().into(),
    };
    bed.ask(sender, CID_SWITCH_P2P_CMD, &msg).unwrap();
    for conn in [other, receiver, route] {
        let got: ImP2pCmdMsg = bed.one(conn, CID_SWITCH_P2P_CMD);
        assert_eq!(got, ImP2pCmdMsg { from_user_id: 1, ..msg.clone() });
    }
    bed.assert_silent(sender);
    // To himself: once to each of the others.
    bed.ask(sender, CID_SWITCH_P2P_CMD, &ImP2pCmdMsg { to_user_id: 1, ..msg }).unwrap();
    bed.one_pdu(other, CID_SWITCH_P2P_CMD);
}

#[test]
fn f28_who_asks_too_fast_waits_and_loses_nothing() {
    let mut bed = bed();
    let (conn, db) = (bed.log_in(1, WINDOWS), bed.db[0]);
    let pdu = request(CID_MSG_DATA, &text(1, 2));
    let mut bytes = Vec::new();
    (0..60).for_each(|_| bytes.extend_from_slice(pdu.as_pdu().as_bytes()));
    let mut used = 0;
    let mut batches = Vec::new();
    while used < bytes.len() {
        used += bed.receive_bytes::<MsgConn>(conn, &bytes[used..]).unwrap();
        batches.push(bed.sent(db).len());
        let tick = bed.net.tick() + 50;
        bed.net.set_tick(tick);
        bed.net.end_delays();
    }
    assert_eq!(batches.iter().sum::<usize>(), 60);
    // Two seconds' worth at once, then one every 50 ms. The login has cost a little.
    assert_eq!((batches[0], batches[1], batches.len()), (40, 1, 21));
}

#[test]
fn f84_a_database_that_stops_is_asked_nothing_more_and_left_after_a_while() {
    let mut bed = bed_with("ConcurrentDBConnCnt=2\n");
    let (stopping, other) = (bed.db[0], bed.db[1]);
    let conn = bed.client();
    bed.ask(conn, CID_LOGIN_REQ_USERLOGIN, &login_req(1, WINDOWS)).unwrap();
    let req: ImValidateReq = bed.one(stopping, CID_OTHER_VALIDATE_REQ);
    bed.db_says(CID_OTHER_STOP_RECV_PACKET, &ImStopReceivePacket { result: 0 });
    // What was asked is still answered.
    bed.db_says(CID_OTHER_VALIDATE_RSP, &validated(1, &req));
    bed.forget_sent();
    for _ in 0..4 {
        bed.ask(conn, CID_BUDDY_LIST_ALL_USER_REQUEST, &ImAllUserReq::default()).unwrap();
    }
    bed.assert_silent(stopping);
    assert_eq!(bed.sent(other).len(), 4);
    bed.pass_ms(keepalive::SERVER_HEARTBEAT_INTERVAL_MS + TIMER_MS);
    bed.one_pdu(stopping, CID_OTHER_HEARTBEAT);
    bed.pass_ms(STOP_RECV_MS);
    assert!(!bed.net.is_open(stopping));
}

#[test]
fn signals_reset_the_counters_and_switch_the_log() {
    let mut bed = bed();
    let conn = bed.log_in(1, WINDOWS);
    bed.ask(conn, CID_MSG_DATA, &text(1, 2)).unwrap();
    assert_eq!(bed.srv.msg_stats.up_msg_total_cnt, 1);
    signal_handler_usr1(&mut bed.cx());
    assert_eq!(bed.srv.msg_stats, MsgStats::default());
    signal_handler_usr2(&mut bed.cx());
    assert!(bed.srv.log_msg_toggle);
    signal_handler_usr2(&mut bed.cx());
    assert!(!bed.srv.log_msg_toggle);
}

#[test]
fn f47_a_stop_says_farewell_for_every_client() {
    let mut bed = bed();
    let conns = [bed.log_in(1, WINDOWS), bed.log_in(1, IOS), bed.log_in(2, MAC)];
    close_all(&mut bed.cx());
    assert_eq!(conns.map(|conn| bed.net.is_open(conn)), [false; 3]);
    let (login, route) = (bed.login[0], bed.route[0]);
    assert_eq!(ids(&bed.sent(login)), [CID_OTHER_USER_CNT_UPDATE; 3]);
    assert_eq!(ids(&bed.sent(route)), [CID_OTHER_USER_STATUS_UPDATE; 3]);
}
