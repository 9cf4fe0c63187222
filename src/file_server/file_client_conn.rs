//! Connections of clients. Each takes part in one transfer, in one role.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use log::{debug, info, warn};

use super::offline_file::DownloadFile;
use super::task_id::TaskId;
use super::transfer_task::{Pull, PullAction, RecvAction, Slot, TransferTaskState, is_sender};
use super::{Cx, FileServer, disk};
use crate::base::im_pdu::{ImPdu, PduError, PduHeader, PduRef};
use crate::netlib::{ConnHandler, NetHandle, Netlib, PduFraming, PduHandler, keepalive};
use crate::pb::base_define::{ClientFileRole, ClientFileState, TransferFileType};
use crate::pb::cmd::*;
use crate::pb::file::{
    ImFileLoginReq, ImFileLoginRsp, ImFilePullDataReq, ImFilePullDataRsp, ImFileState,
};

/// How long a client may take to say which transfer it is for.
pub const LOGIN_TIMEOUT_MS: u64 = 15_000;

/// How long a sender may take for a block that it was asked for.
pub const BLOCK_TIMEOUT_MS: u64 = 120_000;

/// How long a receiver may take to say that it has everything.
pub const DONE_WAIT_MS: u64 = 5_000;

const TIMER_MS: u64 = 1_000;
const TASK_TIMER_MS: u64 = 10_000;

/// C++: file_server/file_client_conn.h FileClientConn
#[derive(Debug)]
pub struct FileClientConn {
    connect_tick: u64,
    /// `None` until the client has logged in.
    login: Option<Login>,
}

/// What a client takes part in.
#[derive(Clone, Copy, Debug)]
struct Login {
    task_id: TaskId,
    user_id: u32,
    role: ClientFileRole,
}

impl Login {
    fn parse(msg: &ImFileLoginReq) -> Option<Self> {
        let role = ClientFileRole::try_from(msg.file_role).ok()?;
        Some(Self { task_id: TaskId::parse(&msg.task_id)?, user_id: msg.user_id, role })
    }

    /// Whether a PDU is about this transfer and from this user.
    fn is(&self, task_id: &str, user_id: u32) -> bool {
        self.user_id == user_id && TaskId::parse(task_id) == Some(self.task_id)
    }
}

impl ConnHandler for FileClientConn {
    type Server = FileServer;
    type Framing = PduFraming;

    /// C++: file_server/file_client_conn.cpp FileClientConn::OnConnect
    fn on_connect(cx: &mut Cx<'_>, this: NetHandle) {
        let conn = Self { connect_tick: cx.net.tick(), login: None };
        cx.srv.file_client_conns.insert(this, conn);
    }

    /// C++: file_server/file_client_conn.cpp FileClientConn::OnClose
    fn on_close(cx: &mut Cx<'_>, this: NetHandle) {
        Self::close(cx, this);
    }

    /// A block has gone out: the receiver may ask for the next one.
    fn on_write_complete(cx: &mut Cx<'_>, this: NetHandle) {
        let login = cx.srv.file_client_conns.get(this).and_then(|conn| conn.login);
        let task = login.and_then(|login| cx.srv.tasks.find_by_task_id(login.task_id));
        let is_reading = task.and_then(|task| task.offline()).is_some_and(|o| o.pull.is_some());
        if !is_reading {
            cx.net.resume_read(this);
        }
    }
}

impl PduHandler for FileClientConn {
    /// C++: file_server/file_client_conn.cpp FileClientConn::HandlePdu
    fn handle_pdu(cx: &mut Cx<'_>, this: NetHandle, pdu: PduRef<'_>) -> Result<(), PduError> {
        match pdu.command_id() {
            CID_OTHER_HEARTBEAT => Self::handle_heart_beat(cx, this, pdu),
            CID_FILE_LOGIN_REQ => Self::handle_client_file_login_req(cx, this, pdu)?,
            CID_FILE_STATE => Self::handle_client_file_states(cx, this, pdu)?,
            CID_FILE_PULL_DATA_REQ => Self::handle_client_file_pull_file_req(cx, this, pdu)?,
            CID_FILE_PULL_DATA_RSP => Self::handle_client_file_pull_file_rsp(cx, this, pdu)?,
            command_id => debug!("conn={this} cmd={command_id:#06x} ignored: unknown command"),
        }
        Ok(())
    }
}

