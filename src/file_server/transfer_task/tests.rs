use super::*;
use crate::file_server::tests::{DOWNLOAD, RECVER, SENDER, UPLOAD};
use crate::netlib::testing::handles;

const ROLES: [ClientFileRole; 4] = [SENDER, RECVER, UPLOAD, DOWNLOAD];

fn task(mode: Mode, state: TransferTaskState, file_size: u32) -> TransferTask {
    TransferTask {
        serial: 1,
        from_user_id: 1,
        to_user_id: 2,
        file_size,
        state,
        from_conn: None,
        to_conn: None,
        announced: true,
        last_update_tick: 0,
        mode,
    }
}

fn online(state: TransferTaskState) -> TransferTask {
    task(Mode::Online(OnlineTransferTask::default()), state, 100)
}

fn offline(state: TransferTaskState, file_size: u32) -> TransferTask {
    task(Mode::Offline(OfflineTransferTask::default()), state, file_size)
}

#[test]
fn f109_a_login_is_accepted_in_the_states_that_wait_for_it_and_no_other() {
    use TransferTaskState::*;
    let [conn] = handles();
    let states = [
        Invalid,
        Ready,
        WaitingSender,
        WaitingReceiver,
        WaitingTransfer,
        Transfering,
        WaitingUpload,
        Uploading,
        UploadEnd,
        WaitingDownload,
        Downloading,
        DownloadEnd,
    ];
    let mut accepted = Vec::new();
    for (make, name) in [
        (online as fn(_) -> _, "on line"),
        ((|state| offline(state, 100)) as fn(_) -> _, "off line"),
    ] {
        for state in states {
            for role in ROLES {
                let mut task: TransferTask = make(state);
                let user_id = if is_sender(role) { 1 } else { 2 };
                if task.change_pull_state(user_id, role, conn, 5) {
                    accepted.push((name, state, role, task.state));
                    assert_eq!(task.conn(role), Some(conn));
                } else {
                    assert_eq!((task.state, task.conn(role)), (state, None));
                }
            }
        }
    }
    let expected = [
        ("on line", Ready, SENDER, WaitingReceiver),
        ("on line", Ready, RECVER, WaitingSender),
        ("on line", WaitingSender, SENDER, WaitingTransfer),
        ("on line", WaitingReceiver, RECVER, WaitingTransfer),
        ("off line", Ready, UPLOAD, WaitingUpload),
        ("off line", Ready, DOWNLOAD, Ready),
        ("off line", WaitingUpload, UPLOAD, WaitingUpload),
        ("off line", WaitingUpload, DOWNLOAD, WaitingUpload),
        ("off line", Uploading, UPLOAD, Uploading),
        ("off line", Uploading, DOWNLOAD, Uploading),
        ("off line", UploadEnd, DOWNLOAD, UploadEnd),
        ("off line", WaitingDownload, DOWNLOAD, WaitingDownload),
    ];
    assert_eq!(accepted, expected);
}

#[test]
fn f5_a_role_belongs_to_its_user_and_to_one_connection() {
    let [a, b] = handles();
    for role in ROLES {
        let make = || match role {
            SENDER | RECVER => online(TransferTaskState::Ready),
            UPLOAD | DOWNLOAD => offline(TransferTaskState::Ready, 100),
        };
        let (user, other) = if is_sender(role) { (1, 2) } else { (2, 1) };
        for stranger in [other, 0, 3] {
            assert!(!make().change_pull_state(stranger, role, a, 0), "{role:?} {stranger}");
        }
        let mut task = make();
        assert!(task.change_pull_state(user, role, a, 0));
        assert!(!task.change_pull_state(user, role, b, 0));
        assert_eq!(task.conn(role), Some(a));
    }
}

#[test]
fn f112_the_opponent_is_the_other_one() {
    let [from, to] = handles();
    let mut task = online(TransferTaskState::Ready);
    task.set_conn(SENDER, Some(from));
    task.set_conn(RECVER, Some(to));
    assert_eq!(task.opponent_conn(SENDER), Some(to));
    assert_eq!(task.opponent_conn(RECVER), Some(from));
}

