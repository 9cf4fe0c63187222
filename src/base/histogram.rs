//! How long something takes, counted in fixed steps, by any thread.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Upper bounds of the steps in microseconds; what takes longer is counted behind the last one.
/// From a turn of an idle loop to a statement that somebody else's transaction holds up.
pub const BOUNDS_US: [u64; 18] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000,
];

/// Upper bounds for what is a number of things and no time: sizes of batches and the like.
pub const BOUNDS_COUNT: [u64; 18] =
    [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128, 256, 512, 1_024, 4_096, 16_384];

/// Counts per step. Writing is two additions without a lock, so that a worker never waits for
/// whoever reads, who may find one observation in the sum and not yet in the steps.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64; 18],
    steps: [AtomicU64; 19],
    sum: AtomicU64,
}

/// What a [`Histogram`] had counted when it was looked at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Snapshot {
    /// Upper bound of each step but the last, which has none.
    pub bounds: &'static [u64; 18],
    /// Observations in each step, not added up.
    pub steps: [u64; 19],
    /// Sum of all observations.
    pub sum: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::of_times()
    }
}

impl Histogram {
    /// For times; the unit is a microsecond.
    pub fn of_times() -> Self {
        Self::with_bounds(&BOUNDS_US)
    }

    /// For numbers of things.
    pub fn of_counts() -> Self {
        Self::with_bounds(&BOUNDS_COUNT)
    }

    fn with_bounds(bounds: &'static [u64; 18]) -> Self {
        Self { bounds, steps: Default::default(), sum: AtomicU64::new(0) }
    }

    /// Counts one observation.
    #[inline]
    pub fn observe(&self, value: u64) {
        let step = self.bounds.partition_point(|bound| *bound < value);
        self.steps[step].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Counts a time.
    #[inline]
    pub fn observe_time(&self, time: Duration) {
        self.observe(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// What was counted so far.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            bounds: self.bounds,
            steps: std::array::from_fn(|at| self.steps[at].load(Ordering::Relaxed)),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

impl Snapshot {
    /// How many observations there were.
    pub fn count(&self) -> u64 {
        self.steps.iter().sum()
    }
}

/// Measures on a worker. The loop has the clock of its turns.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins.
    #[expect(clippy::disallowed_methods, reason = "workers have no loop that reads the clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// How long it is since the start.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_counts_in_the_first_step_that_is_large_enough() {
        let histogram = Histogram::of_times();
        for value in [0, 50, 51, 30_000_000, 30_000_001, u64::from(u32::MAX)] {
            histogram.observe(value);
        }
        let seen = histogram.snapshot();
        assert_eq!((seen.steps[0], seen.steps[1], seen.steps[17], seen.steps[18]), (2, 1, 1, 2));
        assert_eq!(seen.count(), 6);
        assert_eq!(seen.sum, 50 + 51 + 30_000_000 + 30_000_001 + u64::from(u32::MAX));
    }

    #[test]
    fn bounds_rise() {
        assert!(BOUNDS_US.is_sorted_by(|a, b| a < b) && BOUNDS_COUNT.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn nothing_is_lost_when_several_threads_count() {
        let histogram = Histogram::of_counts();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|value| histogram.observe(value % 70)));
            }
        });
        assert_eq!(histogram.snapshot().count(), 40_000);
    }
}
