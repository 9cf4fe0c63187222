//! One transfer: who takes part, and how far it is. Nothing here knows connections or disks.
//!
//! ```text
//! on line   Ready ─► WaitingSender ──┐
//!             └────► WaitingReceiver ┴► WaitingTransfer ─► Transfering ─► Invalid
//! off line  Ready ─► WaitingUpload ─► Uploading ─► UploadEnd
//!           WaitingDownload ─► Downloading ─► DownloadEnd
//! ```

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::mem;

use bytes::Bytes;
use thiserror::Error;

use super::offline_file::{DownloadFile, OfflineFileHeader, UploadFile};
use crate::netlib::NetHandle;
use crate::pb::base_define::ClientFileRole;

/// Offline files travel in blocks of this size; the last one is what is left.
///
/// C++: file_server/transfer_task.h SEGMENT_SIZE
pub const SEGMENT_SIZE: u32 = 32_768;

/// Blocks of an upload that are in memory because the disk is slower than the network.
pub const BLOCKS_MAX: usize = 4;

/// Requests of an on-line receiver that the sender has not answered. Known clients have one.
pub const PULLS_MAX: usize = 16;

/// C++: file_server/transfer_task.h TransferTaskState
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TransferTaskState {
    /// One of the two has left.
    Invalid,
    /// Nobody was here yet.
    Ready,
    /// The receiver is here.
    WaitingSender,
    /// The sender is here.
    WaitingReceiver,
    /// Both are here.
    WaitingTransfer,
    /// The receiver has asked for data.
    Transfering,
    /// The sender is here, or was.
    WaitingUpload,
    /// A block has arrived.
    Uploading,
    /// All blocks have arrived; a worker completes the file.
    UploadEnd,
    /// The file is stored, and its receiver is here.
    WaitingDownload,
    /// The receiver has asked for a block.
    Downloading,
    /// All blocks were sent; the receiver has not said that he has them.
    DownloadEnd,
}

/// Why a connection is closed: its client did what the state does not allow.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Violation {
    /// No block may be asked for, or sent, now.
    #[error("not in this state")]
    State,
    /// A block that nobody asked for.
    #[error("a block that nobody asked for")]
    NotAsked,
    /// A block at another place than its turn.
    #[error("wrong offset")]
    Offset,
    /// A block of another size than asked for.
    #[error("wrong size")]
    Size,
    /// Too many requests without an answer.
    #[error("too many requests at once")]
    TooMany,
}

/// A block that a receiver has asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pull {
    /// Where it begins in the file.
    pub offset: u32,
    /// The answer carries it: the Mac client has to have it.
    ///
    /// C++: file_server/transfer_task.h OnlineTransferTask::SetSeqNum
    pub seq_num: u16,
}

/// What to do with a request for a block.
#[derive(Debug)]
pub enum PullAction {
    /// Pass it on to the sender.
    Forward,
    /// Read it from the disk.
    Read(Option<Box<DownloadFile>>),
    /// Nothing yet: the upload goes on.
    Hold,
}

/// What to do with a block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RecvAction {
    /// Pass it on to the receiver, under this sequence number.
    Forward(u16),
    /// It was taken, to be stored.
    Store,
}

/// A transfer between two users.
///
/// C++: file_server/transfer_task.h BaseTransferTask
/// Differs: connections name a task, and a look-up finds it or not (F111).
#[derive(Debug)]
pub struct TransferTask {
    /// Tells it from a later one of the same file.
    pub serial: u64,
    /// Who sends.
    pub from_user_id: u32,
    /// Who receives.
    pub to_user_id: u32,
    /// Bytes.
    pub file_size: u32,
    /// How far it is.
    pub state: TransferTaskState,
    /// The sender.
    pub from_conn: Option<NetHandle>,
    /// The receiver.
    pub to_conn: Option<NetHandle>,
    /// Made for a msg_server, and not yet complete: one of those its sender may have.
    pub announced: bool,
    /// When something last happened to it.
    pub last_update_tick: u64,
    /// What only one kind of transfer has.
    pub mode: Mode,
}

/// C++: file_server/transfer_task.cpp OnlineTransferTask::GetTransMode
#[derive(Debug)]
pub enum Mode {
    /// From client to client.
    Online(OnlineTransferTask),
    /// Through the disk.
    Offline(OfflineTransferTask),
}

/// C++: file_server/transfer_task.h OnlineTransferTask
#[derive(Debug, Default)]
pub struct OnlineTransferTask {
    /// What the receiver has asked for and the sender not answered.
    pulls: VecDeque<Pull>,
    /// Since when the sender owes an answer.
    asked_tick: Option<u64>,
}