impl FileClientConn {
    /// C++: file_server/file_client_conn.cpp FileClientConn::Close
    pub(super) fn close(cx: &mut Cx<'_>, this: NetHandle) {
        let Some(conn) = cx.srv.file_client_conns.remove(this) else { return };
        if let Some(Login { task_id, role, .. }) = conn.login {
            let tick = cx.net.tick();
            let tasks = &mut cx.srv.tasks;
            let ended = tasks.delete_transfer_task_by_conn_close(task_id, role, this, tick);
            if let Some(task) = ended {
                cx.srv.disk.clean_up(task_id, task);
            }
        }
        cx.net.close(this);
    }

    /// C++: file_server/file_client_conn.cpp FileClientConn::_HandleHeartBeat
    fn handle_heart_beat(cx: &mut Cx<'_>, this: NetHandle, pdu: PduRef<'_>) {
        cx.net.send_received(this, pdu);
    }

    /// C++: file_server/file_client_conn.cpp FileClientConn::_HandleClientFileLoginReq
    /// Differs: only a canonical UUID is looked for (F106), and a connection logs in once (F109).
    fn handle_client_file_login_req(
        cx: &mut Cx<'_>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        let msg: ImFileLoginReq = pdu.decode()?;
        let (seq_num, tick) = (pdu.seq_num(), cx.net.tick());
        let Some(conn) = cx.srv.file_client_conns.get_mut(this) else { return Ok(()) };
        let login = Login::parse(&msg).filter(|Login { task_id, user_id, role }| {
            conn.login.is_none() && cx.srv.tasks.log_in(*task_id, *user_id, *role, this, tick)
        });
        let Some(login) = login else {
            info!("conn={this} user={} role={} refused", msg.user_id, msg.file_role);
            Self::answer_login(cx, this, 1, &msg.task_id, seq_num);
            Self::close(cx, this);
            return Ok(());
        };
        conn.login = Some(login);
        debug!("conn={this} user={} role={} logged in", login.user_id, msg.file_role);
        if login.role == ClientFileRole::ClientOfflineUpload {
            Self::begin_upload(cx, this, login.task_id, seq_num);
            return Ok(());
        }
        Self::answer_login(cx, this, 0, &login.task_id.text(), seq_num);
        let Some(task) = cx.srv.tasks.find_by_task_id(login.task_id) else { return Ok(()) };
        if task.state == TransferTaskState::WaitingTransfer
            && let Some(receiver) = task.to_conn
        {
            let (state, user_id) = (ClientFileState::ClientFilePeerReady, task.from_user_id);
            Self::states_notify(cx, receiver, state, login.task_id, user_id);
        }
        Ok(())
    }

    /// An uploader has come, or has come back.
    fn begin_upload(cx: &mut Cx<'_>, this: NetHandle, task_id: TaskId, seq_num: u16) {
        let Some(task) = cx.srv.tasks.find_by_task_id(task_id) else { return };
        let Some(offline) = task.offline() else { return };
        let is_new = matches!(offline.slot, Slot::None);
        if is_new || offline.creating {
            offline.login_seq_num = Some(seq_num);
            if is_new {
                disk::create(cx, task_id);
            }
            return;
        }
        Self::answer_login(cx, this, 0, &task_id.text(), seq_num);
        Self::go_on(cx, task_id);
    }

    pub(super) fn answer_login(
        cx: &mut Cx<'_>,
        this: NetHandle,
        result_code: u32,
        task_id: &str,
        seq_num: u16,
    ) {
        let rsp = ImFileLoginRsp { result_code, task_id: task_id.to_owned() };
        cx.net.send_msg(this, PduHeader::new(SID_FILE, CID_FILE_LOGIN_RES, seq_num), &rsp);
    }

