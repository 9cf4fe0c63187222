//! Connections of msg_servers, which have phones told.

use std::collections::HashMap;
use std::sync::Arc;

use log::{debug, info, warn};
use uuid::Uuid;

use super::notification::Notification;
use super::push_queue::Job;
use super::{Cx, EXPIRATION_S, PushServer, Target};
use crate::base::im_pdu::{PduError, PduHeader, PduRef};
use crate::base::public_define::{
    IM_PUSH_TYPE_SILENT, PUSH_RESULT_ACCEPTED, PUSH_RESULT_REFUSED, PUSH_RESULT_TOKEN_DEAD,
};
use crate::netlib::{ConnHandler, NetHandle, Netlib, PduFraming, PduHandler, keepalive};
use crate::pb::base_define::{ClientType, PushResult};
use crate::pb::cmd::*;
use crate::pb::server::{ImPushToUserReq, ImPushToUserRsp};

/// How often is looked for msg_servers that have fallen silent.
///
/// C++: push_server/session_manager.cpp CSessionManager::StartCheckPushSession
const CHECK_MS: u64 = 5_000;

/// What became of a notification.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The push service has taken it.
    Accepted,
    /// It has not, or nobody has asked it.
    Refused,
    /// It has not, and there is no point in trying again: no phone has this token any more.
    TokenDead,
}

impl Outcome {
    /// `result_code` of a [`PushResult`].
    fn result_code(self) -> u32 {
        match self {
            Self::Accepted => PUSH_RESULT_ACCEPTED,
            Self::Refused => PUSH_RESULT_REFUSED,
            Self::TokenDead => PUSH_RESULT_TOKEN_DEAD,
        }
    }
}

/// Where the outcome of a notification belongs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ticket {
    /// Who asked.
    pub session: NetHandle,
    /// In which request.
    pub request: u64,
    /// At which place in it.
    pub index: usize,
}

/// What a sender says to the loop.
#[derive(Debug)]
pub struct PushDone {
    ticket: Ticket,
    token: String,
    outcome: Outcome,
}

impl PushDone {
    /// The end of this job.
    pub fn of(job: Job, outcome: Outcome) -> Self {
        Self { ticket: job.ticket, token: job.notification.token, outcome }
    }
}

/// A request whose notifications are under way.
#[derive(Debug)]
struct Request {
    seq_num: u16,
    /// In the order of the request. Refused until the contrary is known.
    results: Vec<PushResult>,
    left: usize,
}

/// A msg_server.
///
/// C++: push_server/push_session.h CPushSession
#[derive(Debug, Default)]
pub struct PushSession {
    requests: HashMap<u64, Request>,
}

impl ConnHandler for PushSession {
    type Server = PushServer;
    type Framing = PduFraming;

    /// C++: push_server/push_server_handler.cpp CPushServerHandler::OnAccept
    fn on_connect(cx: &mut Cx<'_>, this: NetHandle) {
        if let Some(peer) = cx.net.peer_addr(this) {
            info!("conn={this} peer={peer} msg_server connected");
        }
        cx.srv.push_sessions.insert(this, Self::default());
    }

    /// C++: push_server/push_session_handler.cpp CPushSessionHandler::OnClose
    fn on_close(cx: &mut Cx<'_>, this: NetHandle) {
        Self::stop(cx, this);
    }
}

impl PduHandler for PushSession {
    /// C++: push_server/push_session_handler.cpp CPushSessionHandler::OnRecvData
    /// Differs: netlib frames, so that a lone heartbeat is answered at once and no length is
    /// believed (F133), and an unknown command does not end the connection.
    fn handle_pdu(cx: &mut Cx<'_>, this: NetHandle, pdu: PduRef<'_>) -> Result<(), PduError> {
        match pdu.command_id() {
            CID_OTHER_HEARTBEAT => Self::handle_heart_beat(cx, this, pdu),
            CID_OTHER_PUSH_TO_USER_REQ => Self::handle_push_msg(cx, this, pdu)?,
            command_id => debug!("conn={this} cmd={command_id:#06x} ignored: unknown command"),
        }
        Ok(())
    }
}

impl PushSession {
    /// C++: push_server/push_session.cpp CPushSession::Stop
    fn stop(cx: &mut Cx<'_>, this: NetHandle) {
        if let Some(session) = cx.srv.push_sessions.remove(this) {
            info!("conn={this} msg_server lost, requests under way={}", session.requests.len());
            cx.net.close(this);
        }
    }

    /// Echoed: it is what the msg_server knows us by to be alive.
    ///
    /// C++: push_server/push_session_handler.cpp CPushSessionHandler::_HandleHeartBeat
    fn handle_heart_beat(cx: &mut Cx<'_>, this: NetHandle, pdu: PduRef<'_>) {
        cx.net.send(this, pdu.as_bytes());
    }