/// C++: file_server/transfer_task.h OfflineTransferTask
#[derive(Debug, Default)]
pub struct OfflineTransferTask {
    /// The file, unless a worker has it.
    pub slot: Slot,
    /// A worker is creating the file. Until it exists, no login of the uploader is answered.
    pub creating: bool,
    /// The login that waits for that.
    pub login_seq_num: Option<u16>,
    /// Blocks that have arrived, or were handed out.
    transfered_idx: u32,
    /// Blocks that have arrived and wait for a worker.
    pending: Vec<Bytes>,
    /// Blocks that a worker has.
    writing: usize,
    /// Since when the uploader owes a block.
    asked_tick: Option<u64>,
    /// The receiver's request that waits for the upload, or is with a worker.
    pub pull: Option<Pull>,
}

/// Where the file of a task is.
#[derive(Debug, Default)]
pub enum Slot {
    /// It is not open.
    #[default]
    None,
    /// A worker has it.
    Busy,
    /// It is being uploaded, and at rest.
    Upload(Box<UploadFile>),
    /// It is being fetched, and at rest.
    Download(Box<DownloadFile>),
}

impl TransferTask {
    /// Whether it goes from client to client.
    pub fn is_online(&self) -> bool {
        matches!(self.mode, Mode::Online(_))
    }

    /// What an offline transfer has.
    pub fn offline(&mut self) -> Option<&mut OfflineTransferTask> {
        match &mut self.mode {
            Mode::Online(_) => None,
            Mode::Offline(offline) => Some(offline),
        }
    }

    /// Whether the file is not complete, or is none.
    pub fn is_upload(&self) -> bool {
        use TransferTaskState::*;
        match self.state {
            Ready | WaitingUpload | Uploading | UploadEnd => !self.is_online(),
            Invalid | WaitingSender | WaitingReceiver | WaitingTransfer | Transfering => false,
            WaitingDownload | Downloading | DownloadEnd => false,
        }
    }

    /// The connection that has this role.
    pub fn conn(&self, role: ClientFileRole) -> Option<NetHandle> {
        if is_sender(role) { self.from_conn } else { self.to_conn }
    }

    /// The connection of the other one of the two.
    ///
    /// C++: file_server/transfer_task.h BaseTransferTask::GetOpponentConn
    pub fn opponent_conn(&self, role: ClientFileRole) -> Option<NetHandle> {
        if is_sender(role) { self.to_conn } else { self.from_conn }
    }

    /// C++: file_server/transfer_task.h BaseTransferTask::SetConnByUserID
    /// Differs: by role, so that a user may send himself a file.
    pub fn set_conn(&mut self, role: ClientFileRole, conn: Option<NetHandle>) {
        if is_sender(role) {
            self.from_conn = conn;
        } else {
            self.to_conn = conn;
        }
    }

    /// Whether this user may have this role in this kind of transfer.
    ///
    /// C++: file_server/transfer_task.h BaseTransferTask::CheckByUserIDAndFileRole
    fn check_by_user_id_and_file_role(&self, user_id: u32, role: ClientFileRole) -> bool {
        use ClientFileRole::*;
        let fits = match role {
            ClientRealtimeSender | ClientRealtimeRecver => self.is_online(),
            ClientOfflineUpload | ClientOfflineDownload => !self.is_online(),
        };
        let user = if is_sender(role) { self.from_user_id } else { self.to_user_id };
        fits && user_id == user
    }

    /// Takes a user in, if he may come now: the new state, or nothing has changed.
    ///
    /// C++: file_server/transfer_task.h BaseTransferTask::ChangePullState
    /// Differs: what the state does not allow is refused, and so is a second connection of the same
    /// role (F5, F109). An uploader may come back, and a receiver may come before the upload is
    /// complete: Windows clients do so as soon as they are told of the task.
    #[must_use]
    pub fn change_pull_state(
        &mut self,
        user_id: u32,
        role: ClientFileRole,
        conn: NetHandle,
        tick: u64,
    ) -> bool {
        use ClientFileRole::*;
        use TransferTaskState::*;
        if self.conn(role).is_some() || !self.check_by_user_id_and_file_role(user_id, role) {
            return false;
        }
        self.state = match (self.state, role) {
            (Ready, ClientRealtimeSender) => WaitingReceiver,
            (Ready, ClientRealtimeRecver) => WaitingSender,
            (WaitingReceiver, ClientRealtimeRecver) => WaitingTransfer,
            (WaitingSender, ClientRealtimeSender) => WaitingTransfer,
            (Ready, ClientOfflineUpload) => WaitingUpload,
            (WaitingUpload | Uploading, ClientOfflineUpload) => self.state,
            (
                Ready | WaitingUpload | Uploading | UploadEnd | WaitingDownload,
                ClientOfflineDownload,
            ) => self.state,
            _ => return false,
        };
        self.set_conn(role, Some(conn));
        // A receiver who waits keeps no upload alive.
        if role != ClientOfflineDownload {
            self.last_update_tick = tick;
        }
        true
    }

