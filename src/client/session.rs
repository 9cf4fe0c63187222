//! A user who stays connected, whatever becomes of connections and servers.

use std::collections::{HashMap, VecDeque};
use std::thread;
use std::time::{Duration, Instant};

use log::info;

use super::blocking::{Client, Login, TIMEOUT};
use super::discovery;
use super::error::ClientError;
use super::event::{Event, Message, Session};
use super::tls::TlsClient;
use super::wire::now;
use crate::pb::base_define::{ResultType, UserInfo};

/// The pause after a first failure to connect; it doubles with each further one.
pub const RECONNECT_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause between two attempts.
pub const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(30);

/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Messages asked for at a time when some were missed.
const PAGE: u32 = 100;

/// How a user finds his msg_server.
#[derive(Clone, Debug)]
pub enum Server {
    /// Asks this login_server, `host:port` of its HTTP listener, every time.
    Login(String),
    /// Always goes to this msg_server, `host:port`.
    Msg(String),
    /// Always goes to this msg_server, over TLS.
    MsgTls(String, TlsClient),
}

impl Server {
    /// A new connection, without a login.
    ///
    /// # Errors
    /// No server answers, or the key is not 32 bytes long.
    pub fn connect(&self, aes_key: &[u8]) -> Result<Client, ClientError> {
        match self {
            Self::Login(login_server) => {
                Client::connect(&discovery::msg_server(login_server)?.prior, aes_key)
            }
            Self::Msg(addr) => Client::connect(addr, aes_key),
            Self::MsgTls(addr, tls) => Client::connect_tls(addr, aes_key, tls),
        }
    }
}

/// What happens to a user who stays connected.
#[derive(Debug)]
pub enum Update {
    /// There is a connection, the first one or a new one.
    Connected(Box<UserInfo>),
    /// The connection broke; another one is tried for.
    Lost(ClientError),
    /// As from a [`Client`]. Every message comes once, and those of a session in their order,
    /// messages missed in between included.
    Event(Event),
}

/// A user who is connected again after each loss, and who neither misses nor repeats a message.
///
/// What others wrote while nobody was connected comes as if it came now: at the first connection
/// all that is unread, later on all there is.
#[derive(Debug)]
pub struct UserSession {
    server: Server,
    aes_key: Vec<u8>,
    login: Login,
    client: Option<Client>,
    /// The newest message of each session that was handed out.
    marks: HashMap<Session, u32>,
    updates: VecDeque<Update>,
    pause: Duration,
    retry_at: Instant,
}

impl UserSession {
    /// A user who is not connected yet; [`next_update`](Self::next_update) sees to that.
    pub fn new(server: Server, aes_key: &[u8], login: Login) -> Self {
        Self {
            server,
            aes_key: aes_key.to_vec(),
            login,
            client: None,
            marks: HashMap::new(),
            updates: VecDeque::new(),
            pause: RECONNECT_PAUSE,
            retry_at: now(),
        }
    }

    /// The connection, for requests; `None` while there is none.
    pub fn client(&mut self) -> Option<&mut Client> {
        self.client.as_mut()
    }

    /// Gives the connection up, for this reason; another one is tried for.
    ///
    /// # Errors
    /// There is no point in trying, for this reason.
    pub fn reconnect(&mut self, error: ClientError) -> Result<(), ClientError> {
        self.lose(error)
    }

    /// Says farewell, if there is a connection.
    pub fn disconnect(self) {
        if let Some(mut client) = self.client {
            client.set_timeout(FAREWELL);
            if let Err(error) = client.logout() {
                info!("user {}: {error} while logging out", self.login.name);
            }
        }
    }

    /// The next thing that happens, or `None` if nothing does in time.
    ///
    /// # Errors
    /// There is no point in going on: the login is refused, or the user logged in elsewhere.
    pub fn next_update(&mut self, timeout: Duration) -> Result<Option<Update>, ClientError> {
        let deadline = now() + timeout;
        loop {
            if let Some(update) = self.updates.pop_front() {
                return Ok(Some(update));
            }
            let turn = now();
            let result = match &mut self.client {
                Some(client) => {
                    let event = client.next_event(deadline.saturating_duration_since(turn));
                    event.and_then(|event| match event {
                        Some(event) => self.take_event(event),
                        None => Ok(()),
                    })
                }
                None => {
                    let start = self.retry_at.min(deadline);
                    thread::sleep(start.saturating_duration_since(turn));
                    if start < self.retry_at { Ok(()) } else { self.connect() }
                }
            };
            if let Err(error) = result {
                self.lose(error)?;
            }
            if self.updates.is_empty() && now() >= deadline {
                return Ok(None);
            }
        }
    }

