//! What comes from other msg_servers, without sockets.

use prost::Message;

use super::kick::SIMULTANEOUS_MS;
use super::*;
use crate::msg_server::fan_out::PRESENCE_PACE_MS;
use crate::msg_server::tests::*;
use crate::netlib::serv_conns::MASTER_SETTLE_MS;
use crate::pb::base_define::{KickReasonType, MsgType, UserStat};
use crate::pb::buddy::{ImSignInfoChangedNotify, ImUsersStatReq};
use crate::pb::group::ImGroupChangeMemberNotify;
use crate::pb::login::ImKickUser;
use crate::pb::server::{ImServerKickUser, ImUserStatusUpdate};

const TWO_ROUTES: &str = "RouteServerIP1=127.0.0.1\nRouteServerPort1=8200\n\
    RouteServerIP2=127.0.0.1\nRouteServerPort2=8201\n";
const NOW_MS: u64 = NOW as u64 * 1000;

/// The kick of another msg_server after a login of user 5 at that time.
fn kick(server_id: u32, login_time: u64) -> KickUser {
    let mut bed = bed();
    bed.srv.server_id = server_id;
    KickUser::of_login(&bed.srv, 5, MAC.into(), login_time)
}

#[test]
fn f65_of_two_simultaneous_logins_the_later_one_stays() {
    for (server_id, theirs, login_time, stays) in [
        (7, 8, NOW_MS - 1, true),
        (7, 8, NOW_MS, false),
        (8, 7, NOW_MS, true),
        (8, 7, NOW_MS + 1, false),
    ] {
        let mut bed = bed();
        bed.srv.server_id = server_id;
        let (pc, phone, route) = (bed.log_in(5, WINDOWS), bed.log_in(5, IOS), bed.route[0]);
        bed.route_says(CID_OTHER_SERVER_KICK_USER, &kick(theirs, login_time));
        bed.assert_silent(phone);
        if stays {
            bed.assert_silent(pc);
            // Whoever is not kicked kicks back: the other one may not have heard of this login.
            let back: KickUser = bed.one(route, CID_OTHER_SERVER_KICK_USER);
            assert_eq!(back, KickUser::of_login(&bed.srv, 5, MAC.into(), NOW_MS));
        } else {
            let kick: ImKickUser = bed.one(pc, CID_LOGIN_KICK_USER);
            assert_eq!(kick.kick_reason(), KickReasonType::KickReasonDuplicateUser);
            bed.assert_silent(route);
        }
        assert_eq!(msg_conn::user_of(&bed.cx(), pc).is_some(), stays);
    }
}

#[test]
fn f65_an_old_login_has_to_go_whatever_the_clocks_say() {
    let mut bed = bed();
    let pc = bed.log_in(5, WINDOWS);
    bed.net.set_tick(SIMULTANEOUS_MS + 1);
    bed.route_says(CID_OTHER_SERVER_KICK_USER, &kick(8, NOW_MS - 1));
    bed.one_pdu(pc, CID_LOGIN_KICK_USER);
}

#[test]
fn f65_who_waits_for_its_login_is_spared() {
    let mut bed = bed();
    let (pc, req) = bed.ask_login(5, WINDOWS);
    bed.route_says(CID_OTHER_SERVER_KICK_USER, &kick(8, NOW_MS + 1));
    bed.db_says(CID_OTHER_VALIDATE_RSP, &validated(5, &req));
    bed.one_pdu(pc, CID_LOGIN_RES_USERLOGIN);
    assert!(msg_conn::user_of(&bed.cx(), pc).is_some());
}

#[test]
fn a_kick_of_the_original_kicks_and_can_be_read_by_it() {
    let mut bed = bed();
    let pc = bed.log_in(5, WINDOWS);
    let msg = ImServerKickUser { user_id: 5, client_type: MAC.into(), reason: 7 };
    bed.route_says(CID_OTHER_SERVER_KICK_USER, &msg);
    bed.assert_silent(pc);
    bed.route_says(CID_OTHER_SERVER_KICK_USER, &ImServerKickUser { reason: 2, ..msg });
    let notice: ImKickUser = bed.one(pc, CID_LOGIN_KICK_USER);
    assert_eq!(notice.kick_reason(), KickReasonType::KickReasonMobileKick);
    let ours = ImServerKickUser::decode(&kick(8, NOW_MS).encode_to_vec()[..]).unwrap();
    assert_eq!((ours.user_id, ours.client_type, ours.reason), (5, MAC.into(), 1));
}