    /// Who cancels, refuses or is done says so to the other one, and leaves.
    ///
    /// C++: file_server/file_client_conn.cpp FileClientConn::_HandleClientFileStates
    /// Differs: an upload that either side cancels is given up at once (F110).
    fn handle_client_file_states(
        cx: &mut Cx<'_>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        let msg: ImFileState = pdu.decode()?;
        let Some(login) = Self::login_of(cx, this, &msg.task_id, msg.user_id) else {
            return Ok(());
        };
        debug!("conn={this} user={} state={}", login.user_id, msg.state);
        let state = ClientFileState::try_from(msg.state).ok();
        let task = cx.srv.tasks.find_by_task_id(login.task_id);
        let Some((state, task)) = state.zip(task) else {
            Self::close(cx, this);
            return Ok(());
        };
        let tells = match state {
            ClientFileState::ClientFileCancel | ClientFileState::ClientFileRefuse => true,
            // Off line, the server says when the file is complete.
            ClientFileState::ClientFileDone => task.is_online(),
            ClientFileState::ClientFilePeerReady => false,
        };
        let (opponent, is_upload) = (task.opponent_conn(login.role), task.is_upload());
        if let Some(opponent) = opponent.filter(|_| tells) {
            cx.net.send_received(opponent, pdu);
        }
        if state == ClientFileState::ClientFileDone && task.state == TransferTaskState::DownloadEnd
        {
            let now = (cx.srv.clock)();
            cx.srv.tasks.fetched(login.task_id, now);
        }
        Self::close(cx, this);
        if is_upload && tells {
            if let Some(opponent) = opponent {
                Self::close(cx, opponent);
            }
            disk::cancel(cx, login.task_id);
        }
        Ok(())
    }

    /// A receiver asks for a block.
    ///
    /// C++: file_server/file_client_conn.cpp FileClientConn::_HandleClientFilePullFileReq
    /// Differs: a request that comes before the upload is complete waits for that.
    fn handle_client_file_pull_file_req(
        cx: &mut Cx<'_>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        let msg: ImFilePullDataReq = pdu.decode()?;
        let Some(login) = Self::login_of(cx, this, &msg.task_id, msg.user_id) else {
            return Ok(());
        };
        let pull = Pull { offset: msg.offset, seq_num: pdu.seq_num() };
        let tick = cx.net.tick();
        let task = cx.srv.tasks.find_by_task_id(login.task_id);
        let Some(task) = task.filter(|_| !is_sender(login.role)) else {
            warn!("conn={this} user={} closed: asks for a block", login.user_id);
            Self::close(cx, this);
            return Ok(());
        };
        if !task.is_online() {
            Self::pull_offline(cx, this, login.task_id, pull);
            return Ok(());
        }
        match (task.do_pull_file_request(pull, tick), task.from_conn) {
            (Ok(_), Some(sender)) => cx.net.send_received(sender, pdu),
            (Ok(_), None) => {}
            (Err(violation), _) => {
                warn!("conn={this} user={} closed: {violation}", login.user_id);
                Self::close(cx, this);
            }
        }
        Ok(())
    }

    /// Reads a block for a receiver, who is not listened to until it has gone out.
    pub(super) fn pull_offline(cx: &mut Cx<'_>, this: NetHandle, task_id: TaskId, pull: Pull) {
        let tick = cx.net.tick();
        let Some(task) = cx.srv.tasks.find_by_task_id(task_id) else { return };
        match task.do_pull_file_request(pull, tick) {
            Ok(PullAction::Read(file)) => {
                cx.net.pause_read(this);
                disk::read(cx, task_id, file);
            }
            Ok(PullAction::Forward | PullAction::Hold) => {}
            Err(violation) => {
                warn!("conn={this} closed: {violation}");
                Self::close(cx, this);
            }
        }
    }

