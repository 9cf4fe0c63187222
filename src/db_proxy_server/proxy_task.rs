//! A request on its way through a worker.

use std::panic::{self, AssertUnwindSafe};

use log::{error, warn};

use super::business::refusal::refusal;
use super::business::{Answer, Business};
use super::figures::WorkerFigures;
use super::handler_map::{PduHandler, batch_kind};
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

/// Runs what a worker was given: requests of one kind that stand next to each other together,
/// everything else one by one. A handler that panics costs its own request only.
///
/// C++: db_proxy_server/ProxyTask.cpp CProxyTask::run
pub fn run(
    business: &Business,
    figures: &WorkerFigures,
    responses: &ResponseList<ResponsePdu>,
    tasks: Vec<ProxyTask>,
) {
    let kind = |task: &ProxyTask| batch_kind(task.pdu.as_pdu().command_id());
    for run in tasks.chunk_by(|a, b| kind(a).is_some() && kind(a) == kind(b)) {
        let pdus: Vec<PduRef<'_>> = run.iter().map(|task| task.pdu.as_pdu()).collect();
        let watch = Stopwatch::start();
        let together = kind(&run[0]).filter(|_| run.len() > 1).and_then(|kind| {
            let answers = || kind.handle(business, &pdus);
            panic::catch_unwind(AssertUnwindSafe(answers)).ok()
        });
        let answers: Vec<Option<ImPdu>> = match together {
            Some(answers) => run.iter().zip(answers).map(|(t, a)| answer_or_refuse(t, a)).collect(),
            // If one of them has made all panic: alone it hurts nobody else.
            None => run.iter().map(|task| answer(business, task)).collect(),
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
    match panic::catch_unwind(AssertUnwindSafe(|| (task.handler)(business, pdu))) {
        Ok(answer) => answer_or_refuse(task, answer),
        Err(_) => {
            let (conn, command_id) = (task.conn, pdu.command_id());
            error!("conn={conn} cmd={command_id:#06x} failed: the handler panicked");
            refusal(pdu).unwrap_or_default()
        }
    }
}

fn answer_or_refuse(task: &ProxyTask, answer: Answer) -> Option<ImPdu> {
    let pdu = task.pdu.as_pdu();
    answer.unwrap_or_else(|reason| {
        let (conn, command_id) = (task.conn, pdu.command_id());
        warn!("conn={conn} cmd={command_id:#06x} failed: {reason}");
        refusal(pdu).unwrap_or_default()
    })
}
