//! A http_msg_server without sockets: what is asked, and what comes back.

mod route;
mod sample;

use std::path::Path;

use serde_json::{Value, json};

use super::db_serv_conn::{DbServConn, STOP_RECV_MS};
use super::http_conn::{HTTP_CONN_TIMEOUT_MS, QUERY_TIMEOUT_MS};
use super::route_serv_conn::RouteServConn;
use super::*;
use crate::base::im_pdu::{ImPdu, PduHeader};
use crate::netlib::testing::TestBed;
use crate::netlib::{CloseReason, ConnHandler, NetHandle};
use crate::pb::cmd::*;
use crate::pb::group::*;

const TWO_SERVERS: &str = "ListenIP=127.0.0.1\nListenPort=8400\nConcurrentDBConnCnt=1\n\
    DBServerIP1=127.0.0.1\nDBServerPort1=10600\nDBServerIP2=127.0.0.1\nDBServerPort2=10601\n\
    RouteServerIP1=127.0.0.1\nRouteServerPort1=8200\n\
    RouteServerIP2=127.0.0.1\nRouteServerPort2=8201\n";

fn config(text: &str) -> ConfigFileReader {
    ConfigFileReader::parse(Path::new("httpmsgserver.conf"), text.as_bytes())
}

struct Bed {
    bed: TestBed<HttpMsgServer>,
    db: Vec<NetHandle>,
    route: Vec<NetHandle>,
}

impl std::ops::Deref for Bed {
    type Target = TestBed<HttpMsgServer>;

    fn deref(&self) -> &Self::Target {
        &self.bed
    }
}

impl std::ops::DerefMut for Bed {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.bed
    }
}

/// Two db_proxy_servers and two route_servers, not connected yet.
fn bed_alone(more: &str) -> Bed {
    let config = HttpMsgServerConfig::read(&mut config(&[more, TWO_SERVERS].concat())).unwrap();
    let mut bed = TestBed::new(HttpMsgServer::new(&config, || 1_700_000_000));
    bed.srv.init(&mut bed.net);
    let sorted = |mut conns: Vec<NetHandle>| {
        conns.sort_by_key(|conn| conn.index());
        conns
    };
    let db = sorted(bed.srv.db_servers.conns.handles());
    let route = sorted(bed.srv.route_servers.conns.handles());
    Bed { bed, db, route }
}

fn bed_with(more: &str) -> Bed {
    let mut bed = bed_alone(more);
    for conn in bed.db.clone() {
        DbServConn::on_confirm(&mut bed.cx(), conn);
    }
    for conn in bed.route.clone() {
        RouteServConn::on_confirm(&mut bed.cx(), conn);
        bed.sent(conn);
    }
    bed
}

fn bed() -> Bed {
    bed_with("")
}

fn post(interface: &str, body: &Value) -> String {
    raw_post(interface, &body.to_string())
}