#[test]
fn f108_the_largest_file_has_131072_blocks_and_no_offset_overflows() {
    let [conn] = handles();
    let mut task = offline(TransferTaskState::Ready, u32::MAX);
    assert!(task.change_pull_state(1, UPLOAD, conn, 0));
    task.offline().unwrap().transfered_idx = 131_070;
    assert_eq!(task.next_upload_block(1), Some((4_294_901_760, 32_768)));
    let block = Bytes::from(vec![0; 32_768]);
    assert_eq!(task.do_recv_data(4_294_901_760, block.clone(), 1), Ok(RecvAction::Store));
    assert_eq!(task.next_upload_block(1), Some((4_294_934_528, 32_767)));
    let last = block.slice(1..);
    assert_eq!(task.do_recv_data(4_294_934_528, last, 1), Ok(RecvAction::Store));
    assert_eq!(task.state, TransferTaskState::UploadEnd);
    assert_eq!(task.next_upload_block(1), None);
    assert_eq!([0, 1, 32_768, 32_769].map(max_segment_size), [0, 1, 1, 2]);
}

#[test]
fn f107_a_block_is_taken_if_it_was_asked_for_at_its_place_in_its_size() {
    let [conn] = handles();
    let mut task = offline(TransferTaskState::Ready, 40_000);
    assert!(task.change_pull_state(1, UPLOAD, conn, 0));
    let receive = |task: &mut TransferTask, offset, len: usize| {
        task.do_recv_data(offset, vec![0; len].into(), 1)
    };
    assert_eq!(receive(&mut task, 0, 32_768), Err(Violation::NotAsked));
    assert_eq!(task.next_upload_block(1), Some((0, 32_768)));
    assert_eq!(task.next_upload_block(1), None, "it is asked for once");
    assert_eq!(receive(&mut task, 32_768, 7_232), Err(Violation::Offset));
    for len in [0, 1, 32_767, 32_769] {
        assert_eq!(receive(&mut task, 0, len), Err(Violation::Size), "{len}");
    }
    assert_eq!(receive(&mut task, 0, 32_768), Ok(RecvAction::Store));
    assert_eq!(receive(&mut task, 0, 32_768), Err(Violation::NotAsked));
    assert_eq!(task.next_upload_block(2), Some((32_768, 7_232)));
    assert_eq!(receive(&mut task, 32_768, 32_768), Err(Violation::Size));
    assert_eq!(receive(&mut task, 32_768, 7_232), Ok(RecvAction::Store));
    assert_eq!(receive(&mut task, 40_000, 1), Err(Violation::State));
}

#[test]
fn f117_a_sender_passes_on_what_was_asked_for_and_nothing_else() {
    let mut task = online(TransferTaskState::WaitingTransfer);
    let receive =
        |task: &mut TransferTask, offset| task.do_recv_data(offset, vec![0; 34 << 10].into(), 1);
    assert_eq!(receive(&mut task, 0), Err(Violation::NotAsked));
    let pull = |at: usize| Pull { offset: at as u32 * 100, seq_num: at as u16 };
    for at in 0..PULLS_MAX {
        assert!(matches!(task.do_pull_file_request(pull(at), 1), Ok(PullAction::Forward)));
    }
    let one_more = task.do_pull_file_request(pull(PULLS_MAX), 1);
    assert_eq!(one_more.unwrap_err(), Violation::TooMany);
    assert_eq!(receive(&mut task, 100), Ok(RecvAction::Forward(1)));
    assert_eq!(receive(&mut task, 100), Err(Violation::NotAsked));
    assert_eq!(receive(&mut task, 0), Ok(RecvAction::Forward(0)));
    assert!(task.do_pull_file_request(pull(PULLS_MAX), 1).is_ok());
}
