//! login_server between msg_servers and clients that are sockets of the test.

use std::collections::BTreeMap;

use serde_json::Value;
use teamtalk::base::im_pdu::{ImPdu, PduHeader};
use teamtalk::login_server::{LoginServer, LoginServerConfig};
use teamtalk::pb::base_define::ResultType;
use teamtalk::pb::cmd::*;
use teamtalk::pb::login::{ImMsgServReq, ImMsgServRsp};
use teamtalk::pb::server::{ImMsgServInfo, ImUserCntUpdate};

use crate::running::{Peer, Running, config};

/// A login_server and its three ports.
struct Login {
    running: Running,
    next_seq_num: u16,
}

impl Login {
    fn start() -> Self {
        Self::start_with("")
    }

    fn start_with(more: &str) -> Self {
        let text = format!(
            "ClientListenIP=127.0.0.1\nClientPort=0\nHttpListenIP=127.0.0.1\nHttpPort=0\n\
             MsgServerListenIP=127.0.0.1\nMsgServerPort=0\n\
             msfs=http://192.0.2.1:8700/\ndiscovery=http://192.0.2.1/api/discovery\n{more}"
        );
        let config = config(&text, LoginServerConfig::read);
        let (dispatch, srv, addrs) = LoginServer::dispatch(&config).unwrap();
        let addrs = vec![addrs.client[0], addrs.http[0], addrs.msg_server[0]];
        Self { running: Running::start((dispatch, srv, addrs)), next_seq_num: 0 }
    }

    fn client(&self) -> Peer {
        self.running.peer()
    }

    fn http_client(&self) -> Peer {
        Peer::connect(self.running.addrs[1])
    }

    fn msg_server(&self) -> Peer {
        Peer::connect(self.running.addrs[2])
    }

    /// A msg_server whose registration is on its way.
    fn register(&self, name: &str, max_conn_cnt: u32, cur_conn_cnt: u32) -> Peer {
        let mut peer = self.msg_server();
        peer.send(&registration(name, max_conn_cnt, cur_conn_cnt));
        peer
    }

    /// Asks with a PDU.
    fn ask(&mut self) -> ImMsgServRsp {
        self.next_seq_num += 1;
        let mut client = self.client();
        let request = ImMsgServReq::default();
        client.send(&ImPdu::encode(
            SID_LOGIN,
            CID_LOGIN_REQ_MSGSERVER,
            self.next_seq_num,
            &request,
        ));
        let answer = client.receive();
        client.assert_closed();
        let answer = answer.as_pdu();
        assert_eq!(answer.command_id(), CID_LOGIN_RES_MSGSERVER);
        assert_eq!(answer.seq_num(), self.next_seq_num);
        answer.decode().unwrap()
    }

    /// Asks with HTTP.
    fn ask_http(&self) -> Value {
        let mut client = self.http_client();
        client.send_bytes(b"GET /msg_server HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let (head, body) = response(&mut client);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        serde_json::from_str(&body).unwrap()
    }

    /// Asks until the answer is this one; every caller waits for what must come.
    #[track_caller]
    fn ask_until(&mut self, result: ResultType, name: Option<&str>) {
        for _ in 0..20_000 {
            let answer = self.ask();
            if answer.result_code == i32::from(result) && answer.prior_ip.as_deref() == name {
                return;
            }
        }
        panic!("never told {result:?} {name:?}");
    }
}

fn registration(name: &str, max_conn_cnt: u32, cur_conn_cnt: u32) -> ImPdu {
    let msg = ImMsgServInfo {
        ip1: name.to_owned(),
        ip2: format!("{name}.backup"),
        port: 8000,
        max_conn_cnt,
        cur_conn_cnt,
        host_name: name.to_owned(),
    };
    ImPdu::encode(SID_OTHER, CID_OTHER_MSG_SERV_INFO, 0, &msg)
}

fn user_cnt_update(user_action: u32) -> ImPdu {
    let msg = ImUserCntUpdate { user_action, user_id: 1 };
    ImPdu::encode(SID_OTHER, CID_OTHER_USER_CNT_UPDATE, 0, &msg)
}

/// Header and body of the last response on a connection.
fn response(client: &mut Peer) -> (String, String) {
    let text = String::from_utf8(client.receive_rest()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("\r\nContent-Length:{}", body.len())), "{text}");
    (head.to_owned(), body.to_owned())
}

#[test]
fn f53_clients_of_both_kinds_are_sent_to_the_msg_server() {
    let mut login = Login::start();
    assert_eq!(login.ask().result_code, ResultType::RefuseReasonNoMsgServer as i32);
    let json = login.ask_http();
    assert_eq!((&json["code"], &json["msg"]), (&1.into(), &"没有msg_server".into()));
    let mut a = login.register("a", 1, 1);
    login.ask_until(ResultType::RefuseReasonMsgServerFull, None);
    let json = login.ask_http();
    assert_eq!((&json["code"], &json["msg"]), (&2.into(), &"负载过高".into()));
    a.send(&user_cnt_update(2));
    login.ask_until(ResultType::RefuseReasonNone, Some("a"));
    let answer = login.ask();
    assert_eq!((answer.backip_ip.as_deref(), answer.port), (Some("a.backup"), Some(8000)));
    let json = login.ask_http();
    for (key, value) in [
        ("code", Value::from(0)),
        ("msg", "".into()),
        ("priorIP", "a".into()),
        ("backupIP", "a.backup".into()),
        ("port", "8000".into()),
        ("msfsPrior", "http://192.0.2.1:8700/".into()),
        ("msfsBackup", "http://192.0.2.1:8700/".into()),
        ("discovery", "http://192.0.2.1/api/discovery".into()),
    ] {
        assert_eq!(json[key], value, "{key}");
    }
    a.send(&user_cnt_update(1));
    login.ask_until(ResultType::RefuseReasonMsgServerFull, None);
}

