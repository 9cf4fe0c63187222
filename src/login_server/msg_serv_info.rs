//! What is known of the msg_servers, and which of them the next client gets.

use std::collections::VecDeque;

use thiserror::Error;

use crate::pb::server::ImMsgServInfo;

/// How long a client that was sent to a msg_server counts as one of its users before it logs in.
pub const RESERVATION_MS: u64 = 15_000;

/// Longest address or host name a msg_server may give, that of a name in the DNS.
const HOST_LEN_MAX: usize = 255;

/// What a msg_server says of itself.
///
/// C++: login_server/LoginConn.h msg_serv_info_t
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MsgServInfo {
    /// The address in the network of the one carrier.
    pub ip_addr1: String,
    /// The address in the network of the other.
    pub ip_addr2: String,
    /// Where it listens for clients, never 0.
    pub port: u16,
    /// From so many users on it takes no more.
    pub max_conn_cnt: u32,
    /// Users that are logged in.
    pub cur_conn_cnt: u32,
    /// How it is called, for the log.
    pub hostname: String,
    reservations: Reservations,
}

/// Why a client gets no msg_server.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum NoMsgServ {
    /// None has registered, or all are gone.
    #[error("no msg_server is registered")]
    Unregistered,
    /// Each has as many users as it takes.
    #[error("every msg_server is full")]
    Full,
}

impl MsgServInfo {
    /// The record of a registration, or `None` if no client could connect to what it says.
    pub fn new(msg: ImMsgServInfo) -> Option<Self> {
        let is_host = |text: &str| !text.is_empty() && text.len() <= HOST_LEN_MAX;
        let port = u16::try_from(msg.port).ok().filter(|port| *port != 0)?;
        let usable = is_host(&msg.ip1) && is_host(&msg.ip2) && msg.host_name.len() <= HOST_LEN_MAX;
        usable.then_some(Self {
            ip_addr1: msg.ip1,
            ip_addr2: msg.ip2,
            port,
            max_conn_cnt: msg.max_conn_cnt,
            cur_conn_cnt: msg.cur_conn_cnt,
            hostname: msg.host_name,
            reservations: Reservations::default(),
        })
    }

    /// Whether both are records of one msg_server.
    pub fn is_same_server(&self, other: &Self) -> bool {
        self.ip_addr1 == other.ip_addr1
            && self.ip_addr2 == other.ip_addr2
            && self.port == other.port
            && self.hostname == other.hostname
    }
    /// Goes on where an older record of the same server ends: the clients that were sent there are
    /// still on their way.
    pub fn continue_from(&mut self, older: Self) {
        self.reservations = older.reservations;
    }

    /// A user has logged in, most likely one that was sent here.
    pub fn add_user(&mut self) {
        self.cur_conn_cnt = self.cur_conn_cnt.saturating_add(1);
        self.reservations.remove_oldest();
    }

    /// A user is gone.
    pub fn remove_user(&mut self) {
        self.cur_conn_cnt = self.cur_conn_cnt.saturating_sub(1);
    }

    /// Clients that were sent here and have not logged in yet.
    pub fn reserved(&self) -> u32 {
        self.reservations.count
    }

    /// Users, and clients that will soon be.
    fn load(&self) -> u32 {
        self.cur_conn_cnt.saturating_add(self.reservations.count)
    }
}

/// Picks the msg_server with the fewest users and counts the client as one of them until it logs
/// in, or for [`RESERVATION_MS`].
///
/// Clients on their way decide who comes first, and whether a server looks full while another one
/// does not. They never make the last one look full: it costs nothing to ask here, and somebody
/// who asks all the time must not be able to lock everybody out.
///
/// C++: login_server/LoginConn.cpp CLoginConn::_HandleMsgServRequest
/// Differs: clients that were sent to a server and have not logged in yet count (F55).
pub fn choose<'a>(
    infos: impl IntoIterator<Item = &'a mut MsgServInfo>,
    tick: u64,
) -> Result<&'a MsgServInfo, NoMsgServ> {
    let mut registered = false;
    let open = infos.into_iter().filter_map(|info| {
        registered = true;
        info.reservations.expire(tick);
        (info.cur_conn_cnt < info.max_conn_cnt).then_some(info)
    });
    let chosen = open.min_by_key(|info| (info.load() >= info.max_conn_cnt, info.load()));
    let Some(info) = chosen else {
        return Err(if registered { NoMsgServ::Full } else { NoMsgServ::Unregistered });
    };
    info.reservations.add(tick);
    Ok(info)
}

/// Clients that were sent to a msg_server and have not logged in yet.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Reservations {
    /// When they were sent and how many, oldest first: one entry for each millisecond at most.
    sent: VecDeque<(u64, u32)>,
    /// The sum.
    count: u32,
}

impl Reservations {
    fn add(&mut self, tick: u64) {
        if self.count == u32::MAX {
            return;
        }
        self.count += 1;
        match self.sent.back_mut() {
            Some((last, count)) if *last == tick => *count += 1,
            _ => self.sent.push_back((tick, 1)),
        }
    }

    fn remove_oldest(&mut self) {
        let Some((_, count)) = self.sent.front_mut() else {
            return;
        };
        *count -= 1;
        self.count -= 1;
        if *count == 0 {
            self.sent.pop_front();
        }
    }

