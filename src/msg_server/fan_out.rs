//! One PDU for many connections: encoded once, and sent to some of them at a time, so that other
//! users do not wait.

use std::collections::VecDeque;
use std::sync::Arc;

use super::msg_conn::MsgConn;
use super::{Cx, MsgServer};
use crate::base::im_pdu::ImPdu;
use crate::base::public_define::client_type_is_pc;
use crate::netlib::{NetHandle, Netlib};

/// Users that are looked at, or PDUs that are sent, in one go …
pub const FAN_OUT_BUDGET: usize = 1_024;
/// … and the pause between two.
const FAN_OUT_MS: u64 = 1;

/// Broadcasts that may wait. One more, and the oldest is done to its end at once: whoever sends so
/// much waits with everybody else.
pub const FAN_OUTS_MAX: usize = 10_000;

/// How far back a PDU looks for one with the same targets, to join it.
const JOIN_DEPTH: usize = 64;

/// PDUs that one with the same targets takes in.
const JOINED_MAX: usize = 256;

/// Who gets a PDU.
#[derive(Debug)]
pub(super) enum Targets {
    /// All connections of these users as they are when their turn comes.
    Users(Arc<[u32]>),
    /// All PCs that are logged in when their turn comes.
    Pcs,
    /// All connections that are logged in when their turn comes.
    Everybody,
    /// These connections: what becomes of the two above.
    Conns(Vec<NetHandle>),
}

/// A PDU that is on its way.
#[derive(Debug)]
struct FanOut {
    /// Several if they have the same targets, each with the connection it came from, which does not
    /// get it.
    pdus: Vec<(ImPdu, Option<NetHandle>)>,
    targets: Targets,
    /// How many targets are done with.
    next: usize,
}

/// PDUs that are on their way, the first come first.
#[derive(Debug, Default)]
pub(super) struct FanOuts(VecDeque<FanOut>);

impl FanOuts {
    /// How many are on their way.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// To all PCs.
///
/// C++: msg_server/ImUser.cpp CImUserManager::BroadcastPdu
/// Differs: a storm of logins makes one long broadcast, not many.
pub(super) fn broadcast_to_pcs(cx: &mut Cx<'_>, pdu: ImPdu) {
    broadcast(cx, pdu, Targets::Pcs, None);
}

/// To all connections.
pub(super) fn broadcast_to_everybody(cx: &mut Cx<'_>, pdu: ImPdu) {
    broadcast(cx, pdu, Targets::Everybody, None);
}

/// Whoever comes while another one with the same targets has not begun joins in, so that under load
/// a connection is written to once for many PDUs.
fn broadcast(cx: &mut Cx<'_>, pdu: ImPdu, targets: Targets, from_conn: Option<NetHandle>) {
    let mut latest = cx.srv.fan_outs.0.iter_mut().rev().take(JOIN_DEPTH);
    match latest.find(|waiting| waiting.next == 0 && waiting.targets.are(&targets)) {
        Some(waiting) if waiting.pdus.len() < JOINED_MAX => waiting.pdus.push((pdu, from_conn)),
        _ => add(cx, FanOut { pdus: vec![(pdu, from_conn)], targets, next: 0 }),
    }
}

/// To all connections of these users but the one it came from.
pub(super) fn broadcast_to_users(
    cx: &mut Cx<'_>,
    pdu: ImPdu,
    users: Arc<[u32]>,
    from_conn: Option<NetHandle>,
) {
    broadcast(cx, pdu, Targets::Users(users), from_conn);
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
        while !oldest.is_done() {
            oldest.send(cx, usize::MAX);
        }
    }
}

/// Sends as much as the budget allows.
fn fan_out_some(cx: &mut Cx<'_>) {
    let mut budget = FAN_OUT_BUDGET;
    while budget > 0 {
        let Some(mut fan_out) = cx.srv.fan_outs.0.pop_front() else {
            return cx.net.delete_timer(fan_out_some);
        };
        budget = budget.saturating_sub(fan_out.send(cx, budget));
        if !fan_out.is_done() {
            cx.srv.fan_outs.0.push_front(fan_out);
        }
    }
}

impl Targets {
    /// Whether they are known to be the same. The members of a group are one list until they
    /// change.
    fn are(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Users(ours), Self::Users(theirs)) => Arc::ptr_eq(ours, theirs),
            (Self::Pcs, Self::Pcs) | (Self::Everybody, Self::Everybody) => true,
            _ => false,
        }
    }
}

impl FanOut {
    fn is_done(&self) -> bool {
        match &self.targets {
            Targets::Users(users) => self.next == users.len(),
            Targets::Conns(conns) => self.next == conns.len(),
            Targets::Pcs | Targets::Everybody => false,
        }
    }

