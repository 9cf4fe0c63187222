//! The HTTP connections of clients that want to know where to log in.

use log::debug;

use super::msg_serv_info::NoMsgServ;
use super::{Cx, LoginServer};
use crate::base::http_parser_wrapper::{HttpError, HttpRequest};
use crate::base::http_response::{HttpResponse, HttpStatus};
use crate::base::styled_json::to_styled_string;
use crate::netlib::{ConnHandler, HttpFraming, HttpHandler, NetHandle, Netlib};

/// A connection is closed after so much silence.
///
/// C++: login_server/HttpConn.h HTTP_CONN_TIMEOUT
pub const HTTP_CONN_TIMEOUT_MS: u64 = 60_000;

/// How often time-outs are looked at.
const TIMER_MS: u64 = 1_000;

/// The beginning of every target that is answered; a query may follow.
const TARGET: &str = "/msg_server";

const CONTENT_TYPE: &str = "text/html;charset=utf-8";

/// C++: login_server/HttpConn.cpp init_http_conn
pub(super) fn init_http_conn(net: &mut Netlib<LoginServer>) {
    net.register_timer(http_conn_timer_callback, TIMER_MS);
}

/// C++: login_server/HttpConn.cpp http_conn_timer_callback
fn http_conn_timer_callback(cx: &mut Cx<'_>) {
    for conn in cx.srv.http_conns.handles().collect::<Vec<_>>() {
        HttpConn::on_timer(cx, conn);
    }
}

/// A client that asks with HTTP, as all clients but the oldest do.
///
/// C++: login_server/HttpConn.h CHttpConn
#[derive(Debug)]
pub struct HttpConn;

impl ConnHandler for HttpConn {
    type Server = LoginServer;
    type Framing = HttpFraming;

    /// C++: login_server/HttpConn.cpp CHttpConn::OnConnect
    fn on_connect(cx: &mut Cx<'_>, this: NetHandle) {
        cx.srv.http_conns.insert(this, Self);
    }

    /// C++: login_server/HttpConn.cpp CHttpConn::OnClose
    fn on_close(cx: &mut Cx<'_>, this: NetHandle) {
        Self::close(cx, this);
    }
}

impl HttpHandler for HttpConn {
    /// C++: login_server/HttpConn.cpp CHttpConn::OnRead
    /// Differs: what cannot be served is answered, not hung up on (F56), and a client that wants
    /// to may ask again on the same connection.
    fn handle_request(
        cx: &mut Cx<'_>,
        this: NetHandle,
        request: &HttpRequest<'_>,
    ) -> Result<(), HttpError> {
        let body;
        let response = if !request.target.starts_with(TARGET) {
            HttpResponse::new(HttpStatus::NotFound)
        } else if !matches!(request.method, "GET" | "POST") {
            HttpResponse::new(HttpStatus::MethodNotAllowed).header("Allow", "GET, POST")
        } else {
            body = Self::handle_msg_serv_request(cx, this);
            HttpResponse::new(HttpStatus::Ok).body(CONTENT_TYPE, body.as_bytes())
        };
        let keep_alive = request.keep_alive();
        cx.net.send(this, &response.keep_alive(keep_alive).to_bytes());
        if !keep_alive {
            Self::close(cx, this);
        }
        Ok(())
    }
}

impl HttpConn {
    /// C++: login_server/HttpConn.cpp CHttpConn::Close
    fn close(cx: &mut Cx<'_>, this: NetHandle) {
        if cx.srv.http_conns.remove(this).is_some() {
            cx.net.close(this);
        }
    }

    /// C++: login_server/HttpConn.cpp CHttpConn::OnTimer
    fn on_timer(cx: &mut Cx<'_>, this: NetHandle) {
        // Not check_timeout: that a client asks no second question is nothing to warn of.
        if cx.net.tick() > cx.net.last_recv_tick(this) + HTTP_CONN_TIMEOUT_MS {
            debug!("conn={this} closed: idle");
            Self::close(cx, this);
        }
    }

