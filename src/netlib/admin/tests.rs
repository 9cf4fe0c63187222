use super::*;
use crate::netlib::testing::TestBed;

/// A server that is ready as long as there is no reason against it.
#[derive(Default)]
struct Server {
    reasons: Vec<String>,
}

impl Health for Server {
    const PROGRAM: &'static str = "test_server";

    fn write_metrics(&self, text: &mut MetricsText) {
        text.gauge("teamtalk_reasons", "Reasons.").value(self.reasons.len());
    }

    fn not_ready(&self) -> Vec<String> {
        self.reasons.clone()
    }
}

type Bed = TestBed<Server>;

fn bed() -> Bed {
    let mut bed = Bed::new(Server::default());
    bed.net.register_timer(AdminConn::<Server>::on_timer, TIMER_MS);
    bed
}

/// A connection with the limits that the listener gives it.
fn accept(bed: &mut Bed) -> NetHandle {
    let conn = bed.accept::<AdminConn<Server>>();
    bed.net.set_limits(conn, LIMITS);
    conn
}

fn ask_on(bed: &mut Bed, conn: NetHandle, request: &str) -> String {
    let taken = bed.receive_bytes::<AdminConn<Server>>(conn, request.as_bytes());
    assert_eq!(taken.unwrap(), request.len());
    String::from_utf8(bed.sent_bytes(conn)).unwrap()
}

/// The answer to a request on a new connection.
fn ask(bed: &mut Bed, request: &str) -> String {
    let conn = accept(bed);
    ask_on(bed, conn, request)
}

#[test]
fn f139_health_is_ok_or_the_reasons_against_it() {
    let mut bed = bed();
    let answer = ask(&mut bed, "GET /healthz HTTP/1.1\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nok\n"), "{answer}");
    bed.srv.reasons = ["no database".to_owned(), "no cache".to_owned()].into();
    let answer = ask(&mut bed, "GET /healthz?verbose HTTP/1.1\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nno database\nno cache\n"), "{answer}");
}

#[test]
fn f139_metrics_have_what_runs_the_network_and_the_figures_of_the_server() {
    let mut bed = bed();
    let answer = ask(&mut bed, "GET /metrics HTTP/1.1\r\n\r\n");
    assert!(answer.contains("\r\nContent-Type:text/plain; version=0.0.4; charset=utf-8\r\n"));
    let version = env!("CARGO_PKG_VERSION");
    for part in [
        format!("teamtalk_build_info{{program=\"test_server\",version=\"{version}\",build=")
            .as_str(),
        "\nteamtalk_ready 1\n",
        "\nteamtalk_reasons 0\n",
        "\nteamtalk_connections{class=\"AdminConn\"} 1\n",
        "\nteamtalk_http_requests_total 1\n",
        "\n# TYPE teamtalk_loop_turn_seconds histogram\n",
    ] {
        assert!(answer.contains(part), "{part} is not in {answer}");
    }
}

#[test]
fn every_family_stands_once_and_every_line_is_one_of_the_format() {
    let mut bed = bed();
    let answer = ask(&mut bed, "GET /metrics HTTP/1.1\r\n\r\n");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut families = Vec::new();
    for line in body.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            families.push(family.split(' ').next().unwrap());
        } else if !line.starts_with("# HELP ") {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with(families.last().unwrap()), "{line}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
    let count = families.len();
    families.sort_unstable();
    families.dedup();
    assert_eq!(families.len(), count);
}

#[test]
fn other_paths_methods_and_bodies_are_refused() {
    let mut bed = bed();
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("GET /metrics/ HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        ("DELETE /healthz HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
    ] {
        let answer = ask(&mut bed, request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {answer}");
    }
    for (request, status) in [
        ("GET /metrics HTTP/1.1\r\nContent-Length: 1\r\n\r\n", "413 Content Too Large"),
        ("\0\x01 nonsense\r\n\r\n", "400 Bad Request"),
        ("GET /metrics HTTP/2.0\r\n\r\n", "505 HTTP Version Not Supported"),
    ] {
        let conn = accept(&mut bed);
        let result = bed.receive_bytes::<AdminConn<Server>>(conn, request.as_bytes());
        assert!(result.is_err(), "{request}");
        let answer = String::from_utf8(bed.sent_bytes(conn)).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {answer}");
    }
}

#[test]
fn a_head_that_is_too_long_is_refused() {
    let mut bed = bed();
    let conn = accept(&mut bed);
    let request = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(8 * 1024));
    bed.receive_bytes::<AdminConn<Server>>(conn, request.as_bytes()).unwrap_err();
    let answer = String::from_utf8(bed.sent_bytes(conn)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[test]
fn head_answers_with_the_head_of_the_get() {
    let mut bed = bed();
    let get = ask(&mut bed, "GET /healthz HTTP/1.1\r\n\r\n");
    let head = ask(&mut bed, "HEAD /healthz HTTP/1.1\r\n\r\n");
    assert_eq!(get.strip_suffix("ok\n"), Some(head.as_str()));
}

#[test]
fn one_request_is_answered_at_a_time_and_the_connection_stays() {
    let mut bed = bed();
    let conn = accept(&mut bed);
    let request = "GET /healthz HTTP/1.1\r\n\r\n";
    let both = request.repeat(2);
    let taken = bed.receive_bytes::<AdminConn<Server>>(conn, both.as_bytes()).unwrap();
    assert_eq!(taken, request.len(), "the second waits until the first answer is written");
    assert!(!bed.sent_bytes(conn).is_empty());
    AdminConn::<Server>::on_write_complete(&mut bed.cx(), conn);
    assert!(ask_on(&mut bed, conn, request).ends_with("ok\n"));
    // Whoever says so is let go.
    AdminConn::<Server>::on_write_complete(&mut bed.cx(), conn);
    ask_on(&mut bed, conn, "GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(!bed.net.is_open(conn) && bed.net.admin_conns.is_empty());
}

#[test]
fn a_request_that_takes_too_long_is_answered_with_408() {
    let mut bed = bed();
    let conn = accept(&mut bed);
    let tick = bed.net.tick();
    bed.net.conn_mut(conn).unwrap().partial_since = Some(tick);
    bed.pass_ms(REQUEST_TIME_MS - 1);
    assert!(bed.net.is_open(conn));
    bed.pass_ms(TIMER_MS);
    assert!(!bed.net.is_open(conn) && bed.net.admin_conns.is_empty());
    let answer = String::from_utf8(bed.sent_bytes(conn)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[test]
fn who_asks_for_nothing_or_takes_no_answer_is_let_go_after_a_while() {
    let mut bed = bed();
    let silent = accept(&mut bed);
    let deaf = accept(&mut bed);
    bed.receive_bytes::<AdminConn<Server>>(deaf, b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    bed.pass_ms(IDLE_MS - TIMER_MS);
    assert!(bed.net.is_open(silent) && bed.net.is_open(deaf));
    bed.pass_ms(TIMER_MS);
    assert!(!bed.net.is_open(silent) && !bed.net.is_open(deaf));
}

#[test]
fn a_peer_that_leaves_is_forgotten() {
    let mut bed = bed();
    let conn = accept(&mut bed);
    bed.lose(conn);
    assert!(bed.net.admin_conns.is_empty());
}
