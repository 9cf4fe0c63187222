//! Through the disk: uploads, and downloads that wait for them.

use std::fs;

use super::*;

#[test]
fn a_file_of_any_size_is_stored_and_fetched_as_it_is() {
    let mut bed = Bed::new();
    for len in [1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 5 * SEGMENT + 7] {
        let content = content(len);
        let task_id = bed.store(&content);
        assert_eq!(bed.fetch(&task_id), content, "{len}");
        // Once more, it is still there.
        assert_eq!(bed.fetch(&task_id), content, "{len}");
    }
    assert_eq!(bed.totals().0, 0, "nothing but stored files");
}

#[test]
fn f108_an_empty_file_is_complete_at_once() {
    let mut bed = Bed::new();
    let task_id = bed.announce(OFFLINE, 0);
    let (conn, got) = bed.log_in(1, UPLOAD, &task_id);
    assert_eq!(got, [Got::Login(3, 0), Got::State(DONE, 1)]);
    assert!(!bed.net.is_open(conn));
    assert_eq!(bed.fetch(&task_id), b"");
}

#[test]
fn files_outlive_restarts_and_wait_for_days() {
    let mut bed = Bed::new();
    let content = content(2 * SEGMENT + 1);
    let (a, b) = (bed.store(&content), bed.store(b"hello"));
    let bytes = bed.totals().2;
    let mut bed = bed.restart();
    assert_eq!(bed.totals(), (0, 2, bytes, 0));
    bed.skip_s(29 * 24 * 3600);
    assert_eq!((bed.fetch(&a), bed.fetch(&b)), (content, b"hello".to_vec()));
    bed.skip_s(3 * 24 * 3600);
    bed.settle();
    assert_eq!((bed.totals(), bed.files().len()), ((0, 0, 0, 0), 0));
    bed.assert_refused(2, DOWNLOAD, &a);
}

#[test]
fn f115_a_fetched_file_is_kept_for_a_day_and_one_that_was_not_confirmed_for_long() {
    let mut bed = Bed::new();
    let (fetched, broken) = (bed.store(b"hello"), bed.store(b"hello"));
    bed.fetch(&fetched);
    let conn = bed.enter(DOWNLOAD, &broken);
    bed.download(conn, &broken);
    bed.lose(conn);
    bed.skip_s(24 * 3600 - 10);
    bed.fetch(&fetched);
    bed.skip_s(20);
    bed.settle();
    assert_eq!((bed.totals().1, bed.files().len()), (1, 1));
    bed.assert_refused(2, DOWNLOAD, &fetched);
    assert_eq!(bed.fetch(&broken), b"hello");
}

#[test]
fn f115_a_full_disk_refuses_uploads_and_nothing_else() {
    let mut bed = Bed::new();
    let task_id = bed.store(b"hello");
    let mut bed = bed.restart_with("DiskReserveMB=4294967295\n");
    assert_eq!(bed.try_announce(OFFLINE, 1, 1), None);
    assert!(bed.try_announce(ONLINE, 1, 1 << 20).is_some());
    assert_eq!(bed.fetch(&task_id), b"hello");
    // Looked at again and again, by a worker.
    bed.skip_s(10);
    bed.settle();
    assert_eq!(bed.try_announce(OFFLINE, 1, 1), None);
}

#[test]
fn f115_what_exceeds_a_quota_is_refused_and_room_comes_back() {
    let mut bed = Bed::with("OfflineQuotaMB=3\nOfflineUserQuotaMB=2\n");
    let first = bed.announce(OFFLINE, 1 << 20);
    assert_eq!(bed.try_announce(OFFLINE, 1, 1 << 20), None, "its header counts");
    assert_eq!(bed.try_announce(OFFLINE, 1, u32::MAX), None);
    assert!(bed.try_announce(OFFLINE, 1, 1 << 19).is_some());
    assert!(bed.try_announce(OFFLINE, 2, 1 << 20).is_some());
    assert_eq!(bed.try_announce(OFFLINE, 3, 1 << 20), None, "all together");
    // What goes from client to client takes no room.
    assert!(bed.try_announce(ONLINE, 1, u32::MAX).is_some());
    let conn = bed.enter_upload(&first, 0, 1 << 20);
    bed.state(conn, &first, 1, CANCEL);
    assert!(bed.try_announce(OFFLINE, 1, 1 << 20).is_some());
    bed.skip_s(60);
    assert_eq!(bed.totals(), (0, 0, 0, 0));
}

