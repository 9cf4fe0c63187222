//! What workers do for transfers, and what becomes of it.
//!
//! A file travels: the transfer gives it to a worker, and the worker gives it back with the result.
//! So each transfer has one job at a time, nothing is locked, and what a transfer has in memory is
//! bounded.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use log::{debug, error, info, warn};

use super::file_client_conn::FileClientConn;
use super::offline_file::{DownloadFile, OfflineFileHeader, OfflineFiles, UploadFile};
use super::task_id::TaskId;
use super::transfer_task::{OfflineTransferTask, Slot, TransferTask, TransferTaskState};
use super::{CONN_MAX, Cx, FileServer, FileServerConfig};
use crate::base::thread_pool::{PoolFigures, ThreadPool};
use crate::netlib::{Netlib, ResponseList};
use crate::pb::base_define::ClientFileState;

/// Jobs that wait for a worker: one for each client, and as many that delete files. A transfer
/// whose job finds no room fails.
pub const QUEUE_MAX: NonZeroUsize = NonZeroUsize::new(2 * CONN_MAX).expect("a number from 1");

/// How often the free space of the disk is looked at. What is announced meanwhile counts as used.
const MEASURE_INTERVAL_MS: u64 = 1_000;

/// Workers, and the directory they work on.
#[derive(Debug)]
pub(super) struct Disk {
    pool: ThreadPool,
    files: Arc<OfflineFiles>,
    responses: ResponseList<Response>,
    /// Free bytes when last looked at.
    free_space: Arc<AtomicU64>,
    /// A worker is looking.
    measuring: Arc<AtomicBool>,
}

impl Disk {
    /// The directory of the configuration, and what is stored in it.
    pub(super) fn open(
        config: &FileServerConfig,
        responses: ResponseList<Response>,
    ) -> io::Result<(Self, Vec<OfflineFileHeader>)> {
        let files = OfflineFiles::open(&config.offline_file_dir)?;
        let stored = files.scan()?;
        let pool = ThreadPool::new("disk", config.disk_thread_count, QUEUE_MAX)?;
        let free_space = Arc::new(AtomicU64::new(files.free_space()?));
        let (files, measuring) = (Arc::new(files), Arc::default());
        Ok((Self { pool, files, responses, free_space, measuring }, stored))
    }

    /// Free bytes of the disk, a moment ago.
    pub(super) fn free_space(&self) -> u64 {
        self.free_space.load(Ordering::Relaxed)
    }

    /// Has a worker look how much is free: a disk that hangs must not hold up the loop.
    fn measure(&self) {
        if self.measuring.swap(true, Ordering::Relaxed) {
            return;
        }
        let (files, free_space) = (Arc::clone(&self.files), Arc::clone(&self.free_space));
        let measuring = Arc::clone(&self.measuring);
        let job = move || {
            match files.free_space() {
                Ok(free) => free_space.store(free, Ordering::Relaxed),
                Err(error) => warn!("how much of the disk is free is not known: {error}"),
            }
            measuring.store(false, Ordering::Relaxed);
        };
        if self.pool.try_add_task(None, Box::new(job)).is_err() {
            self.measuring.store(false, Ordering::Relaxed);
        }
    }

