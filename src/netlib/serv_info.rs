//! The servers a service connects to, and when it tries again.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::mem;

use super::Netlib;
use super::im_conn::ConnHandler;
use super::net_handle::NetHandle;
use super::options::ConnLimits;
use crate::base::metrics_text::{Family, MetricsText};

/// Seconds before the first attempt after a connection that had worked.
///
/// C++: base/ServInfo.h MIN_RECONNECT_CNT
/// Differs: 1 instead of 4, so that a restart is hardly noticed (F37).
pub const MIN_RECONNECT_CNT: u64 = 1;

/// The delay doubles up to this many seconds.
///
/// C++: base/ServInfo.h MAX_RECONNECT_CNT
/// Differs: 6 instead of 64, and it stays there: however long a server was away, everybody has
/// found it within 10 seconds after its return (F37).
pub const MAX_RECONNECT_CNT: u64 = 6;

/// How often [`ServList::check_reconnect`] wants to be called: often enough that the jitter counts.
pub const RECONNECT_CHECK_MS: u64 = 200;

/// Each delay is longer or shorter by up to this many percent.
const JITTER_PERCENT: u64 = 20;

/// One server to connect to.
///
/// C++: base/ServInfo.h serv_info_t
#[derive(Clone, Debug)]
pub struct ServInfo {
    /// Address or host name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The connection, whether it is established yet or not.
    pub conn: Option<NetHandle>,
    /// Seconds of the last delay, before jitter. 0 while all is well.
    reconnect_cnt: u64,
    retry_tick: u64,
    /// Whether the connection is established.
    open: bool,
    /// Connects that were started, that succeeded, and established connections that ended.
    attempts: u64,
    established: u64,
    lost: u64,
}

impl ServInfo {
    fn new((host, port): (String, u16)) -> Self {
        Self {
            host,
            port,
            conn: None,
            reconnect_cnt: 0,
            retry_tick: 0,
            open: false,
            attempts: 0,
            established: 0,
            lost: 0,
        }
    }
}

/// The servers of one kind, each with one connection that is renewed when it ends.
///
/// C++: base/ServInfo.h serv_init
/// Differs: delays carry a jitter, so that servers that lost the same peer at the same moment do
/// not all come back at the same moment (F37).
#[derive(Clone, Debug)]
pub struct ServList {
    servers: Vec<ServInfo>,
    limits: ConnLimits,
    random: u64,
}

impl ServList {
    /// Servers by host and port, all due at once.
    pub fn new(addrs: impl IntoIterator<Item = (String, u16)>) -> Self {
        Self::with_seed(addrs, RandomState::new().hash_one(0))
    }

    /// The same with a known sequence of jitters.
    pub fn with_seed(addrs: impl IntoIterator<Item = (String, u16)>, seed: u64) -> Self {
        Self {
            servers: addrs.into_iter().map(ServInfo::new).collect(),
            limits: ConnLimits::SERVER,
            random: seed,
        }
    }

    /// The servers, in the order of the configuration.
    pub fn servers(&self) -> &[ServInfo] {
        &self.servers
    }

    /// Replaces the list. A server that was in it keeps its connection, or its delay, at whatever
    /// place it is now; the connections of those that are gone are returned.
    pub fn set_servers(
        &mut self,
        addrs: impl IntoIterator<Item = (String, u16)>,
    ) -> Vec<NetHandle> {
        let mut old = mem::take(&mut self.servers);
        let mut keep = |(host, port): (String, u16)| {
            let known = old.iter().position(|s| s.host == host && s.port == port);
            known.map_or_else(|| ServInfo::new((host, port)), |at| old.remove(at))
        };
        self.servers = addrs.into_iter().map(&mut keep).collect();
        old.into_iter().filter_map(|server| server.conn).collect()
    }

