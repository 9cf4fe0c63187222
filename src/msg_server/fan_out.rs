//! One PDU for many connections: encoded once, and sent to some of them at a time, so that other
//! users do not wait.

use std::collections::VecDeque;
use std::sync::Arc;

use super::msg_conn::MsgConn;
use super::{Cx, MsgServer};
use crate::base::im_pdu::ImPdu;
use crate::base::public_define::client_type_is_pc;
use crate::netlib::{NetHandle, Netlib};

/// Users that are looked at, or connections that are sent to, in one go …
pub const FAN_OUT_BUDGET: usize = 1_024;
/// … and the pause between two.
const FAN_OUT_MS: u64 = 1;
/// As many PDUs more for a connection that gets one anyway cost as much as another connection: what
/// is dear is the write, not the PDU.
const PDUS_PER_WRITE: usize = 16;

/// What comes for all PCs, or for everybody, so soon after another one waits and goes with all that
/// comes meanwhile …
pub const PRESENCE_PACE_MS: u64 = 20;
/// … as does a message to a group …
pub const GROUP_PACE_MS: u64 = 5;
/// … with so many members: each delivery is a write here and a read at the client, which costs more
/// than anything else that is done for a message.
pub const PACED_MIN: usize = 64;

/// Broadcasts that may wait. One more, and the oldest is done to its end at once: whoever sends so
/// much waits with everybody else.
pub const FAN_OUTS_MAX: usize = 10_000;

/// How far back a PDU looks for one with the same targets, to join it.
const JOIN_DEPTH: usize = 64;

/// PDUs that one with the same targets takes in.
const JOINED_MAX: usize = 256;

/// Who gets a PDU.
#[derive(Clone, Debug)]
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
    /// It does not begin before this tick.
    begin_tick: u64,
}

/// PDUs that are on their way, the first come first.
#[derive(Debug, Default)]
pub(super) struct FanOuts {
    waiting: VecDeque<FanOut>,
    /// Who was sent to a moment ago, and until when what comes for them waits.
    paced: Vec<(Targets, u64)>,
}

impl FanOuts {
    /// How many are on their way.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// When one to these may begin.
    fn begin_tick(&mut self, targets: &Targets, tick: u64) -> u64 {
        self.paced.retain(|(_, until)| *until > tick);
        let found = self.paced.iter().find(|(paced, _)| paced.are(targets));
        found.map_or(tick, |(_, until)| *until)
    }
}

/// To all PCs.
///
/// C++: msg_server/ImUser.cpp CImUserManager::BroadcastPdu
/// Differs: what comes within 20 ms goes together, so that a storm of logins is a few long writes
/// per PC, not thousands of short ones.
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
    let mut latest = cx.srv.fan_outs.waiting.iter_mut().rev().take(JOIN_DEPTH);
    match latest.find(|waiting| waiting.next == 0 && waiting.targets.are(&targets)) {
        Some(waiting) if waiting.pdus.len() < JOINED_MAX => waiting.pdus.push((pdu, from_conn)),
        _ => {
            let begin_tick = cx.srv.fan_outs.begin_tick(&targets, cx.net.tick());
            add(cx, FanOut { pdus: vec![(pdu, from_conn)], targets, next: 0, begin_tick });
        }
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
    let was_idle = cx.srv.fan_outs.waiting.is_empty();
    cx.srv.fan_outs.waiting.push_back(fan_out);
    if was_idle {
        // A small one is done right here.
        fan_out_some(cx);
        if !cx.srv.fan_outs.waiting.is_empty() {
            cx.net.register_timer(fan_out_some, FAN_OUT_MS);
        }
    } else if cx.srv.fan_outs.waiting.len() > FAN_OUTS_MAX
        && let Some(mut oldest) = cx.srv.fan_outs.waiting.pop_front()
    {
        while !oldest.is_done() {
            oldest.send(cx, usize::MAX);
        }
    }
}

