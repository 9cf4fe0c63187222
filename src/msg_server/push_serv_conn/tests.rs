//! Pushes, without sockets.

use super::*;
use crate::msg_server::tests::*;
use crate::pb::base_define::UserStat;

fn text(bed: &Bed, msg_type: MsgType, text: &str) -> ImMsgData {
    ImMsgData {
        from_user_id: 1,
        to_session_id: 100,
        msg_type: msg_type.into(),
        msg_data: bed.srv.aes.encrypt(text.as_bytes()).unwrap().into_bytes().into(),
        ..ImMsgData::default()
    }
}

fn token(user_id: u32) -> UserTokenInfo {
    UserTokenInfo {
        user_id,
        user_type: IOS.into(),
        token: format!("token{user_id}"),
        push_count: 3,
        push_type: 0,
    }
}

fn tokens(msg: &ImMsgData, user_ids: &[u32]) -> ImGetDeviceTokenRsp {
    ImGetDeviceTokenRsp {
        user_token_info: user_ids.iter().map(|id| token(*id)).collect(),
        attach_data: Some(msg.encode_to_vec().into()),
    }
}

fn types(push: &ImPushToUserReq) -> Vec<(u32, u32)> {
    push.user_token_list.iter().map(|token| (token.user_id, token.push_type)).collect()
}

const NORMAL: u32 = IM_PUSH_TYPE_NORMAL;
const SILENT: u32 = IM_PUSH_TYPE_SILENT;

#[test]
fn a_phone_is_silent_while_its_user_sits_at_a_pc() {
    let mut bed = bed();
    bed.log_in(1, WINDOWS);
    bed.log_in(2, IOS);
    bed.log_in(3, IOS);
    bed.log_in(3, MAC);
    let msg = text(&bed, MsgType::GroupText, "hello");
    bed.db_says(CID_OTHER_GET_DEVICE_TOKEN_RSP, &tokens(&msg, &[1, 2, 3, 8, 9]));
    let (push, route) = (bed.push[0], bed.route[0]);
    let req: ImPushToUserReq = bed.one(push, CID_OTHER_PUSH_TO_USER_REQ);
    assert_eq!(types(&req), [(2, NORMAL), (3, SILENT)]);
    assert_eq!(&req.flash[..], "nick1:hello".as_bytes());
    let data: serde_json::Value = serde_json::from_str(&req.data).unwrap();
    assert_eq!(data, json!({ "msg_type": 0x11, "from_id": 1, "group_id": 100 }));
    // Two are not here: one question for both.
    let question: ImUsersStatReq = bed.one(route, CID_BUDDY_LIST_USERS_STATUS_REQUEST);
    assert_eq!(question.user_id_list, [8, 9]);
    let stat = |user_id, status: UserStatType| UserStat { user_id, status: status.into() };
    let rsp = ImUsersStatRsp {
        user_id: 0,
        user_stat_list: vec![
            stat(8, UserStatType::UserStatusOffline),
            stat(9, UserStatType::UserStatusOnline),
        ],
        attach_data: question.attach_data,
    };
    bed.route_says(CID_BUDDY_LIST_USERS_STATUS_RESPONSE, &rsp);
    let req: ImPushToUserReq = bed.one(push, CID_OTHER_PUSH_TO_USER_REQ);
    assert_eq!(types(&req), [(8, NORMAL), (9, SILENT)]);
    assert_eq!(req.user_token_list[0].token, "token8");
}

#[test]
fn without_a_route_server_a_push_makes_a_sound() {
    let mut bed = bed();
    let (push, route) = (bed.push[0], bed.route[0]);
    bed.lose(route);
    let msg = text(&bed, MsgType::SingleText, "hello");
    bed.db_says(CID_OTHER_GET_DEVICE_TOKEN_RSP, &tokens(&msg, &[8]));
    let req: ImPushToUserReq = bed.one(push, CID_OTHER_PUSH_TO_USER_REQ);
    assert_eq!(types(&req), [(8, NORMAL)]);
}

#[test]
fn what_cannot_be_read_is_not_pushed() {
    let mut bed = bed();
    bed.log_in(2, IOS);
    let (push, db) = (bed.push[0], bed.db[0]);
    let odd =
        ImMsgData { msg_data: b"odd".to_vec().into(), ..text(&bed, MsgType::SingleText, "x") };
    bed.db_says(CID_OTHER_GET_DEVICE_TOKEN_RSP, &tokens(&odd, &[2]));
    let rsp =
        ImGetDeviceTokenRsp { attach_data: Some(b"\xff".to_vec().into()), ..tokens(&odd, &[2]) };
    let pdu = request(CID_OTHER_GET_DEVICE_TOKEN_RSP, &rsp);
    assert!(bed.receive::<crate::msg_server::db_serv_conn::DbServConn>(db, &pdu).is_err());
    let stats = ImUsersStatRsp::default();
    push_by_status(&mut bed.cx(), &stats, b"\xff");
    bed.assert_silent(push);
}