    /// A receiver asks for a block.
    ///
    /// C++: file_server/transfer_task.h BaseTransferTask::DoPullFileRequest
    pub fn do_pull_file_request(&mut self, pull: Pull, tick: u64) -> Result<PullAction, Violation> {
        use TransferTaskState::*;
        match (&mut self.mode, self.state) {
            (Mode::Online(online), WaitingTransfer | Transfering) => {
                online.do_pull_file_request(pull, tick)?;
                self.state = Transfering;
                self.last_update_tick = tick;
                Ok(PullAction::Forward)
            }
            (Mode::Offline(offline), Ready | WaitingUpload | Uploading | UploadEnd) => {
                if offline.pull.is_some() {
                    return Err(Violation::TooMany);
                }
                if pull.offset != 0 {
                    return Err(Violation::Offset);
                }
                offline.pull = Some(pull);
                Ok(PullAction::Hold)
            }
            (Mode::Offline(offline), WaitingDownload | Downloading) => {
                let file = offline.do_pull_file_request(pull)?;
                self.state = Downloading;
                self.last_update_tick = tick;
                Ok(PullAction::Read(file))
            }
            _ => Err(Violation::State),
        }
    }

    /// A block arrives from the sender.
    ///
    /// C++: file_server/transfer_task.h BaseTransferTask::DoRecvData
    pub fn do_recv_data(
        &mut self,
        offset: u32,
        data: Bytes,
        tick: u64,
    ) -> Result<RecvAction, Violation> {
        use TransferTaskState::*;
        let action = match (&mut self.mode, self.state) {
            (Mode::Online(online), WaitingTransfer | Transfering) => {
                RecvAction::Forward(online.do_recv_data(offset, tick)?)
            }
            (Mode::Offline(offline), WaitingUpload | Uploading) => {
                let complete = offline.do_recv_data(self.file_size, offset, data)?;
                self.state = if complete { UploadEnd } else { Uploading };
                RecvAction::Store
            }
            _ => return Err(Violation::State),
        };
        self.last_update_tick = tick;
        Ok(action)
    }

    /// Where the next block of an upload begins and how long it is, if it is time to ask for it.
    pub fn next_upload_block(&mut self, tick: u64) -> Option<(u32, u32)> {
        use TransferTaskState::*;
        if !matches!(self.state, WaitingUpload | Uploading) || self.from_conn.is_none() {
            return None;
        }
        let file_size = self.file_size;
        let offline = self.offline()?;
        let unwritten = offline.pending.len() + offline.writing;
        if offline.asked_tick.is_some() || offline.creating || unwritten >= BLOCKS_MAX {
            return None;
        }
        offline.asked_tick = Some(tick);
        Some((offline.next_offset(), offline.next_segment_block_size(file_size)))
    }

    /// The uploader has gone: nobody owes a block any more.
    pub fn forget_asked(&mut self) {
        if let Some(offline) = self.offline() {
            offline.asked_tick = None;
            offline.login_seq_num = None;
        }
    }

    /// The receiver has gone: what he asked for is not meant for the next one.
    pub fn forget_pull(&mut self) {
        if let Some(offline) = self.offline() {
            offline.pull = None;
        }
    }

    /// Since when the sender owes a block.
    pub fn asked_tick(&self) -> Option<u64> {
        match &self.mode {
            Mode::Online(online) => online.asked_tick,
            Mode::Offline(offline) => offline.asked_tick,
        }
    }

    /// Turns into the download of the file that it has uploaded. The request that has waited, if
    /// any.
    pub fn begin_download(&mut self) -> Option<Pull> {
        self.announced = false;
        self.state = TransferTaskState::WaitingDownload;
        let pull = self.offline().and_then(|offline| offline.pull.take());
        self.mode = Mode::Offline(OfflineTransferTask::default());
        pull
    }

    /// The header of the file that an uploader brings.
    pub fn header(&self, task_id: super::task_id::TaskId, now: u32) -> OfflineFileHeader {
        OfflineFileHeader {
            task_id,
            from_user_id: self.from_user_id,
            to_user_id: self.to_user_id,
            create_time: now,
            file_size: self.file_size,
            checksum: None,
        }
    }
}

impl OnlineTransferTask {
    /// C++: file_server/transfer_task.cpp OnlineTransferTask::DoPullFileRequest
    fn do_pull_file_request(&mut self, pull: Pull, tick: u64) -> Result<(), Violation> {
        if self.pulls.len() >= PULLS_MAX {
            return Err(Violation::TooMany);
        }
        self.pulls.push_back(pull);
        self.asked_tick.get_or_insert(tick);
        Ok(())
    }

