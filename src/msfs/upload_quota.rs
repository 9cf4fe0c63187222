//! How much everybody may store, so that nobody fills the disk or the memory alone.
//!
//! Each address has so many uploads a minute and so many bytes a day. What is being received counts
//! by the bytes that are here, for all addresses together: an announced length costs nothing yet.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};

use crate::base::http_parser_wrapper::HttpError;

/// Uploads of one address in a minute.
pub const UPLOADS_PER_MINUTE: u32 = 120;

/// Megabytes that one address may upload in a day.
pub const UPLOAD_MB_PER_DAY: u32 = 4096;

/// Megabytes of all uploads that are being received or wait to be stored.
pub const UPLOAD_MB_IN_FLIGHT: u32 = 512;

/// Addresses that are remembered; for a new one, that which came first is forgotten.
pub const ADDRESSES_MAX: usize = 100_000;

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

/// The limits; 0 stands for any number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct QuotaLimits {
    /// Uploads of one address in a minute.
    pub per_minute: u32,
    /// Bytes of one address in a day.
    pub bytes_per_day: u64,
    /// Bytes of all uploads that are not stored yet.
    pub bytes_in_flight: u64,
}

impl QuotaLimits {
    /// From numbers of the configuration.
    pub fn new(per_minute: u32, mb_per_day: u32, mb_in_flight: u32) -> Self {
        Self {
            per_minute,
            bytes_per_day: u64::from(mb_per_day) << 20,
            bytes_in_flight: u64::from(mb_in_flight) << 20,
        }
    }
}

/// What an address has uploaded.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    minute: u64,
    count: u32,
    bytes: u64,
}

/// What all addresses have uploaded, and what is on its way.
#[derive(Debug)]
pub struct UploadQuota {
    limits: QuotaLimits,
    shares: HashMap<IpAddr, Share>,
    /// When an address came first; after a day it begins anew.
    order: VecDeque<(u64, IpAddr)>,
    in_flight: u64,
}

impl UploadQuota {
    /// Nobody has uploaded anything.
    pub fn new(limits: QuotaLimits) -> Self {
        Self { limits, shares: HashMap::new(), order: VecDeque::new(), in_flight: 0 }
    }

    /// Counts an upload of so many bytes.
    ///
    /// # Errors
    /// It is one too many, or too much. It is not counted then.
    pub fn charge(&mut self, addr: IpAddr, bytes: usize, tick: u64) -> Result<(), HttpError> {
        self.forget_old(tick);
        let owner = owner(addr);
        let mut share = self.shares.get(&owner).copied().unwrap_or_default();
        let minute = tick / MINUTE_MS;
        if share.minute != minute {
            (share.minute, share.count) = (minute, 0);
        }
        share.count = share.count.saturating_add(1);
        share.bytes = share.bytes.saturating_add(bytes as u64);
        let within = |value: u64, max: u64| max == 0 || value <= max;
        let fits = within(share.count.into(), self.limits.per_minute.into())
            && within(share.bytes, self.limits.bytes_per_day);
        if !fits {
            return Err(HttpError::TooManyRequests);
        }
        if self.shares.insert(owner, share).is_none() {
            self.order.push_back((tick, owner));
        }
        Ok(())
    }

    /// An upload that had `before` bytes here has `now` bytes here.
    ///
    /// # Errors
    /// All together are too many. They are counted all the same, until they are released.
    pub fn hold(&mut self, before: usize, now: usize) -> Result<(), HttpError> {
        self.in_flight = self.in_flight - before as u64 + now as u64;
        let max = self.limits.bytes_in_flight;
        if max == 0 || self.in_flight <= max { Ok(()) } else { Err(HttpError::Busy) }
    }

    /// An upload is stored or given up.
    pub fn release(&mut self, held: usize) {
        self.in_flight -= held as u64;
    }

    /// Bytes that are held.
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    fn forget_old(&mut self, tick: u64) {
        while let Some(&(since, owner)) = self.order.front()
            && (tick >= since + DAY_MS || self.order.len() >= ADDRESSES_MAX)
        {
            self.order.pop_front();
            self.shares.remove(&owner);
        }
    }
}