    /// Whether no worker has anything to do and the loop has taken all they did, for tests that
    /// wait for them.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        // In this order: a worker is busy until its answer is listed.
        self.pool.queue_len() == 0 && self.pool.busy() == 0 && self.responses.is_empty()
    }

    /// What the workers do.
    pub(super) fn figures(&self) -> PoolFigures {
        self.pool.figures()
    }

    /// From here on, jobs are refused.
    #[cfg(test)]
    pub(super) fn stop(&self) {
        self.pool.shutdown_drain();
    }

    /// Has a worker do what may block. Jobs of one file are done one after the other.
    fn hand_over(
        &self,
        task_id: TaskId,
        serial: u64,
        run: impl FnOnce(&OfflineFiles) -> Outcome + Send + 'static,
    ) {
        let responses = self.responses.clone();
        let responder = Responder { responses, task_id, serial, outcome: Outcome::Lost };
        let files = Arc::clone(&self.files);
        // A job that is not taken is dropped, and its responder says that it is lost.
        let job = move || {
            let mut responder = responder;
            responder.outcome = run(&files);
        };
        if let Err(error) = self.pool.try_add_task(Some(task_id.key()), Box::new(job)) {
            warn!("a job for the disk is lost: {error}");
        }
    }

    /// Deletes what there is of an upload that was given up.
    fn discard(&self, task_id: TaskId, file: Box<UploadFile>) {
        // Without a worker, this thread deletes it.
        let _ = self.pool.try_add_task(Some(task_id.key()), Box::new(move || drop(file)));
    }

    /// Has a stored file deleted.
    fn remove(&self, header: OfflineFileHeader) {
        self.hand_over(header.task_id, 0, move |files| {
            Outcome::Removed(files.remove(header.task_id), header)
        });
    }

    /// A transfer has ended: what it had open is closed, and half a file is deleted.
    pub(super) fn clean_up(&self, task_id: TaskId, mut task: TransferTask) {
        let slot = task.offline().map(|offline| std::mem::take(&mut offline.slot));
        match slot {
            Some(Slot::Upload(file)) => self.discard(task_id, file),
            // What a worker has comes back, and nobody waits for it.
            None | Some(Slot::None | Slot::Busy | Slot::Download(_)) => {}
        }
    }

    /// Nobody waits any more for what a worker has done.
    fn drop_outcome(&self, task_id: TaskId, outcome: Outcome) {
        match outcome {
            Outcome::Created(Ok(file)) | Outcome::Written(Ok(file)) => {
                self.discard(task_id, file);
            }
            Outcome::Stored(Ok(header)) => {
                debug!("a file was completed after its transfer had been cancelled");
                self.hand_over(task_id, 0, move |files| {
                    Outcome::Unwanted(files.remove(header.task_id))
                });
            }
            Outcome::Unwanted(Err(error)) => error!("an offline file cannot be deleted: {error}"),
            Outcome::Created(Err(_))
            | Outcome::Written(Err(_))
            | Outcome::Stored(Err(_))
            | Outcome::Unwanted(Ok(()))
            | Outcome::Read(_)
            | Outcome::Removed(..)
            | Outcome::Lost => {}
        }
    }
}

/// What a worker has done for a transfer.
#[derive(Debug)]
pub(super) struct Response {
    task_id: TaskId,
    serial: u64,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    Created(io::Result<Box<UploadFile>>),
    Written(io::Result<Box<UploadFile>>),
    Stored(io::Result<OfflineFileHeader>),
    Read(io::Result<(Box<DownloadFile>, Vec<u8>)>),
    /// A stored file whose time was over.
    Removed(io::Result<()>, OfflineFileHeader),
    /// A stored file whose transfer had been cancelled.
    Unwanted(io::Result<()>),
    /// The worker panicked, or there was none.
    Lost,
}

/// Answers for a worker, and for one that panicked.
struct Responder {
    responses: ResponseList<Response>,
    task_id: TaskId,
    serial: u64,
    outcome: Outcome,
}

impl Drop for Responder {
    fn drop(&mut self) {
        let outcome = std::mem::replace(&mut self.outcome, Outcome::Lost);
        self.responses.push(Response { task_id: self.task_id, serial: self.serial, outcome });
    }
}

/// Has the file of an upload created. Its login is answered when it exists.
pub(super) fn create(cx: &mut Cx<'_>, task_id: TaskId) {
    let now = (cx.srv.clock)();
    let Some(task) = cx.srv.tasks.find_by_task_id(task_id) else { return };
    let (serial, header) = (task.serial, task.header(task_id, now));
    let Some(offline) = task.offline() else { return };
    offline.slot = Slot::Busy;
    offline.creating = true;
    let run = move |files: &OfflineFiles| Outcome::Created(files.create(header).map(Box::new));
    cx.srv.disk.hand_over(task_id, serial, run);
}

