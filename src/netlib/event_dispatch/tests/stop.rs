//! The end of the loop.

use super::*;

#[test]
fn f47_a_stop_writes_what_is_queued_before_it_closes() {
    let bed = bed();
    let (mut reader, mut last) = (bed.client(), bed.client());
    let addr = bed.addr;
    let thread = bed.spawn();
    let length = ConnLimits::CLIENT.out_len_max;
    reader.send(&request(SEND_BIG, length));
    // The first bytes are there, so all of them are queued.
    reader.receive_bytes(1);
    last.send(&command(STOP));
    assert_eq!(reader.receive_rest().len(), length as usize - 1);
    thread.join().unwrap();
    assert!(last.is_closed());
    assert!(TcpStream::connect(addr).is_err(), "nobody accepts any more");
}

#[test]
fn another_thread_may_stop_a_loop_that_sleeps_or_has_not_begun() {
    let bed = bed();
    let (mut client, stopper) = (bed.client(), bed.dispatch.stopper());
    let thread = bed.spawn();
    client.send(&command(WHO_AM_I));
    client.receive();
    stopper.stop();
    stopper.stop();
    thread.join().unwrap();
    assert!(client.is_closed());
    let bed = super::bed();
    bed.dispatch.stopper().stop();
    bed.spawn().join().unwrap();
}

#[test]
fn f48_a_stop_does_not_wait_for_a_peer_that_reads_nothing() {
    let mut bed = bed();
    let mut deaf = bed.client();
    bed.accept(1);
    deaf.send(&request(SEND_BIG, ConnLimits::CLIENT.out_len_max));
    bed.turn_until(|bed| bed.srv.count(&Seen::Pdu(SEND_BIG)) == 1);
    bed.dispatch.stop_flush_ms = 20;
    bed.dispatch.finish(&mut bed.events).unwrap();
    assert_eq!(bed.net().conn_count(), 0);
}

#[test]
fn f46_a_signal_is_an_event_of_the_loop() {
    use crate::base::signals::Signal;
    let mut bed = bed();
    let mut client = bed.client();
    bed.accept(1);
    bed.dispatch
        .handle_signals(&[Signal::User2], |cx: &mut TestCx<'_>, signal| {
            assert_eq!(signal, Signal::User2);
            for conn in cx.srv.conns.handles() {
                cx.net.send_pdu(conn, &command(SILENT));
            }
            cx.net.stop_event();
        })
        .unwrap();
    let thread = bed.spawn();
    signal_hook::low_level::raise(signal_hook::consts::SIGUSR2).unwrap();
    assert_eq!(client.receive(), SILENT);
    thread.join().unwrap();
}
