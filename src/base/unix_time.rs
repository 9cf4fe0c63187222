//! The time of the world, for what is stored and for what people read.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix milliseconds. Deadlines do not use it: see
/// [`Netlib::tick`](crate::netlib::Netlib::tick).
#[expect(clippy::disallowed_methods, reason = "the one place besides the log that reads it")]
pub fn unix_time_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Unix seconds.
pub fn unix_time() -> u32 {
    u32::try_from(unix_time_ms() / 1000).unwrap_or(u32::MAX)
}