fn raw_post(interface: &str, body: &str) -> String {
    format!("POST /query/{interface} HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn create_group() -> Value {
    json!({"req_user_id": 7, "app_key": "k", "group_name": "团队", "group_type": 2,
        "group_avatar": "a.png", "user_id_list": [1, 2, 3]})
}

fn change_members() -> Value {
    json!({"req_user_id": 7, "app_key": "k", "group_id": 5, "modify_type": 1,
        "user_id_list": [4, 4_294_967_295_u32]})
}

impl Bed {
    /// A program on this machine connects.
    fn program(&mut self) -> NetHandle {
        let conn = self.accept::<HttpConn>();
        self.set_peer(conn, "127.0.0.1");
        conn
    }

    fn ask(&mut self, conn: NetHandle, request: &str) {
        assert_eq!(self.try_ask(conn, request.as_bytes()).unwrap(), request.len());
    }

    fn try_ask(&mut self, conn: NetHandle, request: &[u8]) -> Result<usize, CloseReason> {
        self.receive_bytes::<HttpConn>(conn, request)
    }

    /// Status and body of the only answer that was queued.
    fn told(&mut self, conn: NetHandle) -> (String, Value) {
        let text = String::from_utf8(self.sent_bytes(conn)).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("\r\nContent-Length:{}\r\n", body.len())), "{text}");
        let status = head.lines().next().unwrap().strip_prefix("HTTP/1.1 ").unwrap();
        (status.to_owned(), serde_json::from_str(body).unwrap())
    }

    /// The code of an answer to somebody who could ask.
    fn code(&mut self, conn: NetHandle) -> Value {
        let (status, body) = self.told(conn);
        assert_eq!(status, "200 OK");
        body["error_code"].clone()
    }

    fn code_of(&mut self, request: &str) -> Value {
        let conn = self.program();
        self.ask(conn, request);
        self.code(conn)
    }

    /// What the db_proxy_server that was chosen is asked.
    fn asked(&mut self) -> (NetHandle, ImPdu) {
        let mut asked = Vec::new();
        for db in self.db.clone() {
            asked.extend(self.sent(db).into_iter().map(|pdu| (db, pdu)));
        }
        assert_eq!(asked.len(), 1);
        asked.remove(0)
    }

    fn db_says(&mut self, db: NetHandle, to: &ImPdu, command_id: u16, msg: &impl prost::Message) {
        let header = PduHeader::new(SID_GROUP, command_id, to.as_pdu().seq_num());
        self.receive::<DbServConn>(db, &ImPdu::encode_with(header, msg)).unwrap();
    }

    /// db_proxy_server makes a group, or refuses to.
    fn create_answer(&mut self, (db, asked): &(NetHandle, ImPdu), group_id: Option<u32>) {
        let req: ImGroupCreateReq = asked.as_pdu().decode().unwrap();
        let rsp = ImGroupCreateRsp {
            user_id: req.user_id,
            result_code: u32::from(group_id.is_none()),
            group_id,
            group_name: req.group_name,
            user_id_list: req.member_id_list,
            attach_data: req.attach_data,
        };
        self.db_says(*db, asked, CID_GROUP_CREATE_RESPONSE, &rsp);
    }

    fn change_answer(&mut self, (db, asked): &(NetHandle, ImPdu), result_code: u32) {
        let req: ImGroupChangeMemberReq = asked.as_pdu().decode().unwrap();
        let rsp = ImGroupChangeMemberRsp {
            user_id: req.user_id,
            change_type: req.change_type,
            result_code,
            group_id: req.group_id,
            cur_user_id_list: vec![1, 4],
            chg_user_id_list: vec![4],
            attach_data: req.attach_data,
        };
        self.db_says(*db, asked, CID_GROUP_CHANGE_MEMBER_RESPONSE, &rsp);
    }

    /// Time passes in which the db_proxy_servers are alive.
    fn pass_with_heartbeats(&mut self, ms: u64) {
        for db in self.db.clone() {
            let heartbeat = ImPdu::encode(SID_OTHER, CID_OTHER_HEARTBEAT, 0, &());
            self.receive::<DbServConn>(db, &heartbeat).unwrap();
        }
        self.pass_ms(ms);
    }

    fn in_flight(&self) -> u32 {
        let conns = &self.srv.db_servers.conns;
        conns.handles().iter().map(|db| conns.get(*db).unwrap().state.in_flight).sum()
    }
}

