//! Files: what goes over a connection to file_server.
//!
//! A transfer begins at msg_server: the sender asks ([`Client::request_file`]), the receiver is
//! told ([`Event::File`]) or finds it waiting ([`Client::offline_files`]). All three come down to a
//! [`Transfer`], which one side [sends](Transfer::send) and the other [fetches](Transfer::fetch).
//!
//! [`Client::request_file`]: super::Client::request_file
//! [`Client::offline_files`]: super::Client::offline_files
//! [`Event::File`]: super::Event::File

use std::io::{Read, Seek, SeekFrom, Write};
use std::time::Duration;

use prost::Message;

use super::blocking::HEARTBEAT_INTERVAL;
use super::core::encode;
use super::error::ClientError;
use super::wire::{Wire, now};
use crate::base::im_pdu::{ImPdu, PduRef};
use crate::pb::base_define::{
    ClientFileRole, ClientFileState, IpAddr, OfflineFileInfo, TransferFileType,
};
use crate::pb::cmd::*;
use crate::pb::file::*;

/// How long a file_server may take to answer.
pub const FILE_SERVER_TIMEOUT: Duration = Duration::from_secs(15);

/// What goes over the wire at a time.
pub const BLOCK_LEN: u32 = 32 * 1024;

/// A block and what belongs to it fits well.
const PDU_LEN_MAX: u32 = 1 << 20;

/// A file that somebody sends to somebody.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Transfer {
    /// The name of the transfer, and what lets one take part in it.
    pub task_id: String,
    /// In bytes.
    pub size: u32,
    /// Whether sender and receiver meet, or the file is stored in between.
    pub trans_mode: TransferFileType,
    /// The file_servers that know of it.
    pub addrs: Vec<IpAddr>,
}

impl Transfer {
    /// The transfer that was asked for.
    pub fn of_response(rsp: &ImFileRsp, size: u32) -> Self {
        let (task_id, addrs) = (rsp.task_id.clone(), rsp.ip_addr_list.clone());
        Self { task_id, size, trans_mode: rsp.trans_mode(), addrs }
    }

    /// The transfer that was announced.
    pub fn of_notify(notify: &ImFileNotify) -> Self {
        let (task_id, addrs) = (notify.task_id.clone(), notify.ip_addr_list.clone());
        Self { task_id, size: notify.file_size, trans_mode: notify.trans_mode(), addrs }
    }

    /// A transfer that waits.
    pub fn of_offline(info: &OfflineFileInfo, addrs: &[IpAddr]) -> Self {
        let (task_id, addrs) = (info.task_id.clone(), addrs.to_vec());
        Self { task_id, size: info.file_size, trans_mode: TransferFileType::FileTypeOffline, addrs }
    }

    /// Sends the file: to the receiver himself, who has `patience` to begin, or to file_server,
    /// which goes on where an upload broke off. `progress` is told what has gone.
    ///
    /// # Errors
    /// The other side refuses or gives up, the connection breaks, or the file cannot be read.
    pub fn send(
        &self,
        user_id: u32,
        source: &mut (impl Read + Seek),
        patience: Duration,
        mut progress: impl FnMut(u32),
    ) -> Result<(), ClientError> {
        let role = match self.trans_mode {
            TransferFileType::FileTypeOnline => ClientFileRole::ClientRealtimeSender,
            TransferFileType::FileTypeOffline => ClientFileRole::ClientOfflineUpload,
        };
        let mut conn = FileServer::log_in(self, user_id, role)?;
        let mut next_patience = patience;
        let mut block = Vec::new();
        loop {
            let pdu = conn.receive(next_patience)?;
            match pdu.as_pdu().command_id() {
                CID_FILE_PULL_DATA_REQ => {
                    let req: ImFilePullDataReq = pdu.as_pdu().decode()?;
                    self.check_range(&req)?;
                    block.resize(req.data_size as usize, 0);
                    source.seek(SeekFrom::Start(req.offset.into()))?;
                    source.read_exact(&mut block)?;
                    let rsp = ImFilePullDataRsp {
                        result_code: 0,
                        task_id: req.task_id,
                        user_id,
                        offset: req.offset,
                        file_data: block.clone().into(),
                    };
                    conn.send_as(CID_FILE_PULL_DATA_RSP, pdu.as_pdu().seq_num(), &rsp)?;
                    progress(req.offset + req.data_size);
                    next_patience = FILE_SERVER_TIMEOUT;
                }
                CID_FILE_STATE => match self.state(&pdu)? {
                    ClientFileState::ClientFileDone => return Ok(()),
                    ClientFileState::ClientFilePeerReady => {}
                    state => return Err(given_up(state)),
                },
                _ => {}
            }
        }
    }