#[test]
fn an_upload_that_breaks_off_goes_on_where_it_was() {
    let mut bed = Bed::new();
    let content = content(4 * SEGMENT + 5);
    let size = content.len() as u32;
    let task_id = bed.announce(OFFLINE, size);
    let mut conn = bed.enter_upload(&task_id, 0, size);
    for at in [0, 1, 2] {
        let offset = at * SEGMENT;
        bed.block(conn, &task_id, offset as u32, &content[offset..offset + SEGMENT]);
        bed.lose(conn);
        bed.settle();
        bed.pass_s(59);
        conn = bed.enter_upload(&task_id, (offset + SEGMENT) as u32, size);
    }
    bed.upload(conn, &task_id, 3 * SEGMENT, &content);
    assert_eq!(bed.got(conn), [Got::State(DONE, 1)]);
    assert_eq!(bed.fetch(&task_id), content);
}

#[test]
fn an_uploader_who_comes_back_while_the_file_is_being_created_is_answered_once_it_is() {
    let mut bed = Bed::new();
    let task_id = bed.announce(OFFLINE, 5);
    let req = ImFileLoginReq { user_id: 1, task_id: task_id.clone(), file_role: UPLOAD.into() };
    let first = bed.client();
    bed.client_sends(first, CID_FILE_LOGIN_REQ, 1, &req);
    bed.lose(first);
    let second = bed.client();
    bed.client_sends(second, CID_FILE_LOGIN_REQ, 2, &req);
    assert_eq!(bed.got(second), []);
    bed.settle();
    assert_eq!(bed.got(second), [Got::Login(2, 0), Got::Pull(0, 0, 5)]);
    bed.upload(second, &task_id, 0, b"hello");
    assert_eq!(bed.fetch(&task_id), b"hello");
}

#[test]
fn f110_an_upload_that_nobody_goes_on_with_leaves_nothing() {
    let mut bed = Bed::new();
    let task_id = bed.announce(OFFLINE, 2 * SEGMENT_SIZE);
    let conn = bed.enter_upload(&task_id, 0, 2 * SEGMENT_SIZE);
    bed.block(conn, &task_id, 0, &content(SEGMENT));
    bed.settle();
    assert_eq!(bed.files().len(), 1);
    bed.lose(conn);
    bed.pass_s(59);
    assert_eq!(bed.files().len(), 1);
    bed.pass_s(11);
    bed.settle();
    assert_eq!((bed.totals(), bed.files().len()), ((0, 0, 0, 0), 0));
    bed.assert_refused(1, UPLOAD, &task_id);
}

#[test]
fn f110_a_cancelled_upload_leaves_nothing_whoever_cancels_and_whenever() {
    let cases = [0, 1, 2].into_iter().flat_map(|blocks| [(true, blocks), (false, blocks)]);
    for (by_uploader, blocks) in cases {
        let mut bed = Bed::new();
        let task_id = bed.announce(OFFLINE, 2 * SEGMENT_SIZE);
        let uploader = bed.enter_upload(&task_id, 0, 2 * SEGMENT_SIZE);
        let receiver = bed.enter(DOWNLOAD, &task_id);
        // After two blocks, a worker is completing the file.
        for at in 0..blocks {
            bed.block(uploader, &task_id, at * SEGMENT_SIZE, &content(SEGMENT));
        }
        bed.got(uploader);
        let (own, other, user_id) =
            if by_uploader { (uploader, receiver, 1) } else { (receiver, uploader, 2) };
        bed.state(own, &task_id, user_id, CANCEL);
        assert_eq!(bed.got(other), [Got::State(CANCEL, user_id)]);
        assert!(!bed.net.is_open(uploader) && !bed.net.is_open(receiver));
        bed.settle();
        assert_eq!((bed.totals(), bed.files().len()), ((0, 0, 0, 0), 0));
        bed.assert_refused(1, UPLOAD, &task_id);
        bed.assert_refused(2, DOWNLOAD, &task_id);
    }
}

