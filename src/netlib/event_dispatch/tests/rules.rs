//! The rules of the loop, one by one. See the module documentation of `netlib`.

use super::*;

#[test]
fn rule_1_the_loop_sleeps_until_the_next_timer() {
    let mut bed = bed();
    bed.net().register_timer(
        |cx: &mut TestCx<'_>| {
            cx.srv.seen.push((NetHandle::from_u32(0), Seen::Confirm));
            if cx.srv.count(&Seen::Confirm) == 3 {
                cx.net.stop_event();
            }
        },
        30,
    );
    let srv = bed.spawn().join().unwrap();
    assert_eq!(srv.count(&Seen::Confirm), 3);
    assert!(srv.turns <= 6, "{} turns for three timers", srv.turns);
}

#[test]
fn rule_1_without_timers_and_work_the_loop_sleeps_for_ever() {
    let mut bed = bed();
    assert!(bed.dispatch.end_turn().is_none());
    let mut client = bed.client();
    bed.accept(1);
    client.send(&command(ECHO));
    while bed.srv.count(&Seen::Pdu(ECHO)) == 0 {
        bed.turn();
    }
    assert_eq!(bed.dispatch.end_turn(), Some(Duration::ZERO), "an answer is still to be written");
    bed.dispatch.settle(&mut bed.srv);
    assert!(bed.dispatch.end_turn().is_none());
    assert_eq!(client.receive(), ECHO);
}

#[test]
fn rule_2_sending_to_a_dead_handle_does_nothing() {
    let mut bed = bed();
    let _client = bed.client();
    bed.accept(1);
    let conn = bed.srv.seen[0].0;
    let net = bed.net();
    net.close(conn);
    net.send(conn, b"bytes");
    net.send_pdu(conn, &command(ECHO));
    net.send_msg(conn, PduHeader::new(7, ECHO, 0), &());
    assert_eq!((net.out_len(conn), net.stats().bytes_out), (0, 0));
    assert_eq!((net.last_send_tick(conn), net.last_recv_tick(conn)), (0, 0));
    net.send(NetHandle::from_u32(u32::MAX), b"bytes");
}

#[test]
fn rule_3_reply_then_close_delivers_the_whole_reply() {
    let bed = bed();
    let mut clients: Vec<_> = (0..3).map(|_| bed.client()).collect();
    let thread = bed.spawn();
    clients[0].send(&command(CLOSE_ME));
    assert_eq!(clients[0].receive_rest().len(), IM_PDU_HEADER_LEN);
    // Far more than a socket buffer holds: it leaves over many turns after the close.
    clients[1].send(&request(SEND_BIG_AND_CLOSE, 7_000_000));
    assert_eq!(clients[1].receive_rest().len(), 7_000_000);
    clients[2].send(&command(STOP));
    let srv = thread.join().unwrap();
    assert_eq!(srv.count(&Seen::Close), 0, "the service itself closed");
}

#[test]
fn rule_3_a_reply_survives_bytes_that_the_peer_sends_after_it() {
    let bed = bed();
    let (mut client, mut last) = (bed.client(), bed.client());
    let thread = bed.spawn();
    let mut burst = command(CLOSE_ME).as_pdu().as_bytes().to_vec();
    // Unread input makes a plain close a reset, which can cost the peer our last words.
    burst.resize(300_000, 0xee);
    client.send_bytes(&burst);
    assert_eq!(client.receive_rest().len(), IM_PDU_HEADER_LEN);
    last.send(&command(STOP));
    thread.join().unwrap();
}

#[test]
fn rule_3_close_may_run_twice() {
    let mut bed = bed();
    let mut client = bed.client();
    bed.accept(1);
    let conn = bed.srv.seen[0].0;
    bed.net().close(conn);
    bed.net().close(conn);
    assert!(!bed.net().is_open(conn));
    bed.srv.conns.remove(conn);
    bed.turn();
    assert!(client.is_closed());
    drop(client);
    bed.turn_until(|bed| bed.net().conn_count() == 0);
    bed.assert_empty();
}

#[test]
fn rule_3_a_peer_that_never_notices_the_close_is_given_up() {
    let mut bed = bed();
    bed.dispatch.lingering = Deadlines::new(20);
    let (mut deaf, mut silent) = (bed.client(), bed.client());
    bed.accept(2);
    // One does not read what is left for it, the other does not close its side.
    deaf.send(&request(SEND_BIG_AND_CLOSE, 8 << 20));
    silent.send(&command(CLOSE_ME));
    bed.turn_until(|bed| bed.srv.conns.is_empty());
    bed.turn_until(|bed| bed.net().conn_count() == 0);
    bed.assert_empty();
}