    /// C++: login_server/HttpConn.cpp CHttpConn::_HandleMsgServRequest
    /// Differs: clients that were sent to a server and have not logged in yet count (F55).
    fn handle_msg_serv_request(cx: &mut Cx<'_>, this: NetHandle) -> String {
        let addr = match LoginServer::choose_msg_serv(cx, this) {
            Ok(addr) => addr,
            Err(reason) => {
                debug!("conn={this} refused: {reason}");
                let (code, msg) = match reason {
                    NoMsgServ::Unregistered => (1, "没有msg_server"),
                    NoMsgServ::Full => (2, "负载过高"),
                };
                return to_styled_string(&[("code", code.into()), ("msg", msg.into())]);
            }
        };
        debug!("conn={this} msg_server={}:{}", addr.prior_ip, addr.port);
        let (msfs, discovery) = (cx.srv.msfs_url.as_str(), cx.srv.discovery.as_str());
        to_styled_string(&[
            ("backupIP", addr.backup_ip.into()),
            ("code", 0.into()),
            ("discovery", discovery.into()),
            ("msfsBackup", msfs.into()),
            ("msfsPrior", msfs.into()),
            ("msg", "".into()),
            // Text, not a number: clients take it that way.
            ("port", addr.port.to_string().into()),
            ("priorIP", addr.prior_ip.into()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::login_server::login_conn::MsgServConn;
    use crate::login_server::login_conn::tests::{msg_serv, registration};
    use crate::login_server::tests::test_bed;
    use crate::netlib::testing::TestBed;

    /// The answer to a request on a new connection.
    fn ask(bed: &mut TestBed<LoginServer>, request: &str) -> String {
        let conn = bed.accept::<HttpConn>();
        ask_on(bed, conn, request)
    }

    fn ask_on(bed: &mut TestBed<LoginServer>, conn: NetHandle, request: &str) -> String {
        let taken = bed.receive_bytes::<HttpConn>(conn, request.as_bytes());
        assert_eq!(taken.unwrap(), request.len());
        String::from_utf8(bed.sent_bytes(conn)).unwrap()
    }

    const GET: &str = "GET /msg_server HTTP/1.1\r\nConnection: close\r\n\r\n";

    #[test]
    fn the_answers_are_those_of_the_original() {
        let mut bed = test_bed("");
        let with_body = |body: &str| {
            format!(
                "HTTP/1.1 200 OK\r\nConnection:close\r\nContent-Length:{}\r\n\
                 Content-Type:text/html;charset=utf-8\r\n\r\n{body}",
                body.len()
            )
        };
        let none = "{\n   \"code\" : 1,\n   \"msg\" : \"没有msg_server\"\n}\n";
        assert_eq!(ask(&mut bed, GET), with_body(none));
        let a = msg_serv(&mut bed, "a", 0, 0);
        let full = "{\n   \"code\" : 2,\n   \"msg\" : \"负载过高\"\n}\n";
        assert_eq!(ask(&mut bed, GET), with_body(full));
        bed.receive::<MsgServConn>(a, &registration("a", 10, 0)).unwrap();
        let addr = r#"{
   "backupIP" : "a.unicom",
   "code" : 0,
   "discovery" : "http://127.0.0.1/api/discovery",
   "msfsBackup" : "http://127.0.0.1:8700/",
   "msfsPrior" : "http://127.0.0.1:8700/",
   "msg" : "",
   "port" : "8000",
   "priorIP" : "a.telecom"
}
"#;
        assert_eq!(ask(&mut bed, GET), with_body(addr));
    }

    #[test]
    fn f57_the_nearer_address_comes_first() {
        let mut bed = test_bed("TelecomIP=192.0.2.0/24\n");
        msg_serv(&mut bed, "a", 100, 0);
        for (peer, prior) in [("192.0.2.7", "a.telecom"), ("203.0.113.9", "a.unicom")] {
            let conn = bed.accept::<HttpConn>();
            bed.set_peer(conn, peer);
            let answer = ask_on(&mut bed, conn, GET);
            assert!(answer.contains(&format!("\"priorIP\" : \"{prior}\"")), "{answer}");
        }
    }

    #[test]
    fn f56_other_targets_and_methods_are_answered() {
        let mut bed = test_bed("");
        for (line, status) in [
            ("GET / HTTP/1.1", "404 Not Found"),
            ("GET /msg HTTP/1.1", "404 Not Found"),
            ("GET http://x/msg_server HTTP/1.1", "404 Not Found"),
            ("HEAD /msg_server HTTP/1.1", "405 Method Not Allowed"),
            ("DELETE /msg_server HTTP/1.1", "405 Method Not Allowed"),
            ("GET /msg_server?a=b HTTP/1.1", "200 OK"),
            ("GET /msg_servers HTTP/1.0", "200 OK"),
            ("POST /msg_server HTTP/1.1", "200 OK"),
        ] {
            let answer = ask(&mut bed, &format!("{line}\r\n\r\n"));
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{line}: {answer}");
        }
    }

    #[test]
    fn f56_a_long_address_is_not_cut() {
        let mut bed = test_bed("");
        bed.srv.msfs_url = "http://\"/".repeat(2_000);
        msg_serv(&mut bed, "a", 100, 0);
        let answer = ask(&mut bed, GET);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("\r\nContent-Length:{}\r\n", body.len())));
        let json: Value = serde_json::from_str(body).unwrap();
        assert_eq!(json["msfsPrior"], bed.srv.msfs_url.as_str());
    }

    #[test]
    fn a_connection_is_kept_if_the_client_wants_it() {
        let mut bed = test_bed("");
        let conn = bed.accept::<HttpConn>();
        for _ in 0..2 {
            let answer = ask_on(&mut bed, conn, "GET /msg_server HTTP/1.1\r\n\r\n");
            assert!(answer.contains("\r\nConnection:keep-alive\r\n"), "{answer}");
        }
        let answer = ask_on(&mut bed, conn, "GET /x HTTP/1.1\r\n\r\n");
        assert!(answer.contains("\r\nConnection:keep-alive\r\n"), "{answer}");
        assert!(bed.net.is_open(conn));
        let answer = ask_on(&mut bed, conn, "GET /msg_server HTTP/1.0\r\n\r\n");
        assert!(answer.contains("\r\nConnection:close\r\n"), "{answer}");
        assert!(!bed.net.is_open(conn) && bed.srv.http_conns.is_empty());
    }

    #[test]
    fn an_idle_connection_is_closed_after_a_minute() {
        let mut bed = test_bed("");
        let [idle, kept] = [(); 2].map(|()| bed.accept::<HttpConn>());
        bed.pass_ms(30_000);
        ask_on(&mut bed, kept, "GET /msg_server HTTP/1.1\r\n\r\n");
        bed.pass_ms(30_000);
        assert!(bed.net.is_open(idle));
        bed.pass_ms(1_000);
        assert!(!bed.net.is_open(idle) && bed.net.is_open(kept));
        bed.pass_ms(60_000);
        assert!(bed.srv.http_conns.is_empty());
    }

    #[test]
    fn f55_clients_of_both_kinds_are_spread_together() {
        let mut bed = test_bed("");
        msg_serv(&mut bed, "a", 1_000, 0);
        msg_serv(&mut bed, "b", 1_000, 0);
        let to_a = (0..100).filter(|_| ask(&mut bed, GET).contains("a.telecom")).count();
        assert_eq!(to_a, 50);
    }
}
