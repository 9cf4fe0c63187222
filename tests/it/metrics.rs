//! The administration ports of real servers: health, figures, and what peers may cost.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;

use teamtalk::base::http_client::HttpClient;
use teamtalk::client::Session;
use teamtalk::file_server::{FileServer, FileServerConfig};
use teamtalk::http_msg_server::{HttpMsgServer, HttpMsgServerConfig};
use teamtalk::msfs::{Msfs, MsfsConfig};
use teamtalk::netlib::admin::CONN_MAX;
use teamtalk::pb::base_define::ClientType;
use teamtalk::push_server::{PushServer, PushServerConfig};

use crate::backends::Redis;
use crate::db_proxy_server::embedded_pools;
use crate::running::{Peer, Running, config};
use crate::site::{Site, db_proxy_server, log_in, pause};

/// A port for every server.
const COMMON: &str = "MetricsListen=127.0.0.1:0\n";

fn file_server(directory: &tempfile::TempDir) -> Running {
    let text = format!(
        "{COMMON}FileServerIp=127.0.0.1\nClientListenIP=127.0.0.1\nClientListenPort=0\n\
         MsgServerListenIP=127.0.0.1\nMsgServerListenPort=0\nOfflineFileDir={}\n",
        directory.path().display()
    );
    let config = config(&text, FileServerConfig::read);
    let (dispatch, srv, addrs) = FileServer::dispatch(&config, || 1_700_000_000).unwrap();
    Running::start((dispatch, srv, addrs.msg_server))
}

fn msfs(directory: &tempfile::TempDir) -> Running {
    let text = format!(
        "{COMMON}ListenIP=127.0.0.1\nListenPort=0\nBaseDir={}\nPostThreadCount=1\n\
         GetThreadCount=1\n",
        directory.path().display()
    );
    Running::start(Msfs::dispatch(&config(&text, MsfsConfig::read)).unwrap())
}

fn http_msg_server(db: SocketAddr) -> Running {
    let text = format!(
        "{COMMON}ListenIP=127.0.0.1\nListenPort=0\nDBServerIP1={}\nDBServerPort1={}\n\
         AppKey1=0123456789abcdef\n",
        db.ip(),
        db.port()
    );
    Running::start(HttpMsgServer::dispatch(&config(&text, HttpMsgServerConfig::read)).unwrap())
}

fn push_server() -> Running {
    let text = format!(
        "{COMMON}ListenIP=127.0.0.1\nListenPort=0\nIosProvider=webhook\n\
         WebhookUrl=http://127.0.0.1:1/\n"
    );
    let config = config(&text, PushServerConfig::read);
    Running::start(PushServer::dispatch(&config, || 1_700_000_000).unwrap())
}

/// Status and body of a GET.
fn get(addr: SocketAddr, path: &str) -> (u16, String) {
    ask(addr, &format!("GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n"))
}

fn ask(addr: SocketAddr, request: &str) -> (u16, String) {
    let mut peer = Peer::connect(addr);
    peer.send_bytes(request.as_bytes());
    answer(&peer.receive_rest())
}

fn answer(bytes: &[u8]) -> (u16, String) {
    let text = std::str::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

/// All samples of a server, by name and labels as they stand there.
fn metrics(server: &Running) -> HashMap<String, f64> {
    let url = format!("http://{}/metrics", server.admin());
    let body = HttpClient::default().get(&url, 1 << 20).unwrap();
    let text = String::from_utf8(body).unwrap();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let samples = samples.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    });
    samples.collect()
}

/// By how much a sample has grown; one that is not there is 0.
fn growth(before: &HashMap<String, f64>, after: &HashMap<String, f64>, name: &str) -> f64 {
    after.get(name).unwrap_or(&0.0) - before.get(name).unwrap_or(&0.0)
}

/// Until the server says this about its health.
fn wait_for_health(server: &Running, status: u16, body: &str) {
    loop {
        let (found, text) = get(server.admin(), "/healthz");
        if found == status && text == body {
            return;
        }
        pause();
    }
}

