//! http_msg_server with db_proxy_server, route_server and msg_servers, all over sockets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;

use serde_json::{Value, json};
use teamtalk::http_msg_server::{HttpMsgServer, HttpMsgServerConfig};
use teamtalk::pb::base_define::ClientType;
use teamtalk::pb::cmd::*;
use teamtalk::pb::group::*;

use crate::msg_server::Client;
use crate::running::{PATIENCE, Peer, Running, config};
use crate::site::*;

const WINDOWS: ClientType = ClientType::Windows;
const IOS: ClientType = ClientType::Ios;

/// A http_msg_server of this site with more keys; the first one counts.
fn http_msg_server(site: &Site, more: &str) -> Running {
    let text = format!(
        "{more}ListenIP=127.0.0.1\nListenPort=0\nDBServerIP1=127.0.0.1\nDBServerPort1={}\n\
         RouteServerIP1=127.0.0.1\nRouteServerPort1={}\n",
        site.db.addrs[0].port(),
        site.routes[0].addrs[0].port()
    );
    let config = config(&text, HttpMsgServerConfig::read);
    Running::start(HttpMsgServer::dispatch(&config).unwrap())
}

/// Another program of the company, with one connection that it keeps.
struct Program(BufReader<TcpStream>);

impl Program {
    fn new(server: &Running) -> Self {
        let stream = TcpStream::connect(server.addrs[0]).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    /// Status and body of the next answer.
    #[track_caller]
    fn receive(&mut self) -> (u16, Value) {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.0.read_line(&mut head).unwrap(), 0, "closed after {head:?}");
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length:")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        self.0.read_exact(&mut body).unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[track_caller]
    fn ask(&mut self, interface: &str, query: &Value) -> Value {
        self.send(post(interface, query).as_bytes());
        let (status, body) = self.receive();
        assert_eq!(status, 200, "{body}");
        body
    }

    /// A server that was just started may lack a server still: then again.
    #[track_caller]
    fn ask_until_served(&mut self, interface: &str, query: &Value) -> Value {
        loop {
            let answer = self.ask(interface, query);
            if answer["error_code"] != 10 {
                return answer;
            }
            pause();
        }
    }
}

fn post(interface: &str, query: &Value) -> String {
    let body = query.to_string();
    format!(
        "POST /query/{interface} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn create_group(name: &str, user_id_list: &[u32]) -> Value {
    json!({"req_user_id": 1, "app_key": "", "group_name": name, "group_type": 1,
        "group_avatar": "", "user_id_list": user_id_list})
}

fn change_members(group_id: &Value, modify_type: u32, user_id_list: &[u32]) -> Value {
    json!({"req_user_id": 1, "app_key": "", "group_id": group_id, "modify_type": modify_type,
        "user_id_list": user_id_list})
}

/// The normal groups of a user with their members.
fn groups(client: &mut Client) -> Vec<(u32, String, Vec<u32>)> {
    let req = ImNormalGroupListReq { user_id: 0, attach_data: None };
    let list: ImNormalGroupListRsp =
        client.ask(CID_GROUP_NORMAL_LIST_REQUEST, &req, CID_GROUP_NORMAL_LIST_RESPONSE);
    let mut group_version_list = list.group_version_list;
    group_version_list.iter_mut().for_each(|group| group.version = 0);
    let req = ImGroupInfoListReq { user_id: 0, group_version_list, attach_data: None };
    let info: ImGroupInfoListRsp =
        client.ask(CID_GROUP_INFO_REQUEST, &req, CID_GROUP_INFO_RESPONSE);
    let group = |mut group: teamtalk::pb::base_define::GroupInfo| {
        group.group_member_list.sort_unstable();
        (group.group_id, group.group_name, group.group_member_list)
    };
    info.group_info_list.into_iter().map(group).collect()
}

#[test]
fn a_group_that_a_program_makes_and_changes_is_seen_by_clients_of_two_msg_servers() {
    let site = Site::new(1);
    let (a, b) = (site.msg_server(), site.msg_server());
    let server = http_msg_server(&site, "");
    let mut one = Client::log_in(&a, 1, WINDOWS);
    let mut two = Client::log_in(&b, 2, IOS);
    let mut three = Client::log_in(&b, 3, ClientType::Mac);
    one.wait_until_online(3);
    let mut program = Program::new(&server);
    let made = program.ask_until_served("CreateGroup", &create_group("团队", &[1, 2]));
    assert_eq!((&made["error_code"], &made["error_msg"]), (&json!(0), &json!("成功")));
    let group_id = made["group_id"].as_u64().unwrap() as u32;
    assert_eq!(groups(&mut one), [(group_id, "团队".to_owned(), vec![1, 2])]);
    assert_eq!(groups(&mut two), [(group_id, "团队".to_owned(), vec![1, 2])]);
    assert_eq!(groups(&mut three), []);
    let add = change_members(&made["group_id"], 1, &[3]);
    let remove = change_members(&made["group_id"], 2, &[3]);
    // Until http_msg_server has found route_server, nobody is told.
    while !one.was_told(CID_GROUP_CHANGE_MEMBER_NOTIFY) {
        for change in [&add, &remove] {
            assert_eq!(program.ask("ChangeMembers", change)["error_code"], 0);
        }
        one.status_of(1);
        pause();
    }
    assert_eq!(program.ask("ChangeMembers", &add)["error_code"], 0);
    let added = loop {
        let told: ImGroupChangeMemberNotify = one.expect(CID_GROUP_CHANGE_MEMBER_NOTIFY);
        if told.change_type == 1 {
            break told;
        }
    };
    assert_eq!((added.user_id, added.group_id, added.change_type), (0, group_id, 1));
    assert_eq!(added.chg_user_id_list, [3]);
    let mut members = added.cur_user_id_list;
    members.sort_unstable();
    assert_eq!(members, [1, 2, 3]);
    let told: ImGroupChangeMemberNotify = three.expect(CID_GROUP_CHANGE_MEMBER_NOTIFY);
    assert_eq!(told.group_id, group_id);
    assert_eq!(groups(&mut three), [(group_id, "团队".to_owned(), vec![1, 2, 3])]);
    // Who is removed is told as well.
    let remove = change_members(&made["group_id"], 2, &[2]);
    assert_eq!(program.ask("ChangeMembers", &remove)["error_code"], 0);
    loop {
        let told: ImGroupChangeMemberNotify = two.expect(CID_GROUP_CHANGE_MEMBER_NOTIFY);
        if told.chg_user_id_list == [2] {
            assert_eq!(told.change_type, 2);
            break;
        }
    }
    assert_eq!(groups(&mut two), []);
    let unknown = change_members(&json!(999_999), 1, &[2]);
    assert_eq!(program.ask("ChangeMembers", &unknown)["error_code"], 12);
    assert_eq!(program.ask("CreateGroup", &create_group("", &[1]))["error_code"], 11);
}

#[test]
fn pipelined_queries_are_answered_in_order_and_programs_do_not_mix() {
    let site = Site::new(1);
    let server = http_msg_server(&site, "");
    Program::new(&server).ask_until_served("CreateGroup", &create_group("first", &[1]));
    let programs: Vec<_> = (0..8_u32)
        .map(|at| {
            let mut program = Program::new(&server);
            thread::spawn(move || {
                let mut requests = String::new();
                for number in 0..20 {
                    let name = format!("group {at} {number}");
                    requests += &post("CreateGroup", &create_group(&name, &[1, at + 2]));
                    requests += &post("Nothing", &json!({}));
                }
                program.send(requests.as_bytes());
                let mut made = Vec::new();
                for _ in 0..20 {
                    let (status, body) = program.receive();
                    assert_eq!((status, &body["error_code"]), (200, &json!(0)));
                    made.push(body["group_id"].as_u64().unwrap() as u32);
                    assert_eq!(program.receive().0, 404);
                }
                assert!(made.is_sorted(), "{made:?}");
                made
            })
        })
        .collect();
    let mut made: Vec<u32> = programs.into_iter().flat_map(|p| p.join().unwrap()).collect();
    made.sort_unstable();
    made.dedup();
    assert_eq!(made.len(), 160);
    let msg_server = site.msg_server();
    let mut two = Client::log_in(&msg_server, 2, WINDOWS);
    let mut names: Vec<_> = groups(&mut two).into_iter().map(|group| group.1).collect();
    names.sort_unstable();
    let mut expected: Vec<_> = (0..20).map(|number| format!("group 0 {number}")).collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
}

#[test]
fn without_db_proxy_server_programs_are_told_and_with_it_served_again() {
    let mut site = Site::new(1);
    let server = http_msg_server(&site, "");
    let mut program = Program::new(&server);
    program.ask_until_served("CreateGroup", &create_group("one", &[1]));
    let port = site.db.addrs[0].port();
    drop(std::mem::replace(&mut site.db, route_server(0)));
    while program.ask("CreateGroup", &create_group("lost", &[1]))["error_code"] != 10 {
        pause();
    }
    site.db = db_proxy_server(&site.pools, port);
    let made = program.ask_until_served("CreateGroup", &create_group("two", &[1]));
    assert_eq!(made["error_code"], 0);
}

#[test]
fn f8_a_program_needs_its_key() {
    let site = Site::new(1);
    let server = http_msg_server(&site, "AppKey1=secret\n");
    let mut program = Program::new(&server);
    let mut query = create_group("one", &[1]);
    assert_eq!(program.ask("CreateGroup", &query)["error_code"], 2);
    query["app_key"] = "secret".into();
    assert_eq!(program.ask_until_served("CreateGroup", &query)["error_code"], 0);
}

#[test]
fn f128_hostile_requests_are_answered_or_closed_and_harm_nobody() {
    let site = Site::new(1);
    let server = http_msg_server(&site, "");
    let mut program = Program::new(&server);
    program.ask_until_served("CreateGroup", &create_group("one", &[1]));
    let head = "POST /query/CreateGroup HTTP/1.1\r\n";
    for (request, status) in [
        (format!("{head}Content-Length: 1048577\r\n\r\n"), "413 "),
        (format!("{head}Content-Length: 99999999999999999999\r\n\r\n"), "413 "),
        (format!("{head}Content-Length: -1\r\n\r\n"), "400 "),
        (format!("{head}Content-Length: 2\r\nContent-Length: 2\r\n\r\n{{}}"), "400 "),
        (format!("{head}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"), "501 "),
        (format!("{head}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "400 "),
        (format!("{head}X: {}\r\n\r\n", "x".repeat(9_000)), "431 "),
        (format!("{head}{}\r\n", "X: y\r\n".repeat(65)), "431 "),
        ("nonsense\r\n\r\n".to_owned(), "400 "),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), "505 "),
    ] {
        let mut stranger = server.peer();
        stranger.send_bytes(request.as_bytes());
        let answer = String::from_utf8(stranger.receive_rest()).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
    }
    // A length that is shorter than the body: the rest is no request.
    let mut stranger = server.peer();
    stranger.send_bytes(format!("{head}Content-Length: 1\r\n\r\n{{}}\r\n\r\n").as_bytes());
    let answer = String::from_utf8(stranger.receive_rest()).unwrap();
    assert_eq!(answer.matches("HTTP/1.1 400 ").count(), 2, "{answer}");
    // Half a request holds nobody up, however long it stays half.
    let mut slow: Vec<Peer> = (0..100).map(|_| server.peer()).collect();
    for peer in &mut slow {
        peer.send_bytes(&head.as_bytes()[..20]);
    }
    let made = program.ask("CreateGroup", &create_group("two", &[1]));
    assert_eq!(made["error_code"], 0);
}
