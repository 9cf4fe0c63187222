//! Files that wait for their receivers.

use teamtalk::pb::cmd::*;
use teamtalk::pb::file::*;

use super::installation::{Installation, on_each};

impl Installation {
    fn add_file(&self, from: u32, to: u32, task_id: &str, file_name: &[u8]) {
        let msg = ImFileAddOfflineReq {
            from_user_id: self.id(from),
            to_user_id: self.id(to),
            task_id: task_id.to_owned(),
            file_name: file_name.to_vec().into(),
            file_size: u32::MAX,
        };
        assert!(self.try_ask(CID_FILE_ADD_OFFLINE_REQ, &msg).unwrap().is_none());
    }

    fn files(&self, n: u32) -> Vec<(u32, String, String, u32)> {
        let msg = ImFileHasOfflineReq { user_id: self.id(n), attach_data: None };
        let answer: ImFileHasOfflineRsp = self.ask(CID_FILE_HAS_OFFLINE_REQ, &msg);
        let name = |name: &[u8]| String::from_utf8(name.to_vec()).unwrap();
        let files = answer.offline_file_list.into_iter();
        files
            .map(|file| {
                (self.n(file.from_user_id), file.task_id, name(&file.file_name), file.file_size)
            })
            .collect()
    }
}

#[test]
fn files_wait_until_they_are_fetched() {
    on_each(|on| {
        on.add_file(1, 2, "task-a", "报告 😀.pdf".as_bytes());
        on.add_file(3, 2, "task-b", b"it's; drop table IMTransmitFile; --");
        on.add_file(1, 2, "task-a", b"said twice");
        on.add_file(1, 4, "task-a", b"\xff\xfe.txt");
        let size = u32::MAX;
        let all = [
            (1, "task-a".to_owned(), "报告 😀.pdf".to_owned(), size),
            (3, "task-b".to_owned(), "it's; drop table IMTransmitFile; --".to_owned(), size),
        ];
        assert_eq!(on.files(2), all);
        assert_eq!(on.files(4)[0].2, "\u{fffd}\u{fffd}.txt", "another encoding");
        let del = |task_id: &str| {
            let msg = ImFileDelOfflineReq {
                from_user_id: on.id(1),
                to_user_id: on.id(2),
                task_id: task_id.to_owned(),
            };
            assert!(on.try_ask(CID_FILE_DEL_OFFLINE_REQ, &msg).unwrap().is_none());
        };
        del("task-b' or '1'='1");
        del("task-a");
        del("task-a");
        assert_eq!(on.files(2), all[1..]);
    });
}
