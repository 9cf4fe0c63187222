//! Addresses that probably belong to one owner.

use std::net::IpAddr;

/// The network an address counts as: its /24 for IPv4, its /64 for IPv6, which is what one customer
/// of a carrier gets.
pub fn address_class(addr: IpAddr) -> String {
    match addr.to_canonical() {
        IpAddr::V4(addr) => {
            let [a, b, c, _] = addr.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(addr) => {
            let [a, b, c, d, ..] = addr.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_class() {
        for (addr, class) in [
            ("192.0.2.1", "192.0.2.0/24"),
            ("192.0.2.255", "192.0.2.0/24"),
            ("::ffff:192.0.2.7", "192.0.2.0/24"),
            ("192.0.3.1", "192.0.3.0/24"),
            ("2001:db8:0:1::5", "2001:db8:0:1::/64"),
            ("2001:db8:0:1:ffff::5", "2001:db8:0:1::/64"),
            ("2001:db8:0:2::5", "2001:db8:0:2::/64"),
        ] {
            assert_eq!(address_class(addr.parse().unwrap()), class);
        }
    }
}