    /// Starts a connection of class `H` to every server that has none and is due; the caller adds
    /// the service's half for each index and handle. Call it once at the start and from a timer.
    ///
    /// C++: base/ServInfo.h serv_check_reconnect
    /// Differs: a connect that fails at once is tried again like any other (F36).
    pub fn check_reconnect<H: ConnHandler>(
        &mut self,
        net: &mut Netlib<H::Server>,
    ) -> Vec<(usize, NetHandle)> {
        let mut started = Vec::new();
        for at in 0..self.servers.len() {
            let server = &mut self.servers[at];
            if server.conn.is_some() || net.tick() < server.retry_tick {
                continue;
            }
            server.attempts += 1;
            match net.connect_host::<H>(&server.host, server.port, self.limits) {
                Some(handle) => {
                    server.conn = Some(handle);
                    started.push((at, handle));
                }
                None => self.schedule(at, net.tick()),
            }
        }
        started
    }

    /// The connection of server `at` is established.
    pub fn confirm(&mut self, at: usize) {
        let server = &mut self.servers[at];
        server.reconnect_cnt = 0;
        server.open = true;
        server.established += 1;
    }

    /// The connection of server `at` has ended, established or not: tries again later.
    ///
    /// C++: base/ServInfo.h serv_reset
    pub fn reset(&mut self, at: usize, tick: u64) {
        let server = &mut self.servers[at];
        server.conn = None;
        server.lost += u64::from(mem::take(&mut server.open));
        self.schedule(at, tick);
    }

    fn schedule(&mut self, at: usize, tick: u64) {
        let jitter = self.next_random() % (2 * JITTER_PERCENT + 1);
        let server = &mut self.servers[at];
        server.reconnect_cnt =
            (server.reconnect_cnt * 2).clamp(MIN_RECONNECT_CNT, MAX_RECONNECT_CNT);
        let percent = 100 - JITTER_PERCENT + jitter;
        server.retry_tick = tick + server.reconnect_cnt * 1000 * percent / 100;
    }

    /// SplitMix64: spread is all that matters here.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// All connections to one address, summed up.
#[derive(Default)]
struct Sum {
    wanted: u64,
    open: u64,
    attempts: u64,
    established: u64,
    lost: u64,
}

/// Writes how connected a service is, by the kind and the address of the other servers.
pub fn write_metrics(kinds: &[(&str, &ServList)], text: &mut MetricsText) {
    let mut sums: BTreeMap<(&str, String), Sum> = BTreeMap::new();
    for (kind, list) in kinds {
        for server in &list.servers {
            let address = format!("{}:{}", server.host, server.port);
            let sum = sums.entry((*kind, address)).or_default();
            sum.wanted += 1;
            sum.open += u64::from(server.open);
            sum.attempts += server.attempts;
            sum.established += server.established;
            sum.lost += server.lost;
        }
    }
    let write = |mut family: Family<'_>, part: fn(&Sum) -> u64| {
        for ((kind, address), sum) in &sums {
            family.sample(&[("server", *kind), ("address", address.as_str())], part(sum));
        }
    };
    let help = "Connections there are to be to other servers.";
    write(text.gauge("teamtalk_backend_wanted", help), |sum| sum.wanted);
    let help = "Connections that are established to other servers.";
    write(text.gauge("teamtalk_backend_open", help), |sum| sum.open);
    let help = "Connects to other servers that were started.";
    write(text.counter("teamtalk_backend_attempts_total", help), |sum| sum.attempts);
    let help = "Connects to other servers that succeeded.";
    write(text.counter("teamtalk_backend_established_total", help), |sum| sum.established);
    let help = "Established connections to other servers that ended.";
    write(text.counter("teamtalk_backend_lost_total", help), |sum| sum.lost);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_to_one_address_are_summed_up() {
        let addr = || ("db".to_owned(), 10600);
        let mut list = ServList::with_seed([addr(), addr()], 1);
        list.confirm(0);
        list.reset(0, 0);
        list.confirm(1);
        // One that never was established is not lost.
        list.reset(0, 0);
        let mut text = MetricsText::default();
        write_metrics(&[("db_proxy_server", &list)], &mut text);
        let labels = "{server=\"db_proxy_server\",address=\"db:10600\"}";
        for (name, value) in [("wanted", 2), ("open", 1), ("established_total", 2)] {
            let line = format!("teamtalk_backend_{name}{labels} {value}\n");
            assert!(text.as_str().contains(&line), "{line} {}", text.as_str());
        }
        assert!(text.as_str().contains(&format!("teamtalk_backend_lost_total{labels} 1\n")));
    }
}
