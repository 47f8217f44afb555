//! How far behind one can be, and how long that is at the present rate.

use crate::{Nanos, RingSpan};
use core::time::Duration;
use seqcast_protocol::SequenceNumber;

/// What a rate is taken over at the least, if there was something before: long enough for the bursts of a feed. Arbitrary.
const WINDOW: Nanos = Nanos::from_secs(1);

/// What it is taken over at the very least, so that one burst is no rate. Arbitrary.
const SHORTEST_WINDOW: Nanos = Nanos::from_millis(10);

/// How much may pass in a retained ring before something is overwritten, or how much is retained in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headroom {
    /// Messages.
    pub messages: u64,
    /// Bytes of the ring: the blocks of each packet and 8 more, rounded up to 64.
    pub bytes: u64,
    /// How long it takes to publish so many messages at the present rate: the mean of the last one to two seconds, or since
    /// the last look if that is longer ago. `None` while nothing is published, and until it has been looked at 10 ms before.
    pub time: Option<Duration>,
}

/// The rate of a session, from looks at its next number now and then: whoever wants to know it pays for it.
///
/// Invariant: `before.0 <= latest.0`, `before.1 <= latest.1`.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    before: (Nanos, SequenceNumber),
    latest: (Nanos, SequenceNumber),
}

impl Rate {
    /// Begins with a look at `now`.
    #[must_use]
    pub const fn new(now: Nanos, next: SequenceNumber) -> Self {
        Self { before: (now, next), latest: (now, next) }
    }

    /// Looks again, and says how long `span` is.
    pub fn headroom(&mut self, now: Nanos, next: SequenceNumber, span: RingSpan) -> Headroom {
        if next < self.latest.1 {
            // Another session.
            *self = Self::new(now, next);
        }
        if now - self.latest.0 >= WINDOW {
            (self.before, self.latest) = (self.latest, (now, next));
        }
        let (elapsed, published) = (now - self.before.0, next - self.before.1);
        let time = (elapsed >= SHORTEST_WINDOW && published > 0).then(|| {
            let time = u128::from(elapsed.0) * u128::from(span.messages) / u128::from(published);
            Duration::from_nanos(u64::try_from(time).unwrap_or(u64::MAX))
        });
        Headroom { messages: span.messages, bytes: span.bytes, time }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: RingSpan = RingSpan { messages: 1_000, bytes: 64_000 };

    fn time(rate: &mut Rate, millis: u64, next: u64) -> Option<Duration> {
        rate.headroom(Nanos::from_millis(millis), next, SPAN).time
    }

    #[test]
    fn the_rate_is_that_of_the_last_second_or_two() {
        let mut rate = Rate::new(Nanos::ZERO, 1);
        assert_eq!(time(&mut rate, 9, 11), None, "too short for a rate");
        // 100 messages/s.
        assert_eq!(time(&mut rate, 500, 51), Some(Duration::from_secs(10)));
        assert_eq!(time(&mut rate, 1_000, 101), Some(Duration::from_secs(10)));
        // 1,000 messages/s from here on: the second before counts until another one has passed.
        assert_eq!(time(&mut rate, 1_500, 601), Some(Duration::from_millis(2_500)));
        assert_eq!(time(&mut rate, 2_000, 1_101), Some(Duration::from_secs(1)));
        assert_eq!(time(&mut rate, 3_000, 1_101), None, "nothing for a second");
    }

    #[test]
    fn rare_looks_give_the_mean_since_the_last_one() {
        let mut rate = Rate::new(Nanos::ZERO, 1);
        assert_eq!(time(&mut rate, 60_000, 60_001), Some(Duration::from_secs(1)));
        assert_eq!(time(&mut rate, 160_000, 61_001), Some(Duration::from_secs(100)));
    }

    #[test]
    fn another_session_begins_anew() {
        let mut rate = Rate::new(Nanos::ZERO, 1_000_000);
        assert_eq!(time(&mut rate, 5_000, 1), None);
        assert_eq!(time(&mut rate, 6_000, 501), Some(Duration::from_secs(2)));
    }
}
