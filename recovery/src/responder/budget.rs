//! How many bytes may leave: a token bucket in whole numbers, so that nothing is ever rounded away.

use crate::Nanos;

/// Bytes a second on the average, and bytes at once.
///
/// In any time `t` no more than `burst_bytes + bytes_per_s * t` leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// The average, in bytes a second.
    pub bytes_per_s: u64,
    /// What may leave at once after a pause, in bytes; less than the longest packet counts as that.
    pub burst_bytes: u64,
}

const NANOS_PER_S: u128 = 1_000_000_000;

/// What is left of a budget.
///
/// Invariant: `level <= burst_bytes * 10^9`. In these billionths of a byte a rate of bytes a second refills a whole number
/// each nanosecond; the largest rate, time and burst give sums below 2^128.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    budget: Budget,
    level: u128,
    refilled_at: Nanos,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(budget: Budget) -> Self {
        Self { budget, level: u128::from(budget.burst_bytes) * NANOS_PER_S, refilled_at: Nanos::ZERO }
    }

    /// Whether `bytes` may leave now.
    pub(super) fn covers(&mut self, now: Nanos, bytes: usize) -> bool {
        let refill = u128::from(self.budget.bytes_per_s) * u128::from((now - self.refilled_at).0);
        self.level = self.level.saturating_add(refill).min(u128::from(self.budget.burst_bytes) * NANOS_PER_S);
        self.refilled_at = self.refilled_at.max(now);
        self.level >= bytes as u128 * NANOS_PER_S
    }

    /// Takes `bytes`, no more than are covered.
    pub(super) fn charge(&mut self, bytes: usize) {
        self.level -= bytes as u128 * NANOS_PER_S;
    }

    /// When `bytes`, no more than the burst, will be covered if nothing is taken before.
    pub(super) fn covered_at(&self, bytes: usize) -> Nanos {
        let missing = (bytes as u128 * NANOS_PER_S).saturating_sub(self.level);
        let wait = missing.div_ceil(u128::from(self.budget.bytes_per_s).max(1));
        self.refilled_at + Nanos(u64::try_from(wait).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;
    use alloc::vec::Vec;

    /// The promise itself: each interval that ends now has room for `bytes` more.
    fn has_room(budget: Budget, taken: &[(Nanos, usize)], now: Nanos, bytes: usize) -> bool {
        let mut sum = bytes as u128;
        let is_within = |since: Nanos, sum: u128| {
            let refill = u128::from(budget.bytes_per_s) * u128::from((now - since).0);
            sum * NANOS_PER_S <= u128::from(budget.burst_bytes) * NANOS_PER_S + refill
        };
        is_within(now, sum)
            && taken.iter().rev().all(|&(at, bytes)| {
                sum += bytes as u128;
                is_within(at, sum)
            })
    }

    #[test]
    fn it_covers_just_what_no_interval_forbids() {
        for seed in 0..40 {
            let mut random = Random::new(seed);
            let budget = Budget {
                bytes_per_s: [1, 7, 999_999_937, 10_000_000, 125_000_000][random.below(5) as usize],
                burst_bytes: 1_472 + random.below(10_000),
            };
            // Half of what is taken on the average.
            let pause = 746 * 1_000_000_000 / budget.bytes_per_s;
            let mut bucket = Bucket::new(budget);
            let (mut now, mut taken) = (Nanos(random.below(1_000)), Vec::new());
            for _ in 0..400 {
                now = now + Nanos(random.below(pause + 2));
                let covers = bucket.covers(now, 1_472);
                assert_eq!(covers, has_room(budget, &taken, now, 1_472), "{budget:?} {now:?}");
                if covers {
                    let bytes = 20 + random.below(1_453) as usize;
                    bucket.charge(bytes);
                    taken.push((now, bytes));
                }
            }
            assert!((100..300).contains(&taken.len()), "{budget:?}: {} of 400", taken.len());
        }
    }

    #[test]
    fn it_covers_from_the_very_nanosecond_that_it_names() {
        let mut bucket = Bucket::new(Budget { bytes_per_s: 999_999_937, burst_bytes: 1_472 });
        let mut now = Nanos(5);
        for _ in 0..1_000 {
            assert!(bucket.covers(now, 1_472));
            bucket.charge(1_001);
            let at = bucket.covered_at(1_472);
            assert!(!bucket.covers(at - Nanos(1), 1_472));
            now = at;
        }
    }

    #[test]
    fn the_largest_and_the_smallest_numbers_do_no_harm() {
        let mut bucket = Bucket::new(Budget { bytes_per_s: u64::MAX, burst_bytes: u64::MAX });
        assert!(bucket.covers(Nanos::ZERO, usize::MAX));
        bucket.charge(usize::MAX);
        assert!(!bucket.covers(Nanos::ZERO, 1) && bucket.covers(Nanos::MAX, usize::MAX));
        let mut bucket = Bucket::new(Budget { bytes_per_s: 0, burst_bytes: 100 });
        assert!(bucket.covers(Nanos::MAX, 100));
        bucket.charge(100);
        assert_eq!((bucket.covers(Nanos::MAX, 1), bucket.covered_at(1)), (false, Nanos::MAX));
    }
}
