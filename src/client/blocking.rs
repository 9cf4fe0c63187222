//! A connection to a msg_server for programs that do one thing at a time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use log::debug;

use super::core::Core;
use super::error::ClientError;
use super::event::{Event, Session};
use super::tls::TlsClient;
use super::wire::{Wire, now};
use crate::base::md5::md5_hex;
use crate::base::public_define::CLIENT_VERSION_PREFIX;
use crate::pb::base_define::{ClientType, KickReasonType, ResultType, UserInfo, UserStatType};
use crate::pb::cmd::*;
use crate::pb::login::{
    ImLoginReq, ImLoginRes, ImLogoutReq, ImLogoutRsp, ImRegistReq, ImRegistRes,
};
use crate::pb::message::ImMsgDataAck;

/// How long an answer may take unless [`Client::set_timeout`] says otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(15);

/// How often a client shows that it is alive.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30);

/// A server answers every heartbeat; one that is silent for so long after one is gone.
pub const SERVER_SILENCE_MAX: Duration = Duration::from_secs(45);

/// Who logs in, and as what.
#[derive(Clone)]
pub struct Login {
    /// The login name.
    pub name: String,
    /// The MD5 of the password in hex digits, which is what servers get to see.
    pub password_md5: String,
    /// PCs and phones may be logged in side by side, two of the same class not.
    pub client_type: ClientType,
    /// Online or away.
    pub online_status: UserStatType,
    /// What the client calls itself.
    pub client_version: String,
}

impl Login {
    /// As a PC, online.
    pub fn new(name: &str, password: &str) -> Self {
        Self {
            name: name.to_owned(),
            password_md5: md5_hex(password.as_bytes()),
            client_type: ClientType::Windows,
            online_status: UserStatType::UserStatusOnline,
            client_version: format!("{CLIENT_VERSION_PREFIX}{}", env!("CARGO_PKG_VERSION")),
        }
    }

    /// The request that says so.
    pub fn request(&self) -> ImLoginReq {
        ImLoginReq {
            user_name: self.name.clone(),
            password: self.password_md5.clone(),
            online_status: self.online_status.into(),
            client_type: self.client_type.into(),
            client_version: Some(self.client_version.clone()),
        }
    }

    /// As another kind of client.
    #[must_use]
    pub fn with_client_type(self, client_type: ClientType) -> Self {
        Self { client_type, ..self }
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("name", &self.name)
            .field("client_type", &self.client_type)
            .finish_non_exhaustive()
    }
}

/// Who is logged in, by the answer to a login.
///
/// # Errors
/// The login is refused.
pub fn logged_in(res: ImLoginRes) -> Result<UserInfo, ClientError> {
    match res.user_info {
        Some(user) if res.result_code == i32::from(ResultType::RefuseReasonNone) => Ok(user),
        _ => {
            let code = res.result_code.unsigned_abs();
            Err(ClientError::Refused { what: res.result_string.unwrap_or_default(), code })
        }
    }
}

/// A connection to a msg_server. Every call ends in time; while it waits, events of other kinds are
/// kept for [`next_event`](Self::next_event). Messages are acknowledged and heartbeats sent while a
/// call waits, so call [`next_event`](Self::next_event) at least every
/// [`HEARTBEAT_INTERVAL`].
#[derive(Debug)]
pub struct Client {
    wire: Wire,
    core: Core,
    inbox: VecDeque<Event>,
    timeout: Duration,
    heartbeat_at: Instant,
    /// Since when a heartbeat waits for a sign of life.
    unanswered_since: Option<Instant>,
    kicked: Option<KickReasonType>,
}

impl Client {
    /// Connects to a msg_server, `host:port`. `aes_key` is the key of message texts.
    ///
    /// # Errors
    /// Nobody answers there in time, or the key is not 32 bytes long.
    pub fn connect(addr: &str, aes_key: &[u8]) -> Result<Self, ClientError> {
        Self::over(addr, aes_key, None)
    }

