//! How much a connection may ask for in a time, without dropping what is too much.

/// Fills steadily, empties by what each command costs.
///
/// A command is always served; when the bucket is in debt afterwards, the answer says how long the
/// connection has to wait for its next one: hand it to
/// [`Netlib::delay_read`](crate::netlib::Netlib::delay_read). So what comes too fast is delayed and
/// not dropped (F28).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TokenBucket {
    /// Thousandths of a token; negative after a burst.
    level: i64,
    /// Thousandths.
    burst: i64,
    /// Tokens per second, which is thousandths per millisecond.
    rate: u32,
    filled_tick: u64,
}

impl TokenBucket {
    /// A full bucket of `burst` tokens that gains `rate` tokens per second. A rate of 0 means no
    /// limit.
    pub fn new(rate: u32, burst: u32, tick: u64) -> Self {
        let burst = i64::from(burst) * 1000;
        Self { level: burst, burst, rate, filled_tick: tick }
    }

    /// Pays for one command and returns for how many milliseconds the next one has to wait.
    pub fn take(&mut self, cost: u32, tick: u64) -> u64 {
        if self.rate == 0 {
            return 0;
        }
        let gained = tick.saturating_sub(self.filled_tick).saturating_mul(u64::from(self.rate));
        let gained = i64::try_from(gained).unwrap_or(i64::MAX);
        self.level = self.level.saturating_add(gained).min(self.burst) - i64::from(cost) * 1000;
        self.filled_tick = tick;
        let debt = u64::try_from(-self.level).unwrap_or(0);
        debt.div_ceil(u64::from(self.rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f28_a_burst_passes_and_the_rest_is_delayed_to_the_rate() {
        let mut bucket = TokenBucket::new(20, 20, 0);
        assert!((0..20).all(|_| bucket.take(1, 0) == 0));
        assert_eq!((bucket.take(1, 0), bucket.take(1, 0)), (50, 100));
        // Who waits as told is served at the rate for ever.
        let mut tick = 100;
        for _ in 0..1000 {
            let wait = bucket.take(1, tick);
            assert_eq!(wait, 50);
            tick += wait;
        }
    }

    #[test]
    fn a_dear_command_waits_longer() {
        let mut bucket = TokenBucket::new(10, 10, 0);
        assert_eq!(bucket.take(10, 0), 0);
        assert_eq!(bucket.take(5, 0), 500);
        assert_eq!(bucket.take(0, 499), 1);
        assert_eq!(bucket.take(0, 500), 0);
    }

    #[test]
    fn silence_fills_the_bucket_and_no_more() {
        let mut bucket = TokenBucket::new(1000, 3, 0);
        let waits = [0; 4].map(|_: u64| bucket.take(1, u64::MAX));
        assert_eq!(waits, [0, 0, 0, 1]);
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        let mut bucket = TokenBucket::new(0, 0, 0);
        assert_eq!(bucket.take(u32::MAX, 0), 0);
    }
}
