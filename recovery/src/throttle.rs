//! Lets a bounded number of things through in each second and counts the others: for logs, which are read more slowly than
//! networks lose and refuse.

use crate::Nanos;

const SECOND: Nanos = Nanos::from_secs(1);

/// Bounds how often something is told.
///
/// Invariant: `passed <= per_second`.
#[derive(Clone, Copy, Debug)]
pub struct Throttle {
    per_second: u32,
    /// When the second that is counted began.
    since: Nanos,
    passed: u32,
    /// Held back in that second, and in those before it.
    held: u64,
    untold: u64,
}

impl Throttle {
    /// Lets `per_second` through.
    #[must_use]
    pub const fn new(per_second: u32) -> Self {
        Self { per_second, since: Nanos::ZERO, passed: 0, held: 0, untold: 0 }
    }

    /// Whether this one passes; otherwise it is counted.
    pub fn admits(&mut self, now: Nanos) -> bool {
        if now - self.since >= SECOND {
            self.untold += core::mem::take(&mut self.held);
            (self.since, self.passed) = (now, 0);
        }
        let passes = self.passed < self.per_second;
        if passes {
            self.passed += 1;
        } else {
            self.held += 1;
        }
        passes
    }

    /// How many were held back since the last call, in seconds that are over.
    pub fn take_held(&mut self, now: Nanos) -> u64 {
        if now - self.since >= SECOND {
            self.untold += core::mem::take(&mut self.held);
        }
        core::mem::take(&mut self.untold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_for_a_second_is_counted_and_told_when_it_is_over() {
        let mut throttle = Throttle::new(2);
        let at = |ms| Nanos::from_secs(5) + Nanos::from_millis(ms);
        assert_eq!([0, 1, 2, 999].map(|ms| throttle.admits(at(ms))), [true, true, false, false]);
        assert_eq!(throttle.take_held(at(999)), 0);
        assert_eq!([1_000, 1_001, 1_002].map(|ms| throttle.admits(at(ms))), [true, true, false]);
        assert_eq!(
            [throttle.take_held(at(1_003)), throttle.take_held(at(1_999))],
            [2, 0],
            "also when more follow at once"
        );
        assert_eq!([throttle.take_held(at(2_000)), throttle.take_held(at(2_000))], [1, 0]);
    }
}