    /// The same over TLS: `addr` is that of the msg_server's TLS listener, and its host the name
    /// in the server's certificate.
    ///
    /// # Errors
    /// Nobody answers there in time, or the key is not 32 bytes long. That the server is not whom
    /// it should be shows with the login.
    pub fn connect_tls(addr: &str, aes_key: &[u8], tls: &TlsClient) -> Result<Self, ClientError> {
        Self::over(addr, aes_key, Some(tls))
    }

    fn over(addr: &str, aes_key: &[u8], tls: Option<&TlsClient>) -> Result<Self, ClientError> {
        let core = Core::new(aes_key)?;
        let wire = Wire::connect(addr, tls, TIMEOUT)?;
        Ok(Self {
            wire,
            core,
            inbox: VecDeque::new(),
            timeout: TIMEOUT,
            heartbeat_at: now() + HEARTBEAT_INTERVAL,
            unanswered_since: None,
            kicked: None,
        })
    }

    /// How long an answer may take from now on.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Who is logged in; 0 before.
    pub fn user_id(&self) -> u32 {
        self.core.user_id()
    }

    pub(super) fn core(&self) -> &Core {
        &self.core
    }

    /// Logs in and tells who that is.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the code of the server, or the connection broke.
    pub fn login(&mut self, login: &Login) -> Result<UserInfo, ClientError> {
        let res: ImLoginRes =
            self.ask(CID_LOGIN_REQ_USERLOGIN, &login.request(), CID_LOGIN_RES_USERLOGIN)?;
        let user = logged_in(res)?;
        self.core.set_user_id(user.user_id);
        Ok(user)
    }

    /// Makes an account, before the login and with its name and password, and tells its id. `nick`
    /// is how others see him; nothing stands for the login name. Few servers allow it, and those
    /// that do not answer nothing.
    ///
    /// # Errors
    /// [`ClientError::Refused`]: somebody has the name, or the server does not like it.
    /// [`ClientError::TimedOut`]: the server allows nobody to register.
    pub fn register(&mut self, login: &Login, nick: &str) -> Result<u32, ClientError> {
        let req = ImRegistReq {
            user_name: login.name.clone(),
            password: login.password_md5.clone(),
            nick: Some(nick.to_owned()),
            ..ImRegistReq::default()
        };
        let res: ImRegistRes = self.ask(CID_LOGIN_REQ_REGIST, &req, CID_LOGIN_RES_REGIST)?;
        match res.user_id {
            Some(user_id) if res.result_code == i32::from(ResultType::RefuseReasonNone) => {
                Ok(user_id)
            }
            _ => {
                let code = res.result_code.unsigned_abs();
                Err(ClientError::Refused { what: res.result_string.unwrap_or_default(), code })
            }
        }
    }

    /// Says farewell. A server also notices when a connection just ends.
    ///
    /// # Errors
    /// The connection broke before the answer came.
    pub fn logout(mut self) -> Result<(), ClientError> {
        self.ask::<ImLogoutRsp>(
            CID_LOGIN_REQ_LOGINOUT,
            &ImLogoutReq::default(),
            CID_LOGIN_RES_LOGINOUT,
        )?;
        Ok(())
    }

    /// Sends a text and waits until it is stored: then it is safe, and has the number that is
    /// returned.
    ///
    /// # Errors
    /// [`ClientError::Refused`]: it is not stored. [`ClientError::TimedOut`]: nobody knows.
    pub fn send_text(&mut self, session: Session, text: &str) -> Result<u32, ClientError> {
        let seq_num = self.core.send_text(session, text)?;
        let mine =
            |event: &Event| matches!(event, Event::Stored { seq_num: n, .. } if *n == seq_num);
        let stored = self.wait(CID_MSG_DATA, mine)?;
        let Event::Stored { ack: ImMsgDataAck { msg_id, .. }, .. } = stored else {
            unreachable!("waited for nothing else")
        };
        match msg_id {
            0 => {
                Err(ClientError::Refused { what: "the message is not stored".to_owned(), code: 1 })
            }
            _ => Ok(msg_id),
        }
    }