    /// Sends to the next ones, and returns what that has cost.
    fn send(&mut self, cx: &mut Cx<'_>, budget: usize) -> usize {
        let begin = self.next;
        let count = (budget / self.pdus.len()).max(1);
        let range = |len: usize| begin..begin.saturating_add(count).min(len);
        match &self.targets {
            Targets::Users(users) => {
                let range = range(users.len());
                self.next = range.end;
                for user_id in &users[range] {
                    for conn in cx.srv.im_users.conns(*user_id) {
                        self.send_to(cx.net, conn.handle);
                    }
                }
            }
            Targets::Conns(conns) => {
                let range = range(conns.len());
                self.next = range.end;
                for conn in &conns[range] {
                    self.send_to(cx.net, *conn);
                }
            }
            Targets::Pcs => self.begin(cx, |conn| client_type_is_pc(conn.client_type())),
            Targets::Everybody => self.begin(cx, |_| true),
        }
        (self.next - begin) * self.pdus.len()
    }

    fn send_to(&self, net: &mut Netlib<MsgServer>, conn: NetHandle) {
        for (pdu, _) in self.pdus.iter().filter(|(_, from_conn)| *from_conn != Some(conn)) {
            net.send_pdu(conn, pdu);
        }
    }

    /// Its turn has come: these connections it will be.
    fn begin(&mut self, cx: &Cx<'_>, wanted: impl Fn(&MsgConn) -> bool) {
        let open = cx.srv.msg_conns.iter().filter(|(_, conn)| conn.is_open() && wanted(conn));
        self.targets = Targets::Conns(open.map(|(handle, _)| handle).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msg_server::tests::*;
    use crate::pb::cmd::*;

    fn pdu(seq_num: u16) -> ImPdu {
        ImPdu::encode(SID_OTHER, CID_OTHER_HEARTBEAT, seq_num, &())
    }

    fn seq_nums(pdus: &[ImPdu]) -> Vec<u16> {
        pdus.iter().map(|pdu| pdu.as_pdu().seq_num()).collect()
    }

    /// More users than fit into the budget, so that what comes next has to wait.
    fn crowd() -> Arc<[u32]> {
        vec![77; 2 * FAN_OUT_BUDGET].into()
    }

    #[test]
    fn broadcasts_that_wait_are_joined_and_keep_their_order() {
        let mut bed = bed();
        let (first, second) = (bed.log_in(1, WINDOWS), bed.log_in(2, IOS));
        broadcast_to_users(&mut bed.cx(), pdu(1), crowd(), None);
        broadcast_to_pcs(&mut bed.cx(), pdu(2));
        broadcast_to_everybody(&mut bed.cx(), pdu(3));
        broadcast_to_pcs(&mut bed.cx(), pdu(4));
        assert_eq!(bed.srv.fan_outs.0.len(), 3);
        bed.assert_silent(first);
        bed.pass_ms(1);
        bed.pass_ms(1);
        let (to_first, to_second) = (bed.sent(first), bed.sent(second));
        assert_eq!((seq_nums(&to_first), seq_nums(&to_second)), (vec![2, 4, 3], vec![3]));
        assert!(bed.srv.fan_outs.0.is_empty());
    }

    #[test]
    fn messages_of_one_group_that_wait_go_together_but_not_to_where_they_come_from() {
        let mut bed = bed();
        let (first, second) = (bed.log_in(1, WINDOWS), bed.log_in(2, IOS));
        let group: Arc<[u32]> = vec![1, 2].into();
        broadcast_to_users(&mut bed.cx(), pdu(0), crowd(), None);
        let count = JOINED_MAX + 5;
        for seq_num in 1..=count as u16 {
            let from_conn = [first, second][usize::from(seq_num % 2)];
            let (group, pdu) = (Arc::clone(&group), pdu(seq_num));
            broadcast_to_users(&mut bed.cx(), pdu, group, Some(from_conn));
        }
        assert_eq!(bed.srv.fan_outs.0.len(), 3);
        while !bed.srv.fan_outs.0.is_empty() {
            bed.pass_ms(1);
        }
        let odd: Vec<u16> = (1..=count as u16).filter(|n| n % 2 == 1).collect();
        let even: Vec<u16> = (1..=count as u16).filter(|n| n % 2 == 0).collect();
        assert_eq!((seq_nums(&bed.sent(first)), seq_nums(&bed.sent(second))), (odd, even));
    }

    #[test]
    fn what_waits_has_a_limit_and_nothing_is_lost() {
        let mut bed = bed();
        let conn = bed.log_in(1, WINDOWS);
        broadcast_to_users(&mut bed.cx(), pdu(0), crowd(), None);
        for _ in 0..=FAN_OUTS_MAX {
            broadcast_to_users(&mut bed.cx(), pdu(1), vec![1].into(), None);
        }
        assert_eq!(bed.srv.fan_outs.0.len(), FAN_OUTS_MAX);
        let mut got = 0;
        while !bed.srv.fan_outs.0.is_empty() {
            bed.pass_ms(1);
            got += bed.sent(conn).len();
        }
        assert_eq!(got, FAN_OUTS_MAX + 1);
    }
}