/// Sends as much as the budget allows.
fn fan_out_some(cx: &mut Cx<'_>) {
    let tick = cx.net.tick();
    let (mut budget, mut at) = (FAN_OUT_BUDGET, 0);
    while budget > 0
        && let Some(begin_tick) = cx.srv.fan_outs.waiting.get(at).map(|next| next.begin_tick)
    {
        if begin_tick > tick {
            at += 1;
        } else if let Some(mut fan_out) = cx.srv.fan_outs.waiting.remove(at) {
            budget = budget.saturating_sub(fan_out.send(cx, budget));
            if !fan_out.is_done() {
                cx.srv.fan_outs.waiting.insert(at, fan_out);
            }
        }
    }
    if cx.srv.fan_outs.waiting.is_empty() {
        cx.net.delete_timer(fan_out_some);
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

    /// How long after this the next one to the same targets begins.
    fn pace_ms(&self) -> u64 {
        match self {
            Self::Users(users) if users.len() >= PACED_MIN => GROUP_PACE_MS,
            Self::Pcs | Self::Everybody => PRESENCE_PACE_MS,
            Self::Users(_) | Self::Conns(_) => 0,
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
        if begin == 0 && self.targets.pace_ms() > 0 {
            let until = cx.net.tick() + self.targets.pace_ms();
            cx.srv.fan_outs.paced.push((self.targets.clone(), until));
        }
        let cost = 1 + self.pdus.len() / PDUS_PER_WRITE;
        let count = (budget / cost).max(1);
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
        (self.next - begin) * cost
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
        assert_eq!(bed.srv.fan_outs.waiting.len(), 3);
        bed.assert_silent(first);
        bed.pass_ms(1);
        bed.pass_ms(1);
        let (to_first, to_second) = (bed.sent(first), bed.sent(second));
        assert_eq!((seq_nums(&to_first), seq_nums(&to_second)), (vec![2, 4, 3], vec![3]));
        assert!(bed.srv.fan_outs.waiting.is_empty());
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
        assert_eq!(bed.srv.fan_outs.waiting.len(), 3);
        while !bed.srv.fan_outs.waiting.is_empty() {
            bed.pass_ms(1);
        }
        let odd: Vec<u16> = (1..=count as u16).filter(|n| n % 2 == 1).collect();
        let even: Vec<u16> = (1..=count as u16).filter(|n| n % 2 == 0).collect();
        assert_eq!((seq_nums(&bed.sent(first)), seq_nums(&bed.sent(second))), (odd, even));
    }

    /// Sends three PDUs at once, and returns how many have come after so many milliseconds.
    #[track_caller]
    fn come_after(ms: [u64; 3], send: impl Fn(&mut Bed, ImPdu)) -> [usize; 3] {
        let mut bed = bed();
        let conn = bed.log_in(1, WINDOWS);
        for seq_num in 1..=3 {
            send(&mut bed, pdu(seq_num));
        }
        let mut got = Vec::new();
        let mut passed = 0;
        let counts = ms.map(|at| {
            while passed < at {
                bed.pass_ms(1);
                passed += 1;
            }
            got.extend(seq_nums(&bed.sent(conn)));
            got.len()
        });
        assert_eq!(got, [1, 2, 3]);
        assert!(bed.srv.fan_outs.waiting.is_empty());
        counts
    }

    #[test]
    fn the_first_announcement_goes_at_once_and_those_that_follow_soon_go_together() {
        let ms = [0, PRESENCE_PACE_MS - 1, PRESENCE_PACE_MS];
        assert_eq!(come_after(ms, |bed, pdu| broadcast_to_pcs(&mut bed.cx(), pdu)), [1, 1, 3]);
        let everybody = come_after(ms, |bed, pdu| broadcast_to_everybody(&mut bed.cx(), pdu));
        assert_eq!(everybody, [1, 1, 3]);
    }

    #[test]
    fn messages_that_follow_soon_go_together_if_the_group_is_large() {
        let ms = [0, GROUP_PACE_MS - 1, GROUP_PACE_MS];
        let group_of = |size: usize| {
            let group: Arc<[u32]> = (1..=size as u32).collect();
            come_after(ms, |bed, pdu| {
                broadcast_to_users(&mut bed.cx(), pdu, Arc::clone(&group), None);
            })
        };
        assert_eq!((group_of(PACED_MIN), group_of(PACED_MIN - 1)), ([1, 1, 3], [3, 3, 3]));
    }

    #[test]
    fn what_waits_has_a_limit_and_nothing_is_lost() {
        let mut bed = bed();
        let conn = bed.log_in(1, WINDOWS);
        broadcast_to_users(&mut bed.cx(), pdu(0), crowd(), None);
        for _ in 0..=FAN_OUTS_MAX {
            broadcast_to_users(&mut bed.cx(), pdu(1), vec![1].into(), None);
        }
        assert_eq!(bed.srv.fan_outs.waiting.len(), FAN_OUTS_MAX);
        let mut got = 0;
        while !bed.srv.fan_outs.waiting.is_empty() {
            bed.pass_ms(1);
            got += bed.sent(conn).len();
        }
        assert_eq!(got, FAN_OUTS_MAX + 1);
    }
}
