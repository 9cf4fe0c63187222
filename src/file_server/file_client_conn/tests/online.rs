//! From client to client.

use super::*;

/// Both are here: sender and receiver.
fn enter_both(bed: &mut Bed, task_id: &str) -> (NetHandle, NetHandle) {
    let sender = bed.enter(SENDER, task_id);
    let (receiver, got) = bed.log_in(2, RECVER, task_id);
    assert_eq!(got, [Got::Login(3, 0), Got::State(PEER_READY, 1)]);
    (sender, receiver)
}

#[test]
fn whoever_comes_first_the_receiver_is_told_that_both_are_here() {
    let mut bed = Bed::new();
    let task_id = bed.announce(ONLINE, 5);
    let (sender, _) = enter_both(&mut bed, &task_id);
    assert_eq!(bed.got(sender), []);
    let task_id = bed.announce(ONLINE, 5);
    let receiver = bed.enter(RECVER, &task_id);
    let (_, got) = bed.log_in(1, SENDER, &task_id);
    assert_eq!(got, [Got::Login(3, 0)]);
    assert_eq!(bed.got(receiver), [Got::State(PEER_READY, 1)]);
}

#[test]
fn blocks_pass_as_they_are_under_the_number_of_their_request() {
    let mut bed = Bed::new();
    let content = content(100_000);
    let task_id = bed.announce(ONLINE, 100_000);
    let (sender, receiver) = enter_both(&mut bed, &task_id);
    // Windows clients take blocks of 34 KiB.
    for (at, block) in content.chunks(34 << 10).enumerate() {
        let (offset, seq_num) = ((at * (34 << 10)) as u32, 10 + at as u16);
        bed.pull(receiver, &task_id, seq_num, (offset, block.len() as u32));
        assert_eq!(bed.got(sender), [Got::Pull(seq_num, offset, block.len() as u32)]);
        bed.block(sender, &task_id, offset, block);
        assert_eq!(bed.got(receiver), [Got::Data(0, seq_num, offset, block.to_vec())]);
    }
    bed.state(receiver, &task_id, 2, DONE);
    assert!(!bed.net.is_open(receiver));
    assert_eq!(bed.got(sender), [Got::State(DONE, 2)]);
    bed.pass_ms(1000);
    assert!(!bed.net.is_open(sender));
    assert_eq!(bed.totals(), (0, 0, 0, 0));
    assert!(bed.files().is_empty());
}

#[test]
fn a_cancel_or_refusal_reaches_the_other_one_in_every_state() {
    let cases = [CANCEL, REFUSE].into_iter().flat_map(|state| {
        [(state, true, true), (state, true, false), (state, false, true), (state, false, false)]
    });
    for (state, by_sender, pulled) in cases {
        let mut bed = Bed::new();
        let task_id = bed.announce(ONLINE, 5);
        let (sender, receiver) = enter_both(&mut bed, &task_id);
        if pulled {
            bed.pull(receiver, &task_id, 1, (0, 5));
            bed.got(sender);
        }
        let (own, other, user_id) =
            if by_sender { (sender, receiver, 1) } else { (receiver, sender, 2) };
        bed.state(own, &task_id, user_id, state);
        assert!(!bed.net.is_open(own));
        assert_eq!(bed.got(other), [Got::State(state, user_id)]);
        bed.pass_ms(1000);
        assert_eq!(bed.totals(), (0, 0, 0, 0));
    }
}

#[test]
fn who_is_alone_leaves_and_the_transfer_is_over() {
    for role in [SENDER, RECVER] {
        let mut bed = Bed::new();
        let task_id = bed.announce(ONLINE, 5);
        let conn = bed.enter(role, &task_id);
        bed.lose(conn);
        assert_eq!(bed.totals(), (0, 0, 0, 0));
        bed.assert_refused(1, SENDER, &task_id);
        bed.assert_refused(2, RECVER, &task_id);
    }
}

