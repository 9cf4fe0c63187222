use std::os::unix::fs::symlink;

use proptest::prelude::*;

use super::*;

const ID: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

fn header(file_size: u32) -> OfflineFileHeader {
    OfflineFileHeader {
        task_id: TaskId::parse(ID).unwrap(),
        from_user_id: 1,
        to_user_id: u32::MAX,
        create_time: 1_700_000_000,
        file_size,
        checksum: None,
    }
}

fn store(files: &OfflineFiles, content: &[u8]) -> OfflineFileHeader {
    let mut upload = files.create(header(content.len() as u32)).unwrap();
    upload.write(content).unwrap();
    upload.finish().unwrap()
}

/// What an original file_server writes.
fn original(content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; OFFLINE_FILE_HEADER_LEN];
    for (at, text) in [(0, ID), (128, "1"), (192, "4294967295"), (256, "1700000000"), (896, "5")] {
        bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    bytes.extend_from_slice(content);
    bytes
}

#[test]
fn a_file_lies_where_and_as_the_original_has_it_with_a_checksum_behind_its_empty_name() {
    let dir = tempfile::tempdir().unwrap();
    let files = OfflineFiles::open(dir.path()).unwrap();
    store(&files, b"hello");
    let stored = fs::read(dir.path().join("67").join(ID)).unwrap();
    let mut expected = original(b"hello");
    let checksum = b"\0md5:5d41402abc4b2a76b9719d911017c592";
    expected[384..384 + checksum.len()].copy_from_slice(checksum);
    assert_eq!(stored, expected);
}

#[test]
fn a_file_of_the_original_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let files = OfflineFiles::open(dir.path()).unwrap();
    fs::create_dir(dir.path().join("67")).unwrap();
    fs::write(dir.path().join("67").join(ID), original(b"hello")).unwrap();
    assert_eq!(files.scan().unwrap(), [header(5)]);
    let mut file = files.open_file(header(5).task_id).unwrap();
    assert_eq!((file.read(3).unwrap(), file.read(2).unwrap()), (b"hel".to_vec(), b"lo".to_vec()));
}

#[test]
fn f110_a_file_is_visible_when_it_is_complete_and_gone_when_it_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let files = OfflineFiles::open(dir.path()).unwrap();
    let names = || fs::read_dir(dir.path().join("67")).unwrap().count();
    let mut upload = files.create(header(5)).unwrap();
    upload.write(b"hell").unwrap();
    assert!(files.open_file(header(5).task_id).is_err());
    // A second one under the same name would mix with it.
    assert!(files.create(header(5)).is_err());
    drop(upload);
    assert_eq!(names(), 0);
    // Bytes are missing.
    assert!(files.create(header(5)).unwrap().finish().is_err());
    assert_eq!(names(), 0);
    let stored = store(&files, b"hello");
    assert_eq!((files.scan().unwrap(), names()), (vec![stored], 1));
    files.remove(stored.task_id).unwrap();
    files.remove(stored.task_id).unwrap();
    assert_eq!(names(), 0);
}

#[test]
fn f110_what_is_left_of_uploads_is_deleted_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let files = OfflineFiles::open(dir.path()).unwrap();
    let mut upload = files.create(header(5)).unwrap();
    upload.write(b"hel").unwrap();
    // As after a crash: nobody drops it.
    std::mem::forget(upload);
    assert_eq!(files.scan().unwrap(), []);
    assert_eq!(fs::read_dir(dir.path().join("67")).unwrap().count(), 0);
}

#[test]
fn damaged_files_are_noticed_before_their_last_byte_is_handed_out() {
    let dir = tempfile::tempdir().unwrap();
    let files = OfflineFiles::open(dir.path()).unwrap();
    let task_id = store(&files, b"hello").task_id;
    let path = dir.path().join("67").join(ID);
    let good = fs::read(&path).unwrap();
    let open = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        files.open_file(task_id)
    };
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    let mut file = open(&bad).unwrap();
    assert_eq!(file.read(4).unwrap(), b"hell");
    assert!(file.read(1).is_err());
    assert!(open(&good[..good.len() - 1]).is_err(), "too short");
    assert!(open(&[&good[..], b"x"].concat()).is_err(), "too long");
    assert!(open(&good[..OFFLINE_FILE_HEADER_LEN - 1]).is_err(), "no header");
    for at in [0, 128, 192, 256, 896] {
        let mut bad = good.clone();
        bad[at] = b'x';
        assert!(open(&bad).is_err(), "{at}");
        assert_eq!(files.scan().unwrap(), []);
    }
}

#[test]
fn f106_only_plain_files_with_the_name_of_their_task_are_opened() {
    let dir = tempfile::tempdir().unwrap();
    let files = OfflineFiles::open(dir.path()).unwrap();
    let other = "67e55044-10b1-426f-9247-bb680e5fe0c9";
    store(&files, b"hello");
    let path = |name: &str| dir.path().join("67").join(name);
    fs::rename(path(ID), path(other)).unwrap();
    assert!(files.open_file(TaskId::parse(other).unwrap()).is_err());
    symlink(path(other), path(ID)).unwrap();
    assert!(files.open_file(TaskId::parse(ID).unwrap()).is_err());
    fs::remove_file(path(ID)).unwrap();
    fs::create_dir(path(ID)).unwrap();
    assert!(files.open_file(TaskId::parse(ID).unwrap()).is_err());
}

#[test]
fn a_directory_has_one_file_server() {
    let dir = tempfile::tempdir().unwrap();
    let files = OfflineFiles::open(dir.path()).unwrap();
    let error = OfflineFiles::open(dir.path()).unwrap_err();
    assert!(error.to_string().contains("OfflineFileDir"), "{error}");
    drop(files);
    OfflineFiles::open(dir.path()).unwrap();
}

#[test]
fn a_directory_that_cannot_be_made_is_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let files = OfflineFiles::open(dir.path()).unwrap();
    fs::write(dir.path().join("67"), b"in the way").unwrap();
    assert!(files.create(header(5)).is_err());
    assert!(OfflineFiles::open(&dir.path().join("67")).is_err());
}

#[test]
fn the_largest_size_fits_the_header() {
    let largest = OfflineFileHeader { checksum: Some([0xab; 16]), ..header(u32::MAX) };
    assert_eq!(OfflineFileHeader::parse(&largest.to_bytes()), Some(largest));
}

proptest! {
    #[test]
    fn any_bytes_are_a_header_or_none(
        bytes in prop::collection::vec(any::<u8>(), OFFLINE_FILE_HEADER_LEN),
        changes in prop::collection::vec((0..OFFLINE_FILE_HEADER_LEN, any::<u8>()), 0..4),
        ids in any::<(u32, u32, u32, u32)>(),
        checksum in any::<Option<[u8; 16]>>(),
    ) {
        let whole = |bytes: &[u8]| <[u8; OFFLINE_FILE_HEADER_LEN]>::try_from(bytes).unwrap();
        prop_assert_eq!(OfflineFileHeader::parse(&whole(&bytes)), None);
        let (from_user_id, to_user_id, create_time, file_size) = ids;
        let task_id = TaskId::generate();
        let header = OfflineFileHeader {
            task_id, from_user_id, to_user_id, create_time, file_size, checksum,
        };
        let mut bytes = header.to_bytes();
        prop_assert_eq!(OfflineFileHeader::parse(&bytes), Some(header));
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        // Whatever it makes of it, it does not panic.
        let _ = OfflineFileHeader::parse(&bytes);
    }
}
