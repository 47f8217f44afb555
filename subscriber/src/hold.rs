//! How requests are kept apart, so that they leave together when there are many.

use seqcast_recovery::{MAX_RUN_PACKETS, Nanos};

/// The longest distance: so much longer a gap may take that comes soon behind others. On two cores that are all busy, 0.78 of the
/// highest pace was delivered under 1 % loss with 100 µs, 0.85 with 200 and no more with 400 (`seqcast-bench throughput`).
const LONGEST: Nanos = Nanos::from_micros(200);

/// When requests may leave.
///
/// Each that leaves alone takes a system call on either side, and wakes who answers, for some 10 µs. So behind any, none leaves for
/// a round trip; and that distance doubles, up to the longest, as long as several were found missing meanwhile. A gap that comes
/// alone is asked for at once, and thirty of a millisecond in a few datagrams' time. Where as many are to be asked for as leave with
/// one system call or may be in flight, the distance is a round trip again: they are together anyway.
///
/// It also lets the thread that answers sleep for as long as it was awake. On a core on which another one spins, Linux' scheduler
/// (EEVDF) lets it in at once only if it did, and else at its next tick, up to 4 ms later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hold {
    /// So many requests leave together anyway.
    most: usize,
    distance: Nanos,
    until: Nanos,
    /// Whether something may wait for that.
    has_refused: bool,
}

impl Hold {
    /// Of a subscriber that may have so many requests in flight.
    pub(crate) fn new(in_flight: usize) -> Self {
        let most = in_flight.clamp(1, MAX_RUN_PACKETS);
        Self { most, distance: Nanos::ZERO, until: Nanos::ZERO, has_refused: false }
    }

    /// Holds nothing until requests leave again.
    pub(crate) fn start_over(&mut self) {
        (self.distance, self.until, self.has_refused) = (Nanos::ZERO, Nanos::ZERO, false);
    }

    /// Whether requests may leave now.
    pub(crate) fn lets_pass(&mut self, now: Nanos) -> bool {
        self.has_refused = now < self.until;
        !self.has_refused
    }

    /// Notes that so many requests have left.
    pub(crate) fn note(&mut self, now: Nanos, requests: usize, round_trip: Nanos) {
        let longer = if (2..self.most).contains(&requests) { Nanos(2 * self.distance.0) } else { Nanos::ZERO };
        self.distance = longer.max(round_trip).min(LONGEST);
        self.until = now + self.distance;
    }

    /// When to look again for what may wait.
    pub(crate) fn due(&self) -> Option<Nanos> {
        self.has_refused.then_some(self.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIP: Nanos = Nanos::from_micros(30);

    #[test]
    fn what_comes_alone_is_held_for_no_longer_than_a_round_trip() {
        let mut hold = Hold::new(256);
        assert!(hold.lets_pass(Nanos::ZERO));
        for start in [0, 1_000_000, 1_030_000] {
            hold.note(Nanos(start), 1, TRIP);
            assert_eq!(hold.due(), None, "nothing waits");
            assert!(!hold.lets_pass(Nanos(start + TRIP.0 - 1)));
            assert_eq!(hold.due(), Some(Nanos(start) + TRIP));
            assert!(hold.lets_pass(Nanos(start) + TRIP) && hold.due().is_none());
        }
        hold.note(Nanos::ZERO, 1, Nanos::from_secs(1));
        assert!(hold.lets_pass(LONGEST));
    }

    #[test]
    fn the_more_come_the_longer_they_are_held_until_they_are_together_anyway() {
        let mut hold = Hold::new(256);
        let mut now = Nanos::ZERO;
        let mut distance = |requests| {
            hold.note(now, requests, TRIP);
            assert!(!hold.lets_pass(now));
            let distance = hold.due().unwrap() - now;
            now = now + distance;
            distance.0 / 1_000
        };
        assert_eq!([2, 2, 9, 63, 2].map(&mut distance), [30, 60, 120, 200, 200]);
        assert_eq!([64, 2, 1, 2].map(distance), [30, 60, 30, 60]);
    }

    #[test]
    fn where_few_may_be_in_flight_as_many_are_together_anyway() {
        let mut hold = Hold::new(32);
        for (requests, distance) in [(2, 30), (31, 60), (32, 30), (32, 30)] {
            hold.note(Nanos::ZERO, requests, TRIP);
            assert!(!hold.lets_pass(Nanos::ZERO));
            assert_eq!(hold.due(), Some(Nanos::from_micros(distance)));
        }
        hold.start_over();
        assert!(hold.due().is_none() && hold.lets_pass(Nanos::ZERO));
    }
}