#[test]
fn a_route_server_is_told_who_is_here_and_the_master_that_it_is_one() {
    let mut bed = bed_with(TWO_ROUTES);
    bed.log_in(5, WINDOWS);
    bed.log_in(5, IOS);
    let (first, second) = (bed.route[0], bed.route[1]);
    bed.net.set_tick(recent::RECENT_MS + 1);
    bed.lose(first);
    let role: ImRoleSet = bed.one(second, CID_OTHER_ROLE_SET);
    assert_eq!(role.master, 1);
    bed.pass_ms(5_000);
    let again = bed.srv.route_servers.conns.handles();
    let again = again.into_iter().find(|conn| *conn != second).unwrap();
    bed.confirm::<RouteServConn>(again);
    let info: ImOnlineUserInfo = bed.one(again, CID_OTHER_ONLINE_USER_INFO);
    let mut types: Vec<i32> = info.user_stat_list.iter().map(|stat| stat.client_type).collect();
    types.sort_unstable();
    assert_eq!(types, [i32::from(WINDOWS), i32::from(IOS)]);
}

/// Time passes, and no route_server is given up.
fn pass(bed: &mut Bed, conns: &[NetHandle], ms: u64) {
    for _ in 0..ms / 1_000 {
        for conn in conns {
            let heartbeat = request(CID_OTHER_HEARTBEAT, &());
            bed.receive::<RouteServConn>(*conn, &heartbeat).unwrap();
        }
        bed.pass_ms(1_000);
    }
}

#[test]
fn f61_the_first_configured_route_server_is_the_master_once_all_have_found_it() {
    let mut bed = bed_alone(TWO_ROUTES);
    let (first, second) = (bed.route[0], bed.route[1]);
    bed.confirm::<RouteServConn>(second);
    assert_eq!(bed.srv.route_servers.master, Some(second));
    bed.confirm::<RouteServConn>(first);
    let conns = [first, second];
    pass(&mut bed, &conns, MASTER_SETTLE_MS - 1_000);
    assert_eq!(bed.srv.route_servers.master, Some(second));
    bed.forget_sent();
    pass(&mut bed, &conns, 1_000);
    assert_eq!(bed.srv.route_servers.master, Some(first));
    for (conn, master) in [(first, 1), (second, 0)] {
        let sent = bed.sent(conn);
        let role = sent.iter().find(|pdu| pdu.as_pdu().command_id() == CID_OTHER_ROLE_SET);
        let role: ImRoleSet = role.unwrap().as_pdu().decode().unwrap();
        assert_eq!(role.master, master);
    }
    bed.lose(first);
    assert_eq!(bed.srv.route_servers.master, Some(second));
    bed.lose(second);
    assert_eq!(bed.srv.route_servers.master, None);
    assert!(!send_to_route(&mut bed.cx(), &request(CID_OTHER_HEARTBEAT, &())));
}

fn text(msg_id: u32) -> ImMsgData {
    ImMsgData {
        from_user_id: 1,
        to_session_id: 2,
        msg_id,
        create_time: NOW,
        msg_type: MsgType::SingleText.into(),
        msg_data: b"cipher".to_vec().into(),
        attach_data: None,
    }
}

#[test]
fn messages_lost_with_a_route_server_are_repeated_and_delivered_once() {
    let mut bed = bed_with(TWO_ROUTES);
    let (sender, receiver) = (bed.log_in(1, WINDOWS), bed.log_in(2, MAC));
    let (first, second) = (bed.route[0], bed.route[1]);
    let attach_data = Some(relay::handle_attach(sender).into());
    bed.db_says(CID_MSG_DATA, &ImMsgData { attach_data, ..text(7) });
    let sent = bed.one_pdu(first, CID_MSG_DATA);
    bed.assert_silent(second);
    bed.lose(first);
    let repeated = bed.sent(second);
    assert_eq!(
        ids(&repeated),
        [CID_OTHER_ROLE_SET, CID_OTHER_SERVER_KICK_USER, CID_OTHER_SERVER_KICK_USER, CID_MSG_DATA]
    );
    assert_eq!(repeated[3].as_pdu().as_bytes(), sent.as_pdu().as_bytes());
    // The receiving side.
    bed.forget_sent();
    for (msg_id, times) in [(8, 1), (8, 0), (9, 1)] {
        bed.receive::<RouteServConn>(second, &request(CID_MSG_DATA, &text(msg_id))).unwrap();
        assert_eq!(bed.sent(receiver).len(), times);
    }
}

