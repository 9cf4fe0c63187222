mod download;
mod offline;
mod online;

use crate::base::im_pdu::ImPdu;
use crate::file_server::tests::*;
use crate::file_server::transfer_task::{BLOCKS_MAX, PULLS_MAX, SEGMENT_SIZE};
use crate::netlib::keepalive::CLIENT_TIMEOUT_MS;
use crate::pb::cmd::*;
use crate::pb::file::*;

use super::*;

const SEGMENT: usize = SEGMENT_SIZE as usize;

#[test]
fn f106_a_task_id_that_is_no_uuid_is_refused_and_touches_no_file() {
    let mut bed = Bed::new();
    let task_id = bed.store(b"hello");
    let dir = bed.dir.path().to_owned();
    std::fs::write(dir.join("secret"), b"x").unwrap();
    for wrong in [
        "",
        "../secret",
        "../../../../../../../etc/passwd",
        &task_id.replace('-', ""),
        &format!("{task_id}/../{task_id}"),
        &format!("{{{task_id}}}"),
        "67e55044-10b1-426f-9247-bb680e5fe0c8",
    ] {
        bed.assert_refused(2, DOWNLOAD, wrong);
    }
    assert_eq!(bed.fetch(&task_id.to_uppercase()), b"hello");
}

#[test]
fn f109_a_connection_logs_in_once() {
    let mut bed = Bed::new();
    let (a, b) = (bed.announce(ONLINE, 5), bed.announce(ONLINE, 5));
    let conn = bed.enter(SENDER, &a);
    let msg = ImFileLoginReq { user_id: 1, task_id: b.clone(), file_role: SENDER.into() };
    bed.client_sends(conn, CID_FILE_LOGIN_REQ, 4, &msg);
    assert_eq!(bed.got(conn), [Got::Login(4, 1)]);
    assert!(!bed.net.is_open(conn));
    bed.enter(SENDER, &b);
}

#[test]
fn an_unknown_role_is_refused() {
    let mut bed = Bed::new();
    let task_id = bed.announce(ONLINE, 5);
    for file_role in [0, 5, -1] {
        let conn = bed.client();
        let msg = ImFileLoginReq { user_id: 1, task_id: task_id.clone(), file_role };
        bed.client_sends(conn, CID_FILE_LOGIN_REQ, 4, &msg);
        assert_eq!(bed.got(conn), [Got::Login(4, 1)]);
        assert!(!bed.net.is_open(conn));
    }
}

#[test]
fn f5_who_is_not_logged_in_for_a_transfer_has_no_part_in_it() {
    let mut bed = Bed::new();
    let (task_id, other) = (bed.announce(ONLINE, 5), bed.announce(ONLINE, 5));
    let (sender, receiver) = (bed.enter(SENDER, &task_id), bed.enter(RECVER, &task_id));
    let uploader = {
        let task_id = bed.announce(OFFLINE, 5);
        bed.enter_upload(&task_id, 0, 5)
    };
    bed.got(receiver);
    type Attempt = fn(&mut Bed, NetHandle, &str);
    let tries: [Attempt; 3] = [
        |bed, conn, task_id| bed.pull(conn, task_id, 1, (0, 5)),
        |bed, conn, task_id| bed.block(conn, task_id, 0, b"hello"),
        |bed, conn, task_id| bed.state(conn, task_id, 1, CANCEL),
    ];
    for (at, attempt) in tries.into_iter().enumerate() {
        let conn = bed.client();
        attempt(&mut bed, conn, &task_id);
        assert!(!bed.net.is_open(conn) && bed.got(conn).is_empty(), "{at}");
    }
    assert!(bed.net.is_open(sender) && bed.net.is_open(receiver));
    // A client of one transfer has none in another one, and speaks for nobody else.
    let tries: [(NetHandle, Attempt); 3] = [
        (sender, |bed, conn, other| bed.state(conn, other, 1, CANCEL)),
        (receiver, |bed, conn, other| bed.pull(conn, other, 1, (0, 5))),
        (uploader, |bed, conn, other| bed.block(conn, other, 0, b"hello")),
    ];
    for (conn, attempt) in tries {
        attempt(&mut bed, conn, &other);
        assert!(!bed.net.is_open(conn));
    }
    let sender = bed.enter(SENDER, &other);
    bed.state(sender, &other, 2, CANCEL);
    assert!(!bed.net.is_open(sender));
}

#[test]
fn a_client_that_does_not_log_in_or_falls_silent_is_closed() {
    let mut bed = Bed::new();
    let task_id = bed.announce(ONLINE, 5);
    let (stranger, sender) = (bed.client(), bed.enter(SENDER, &task_id));
    bed.pass_ms(LOGIN_TIMEOUT_MS - 1);
    assert!(bed.net.is_open(stranger));
    bed.pass_ms(1);
    assert!(!bed.net.is_open(stranger) && bed.net.is_open(sender));
    bed.pass_ms(CLIENT_TIMEOUT_MS - LOGIN_TIMEOUT_MS);
    assert!(bed.net.is_open(sender));
    bed.pass_ms(1_000);
    assert!(!bed.net.is_open(sender));
    assert_eq!(bed.totals().0, 0);
}

#[test]
fn heartbeats_are_echoed_byte_for_byte_and_the_unknown_is_ignored() {
    let mut bed = Bed::new();
    let conn = bed.client();
    let beat = ImPdu::encode(7, CID_OTHER_HEARTBEAT, 9, &());
    bed.receive::<FileClientConn>(conn, &beat).unwrap();
    assert_eq!(bed.sent_bytes(conn), beat.as_pdu().as_bytes());
    bed.client_sends(conn, CID_FILE_REQUEST, 1, &());
    assert!(bed.net.is_open(conn) && bed.got(conn).is_empty());
}

#[test]
fn f23_bad_bodies_are_dropped_and_limits_fit_what_clients_send() {
    let mut bed = Bed::new();
    let conn = bed.client();
    for command_id in
        [CID_FILE_LOGIN_REQ, CID_FILE_STATE, CID_FILE_PULL_DATA_REQ, CID_FILE_PULL_DATA_RSP]
    {
        let header = PduHeader::new(SID_FILE, command_id, 1);
        let pdu = ImPdu::with_body(header, b"\xff\xff\xff");
        assert!(matches!(bed.receive::<FileClientConn>(conn, &pdu), Err(PduError::Decode { .. })));
    }
    assert!(bed.net.is_open(conn));
    // A block of a Windows client fits, and all blocks that a receiver may have asked for.
    let limits = crate::file_server::CLIENT_LIMITS;
    assert!(limits.message_len_max > 34 * 1024 + 200 && limits.message_len_max <= 64 * 1024);
    assert!(limits.out_len_max as usize > PULLS_MAX * limits.message_len_max as usize);
}