#[test]
fn a_group_is_made_and_the_answer_is_that_of_the_original() {
    let mut bed = bed();
    let conn = bed.program();
    let request = post("CreateGroup", &create_group());
    bed.ask(conn, &request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
    assert!(bed.sent_bytes(conn).is_empty());
    let asked = bed.asked();
    assert_eq!(asked.1.as_pdu().command_id(), CID_GROUP_CREATE_REQUEST);
    let req: ImGroupCreateReq = asked.1.as_pdu().decode().unwrap();
    assert_eq!((req.user_id, req.group_type, req.group_name.as_str()), (0, 2, "团队"));
    assert_eq!(
        (req.group_avatar.as_str(), req.member_id_list.as_slice()),
        ("a.png", &[1, 2, 3][..])
    );
    let attach = req.attach_data.as_deref().unwrap();
    assert_eq!((attach.len(), &attach[..4]), (12, &[0, 0, 0, 3][..]));
    bed.create_answer(&asked, Some(9));
    let body = "{\n   \"error_code\" : 0,\n   \"error_msg\" : \"成功\",\n   \"group_id\" : 9\n}\n";
    let expected = format!(
        "HTTP/1.1 200 OK\r\nCache-Control:no-cache\r\nConnection:close\r\nContent-Length:{}\r\n\
         Content-Type:text/html;charset=utf-8\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(String::from_utf8(bed.sent_bytes(conn)).unwrap(), expected);
    assert!(!bed.net.is_open(conn) && bed.srv.http_conns.is_empty());
    assert_eq!(bed.in_flight(), 0);
}

#[test]
fn a_group_that_is_not_made_has_its_code() {
    let mut bed = bed();
    let conn = bed.program();
    bed.ask(conn, &post("CreateGroup", &create_group()));
    let asked = bed.asked();
    bed.create_answer(&asked, None);
    let (_, body) = bed.told(conn);
    assert_eq!(body, json!({"error_code": 11, "error_msg": "创建群失败", "group_id": 0}));
}

#[test]
fn f144_a_group_may_belong_to_who_asks() {
    let mut bed = bed_with("CreatorIsRequester=1\n");
    let conn = bed.program();
    bed.ask(conn, &post("CreateGroup", &create_group()));
    let req: ImGroupCreateReq = bed.asked().1.as_pdu().decode().unwrap();
    assert_eq!(req.user_id, 7);
}

#[test]
fn f8_who_may_not_ask_is_told_and_asks_nothing() {
    let mut bed = bed_with(
        "AppKey1=k\nAppInterface1=CreateGroup\nAppUserId1=7\n\
         AppKey2=far\nAppAllowIP2=192.0.2.1\n",
    );
    let mut create = create_group();
    assert_eq!(bed.code_of(&post("ChangeMembers", &change_members())), 5);
    create["req_user_id"] = 8.into();
    assert_eq!(bed.code_of(&post("CreateGroup", &create)), 3);
    create["app_key"] = "far".into();
    assert_eq!(bed.code_of(&post("CreateGroup", &create)), 6);
    create["app_key"] = "K".into();
    assert_eq!(bed.code_of(&post("CreateGroup", &create)), 2);
    let conn = bed.program();
    bed.ask(conn, &post("CreateGroup", &create_group()));
    bed.asked();
}

#[test]
fn f8_without_applications_strangers_are_refused() {
    let mut bed = bed();
    let conn = bed.accept::<HttpConn>();
    bed.set_peer(conn, "192.0.2.1");
    bed.ask(conn, &post("CreateGroup", &create_group()));
    assert_eq!(bed.told(conn).1, json!({"error_code": 6, "error_msg": "未授权的IP"}));
}

#[test]
fn missing_and_wrong_keys_have_code_1() {
    let mut bed = bed();
    for (interface, good) in [("CreateGroup", create_group()), ("ChangeMembers", change_members())]
    {
        let keys: Vec<String> = good.as_object().unwrap().keys().cloned().collect();
        for key in keys.iter().filter(|key| *key != "app_key") {
            let mut values = vec![Value::Null, json!({})];
            if key != "req_user_id" {
                values.push(if good[key].is_string() { 1.into() } else { "1".into() });
            }
            if good[key].is_u64() && key != "req_user_id" {
                values.extend([json!(-1), json!(1.5), json!(4_294_967_296_u64)]);
            }
            if key.ends_with("_type") {
                values.extend([0.into(), 3.into()]);
            }
            if key == "user_id_list" {
                values.extend([json!([1, "2"]), json!([-1]), json!([[1]]), json!([null])]);
            }
            let mut without = good.clone();
            without.as_object_mut().unwrap().remove(key);
            let mut bad: Vec<_> = values
                .into_iter()
                .map(|value| {
                    let mut query = good.clone();
                    query[key] = value;
                    query
                })
                .collect();
            bad.push(without);
            for query in bad {
                // A user that is no number at all is one of the common keys.
                let code = if query["req_user_id"].is_object() { 5 } else { 1 };
                assert_eq!(bed.code_of(&post(interface, &query)), code, "{query}");
            }
        }
    }
    assert_eq!(bed.in_flight(), 0);
}

#[test]
fn common_keys_that_cannot_be_read_have_code_5() {
    let mut bed = bed();
    for body in [
        json!([]),
        json!(1),
        json!("a"),
        json!({"app_key": 1}),
        json!({"app_key": []}),
        json!({"req_user_id": "7"}),
        json!({"req_user_id": -7}),
        json!({"req_user_id": 1.5}),
    ] {
        assert_eq!(bed.code_of(&post("CreateGroup", &body)), 5, "{body}");
    }
}

#[test]
fn f128_what_is_no_query_is_answered() {
    let mut bed = bed();
    let good = create_group().to_string();
    for (request, status, code) in [
        (raw_post("CreateGroup", ""), "400 Bad Request", 1),
        (raw_post("CreateGroup", "{"), "400 Bad Request", 1),
        (raw_post("CreateGroup", &format!("{good}x")), "400 Bad Request", 1),
        (raw_post("CreateGroup", &"[".repeat(100_000)), "400 Bad Request", 1),
        (raw_post("CreateGroup", "{\"a\":\"\u{1}\"}"), "400 Bad Request", 1),
        (raw_post("CreateGroups", &good), "404 Not Found", 5),
        (raw_post("creategroup", &good), "404 Not Found", 5),
        (raw_post("", &good), "404 Not Found", 5),
        ("POST / HTTP/1.1\r\n\r\n".to_owned(), "404 Not Found", 5),
        ("POST /query HTTP/1.1\r\n\r\n".to_owned(), "404 Not Found", 5),
        ("GET /query/CreateGroup HTTP/1.1\r\n\r\n".to_owned(), "405 Method Not Allowed", 5),
    ] {
        let conn = bed.program();
        bed.ask(conn, &request);
        let (told, body) = bed.told(conn);
        assert_eq!((told.as_str(), &body["error_code"]), (status, &code.into()), "{request}");
    }
    let conn = bed.program();
    let mut not_utf8 = raw_post("CreateGroup", &good.replace("a.png", "XYZ")).into_bytes();
    let at = not_utf8.windows(3).position(|bytes| bytes == b"XYZ").unwrap();
    not_utf8[at] = 0xff;
    bed.try_ask(conn, &not_utf8).unwrap();
    assert_eq!(bed.told(conn).0, "400 Bad Request");
    assert_eq!(bed.in_flight(), 0);
}

#[test]
fn without_db_proxy_server_the_answer_is_code_10() {
    let mut bed = bed_alone("");
    let conn = bed.program();
    bed.ask(conn, &post("CreateGroup", &create_group()));
    assert_eq!(bed.told(conn).1, json!({"error_code": 10, "error_msg": "服务器异常"}));
    assert!(bed.net.is_open(conn));
}

#[test]
fn f129_who_gets_no_answer_is_told_in_time_and_a_late_one_is_nobodys() {
    let mut bed = bed();
    let conn = bed.program();
    bed.ask(conn, &post("CreateGroup", &create_group()));
    let late = bed.asked();
    bed.pass_ms(QUERY_TIMEOUT_MS - 1);
    assert!(bed.sent_bytes(conn).is_empty());
    bed.pass_ms(1_000);
    assert_eq!(bed.code(conn), 10);
    assert_eq!(bed.in_flight(), 0);
    let dbs = bed.db.clone();
    dbs.iter().for_each(|db| drop(bed.sent(*db)));
    // The next query on the same connection does not get the answer to the last one.
    bed.ask(conn, &post("CreateGroup", &create_group()));
    let asked = bed.asked();
    bed.create_answer(&late, Some(1));
    assert!(bed.sent_bytes(conn).is_empty());
    bed.create_answer(&asked, Some(2));
    assert_eq!(bed.told(conn).1["group_id"], 2);
    bed.create_answer(&asked, Some(3));
    assert!(bed.sent_bytes(conn).is_empty());
}

#[test]
fn who_waits_is_told_when_the_db_proxy_server_is_lost() {
    let mut bed = bed_with("ConcurrentDBConnCnt=2\n");
    let [one, two] = [(); 2].map(|()| bed.program());
    bed.ask(one, &post("CreateGroup", &create_group()));
    let (lost, _) = bed.asked();
    bed.ask(two, &post("CreateGroup", &create_group()));
    let other = bed.asked();
    assert_ne!(other.0, lost);
    bed.lose(lost);
    assert_eq!(bed.code(one), 10);
    assert!(bed.sent_bytes(two).is_empty());
    bed.create_answer(&other, Some(2));
    assert_eq!(bed.code(two), 0);
    // Now all go to the one that is left.
    bed.ask(one, &post("CreateGroup", &create_group()));
    assert_eq!(bed.sent(other.0).len(), 1);
}

#[test]
fn queries_go_to_the_half_that_is_not_for_logins_as_long_as_it_is_there() {
    let mut bed = bed();
    let dbs = bed.db.clone();
    for _ in 0..3 {
        let conn = bed.program();
        bed.ask(conn, &post("CreateGroup", &create_group()));
    }
    assert_eq!((bed.sent(dbs[0]).len(), bed.sent(dbs[1]).len()), (0, 3));
}

#[test]
fn f84_a_db_proxy_server_that_stops_answers_what_it_was_asked_and_gets_no_more() {
    let mut bed = bed();
    let conn = bed.program();
    bed.ask(conn, &post("CreateGroup", &create_group()));
    let asked = bed.asked();
    let stop = ImPdu::encode(SID_OTHER, CID_OTHER_STOP_RECV_PACKET, 0, &());
    bed.receive::<DbServConn>(asked.0, &stop).unwrap();
    let other = bed.program();
    bed.ask(other, &post("CreateGroup", &create_group()));
    assert!(bed.sent(asked.0).is_empty());
    bed.create_answer(&asked, Some(1));
    assert_eq!(bed.code(conn), 0);
    bed.pass_ms(STOP_RECV_MS + 1);
    assert!(!bed.net.is_open(asked.0));
}

#[test]
fn pipelined_queries_are_answered_one_by_one_in_order() {
    let mut bed = bed();
    let conn = bed.program();
    let requests = [post("CreateGroup", &create_group()), post("Nothing", &json!({}))].concat();
    let used = bed.try_ask(conn, requests.as_bytes()).unwrap();
    assert!(used < requests.len() && bed.sent_bytes(conn).is_empty());
    let asked = bed.asked();
    bed.create_answer(&asked, Some(1));
    assert_eq!(bed.code(conn), 0);
    bed.try_ask(conn, &requests.as_bytes()[used..]).unwrap();
    assert_eq!(bed.told(conn).0, "404 Not Found");
}

#[test]
fn answers_reach_who_asked_in_any_order() {
    let mut bed = bed();
    let conns = [(); 4].map(|()| bed.program());
    let asked = conns.map(|conn| {
        bed.ask(conn, &post("CreateGroup", &create_group()));
        bed.asked()
    });
    for at in [2, 0, 3, 1] {
        bed.create_answer(&asked[at], Some(at as u32 + 100));
    }
    for (at, conn) in conns.into_iter().enumerate() {
        assert_eq!(bed.told(conn).1["group_id"], at as u32 + 100);
    }
}

#[test]
fn f27_odd_answers_of_db_proxy_server_disturb_nobody() {
    let mut bed = bed();
    let conn = bed.program();
    bed.ask(conn, &post("CreateGroup", &create_group()));
    let asked = bed.asked();
    // Attach data of another kind of query, too short, of nobody.
    bed.change_answer(&(asked.0, ImPdu::encode(SID_GROUP, 0, 1, &odd(&asked.1))), 0);
    let short = ImGroupCreateRsp { attach_data: Some(b"short"[..].into()), ..Default::default() };
    let short = ImPdu::encode(SID_GROUP, CID_GROUP_CREATE_RESPONSE, 1, &short);
    assert!(bed.receive::<DbServConn>(asked.0, &short).is_err());
    let body = ImPdu::with_body(PduHeader::new(SID_GROUP, CID_GROUP_CREATE_RESPONSE, 1), &[8, 255]);
    assert!(bed.receive::<DbServConn>(asked.0, &body).is_err());
    bed.receive::<DbServConn>(asked.0, &ImPdu::encode(SID_OTHER, 0x7fff, 1, &())).unwrap();
    assert!(bed.sent_bytes(conn).is_empty());
    bed.create_answer(&asked, Some(1));
    assert_eq!(bed.code(conn), 0);
}

/// A change of members with the attach data of a group that is being made.
fn odd(asked: &ImPdu) -> ImGroupChangeMemberReq {
    let req: ImGroupCreateReq = asked.as_pdu().decode().unwrap();
    ImGroupChangeMemberReq {
        user_id: 0,
        change_type: 1,
        group_id: 1,
        member_id_list: Vec::new(),
        attach_data: req.attach_data,
    }
}

#[test]
fn an_idle_connection_is_closed_after_a_minute_and_a_waiting_one_is_not() {
    let mut bed = bed();
    let [idle, asking] = [(); 2].map(|()| bed.program());
    (0..5).for_each(|_| bed.pass_with_heartbeats(10_000));
    bed.ask(asking, &post("CreateGroup", &create_group()));
    bed.pass_with_heartbeats(11_000);
    assert!(!bed.net.is_open(idle) && bed.net.is_open(asking));
    bed.pass_ms(4_000);
    assert_eq!(bed.code(asking), 10);
    bed.pass_ms(HTTP_CONN_TIMEOUT_MS);
    assert!(bed.net.is_open(asking));
    bed.pass_ms(1_000);
    assert!(bed.srv.http_conns.is_empty());
}

#[test]
fn a_stopping_server_answers_who_waits_and_then_ends() {
    let mut bed = bed();
    let [waiting, late] = [(); 2].map(|()| bed.program());
    bed.ask(waiting, &post("CreateGroup", &create_group()));
    let asked = bed.asked();
    on_signal(&mut bed.cx(), Signal::Hangup);
    on_signal(&mut bed.cx(), Signal::Terminate);
    assert!(bed.net.is_running());
    bed.ask(late, &post("CreateGroup", &create_group()));
    assert_eq!(bed.code(late), 10);
    assert!(!bed.net.is_open(late) && bed.net.is_running());
    bed.create_answer(&asked, Some(1));
    assert_eq!(bed.code(waiting), 0);
    assert!(!bed.net.is_running());
}

#[test]
fn the_queries_of_a_day_are_counted() {
    let mut bed = bed();
    bed.code_of(&post("CreateGroup", &json!([])));
    bed.code_of(&post("CreateGroup", &json!([])));
    bed.pass_ms(1_000);
    assert_eq!(bed.srv.total_query.count, 2);
    bed.srv.clock = || 1_700_000_000 + 86_400;
    bed.pass_ms(1_000);
    assert_eq!(bed.srv.total_query.count, 0);
}