#[test]
fn rule_4_every_end_is_reported_exactly_once() {
    let mut bed = bed();
    let [mut gone, mut bad, mut refused, mut slow] = [(); 4].map(|()| bed.client());
    bed.accept(4);
    gone.end_sending();
    bad.send_bytes(&[0; 16]);
    refused.send(&command(REFUSED));
    slow.send(&request(SEND_BIG, ConnLimits::CLIENT.out_len_max + 1));
    bed.turn_until(|bed| bed.srv.conns.is_empty());
    bed.turn_until(|bed| bed.net().conn_count() == 0);
    for conn in bed.srv.seen.iter().map(|(conn, _)| *conn).collect::<Vec<_>>() {
        let closes = bed.srv.seen_by(conn).iter().filter(|seen| **seen == Seen::Close).count();
        assert_eq!(closes, 1, "conn={conn}");
    }
    assert_eq!(bed.net().stats().failed, 4);
    for reason in ["peer_closed", "pdu_length", "pdu_refused", "output_full"] {
        assert_eq!(bed.sample(&format!("teamtalk_closed_total{{reason=\"{reason}\"}}")), 1.0);
    }
    assert_eq!(bed.sample("teamtalk_connections{class=\"TestConn\"}"), 0.0);
    assert!(bed.sample("teamtalk_loop_turn_seconds_count") > 0.0);
    for client in [&mut gone, &mut bad, &mut refused, &mut slow] {
        assert!(client.is_closed());
    }
    bed.assert_empty();
}

#[test]
fn rule_4_a_close_by_the_service_is_not_reported_to_it() {
    let mut bed = bed();
    let mut client = bed.client();
    bed.accept(1);
    client.send(&command(CLOSE_ME));
    bed.turn_until(|bed| bed.srv.conns.is_empty());
    drop(client);
    bed.turn_until(|bed| bed.net().conn_count() == 0);
    assert_eq!(bed.srv.count(&Seen::Close), 0);
}

#[test]
fn f41_a_send_never_calls_back() {
    let mut bed = bed();
    let mut client = bed.client();
    bed.accept(1);
    let conn = bed.srv.seen[0].0;
    let too_much = vec![0; ConnLimits::CLIENT.out_len_max as usize + 1];
    bed.net().send(conn, &too_much);
    bed.net().send(conn, b"more");
    assert!(bed.net().is_open(conn), "the handler that sent may go on with its connection");
    assert_eq!(bed.srv.count(&Seen::Close), 0);
    bed.turn();
    assert_eq!(bed.srv.seen_by(conn), [Seen::Connect, Seen::Close]);
    assert!(client.is_closed());
}

#[test]
fn rule_5_a_handler_may_close_any_connection_its_own_included() {
    let mut bed = bed();
    let mut clients: Vec<_> = (0..3).map(|_| bed.client()).collect();
    bed.accept(3);
    let victim = bed.srv.seen[1].0;
    clients[0].send(&request(CLOSE_OTHER, victim.to_u32()));
    bed.turn_until(|bed| bed.srv.conns.len() == 2);
    assert!(clients[1].is_closed());
    clients[0].send(&command(CLOSE_ALL));
    bed.turn_until(|bed| bed.srv.conns.is_empty());
    assert!(clients[0].is_closed() && clients[2].is_closed());
    drop(clients);
    bed.turn_until(|bed| bed.net().conn_count() == 0);
    bed.assert_empty();
}

#[test]
fn rule_6_a_busy_peer_does_not_starve_the_others() {
    let mut bed = bed();
    let (mut busy, mut other) = (bed.client(), bed.client());
    bed.accept(2);
    let silent = command(SILENT);
    let flood = silent.as_pdu().as_bytes().repeat(2 * READ_BUDGET / IM_PDU_HEADER_LEN);
    busy.send_bytes(&flood);
    other.send(&command(ECHO));
    bed.turn_until(|bed| bed.srv.count(&Seen::Pdu(ECHO)) == 1);
    assert!(bed.srv.count(&Seen::Pdu(SILENT)) <= READ_BUDGET / IM_PDU_HEADER_LEN);
    // The rest is read although no event announces it: the client sends nothing more.
    bed.turn_until(|bed| bed.srv.count(&Seen::Pdu(SILENT)) == 2 * READ_BUDGET / IM_PDU_HEADER_LEN);
    assert_eq!(other.receive(), ECHO);
}

