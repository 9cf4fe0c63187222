//! All transfers, and the offline files that wait for their receivers.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use log::warn;

use super::config_util::OfflineLimits;
use super::offline_file::OfflineFileHeader;
use super::quota::Quota;
use super::task_id::TaskId;
use super::transfer_task::{Mode, Pull, TransferTask, TransferTaskState};
use crate::netlib::NetHandle;
use crate::pb::base_define::{ClientFileRole, TransferFileType};

/// Most transfers at a time. Beyond it msg_servers are refused.
pub const TASKS_MAX: usize = 100_000;

/// Most transfers that one user may have asked for and not brought to their end.
pub const TASKS_PER_USER_MAX: u32 = 100;

/// A file that is complete.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct StoredFile {
    from_user_id: u32,
    to_user_id: u32,
    file_size: u32,
    /// Unix seconds; `None` for never.
    delete_time: Option<u32>,
}

/// Who has to be told that a file is stored.
#[derive(Debug)]
pub struct Stored {
    /// The uploader, if he is still here.
    pub uploader: Option<NetHandle>,
    /// A receiver who has asked for the first block already.
    pub pull: Option<(NetHandle, Pull)>,
}

/// C++: file_server/transfer_task_manager.h TransferTaskManager
#[derive(Debug)]
pub struct TransferTaskManager {
    tasks: HashMap<TaskId, TransferTask>,
    next_serial: u64,
    /// Announced tasks, by sender.
    announced: HashMap<u32, u32>,
    stored: HashMap<TaskId, StoredFile>,
    /// When to look at a stored file. It may have another time by then.
    delete_times: BinaryHeap<Reverse<(u32, TaskId)>>,
    quota: Quota,
    /// Free bytes of the disk, a moment ago.
    free_space: u64,
    /// Bytes of uploads that are not stored yet.
    upload_bytes: u64,
    limits: OfflineLimits,
    task_timeout_ms: u64,
}

impl TransferTaskManager {
    /// Knows these files and no transfers.
    pub fn new(task_timeout_ms: u64, limits: OfflineLimits, stored: &[OfflineFileHeader]) -> Self {
        let mut manager = Self {
            tasks: HashMap::new(),
            next_serial: 0,
            announced: HashMap::new(),
            stored: HashMap::new(),
            delete_times: BinaryHeap::new(),
            quota: Quota::new(limits.total_bytes_max, limits.user_bytes_max),
            free_space: u64::MAX,
            upload_bytes: 0,
            limits,
            task_timeout_ms,
        };
        for header in stored {
            manager.quota.add(header.from_user_id, header.file_size);
            manager.add_stored(header);
        }
        manager
    }

    /// How much of the disk is free.
    pub fn set_free_space(&mut self, bytes: u64) {
        self.free_space = bytes;
    }

    /// Whether another file fits on the disk, with all that were announced before.
    fn has_room(&self, file_size: u32) -> bool {
        let wanted = self.upload_bytes + u64::from(file_size);
        self.free_space >= wanted.saturating_add(self.limits.reserve_bytes)
    }

    /// Makes a transfer; `None` if there are too many, or if the file would exceed a quota or has
    /// no room on the disk.
    ///
    /// C++: file_server/transfer_task_manager.cpp TransferTaskManager::NewTransferTask
    /// Differs: refuses what exceeds a limit (F115).
    pub fn new_transfer_task(
        &mut self,
        trans_mode: TransferFileType,
        from_user_id: u32,
        to_user_id: u32,
        file_size: u32,
        tick: u64,
    ) -> Option<TaskId> {
        let announced = self.announced.get(&from_user_id).copied().unwrap_or(0);
        if self.tasks.len() >= TASKS_MAX || announced >= TASKS_PER_USER_MAX {
            return None;
        }
        let mode = match trans_mode {
            TransferFileType::FileTypeOnline => Mode::Online(Default::default()),
            TransferFileType::FileTypeOffline => {
                if !self.has_room(file_size) {
                    warn!("offline file refused: the disk is full, free={}", self.free_space);
                    return None;
                }
                if !self.quota.reserve(from_user_id, file_size) {
                    return None;
                }
                self.upload_bytes += u64::from(file_size);
                Mode::Offline(Default::default())
            }
        };
        self.announced.insert(from_user_id, announced + 1);
        let task_id = TaskId::generate();
        let task = TransferTask {
            serial: self.serial(),
            from_user_id,
            to_user_id,
            file_size,
            state: TransferTaskState::Ready,
            from_conn: None,
            to_conn: None,
            announced: true,
            last_update_tick: tick,
            mode,
        };
        self.tasks.insert(task_id, task);
        Some(task_id)
    }

