//! One publisher and one subscriber on loopback at a pace, with default settings, every message checked; and the highest
//! pace at which no request is needed.

use crate::figures::Figure;
use crate::messages::Messages;
use crate::reception::Reception;
use crate::stage::{Common, Gate, Stage, parse_rate, run_pair, words};
use crate::stalls::Stalls;
use seqcast::pace::{Pace, Schedule, wait_until};
use seqcast_publisher::{Publisher, PublisherCounters};
use seqcast_recovery::Nanos;
use seqcast_subscriber::{ImpairmentConfig, SubscriberCounters};
use seqcast_transport::Clock;
use std::sync::atomic::{AtomicBool, Ordering};

/// A run that takes longer than its schedule and this has hung; what is given up takes 10 s.
const PATIENCE: Nanos = Nanos::from_secs(30);

/// What is transferred, and by which threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load<'m> {
    pub(crate) common: Common,
    pub(crate) messages: &'m Messages,
    pub(crate) count: usize,
}

/// What one run showed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// From the first message published until the last delivered.
    pub(crate) elapsed: Nanos,
    /// From the first message published until the last one was handed to the kernel.
    pub(crate) published_in: Nanos,
    pub(crate) publisher: PublisherCounters,
    pub(crate) subscriber: SubscriberCounters,
    pub(crate) stalls: Stalls,
}

impl Run {
    /// Whether everything came by the line.
    pub(crate) fn is_clean(&self) -> bool {
        let counters = self.subscriber.subscription;
        counters.requests == 0 && counters.lost == 0
    }
}

impl Load<'_> {
    /// Publishes all messages `per_second`, and delivers and compares them.
    ///
    /// # Errors
    ///
    /// Any violation: a message altered, out of order, or neither delivered nor told to be lost.
    pub(crate) fn run(&self, per_second: f64, impairment: Option<ImpairmentConfig>) -> Result<Run, String> {
        let stage = Stage::new()?;
        let publisher = stage.publisher().open().map_err(words)?;
        let subscriber = stage.subscriber(stage.line(), &publisher)?;
        let subscriber = match impairment {
            Some(impairment) => subscriber.impair(impairment),
            None => subscriber,
        };
        let reception = Reception::new(subscriber.open().map_err(words)?, self.messages);
        let gate = Gate::new(Nanos((self.count as f64 * 1e9 / per_second) as u64) + PATIENCE);
        let is_delivered = AtomicBool::new(false);
        let results = run_pair(
            &self.common,
            &gate,
            || self.publish(publisher, per_second, &gate, &is_delivered),
            || receive(reception, self.count, &gate, &is_delivered),
        );
        let ((started, published, publisher), (delivered, subscriber, stalls)) = gate.finish(results)?;
        Ok(Run { elapsed: delivered - started, published_in: published - started, publisher, subscriber, stalls })
    }

    /// Returns when the first message left and when the last one had.
    fn publish(
        &self,
        mut publisher: Publisher,
        per_second: f64,
        gate: &Gate,
        is_delivered: &AtomicBool,
    ) -> Result<(Nanos, Nanos, PublisherCounters), String> {
        let started = Clock::now();
        let mut schedule = Schedule::new(Pace::PerSecond(per_second), started);
        let mut now = started;
        for index in 0..self.count {
            let due = schedule.next_due(None);
            if due > now {
                now = Clock::now();
                if due > now {
                    let _ = publisher.flush().map_err(words)?;
                    now = wait_until(due, true, || true);
                    gate.check(now)?;
                }
            }
            publisher.publish(self.messages.get(index)).map_err(words)?;
        }
        let _ = publisher.flush().map_err(words)?;
        let published = Clock::now();
        let go_on = || !is_delivered.load(Ordering::Relaxed) && gate.check(Clock::now()).is_ok();
        let closed = publisher.close_while(go_on).map_err(words)?;
        Ok((started, published, closed.counters))
    }
}

/// Returns when the last message was delivered.
fn receive(
    mut reception: Reception<'_>,
    count: usize,
    gate: &Gate,
    is_delivered: &AtomicBool,
) -> Result<(Nanos, SubscriberCounters, Stalls), String> {
    let mut now = Clock::now();
    let (mut last_delivery, mut work) = (now, 0);
    let mut stalls = Stalls::new(now);
    while !reception.check().has_ended() {
        now = Clock::now();
        gate.check(now)?;
        stalls.look(now, work == 0);
        let before = reception.check().accounted();
        work = reception.poll(now, |_| {})?;
        if reception.check().accounted() != before {
            last_delivery = Clock::now();
        }
    }
    is_delivered.store(true, Ordering::Relaxed);
    match reception.check().accounted() {
        accounted if accounted == count => Ok((last_delivery, reception.subscriber().counters(), stalls)),
        accounted => Err(format!("{accounted} of {count} messages delivered or told lost")),
    }
}

/// The bisection ends when its bounds are this close.
const RESOLUTION: f64 = 1.05;

/// A pace counts only if at least this share of it was reached.
const ACHIEVED: f64 = 0.98;

/// How often a pace is tried before it counts as too high: one stall of the machine should not decide.
const ATTEMPTS: usize = 3;

/// Where the highest pace is searched for, in messages/s.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Bounds {
    /// The lowest pace tried, messages/s
    #[arg(long, value_name = "N", default_value = "100000", value_parser = parse_rate)]
    lowest: f64,
    /// The highest pace tried, messages/s
    #[arg(long, value_name = "N", default_value = "20000000", value_parser = parse_rate)]
    highest: f64,
}

impl Bounds {
    /// Finds by bisection the highest pace at which not one request is needed; returns what was reached, and that run.
    pub(crate) fn highest_clean_pace(&self, load: &Load<'_>) -> Result<(f64, Run), String> {
        let (mut low, mut high) = (self.lowest, self.highest);
        let mut best = None;
        while high / low > RESOLUTION {
            let pace = (low * high).sqrt();
            let reached = first_clean(pace, || {
                let run = load.run(pace, None)?;
                Ok((load.count as f64 / run.published_in.as_duration().as_secs_f64(), run))
            })?;
            match reached {
                Some(reached) => (low, best) = (pace, Some(reached)),
                None => high = pace,
            }
        }
        best.ok_or_else(|| format!("no pace from {}/s on is without a request", self.lowest))
    }
}

fn first_clean(
    pace: f64,
    mut attempt: impl FnMut() -> Result<(f64, Run), String>,
) -> Result<Option<(f64, Run)>, String> {
    for _ in 0..ATTEMPTS {
        let (reached, run) = attempt()?;
        if run.is_clean() && reached >= ACHIEVED * pace {
            return Ok(Some((reached, run)));
        }
    }
    Ok(None)
}

/// Messages per second, in millions.
pub(crate) fn millions(name: &str, per_second: f64) -> Figure {
    Figure::single(name, per_second / 1e6, "million messages/s")
}