#[test]
fn f73_a_message_of_an_original_msg_server_loses_what_is_internal() {
    let mut bed = bed();
    let (other, receiver) = (bed.log_in(1, WINDOWS), bed.log_in(2, MAC));
    let attach_data = Some(relay::handle_attach(receiver).into());
    bed.route_says(CID_MSG_DATA, &ImMsgData { attach_data, ..text(7) });
    for conn in [other, receiver] {
        let pdu = bed.one_pdu(conn, CID_MSG_DATA);
        assert_eq!(pdu.as_pdu().seq_num(), 0);
        assert_eq!(pdu.as_pdu().decode::<ImMsgData>().unwrap(), text(7));
    }
    let (db, route) = (bed.db[0], bed.route[0]);
    bed.assert_silent(db);
    bed.assert_silent(route);
    bed.route_says(CID_MSG_DATA, &ImMsgData { msg_type: 3, ..text(7) });
    bed.assert_silent(receiver);
}

#[test]
fn presence_is_told_to_pcs_and_a_users_own_pc_to_his_phones() {
    let mut bed = bed_with(TWO_ROUTES);
    let (pc, phone) = (bed.log_in(5, WINDOWS), bed.log_in(5, IOS));
    let other = bed.log_in(6, MAC);
    let user_stat = UserStat { user_id: 5, status: UserStatType::UserStatusOnline.into() };
    let notify = ImUserStatNotify { user_stat };
    bed.route_says(CID_BUDDY_LIST_STATUS_NOTIFY, &notify);
    for conn in [pc, other] {
        assert_eq!(bed.one::<ImUserStatNotify>(conn, CID_BUDDY_LIST_STATUS_NOTIFY), notify);
    }
    for (login_status, login_stat) in
        [(1, UserStatType::UserStatusOnline), (0, UserStatType::UserStatusOffline)]
    {
        let msg = ImServerPcLoginStatusNotify { user_id: 5, login_status };
        bed.route_says(CID_OTHER_LOGIN_STATUS_NOTIFY, &msg);
        let told: ImPcLoginStatusNotify = bed.one(phone, CID_BUDDY_LIST_PC_LOGIN_STATUS_NOTIFY);
        assert_eq!((told.user_id, told.login_stat()), (5, login_stat));
        bed.assert_silent(pc);
    }
    // The other route_server tells the same.
    let second = bed.route[1];
    let pdu = request(CID_BUDDY_LIST_STATUS_NOTIFY, &notify);
    bed.receive::<RouteServConn>(second, &pdu).unwrap();
    let msg = ImServerPcLoginStatusNotify { user_id: 5, login_status: 1 };
    let pdu = request(CID_OTHER_LOGIN_STATUS_NOTIFY, &msg);
    bed.receive::<RouteServConn>(second, &pdu).unwrap();
    for conn in [pc, phone, other] {
        bed.assert_silent(conn);
    }
}

#[test]
fn f67_nobody_has_a_pc_until_one_is_known() {
    let mut bed = bed();
    bed.log_in(5, IOS);
    let has_pc = |bed: &Bed| bed.srv.im_users.im_user_by_id(5).unwrap().pc_login_status();
    assert!(!has_pc(&bed));
    for login_status in [1, 0] {
        let msg = ImServerPcLoginStatusNotify { user_id: 5, login_status };
        bed.route_says(CID_OTHER_LOGIN_STATUS_NOTIFY, &msg);
        assert_eq!(has_pc(&bed), login_status == 1);
    }
    let pc = bed.log_in(5, MAC);
    assert!(has_pc(&bed));
    bed.lose(pc);
    assert!(!has_pc(&bed));
}

#[test]
fn f75_a_changed_signature_is_told_to_everybody_and_is_no_changed_group() {
    let mut bed = bed();
    let conns = [bed.log_in(5, WINDOWS), bed.log_in(5, IOS), bed.log_in(6, MAC)];
    // As a changed group it would name users 5 and 6.
    let as_group = ImGroupChangeMemberNotify {
        user_id: 5,
        change_type: 1,
        group_id: 1,
        cur_user_id_list: vec![5, 6],
        chg_user_id_list: vec![5],
    };
    bed.route_says(CID_BUDDY_LIST_SIGN_INFO_CHANGED_NOTIFY, &as_group);
    for conn in conns {
        bed.one_pdu(conn, CID_BUDDY_LIST_SIGN_INFO_CHANGED_NOTIFY);
    }
    let msg = ImSignInfoChangedNotify { changed_user_id: 5, sign_info: "new".to_owned() };
    bed.route_says(CID_BUDDY_LIST_SIGN_INFO_CHANGED_NOTIFY, &msg);
    bed.pass_ms(PRESENCE_PACE_MS);
    let got: ImSignInfoChangedNotify = bed.one(conns[0], CID_BUDDY_LIST_SIGN_INFO_CHANGED_NOTIFY);
    assert_eq!(got, msg);
}

