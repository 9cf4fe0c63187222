//! Outgoing connections.

use std::sync::{Mutex, mpsc};

use super::*;

/// A port nobody listens on.
fn closed_port() -> SocketAddr {
    TcpListener::bind(localhost()).unwrap().local_addr().unwrap()
}

fn connect_host(bed: &mut Bed, host: &str, port: u16) -> NetHandle {
    let conn = bed.net().connect_host::<TestConn>(host, port, ConnLimits::SERVER).unwrap();
    bed.srv.conns.insert(conn, ());
    conn
}

#[test]
fn a_connect_is_confirmed_and_what_was_queued_before_goes_first() {
    let mut bed = bed();
    let peer = TcpListener::bind(localhost()).unwrap();
    let addr = peer.local_addr().unwrap();
    let conn = connect_host(&mut bed, "127.0.0.1", addr.port());
    bed.net().send_pdu(conn, &command(ECHO));
    assert_eq!(bed.net().peer_addr(conn), None);
    bed.turn_until(|bed| bed.srv.count(&Seen::Confirm) == 1);
    bed.net().send_pdu(conn, &command(SILENT));
    bed.turn();
    let mut accepted = Client(peer.accept().unwrap().0);
    assert_eq!((accepted.receive(), accepted.receive()), (ECHO, SILENT));
    assert_eq!(bed.net().peer_addr(conn), Some(addr));
    accepted.send(&command(WHO_AM_I));
    bed.turn_until(|bed| bed.srv.count(&Seen::Pdu(WHO_AM_I)) == 1);
    assert_eq!(bed.srv.seen_by(conn), [Seen::Confirm, Seen::Pdu(WHO_AM_I)]);
}

#[test]
fn f36_every_failed_connect_is_reported_once_and_never_from_inside_connect() {
    let mut bed = bed();
    let refused = connect_host(&mut bed, "127.0.0.1", closed_port().port());
    // The kernel refuses this one without asking anybody.
    let at_once = connect_host(&mut bed, "255.255.255.255", 9);
    assert_eq!(bed.srv.seen, []);
    bed.turn_until(|bed| bed.net().conn_count() == 0);
    assert_eq!(bed.srv.seen_by(refused), [Seen::Close]);
    assert_eq!(bed.srv.seen_by(at_once), [Seen::Close]);
    bed.assert_empty();
}

#[test]
fn a_connecting_handle_may_be_closed() {
    let mut bed = bed();
    let conn = connect_host(&mut bed, "127.0.0.1", closed_port().port());
    bed.net().send_pdu(conn, &command(ECHO));
    bed.srv.conns.remove(conn);
    bed.net().close(conn);
    bed.turn_until(|bed| bed.net().conn_count() == 0);
    assert_eq!(bed.srv.seen, []);
    bed.assert_empty();
}

#[test]
fn a_connect_without_answer_times_out() {
    let mut bed = bed();
    // A listener whose backlog is full answers no more.
    let deaf = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    deaf.bind(&localhost().into()).unwrap();
    deaf.listen(0).unwrap();
    let addr = deaf.local_addr().unwrap().as_socket().unwrap();
    let _fills_the_backlog = TcpStream::connect(addr).unwrap();
    bed.dispatch.connecting = Deadlines::new(20);
    let conn = connect_host(&mut bed, "127.0.0.1", addr.port());
    bed.turn_until(|bed| bed.net().conn_count() == 0);
    assert_eq!(bed.srv.seen_by(conn), [Seen::Close]);
    bed.assert_empty();
}

#[test]
fn f39_the_loop_goes_on_while_a_name_is_resolved() {
    static ANSWER: Mutex<Option<mpsc::Receiver<Vec<SocketAddr>>>> = Mutex::new(None);
    let (answer, answers) = mpsc::channel();
    *ANSWER.lock().unwrap() = Some(answers);
    let mut bed = bed();
    bed.dispatch.resolver.set_look_up(|host, port| {
        assert_eq!((host, port), ("db.example", 10600));
        ANSWER.lock().unwrap().as_ref().unwrap().recv().map_err(std_io::Error::other)
    });
    let conn = connect_host(&mut bed, "db.example", 10600);
    let mut client = bed.client();
    client.send(&command(ECHO));
    bed.turn_until(|bed| bed.srv.count(&Seen::Pdu(ECHO)) == 1);
    bed.turn();
    assert_eq!(client.receive(), ECHO);
    assert_eq!(bed.srv.seen_by(conn), []);
    // The first address refuses, the second one accepts.
    let peer = TcpListener::bind(localhost()).unwrap();
    answer.send(vec![closed_port(), peer.local_addr().unwrap()]).unwrap();
    bed.turn_until(|bed| bed.srv.count(&Seen::Confirm) == 1);
    assert_eq!(bed.srv.seen_by(conn), [Seen::Confirm]);
}

#[test]
fn f39_a_name_without_address_fails_like_any_connect() {
    let mut bed = bed();
    bed.dispatch.resolver.set_look_up(|host, _| match host {
        "empty.example" => Ok(Vec::new()),
        _ => Err(std_io::ErrorKind::NotFound.into()),
    });
    let empty = connect_host(&mut bed, "empty.example", 1);
    let unknown = connect_host(&mut bed, "unknown.example", 1);
    bed.turn_until(|bed| bed.net().conn_count() == 0);
    assert_eq!(bed.srv.seen_by(empty), [Seen::Close]);
    assert_eq!(bed.srv.seen_by(unknown), [Seen::Close]);
    bed.assert_empty();
}

#[test]
fn f39_a_name_may_lead_to_ipv6_and_ipv4() {
    let mut bed = bed();
    let peer = TcpListener::bind(localhost()).unwrap();
    let conn = connect_host(&mut bed, "localhost", peer.local_addr().unwrap().port());
    bed.turn_until(|bed| bed.srv.count(&Seen::Confirm) == 1);
    assert_eq!(bed.srv.seen_by(conn), [Seen::Confirm]);
}

#[test]
fn several_addresses_listen_on_one_port() {
    let mut bed = bed();
    let options = ListenOptions::new(ConnLimits::CLIENT);
    let dispatch = &mut bed.dispatch;
    let bound = dispatch.listen_on::<TestConn>("127.0.0.1;127.0.0.2;;::1;", 0, options).unwrap();
    let hosts: Vec<_> = bound.iter().map(|addr| addr.ip().to_string()).collect();
    assert_eq!(hosts, ["127.0.0.1", "127.0.0.2", "::1"]);
    let _clients: Vec<_> = bound.into_iter().map(Client::connect).collect();
    bed.accept(3);
}

#[test]
fn an_address_that_cannot_be_used_is_named() {
    let mut bed = bed();
    let taken = bed.addr;
    let options = ListenOptions::new(ConnLimits::CLIENT);
    let error = bed.dispatch.listen::<TestConn>(taken, options.clone()).unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot listen on {taken}: ")), "{error}");
    let error = bed.dispatch.listen_on::<TestConn>(" ; ", 80, options).unwrap_err();
    assert!(error.to_string().contains("no address to listen on for port 80"), "{error}");
}

#[test]
fn accepted_sockets_send_without_delay() {
    let mut bed = bed();
    let _client = bed.client();
    bed.accept(1);
    let conn = bed.srv.seen[0].0;
    assert!(bed.dispatch.socket(conn).unwrap().nodelay());
}
