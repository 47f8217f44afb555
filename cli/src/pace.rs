//! When each message is due: as fast as it goes, so many a second, or as it was recorded.

use seqcast_recovery::Nanos;
use seqcast_transport::{Clock, wait_readable};
use std::fmt;
use std::str::FromStr;

/// The pace of a publisher.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As fast as it goes; overruns any reader.
    Max,
    /// So many messages per second, evenly spaced.
    PerSecond(f64),
    /// At the distances of the recorded times, divided by this factor.
    Recorded(f64),
}

/// The fastest pace that can be named: one message per nanosecond.
const FASTEST: f64 = 1e9;

impl FromStr for Pace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let positive = |number: &str| number.parse().ok().filter(|&value: &f64| value > 0.0 && value <= FASTEST);
        let pace = match text {
            "max" => Some(Self::Max),
            "recorded" => Some(Self::Recorded(1.0)),
            _ => match (text.strip_suffix("/s"), text.strip_prefix("recorded*")) {
                (Some(rate), _) => positive(rate).map(Self::PerSecond),
                (_, Some(factor)) => positive(factor).map(Self::Recorded),
                _ => None,
            },
        };
        pace.ok_or_else(|| format!("'{text}' is not a pace: max, N/s such as 100000/s, recorded, or recorded*X"))
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Max => f.write_str("max"),
            Self::PerSecond(rate) => write!(f, "{rate}/s"),
            Self::Recorded(factor) if *factor == 1.0 => f.write_str("recorded"),
            Self::Recorded(factor) => write!(f, "recorded*{factor}"),
        }
    }
}

/// Says when each message is due.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    pace: Pace,
    start: Nanos,
    index: u64,
    first_time: Option<Nanos>,
}

impl Schedule {
    /// Begins at `start`.
    #[must_use]
    pub const fn new(pace: Pace, start: Nanos) -> Self {
        Self { pace, start, index: 0, first_time: None }
    }

    /// When the next message is due; `time` is when it was recorded, and a message without a time is due with the one
    /// before it.
    pub fn next_due(&mut self, time: Option<Nanos>) -> Nanos {
        let index = self.index;
        self.index += 1;
        match self.pace {
            Pace::Max => Nanos::ZERO,
            Pace::PerSecond(rate) => self.start + Nanos((index as f64 * 1e9 / rate) as u64),
            Pace::Recorded(factor) => {
                let Some(time) = time else { return Nanos::ZERO };
                let first = *self.first_time.get_or_insert(time);
                self.start + Nanos(((time - first).0 as f64 / factor) as u64)
            }
        }
    }
}

/// Waits until `due`, or until `go_on` returns false; returns the time by then.
///
/// Spinning hits the time within a microsecond and takes a core; sleeping is late by the timer slack of the thread, 50 µs
/// unless set otherwise, so that messages that are closer together leave in bursts, each a packet.
pub fn wait_until(due: Nanos, spins: bool, mut go_on: impl FnMut() -> bool) -> Nanos {
    /// How long to sleep before `go_on` is asked again.
    const NAP: Nanos = Nanos::from_millis(50);
    loop {
        let now = Clock::now();
        if now >= due || !go_on() {
            return now;
        }
        if spins {
            std::hint::spin_loop();
        } else if wait_readable(&[], Some((due - now).min(NAP))).is_err() {
            // Without a working sleep there is still time.
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paces_are_read_as_they_are_written() {
        for text in ["max", "100000/s", "0.5/s", "recorded", "recorded*20", "recorded*0.5"] {
            assert_eq!(text.parse::<Pace>().unwrap().to_string(), text);
        }
        for wrong in ["", "fast", "100000", "0/s", "-1/s", "NaN/s", "inf/s", "recorded*0", "recorded*", "2e9/s"] {
            assert!(wrong.parse::<Pace>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn messages_are_due_evenly_or_as_recorded() {
        let mut even = Schedule::new(Pace::PerSecond(1_000.0), Nanos(5));
        assert_eq!([even.next_due(None), even.next_due(None)], [Nanos(5), Nanos(1_000_005)]);
        let mut recorded = Schedule::new(Pace::Recorded(2.0), Nanos(5));
        assert_eq!(recorded.next_due(Some(Nanos(1_000))), Nanos(5));
        assert_eq!(recorded.next_due(Some(Nanos(3_000))), Nanos(1_005));
        assert_eq!(recorded.next_due(Some(Nanos(900))), Nanos(5), "time went back");
    }
}
