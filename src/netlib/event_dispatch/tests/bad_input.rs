//! What no client of the protocol sends: each gets its answer, nobody else is disturbed.

use super::*;

/// Sends `bytes` on one connection while another one talks; returns the first one's client.
fn attack(bytes: &[u8]) -> (Bed, Client) {
    let mut bed = bed();
    let (mut attacker, mut honest) = (bed.client(), bed.client());
    bed.accept(2);
    attacker.send_bytes(bytes);
    bed.turn_until(|bed| bed.net().stats().bytes_in as usize >= bytes.len().min(16));
    honest.send(&command(ECHO));
    bed.turn_until(|bed| bed.srv.count(&Seen::Pdu(ECHO)) >= 1);
    bed.turn();
    assert_eq!(honest.receive(), ECHO);
    (bed, attacker)
}

fn assert_closed(bytes: &[u8]) {
    let (mut bed, mut attacker) = attack(bytes);
    bed.turn_until(|bed| bed.net().conn_count() == 1);
    assert_eq!((bed.srv.count(&Seen::Close), bed.srv.conns.len()), (1, 1));
    assert!(attacker.is_closed(), "{bytes:?}");
}

#[test]
fn f22_every_length_below_a_header_closes() {
    for length in 0..IM_PDU_HEADER_LEN as u32 {
        assert_closed(&length.to_be_bytes());
    }
}

#[test]
fn f23_a_length_above_the_limit_closes_before_anything_is_kept() {
    let max = ConnLimits::CLIENT.message_len_max;
    for length in [max + 1, i32::MAX as u32, u32::MAX] {
        assert_closed(&length.to_be_bytes());
    }
}

#[test]
fn garbage_closes() {
    assert_closed(b"GET / HTTP/1.1\r\nHost: example\r\n\r\n");
    assert_closed(&[0xff; 4096]);
}

#[test]
fn a_pdu_of_the_greatest_length_is_served() {
    let bed = bed();
    let (mut client, mut last) = (bed.client(), bed.client());
    let thread = bed.spawn();
    let max = ConnLimits::CLIENT.message_len_max;
    let mut bytes = vec![7; max as usize];
    bytes[..4].copy_from_slice(&max.to_be_bytes());
    bytes[10..12].copy_from_slice(&ECHO.to_be_bytes());
    // Two in a row: the second starts in the middle of a read.
    bytes.extend_from_slice(&bytes.clone());
    let mut writer = Client(client.0.try_clone().unwrap());
    let sent = bytes.clone();
    let writing = thread::spawn(move || writer.send_bytes(&sent));
    assert!(client.receive_bytes(bytes.len()) == bytes);
    writing.join().unwrap();
    last.send(&command(STOP));
    assert_eq!(thread.join().unwrap().count(&Seen::Pdu(ECHO)), 2);
}

#[test]
fn a_header_that_never_completes_waits_and_costs_its_own_bytes_only() {
    let (mut bed, _attacker) = attack(&[0, 0, 0, 100, 0, 1, 0]);
    let conn = bed.srv.seen[0].0;
    assert!(bed.net().is_open(conn));
    assert_eq!(bed.dispatch.net.conn_mut(conn).unwrap().in_buf.capacity(), 7);
}

#[test]
fn f25_pdus_behind_one_that_closes_are_not_handled() {
    let mut bed = bed();
    let mut client = bed.client();
    bed.accept(1);
    let mut bytes = command(CLOSE_ME).as_pdu().as_bytes().to_vec();
    bytes.extend_from_slice(&command(SILENT).as_pdu().as_bytes().repeat(5));
    client.send_bytes(&bytes);
    bed.turn_until(|bed| bed.srv.conns.is_empty());
    client.end_sending();
    bed.turn_until(|bed| bed.net().conn_count() == 0);
    assert_eq!(bed.srv.count(&Seen::Pdu(SILENT)), 0);
    assert_eq!(client.receive(), CLOSE_ME);
}

#[test]
fn a_refused_command_closes_behind_the_answers_before_it() {
    let mut bed = bed();
    let mut client = bed.client();
    bed.accept(1);
    let mut bytes = command(ECHO).as_pdu().as_bytes().to_vec();
    bytes.extend_from_slice(command(REFUSED).as_pdu().as_bytes());
    client.send_bytes(&bytes);
    bed.turn_until(|bed| bed.net().conn_count() == 0);
    assert_eq!(client.receive(), ECHO);
    assert!(client.is_closed());
}

#[test]
fn f24_a_peer_that_reads_nothing_is_closed_at_its_limit() {
    let mut bed = bed();
    let (mut slow, mut other) = (bed.client(), bed.client());
    bed.accept(2);
    let max = ConnLimits::CLIENT.out_len_max;
    slow.send(&request(SEND_BIG, max));
    bed.turn_until(|bed| bed.srv.count(&Seen::Pdu(SEND_BIG)) == 1);
    bed.turn();
    let conn = bed.srv.seen.iter().find(|(_, seen)| *seen == Seen::Pdu(SEND_BIG)).unwrap().0;
    let queued = bed.net().out_len(conn);
    assert!(queued > 0, "the socket took {max} bytes");
    slow.send(&request(SEND_BIG, max));
    bed.turn_until(|bed| bed.srv.count(&Seen::Close) == 1);
    assert_eq!(bed.srv.seen_by(conn).last(), Some(&Seen::Close));
    bed.turn_until(|bed| bed.net().conn_count() == 1);
    other.send(&command(ECHO));
    bed.turn_until(|bed| bed.srv.count(&Seen::Pdu(ECHO)) == 1);
    bed.turn();
    assert_eq!(other.receive(), ECHO);
}

