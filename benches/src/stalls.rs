//! How often the machine took a spinning thread's core away.

use crate::figures::Figure;
use seqcast_recovery::Nanos;

/// Above this an idle duty cycle was interrupted: it takes about a microsecond.
const SHORT: Nanos = Nanos::from_micros(10);

/// Above this it was interrupted by more than the timer tick.
const LONG: Nanos = Nanos::from_millis(1);

/// Counts the pauses between the readings of the clock of a spinning thread, where it had nothing to do between them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stalls {
    last: Nanos,
    idle: Nanos,
    short: u64,
    long: u64,
}

impl Stalls {
    /// Of no time.
    const NONE: Self = Self { last: Nanos::ZERO, idle: Nanos::ZERO, short: 0, long: 0 };

    /// Begins at `now`.
    pub(crate) const fn new(now: Nanos) -> Self {
        Self { last: now, ..Self::NONE }
    }

    /// Takes a reading of the clock; `was_idle` says whether nothing was done since the one before.
    pub(crate) fn look(&mut self, now: Nanos, was_idle: bool) {
        let passed = now - self.last;
        self.last = now;
        if was_idle {
            self.idle = self.idle + passed;
            self.short += u64::from(passed > SHORT);
            self.long += u64::from(passed > LONG);
        }
    }

    /// Those of several runs together.
    pub(crate) fn sum(runs: impl Iterator<Item = Self>) -> Self {
        runs.fold(Self::NONE, |sum, run| Self {
            idle: sum.idle + run.idle,
            short: sum.short + run.short,
            long: sum.long + run.long,
            ..sum
        })
    }

    /// The stalls for each second without work, above 10 µs and above 1 ms.
    pub(crate) fn figures(&self) -> [Figure; 2] {
        let seconds = self.idle.as_duration().as_secs_f64().max(f64::MIN_POSITIVE);
        let figure = |name, count| Figure::single(name, count as f64 / seconds, "a second");
        [
            figure("stalls above 10 us of the spinning subscriber", self.short),
            figure("stalls above 1 ms of the spinning subscriber", self.long),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_idle_pauses_are_stalls() {
        let mut stalls = Stalls::new(Nanos::ZERO);
        for (micros, was_idle) in [(1, true), (12, true), (1_500, false), (2_600, true)] {
            stalls.look(Nanos::from_micros(micros), was_idle);
        }
        assert_eq!((stalls.short, stalls.long, stalls.idle), (2, 1, Nanos::from_micros(1_112)));
    }
}
