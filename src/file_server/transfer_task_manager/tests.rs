use super::*;
use crate::file_server::tests::{DOWNLOAD, OFFLINE, ONLINE, UPLOAD};
use crate::netlib::testing::handles;

const LIMITS: OfflineLimits = OfflineLimits {
    total_bytes_max: 0,
    user_bytes_max: 0,
    reserve_bytes: 1000,
    age_max: 100,
    fetched_age_max: 10,
};

fn header(file_size: u32, create_time: u32) -> OfflineFileHeader {
    OfflineFileHeader {
        task_id: TaskId::generate(),
        from_user_id: 1,
        to_user_id: 2,
        create_time,
        file_size,
        checksum: None,
    }
}

#[test]
fn transfers_are_limited_for_one_user_and_for_all() {
    let mut manager = TransferTaskManager::new(1000, LIMITS, &[]);
    let mut tasks = Vec::new();
    for _ in 0..TASKS_PER_USER_MAX {
        tasks.push(manager.new_transfer_task(ONLINE, 1, 2, 5, 0).unwrap());
    }
    assert_eq!(manager.new_transfer_task(ONLINE, 1, 2, 5, 0), None);
    assert!(manager.remove(tasks[0]).is_some() && manager.remove(tasks[0]).is_none());
    assert!(manager.new_transfer_task(OFFLINE, 1, 2, 5, 0).is_some());
    for user_id in 2..TASKS_MAX as u32 {
        if manager.new_transfer_task(ONLINE, user_id, 2, 5, 0).is_none() {
            break;
        }
    }
    for user_id in 1_000_000..1_000_000 + TASKS_PER_USER_MAX {
        assert_eq!(manager.new_transfer_task(ONLINE, user_id, 2, 5, 0), None);
    }
    assert_eq!(manager.totals().0, TASKS_MAX);
}

#[test]
fn f110_what_nobody_goes_on_with_expires_by_its_last_activity() {
    let mut manager = TransferTaskManager::new(1000, LIMITS, &[]);
    let [uploader, receiver] = handles();
    let task_id = manager.new_transfer_task(OFFLINE, 1, 2, 5, 0).unwrap();
    assert!(manager.expired(999).is_empty());
    assert_eq!(manager.expired(1000), [task_id]);
    // A receiver who waits does not keep it alive, …
    assert!(manager.log_in(task_id, 2, DOWNLOAD, receiver, 500));
    assert_eq!(manager.expired(1000), [task_id]);
    // … an uploader does, as long as he is here and for a while longer.
    assert!(manager.log_in(task_id, 1, UPLOAD, uploader, 600));
    assert!(manager.expired(1_000_000).is_empty());
    let ended = manager.delete_transfer_task_by_conn_close(task_id, UPLOAD, uploader, 2_000_000);
    assert!(ended.is_none());
    assert!(manager.expired(2_000_999).is_empty());
    assert_eq!(manager.expired(2_001_000), [task_id]);
    assert_eq!(manager.totals().2, 4096);
    manager.remove(task_id);
    assert_eq!(manager.totals(), (0, 0, 0));
}

#[test]
fn f115_files_are_deleted_by_their_age_and_sooner_once_they_are_fetched() {
    let files = [header(1, 1000), header(2, 1050), header(3, 1050)];
    let mut manager = TransferTaskManager::new(1000, LIMITS, &files);
    assert_eq!(manager.totals().1, 3);
    assert!(manager.take_due_files(1099).is_empty());
    manager.fetched(files[2].task_id, 1095);
    // Being fetched again does not prolong it.
    manager.fetched(files[2].task_id, 1099);
    let mut due = |now| -> Vec<u32> {
        manager.take_due_files(now).iter().map(|file| file.file_size).collect()
    };
    assert_eq!(due(1100), [1]);
    assert_eq!(due(1104), [0; 0]);
    assert_eq!(due(1105), [3]);
    assert_eq!(due(1149), [0; 0]);
    assert_eq!(due(2000), [2]);
    // They count until they are gone.
    assert_eq!(manager.totals(), (0, 0, 3 * 4096));
    manager.file_removed(1, 1);
    assert_eq!(manager.totals().2, 2 * 4096);
}

#[test]
fn f115_without_an_age_limit_files_stay() {
    let files = [header(1, 1000)];
    let limits = OfflineLimits { age_max: 0, ..LIMITS };
    let mut manager = TransferTaskManager::new(1000, limits, &files);
    assert!(manager.take_due_files(u32::MAX).is_empty());
    manager.fetched(files[0].task_id, u32::MAX - 5);
    assert_eq!(manager.take_due_files(u32::MAX).len(), 1);
}

#[test]
fn a_stored_file_is_fetched_by_its_receiver_alone() {
    let files = [header(1, 1000)];
    let mut manager = TransferTaskManager::new(1000, LIMITS, &files);
    let task_id = files[0].task_id;
    let [a, b] = handles();
    for (user_id, role) in [(1, DOWNLOAD), (3, DOWNLOAD), (1, UPLOAD), (2, UPLOAD)] {
        assert!(!manager.log_in(task_id, user_id, role, a, 0), "{user_id} {role:?}");
        assert_eq!(manager.totals().0, 0, "nothing is left of it");
    }
    assert!(!manager.log_in(TaskId::generate(), 2, DOWNLOAD, a, 0));
    assert!(manager.log_in(task_id, 2, DOWNLOAD, a, 0));
    assert!(!manager.log_in(task_id, 2, DOWNLOAD, b, 0));
    assert_eq!(manager.totals().0, 1);
    let close = |manager: &mut TransferTaskManager, conn| {
        manager.delete_transfer_task_by_conn_close(task_id, DOWNLOAD, conn, 0).is_some()
    };
    assert!(!close(&mut manager, b), "it is not his");
    assert!(close(&mut manager, a) && !close(&mut manager, a));
    assert!(manager.log_in(task_id, 2, DOWNLOAD, b, 0));
}

#[test]
fn f115_a_file_that_the_disk_has_no_room_for_is_refused_before_it_comes() {
    let mut manager = TransferTaskManager::new(1000, LIMITS, &[]);
    manager.set_free_space(1100);
    let mut announce = |mode, size| manager.new_transfer_task(mode, 1, 2, size, 0);
    assert_eq!(announce(OFFLINE, 101), None);
    let first = announce(OFFLINE, 60).unwrap();
    assert_eq!(announce(OFFLINE, 41), None, "the other one is still to come");
    assert!(announce(ONLINE, u32::MAX).is_some(), "takes no room");
    let second = announce(OFFLINE, 40).unwrap();
    // One that is given up leaves its room, and one that is stored is on the disk.
    manager.remove(first);
    assert!(manager.new_transfer_task(OFFLINE, 1, 2, 61, 0).is_none());
    assert!(manager.new_transfer_task(OFFLINE, 1, 2, 60, 0).is_some());
    assert_eq!(manager.upload_bytes, 100);
    let header = OfflineFileHeader { task_id: second, ..header(40, 0) };
    assert!(manager.store(&header).is_some());
    manager.set_free_space(1059);
    assert!(manager.new_transfer_task(OFFLINE, 1, 2, 0, 0).is_none());
    manager.set_free_space(1060);
    assert!(manager.new_transfer_task(OFFLINE, 1, 2, 0, 0).is_some());
}