#[test]
fn the_alert_says_what_has_come() {
    let mut bed = bed();
    bed.log_in(1, WINDOWS);
    let flash = |msg: &ImMsgData| build_ios_push_flash(&bed.srv, msg).unwrap();
    let single = |content: &str| text(&bed, MsgType::SingleText, content);
    assert_eq!(flash(&single("hello")), "nick1:hello");
    let picture = "see &$#@~^@[{:http://192.0.2.1/g0/a.jpg:}]&$~@#@";
    assert_eq!(flash(&single(picture)), SOME_MESSAGE);
    assert_eq!(flash(&single(":}]&$~@#@ &$#@~^@[{:")), "nick1::}]&$~@#@ &$#@~^@[{:");
    let voice = |msg_type: MsgType| ImMsgData { msg_type: msg_type.into(), ..single("x") };
    assert_eq!(flash(&voice(MsgType::SingleAudio)), "nick1给您发送了一条语音消息");
    assert_eq!(flash(&voice(MsgType::GroupAudio)), "nick1在群聊中发送了一条语音消息");
    assert_eq!(flash(&ImMsgData { from_user_id: 9, ..single("hello") }), SOME_MESSAGE);
}

#[test]
fn f78_a_long_alert_is_cut_between_two_characters() {
    let mut bed = bed();
    bed.log_in(1, WINDOWS);
    for blanks in 0..4 {
        let long = [&" ".repeat(blanks)[..], &"消".repeat(300)].concat();
        let flash =
            build_ios_push_flash(&bed.srv, &text(&bed, MsgType::SingleText, &long)).unwrap();
        assert!(flash.len() <= FLASH_LEN_MAX && flash.len() > FLASH_LEN_MAX - 4);
        assert!(flash.ends_with("消..."));
    }
    let fits = "x".repeat(FLASH_LEN_MAX - "nick1:".len());
    let flash = build_ios_push_flash(&bed.srv, &text(&bed, MsgType::SingleText, &fits)).unwrap();
    assert!(flash.len() == FLASH_LEN_MAX && flash.ends_with("xx"));
}

#[test]
fn f76_another_push_server_takes_over() {
    let mut bed = bed_with("PushServerIP2=127.0.0.1\nPushServerPort2=8501\n");
    bed.log_in(2, IOS);
    let (first, second) = (bed.push[0], bed.push[1]);
    let msg = text(&bed, MsgType::SingleText, "hello");
    bed.db_says(CID_OTHER_GET_DEVICE_TOKEN_RSP, &tokens(&msg, &[2]));
    bed.assert_silent(first);
    bed.one_pdu(second, CID_OTHER_PUSH_TO_USER_REQ);
    bed.lose(second);
    bed.db_says(CID_OTHER_GET_DEVICE_TOKEN_RSP, &tokens(&msg, &[2]));
    bed.one_pdu(first, CID_OTHER_PUSH_TO_USER_REQ);
    bed.lose(first);
    bed.db_says(CID_OTHER_GET_DEVICE_TOKEN_RSP, &tokens(&msg, &[2]));
}

#[test]
fn f131_dead_tokens_are_forgotten_and_others_stay() {
    let mut bed = bed();
    let push = bed.push[0];
    let result = |token: &str, result_code| PushResult { user_token: token.into(), result_code };
    let results = [("a", 0), ("b", 2), ("c", 1), ("d", 2), ("e", 7)];
    let msg = ImPushToUserRsp {
        push_result_list: results.map(|(token, code)| result(token, code)).to_vec(),
    };
    let pdu = ImPdu::encode(SID_OTHER, CID_OTHER_PUSH_TO_USER_RSP, 0, &msg);
    bed.receive::<PushServConn>(push, &pdu).unwrap();
    let sent: Vec<_> = bed.db.clone().into_iter().flat_map(|db| bed.sent(db)).collect();
    let forgotten: Vec<ImDeviceTokenReq> =
        sent.iter().map(|pdu| pdu.as_pdu().decode().unwrap()).collect();
    let tokens: Vec<_> =
        forgotten.iter().map(|req| (req.user_id, req.device_token.as_str())).collect();
    assert_eq!(tokens, [(0, "b"), (0, "d")]);
}
