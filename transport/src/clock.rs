//! The one place where time enters.

use std::time::{SystemTime, UNIX_EPOCH};

use seqcast_recovery::Nanos;

use crate::sys;

/// The machine's clocks; read once per duty cycle and handed to the state machines.
#[derive(Clone, Copy, Debug)]
pub struct Clock;

impl Clock {
    /// Reads the monotonic clock: nanoseconds since the machine started, never going back, the same for every thread
    /// and every process of the host.
    #[must_use]
    pub fn now() -> Nanos {
        sys::monotonic_now()
    }

    /// Reads the calendar clock: microseconds since 1970-01-01 00:00 UTC, 0 before. It may jump, so nothing is timed
    /// by it; it names sessions.
    #[must_use]
    pub fn unix_micros() -> u64 {
        Self::unix_nanos().0 / 1_000
    }

    /// As [`Self::unix_micros`], in nanoseconds: what the times at which the kernel took datagrams in are compared with.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the calendar clock enters here and nowhere else")]
    pub fn unix_nanos() -> Nanos {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_clock_never_goes_back_across_threads() {
        let before = Clock::now();
        let between = std::thread::spawn(Clock::now).join().unwrap();
        let after = Clock::now();
        assert!(Nanos::ZERO < before && before <= between && between <= after);
    }

    #[test]
    fn calendar_clock_is_in_microseconds() {
        let start_of_2024 = 1_704_067_200_000_000;
        let start_of_2200 = 7_258_118_400_000_000;
        assert!((start_of_2024..start_of_2200).contains(&Clock::unix_micros()));
    }
}