    /// Sends a text and waits until it is stored, over a new connection if need be, and tells its
    /// number. It is stored once, even if the first answer got lost.
    ///
    /// # Errors
    /// It is refused, or not stored in time. Then it may still have been stored if the error is not
    /// [`ClientError::Refused`].
    pub fn send_text(
        &mut self,
        session: Session,
        text: &str,
        timeout: Duration,
    ) -> Result<u32, ClientError> {
        let deadline = now() + timeout;
        // The newest message before the first attempt: ours is not among the older ones.
        let mut above = None;
        loop {
            let error = match self.try_send_text(session, text, &mut above, deadline) {
                Ok(msg_id) => return Ok(msg_id),
                Err(error @ (ClientError::Refused { .. } | ClientError::Text(_))) => {
                    return Err(error);
                }
                Err(error) => error,
            };
            if now() >= deadline {
                return Err(error);
            }
            self.lose(error)?;
        }
    }

    fn try_send_text(
        &mut self,
        session: Session,
        text: &str,
        above: &mut Option<u32>,
        deadline: Instant,
    ) -> Result<u32, ClientError> {
        if self.client.is_none() {
            let start = self.retry_at.min(deadline);
            thread::sleep(start.saturating_duration_since(now()));
            self.connect()?;
        }
        if let Some(above) = *above
            && let Some(msg_id) = self.stored_since(session, text, above)?
        {
            return Ok(msg_id);
        }
        let Some(client) = &mut self.client else { return Err(ClientError::Closed) };
        if above.is_none() {
            *above = Some(client.latest_msg_id(session)?);
        }
        client.set_timeout(deadline.saturating_duration_since(now()));
        let result = client.send_text(session, text);
        client.set_timeout(TIMEOUT);
        let msg_id = result?;
        self.stored(session, msg_id)?;
        Ok(msg_id)
    }

    /// The number under which this text of ours was stored after message `above`. The same text
    /// sent by the same user on another device at the same time is taken for it.
    fn stored_since(
        &mut self,
        session: Session,
        text: &str,
        above: u32,
    ) -> Result<Option<u32>, ClientError> {
        let Some(client) = &mut self.client else { return Ok(None) };
        let me = client.user_id();
        let latest = client.latest_msg_id(session)?;
        let missed = missed(client, session, above, latest)?;
        let mine = |message: &&Message| message.from_user_id == me && message.text() == Some(text);
        Ok(missed.iter().find(mine).map(|message| message.msg_id))
    }

    /// Connects now and once. [`next_update`](Self::next_update) does it by itself, again and
    /// again; this is for who wants to know the first failure.
    ///
    /// # Errors
    /// Why there is no connection.
    pub fn connect(&mut self) -> Result<(), ClientError> {
        let mut client = self.server.connect(&self.aes_key)?;
        let user = client.login(&self.login)?;
        let mut updates = vec![Update::Connected(Box::new(user))];
        let missed = self.catch_up(&mut client)?;
        updates.extend(missed.into_iter().map(|message| Update::Event(Event::Message(message))));
        self.updates.extend(updates);
        self.client = Some(client);
        self.pause = RECONNECT_PAUSE;
        Ok(())
    }

