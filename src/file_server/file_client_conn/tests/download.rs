//! Through the disk: downloads of stored files.

use std::fs;

use super::*;

#[test]
fn a_download_goes_from_the_beginning_to_the_end() {
    let mut bed = Bed::new();
    let task_id = bed.store(&content(3 * SEGMENT));
    for offset in [1, SEGMENT_SIZE, 2 * SEGMENT_SIZE, u32::MAX] {
        let conn = bed.enter(DOWNLOAD, &task_id);
        bed.pull(conn, &task_id, 1, (offset, SEGMENT_SIZE));
        assert!(!bed.net.is_open(conn), "{offset}");
    }
    let conn = bed.enter(DOWNLOAD, &task_id);
    bed.pull(conn, &task_id, 1, (0, SEGMENT_SIZE));
    bed.settle();
    bed.pull(conn, &task_id, 1, (0, SEGMENT_SIZE));
    assert!(!bed.net.is_open(conn));
    assert_eq!(bed.fetch(&task_id), content(3 * SEGMENT));
}

#[test]
fn a_receiver_who_vanishes_at_any_time_has_done_no_harm() {
    let mut bed = Bed::new();
    let task_id = bed.store(&content(3 * SEGMENT));
    for blocks in 0..3 {
        for asks in [true, false] {
            let conn = bed.enter(DOWNLOAD, &task_id);
            bed.assert_refused(2, DOWNLOAD, &task_id);
            for at in 0..blocks {
                bed.pull(conn, &task_id, 1, (at * SEGMENT_SIZE, SEGMENT_SIZE));
                bed.settle();
            }
            if asks {
                bed.pull(conn, &task_id, 1, (blocks * SEGMENT_SIZE, SEGMENT_SIZE));
            }
            bed.lose(conn);
            bed.settle();
            assert_eq!(bed.totals().0, 0);
        }
    }
    assert_eq!(bed.fetch(&task_id), content(3 * SEGMENT));
}

#[test]
fn f111_a_transfer_of_before_and_one_of_now_do_not_mix() {
    let mut bed = Bed::new();
    let task_id = bed.store(&content(2 * SEGMENT));
    let first = bed.enter(DOWNLOAD, &task_id);
    bed.pull(first, &task_id, 1, (0, SEGMENT_SIZE));
    // Gone while a worker reads for it; somebody else comes before the worker is done.
    bed.lose(first);
    let second = bed.client();
    let req = ImFileLoginReq { user_id: 2, task_id: task_id.clone(), file_role: DOWNLOAD.into() };
    bed.client_sends(second, CID_FILE_LOGIN_REQ, 1, &req);
    bed.settle();
    assert_eq!(bed.got(second), [Got::Login(1, 0)]);
    assert_eq!(bed.download(second, &task_id), content(2 * SEGMENT));
}

#[test]
fn f117_a_receiver_who_does_not_read_holds_one_block() {
    let mut bed = Bed::new();
    let task_id = bed.store(&content(3 * SEGMENT));
    let conn = bed.enter(DOWNLOAD, &task_id);
    let pull = |offset| {
        let msg = ImFilePullDataReq {
            task_id: task_id.clone(),
            user_id: 2,
            trans_mode: OFFLINE.into(),
            offset,
            data_size: SEGMENT_SIZE,
        };
        let pdu = ImPdu::encode(SID_FILE, CID_FILE_PULL_DATA_REQ, 1, &msg);
        pdu.as_pdu().as_bytes().to_vec()
    };
    let pulls = [0, SEGMENT_SIZE, 2 * SEGMENT_SIZE].map(pull);
    for at in 0..3 {
        let bytes = pulls[at..].concat();
        let used = bed.receive_bytes::<FileClientConn>(conn, &bytes).unwrap();
        assert_eq!(used, pulls[at].len(), "one request at a time");
        bed.settle();
        let queued = bed.net.out_len(conn);
        assert!((SEGMENT..SEGMENT + 300).contains(&queued), "{queued}");
        if at < 2 {
            let bytes = pulls[at + 1..].concat();
            assert_eq!(bed.receive_bytes::<FileClientConn>(conn, &bytes).unwrap(), 0);
        }
        assert!(matches!(bed.got(conn)[0], Got::Data(0, 1, ..)));
        FileClientConn::on_write_complete(&mut bed.cx(), conn);
    }
}

#[test]
fn a_damaged_or_missing_file_is_refused_when_its_block_is_asked_for() {
    let mut bed = Bed::new();
    let task_id = bed.store(&content(SEGMENT + 5));
    let path = bed.files().remove(0);
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, &bytes).unwrap();
    let conn = bed.enter(DOWNLOAD, &task_id);
    bed.pull(conn, &task_id, 1, (0, SEGMENT_SIZE));
    bed.settle();
    assert!(matches!(bed.got(conn)[..], [Got::Data(0, 1, 0, _)]));
    bed.pull(conn, &task_id, 2, (SEGMENT_SIZE, 5));
    bed.settle();
    assert_eq!(bed.got(conn), [Got::Data(1, 2, SEGMENT_SIZE, Vec::new())]);
    assert!(!bed.net.is_open(conn));
    fs::remove_file(&path).unwrap();
    let conn = bed.enter(DOWNLOAD, &task_id);
    bed.pull(conn, &task_id, 1, (0, SEGMENT_SIZE));
    bed.settle();
    assert_eq!(bed.got(conn), [Got::Data(1, 1, 0, Vec::new())]);
    assert!(!bed.net.is_open(conn));
    assert_eq!(bed.totals().0, 0);
}

#[test]
fn a_receiver_who_does_not_say_that_it_has_everything_is_closed() {
    let mut bed = Bed::new();
    let task_id = bed.store(b"hello");
    let conn = bed.enter(DOWNLOAD, &task_id);
    bed.download(conn, &task_id);
    bed.pass_s(4);
    assert!(bed.net.is_open(conn));
    bed.pass_s(1);
    assert!(!bed.net.is_open(conn));
    assert_eq!(bed.totals().0, 0);
}