    /// Forgets clients that should have logged in by now.
    fn expire(&mut self, tick: u64) {
        while let Some(&(sent, count)) = self.sent.front() {
            if tick < sent + RESERVATION_MS {
                return;
            }
            self.sent.pop_front();
            self.count -= count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(hostname: &str, max_conn_cnt: u32, cur_conn_cnt: u32) -> MsgServInfo {
        MsgServInfo::new(ImMsgServInfo {
            ip1: "10.0.0.1".to_owned(),
            ip2: "10.0.0.2".to_owned(),
            port: 8000,
            max_conn_cnt,
            cur_conn_cnt,
            host_name: hostname.to_owned(),
        })
        .unwrap()
    }

    /// The names of the servers that so many clients are sent to, all within `tick`.
    fn sent_to(infos: &mut [MsgServInfo], clients: usize, tick: u64) -> Vec<usize> {
        let mut counts = vec![0; infos.len()];
        for _ in 0..clients {
            let hostname = choose(&mut *infos, tick).unwrap().hostname.clone();
            counts[infos.iter().position(|info| info.hostname == hostname).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn the_server_with_the_fewest_users_is_chosen() {
        let mut infos = [info("a", 100, 50), info("b", 100, 10), info("c", 100, 30)];
        assert_eq!(choose(&mut infos, 0).unwrap().hostname, "b");
    }

    #[test]
    fn no_server_and_no_room_are_told_apart() {
        assert_eq!(choose(&mut [], 0), Err(NoMsgServ::Unregistered));
        let mut infos = [info("a", 100, 100), info("b", 0, 0), info("c", 100, 101)];
        assert_eq!(choose(&mut infos, 0), Err(NoMsgServ::Full));
        infos[2].cur_conn_cnt = 99;
        assert_eq!(choose(&mut infos, 0).unwrap().hostname, "c");
    }

    #[test]
    fn f55_a_burst_is_spread_evenly() {
        let mut infos = ["a", "b", "c", "d"].map(|name| info(name, 10_000, 7));
        assert_eq!(sent_to(&mut infos, 1000, 0), [250; 4]);
    }

    #[test]
    fn f55_a_burst_levels_what_was_uneven() {
        let mut infos = [info("a", 10_000, 400), info("b", 10_000, 0), info("c", 500, 499)];
        assert_eq!(sent_to(&mut infos, 1000, 0), [300, 699, 1]);
    }

    #[test]
    fn f55_a_reservation_ends_after_fifteen_seconds_or_with_a_login() {
        let mut infos = [info("a", 100, 0), info("b", 100, 3)];
        assert_eq!(sent_to(&mut infos, 3, 1_000), [3, 0]);
        assert_eq!(choose(&mut infos, 1_000).unwrap().hostname, "a");
        for _ in 0..4 {
            infos[0].add_user();
        }
        assert_eq!((infos[0].load(), infos[1].load()), (4, 3), "nobody counts twice");
        for _ in 0..4 {
            infos[0].remove_user();
        }
        assert_eq!(sent_to(&mut infos, 5, 2_000), [4, 1]);
        assert_eq!(sent_to(&mut infos, 1, 16_999), [1, 0]);
        choose(&mut infos, 17_000).unwrap();
        assert_eq!(infos[0].load() + infos[1].load(), 3 + 2, "the five are forgotten");
    }

    #[test]
    fn f55_clients_on_their_way_never_make_all_servers_full() {
        let mut infos = [info("a", 10, 5), info("b", 20, 5)];
        assert_eq!(sent_to(&mut infos, 20, 0), [5, 15]);
        let more = sent_to(&mut infos, 100, 0);
        assert_eq!(more, [55, 45]);
        infos[0].cur_conn_cnt = 10;
        infos[1].cur_conn_cnt = 20;
        assert_eq!(choose(&mut infos, 0), Err(NoMsgServ::Full));
    }

    #[test]
    fn f55_somebody_who_asks_all_the_time_costs_little_memory() {
        let mut infos = [info("a", 10, 5)];
        for tick in 0..60_000 {
            sent_to(&mut infos, 3, tick);
        }
        assert_eq!(infos[0].reservations.sent.len() as u64, RESERVATION_MS);
        assert_eq!(u64::from(infos[0].reservations.count), 3 * RESERVATION_MS);
    }

    #[test]
    fn f54_counters_stop_at_their_ends() {
        let mut info = info("a", 100, 0);
        info.remove_user();
        assert_eq!(info.cur_conn_cnt, 0);
        info.cur_conn_cnt = u32::MAX;
        info.add_user();
        assert_eq!((info.cur_conn_cnt, info.load()), (u32::MAX, u32::MAX));
    }

    #[test]
    fn a_registration_that_no_client_could_use_is_none() {
        let good = ImMsgServInfo {
            ip1: "a".repeat(HOST_LEN_MAX),
            ip2: "b".to_owned(),
            port: 65_535,
            ..ImMsgServInfo::default()
        };
        assert!(MsgServInfo::new(good.clone()).is_some());
        let long = "a".repeat(HOST_LEN_MAX + 1);
        for bad in [
            ImMsgServInfo { port: 0, ..good.clone() },
            ImMsgServInfo { port: 65_536, ..good.clone() },
            ImMsgServInfo { ip1: String::new(), ..good.clone() },
            ImMsgServInfo { ip2: String::new(), ..good.clone() },
            ImMsgServInfo { ip1: long.clone(), ..good.clone() },
            ImMsgServInfo { host_name: long, ..good },
        ] {
            assert_eq!(MsgServInfo::new(bad), None);
        }
    }
}