#[test]
fn f33_an_end_that_arrives_with_data_is_seen_after_the_last_pdu() {
    let mut bed = bed();
    let mut client = bed.client();
    bed.accept(1);
    let mut bytes = command(SILENT).as_pdu().as_bytes().repeat(3);
    bytes.extend_from_slice(command(ECHO).as_pdu().as_bytes());
    bytes.extend_from_slice(&[0, 0, 0, 16, 0]);
    client.send_bytes(&bytes);
    client.end_sending();
    bed.turn_until(|bed| bed.srv.count(&Seen::Close) == 1);
    let pdu = Seen::Pdu(SILENT);
    let expected = [Seen::Connect, pdu.clone(), pdu.clone(), pdu, Seen::Pdu(ECHO), Seen::Close];
    assert_eq!(bed.srv.seen_by(bed.srv.seen[0].0), expected);
    bed.turn_until(|bed| bed.net().conn_count() == 0);
    assert_eq!(client.receive(), ECHO, "the last request was answered");
    assert!(client.is_closed());
}

#[test]
fn f33_an_end_behind_more_than_a_budget_is_seen() {
    let mut bed = bed();
    let mut client = bed.client();
    bed.accept(1);
    let count = READ_BUDGET / IM_PDU_HEADER_LEN;
    client.send_bytes(&command(SILENT).as_pdu().as_bytes().repeat(count));
    client.end_sending();
    bed.turn_until(|bed| bed.srv.count(&Seen::Close) == 1);
    assert_eq!(bed.srv.count(&Seen::Pdu(SILENT)), count);
}

#[test]
fn f34_an_event_of_a_replaced_socket_finds_nothing() {
    let mut bed = bed();
    let first = bed.client();
    bed.accept(1);
    let old = bed.srv.seen[0].0;
    drop(first);
    bed.turn_until(|bed| bed.net().conn_count() == 0);
    let mut second = bed.client();
    bed.accept(2);
    let new = bed.srv.seen.last().unwrap().0;
    assert_eq!((old.index(), old == new), (new.index(), false));
    // What a stale event does, were one left in the batch.
    bed.dispatch.on_read(old, &mut bed.srv);
    bed.dispatch.finish_connect(old, &mut bed.srv);
    bed.dispatch.write_data(old, &mut bed.srv);
    bed.dispatch.fail(old, CloseReason::PeerClosed, &mut bed.srv);
    assert!(bed.net().is_open(new));
    second.send(&command(ECHO));
    bed.turn_until(|bed| bed.srv.count(&Seen::Pdu(ECHO)) == 1);
}

#[test]
fn f43_the_answer_of_a_worker_leaves_at_once() {
    let bed = bed();
    let mut client = bed.client();
    // No timer runs: only the waker can end the sleep.
    let thread = bed.spawn();
    for _ in 0..100 {
        client.send(&command(WORK));
        assert_eq!(client.receive(), WORK);
    }
    client.send(&command(STOP));
    assert!(thread.join().unwrap().turns < 1000);
}

#[test]
fn f40_items_of_many_threads_all_arrive_in_the_order_of_each() {
    let mut bed = bed();
    let list: ResponseList<(usize, u32)> = bed.dispatch.response_list();
    let threads: Vec<_> = (0..4)
        .map(|id| {
            let list = list.clone();
            thread::spawn(move || (0..1000).for_each(|i| list.push((id, i))))
        })
        .collect();
    let mut next = [0; 4];
    while next != [1000; 4] {
        // Sleeps until a push wakes it; a lost wake would hang here.
        bed.turn();
        for (id, i) in list.take() {
            assert_eq!(i, next[id]);
            next[id] += 1;
        }
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn f32_f45_an_idle_connection_holds_no_buffer() {
    let mut bed = bed();
    let mut client = bed.client();
    bed.accept(1);
    let conn = bed.srv.seen[0].0;
    client.send_bytes(&command(ECHO).as_pdu().as_bytes()[..7]);
    bed.turn_until(|bed| bed.dispatch.net.conn_mut(conn).unwrap().in_buf.len() == 7);
    client.send_bytes(&command(ECHO).as_pdu().as_bytes()[7..]);
    client.send_bytes(&command(SILENT).as_pdu().as_bytes().repeat(10_000));
    bed.turn_until(|bed| bed.srv.count(&Seen::Pdu(SILENT)) == 10_000);
    bed.dispatch.flush_writes(&mut bed.srv);
    let conn = bed.dispatch.net.conn_mut(conn).unwrap();
    assert_eq!((conn.in_buf.capacity(), conn.out.held_bytes()), (0, 0));
    assert_eq!(client.receive(), ECHO);
}