#[test]
fn when_one_vanishes_the_other_is_closed_after_it_has_got_everything() {
    for by_sender in [true, false] {
        let mut bed = Bed::new();
        let task_id = bed.announce(ONLINE, 5);
        let (sender, receiver) = enter_both(&mut bed, &task_id);
        bed.pull(receiver, &task_id, 1, (0, 5));
        bed.got(sender);
        bed.block(sender, &task_id, 0, b"hello");
        let (lost, other) = if by_sender { (sender, receiver) } else { (receiver, sender) };
        bed.lose(lost);
        bed.assert_refused(1, SENDER, &task_id);
        bed.assert_refused(2, RECVER, &task_id);
        if by_sender {
            bed.pass_ms(1000);
            assert!(bed.net.is_open(other), "the block is still on its way");
            assert_eq!(bed.got(other), [Got::Data(0, 1, 0, b"hello".to_vec())]);
        }
        bed.pass_ms(1000);
        assert!(!bed.net.is_open(other));
        assert_eq!(bed.totals(), (0, 0, 0, 0));
    }
}

#[test]
fn who_asks_or_answers_after_the_other_has_left_is_closed() {
    let mut bed = Bed::new();
    let task_id = bed.announce(ONLINE, 5);
    let (sender, receiver) = enter_both(&mut bed, &task_id);
    bed.lose(sender);
    bed.pull(receiver, &task_id, 1, (0, 5));
    assert!(!bed.net.is_open(receiver));
    let task_id = bed.announce(ONLINE, 5);
    let (sender, receiver) = enter_both(&mut bed, &task_id);
    bed.pull(receiver, &task_id, 1, (0, 5));
    bed.lose(receiver);
    bed.block(sender, &task_id, 0, b"hello");
    assert!(!bed.net.is_open(sender));
}

#[test]
fn f117_a_block_that_nobody_asked_for_closes_the_sender() {
    let mut bed = Bed::new();
    let task_id = bed.announce(ONLINE, 5);
    let (sender, receiver) = enter_both(&mut bed, &task_id);
    bed.block(sender, &task_id, 0, b"hello");
    assert!(!bed.net.is_open(sender));
    assert_eq!(bed.got(receiver), []);
}

#[test]
fn roles_are_not_exchanged() {
    let mut bed = Bed::new();
    let task_id = bed.announce(ONLINE, 5);
    let (sender, _) = enter_both(&mut bed, &task_id);
    let msg = ImFilePullDataReq { user_id: 1, task_id, ..Default::default() };
    bed.client_sends(sender, CID_FILE_PULL_DATA_REQ, 1, &msg);
    assert!(!bed.net.is_open(sender));
    let task_id = bed.announce(ONLINE, 5);
    let (_, receiver) = enter_both(&mut bed, &task_id);
    let msg = ImFilePullDataRsp { user_id: 2, task_id, ..Default::default() };
    bed.client_sends(receiver, CID_FILE_PULL_DATA_RSP, 1, &msg);
    assert!(!bed.net.is_open(receiver));
}

#[test]
fn a_sender_who_owes_a_block_for_too_long_is_closed_and_who_waits_for_a_click_is_not() {
    let mut bed = Bed::new();
    let task_id = bed.announce(ONLINE, 5);
    let (sender, receiver) = enter_both(&mut bed, &task_id);
    bed.pass_s(3600);
    assert!(bed.net.is_open(sender) && bed.net.is_open(receiver));
    bed.pull(receiver, &task_id, 1, (0, 5));
    bed.got(sender);
    bed.pass_s((BLOCK_TIMEOUT_MS / 1000) as u32 - 1);
    assert!(bed.net.is_open(sender));
    bed.pass_s(3);
    assert_eq!(bed.totals(), (0, 0, 0, 0));
}

#[test]
fn f110_a_transfer_nobody_comes_for_is_forgotten() {
    let mut bed = Bed::new();
    let task_id = bed.announce(ONLINE, 5);
    bed.skip_s(60);
    assert_eq!(bed.totals().0, 0);
    bed.assert_refused(1, SENDER, &task_id);
}

#[test]
fn a_user_may_send_himself_a_file() {
    let mut bed = Bed::new();
    let rsp = bed.ask(&crate::pb::server::ImFileTransferReq {
        from_user_id: 2,
        to_user_id: 2,
        file_name: Bytes::new(),
        file_size: 5,
        trans_mode: ONLINE.into(),
        attach_data: None,
    });
    let task_id = rsp.task_id.unwrap();
    let (sender, _) = bed.log_in(2, SENDER, &task_id);
    let (receiver, got) = bed.log_in(2, RECVER, &task_id);
    assert_eq!(got, [Got::Login(3, 0), Got::State(PEER_READY, 2)]);
    bed.pull(receiver, &task_id, 1, (0, 5));
    assert_eq!(bed.got(sender), [Got::Pull(1, 0, 5)]);
}
