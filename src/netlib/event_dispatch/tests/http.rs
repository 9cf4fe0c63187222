//! HTTP connections on the same loop as PDU connections.

use super::*;
use crate::base::http_parser_wrapper::{HttpError, HttpRequest};
use crate::base::http_response::{HttpResponse, HttpStatus};

/// Answers with the target; `/later` is answered when somebody asks for `/now`.
struct WebConn;

impl ConnHandler for WebConn {
    type Server = TestServer;
    type Framing = HttpFraming;

    fn on_connect(cx: &mut TestCx<'_>, this: NetHandle) {
        cx.srv.conns.insert(this, ());
        cx.srv.seen.push((this, Seen::Connect));
    }

    fn on_close(cx: &mut TestCx<'_>, this: NetHandle) {
        cx.srv.conns.remove(this);
        cx.srv.seen.push((this, Seen::Close));
    }

    fn on_write_complete(cx: &mut TestCx<'_>, this: NetHandle) {
        cx.srv.seen.push((this, Seen::WriteComplete));
    }
}

impl HttpHandler for WebConn {
    fn handle_request(
        cx: &mut TestCx<'_>,
        this: NetHandle,
        request: &HttpRequest<'_>,
    ) -> Result<(), HttpError> {
        cx.srv.seen.push((this, Seen::Pdu(request.body.len() as u16)));
        if request.target == "/later" {
            cx.net.pause_read(this);
            return Ok(());
        }
        if request.target == "/told" {
            cx.net.notify_written(this);
        }
        if request.target == "/now" {
            for conn in cx.srv.conns.handles().filter(|conn| *conn != this) {
                cx.net.send(conn, &answer("/later"));
                cx.net.resume_read(conn);
            }
        }
        cx.net.send(this, &answer(request.target));
        if !request.keep_alive() {
            cx.srv.conns.remove(this);
            cx.net.close(this);
        }
        Ok(())
    }
}

fn answer(target: &str) -> Vec<u8> {
    HttpResponse::new(HttpStatus::Ok)
        .keep_alive(true)
        .body("text/plain", target.as_bytes())
        .to_bytes()
}

fn web_bed() -> Bed {
    let mut bed = bed();
    let options = ListenOptions::new(ConnLimits { message_len_max: 1000, ..ConnLimits::CLIENT });
    bed.addr = bed.dispatch.listen::<WebConn>(localhost(), options).unwrap();
    bed
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut bed = web_bed();
    let (mut client, mut other) = (bed.client(), bed.client());
    bed.accept(2);
    client.send_bytes(
        b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nPOST /b HTTP/1.1\r\nContent-Length: 3\r\n\r\nxyz\
          GET /later HTTP/1.1\r\n\r\nGET /c HTTP/1.1\r\nConnection: close\r\n\r\n",
    );
    bed.turn_until(|bed| bed.srv.seen.len() == 5);
    other.send_bytes(b"GET /now HTTP/1.1\r\n\r\n");
    bed.turn_until(|bed| bed.srv.conns.len() == 1);
    bed.turn();
    client.end_sending();
    let expected: Vec<u8> = ["/a", "/b", "/later", "/c"].into_iter().flat_map(answer).collect();
    assert_eq!(String::from_utf8(client.receive_rest()), String::from_utf8(expected));
}

#[test]
fn f128_a_bad_request_is_told_so_and_closed() {
    for (bytes, status) in [
        (&b"nonsense\r\n\r\n"[..], "400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n", "413"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "501"),
        (&[b'a'; 100_000], "431"),
    ] {
        let mut bed = web_bed();
        let mut client = bed.client();
        bed.accept(1);
        client.send_bytes(bytes);
        bed.turn_until(|bed| bed.srv.count(&Seen::Close) == 1);
        bed.turn();
        client.end_sending();
        bed.turn_until(|bed| bed.net().conn_count() == 0);
        let reply = String::from_utf8(client.receive_rest()).unwrap();
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{reply}");
        bed.assert_empty();
    }
}

#[test]
fn a_client_that_asks_before_it_sends_its_body_is_told_to_go_on() {
    let mut bed = web_bed();
    let mut client = bed.client();
    bed.accept(1);
    client.send_bytes(
        b"POST /p HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\
          Connection: close\r\n\r\n",
    );
    bed.turn_until(|bed| bed.net().stats().bytes_out > 0);
    bed.turn();
    let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
    assert_eq!(client.receive_bytes(go_on.len()), go_on);
    client.send_bytes(b"body");
    bed.turn_until(|bed| bed.srv.seen.contains(&(bed.srv.seen[0].0, Seen::Pdu(4))));
}

#[test]
fn a_service_that_asks_is_told_once_that_everything_is_written() {
    let mut bed = web_bed();
    let mut client = bed.client();
    bed.accept(1);
    client.send_bytes(b"GET /told HTTP/1.1\r\n\r\n");
    bed.turn_until(|bed| bed.srv.count(&Seen::WriteComplete) == 1);
    let expected = answer("/told");
    assert_eq!(client.receive_bytes(expected.len()), expected);
    client.send_bytes(b"GET /a HTTP/1.1\r\n\r\n");
    bed.turn_until(|bed| bed.srv.seen.len() == 4);
    bed.turn();
    client.receive_bytes(answer("/a").len());
    assert_eq!(bed.srv.count(&Seen::WriteComplete), 1);
}

#[test]
fn f42_two_classes_on_one_loop_keep_their_own_callbacks() {
    let mut bed = web_bed();
    let pdu_addr = bed.dispatch.listeners[0].local_addr().unwrap();
    let (mut web, mut pdu) = (bed.client(), Client::connect(pdu_addr));
    bed.accept(2);
    web.send_bytes(b"GET /w HTTP/1.1\r\n\r\n");
    pdu.send(&command(ECHO));
    bed.turn_until(|bed| bed.srv.seen.len() == 4);
    bed.turn();
    assert_eq!(pdu.receive(), ECHO);
    assert_eq!(web.receive_bytes(8), b"HTTP/1.1");
}