    /// Makes the transfer of a stored file to its receiver, unless there is one.
    fn load_stored(&mut self, task_id: TaskId, tick: u64) {
        let Some(file) = self.stored.get(&task_id).copied() else {
            return;
        };
        let serial = self.serial();
        self.tasks.entry(task_id).or_insert_with(|| TransferTask {
            serial,
            from_user_id: file.from_user_id,
            to_user_id: file.to_user_id,
            file_size: file.file_size,
            state: TransferTaskState::WaitingDownload,
            from_conn: None,
            to_conn: None,
            announced: false,
            last_update_tick: tick,
            mode: Mode::Offline(Default::default()),
        });
    }

    /// Takes a user into a transfer; false if there is none, or he may not come now.
    #[must_use]
    pub fn log_in(
        &mut self,
        task_id: TaskId,
        user_id: u32,
        role: ClientFileRole,
        conn: NetHandle,
        tick: u64,
    ) -> bool {
        if role == ClientFileRole::ClientOfflineDownload {
            self.load_stored(task_id, tick);
        }
        let Some(task) = self.tasks.get_mut(&task_id) else {
            return false;
        };
        let accepted = task.change_pull_state(user_id, role, conn, tick);
        if task.from_conn.is_none() && task.to_conn.is_none() && !task.announced {
            // Loaded for somebody who may not have it.
            self.tasks.remove(&task_id);
        }
        accepted
    }

    /// C++: file_server/transfer_task_manager.h TransferTaskManager::FindByTaskID
    pub fn find_by_task_id(&mut self, task_id: TaskId) -> Option<&mut TransferTask> {
        self.tasks.get_mut(&task_id)
    }

    /// Ends a transfer. What it reserved is free again, unless the file is stored.
    pub fn remove(&mut self, task_id: TaskId) -> Option<TransferTask> {
        let task = self.tasks.remove(&task_id)?;
        if task.announced {
            self.end_announced(task.from_user_id);
        }
        if task.is_upload() {
            self.quota.release(task.from_user_id, task.file_size);
            self.upload_bytes -= u64::from(task.file_size);
        }
        Some(task)
    }

    /// A connection has left its transfer, which is returned if that was its end. An upload stays
    /// for a while: the uploader may come back.
    ///
    /// C++: file_server/transfer_task_manager.h TransferTaskManager::DeleteTransferTaskByConnClose
    pub fn delete_transfer_task_by_conn_close(
        &mut self,
        task_id: TaskId,
        role: ClientFileRole,
        conn: NetHandle,
        tick: u64,
    ) -> Option<TransferTask> {
        let task = self.tasks.get_mut(&task_id)?;
        if task.conn(role) != Some(conn) {
            return None;
        }
        task.set_conn(role, None);
        match role {
            ClientFileRole::ClientRealtimeSender | ClientFileRole::ClientRealtimeRecver => {
                task.state = TransferTaskState::Invalid;
                task.last_update_tick = tick;
            }
            ClientFileRole::ClientOfflineUpload => {
                task.forget_asked();
                task.last_update_tick = tick;
            }
            ClientFileRole::ClientOfflineDownload => task.forget_pull(),
        }
        let ends = task.from_conn.is_none() && task.to_conn.is_none() && !task.is_upload();
        if ends { self.remove(task_id) } else { None }
    }

    /// An upload is complete: its task is the download of that file from now on, if the receiver
    /// waits for it. `None` if the transfer was given up meanwhile; then the file is not wanted.
    pub fn store(&mut self, header: &OfflineFileHeader) -> Option<Stored> {
        let task = self.tasks.get_mut(&header.task_id)?;
        let (from_user_id, to_conn) = (task.from_user_id, task.to_conn);
        let uploader = task.from_conn.take();
        let pull = task.begin_download();
        if to_conn.is_none() {
            self.tasks.remove(&header.task_id);
        }
        self.end_announced(from_user_id);
        self.upload_bytes -= u64::from(header.file_size);
        self.add_stored(header);
        Some(Stored { uploader, pull: to_conn.zip(pull) })
    }

