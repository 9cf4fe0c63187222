//! What a listener and a connection may cost, and how a service slows a peer down.

use super::*;
use crate::base::allow_list::AllowList;
use crate::base::config_value::ConfigValue;

#[test]
fn f31_connections_above_the_maximum_are_closed_at_once() {
    let limits = ConnLimits::CLIENT;
    let mut bed = bed_with(ListenOptions { conn_max: 2, ..ListenOptions::new(limits) });
    let (first, mut second) = (bed.client(), bed.client());
    bed.accept(2);
    let mut third = bed.client();
    bed.turn_until(|bed| bed.net().stats().accept_refused == 1);
    assert!(third.is_closed());
    second.send(&command(ECHO));
    bed.turn_until(|bed| bed.srv.count(&Seen::Pdu(ECHO)) == 1);
    drop(first);
    bed.turn_until(|bed| bed.net().conn_count() == 1);
    let _fourth = bed.client();
    bed.accept(3);
    assert_eq!(bed.net().stats().accept_refused, 1);
}

#[test]
fn f10_a_connection_from_elsewhere_is_closed_at_once() {
    let options = |list| ListenOptions {
        allow: AllowList::parse(list).unwrap(),
        ..ListenOptions::new(ConnLimits::SERVER)
    };
    let mut bed = bed_with(options("10.0.0.0/8;192.0.2.1"));
    let mut stranger = bed.client();
    bed.turn_until(|bed| bed.net().stats().accept_refused == 1);
    assert!(stranger.is_closed());
    bed.assert_empty();
    let mut bed = bed_with(options("10.0.0.0/8;127.0.0.1"));
    let _friend = bed.client();
    bed.accept(1);
}

#[test]
fn thousands_may_arrive_at_once() {
    let mut bed = bed();
    // Nobody accepts meanwhile: the backlog takes them all.
    let clients: Vec<_> = (0..2_000).map(|_| bed.client()).collect();
    bed.accept(2_000);
    drop(clients);
    bed.turn_until(|bed| bed.net().conn_count() == 0);
    bed.assert_empty();
}

#[test]
fn f28_a_paused_connection_is_delayed_and_loses_nothing() {
    let mut bed = bed();
    let (mut client, mut other) = (bed.client(), bed.client());
    bed.accept(2);
    let mut bytes = command(PAUSE_ME).as_pdu().as_bytes().to_vec();
    bytes.extend_from_slice(&command(SILENT).as_pdu().as_bytes().repeat(3));
    client.send_bytes(&bytes);
    bed.turn_until(|bed| bed.srv.count(&Seen::Pdu(PAUSE_ME)) == 1);
    // More arrives during the pause, and even the end.
    client.send(&command(ECHO));
    client.end_sending();
    other.send(&command(ECHO));
    bed.turn_until(|bed| bed.srv.count(&Seen::Pdu(ECHO)) == 1);
    assert_eq!(bed.srv.count(&Seen::Pdu(SILENT)), 0);
    other.send(&command(RESUME_ALL));
    bed.turn_until(|bed| bed.srv.count(&Seen::Close) == 1);
    let conn = bed.srv.seen.iter().find(|(_, seen)| *seen == Seen::Pdu(PAUSE_ME)).unwrap().0;
    let silent = Seen::Pdu(SILENT);
    let expected = [
        Seen::Connect,
        Seen::Pdu(PAUSE_ME),
        silent.clone(),
        silent.clone(),
        silent,
        Seen::Pdu(ECHO),
        Seen::Close,
    ];
    assert_eq!(bed.srv.seen_by(conn), expected);
    bed.turn_until(|bed| bed.net().conn_count() == 1);
    assert_eq!(client.receive(), ECHO);
}

#[test]
fn a_pause_holds_the_end_back_until_the_kept_pdus_are_handled() {
    let mut bed = bed();
    let (mut client, mut other) = (bed.client(), bed.client());
    bed.accept(2);
    let mut bytes = command(PAUSE_ME).as_pdu().as_bytes().to_vec();
    bytes.extend_from_slice(command(PAUSE_ME).as_pdu().as_bytes());
    bytes.extend_from_slice(command(SILENT).as_pdu().as_bytes());
    client.send_bytes(&bytes);
    client.end_sending();
    for pauses in 1..=2 {
        bed.turn_until(|bed| bed.srv.count(&Seen::Pdu(PAUSE_ME)) == pauses);
        assert_eq!(bed.srv.count(&Seen::Close), 0);
        other.send(&command(RESUME_ALL));
    }
    bed.turn_until(|bed| bed.srv.count(&Seen::Close) == 1);
    assert_eq!(bed.srv.count(&Seen::Pdu(SILENT)), 1);
}