#[test]
fn f139_every_server_tells_its_health_and_its_figures() {
    let site = Site::with_common(COMMON);
    let msg_server = site.msg_server();
    let directories = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (file_server, msfs) = (file_server(&directories[0]), msfs(&directories[1]));
    let (http_msg_server, push_server) = (http_msg_server(site.db.addrs[0]), push_server());
    for (program, server, figure) in [
        ("db_proxy_server", &site.db, "teamtalk_queue_length{pool=\"db\"}"),
        ("login_server", &site.login, "teamtalk_msg_servers"),
        ("route_server", &site.routes[0], "teamtalk_msg_servers"),
        ("msg_server", &msg_server, "teamtalk_groups_cached"),
        ("file_server", &file_server, "teamtalk_stored_files"),
        ("msfs", &msfs, "teamtalk_queue_length{pool=\"post\"}"),
        ("http_msg_server", &http_msg_server, "teamtalk_requests_in_flight"),
        ("push_server", &push_server, "teamtalk_pushes_waiting{phones=\"ios\"}"),
    ] {
        wait_for_health(server, 200, "ok\n");
        let figures = metrics(server);
        let build = format!("teamtalk_build_info{{program=\"{program}\",");
        assert!(figures.keys().any(|name| name.starts_with(&build)), "{program}");
        assert!(figures.contains_key(figure), "{program}: {figure}");
        assert!(figures["teamtalk_loop_turn_seconds_count"] > 0.0, "{program}");
        assert!(figures["process_resident_memory_bytes"] > 0.0, "{program}");
    }
}

/// The names of figures among the words of a text.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| c != '_' && !c.is_ascii_alphanumeric());
    let is_name = |word: &&str| word.starts_with("teamtalk_") || word.starts_with("process_");
    words.filter(is_name).map(str::to_owned).collect()
}

#[test]
fn f139_every_figure_is_documented_and_no_other() {
    let site = Site::with_common(COMMON);
    let msg_server = site.msg_server();
    let directories = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (file_server, msfs) = (file_server(&directories[0]), msfs(&directories[1]));
    let (http_msg_server, push_server) = (http_msg_server(site.db.addrs[0]), push_server());
    let mut told = BTreeSet::new();
    for server in [
        &site.db,
        &site.login,
        &site.routes[0],
        &msg_server,
        &file_server,
        &msfs,
        &http_msg_server,
        &push_server,
    ] {
        let (_, text) = get(server.admin(), "/metrics");
        told.extend(text.lines().filter(|line| line.starts_with("# TYPE ")).flat_map(names));
    }
    let (_, page) =
        include_str!("../../docs/operations.md").split_once("## Metrics and health").unwrap();
    let (section, _) = page.split_once("\n## ").unwrap();
    let documented = names(section);
    let missing: Vec<_> = told.difference(&documented).collect();
    let unknown: Vec<_> = documented.difference(&told).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing {missing:?} unknown {unknown:?}");
}

#[test]
fn f139_counts_grow_by_what_a_client_did_and_by_nothing_else() {
    let site = Site::with_common(COMMON);
    let msg_server = site.msg_server();
    let addr = msg_server.addrs[0];
    let mut first = log_in(addr, 1, ClientType::Windows);
    let _second = log_in(addr, 2, ClientType::Ios);
    // What the logins started is over once this is answered.
    first.send_text(Session::User(2), "first").unwrap();

    let (msg_before, db_before) = (metrics(&msg_server), metrics(&site.db));
    first.send_text(Session::User(2), "second").unwrap();
    let (msg, db) = (metrics(&msg_server), metrics(&site.db));
    let [data_in, data_out] =
        ["in", "out"].map(|way| format!("teamtalk_pdus_{way}_total{{command=\"CID_MSG_DATA\"}}"));
    // One to store, one that is stored; and the time of a worker for it.
    assert_eq!(growth(&db_before, &db, &data_in), 1.0);
    assert_eq!(growth(&db_before, &db, &data_out), 1.0);
    let requests = "teamtalk_request_seconds_count{command=\"CID_MSG_DATA\"}";
    assert_eq!(growth(&db_before, &db, requests), 1.0);
    let commits = "teamtalk_storage_seconds_count{kind=\"db\",pool=\"teamtalk_master\",\
                   op=\"commit\"}";
    assert_eq!(growth(&db_before, &db, commits), 1.0);
    // One from the client, one from db_proxy_server.
    assert_eq!(growth(&msg_before, &msg, &data_in), 2.0);
    let ack = "teamtalk_pdus_out_total{command=\"CID_MSG_DATA_ACK\"}";
    assert_eq!(growth(&msg_before, &msg, ack), 1.0);
    assert_eq!(growth(&msg_before, &msg, "teamtalk_messages_up_total"), 1.0);
    assert_eq!(growth(&msg_before, &msg, "teamtalk_logins_total"), 0.0);
    assert_eq!(msg["teamtalk_logins_total"], 2.0);
    assert_eq!(msg["teamtalk_users"], 2.0);
    assert_eq!(msg["teamtalk_clients{kind=\"pc\"}"], 1.0);
    assert_eq!(msg["teamtalk_clients{kind=\"mobile\"}"], 1.0);
    assert_eq!(msg["teamtalk_connections{class=\"MsgConn\"}"], 2.0);
    let db_address = format!("{{server=\"db_proxy_server\",address=\"{}\"}}", site.db.addrs[0]);
    assert_eq!(msg[&format!("teamtalk_backend_open{db_address}")], 2.0);
}