    /// The receiver says that he has the whole file, so it is kept for a shorter time from now on.
    pub fn fetched(&mut self, task_id: TaskId, now: u32) {
        let Some(file) = self.stored.get_mut(&task_id) else {
            return;
        };
        let soon = now.saturating_add(self.limits.fetched_age_max);
        let delete_time = file.delete_time.map_or(soon, |time| time.min(soon));
        file.delete_time = Some(delete_time);
        self.delete_times.push(Reverse((delete_time, task_id)));
    }

    /// Transfers that nobody goes on with. A transfer whose clients are here is not among them,
    /// except an upload whose uploader has left.
    ///
    /// C++: file_server/transfer_task_manager.cpp TransferTaskManager::OnTimer
    /// Differs: the states that tasks are in are looked at (F110).
    pub fn expired(&self, tick: u64) -> Vec<TaskId> {
        let is_left = |task: &TransferTask| {
            task.from_conn.is_none() && (task.is_upload() || task.to_conn.is_none())
        };
        let is_old = |task: &TransferTask| tick >= task.last_update_tick + self.task_timeout_ms;
        let expired = self.tasks.iter().filter(|(_, task)| {
            // A worker is completing the file: it will be there in a moment, or not at all.
            task.state != TransferTaskState::UploadEnd && is_left(task) && is_old(task)
        });
        expired.map(|(task_id, _)| *task_id).collect()
    }

    /// Stored files whose time is over. They cannot be fetched any more, and count until
    /// [`Self::file_removed`].
    pub fn take_due_files(&mut self, now: u32) -> Vec<OfflineFileHeader> {
        let mut due = Vec::new();
        while let Some(&Reverse((time, task_id))) = self.delete_times.peek() {
            if time > now {
                break;
            }
            self.delete_times.pop();
            let file = self.stored.get(&task_id).filter(|file| file.delete_time == Some(time));
            if let Some(file) = file.copied() {
                self.stored.remove(&task_id);
                due.push(OfflineFileHeader {
                    task_id,
                    from_user_id: file.from_user_id,
                    to_user_id: file.to_user_id,
                    create_time: 0,
                    file_size: file.file_size,
                    checksum: None,
                });
            }
        }
        due
    }

    /// A file of this sender is gone from the disk.
    pub fn file_removed(&mut self, from_user_id: u32, file_size: u32) {
        self.quota.release(from_user_id, file_size);
    }

    /// Transfers, stored files, and bytes that count.
    pub fn totals(&self) -> (usize, usize, u64) {
        (self.tasks.len(), self.stored.len(), self.quota.total())
    }

    /// Bytes there may be.
    pub fn stored_bytes_max(&self) -> u64 {
        self.limits.total_bytes_max
    }

    /// All connections that take part.
    #[cfg(test)]
    pub(super) fn conns(&self) -> impl Iterator<Item = NetHandle> {
        self.tasks.values().flat_map(|task| [task.from_conn, task.to_conn]).flatten()
    }

    fn serial(&mut self) -> u64 {
        self.next_serial += 1;
        self.next_serial
    }

    fn add_stored(&mut self, header: &OfflineFileHeader) {
        let age_max = self.limits.age_max;
        let delete_time = (age_max != 0).then(|| header.create_time.saturating_add(age_max));
        let file = StoredFile {
            from_user_id: header.from_user_id,
            to_user_id: header.to_user_id,
            file_size: header.file_size,
            delete_time,
        };
        self.stored.insert(header.task_id, file);
        if let Some(time) = delete_time {
            self.delete_times.push(Reverse((time, header.task_id)));
        }
    }

    fn end_announced(&mut self, user_id: u32) {
        if let Some(count) = self.announced.get_mut(&user_id) {
            *count -= 1;
            if *count == 0 {
                self.announced.remove(&user_id);
            }
        }
    }
}
