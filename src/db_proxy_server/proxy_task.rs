//! A request on its way through a worker.

use std::panic::{self, AssertUnwindSafe};

use log::{error, warn};

use super::business::Business;
use super::business::message_content::{change_conversations, changes_conversation};
use super::business::refusal::refusal;
use super::figures::WorkerFigures;
use super::handler_map::PduHandler;
use crate::base::histogram::Stopwatch;
use crate::base::im_pdu::{ImPdu, PduRef};
use crate::netlib::{NetHandle, ResponseList};

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

/// Runs what a worker was given: what happens in conversations together, where it stands next to
/// each other, everything else one by one. A handler that panics costs its own request only.
///
/// C++: db_proxy_server/ProxyTask.cpp CProxyTask::run
pub fn run(
    business: &Business,
    figures: &WorkerFigures,
    responses: &ResponseList<ResponsePdu>,
    tasks: Vec<ProxyTask>,
) {
    let is_change = |task: &ProxyTask| changes_conversation(task.pdu.as_pdu().command_id());
    for run in tasks.chunk_by(|a, b| is_change(a) && is_change(b)) {
        let pdus: Vec<PduRef<'_>> = run.iter().map(|task| task.pdu.as_pdu()).collect();
        let watch = Stopwatch::start();
        let answers = match run {
            [task] => vec![answer(business, task)],
            _ => panic::catch_unwind(AssertUnwindSafe(|| change_conversations(business, &pdus)))
                // One of them is to blame: alone it hurts nobody else.
                .unwrap_or_else(|_| run.iter().map(|task| answer(business, task)).collect()),
        };
        figures.count(&pdus, watch.elapsed());
        for (task, pdu) in run.iter().zip(answers) {
            responses.push(ResponsePdu { conn: task.conn, pdu });
        }
    }
}

/// The answer of the handler, or a refusal when it fails.
fn answer(business: &Business, task: &ProxyTask) -> Option<ImPdu> {
    let pdu = task.pdu.as_pdu();
    let (conn, command_id) = (task.conn, pdu.command_id());
    match panic::catch_unwind(AssertUnwindSafe(|| (task.handler)(business, pdu))) {
        Ok(Ok(pdu)) => return pdu,
        Ok(Err(reason)) => warn!("conn={conn} cmd={command_id:#06x} failed: {reason}"),
        Err(_) => error!("conn={conn} cmd={command_id:#06x} failed: the handler panicked"),
    }
    refusal(pdu).unwrap_or_default()
}
