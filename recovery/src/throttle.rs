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
    held: u64,
}

impl Throttle {
    /// Lets `per_second` through.
    #[must_use]
    pub const fn new(per_second: u32) -> Self {
        Self { per_second, since: Nanos::ZERO, passed: 0, held: 0 }
    }

    /// Whether this one passes; otherwise it is counted.
    pub fn admits(&mut self, now: Nanos) -> bool {
        if now - self.since >= SECOND {
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

    /// How many were held back since the last call, once their second is over; 0 before.
    pub fn take_held(&mut self, now: Nanos) -> u64 {
        if now - self.since < SECOND { 0 } else { core::mem::take(&mut self.held) }
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
        assert!(throttle.admits(at(1_000)));
        assert_eq!(throttle.take_held(at(1_999)), 0, "of the second that has begun, too");
        assert_eq!([throttle.take_held(at(2_000)), throttle.take_held(at(2_000))], [2, 0]);
    }
}
