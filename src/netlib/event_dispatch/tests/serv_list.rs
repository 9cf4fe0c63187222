//! Reconnecting to other servers, heartbeats and time-outs, in virtual time.

use std::iter;

use super::*;
use crate::netlib::keepalive::{self, SERVER_HEARTBEAT_INTERVAL_MS, SERVER_TIMEOUT_MS};
use crate::netlib::serv_info::{MAX_RECONNECT_CNT, MIN_RECONNECT_CNT};

fn list(seed: u64) -> ServList {
    ServList::with_seed([("10.0.0.1".to_owned(), 8100), ("10.0.0.2".to_owned(), 8100)], seed)
}

/// Fails every attempt on server 0 and returns the delays, in milliseconds.
fn delays(servers: &mut ServList, net: &mut Netlib<TestServer>, count: usize) -> Vec<u64> {
    let mut delays = Vec::new();
    for _ in 0..count {
        let failed_at = net.tick();
        servers.reset(0, failed_at);
        loop {
            net.set_tick(net.tick() + 10);
            if servers.check_reconnect::<TestConn>(net).iter().any(|(at, _)| *at == 0) {
                break;
            }
        }
        delays.push(net.tick() - failed_at);
    }
    delays
}

#[test]
fn every_server_is_connected_at_the_start() {
    let (mut servers, mut net) = (list(1), Netlib::new(5));
    let started = servers.check_reconnect::<TestConn>(&mut net);
    assert_eq!(started.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(servers.servers()[1].conn, Some(started[1].1));
    assert_eq!(servers.check_reconnect::<TestConn>(&mut net), []);
}

#[test]
fn f36_f37_a_failed_server_is_tried_again_after_growing_delays_with_jitter() {
    let (mut servers, mut net) = (list(7), Netlib::new(0));
    servers.check_reconnect::<TestConn>(&mut net);
    let delays = delays(&mut servers, &mut net, 12);
    let seconds = [1, 2, 4].into_iter().chain(iter::repeat(MAX_RECONNECT_CNT));
    assert_eq!((MIN_RECONNECT_CNT, MAX_RECONNECT_CNT), (1, 6));
    for (delay, seconds) in delays.iter().zip(seconds) {
        let nominal = seconds * 1000;
        assert!((nominal * 8 / 10..=nominal * 12 / 10 + 10).contains(delay), "{delays:?}");
    }
    assert!(delays.iter().any(|delay| delay % 1000 > 10), "no jitter: {delays:?}");
}

#[test]
fn f37_two_processes_do_not_come_back_together() {
    let firsts: std::collections::BTreeSet<u64> = (0..20)
        .map(|seed| {
            let (mut servers, mut net) = (list(seed), Netlib::new(0));
            servers.check_reconnect::<TestConn>(&mut net);
            delays(&mut servers, &mut net, 1)[0]
        })
        .collect();
    assert!(firsts.len() > 5, "{firsts:?}");
}

#[test]
fn a_connection_that_worked_starts_the_sequence_over() {
    let (mut servers, mut net) = (list(3), Netlib::new(0));
    servers.check_reconnect::<TestConn>(&mut net);
    assert!(delays(&mut servers, &mut net, 3)[2] > 3_000);
    servers.confirm(0);
    assert!(delays(&mut servers, &mut net, 1)[0] < 1_500);
}

#[test]
fn a_server_behind_a_real_socket_comes_back() {
    let mut bed = bed();
    let peer = TcpListener::bind(localhost()).unwrap();
    let port = peer.local_addr().unwrap().port();
    let mut servers = ServList::with_seed([("127.0.0.1".to_owned(), port)], 1);
    let (_, first) = servers.check_reconnect::<TestConn>(bed.net())[0];
    bed.srv.conns.insert(first, ());
    bed.turn_until(|bed| bed.srv.count(&Seen::Confirm) == 1);
    servers.confirm(0);
    drop(peer.accept().unwrap());
    bed.turn_until(|bed| bed.srv.count(&Seen::Close) == 1);
    servers.reset(0, bed.net().tick());
    assert_eq!(servers.check_reconnect::<TestConn>(bed.net()), []);
    // The loop's clock cannot be moved, but the list takes any tick.
    let mut later = Netlib::new(bed.net().tick() + 5_000);
    assert_eq!(servers.check_reconnect::<TestConn>(&mut later).len(), 1);
}

#[test]
fn f142_a_new_list_leaves_those_alone_that_are_in_both() {
    let (mut servers, mut net) = (list(1), Netlib::new(0));
    let started = servers.check_reconnect::<TestConn>(&mut net);
    servers.reset(1, 0);
    let addr = |ip: &str, port| (ip.to_owned(), port);
    // The second is waiting for its next attempt, and goes on doing so at another place.
    let gone = servers.set_servers([
        addr("10.0.0.3", 8100),
        addr("10.0.0.2", 8100),
        addr("10.0.0.1", 8101),
        addr("10.0.0.1", 8100),
    ]);
    assert_eq!(gone, []);
    assert_eq!(servers.servers()[3].conn, Some(started[0].1));
    let places = |started: Vec<(usize, NetHandle)>| -> Vec<_> {
        started.iter().map(|(at, _)| *at).collect()
    };
    assert_eq!(places(servers.check_reconnect::<TestConn>(&mut net)), [0, 2]);
    assert_eq!(servers.set_servers([addr("10.0.0.3", 8100)]).len(), 2);
    assert!(servers.check_reconnect::<TestConn>(&mut net).is_empty());
    // A server may be there several times, with a connection for each.
    let twice = [addr("10.0.0.3", 8100), addr("10.0.0.3", 8100)];
    assert_eq!(servers.set_servers(twice), []);
    assert_eq!(places(servers.check_reconnect::<TestConn>(&mut net)), [1]);
    assert_eq!(servers.set_servers([]).len(), 2);
}

/// A connection without a loop, and the service around it.
fn silent_conn() -> (TestServer, Netlib<TestServer>, NetHandle) {
    let mut net = Netlib::new(0);
    let conn =
        net.add_conn(ConnOps::of::<TestConn>(), ConnLimits::SERVER, ConnState::Connected).unwrap();
    (TestServer::default(), net, conn)
}

#[test]
fn a_heartbeat_follows_five_silent_seconds() {
    let (mut srv, mut net, conn) = silent_conn();
    net.set_tick(SERVER_HEARTBEAT_INTERVAL_MS);
    keepalive::on_server_timer::<TestConn>(&mut Cx { srv: &mut srv, net: &mut net }, conn);
    assert_eq!(net.out_len(conn), 0);
    net.set_tick(SERVER_HEARTBEAT_INTERVAL_MS + 1);
    for _ in 0..3 {
        keepalive::on_server_timer::<TestConn>(&mut Cx { srv: &mut srv, net: &mut net }, conn);
    }
    assert_eq!(net.out_len(conn), IM_PDU_HEADER_LEN);
}

#[test]
fn f38_thirty_silent_seconds_of_the_loop_clock_end_a_connection() {
    let (mut srv, mut net, conn) = silent_conn();
    net.set_tick(SERVER_TIMEOUT_MS);
    keepalive::on_server_timer::<TestConn>(&mut Cx { srv: &mut srv, net: &mut net }, conn);
    assert!(net.fail_list.is_empty());
    net.set_tick(SERVER_TIMEOUT_MS + 1);
    keepalive::on_server_timer::<TestConn>(&mut Cx { srv: &mut srv, net: &mut net }, conn);
    assert!(matches!(net.fail_list[..], [(c, CloseReason::ReceiveTimeout(30_000))] if c == conn));
}