    /// The messages of all sessions that nobody has handed out yet.
    fn catch_up(&mut self, client: &mut Client) -> Result<Vec<Message>, ClientError> {
        let unread: HashMap<_, _> = client
            .unread()?
            .into_iter()
            .map(|info| (Session::new(info.session_type(), info.session_id), info))
            .collect();
        let mut latest: HashMap<_, _> =
            unread.iter().map(|(session, info)| (*session, info.latest_msg_id)).collect();
        for info in client.recent_sessions(0)? {
            let session = Session::new(info.session_type(), info.session_id);
            let newest = latest.entry(session).or_default();
            *newest = (*newest).max(info.latest_msg_id);
        }
        let (mut messages, mut marks) = (Vec::new(), Vec::new());
        for (session, newest) in latest {
            let unread = unread.get(&session).map_or(0, |info| info.unread_cnt);
            let mark = self.marks.get(&session).copied();
            let above = mark.unwrap_or_else(|| newest.saturating_sub(unread));
            messages.extend(missed(client, session, above, newest)?);
            marks.push((session, newest.max(above)));
        }
        // Not before everything is here: what a failure leaves out comes with the next attempt.
        self.marks.extend(marks);
        messages.sort_by_key(|message| (message.create_time, message.msg_id));
        Ok(messages)
    }

    fn take_event(&mut self, event: Event) -> Result<(), ClientError> {
        match event {
            Event::Message(message) => {
                let Some(client) = &mut self.client else { return Ok(()) };
                let session = message.session(client.user_id());
                let mark = self.marks.get(&session).copied();
                if mark.is_some_and(|mark| mark >= message.msg_id) {
                    return Ok(());
                }
                self.fill_gap(session, message.msg_id)?;
                self.marks.insert(session, message.msg_id);
                self.updates.push_back(Update::Event(Event::Message(message)));
            }
            // Of a message that was posted: what came before it is told before it.
            Event::Stored { seq_num, ack } => {
                if ack.msg_id != 0 {
                    self.stored(Session::new(ack.session_type(), ack.session_id), ack.msg_id)?;
                }
                self.updates.push_back(Update::Event(Event::Stored { seq_num, ack }));
            }
            event => self.updates.push_back(Update::Event(event)),
        }
        Ok(())
    }

    /// A message of ours has this number. Others may have come before it.
    fn stored(&mut self, session: Session, msg_id: u32) -> Result<(), ClientError> {
        // Without a mark nobody can tell what came before, and it may wait to be taken: a mark made
        // here would pass it over. At worst the own message is told with the next gap.
        let Some(mark) = self.marks.get(&session).copied() else { return Ok(()) };
        if msg_id > mark {
            self.fill_gap(session, msg_id)?;
            self.marks.insert(session, msg_id);
        }
        Ok(())
    }

    /// Hands out what lies between the newest message that was handed out and this one.
    fn fill_gap(&mut self, session: Session, msg_id: u32) -> Result<(), ClientError> {
        let (Some(client), Some(mark)) = (&mut self.client, self.marks.get(&session)) else {
            return Ok(());
        };
        for message in missed(client, session, *mark, msg_id - 1)? {
            self.updates.push_back(Update::Event(Event::Message(message)));
        }
        Ok(())
    }

    /// The connection is gone, or could not be made.
    fn lose(&mut self, error: ClientError) -> Result<(), ClientError> {
        if is_final(&error) {
            return Err(error);
        }
        info!("user {}: {error}; trying again in {:?}", self.login.name, self.pause);
        self.retry_at = now() + self.pause;
        self.pause = (self.pause * 2).min(RECONNECT_PAUSE_MAX);
        if self.client.take().is_some() {
            self.updates.push_back(Update::Lost(error));
        }
        Ok(())
    }
}

/// Whether it is no use to try again.
fn is_final(error: &ClientError) -> bool {
    match error {
        ClientError::Kicked { .. } | ClientError::Text(_) => true,
        ClientError::Refused { code, .. } => {
            *code == ResultType::RefuseReasonDbValidateFailed as u32
                || *code == ResultType::RefuseReasonVersionTooOld as u32
        }
        _ => false,
    }
}

/// The messages above `above` up to `newest`, the oldest first.
fn missed(
    client: &mut Client,
    session: Session,
    above: u32,
    newest: u32,
) -> Result<Vec<Message>, ClientError> {
    let mut messages: Vec<Message> = Vec::new();
    let mut from = newest;
    while from > above {
        let page = client.history(session, from, PAGE.min(from - above))?;
        let Some(oldest) = page.iter().map(|message| message.msg_id).min() else { break };
        messages.extend(page.into_iter().filter(|message| message.msg_id > above));
        from = oldest.saturating_sub(1);
    }
    messages.sort_by_key(|message| message.msg_id);
    Ok(messages)
}
