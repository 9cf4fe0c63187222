//! Which peers may connect to a port that is not for everybody.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::config_value::ConfigValue;
use super::util::str_explode;

/// Addresses and networks, such as `10.0.0.7;10.1.0.0/16;fd00::/8`. The default allows everybody.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AllowList(Option<Arc<[Network]>>);

impl AllowList {
    /// Whether a peer with this address may connect.
    pub fn allows(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.0.as_ref().is_none_or(|networks| networks.iter().any(|net| net.contains(peer)))
    }
}

impl ConfigValue for AllowList {
    const EXPECTED: &str = "addresses or networks such as 10.1.0.0/16, separated by ';'";

    fn parse(text: &str) -> Option<Self> {
        let networks = str_explode(text, ';').map(Network::parse).collect::<Option<Vec<_>>>()?;
        // An empty list would read as "nobody" to one and as "everybody" to another.
        (!networks.is_empty()).then(|| Self(Some(networks.into())))
    }
}

impl fmt::Display for AllowList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(networks) = &self.0 else {
            return f.write_str("everybody");
        };
        for (at, network) in networks.iter().enumerate() {
            let separator = if at == 0 { "" } else { ";" };
            write!(f, "{separator}{}/{}", network.addr, network.prefix_len)?;
        }
        Ok(())
    }
}

/// All addresses whose first bits are those of `addr`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Network {
    addr: IpAddr,
    prefix_len: u32,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (addr, prefix_len) = match text.split_once('/') {
            Some((addr, len)) => (addr, Some(len)),
            None => (text, None),
        };
        let addr: IpAddr = addr.parse().ok()?;
        let width = if addr.is_ipv4() { 32 } else { 128 };
        let prefix_len = match prefix_len {
            Some(len) => u32::parse(len)?,
            None => width,
        };
        (prefix_len <= width).then_some(Self { addr, prefix_len })
    }

    fn contains(&self, peer: IpAddr) -> bool {
        // Both are moved to the upper end of 128 bits, so that one comparison serves both families.
        let bits = |addr: IpAddr| match addr {
            IpAddr::V4(addr) => u128::from(addr.to_bits()) << 96,
            IpAddr::V6(addr) => addr.to_bits(),
        };
        let differing = bits(self.addr) ^ bits(peer);
        self.addr.is_ipv4() == peer.is_ipv4() && differing.leading_zeros() >= self.prefix_len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(list: &str, peer: &str) -> bool {
        AllowList::parse(list).unwrap().allows(peer.parse().unwrap())
    }

    #[test]
    fn f10_who_is_not_listed_is_not_allowed() {
        for peer in ["10.0.0.7", "10.1.0.0", "10.1.255.255", "fd12::1", "::ffff:10.0.0.7"] {
            assert!(allows("10.0.0.7; 10.1.0.0/16; fd00::/8", peer), "{peer}");
        }
        for peer in ["10.0.0.8", "10.2.0.0", "10.0.255.255", "fe80::1", "::a00:7", "127.0.0.1"] {
            assert!(!allows("10.0.0.7;10.1.0.0/16;fd00::/8", peer), "{peer}");
        }
    }

    #[test]
    fn a_network_may_end_within_a_byte_and_be_everything_of_its_family() {
        assert!(allows("192.168.100.77/20", "192.168.111.1"));
        assert!(!allows("192.168.100.77/20", "192.168.112.1"));
        assert!(allows("0.0.0.0/0", "203.0.113.9") && !allows("0.0.0.0/0", "2001:db8::1"));
        assert!(allows("::/0", "2001:db8::1") && !allows("::/0", "203.0.113.9"));
    }

    #[test]
    fn without_a_list_everybody_is_allowed() {
        assert!(AllowList::default().allows("203.0.113.9".parse().unwrap()));
        assert_eq!(AllowList::default().to_string(), "everybody");
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", ";", "10.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "x"] {
            assert_eq!(AllowList::parse(text), None, "{text:?}");
        }
        let list = AllowList::parse("10.0.0.7;fd00::/8").unwrap();
        assert_eq!(list.to_string(), "10.0.0.7/32;fd00::/8");
    }
}
