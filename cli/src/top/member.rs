//! What is shown of one process: its rates, from two readings, and its condition.

use super::screen::Style;
use crate::stats::{Process, Reading};
use seqcast_recovery::Nanos;
use seqcast_stats::State;

/// Behind by more than this and falling further behind, a subscriber is slow: ten times what the recovery of a gap on a host or in a
/// building takes. Arbitrary.
const SLOW_AFTER: Nanos = Nanos::from_millis(100);

/// How a process is, what is worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Condition {
    /// It is there and does not write.
    Stalled,
    /// More waits in the kernel than half of what a receive buffer holds.
    Queue,
    /// It falls further and further behind.
    Lag,
    /// Nothing is heard.
    Silent,
    /// The end of the session was delivered.
    Ended,
    /// Nothing to say.
    Live,
    /// It was killed.
    Dead,
}

impl Condition {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Stalled => "stall",
            Self::Queue => "queue",
            Self::Lag => "lag",
            Self::Silent => "quiet",
            Self::Ended => "ended",
            Self::Live => "live",
            Self::Dead => "dead",
        }
    }

    pub(super) const fn style(self) -> Style {
        match self {
            Self::Stalled | Self::Queue | Self::Lag => Style::ALARM,
            Self::Silent | Self::Ended | Self::Live => Style::PLAIN,
            Self::Dead => Style::DIM,
        }
    }
}

/// A process and what it was before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member<'a> {
    pub(super) process: &'a Process,
    before: Option<&'a Process>,
}

impl<'a> Member<'a> {
    pub(super) fn new(process: &'a Process, previous: Option<&'a Reading>) -> Self {
        Self { process, before: previous.and_then(|previous| previous.same(process)) }
    }

    pub(super) fn is_subscriber(&self) -> bool {
        self.process.snapshot.role == "subscriber"
    }

    /// A counter or gauge without labels.
    pub(super) fn value(&self, name: &str) -> Option<u64> {
        self.process.snapshot.value(name, &[])
    }

    /// A counter or gauge of a line.
    pub(super) fn of_line(&self, name: &str, line: &str) -> Option<u64> {
        self.process.snapshot.value(name, &[("line", line)])
    }

    /// All counters of a name; `None` when there is none.
    pub(super) fn sum(&self, name: &str) -> Option<u64> {
        let snapshot = &self.process.snapshot;
        snapshot.entries.iter().any(|entry| entry.name == name).then(|| snapshot.sum(name))
    }

    /// By how much all counters of a name rise, per second.
    pub(super) fn rate(&self, name: &str) -> Option<u64> {
        let (now, before) = (self.sum(name)?, &self.before?.snapshot);
        let seconds = (self.process.snapshot.read_at - before.read_at).as_duration().as_secs_f64();
        (seconds > 0.0).then(|| (now.saturating_sub(before.sum(name)) as f64 / seconds) as u64)
    }

    /// A quantile of a histogram without labels.
    pub(super) fn quantile(&self, name: &str, share: f64) -> Option<u64> {
        self.process.snapshot.histogram(name, &[])?.quantile(share)
    }

    /// Of the messages whose first copy a line brought, how many of a hundred came on line A; `None` with one line.
    pub(super) fn share_of_a(&self) -> Option<u64> {
        let [a, b] = ["a", "b"].map(|line| self.of_line("line_first", line));
        let (a, all) = (a?, a?.saturating_add(b?));
        (all > 0).then(|| (a as f64 * 100.0 / all as f64).round() as u64)
    }

    /// The fullest queue in the kernel, in percent.
    pub(super) fn queue_percent(&self) -> Option<u64> {
        let of = |line| {
            let waiting = self.of_line("line_kernel_queue_bytes", line)?;
            // The kernel reckons with its bookkeeping, and grants twice the buffer for it.
            let room = self.of_line("receive_buffer_bytes", line)?.checked_mul(2).filter(|&room| room > 0)?;
            Some((waiting as f64 * 100.0 / room as f64) as u64)
        };
        ["a", "b"].into_iter().filter_map(of).max()
    }

    fn is_falling_behind(&self) -> bool {
        let before = self.before.and_then(|before| before.snapshot.value("lag_messages", &[]));
        let is_late = self.value("lag_time").is_some_and(|time| Nanos(time) > SLOW_AFTER);
        is_late && before.is_some_and(|before| self.value("lag_messages") > Some(before))
    }

    pub(super) fn condition(&self) -> Condition {
        match self.process.snapshot.state {
            State::Dead => Condition::Dead,
            State::Stalled(_) => Condition::Stalled,
            State::Live if self.queue_percent().is_some_and(|percent| percent > 50) => Condition::Queue,
            State::Live if self.is_falling_behind() => Condition::Lag,
            State::Live if self.value("ended") == Some(1) => Condition::Ended,
            State::Live if self.value("heard") == Some(0) => Condition::Silent,
            State::Live => Condition::Live,
        }
    }
}

/// A number in at most five characters: `12345` is `12.3k`.
pub(super) fn short(number: u64) -> String {
    let (divisor, unit) = match number {
        0..10_000 => return number.to_string(),
        10_000..1_000_000 => (1e3, "k"),
        1_000_000..1_000_000_000 => (1e6, "M"),
        1_000_000_000..1_000_000_000_000 => (1e9, "G"),
        1_000_000_000_000..1_000_000_000_000_000 => (1e12, "T"),
        _ => (1e15, "P"),
    };
    format!("{}{unit}", three_digits(number as f64 / divisor))
}

/// A time in at most five characters: `367µs`, `1.7ms`, `12s`, `17min`.
pub(super) fn short_time(time: u64) -> String {
    let (divisor, unit) = match time {
        0 => return "0".to_owned(),
        1..1_000 => (1.0, "ns"),
        1_000..1_000_000 => (1e3, "µs"),
        1_000_000..1_000_000_000 => (1e6, "ms"),
        1_000_000_000..600_000_000_000 => (1e9, "s"),
        600_000_000_000..6_000_000_000_000 => (60e9, "m"),
        6_000_000_000_000..360_000_000_000_000 => (3_600e9, "h"),
        _ => return ">99h".to_owned(),
    };
    let value = time as f64 / divisor;
    let digits = if value < 9.95 && divisor > 1.0 { format!("{value:.1}") } else { format!("{}", value as u64) };
    format!("{digits}{unit}")
}

/// `1.23`, `12.3`, `123`; cut, not rounded up to four digits.
fn three_digits(value: f64) -> String {
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    let step = 10f64.powi(decimals as i32);
    format!("{:.decimals$}", (value * step).floor() / step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_and_time_fits_into_its_column() {
        let numbers = [0, 9_999, 10_000, 99_999, 999_999, 1_234_567, 999_999_999, 12_345_678_901];
        assert_eq!(numbers.map(short), ["0", "9999", "10.0k", "99.9k", "999k", "1.23M", "999M", "12.3G"]);
        let times = [0, 999, 1_700, 9_960, 367_900, 1_000_000, 12_345_678_901, 5_999_999_999_999, 7_200_000_000_000];
        assert_eq!(times.map(short_time), ["0", "999ns", "1.7µs", "9µs", "367µs", "1.0ms", "12s", "99m", "2.0h"]);
        for power in 0..64 {
            for number in [(1u64 << power) - 1, 1 << power, 10u64.saturating_pow(power).saturating_sub(1)] {
                assert!(short_time(number).chars().count() <= 5, "{}", short_time(number));
                assert!(number > 999_000_000_000_000_000 || short(number).len() <= 5, "{}", short(number));
            }
        }
    }
}
