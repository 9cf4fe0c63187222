//! A request on its way through a worker.

use std::panic::{self, AssertUnwindSafe};

use log::{error, warn};

use super::business::Business;
use super::business::message_content::send_messages;
use super::handler_map::PduHandler;
use crate::base::im_pdu::{ImPdu, PduRef};
use crate::netlib::{NetHandle, ResponseList};
use crate::pb::cmd::CID_MSG_DATA;

/// C++: db_proxy_server/ProxyTask.h CProxyTask
#[derive(Debug)]
pub struct ProxyTask {
    /// Who asked.
    pub conn: NetHandle,
    /// What answers it.
    pub handler: PduHandler,
    /// The request.
    pub pdu: ImPdu,
}

/// A request is done. Without a PDU there is no answer.
///
/// C++: db_proxy_server/ProxyConn.h ResponsePdu_t
#[derive(Debug)]
pub struct ResponsePdu {
    /// Who asked.
    pub conn: NetHandle,
    /// The answer.
    pub pdu: Option<ImPdu>,
}

/// Runs what a worker was given: messages that stand next to each other together, everything else
/// one by one. A handler that panics costs its own request only.
///
/// C++: db_proxy_server/ProxyTask.cpp CProxyTask::run
pub fn run(business: &Business, responses: &ResponseList<ResponsePdu>, tasks: Vec<ProxyTask>) {
    let is_message = |task: &ProxyTask| task.pdu.as_pdu().command_id() == CID_MSG_DATA;
    for run in tasks.chunk_by(|a, b| is_message(a) && is_message(b)) {
        let pdus: Vec<PduRef<'_>> = run.iter().map(|task| task.pdu.as_pdu()).collect();
        let answers = match run {
            [task] => vec![answer(business, task)],
            _ => panic::catch_unwind(AssertUnwindSafe(|| send_messages(business, &pdus)))
                // One of them is to blame: alone it hurts nobody else.
                .unwrap_or_else(|_| run.iter().map(|task| answer(business, task)).collect()),
        };
        for (task, pdu) in run.iter().zip(answers) {
            responses.push(ResponsePdu { conn: task.conn, pdu });
        }
    }
}

fn answer(business: &Business, task: &ProxyTask) -> Option<ImPdu> {
    let command_id = task.pdu.as_pdu().command_id();
    let handle = AssertUnwindSafe(|| (task.handler)(business, task.pdu.as_pdu()));
    match panic::catch_unwind(handle) {
        Ok(Ok(pdu)) => pdu,
        Ok(Err(reason)) => {
            warn!("conn={} cmd={command_id:#06x} not answered: {reason}", task.conn);
            None
        }
        Err(_) => {
            error!("conn={} cmd={command_id:#06x} not answered: handler panicked", task.conn);
            None
        }
    }
}