#[test]
fn what_happens_on_one_device_is_told_to_those_on_other_msg_servers() {
    let mut bed = bed();
    let (pc, phone, other) = (bed.log_in(5, WINDOWS), bed.log_in(5, IOS), bed.log_in(6, MAC));
    let read = ImMsgDataReadNotify { user_id: 5, session_id: 6, ..Default::default() };
    bed.route_says(CID_MSG_READ_NOTIFY, &read);
    let removed = ImRemoveSessionNotify { user_id: 5, session_id: 6, ..Default::default() };
    bed.route_says(CID_BUDDY_LIST_REMOVE_SESSION_NOTIFY, &removed);
    for conn in [pc, phone] {
        let sent = bed.sent(conn);
        assert_eq!(ids(&sent), [CID_MSG_READ_NOTIFY, CID_BUDDY_LIST_REMOVE_SESSION_NOTIFY]);
        assert!(sent.iter().all(|pdu| pdu.as_pdu().seq_num() == 0));
    }
    bed.assert_silent(other);
    let cmd = ImP2pCmdMsg { from_user_id: 5, to_user_id: 6, ..Default::default() };
    bed.route_says(CID_SWITCH_P2P_CMD, &cmd);
    for conn in [pc, phone, other] {
        bed.one_pdu(conn, CID_SWITCH_P2P_CMD);
    }
}

#[test]
fn a_client_asks_who_is_on_line() {
    let mut bed = bed();
    let (conn, route) = (bed.log_in(5, WINDOWS), bed.route[0]);
    let msg = ImUsersStatReq { user_id: 666, user_id_list: vec![6], attach_data: None };
    bed.ask(conn, CID_BUDDY_LIST_USERS_STATUS_REQUEST, &msg).unwrap();
    let pdu = bed.one_pdu(route, CID_BUDDY_LIST_USERS_STATUS_REQUEST);
    let req: ImUsersStatReq = pdu.as_pdu().decode().unwrap();
    assert_eq!((pdu.as_pdu().seq_num(), req.user_id, req.attach_data().len()), (42, 5, 16));
    let user_stat_list = vec![UserStat { user_id: 6, status: 1 }];
    let rsp = ImUsersStatRsp { user_id: 5, user_stat_list, attach_data: req.attach_data };
    bed.route_says(CID_BUDDY_LIST_USERS_STATUS_RESPONSE, &rsp);
    let got: ImUsersStatRsp = bed.one(conn, CID_BUDDY_LIST_USERS_STATUS_RESPONSE);
    assert_eq!(got, ImUsersStatRsp { attach_data: None, ..rsp.clone() });
    // An answer for another user, one of a kind nobody has asked for, and one that is cut (F27).
    bed.route_says(CID_BUDDY_LIST_USERS_STATUS_RESPONSE, &ImUsersStatRsp { user_id: 6, ..rsp });
    let odd = PduAttachData::new(9, conn.to_u32(), b"").encode();
    let odd = ImUsersStatRsp { user_id: 5, attach_data: Some(odd.into()), ..Default::default() };
    bed.route_says(CID_BUDDY_LIST_USERS_STATUS_RESPONSE, &odd);
    let cut = ImUsersStatRsp { attach_data: None, ..odd };
    let pdu = request(CID_BUDDY_LIST_USERS_STATUS_RESPONSE, &cut);
    let result = bed.receive::<RouteServConn>(route, &pdu);
    assert!(matches!(result, Err(PduError::AttachData(_))));
    bed.assert_silent(conn);
    bed.lose(route);
    bed.ask(conn, CID_BUDDY_LIST_USERS_STATUS_REQUEST, &msg).unwrap();
    bed.assert_silent(conn);
}

#[test]
fn presence_goes_to_all_route_servers_and_messages_to_one() {
    let mut bed = bed_with(TWO_ROUTES);
    let conn = bed.log_in(5, WINDOWS);
    let (first, second) = (bed.route[0], bed.route[1]);
    let cmd = ImP2pCmdMsg { to_user_id: 6, ..ImP2pCmdMsg::default() };
    bed.ask(conn, CID_SWITCH_P2P_CMD, &cmd).unwrap();
    bed.one_pdu(first, CID_SWITCH_P2P_CMD);
    bed.assert_silent(second);
    bed.lose(conn);
    for route in [first, second] {
        let gone: ImUserStatusUpdate = bed.one(route, CID_OTHER_USER_STATUS_UPDATE);
        assert_eq!((gone.user_id, gone.user_status), (5, 2));
    }
}