/// Has the blocks written that have arrived, and the file completed if these were the last ones.
pub(super) fn write(cx: &mut Cx<'_>, task_id: TaskId) {
    let Some(task) = cx.srv.tasks.find_by_task_id(task_id) else { return };
    let (serial, finish) = (task.serial, task.state == TransferTaskState::UploadEnd);
    let Some((mut file, blocks)) = task.offline().and_then(|o| o.take_for_writing(finish)) else {
        return;
    };
    cx.srv.disk.hand_over(task_id, serial, move |_| {
        let written = blocks.iter().try_for_each(|block| file.write(block));
        match written {
            Ok(()) if finish => Outcome::Stored(file.finish()),
            result => Outcome::Written(result.map(|()| file)),
        }
    });
}

/// Has the block read that the receiver has asked for.
pub(super) fn read(cx: &mut Cx<'_>, task_id: TaskId, file: Option<Box<DownloadFile>>) {
    let Some(task) = cx.srv.tasks.find_by_task_id(task_id) else { return };
    let (serial, size) = (task.serial, task.file_size);
    let Some(len) = task.offline().map(|offline| offline.next_segment_block_size(size)) else {
        return;
    };
    cx.srv.disk.hand_over(task_id, serial, move |files| {
        let read = || {
            let mut file = match file {
                Some(file) => file,
                None => Box::new(files.open_file(task_id)?),
            };
            if file.header().file_size != size {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let bytes = file.read(len as usize)?;
            Ok((file, bytes))
        };
        Outcome::Read(read())
    });
}

/// Has stored files deleted whose time is over.
pub(super) fn remove_due_files(cx: &mut Cx<'_>) {
    for header in cx.srv.tasks.take_due_files((cx.srv.clock)()) {
        cx.srv.disk.remove(header);
    }
}

/// Gives up an upload: both clients are told, and nothing is left of it.
pub(super) fn cancel(cx: &mut Cx<'_>, task_id: TaskId) {
    let Some(task) = cx.srv.tasks.remove(task_id) else { return };
    let user_id = task.from_user_id;
    for conn in [task.from_conn, task.to_conn].into_iter().flatten() {
        let state = ClientFileState::ClientFileCancel;
        FileClientConn::states_notify(cx, conn, state, task_id, user_id);
        FileClientConn::close(cx, conn);
    }
    cx.srv.disk.clean_up(task_id, task);
}

pub(super) fn init_disk(net: &mut Netlib<FileServer>) {
    net.add_loop(disk_loop_callback);
    net.register_timer(measure, MEASURE_INTERVAL_MS);
}

fn measure(cx: &mut Cx<'_>) {
    cx.srv.tasks.set_free_space(cx.srv.disk.free_space());
    cx.srv.disk.measure();
}

/// Takes what workers have done.
pub(super) fn disk_loop_callback(cx: &mut Cx<'_>) {
    for Response { task_id, serial, outcome } in cx.srv.disk.responses.take() {
        if let Outcome::Removed(result, header) = outcome {
            removed(cx, result, header);
            continue;
        }
        let task = cx.srv.tasks.find_by_task_id(task_id).filter(|task| task.serial == serial);
        match task {
            Some(_) => finish(cx, task_id, outcome),
            None => cx.srv.disk.drop_outcome(task_id, outcome),
        }
    }
}

fn finish(cx: &mut Cx<'_>, task_id: TaskId, outcome: Outcome) {
    match outcome {
        Outcome::Created(Ok(file)) => created(cx, task_id, file),
        Outcome::Written(Ok(file)) => {
            if let Some(offline) = offline_task(cx, task_id) {
                offline.rest(file);
            }
            FileClientConn::go_on(cx, task_id);
        }
        Outcome::Stored(Ok(header)) => stored(cx, &header),
        Outcome::Read(Ok((file, bytes))) => {
            FileClientConn::send_block(cx, task_id, file, bytes.into());
        }
        Outcome::Created(Err(error)) => {
            error!("an offline file cannot be created: {error}");
            not_created(cx, task_id);
        }
        Outcome::Written(Err(error)) | Outcome::Stored(Err(error)) => {
            error!("an offline file cannot be written: {error}");
            cancel(cx, task_id);
        }
        Outcome::Read(Err(error)) => {
            error!("an offline file cannot be read: {error}");
            FileClientConn::refuse_block(cx, task_id);
        }
        Outcome::Lost => lost(cx, task_id),
        Outcome::Removed(..) | Outcome::Unwanted(_) => {}
    }
}

fn offline_task<'a>(cx: &'a mut Cx<'_>, task_id: TaskId) -> Option<&'a mut OfflineTransferTask> {
    cx.srv.tasks.find_by_task_id(task_id)?.offline()
}

fn created(cx: &mut Cx<'_>, task_id: TaskId, file: Box<UploadFile>) {
    let Some(task) = cx.srv.tasks.find_by_task_id(task_id) else { return };
    if task.file_size == 0 {
        // There is no block to ask for.
        task.state = TransferTaskState::UploadEnd;
    }
    let uploader = task.from_conn;
    let seq_num = task.offline().and_then(|offline| {
        offline.rest(file);
        offline.login_seq_num.take()
    });
    if let Some((conn, seq_num)) = uploader.zip(seq_num) {
        FileClientConn::answer_login(cx, conn, 0, &task_id.text(), seq_num);
    }
    FileClientConn::go_on(cx, task_id);
}

fn not_created(cx: &mut Cx<'_>, task_id: TaskId) {
    let Some(task) = cx.srv.tasks.find_by_task_id(task_id) else { return };
    let uploader = task.from_conn;
    let seq_num = offline_task(cx, task_id).and_then(|offline| offline.login_seq_num.take());
    if let Some((conn, seq_num)) = uploader.zip(seq_num) {
        FileClientConn::answer_login(cx, conn, 1, &task_id.text(), seq_num);
        // It leaves the transfer before that is cancelled, so that it hears one refusal.
        FileClientConn::close(cx, conn);
    }
    cancel(cx, task_id);
}

fn stored(cx: &mut Cx<'_>, header: &OfflineFileHeader) {
    let (from, to, size) = (header.from_user_id, header.to_user_id, header.file_size);
    info!("offline file stored from={from} to={to} size={size}");
    let Some(stored) = cx.srv.tasks.store(header) else { return };
    if let Some(conn) = stored.uploader {
        let state = ClientFileState::ClientFileDone;
        FileClientConn::states_notify(cx, conn, state, header.task_id, from);
        FileClientConn::close(cx, conn);
    }
    if let Some((conn, pull)) = stored.pull {
        FileClientConn::pull_offline(cx, conn, header.task_id, pull);
    }
}

fn lost(cx: &mut Cx<'_>, task_id: TaskId) {
    let Some(task) = cx.srv.tasks.find_by_task_id(task_id) else { return };
    let (is_upload, creating) = (task.is_upload(), task.offline().is_some_and(|o| o.creating));
    match (is_upload, creating) {
        (true, true) => not_created(cx, task_id),
        (true, false) => cancel(cx, task_id),
        (false, _) => FileClientConn::refuse_block(cx, task_id),
    }
}

fn removed(cx: &mut Cx<'_>, result: io::Result<()>, header: OfflineFileHeader) {
    let (from, to, size) = (header.from_user_id, header.to_user_id, header.file_size);
    match result {
        Ok(()) => {
            info!("offline file deleted, its time is over from={from} to={to} size={size}");
            cx.srv.tasks.file_removed(from, size);
        }
        // It goes on to count, and the next start finds it.
        Err(error) => error!("an offline file cannot be deleted: {error}"),
    }
}
