//! The time of the world, for what is stored and for what people read.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// Unix seconds. Deadlines do not use it: see [`Netlib::tick`](crate::netlib::Netlib::tick).
#[expect(clippy::disallowed_methods, reason = "the one place besides the log that reads it")]
pub fn unix_time() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// The hour of the day at this time, in the time zone of the machine (`TZ`, or `/etc/localtime`).
pub fn local_hour(unix_time: u32) -> u8 {
    hour_in(unix_time, TimeZone::system())
}

fn hour_in(unix_time: u32, zone: TimeZone) -> u8 {
    let at = Timestamp::UNIX_EPOCH.saturating_add(Span::new().seconds(unix_time));
    // Every second of 32 bits is far inside of what a timestamp can say.
    at.map_or(0, |at| at.to_zoned(zone).hour().unsigned_abs())
}

#[cfg(test)]
mod tests {
    use jiff::tz::Offset;

    use super::*;

    #[test]
    fn the_hour_is_that_of_the_zone() {
        let half_past_eleven = 23 * 3600 + 1800;
        assert_eq!(hour_in(half_past_eleven, TimeZone::UTC), 23);
        assert_eq!(hour_in(half_past_eleven, TimeZone::fixed(Offset::constant(8))), 7);
        assert_eq!(hour_in(half_past_eleven, TimeZone::fixed(Offset::constant(-5))), 18);
        assert_eq!(hour_in(u32::MAX, TimeZone::UTC), 6);
        assert!(local_hour(0) < 24);
    }
}