#[test]
fn f109_a_receiver_who_comes_early_waits_for_the_upload() {
    let mut bed = Bed::new();
    let content = content(SEGMENT + 5);
    let task_id = bed.announce(OFFLINE, content.len() as u32);
    // The Windows client comes as soon as it is told of the task, and asks when its user clicks.
    let receiver = bed.enter(DOWNLOAD, &task_id);
    let uploader = bed.enter_upload(&task_id, 0, content.len() as u32);
    bed.pull(receiver, &task_id, 5, (0, 34 << 10));
    bed.settle();
    assert_eq!(bed.got(receiver), []);
    bed.upload(uploader, &task_id, 0, &content);
    assert_eq!(bed.got(receiver), [Got::Data(0, 5, 0, content[..SEGMENT].to_vec())]);
    bed.pull(receiver, &task_id, 6, (SEGMENT_SIZE, SEGMENT_SIZE));
    bed.settle();
    let last = Got::Data(0, 6, SEGMENT_SIZE, content[SEGMENT..].to_vec());
    assert_eq!(bed.got(receiver), [last, Got::State(DONE, 1)]);
    // One who has gone again asked for nobody else.
    let task_id = bed.announce(OFFLINE, 5);
    let first = bed.enter(DOWNLOAD, &task_id);
    bed.pull(first, &task_id, 5, (0, 34 << 10));
    bed.lose(first);
    let second = bed.enter(DOWNLOAD, &task_id);
    let uploader = bed.enter_upload(&task_id, 0, 5);
    bed.upload(uploader, &task_id, 0, b"hello");
    assert_eq!(bed.got(second), []);
    assert_eq!(bed.download(second, &task_id), b"hello");
    // One who has not asked yet.
    let task_id = bed.announce(OFFLINE, 5);
    let receiver = bed.enter(DOWNLOAD, &task_id);
    let uploader = bed.enter_upload(&task_id, 0, 5);
    bed.upload(uploader, &task_id, 0, b"hello");
    assert_eq!(bed.got(receiver), []);
    bed.pass_s(3600);
    assert_eq!(bed.download(receiver, &task_id), b"hello");
}

#[test]
fn a_receiver_who_waits_for_an_uploader_in_vain_is_told() {
    let mut bed = Bed::new();
    let task_id = bed.announce(OFFLINE, 5);
    let receiver = bed.enter(DOWNLOAD, &task_id);
    let uploader = bed.enter_upload(&task_id, 0, 5);
    bed.lose(uploader);
    bed.skip_s(60);
    assert_eq!(bed.got(receiver), [Got::State(CANCEL, 1)]);
    assert!(!bed.net.is_open(receiver));
}

#[test]
fn f107_a_block_of_another_size_closes_and_the_upload_can_go_on() {
    let mut bed = Bed::new();
    let content = content(SEGMENT + 5);
    let size = content.len() as u32;
    let task_id = bed.announce(OFFLINE, size);
    for (offset, len) in [(0, SEGMENT - 1), (0, SEGMENT + 1), (0, 0), (SEGMENT_SIZE, 5)] {
        let conn = bed.enter_upload(&task_id, 0, size);
        bed.block(conn, &task_id, offset, &vec![1; len]);
        assert!(!bed.net.is_open(conn), "{offset} {len}");
    }
    let conn = bed.enter_upload(&task_id, 0, size);
    bed.upload(conn, &task_id, 0, &content);
    assert_eq!(bed.fetch(&task_id), content);
}

#[test]
fn f116_the_disk_may_lag_behind_by_a_few_blocks_and_no_more() {
    let mut bed = Bed::new();
    let content = content(10 * SEGMENT);
    let size = content.len() as u32;
    let task_id = bed.announce(OFFLINE, size);
    let conn = bed.enter_upload(&task_id, 0, size);
    // Workers may be done, but the loop has not heard of it.
    for at in 0..BLOCKS_MAX {
        let block = &content[at * SEGMENT..(at + 1) * SEGMENT];
        bed.block(conn, &task_id, (at * SEGMENT) as u32, block);
        let next = ((at + 1) * SEGMENT) as u32;
        let expected = [Got::Pull(0, next, SEGMENT_SIZE)];
        let asked: &[Got] = if at + 1 < BLOCKS_MAX { &expected } else { &[] };
        assert_eq!(bed.got(conn), asked, "{at}");
    }
    bed.settle();
    let next = (BLOCKS_MAX * SEGMENT) as u32;
    assert_eq!(bed.got(conn), [Got::Pull(0, next, SEGMENT_SIZE)]);
    bed.upload(conn, &task_id, BLOCKS_MAX * SEGMENT, &content);
    assert_eq!(bed.fetch(&task_id), content);
}

