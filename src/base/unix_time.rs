//! The time of the world, for what is stored and for what people read.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix seconds. Deadlines do not use it: see [`Netlib::tick`](crate::netlib::Netlib::tick).
#[expect(clippy::disallowed_methods, reason = "the one place besides the log that reads it")]
pub fn unix_time() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}