    /// What is asked for lies in the file.
    fn check_range(&self, req: &ImFilePullDataReq) -> Result<(), ClientError> {
        let end = req.offset.checked_add(req.data_size);
        if req.task_id != self.task_id || end.is_none_or(|end| end > self.size) {
            return Err(ClientError::File("something else is asked for"));
        }
        Ok(())
    }

    /// Fetches the file: from the sender himself, who has `patience` to come, or from file_server.
    /// `progress` is told what has come.
    ///
    /// # Errors
    /// The other side gives up, the connection breaks, or the file cannot be written.
    pub fn fetch(
        &self,
        user_id: u32,
        dest: &mut impl Write,
        patience: Duration,
        mut progress: impl FnMut(u32),
    ) -> Result<(), ClientError> {
        let online = self.trans_mode == TransferFileType::FileTypeOnline;
        let role = if online {
            ClientFileRole::ClientRealtimeRecver
        } else {
            ClientFileRole::ClientOfflineDownload
        };
        let mut conn = FileServer::log_in(self, user_id, role)?;
        if online {
            match self.wait_for_state(&mut conn, patience)? {
                ClientFileState::ClientFilePeerReady => {}
                state => return Err(given_up(state)),
            }
        }
        let mut offset = 0;
        while offset < self.size {
            let data_size = BLOCK_LEN.min(self.size - offset);
            let req = ImFilePullDataReq {
                task_id: self.task_id.clone(),
                user_id,
                trans_mode: self.trans_mode.into(),
                offset,
                data_size,
            };
            conn.send(CID_FILE_PULL_DATA_REQ, &req)?;
            let block = self.receive_block(&mut conn, offset, data_size)?;
            dest.write_all(&block)?;
            offset += data_size;
            progress(offset);
        }
        dest.flush()?;
        if online {
            return conn.send_state(ClientFileState::ClientFileDone);
        }
        match self.wait_for_state(&mut conn, FILE_SERVER_TIMEOUT) {
            // The whole file has come; that the server says so as well is a courtesy.
            Ok(ClientFileState::ClientFileDone) | Err(ClientError::Closed) => Ok(()),
            Ok(state) => Err(given_up(state)),
            Err(error) => Err(error),
        }
    }

    /// Does not want the file, and has the sender told.
    ///
    /// # Errors
    /// No file_server can be told.
    pub fn refuse(&self, user_id: u32) -> Result<(), ClientError> {
        let role = ClientFileRole::ClientRealtimeRecver;
        FileServer::log_in(self, user_id, role)?.send_state(ClientFileState::ClientFileRefuse)
    }

    fn receive_block(
        &self,
        conn: &mut FileServer,
        offset: u32,
        data_size: u32,
    ) -> Result<Vec<u8>, ClientError> {
        loop {
            let pdu = conn.receive(FILE_SERVER_TIMEOUT)?;
            match pdu.as_pdu().command_id() {
                CID_FILE_PULL_DATA_RSP => {
                    let rsp: ImFilePullDataRsp = pdu.as_pdu().decode()?;
                    let expected = (0, &self.task_id, offset, data_size as usize);
                    if (rsp.result_code, &rsp.task_id, rsp.offset, rsp.file_data.len()) != expected
                    {
                        return Err(ClientError::File("another block came than was asked for"));
                    }
                    return Ok(rsp.file_data.to_vec());
                }
                CID_FILE_STATE => return Err(given_up(self.state(&pdu)?)),
                _ => {}
            }
        }
    }

