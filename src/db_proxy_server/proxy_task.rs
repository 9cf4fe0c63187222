//! A request on its way through a worker.

use std::panic::{self, AssertUnwindSafe};

use log::{error, warn};

use super::business::Business;
use super::handler_map::PduHandler;
use crate::base::im_pdu::ImPdu;
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

/// Runs what a worker was given. A handler that panics costs its own request only.
///
/// C++: db_proxy_server/ProxyTask.cpp CProxyTask::run
pub fn run(business: &Business, responses: &ResponseList<ResponsePdu>, tasks: Vec<ProxyTask>) {
    for task in tasks {
        let command_id = task.pdu.as_pdu().command_id();
        let answer =
            panic::catch_unwind(AssertUnwindSafe(|| (task.handler)(business, task.pdu.as_pdu())));
        let pdu = match answer {
            Ok(Ok(pdu)) => pdu,
            Ok(Err(reason)) => {
                warn!("conn={} cmd={command_id:#06x} not answered: {reason}", task.conn);
                None
            }
            Err(_) => {
                error!("conn={} cmd={command_id:#06x} not answered: handler panicked", task.conn);
                None
            }
        };
        responses.push(ResponsePdu { conn: task.conn, pdu });
    }
}