#[test]
fn f139_health_says_which_back_end_is_missing_until_it_is_back() {
    let mut site = Site::with_common(COMMON);
    let msg_server = site.msg_server();
    wait_for_health(&msg_server, 200, "ok\n");
    let port = site.db.addrs[0].port();
    let pools = site.pools.clone();
    // Another one in its place, on another port, so that the first one ends.
    site.db = db_proxy_server(&pools, 0);
    wait_for_health(&msg_server, 503, "no db_proxy_server is connected\n");
    assert_eq!(metrics(&msg_server)["teamtalk_ready"], 0.0);
    site.db = db_proxy_server(&pools, port);
    wait_for_health(&msg_server, 200, "ok\n");
    let lost = format!(
        "teamtalk_backend_lost_total{{server=\"db_proxy_server\",\
                        address=\"127.0.0.1:{port}\"}}"
    );
    assert_eq!(metrics(&msg_server)[&lost], 2.0);
}

#[test]
fn f139_a_login_server_without_msg_servers_is_not_ready() {
    let site = Site::with_common(COMMON);
    let (status, body) = get(site.login.admin(), "/healthz");
    assert_eq!((status, body.as_str()), (503, "no msg_server is registered\n"));
    let msg_server = site.msg_server();
    wait_for_health(&site.login, 200, "ok\n");
    drop(msg_server);
    wait_for_health(&site.login, 503, "no msg_server is registered\n");
}

#[test]
fn f139_a_db_proxy_server_whose_cache_is_gone_is_not_ready_until_it_is_back() {
    let redis = Redis::start();
    let directory = tempfile::tempdir().unwrap();
    let at = redis.config(0);
    // Of two values the first one counts.
    let pools = format!(
        "{COMMON}sync_driver=redis\nsync_host={}\nsync_port={}\nsync_db=0\n\
         sync_password={}\nsync_maxconncnt=1\n{}",
        at.host,
        at.port,
        at.password.unwrap(),
        embedded_pools(&directory)
    );
    let server = db_proxy_server(&pools, 0);
    wait_for_health(&server, 200, "ok\n");
    redis.server.kill();
    loop {
        let (status, body) = get(server.admin(), "/healthz");
        if status == 503 {
            assert!(body.starts_with("cache sync: ") && body.lines().count() == 1, "{body}");
            break;
        }
        pause();
    }
    redis.server.start_again();
    wait_for_health(&server, 200, "ok\n");
}

#[test]
fn f139_bad_requests_are_told_so_and_hurt_nobody() {
    let site = Site::with_common(COMMON);
    let addr = site.routes[0].admin();
    for (request, expected) in [
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(), 404),
        ("PUT /metrics HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(), 405),
        ("GET /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello".to_owned(), 413),
        (format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(9000)), 431),
        ("\0\x01\x02 nonsense\r\n\r\n".to_owned(), 400),
        ("GET /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), 501),
    ] {
        assert_eq!(ask(addr, &request).0, expected, "{request}");
    }
    assert_eq!(get(addr, "/metrics").0, 200);
}

#[test]
fn f139_a_peer_that_drips_its_request_is_told_and_closed() {
    let site = Site::with_common(COMMON);
    let mut peer = Peer::connect(site.routes[0].admin());
    peer.send_bytes(b"GET /metrics HT");
    assert_eq!(answer(&peer.receive_rest()).0, 408);
}

#[test]
fn f139_a_connection_serves_one_request_after_the_other_and_there_are_not_too_many() {
    let site = Site::with_common(COMMON);
    let addr = site.routes[0].admin();
    let mut peers: Vec<Peer> = (0..CONN_MAX).map(|_| Peer::connect(addr)).collect();
    for peer in &mut peers {
        // Two at once, and a third that ends it.
        let request = "GET /healthz HTTP/1.1\r\n\r\n";
        peer.send_bytes(request.repeat(2).as_bytes());
        assert_eq!(peer.receive_until(b"ok\n").matches("200 OK").count(), 1);
        assert_eq!(peer.receive_until(b"ok\n").matches("200 OK").count(), 1);
    }
    Peer::connect(addr).assert_closed();
    peers[0].send_bytes(b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert_eq!(answer(&peers[0].receive_rest()), (200, "ok\n".to_owned()));
}
