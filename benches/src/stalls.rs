//! How often and for how long the machine took a spinning thread's core away.

use crate::figures::{Figure, Samples};
use seqcast_recovery::Nanos;
use seqcast_transport::Clock;

/// Above this two readings of the clock had something between them.
const NOTABLE: Nanos = Nanos::from_micros(1);

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
    /// Begins at `now`.
    pub(crate) const fn new(now: Nanos) -> Self {
        Self { last: now, idle: Nanos::ZERO, short: 0, long: 0 }
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

/// What a spinning thread that does nothing but read the clock sees of the machine.
#[derive(Clone, Debug)]
pub(crate) struct Pauses {
    /// Which thread it is.
    pub(crate) name: String,
    started: Nanos,
    stalls: Stalls,
    lengths: Samples,
    /// The longest of each stretch of time.
    longest: Vec<Nanos>,
}

/// The stretches of time that are told apart.
const STRETCH: Nanos = Nanos::from_millis(10);

/// No plot shows more points side by side.
const POINTS: usize = 500;

impl Pauses {
    /// None yet, from `now` on.
    pub(crate) fn new(name: String, now: Nanos) -> Self {
        Self { name, started: now, stalls: Stalls::new(now), lengths: Samples::new(), longest: Vec::new() }
    }

    /// Reads the clock, and does nothing else, until `until` is over.
    pub(crate) fn watch(&mut self, until: Nanos) {
        let mut now = Clock::now();
        self.stalls.last = now;
        self.make_room(until);
        while now < until {
            now = Clock::now();
            self.look(now);
        }
    }

    /// Makes room for what may come before `until`, so that nothing is allocated meanwhile.
    fn make_room(&mut self, until: Nanos) {
        let stretches = ((until - self.started).0 / STRETCH.0) as usize + 1;
        self.longest.resize(stretches.max(self.longest.len()), Nanos::ZERO);
    }

    fn look(&mut self, now: Nanos) {
        let passed = now - self.stalls.last;
        self.stalls.look(now, true);
        if passed > NOTABLE {
            self.lengths.record(passed);
            let stretch = ((now - self.started).0 / STRETCH.0) as usize;
            let last = self.longest.len().saturating_sub(1);
            if let Some(longest) = self.longest.get_mut(stretch.min(last)) {
                *longest = passed.max(*longest);
            }
        }
    }

    /// How long the stalls were.
    pub(crate) fn lengths(&self) -> &Samples {
        &self.lengths
    }

    /// How long they were and how often they came.
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let seconds = self.stalls.idle.as_duration().as_secs_f64().max(f64::MIN_POSITIVE);
        let Self { name, stalls, lengths, .. } = self;
        let often = |what, count: u64| Figure::single(&format!("{name}: {what}"), count as f64 / seconds, "a second");
        vec![
            lengths.figure(&format!("{name}: stalls above 1 us")),
            often("stalls above 10 us", stalls.short),
            often("stalls above 1 ms", stalls.long),
        ]
    }

    /// Seconds from the beginning and the longest stall there in microseconds, where there was one.
    pub(crate) fn points(&self) -> Vec<(f64, f64)> {
        let used = self.longest.iter().rposition(|&longest| longest > Nanos::ZERO).map_or(0, |last| last + 1);
        let each = used.div_ceil(POINTS).max(1);
        let stretches =
            self.longest[..used].chunks(each).map(|longest| longest.iter().max().map_or(0, |longest| longest.0));
        let seconds = each as f64 * STRETCH.as_duration().as_secs_f64();
        let points = (0..).zip(stretches).map(|(index, longest)| (f64::from(index) * seconds, longest as f64 / 1e3));
        points.filter(|&(_, longest)| longest > 0.0).collect()
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

    #[test]
    fn the_longest_pause_of_each_stretch_is_a_point() {
        let mut pauses = Pauses::new("core 0".to_owned(), Nanos::ZERO);
        pauses.make_room(Nanos::from_millis(30));
        for micros in [1, 3, 2_000, 2_001, 12_000, 40_000] {
            pauses.look(Nanos::from_micros(micros));
        }
        assert_eq!(pauses.points(), [(0.0, 1_997.0), (0.01, 9_999.0), (0.03, 28_000.0)]);
        assert_eq!((pauses.lengths().count(), pauses.stalls.short, pauses.stalls.long), (4, 3, 3));
    }

    #[test]
    fn watching_lasts_as_long_as_it_is_told() {
        let now = Clock::now();
        let mut pauses = Pauses::new("core 0".to_owned(), now);
        pauses.watch(now + Nanos::from_millis(5));
        assert!(pauses.stalls.idle <= Clock::now() - now && pauses.stalls.idle > Nanos::ZERO);
        assert_eq!(pauses.figures().len(), 3);
    }
}