#[test]
fn a_paused_peer_is_slowed_down_by_the_kernel() {
    let mut bed = bed();
    let mut client = bed.client();
    bed.accept(1);
    client.send(&command(PAUSE_ME));
    bed.turn_until(|bed| bed.srv.count(&Seen::Pdu(PAUSE_ME)) == 1);
    client.0.set_nonblocking(true).unwrap();
    let chunk = command(SILENT).as_pdu().as_bytes().repeat(4096);
    let mut sent = 0;
    while let Ok(n) = client.0.write(&chunk) {
        sent += n;
        assert!(sent < 256 << 20, "nothing slows the peer down");
    }
    let conn = bed.srv.seen[0].0;
    bed.net().register_timer(|cx: &mut TestCx<'_>| cx.srv.seen.clear(), 5);
    bed.turn();
    assert!(bed.dispatch.net.conn_mut(conn).unwrap().in_buf.is_empty());
}

#[test]
fn who_held_data_back_is_told_when_the_socket_has_taken_everything() {
    let mut bed = bed();
    let mut client = bed.client();
    bed.accept(1);
    client.send(&command(ECHO));
    bed.turn_until(|bed| bed.srv.count(&Seen::Pdu(ECHO)) == 1);
    let length = ConnLimits::CLIENT.out_len_max as usize;
    client.send(&request(SEND_BIG, length as u32));
    bed.turn_until(|bed| bed.srv.count(&Seen::Pdu(SEND_BIG)) == 1);
    bed.turn();
    assert_eq!(bed.srv.count(&Seen::WriteComplete), 0);
    let reader = thread::spawn(move || client.receive_bytes(16 + length).len());
    bed.turn_until(|bed| bed.srv.count(&Seen::WriteComplete) == 1);
    assert_eq!(reader.join().unwrap(), 16 + length);
}

#[test]
fn a_broadcast_reaches_everyone_but_the_sender() {
    let mut bed = bed();
    let mut clients: Vec<_> = (0..5).map(|_| bed.client()).collect();
    bed.accept(5);
    clients[2].send(&command(BROADCAST));
    clients[2].send(&command(ECHO));
    bed.turn_until(|bed| bed.srv.count(&Seen::Pdu(ECHO)) == 1);
    bed.turn();
    let got: Vec<_> = clients.iter_mut().map(Client::receive).collect();
    assert_eq!(got, [SILENT, SILENT, ECHO, SILENT, SILENT]);
}

#[test]
fn limits_may_change_with_a_login() {
    let mut bed = bed();
    let mut client = bed.client();
    bed.accept(1);
    let conn = bed.srv.seen[0].0;
    bed.net().set_limits(conn, ConnLimits { message_len_max: 16, ..ConnLimits::CLIENT });
    client.send(&command(SILENT));
    client.send(&request(SILENT, 0));
    bed.turn_until(|bed| bed.srv.count(&Seen::Close) == 1);
    assert_eq!(bed.srv.count(&Seen::Pdu(SILENT)), 1);
}

#[test]
fn f28_a_delayed_connection_goes_on_by_itself() {
    let mut bed = bed();
    let mut client = bed.client();
    bed.accept(1);
    let mut bytes = request(DELAY_ME, 40).as_pdu().as_bytes().to_vec();
    bytes.extend_from_slice(command(ECHO).as_pdu().as_bytes());
    client.send_bytes(&bytes);
    bed.turn_until(|bed| bed.srv.count(&Seen::Pdu(DELAY_ME)) == 1);
    let delayed_at = bed.net().tick();
    assert_eq!(bed.srv.count(&Seen::Pdu(ECHO)), 0);
    // No event will come: the loop has to wake by itself.
    assert!(bed.dispatch.end_turn().is_some());
    bed.turn_until(|bed| bed.srv.count(&Seen::Pdu(ECHO)) == 1);
    assert!(bed.net().tick() >= delayed_at + 40);
}

#[test]
fn f28_a_delay_ends_no_pause_and_no_longer_delay() {
    let (mut net, mut conns) = (Netlib::<TestServer>::new(0), Vec::new());
    for _ in 0..3 {
        let ops = ConnOps::of::<TestConn>();
        conns.push(net.add_conn(ops, ConnLimits::CLIENT, ConnState::Connected).unwrap());
    }
    net.delay_read(conns[0], 10);
    net.delay_read(conns[0], 30);
    net.delay_read(conns[0], 20);
    net.delay_read(conns[1], 10);
    net.pause_read(conns[1]);
    net.delay_read(conns[2], 0);
    assert_eq!(net.figures.delayed, 3, "what changed nothing is no delay");
    let mut takes = |tick| {
        net.set_tick(tick);
        net.end_delays();
        conns.iter().map(|conn| net.message_len_max(*conn).is_some()).collect::<Vec<_>>()
    };
    assert_eq!(takes(0), [false, false, true]);
    assert_eq!(takes(29), [false, false, true]);
    assert_eq!(takes(30), [true, false, true]);
    net.resume_read(conns[1]);
    assert!(net.message_len_max(conns[1]).is_some());
}