/// Who an address probably belongs to: a customer gets a /64 of IPv6, and one address of IPv4,
/// often with others.
fn owner(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(addr) => Ipv6Addr::from_bits(addr.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn quota(per_minute: u32, bytes_per_day: u64, bytes_in_flight: u64) -> UploadQuota {
        UploadQuota::new(QuotaLimits { per_minute, bytes_per_day, bytes_in_flight })
    }

    fn addr(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    const REFUSED: Result<(), HttpError> = Err(HttpError::TooManyRequests);

    #[test]
    fn f9_an_address_has_so_many_uploads_a_minute() {
        let (mut quota, one) = (quota(2, 0, 0), addr("192.0.2.1"));
        for minute in 0..3 {
            for result in [Ok(()), Ok(()), REFUSED, REFUSED] {
                assert_eq!(quota.charge(one, usize::MAX, minute * MINUTE_MS), result);
            }
        }
        assert_eq!(quota.charge(addr("192.0.2.2"), 1, 0), Ok(()));
    }

    #[test]
    fn f9_an_address_has_so_many_bytes_a_day() {
        let (mut quota, one) = (quota(0, 100, 0), addr("192.0.2.1"));
        assert_eq!(quota.charge(one, 101, 5), REFUSED);
        assert_eq!(quota.charge(one, 60, 5), Ok(()));
        assert_eq!(quota.charge(one, 41, DAY_MS), REFUSED, "what is refused is not counted");
        assert_eq!(quota.charge(one, 40, DAY_MS), Ok(()));
        assert_eq!(quota.charge(one, 1, DAY_MS + 4), REFUSED);
        assert_eq!(quota.charge(one, 100, DAY_MS + 5), Ok(()));
    }

    #[test]
    fn f9_a_network_of_ipv6_is_one_address() {
        let mut quota = quota(2, 0, 0);
        assert_eq!(quota.charge(addr("2001:db8::1"), 1, 0), Ok(()));
        assert_eq!(quota.charge(addr("2001:db8::ffff:1"), 1, 0), Ok(()));
        assert_eq!(quota.charge(addr("2001:db8::2"), 1, 0), REFUSED);
        assert_eq!(quota.charge(addr("2001:db8:0:1::1"), 1, 0), Ok(()));
        for text in ["192.0.2.1", "::ffff:192.0.2.1"] {
            assert_eq!(quota.charge(addr(text), 1, 0), Ok(()));
        }
        assert_eq!(quota.charge(addr("192.0.2.1"), 1, 0), REFUSED);
    }

    #[test]
    fn f9_what_is_remembered_has_a_limit() {
        let mut quota = quota(1, 0, 0);
        let addr = |number: u32| IpAddr::V4(Ipv4Addr::from_bits(number));
        for number in 0..=ADDRESSES_MAX as u32 {
            assert_eq!(quota.charge(addr(number), 1, 0), Ok(()));
        }
        assert!(quota.shares.len() == quota.order.len() && quota.order.len() <= ADDRESSES_MAX);
        assert_eq!(quota.charge(addr(ADDRESSES_MAX as u32), 1, 0), REFUSED);
        assert_eq!(quota.charge(addr(0), 1, 0), Ok(()), "forgotten");
        assert_eq!(quota.charge(addr(1), 1, DAY_MS), Ok(()));
        assert_eq!((quota.shares.len(), quota.order.len()), (1, 1));
    }

    #[test]
    fn f9_all_that_is_on_its_way_has_a_limit() {
        let mut quota = quota(0, 0, 100);
        assert_eq!(quota.hold(0, 60), Ok(()));
        assert_eq!((quota.hold(0, 40), quota.hold(40, 41)), (Ok(()), Err(HttpError::Busy)));
        quota.release(41);
        assert_eq!(quota.hold(60, 100), Ok(()));
        quota.release(100);
        assert_eq!(quota.in_flight(), 0);
        assert_eq!(self::quota(0, 0, 0).hold(0, usize::MAX), Ok(()));
    }
}