#[test]
fn f55_a_burst_of_a_thousand_is_spread() {
    let mut login = Login::start();
    let names = ["a", "b", "c", "d"];
    let _msg_servers = names.map(|name| login.register(name, 100_000, 10));
    let mut counts = BTreeMap::new();
    for at in 0..1000 {
        let prior_ip = if at % 2 == 0 {
            login.ask().prior_ip
        } else {
            login.ask_http()["priorIP"].as_str().map(str::to_owned)
        };
        // The first ones may come before any msg_server; the order of connections is not given.
        *counts.entry(prior_ip.unwrap_or_default()).or_insert(0_u32) += 1;
    }
    let refused = counts.remove("").unwrap_or(0);
    assert!(refused < 100, "{refused}");
    let counts = names.map(|name| counts.get(name).copied().unwrap_or(0));
    let fair = (1000 - refused) / 4;
    assert!(counts.iter().all(|count| count.abs_diff(fair) <= 5), "{counts:?}");
}

#[test]
fn a_msg_server_that_vanishes_is_not_handed_out_and_comes_back() {
    let mut login = Login::start();
    let (a, _b) = (login.register("a", 100_000, 0), login.register("b", 100_000, 50_000));
    login.ask_until(ResultType::RefuseReasonNone, Some("a"));
    drop(a);
    login.ask_until(ResultType::RefuseReasonNone, Some("b"));
    assert_eq!(login.ask_http()["priorIP"], "b");
    let _a = login.register("a", 100_000, 0);
    login.ask_until(ResultType::RefuseReasonNone, Some("a"));
}

#[test]
fn a_restarted_login_server_learns_the_truth_from_the_msg_servers() {
    let login = Login::start();
    let mut a = login.register("a", 100, 7);
    drop(login);
    a.assert_closed();
    let mut login = Login::start();
    assert_eq!(login.ask().result_code, ResultType::RefuseReasonNoMsgServer as i32);
    let _a = login.register("a", 100, 7);
    login.ask_until(ResultType::RefuseReasonNone, Some("a"));
}

#[test]
fn f10_only_msg_servers_register() {
    let mut login = Login::start_with("MsgServerAllowIP=192.0.2.1\n");
    login.msg_server().assert_closed();
    for pdu in [registration("evil", 100_000, 0), user_cnt_update(2)] {
        let mut client = login.client();
        client.send(&pdu);
        client.assert_closed();
    }
    assert_eq!(login.ask().result_code, ResultType::RefuseReasonNoMsgServer as i32);
}

#[test]
fn a_connection_serves_several_http_requests_in_order() {
    let login = Login::start();
    let mut client = login.http_client();
    client.send_bytes(b"GET /msg_server HTTP/1.1\r\n\r\nGET /none HTTP/1.1\r\n\r\n");
    client.send_bytes(b"GET /msg_server HTTP/1.1\r\nConnection: close\r\n\r\n");
    let text = String::from_utf8(client.receive_rest()).unwrap();
    let lines: Vec<_> = text.split("HTTP/1.1 ").filter_map(|part| part.lines().next()).collect();
    assert_eq!(lines, ["200 OK", "404 Not Found", "200 OK"], "{text}");
}

#[test]
fn f56_a_request_beyond_the_limits_is_answered() {
    let login = Login::start();
    let long = "a".repeat(9_000);
    for (request, status) in [
        (format!("GET /msg_server?{} HTTP/1.1\r\n\r\n", &long[..8_000]), "200 OK"),
        (format!("GET /msg_server?{long}"), "431 "),
        ("POST /msg_server HTTP/1.1\r\nContent-Length: 8193\r\n\r\n".to_owned(), "413 "),
        ("nonsense\r\n\r\n".to_owned(), "400 "),
    ] {
        let mut client = login.http_client();
        let request = request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        client.send_bytes(request.as_bytes());
        let (head, _) = response(&mut client);
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {head}");
    }
}

#[test]
fn f22_hostile_bytes_cost_their_sender_the_connection_and_nobody_else() {
    let mut login = Login::start();
    let _a = login.register("a", 100_000, 0);
    login.ask_until(ResultType::RefuseReasonNone, Some("a"));
    let body = vec![0; 8 << 10];
    let long = ImPdu::with_body(PduHeader::new(SID_LOGIN, CID_LOGIN_REQ_MSGSERVER, 0), &body);
    for bytes in [b"GET / HTTP/1.1\r\n\r\n", &[0, 0, 0, 15][..], long.as_pdu().as_bytes()] {
        let mut client = login.client();
        client.send_bytes(bytes);
        client.assert_closed();
    }
    for bytes in [b"GET / HTTP/1.1\r\n\r\n", &[0, 0, 0, 15][..], &[0xff; 16]] {
        let mut msg_server = login.msg_server();
        msg_server.send_bytes(bytes);
        msg_server.assert_closed();
    }
    let pdu = registration("evil", 100_000, 0);
    let mut http_client = login.http_client();
    http_client.send_bytes(pdu.as_pdu().as_bytes());
    assert!(response(&mut http_client).0.starts_with("HTTP/1.1 400 "));
    // A body that does not parse is dropped, and the msg_server stays.
    let mut b = login.msg_server();
    let bad = PduHeader::new(SID_OTHER, CID_OTHER_MSG_SERV_INFO, 0);
    b.send(&ImPdu::with_body(bad, &[0x0a, 0xff]));
    b.send(&registration("b", 100_000, 0));
    login.ask_until(ResultType::RefuseReasonNone, Some("b"));
    login.ask_until(ResultType::RefuseReasonNone, Some("a"));
}
