//! A database and a cache that original servers filled: everybody goes on where he was.

use teamtalk::base::md5::md5_hex;
use teamtalk::pb::base_define::{ClientType, MsgType, SessionType};
use teamtalk::pb::buddy::{ImRecentContactSessionReq, ImRecentContactSessionRsp};
use teamtalk::pb::cmd::*;
use teamtalk::pb::message::{ImGetMsgListReq, ImGetMsgListRsp};
use teamtalk::pb::server::*;
use teamtalk::storage::DbConn;
use teamtalk::storage::mysql::MySqlConn;
use teamtalk::storage::redis::RedisConn;
use teamtalk::storage::{CacheCmd, CacheConn};

use super::installation::{Installation, server_pools};
use crate::backends::{MariaDb, Redis};
use crate::storage::schema::create_original;

const ANNA: u32 = 1;
const BERT: u32 = 2;
const GROUP: u32 = 7;

/// Anna and Bert, who have written to each other and in a group, as the original stores it.
pub fn fill(conn: &mut dyn DbConn, cache: &mut dyn CacheConn) {
    let password = md5_hex(format!("{}1234", md5_hex(b"secret")).as_bytes());
    for sql in [
        &format!(
            "insert into IMUser (id, name, password, salt, departId, status, created, updated) \
             values (1,'anna','{password}','1234',1,0,1,1), (2,'bert','','',1,0,1,1)"
        ),
        "insert into IMRelationShip (id, smallId, bigId, status, created, updated) \
         values (1,1,2,0,10,10)",
        "insert into IMMessage_1 (relateId, fromId, toId, msgId, content, type, created, updated) \
         values (1,2,1,1,'one',1,100,100), (1,1,2,2,'two',1,101,101), (1,2,1,3,'three',1,101,101)",
        "insert into IMRecentSession (userId, peerId, type, status, created, updated) \
         values (1,2,1,0,100,101), (2,1,1,0,100,101), (2,7,2,0,110,110)",
        "insert into IMGroup (id, name, creator, type, userCnt, status, version, lastChated) \
         values (7,'group',2,1,4,0,3,110)",
        "insert into IMGroupMember (groupId, userId, status, created, updated) \
         values (7,1,0,50,50), (7,2,0,50,50), (7,3,1,50,50)",
        "insert into IMGroupMessage_7 (groupId, userId, msgId, content, type, created, updated) \
         values (7,2,1,'to all',17,110,110)",
    ] {
        conn.execute_update(sql, &[]).unwrap();
    }
    let set = |key: &str, value: &str| CacheCmd::Set { key: key.into(), value: value.into() };
    let hset = |key: &str, field: &str, value: &str| CacheCmd::HSet {
        key: key.into(),
        field: field.into(),
        value: value.into(),
    };
    let cmds = [
        set("msg_id_1", "3"),
        set("group_msg_id_7", "1"),
        hset("unread_1", "2", "2"),
        hset("7_im_group_msg", "count", "1"),
        hset("2_7_im_user_group", "count", "1"),
        hset("group_member_7", "1", "50"),
        hset("group_member_7", "2", "50"),
        hset("group_set_7", "1_1", "1"),
        set("device_1", "ios:token"),
        set("device_token", "1"),
    ];
    cache.pipeline(&cmds).unwrap();
}

fn original() -> Installation {
    let db = MariaDb::shared().database("moved");
    let redis = Redis::shared().config(60);
    let mut conn = MySqlConn::open_patient(&db).unwrap();
    create_original(&mut conn);
    fill(&mut conn, &mut RedisConn::open(&redis).unwrap());
    Installation { first_id: 0, ..Installation::new(&server_pools(&db, &redis), false) }
}

#[test]
fn everybody_goes_on_where_he_was() {
    goes_on(&original());
}

/// Whatever became of the database: nobody notices.
pub fn goes_on(on: &Installation) {
    let (single, group) = (SessionType::Single, SessionType::Group);

    let msg = ImValidateReq {
        user_name: "anna".to_owned(),
        password: md5_hex(b"secret"),
        attach_data: None,
    };
    let answer: ImValidateRsp = on.ask(CID_OTHER_VALIDATE_REQ, &msg);
    assert_eq!((answer.result_code, answer.user_info.unwrap().user_id), (0, ANNA));

    assert_eq!(on.unread(ANNA), [(single, BERT, 2), (group, GROUP, 1)]);
    assert_eq!(on.unread(BERT), []);
    let msg = ImRecentContactSessionReq { user_id: ANNA, latest_update_time: 0, attach_data: None };
    let answer: ImRecentContactSessionRsp =
        on.ask(CID_BUDDY_LIST_RECENT_CONTACT_SESSION_REQUEST, &msg);
    let sessions: Vec<_> = answer
        .contact_session_list
        .iter()
        .map(|info| (info.session_id, info.latest_msg_id, info.updated_time))
        .collect();
    assert_eq!(sessions, [(GROUP, 1, 110), (BERT, 3, 101)]);

    let msg = ImGetDeviceTokenReq { user_id: vec![ANNA, BERT], attach_data: None };
    let answer: ImGetDeviceTokenRsp = on.ask(CID_OTHER_GET_DEVICE_TOKEN_REQ, &msg);
    let [token] = &answer.user_token_info[..] else { panic!("{answer:?}") };
    assert_eq!((token.token.as_str(), token.user_type()), ("token", ClientType::Ios));
    assert_eq!(token.push_count, 3);
    let msg = ImGroupGetShieldReq { group_id: GROUP, user_id: vec![ANNA, BERT], attach_data: None };
    let answer: ImGroupGetShieldRsp = on.ask(CID_OTHER_GET_SHIELD_REQ, &msg);
    let mut shields: Vec<_> =
        answer.shield_status_list.iter().map(|s| (s.user_id, s.shield_status)).collect();
    shields.sort_unstable();
    assert_eq!(shields, [(ANNA, 1), (BERT, 0)]);

    assert_eq!(on.send_to_user(BERT, ANNA), 4, "the next number");
    assert_eq!(on.send(BERT, GROUP, MsgType::GroupText, "more"), 2);
    assert_eq!(on.send(3, GROUP, MsgType::GroupText, "he left"), 0);
    assert_eq!(on.unread(ANNA), [(single, BERT, 3), (group, GROUP, 2)]);
    on.read(ANNA, BERT, single);
    on.read(ANNA, GROUP, group);
    assert_eq!(on.unread(ANNA), []);
    let msg = ImGetMsgListReq {
        user_id: ANNA,
        session_type: single.into(),
        session_id: BERT,
        msg_id_begin: 0,
        msg_cnt: 10,
        attach_data: None,
    };
    let answer: ImGetMsgListRsp = on.ask(CID_MSG_LIST_REQUEST, &msg);
    let ids: Vec<u32> = answer.msg_list.iter().map(|info| info.msg_id).collect();
    assert_eq!(ids, [4, 3, 2, 1]);
}