    /// Has phones told. The answer comes when it is known of each what became of it.
    ///
    /// C++: push_server/push_session_handler.cpp CPushSessionHandler::_HandlePushMsg
    /// Differs: results are true, and phones with Android are pushed to as well (F131).
    fn handle_push_msg(cx: &mut Cx<'_>, this: NetHandle, pdu: PduRef<'_>) -> Result<(), PduError> {
        let msg: ImPushToUserReq = pdu.decode()?;
        let flash: Arc<str> = String::from_utf8_lossy(&msg.flash).into();
        let data: Arc<str> = msg.data.into();
        let count = msg.user_token_list.len();
        debug!("conn={this} pushes={count} bytes={}", flash.len());
        let result = |user_token| PushResult { user_token, result_code: PUSH_RESULT_REFUSED };
        let results = msg.user_token_list.iter().map(|info| result(info.token.clone())).collect();
        cx.srv.request_serial += 1;
        let request = cx.srv.request_serial;
        let expiration = (cx.srv.clock)().saturating_add(EXPIRATION_S);
        let Some(session) = cx.srv.push_sessions.get_mut(this) else { return Ok(()) };
        let seq_num = pdu.seq_num();
        session.requests.insert(request, Request { seq_num, results, left: count });
        for (index, info) in msg.user_token_list.into_iter().enumerate() {
            let ticket = Ticket { session: this, request, index };
            let client_type = ClientType::try_from(info.user_type).unwrap_or(ClientType::Windows);
            let notification = Notification {
                id: Uuid::new_v4(),
                user_id: info.user_id,
                client_type,
                token: info.token,
                flash: Arc::clone(&flash),
                data: Arc::clone(&data),
                badge: info.push_count,
                silent: info.push_type == IM_PUSH_TYPE_SILENT,
                expiration,
            };
            push(cx, Job { notification, ticket, attempts: 0 });
        }
        if count == 0 {
            Self::answer_if_done(cx, this, request);
        }
        Ok(())
    }

    fn answer_if_done(cx: &mut Cx<'_>, this: NetHandle, request: u64) {
        let Some(session) = cx.srv.push_sessions.get_mut(this) else { return };
        if session.requests.get(&request).is_none_or(|request| request.left > 0) {
            return;
        }
        if let Some(Request { seq_num, results, .. }) = session.requests.remove(&request) {
            let header = PduHeader::new(SID_OTHER, CID_OTHER_PUSH_TO_USER_RSP, seq_num);
            cx.net.send_msg(this, header, &ImPushToUserRsp { push_result_list: results });
        }
    }
}

/// Gives a notification to whom its kind of phone belongs.
fn push(cx: &mut Cx<'_>, job: Job) {
    let target = match job.notification.client_type {
        ClientType::Ios => &cx.srv.ios,
        ClientType::Android => &cx.srv.android,
        _ => &Target::Nobody,
    };
    match target {
        Target::Sender(sender) if cx.srv.stop_at.is_none() => sender.send(job),
        Target::Dry => {
            info!("{:?} not sent: dry", job.notification);
            done(cx, PushDone::of(job, Outcome::Accepted));
        }
        Target::Sender(_) | Target::Nobody => done(cx, PushDone::of(job, Outcome::Refused)),
    }
}

/// It is known what became of a notification.
fn done(cx: &mut Cx<'_>, push_done: PushDone) {
    let PushDone { ticket, token, outcome } = push_done;
    let session = cx.srv.push_sessions.get_mut(ticket.session);
    let request = session.and_then(|session| session.requests.get_mut(&ticket.request));
    if let Some(request) = request {
        request.left -= 1;
        if let Some(result) = request.results.get_mut(ticket.index) {
            result.result_code = outcome.result_code();
        }
        PushSession::answer_if_done(cx, ticket.session, ticket.request);
    } else if outcome == Outcome::TokenDead {
        // Who asked is gone; any other msg_server can have the token forgotten.
        let result = PushResult { user_token: token, result_code: outcome.result_code() };
        let header = PduHeader::new(SID_OTHER, CID_OTHER_PUSH_TO_USER_RSP, 0);
        match cx.srv.push_sessions.handles().next() {
            Some(other) => {
                let msg = ImPushToUserRsp { push_result_list: vec![result] };
                cx.net.send_msg(other, header, &msg);
            }
            None => warn!("a dead token stays until the next push: no msg_server is connected"),
        }
    }
}

pub(super) fn init_push_sessions(net: &mut Netlib<PushServer>) {
    net.register_timer(check_push_session_time_out, CHECK_MS);
    net.add_loop(push_loop_callback);
}

/// C++: push_server/session_manager.cpp CSessionManager::CheckPushSessionTimeOut
/// Differs: the clock of the loop, which nobody sets (F137).
fn check_push_session_time_out(cx: &mut Cx<'_>) {
    for session in cx.srv.push_sessions.handles().collect::<Vec<_>>() {
        keepalive::check_timeout(cx, session, keepalive::SERVER_TIMEOUT_MS);
    }
}

/// Takes what senders have done.
pub(super) fn push_loop_callback(cx: &mut Cx<'_>) {
    for push_done in cx.srv.responses.take() {
        done(cx, push_done);
    }
}