#[test]
fn f24_a_send_error_closes() {
    let mut bed = bed();
    let mut client = bed.client();
    bed.accept(1);
    client.send(&request(SEND_BIG, ConnLimits::CLIENT.out_len_max));
    bed.turn_until(|bed| bed.srv.count(&Seen::Pdu(SEND_BIG)) == 1);
    // Closing over unread bytes resets the connection, so the server's next write fails.
    drop(client);
    bed.turn_until(|bed| bed.srv.count(&Seen::Close) == 1);
    bed.turn_until(|bed| bed.net().conn_count() == 0);
    bed.assert_empty();
}

#[test]
fn urgent_data_closes() {
    let mut bed = bed();
    let mut client = bed.client();
    bed.accept(1);
    client.send(&command(ECHO));
    socket2::SockRef::from(&client.0).send_out_of_band(b"!").unwrap();
    bed.turn_until(|bed| bed.srv.count(&Seen::Close) == 1);
    assert!(bed.srv.count(&Seen::Pdu(ECHO)) <= 1);
    bed.turn_until(|bed| bed.net().conn_count() == 0);
}

#[test]
fn bodies_that_do_not_parse_are_dropped_until_there_are_too_many() {
    let mut bed = bed();
    let mut client = bed.client();
    bed.accept(1);
    let bad = ImPdu::with_body(PduHeader::new(7, TEXT, 0), &[0x0a, 0x7f]);
    let good = ImPdu::encode(7, TEXT, 0, &"text".to_owned());
    for _ in 0..ConnLimits::CLIENT.bad_bodies_max {
        client.send(&bad);
    }
    client.send(&good);
    bed.turn_until(|bed| bed.net().stats().bytes_out > 0);
    assert_eq!(bed.srv.count(&Seen::Close), 0);
    client.send(&bad);
    bed.turn_until(|bed| bed.net().conn_count() == 0);
    assert_eq!(client.receive(), TEXT);
    assert!(client.is_closed());
}

#[test]
fn f27_odd_attach_data_costs_one_answer_and_not_the_connection() {
    let mut bed = bed_with(ListenOptions::new(ConnLimits::SERVER));
    let mut client = bed.client();
    bed.accept(1);
    let short = ImPdu::with_body(PduHeader::new(7, ATTACHED, 0), &[0; 11]);
    let bad = ImPdu::with_body(PduHeader::new(7, TEXT, 0), &[0x0a, 0x7f]);
    for _ in 0..100 {
        client.send(&short);
        client.send(&bad);
    }
    client.send(&ImPdu::with_body(PduHeader::new(7, ATTACHED, 0), &[0; 12]));
    bed.turn_until(|bed| bed.net().stats().bytes_out > 0);
    bed.turn();
    assert_eq!(bed.srv.count(&Seen::Pdu(ATTACHED)), 101);
    assert_eq!(client.receive(), ATTACHED);
}

#[test]
fn a_header_that_never_completes_and_a_peer_that_drips_are_closed() {
    let mut bed = bed();
    bed.dispatch.message_time_ms = 30;
    bed.dispatch.partial = Deadlines::new(30);
    let [mut stuck, mut drips, mut honest] = [(); 3].map(|()| bed.client());
    bed.accept(3);
    stuck.send_bytes(&[0, 0, 0]);
    drips.send_bytes(&10_000u32.to_be_bytes());
    bed.turn_until(|bed| {
        // One byte a turn keeps a connection lively, but brings no message. Once it is closed
        // nobody takes the byte.
        let _ = drips.0.write_all(&[0]);
        honest.send(&command(ECHO));
        bed.srv.conns.len() == 1
    });
    assert!(stuck.is_closed() && drips.is_closed());
    assert_eq!(honest.receive(), ECHO);
}

#[test]
fn a_long_message_may_take_longer() {
    let mut bed = bed();
    bed.dispatch.message_time_ms = 0;
    bed.dispatch.partial = Deadlines::new(20);
    let mut client = bed.client();
    bed.accept(1);
    let mut bytes = command(SILENT).as_pdu().as_bytes().to_vec();
    bytes.extend_from_slice(&1_000_000u32.to_be_bytes());
    bytes.resize(400_000, 0);
    client.send_bytes(&bytes);
    bed.turn_until(|bed| bed.net().stats().bytes_in == 400_000);
    let start = bed.net().tick();
    bed.turn_until(|bed| bed.net().tick() > start + 60);
    assert_eq!(bed.srv.conns.len(), 1, "400 000 bytes may take 100 s");
}