#[test]
fn an_uploader_who_owes_a_block_for_too_long_is_closed() {
    let mut bed = Bed::new();
    let task_id = bed.announce(OFFLINE, 5);
    let conn = bed.enter_upload(&task_id, 0, 5);
    bed.pass_s((BLOCK_TIMEOUT_MS / 1000) as u32 - 1);
    assert!(bed.net.is_open(conn));
    bed.pass_s(1);
    assert!(!bed.net.is_open(conn));
}

#[test]
fn done_of_an_uploader_does_not_deceive_the_receiver() {
    let mut bed = Bed::new();
    let task_id = bed.announce(OFFLINE, 5);
    let receiver = bed.enter(DOWNLOAD, &task_id);
    let uploader = bed.enter_upload(&task_id, 0, 5);
    bed.state(uploader, &task_id, 1, DONE);
    assert!(!bed.net.is_open(uploader));
    assert_eq!(bed.got(receiver), []);
    let uploader = bed.enter_upload(&task_id, 0, 5);
    bed.upload(uploader, &task_id, 0, b"hello");
    assert_eq!(bed.download(receiver, &task_id), b"hello");
}

#[test]
fn a_file_that_cannot_be_created_is_refused_and_harms_nobody() {
    let mut bed = Bed::new();
    let good = bed.announce(OFFLINE, 5);
    let good_conn = bed.enter_upload(&good, 0, 5);
    let task_id = loop {
        let task_id = bed.announce(OFFLINE, 5);
        if task_id[..2] != good[..2] {
            break task_id;
        }
    };
    let (tasks, _, bytes, _) = bed.totals();
    // No directory can be made where there is a file.
    fs::write(bed.dir.path().join(&task_id[..2]), b"in the way").unwrap();
    let receiver = bed.enter(DOWNLOAD, &task_id);
    bed.assert_refused(1, UPLOAD, &task_id);
    assert_eq!(bed.got(receiver), [Got::State(CANCEL, 1)]);
    assert!(!bed.net.is_open(receiver));
    assert_eq!((bed.totals().0, bed.totals().2), (tasks - 1, bytes - 4096));
    bed.upload(good_conn, &good, 0, b"hello");
    assert_eq!(bed.fetch(&good), b"hello");
}

#[test]
fn a_disk_that_is_full_in_the_middle_cancels_that_upload_alone() {
    let mut bed = Bed::new();
    let (good, bad) = (bed.announce(OFFLINE, 5), bed.announce(OFFLINE, 2 * SEGMENT_SIZE));
    let good_conn = bed.enter_upload(&good, 0, 5);
    let conn = bed.enter_upload(&bad, 0, 2 * SEGMENT_SIZE);
    let receiver = bed.enter(DOWNLOAD, &bad);
    let task = bed.srv.tasks.find_by_task_id(TaskId::parse(&bad).unwrap()).unwrap();
    let Slot::Upload(file) = &mut task.offline().unwrap().slot else { panic!("no file") };
    file.fail_writes();
    bed.block(conn, &bad, 0, &content(SEGMENT));
    bed.settle();
    assert_eq!(bed.got(conn).last(), Some(&Got::State(CANCEL, 1)));
    assert_eq!(bed.got(receiver), [Got::State(CANCEL, 1)]);
    assert!(!bed.net.is_open(conn) && !bed.net.is_open(receiver));
    assert_eq!(bed.files().len(), 1, "that of the good one");
    bed.upload(good_conn, &good, 0, b"hello");
    assert_eq!(bed.fetch(&good), b"hello");
}

#[test]
fn without_workers_every_client_is_refused() {
    let mut bed = Bed::new();
    let (stored, upload) = (bed.store(b"hello"), bed.announce(OFFLINE, 5));
    let begun = bed.announce(OFFLINE, 5);
    let uploader = bed.enter_upload(&begun, 0, 5);
    let receiver = bed.enter(DOWNLOAD, &stored);
    bed.srv.disk.stop();
    bed.pull(receiver, &stored, 1, (0, 5));
    bed.settle();
    assert_eq!(bed.got(receiver), [Got::Data(1, 1, 0, Vec::new())]);
    bed.block(uploader, &begun, 0, b"hello");
    bed.settle();
    assert_eq!(bed.got(uploader), [Got::State(CANCEL, 1)]);
    bed.assert_refused(1, UPLOAD, &upload);
    assert_eq!(bed.totals().0, 0);
}