    /// A block that was asked for has been read.
    pub(super) fn send_block(
        cx: &mut Cx<'_>,
        task_id: TaskId,
        file: Box<DownloadFile>,
        file_data: Bytes,
    ) {
        let tick = cx.net.tick();
        let Some(task) = cx.srv.tasks.find_by_task_id(task_id) else { return };
        let (file_size, user_id) = (task.file_size, task.from_user_id);
        let Some(this) = task.to_conn else { return };
        let Some(offline) = task.offline() else { return };
        let is_last = offline.block_read(file_size, file);
        let Some(pull) = offline.pull.take() else { return };
        if is_last {
            task.state = TransferTaskState::DownloadEnd;
            task.last_update_tick = tick;
        }
        Self::answer_pull(cx, this, task_id, pull, Some(file_data));
        if is_last {
            Self::states_notify(cx, this, ClientFileState::ClientFileDone, task_id, user_id);
        }
        cx.net.notify_written(this);
    }

    /// A block that was asked for cannot be read.
    pub(super) fn refuse_block(cx: &mut Cx<'_>, task_id: TaskId) {
        let Some(task) = cx.srv.tasks.find_by_task_id(task_id) else { return };
        let pull = task.offline().and_then(|offline| offline.pull.take());
        let Some(this) = task.to_conn else { return };
        if let Some(pull) = pull {
            Self::answer_pull(cx, this, task_id, pull, None);
        }
        Self::close(cx, this);
    }

    fn answer_pull(
        cx: &mut Cx<'_>,
        this: NetHandle,
        task_id: TaskId,
        pull: Pull,
        file_data: Option<Bytes>,
    ) {
        let login = cx.srv.file_client_conns.get(this).and_then(|conn| conn.login);
        let rsp = ImFilePullDataRsp {
            result_code: u32::from(file_data.is_none()),
            task_id: task_id.text(),
            user_id: login.map_or(0, |login| login.user_id),
            offset: pull.offset,
            file_data: file_data.unwrap_or_default(),
        };
        let header = PduHeader::new(SID_FILE, CID_FILE_PULL_DATA_RSP, pull.seq_num);
        cx.net.send_msg(this, header, &rsp);
    }

    /// A block arrives from the sender.
    ///
    /// C++: file_server/file_client_conn.cpp FileClientConn::_HandleClientFilePullFileRsp
    fn handle_client_file_pull_file_rsp(
        cx: &mut Cx<'_>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        let msg: ImFilePullDataRsp = pdu.decode()?;
        let Some(login) = Self::login_of(cx, this, &msg.task_id, msg.user_id) else {
            return Ok(());
        };
        let tick = cx.net.tick();
        let task = cx.srv.tasks.find_by_task_id(login.task_id);
        let Some(task) = task.filter(|_| is_sender(login.role)) else {
            warn!("conn={this} user={} closed: sends a block", login.user_id);
            Self::close(cx, this);
            return Ok(());
        };
        match (task.do_recv_data(msg.offset, msg.file_data, tick), task.to_conn) {
            (Ok(RecvAction::Forward(seq_num)), Some(receiver)) => {
                let header = PduHeader { seq_num, ..*pdu.header() };
                cx.net.send_pdu(receiver, &ImPdu::with_body(header, pdu.body()));
            }
            (Ok(RecvAction::Forward(_)), None) => {}
            (Ok(RecvAction::Store), _) => Self::go_on(cx, login.task_id),
            (Err(violation), _) => {
                warn!("conn={this} user={} closed: {violation}", login.user_id);
                Self::close(cx, this);
            }
        }
        Ok(())
    }

    /// Has written what has arrived of an upload, and asks for more if there is room for it.
    pub(super) fn go_on(cx: &mut Cx<'_>, task_id: TaskId) {
        disk::write(cx, task_id);
        let tick = cx.net.tick();
        let Some(task) = cx.srv.tasks.find_by_task_id(task_id) else { return };
        let (user_id, uploader) = (task.from_user_id, task.from_conn);
        if let Some((offset, data_size)) = task.next_upload_block(tick)
            && let Some(uploader) = uploader
        {
            let req = ImFilePullDataReq {
                task_id: task_id.text(),
                user_id,
                trans_mode: TransferFileType::FileTypeOffline.into(),
                offset,
                data_size,
            };
            let header = PduHeader::new(SID_FILE, CID_FILE_PULL_DATA_REQ, 0);
            cx.net.send_msg(uploader, header, &req);
        }
    }