    /// The sequence number of the request that this block answers.
    ///
    /// C++: file_server/transfer_task.cpp OnlineTransferTask::DoRecvData
    /// Differs: only what was asked for is passed on (F117).
    fn do_recv_data(&mut self, offset: u32, tick: u64) -> Result<u16, Violation> {
        let at = self.pulls.iter().position(|pull| pull.offset == offset);
        let pull = at.and_then(|at| self.pulls.remove(at)).ok_or(Violation::NotAsked)?;
        self.asked_tick = (!self.pulls.is_empty()).then_some(tick);
        Ok(pull.seq_num)
    }
}

impl OfflineTransferTask {
    /// The file, if it is open already. It is with a worker from now on.
    ///
    /// C++: file_server/transfer_task.cpp OfflineTransferTask::DoPullFileRequest
    fn do_pull_file_request(&mut self, pull: Pull) -> Result<Option<Box<DownloadFile>>, Violation> {
        if pull.offset != self.next_offset() {
            return Err(Violation::Offset);
        }
        let file = match mem::replace(&mut self.slot, Slot::Busy) {
            Slot::None => None,
            Slot::Download(file) => Some(file),
            Slot::Busy | Slot::Upload(_) => return Err(Violation::TooMany),
        };
        self.pull = Some(pull);
        Ok(file)
    }

    /// Whether this was the last block.
    ///
    /// C++: file_server/transfer_task.cpp OfflineTransferTask::DoRecvData
    /// Differs: a block has the size that was asked for, or is refused (F107).
    fn do_recv_data(
        &mut self,
        file_size: u32,
        offset: u32,
        data: Bytes,
    ) -> Result<bool, Violation> {
        if self.asked_tick.is_none() {
            return Err(Violation::NotAsked);
        }
        if offset != self.next_offset() {
            return Err(Violation::Offset);
        }
        if data.len() != self.next_segment_block_size(file_size) as usize {
            return Err(Violation::Size);
        }
        self.asked_tick = None;
        self.transfered_idx += 1;
        self.pending.push(data);
        Ok(self.transfered_idx == max_segment_size(file_size))
    }

    /// The file and the blocks for it, if the file is at rest and there is something to do.
    pub fn take_for_writing(&mut self, finish: bool) -> Option<(Box<UploadFile>, Vec<Bytes>)> {
        if self.pending.is_empty() && !finish {
            return None;
        }
        match mem::replace(&mut self.slot, Slot::Busy) {
            Slot::Upload(file) => {
                self.writing = self.pending.len();
                Some((file, mem::take(&mut self.pending)))
            }
            slot => {
                self.slot = slot;
                None
            }
        }
    }

    /// A worker has created the file, or appended to it.
    pub fn rest(&mut self, file: Box<UploadFile>) {
        self.creating = false;
        self.writing = 0;
        self.slot = Slot::Upload(file);
    }

    /// How long the block is that the receiver has asked for.
    ///
    /// C++: file_server/transfer_task.h OfflineTransferTask::GetNextSegmentBlockSize
    /// Differs: 64-bit arithmetic, and a file of size 0 has an empty block (F108).
    pub fn next_segment_block_size(&self, file_size: u32) -> u32 {
        let offset = u64::from(self.transfered_idx) * u64::from(SEGMENT_SIZE);
        let rest = u64::from(file_size).saturating_sub(offset);
        // At most SEGMENT_SIZE, so it fits.
        rest.min(u64::from(SEGMENT_SIZE)) as u32
    }

    /// C++: file_server/transfer_task.h OfflineTransferTask::GetNextOffset
    fn next_offset(&self) -> u32 {
        self.transfered_idx.saturating_mul(SEGMENT_SIZE)
    }

    /// A block was read. Whether it was the last one.
    pub fn block_read(&mut self, file_size: u32, file: Box<DownloadFile>) -> bool {
        self.slot = Slot::Download(file);
        self.transfered_idx += 1;
        self.transfered_idx >= max_segment_size(file_size)
    }
}

/// How many blocks a file has.
///
/// C++: file_server/transfer_task.h OfflineTransferTask::SetMaxSegmentSize
fn max_segment_size(file_size: u32) -> u32 {
    file_size.div_ceil(SEGMENT_SIZE)
}

/// Whether this is one of the roles of the user the file comes from.
///
/// C++: file_server/transfer_task.h BaseTransferTask::CheckFromUserID
pub fn is_sender(role: ClientFileRole) -> bool {
    match role {
        ClientFileRole::ClientRealtimeSender | ClientFileRole::ClientOfflineUpload => true,
        ClientFileRole::ClientRealtimeRecver | ClientFileRole::ClientOfflineDownload => false,
    }
}