    /// Sends a text without waiting. [`Event::Stored`] with the number returned here tells that it
    /// is stored, or with `msg_id` 0 that it is not.
    ///
    /// # Errors
    /// The text is empty, or the connection broke.
    pub fn post_text(&mut self, session: Session, text: &str) -> Result<u16, ClientError> {
        let seq_num = self.core.send_text(session, text)?;
        self.flush()?;
        Ok(seq_num)
    }

    /// The next thing that happens, or `None` if nothing does in time.
    ///
    /// # Errors
    /// The connection is of no more use. Whatever came before has been handed out.
    pub fn next_event(&mut self, timeout: Duration) -> Result<Option<Event>, ClientError> {
        if let Some(event) = self.inbox.pop_front() {
            return Ok(Some(event));
        }
        self.wait_until(now() + timeout, |_| true)
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// It does not come in time, or the connection broke.
    pub fn ask<M: prost::Message + Default>(
        &mut self,
        command_id: u16,
        msg: &impl prost::Message,
        answer_id: u16,
    ) -> Result<M, ClientError> {
        let seq_num = self.core.request(command_id, msg);
        let mine = |event: &Event| match event {
            Event::Answer(pdu) => {
                let pdu = pdu.as_pdu();
                (pdu.command_id(), pdu.seq_num()) == (answer_id, seq_num)
            }
            _ => false,
        };
        let Event::Answer(pdu) = self.wait(command_id, mine)? else {
            unreachable!("waited for nothing else")
        };
        Ok(pdu.as_pdu().decode()?)
    }

    /// Sends a request that has no answer.
    ///
    /// # Errors
    /// The connection broke.
    pub fn tell(&mut self, command_id: u16, msg: &impl prost::Message) -> Result<(), ClientError> {
        self.core.request(command_id, msg);
        self.flush()
    }

    fn flush(&mut self) -> Result<(), ClientError> {
        let output = self.core.take_output();
        if output.is_empty() {
            return Ok(());
        }
        self.wire.send(&output)
    }

    /// The event that is wanted, whatever else comes before it.
    fn wait(
        &mut self,
        command_id: u16,
        wanted: impl FnMut(&Event) -> bool,
    ) -> Result<Event, ClientError> {
        let deadline = now() + self.timeout;
        self.wait_until(deadline, wanted)?.ok_or(ClientError::TimedOut { command_id })
    }

    fn wait_until(
        &mut self,
        deadline: Instant,
        mut wanted: impl FnMut(&Event) -> bool,
    ) -> Result<Option<Event>, ClientError> {
        loop {
            while let Some(event) = self.core.next_event() {
                match event {
                    Event::Heartbeat => {}
                    Event::Kicked(kick) => self.kicked = Some(kick.kick_reason()),
                    event if wanted(&event) => return Ok(Some(event)),
                    Event::Answer(pdu) => {
                        debug!("late answer cmd={:#06x}", pdu.as_pdu().command_id());
                    }
                    event => self.inbox.push_back(event),
                }
            }
            if let Some(reason) = self.kicked {
                return Err(ClientError::Kicked { reason });
            }
            let turn = now();
            if turn >= self.heartbeat_at {
                self.core.heartbeat();
                self.heartbeat_at = turn + HEARTBEAT_INTERVAL;
                self.unanswered_since.get_or_insert(turn);
            }
            self.flush()?;
            if self.unanswered_since.is_some_and(|since| turn - since > SERVER_SILENCE_MAX) {
                return Err(ClientError::Closed);
            }
            match self.wire.receive(deadline.min(self.heartbeat_at))? {
                Some(bytes) => {
                    self.core.receive(bytes)?;
                    self.unanswered_since = None;
                }
                None if now() >= deadline => return Ok(None),
                None => {}
            }
        }
    }
}