    /// C++: file_server/file_client_conn.cpp FileClientConn::_StatesNotify
    pub(super) fn states_notify(
        cx: &mut Cx<'_>,
        conn: NetHandle,
        state: ClientFileState,
        task_id: TaskId,
        user_id: u32,
    ) {
        let msg = ImFileState { state: state.into(), task_id: task_id.text(), user_id };
        cx.net.send_msg(conn, PduHeader::new(SID_FILE, CID_FILE_STATE, 0), &msg);
    }

    /// The login of a connection whose PDU is about it. Any other PDU closes the connection.
    fn login_of(cx: &mut Cx<'_>, this: NetHandle, task_id: &str, user_id: u32) -> Option<Login> {
        let login = cx.srv.file_client_conns.get(this)?.login;
        let login = login.filter(|login| login.is(task_id, user_id));
        if login.is_none() {
            warn!("conn={this} user={user_id} closed: not logged in for this transfer");
            Self::close(cx, this);
        }
        login
    }

    /// C++: file_server/file_client_conn.cpp FileClientConn::OnTimer
    fn on_timer(cx: &mut Cx<'_>, this: NetHandle) {
        match Self::why_close(cx, this) {
            Some(reason) => {
                debug!("conn={this} closed: {reason}");
                Self::close(cx, this);
            }
            None => {
                keepalive::check_timeout(cx, this, keepalive::CLIENT_TIMEOUT_MS);
            }
        }
    }

    /// Why there is no point in waiting for this client any longer.
    fn why_close(cx: &mut Cx<'_>, this: NetHandle) -> Option<&'static str> {
        let tick = cx.net.tick();
        let conn = cx.srv.file_client_conns.get(this)?;
        let Some(login) = conn.login else {
            return (tick >= conn.connect_tick + LOGIN_TIMEOUT_MS).then_some("no login");
        };
        let Some(task) = cx.srv.tasks.find_by_task_id(login.task_id) else {
            return Some("its transfer is over");
        };
        let since = tick.saturating_sub(task.last_update_tick);
        // What was sent to it goes out first.
        let has_all = cx.net.out_len(this) == 0 || since >= keepalive::CLIENT_TIMEOUT_MS;
        let asked = task.asked_tick().filter(|_| is_sender(login.role));
        match task.state {
            TransferTaskState::Invalid if has_all => Some("the other one has left"),
            TransferTaskState::DownloadEnd if has_all && since >= DONE_WAIT_MS => {
                Some("it has everything")
            }
            _ if asked.is_some_and(|asked| tick >= asked + BLOCK_TIMEOUT_MS) => {
                Some("it owes a block")
            }
            _ => None,
        }
    }
}

/// C++: file_server/file_client_conn.cpp InitializeFileClientConn
pub(super) fn initialize_file_client_conn(net: &mut Netlib<FileServer>) {
    net.register_timer(file_client_conn_timer_callback, TIMER_MS);
    net.register_timer(file_task_timer_callback, TASK_TIMER_MS);
}

/// C++: file_server/file_client_conn.cpp FileClientConnTimerCallback
fn file_client_conn_timer_callback(cx: &mut Cx<'_>) {
    let conns: Vec<_> = cx.srv.file_client_conns.handles().collect();
    for conn in conns {
        FileClientConn::on_timer(cx, conn);
    }
}

/// C++: file_server/file_client_conn.cpp FileTaskTimerCallback
fn file_task_timer_callback(cx: &mut Cx<'_>) {
    for task_id in cx.srv.tasks.expired(cx.net.tick()) {
        disk::cancel(cx, task_id);
    }
    disk::remove_due_files(cx);
}