    fn wait_for_state(
        &self,
        conn: &mut FileServer,
        patience: Duration,
    ) -> Result<ClientFileState, ClientError> {
        loop {
            let pdu = conn.receive(patience)?;
            if pdu.as_pdu().command_id() == CID_FILE_STATE {
                return self.state(&pdu);
            }
        }
    }

    fn state(&self, pdu: &ImPdu) -> Result<ClientFileState, ClientError> {
        let state: ImFileState = pdu.as_pdu().decode()?;
        if state.task_id != self.task_id {
            return Err(ClientError::File("the state of another transfer came"));
        }
        Ok(state.state())
    }
}

fn given_up(state: ClientFileState) -> ClientError {
    let what = match state {
        ClientFileState::ClientFileRefuse => "the receiver does not want the file",
        _ => "the other side has given up the transfer",
    };
    ClientError::Refused { what: what.to_owned(), code: state as u32 }
}

/// A connection that takes part in one transfer.
struct FileServer {
    wire: Wire,
    input: Vec<u8>,
    seq_num: u16,
    user_id: u32,
    task_id: String,
}

impl FileServer {
    /// The first of the transfer's servers that can be reached.
    fn log_in(
        transfer: &Transfer,
        user_id: u32,
        role: ClientFileRole,
    ) -> Result<Self, ClientError> {
        let mut last = ClientError::File("no file_server is known");
        for addr in &transfer.addrs {
            match Wire::connect(&format!("{}:{}", addr.ip, addr.port), None, FILE_SERVER_TIMEOUT) {
                Ok(wire) => {
                    let task_id = transfer.task_id.clone();
                    let mut conn = Self { wire, input: Vec::new(), seq_num: 0, user_id, task_id };
                    conn.introduce(role)?;
                    return Ok(conn);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn introduce(&mut self, role: ClientFileRole) -> Result<(), ClientError> {
        let task_id = self.task_id.clone();
        let req = ImFileLoginReq { user_id: self.user_id, task_id, file_role: role.into() };
        self.send(CID_FILE_LOGIN_REQ, &req)?;
        loop {
            let pdu = self.receive(FILE_SERVER_TIMEOUT)?;
            if pdu.as_pdu().command_id() == CID_FILE_LOGIN_RES {
                let rsp: ImFileLoginRsp = pdu.as_pdu().decode()?;
                let what = "the transfer is not known any more, or not yours".to_owned();
                return match rsp.result_code {
                    0 => Ok(()),
                    code => Err(ClientError::Refused { what, code }),
                };
            }
        }
    }

    fn send_state(&mut self, state: ClientFileState) -> Result<(), ClientError> {
        let task_id = self.task_id.clone();
        self.send(
            CID_FILE_STATE,
            &ImFileState { state: state.into(), task_id, user_id: self.user_id },
        )
    }

    fn send(&mut self, command_id: u16, msg: &impl Message) -> Result<(), ClientError> {
        self.seq_num = self.seq_num.wrapping_add(1);
        self.send_as(command_id, self.seq_num, msg)
    }

    fn send_as(
        &mut self,
        command_id: u16,
        seq_num: u16,
        msg: &impl Message,
    ) -> Result<(), ClientError> {
        self.wire.send(encode(command_id, seq_num, msg).as_pdu().as_bytes())
    }

    /// The next PDU that is no heartbeat. Ours go out while we wait.
    fn receive(&mut self, patience: Duration) -> Result<ImPdu, ClientError> {
        let deadline = now() + patience;
        loop {
            if let Some(pdu) = PduRef::parse(&self.input, PDU_LEN_MAX)? {
                let (pdu, length) = (pdu.to_owned(), pdu.as_bytes().len());
                self.input.drain(..length);
                if pdu.as_pdu().command_id() == CID_OTHER_HEARTBEAT {
                    continue;
                }
                return Ok(pdu);
            }
            let turn = now();
            if turn >= deadline {
                return Err(ClientError::TimedOut { command_id: CID_FILE_LOGIN_REQ });
            }
            match self.wire.receive(deadline.min(turn + HEARTBEAT_INTERVAL))? {
                Some(bytes) => self.input.extend_from_slice(bytes),
                None => self.send(CID_OTHER_HEARTBEAT, &())?,
            }
        }
    }
}
