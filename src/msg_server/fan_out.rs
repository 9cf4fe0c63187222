//! One PDU for many connections: encoded once, and sent to some of them at a time, so that other
//! users do not wait.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Cx;
use crate::base::im_pdu::ImPdu;
use crate::netlib::NetHandle;

/// Users, or connections, that are looked at in one go …
pub const FAN_OUT_BUDGET: usize = 1_024;
/// … and the pause between two.
const FAN_OUT_MS: u64 = 1;

/// Broadcasts that may wait. One more, and the oldest is done to its end at once: whoever sends so
/// much waits with everybody else.
pub const FAN_OUTS_MAX: usize = 10_000;

/// Who gets a PDU.
#[derive(Clone, Debug)]
pub(super) enum Targets {
    /// All connections of these users as they are when their turn comes.
    Users(Arc<[u32]>),
    /// These connections.
    Conns(Vec<NetHandle>),
}

/// A PDU that is on its way.
#[derive(Debug)]
struct FanOut {
    /// Several if they have the same targets.
    pdus: Vec<ImPdu>,
    targets: Targets,
    /// The connection it came from, which does not get it.
    from_conn: Option<NetHandle>,
    next: usize,
}

/// PDUs that are on their way, the first come first.
#[derive(Debug, Default)]
pub(super) struct FanOuts(VecDeque<FanOut>);

/// To everybody in `targets`.
pub(super) fn broadcast(cx: &mut Cx<'_>, pdu: ImPdu, targets: Targets) {
    // Whoever asks for the same connections as the one before, who has not begun, joins in.
    if let Targets::Conns(conns) = &targets
        && let Some(FanOut { pdus, targets: Targets::Conns(last), next: 0, .. }) =
            cx.srv.fan_outs.0.back_mut()
        && conns == last
    {
        return pdus.push(pdu);
    }
    add(cx, FanOut { pdus: vec![pdu], targets, from_conn: None, next: 0 });
}

/// To all connections of these users but the one it came from.
pub(super) fn broadcast_to_users(
    cx: &mut Cx<'_>,
    pdu: ImPdu,
    users: Arc<[u32]>,
    from_conn: Option<NetHandle>,
) {
    add(cx, FanOut { pdus: vec![pdu], targets: Targets::Users(users), from_conn, next: 0 });
}

fn add(cx: &mut Cx<'_>, fan_out: FanOut) {
    let was_idle = cx.srv.fan_outs.0.is_empty();
    cx.srv.fan_outs.0.push_back(fan_out);
    if was_idle {
        // A small one is done right here.
        fan_out_some(cx);
        if !cx.srv.fan_outs.0.is_empty() {
            cx.net.register_timer(fan_out_some, FAN_OUT_MS);
        }
    } else if cx.srv.fan_outs.0.len() > FAN_OUTS_MAX
        && let Some(mut oldest) = cx.srv.fan_outs.0.pop_front()
    {
        oldest.send(cx, usize::MAX);
    }
}

/// Sends as much as the budget allows.
fn fan_out_some(cx: &mut Cx<'_>) {
    let mut budget = FAN_OUT_BUDGET;
    while budget > 0 {
        let Some(mut fan_out) = cx.srv.fan_outs.0.pop_front() else {
            return cx.net.delete_timer(fan_out_some);
        };
        budget -= fan_out.send(cx, budget);
        if !fan_out.is_done() {
            cx.srv.fan_outs.0.push_front(fan_out);
        }
    }
}

impl FanOut {
    fn len(&self) -> usize {
        match &self.targets {
            Targets::Users(users) => users.len(),
            Targets::Conns(conns) => conns.len(),
        }
    }

    fn is_done(&self) -> bool {
        self.next == self.len()
    }

    /// Sends to the next ones, and returns how many that were.
    fn send(&mut self, cx: &mut Cx<'_>, budget: usize) -> usize {
        let begin = self.next;
        self.next = begin.saturating_add(budget).min(self.len());
        match &self.targets {
            Targets::Users(users) => {
                for &user_id in &users[begin..self.next] {
                    for conn in cx.srv.im_users.conns(user_id) {
                        if Some(conn.handle) != self.from_conn {
                            self.pdus.iter().for_each(|pdu| cx.net.send_pdu(conn.handle, pdu));
                        }
                    }
                }
            }
            Targets::Conns(conns) => {
                for &conn in &conns[begin..self.next] {
                    self.pdus.iter().for_each(|pdu| cx.net.send_pdu(conn, pdu));
                }
            }
        }
        self.next - begin
    }
}
