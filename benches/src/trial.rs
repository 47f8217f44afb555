//! Runs of one load by one system: unpaced, at a pace, under loss; and the search for the highest pace.

use crate::messages::Messages;
use crate::stage::Common;
use crate::stream::{Load, Streamed};
use crate::subject::Subject;
use crate::system::Setup;
use seqcast_recovery::Nanos;

/// The most bytes of an unpaced run, because all of them are retained.
const UNPACED_BYTES: f64 = (1u64 << 30) as f64;

/// What a message takes in a ring besides its bytes, at the most, a packet's share included.
const OVERHEAD_BYTES: f64 = 8.0;

/// A ring has an eighth less than its size right behind a step.
const RING_SHARE: f64 = 7.0 / 8.0;

/// The bisection ends when its bounds are this close.
const RESOLUTION: f64 = 1.05;

/// A pace counts only if at least this share of it was reached.
const ACHIEVED: f64 = 0.98;

/// How often a pace is tried before it counts as too high.
const ATTEMPTS: usize = 3;

/// The bisection begins between the rate of the unpaced sender, and what the machine's speed may add, and this share of it.
const SEARCHED: (f64, f64) = (1.3, 1.0 / 32.0);

/// A search by bisection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Search {
    /// The highest pace that was clean, once there is one.
    pub(crate) low: f64,
    high: f64,
    /// What was reached at that pace.
    pub(crate) best: Option<f64>,
}

impl Search {
    /// Begins with what an unpaced sender reached.
    pub(crate) fn around(per_second: f64) -> Self {
        Self { low: per_second * SEARCHED.1, high: per_second * SEARCHED.0, best: None }
    }

    /// Whether it is not over.
    pub(crate) fn goes_on(&self) -> bool {
        self.high / self.low > RESOLUTION
    }

    /// Tries the next pace; `reach` says what was reached at a pace, if it was clean.
    pub(crate) fn step(&mut self, mut reach: impl FnMut(f64) -> Result<Option<f64>, String>) -> Result<(), String> {
        let pace = (self.low * self.high).sqrt();
        match reach(pace)? {
            Some(reached) => (self.low, self.best) = (pace, Some(reached)),
            None => self.high = pace,
        }
        Ok(())
    }
}

/// Runs of one kind of load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trial<'a> {
    pub(crate) common: &'a Common,
    pub(crate) setup: Setup,
    pub(crate) messages: &'a Messages,
    /// The most messages of an unpaced run.
    pub(crate) most: u64,
    /// How long a run at a pace lasts.
    pub(crate) time: Nanos,
}

impl Trial<'_> {
    fn message_bytes(&self) -> f64 {
        self.messages.mean_bytes() + OVERHEAD_BYTES
    }

    /// How many messages an unpaced run has.
    pub(crate) fn unpaced_count(&self) -> usize {
        (self.most as f64).min(UNPACED_BYTES / self.message_bytes()) as usize
    }

    fn run(&self, subject: &Subject, setup: Setup, count: usize, per_second: Option<f64>) -> Result<Streamed, String> {
        let load = Load {
            common: self.common,
            setup,
            messages: self.messages,
            count,
            warm_up: 0,
            per_second,
            receivers: 1,
            threads: 1,
            keeps_times: false,
        };
        subject.stream(&load)
    }

    /// A setup in which so many messages are retained: who falls behind can still ask.
    fn retaining(&self, count: usize) -> Setup {
        let retain_bytes = (count as f64 * self.message_bytes() / RING_SHARE) as usize;
        Setup { retain_bytes: retain_bytes.max(self.setup.retain_bytes), ..self.setup }
    }

    /// A tenth of an unpaced run, which shows nothing.
    pub(crate) fn warm_up(&self, subject: &Subject) -> Result<(), String> {
        let count = self.unpaced_count().div_ceil(10);
        self.run(subject, self.retaining(count), count, None).map(|_| ())
    }

    /// Everything as fast as it goes; all of it is retained.
    pub(crate) fn unpaced(&self, subject: &Subject) -> Result<Streamed, String> {
        let count = self.unpaced_count();
        let run = self.run(subject, self.retaining(count), count, None)?;
        if run.lost > 0 && subject.repairs_loss() {
            return Err(format!("{}, unpaced: {} messages lost", subject.name(), run.lost));
        }
        Ok(run)
    }

    fn paced_count(&self, pace: f64) -> usize {
        (pace * self.time.as_duration().as_secs_f64()).ceil() as usize
    }

    /// What was reached at a pace, if nothing was asked for or lost.
    pub(crate) fn reaches(&self, subject: &Subject, pace: f64) -> Result<Option<f64>, String> {
        let count = self.paced_count(pace);
        for _ in 0..ATTEMPTS {
            let run = self.run(subject, self.setup, count, Some(pace))?;
            let reached = count as f64 / run.published_in.as_duration().as_secs_f64();
            if run.is_clean() && reached >= ACHIEVED * pace {
                return Ok(Some(reached));
            }
        }
        Ok(None)
    }

    /// A run that must be complete, all of which is retained, and its rate.
    pub(crate) fn complete(
        &self,
        subject: &Subject,
        pace: f64,
        loss: f64,
        seed: u64,
    ) -> Result<(Streamed, f64), String> {
        let count = self.paced_count(pace);
        let run = self.run(subject, Setup { loss, seed, ..self.retaining(count) }, count, Some(pace))?;
        if run.lost > 0 {
            return Err(format!("{}: {} messages lost", subject.name(), run.lost));
        }
        let rate = count as f64 / run.delivered_in.as_duration().as_secs_f64();
        Ok((run, rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_ends_at_the_highest_pace_that_is_reached() {
        let mut search = Search { low: 1e5, high: 1e8, best: None };
        while search.goes_on() {
            search.step(|pace| Ok((pace <= 3e6).then_some(pace * 0.99))).unwrap();
        }
        let best = search.best.unwrap();
        assert!((3e6 / RESOLUTION * 0.99..=3e6).contains(&best), "{best}");
        let mut search = Search { low: 1e5, high: 1e8, best: None };
        while search.goes_on() {
            search.step(|_| Ok(None)).unwrap();
        }
        assert_eq!(search.best, None);
    }
}
