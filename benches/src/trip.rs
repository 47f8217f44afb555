//! Round trips, with the systems in turn: a few hundred of one, then of the next, so that what the machine's speed does in
//! between hits all alike.
//!
//! Two threads, each pinned: one asks, one answers with the bytes that came. Both hold every message against what was sent.
//! Between the turns, both watch for as long as a turn takes what the machine itself does.

use crate::figures::{Samples, median_lowest_highest};
use crate::messages::{Check, Messages};
use crate::stage::{Common, Gate, run_pair};
use crate::stalls::Pauses;
use crate::subject::Subject;
use crate::system::{End, Receiver, Sender, Setup, System};
use seqcast_recovery::Nanos;
use seqcast_transport::Clock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How often a spinning side looks for nothing before it looks whether the run is over.
const SPINS: u32 = 1_024;

/// Trips at the start of each turn that do not count: the other thread has to notice, and caches to fill. Arbitrary.
const SETTLING: usize = 20;

/// What a turn may take: a hundred times a slow round trip, and a second for stalls.
const PATIENCE_PER_TRIP: Nanos = Nanos::from_millis(1);

/// The side that asks.
pub(crate) trait Asking: Send {
    /// Makes so many round trips and notes how long each took.
    fn trips(&mut self, count: usize, times: &mut Vec<Nanos>, gate: &Gate) -> Result<(), String>;
}

/// The side that answers.
pub(crate) trait Answering: Send {
    /// Answers for as long as it is its turn.
    fn answer(&mut self, is_its_turn: &dyn Fn() -> bool, gate: &Gate) -> Result<(), String>;
}

pub(crate) struct Asker<'m, S: System> {
    end: End<S>,
    messages: &'m Messages,
    check: Check<'m>,
}

impl<'m, S: System> Asker<'m, S> {
    pub(crate) fn new(end: End<S>, messages: &'m Messages) -> Self {
        Self { end, messages, check: Check::new(messages) }
    }

    #[inline]
    fn trip(&mut self, gate: &Gate) -> Result<Nanos, String> {
        let Self { end: End { sender, receiver }, messages, check } = self;
        let message = messages.get(check.accounted());
        let (mut answered, mut spins) = (None, 0u32);
        let from = Clock::now();
        while !sender.offer(message)? {
            look(&mut spins, gate)?;
        }
        sender.flush()?;
        loop {
            receiver.poll(&mut |number, payload: &[u8]| {
                answered = Some(Clock::now());
                check.take(number, payload);
            })?;
            if let Some(until) = answered {
                check.so_far()?;
                return Ok(until - from);
            }
            sender.tend()?;
            look(&mut spins, gate)?;
        }
    }
}

impl<S: System> Asking for Asker<'_, S> {
    fn trips(&mut self, count: usize, times: &mut Vec<Nanos>, gate: &Gate) -> Result<(), String> {
        let expected = self.check.accounted() + count;
        for _ in 0..count {
            times.push(self.trip(gate)?);
        }
        self.check.complete(expected)
    }
}

pub(crate) struct Answerer<'m, S: System> {
    end: End<S>,
    check: Check<'m>,
}

impl<'m, S: System> Answerer<'m, S> {
    pub(crate) fn new(end: End<S>, messages: &'m Messages) -> Self {
        Self { end, check: Check::new(messages) }
    }
}

impl<S: System> Answering for Answerer<'_, S> {
    fn answer(&mut self, is_its_turn: &dyn Fn() -> bool, gate: &Gate) -> Result<(), String> {
        let Self { end: End { sender, receiver }, check } = self;
        let mut spins = 0;
        while is_its_turn() {
            let mut answered = Ok(());
            let count = receiver.poll(&mut |number, payload: &[u8]| {
                answered = answered.clone().and_then(|()| {
                    while !sender.offer(payload)? {
                        look(&mut spins, gate)?;
                    }
                    sender.flush()
                });
                check.take(number, payload);
            })?;
            answered.and(check.so_far())?;
            if count == 0 {
                sender.tend()?;
                look(&mut spins, gate)?;
            }
        }
        Ok(())
    }
}

/// Looks once in a while whether the run is over.
#[inline]
fn look(spins: &mut u32, gate: &Gate) -> Result<(), String> {
    *spins += 1;
    if spins.is_multiple_of(SPINS) { gate.check(Clock::now()) } else { Ok(()) }
}

/// How many trips there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Trips of each system that count.
    pub(crate) trips: usize,
    /// Trips of a turn that count.
    pub(crate) swap: usize,
    /// Trips of each system before the first that counts.
    pub(crate) warm_up: usize,
}

/// What the trips showed, by system.
#[derive(Debug)]
pub(crate) struct Tripped {
    pub(crate) times: Vec<Samples>,
    /// The median of each turn in microseconds.
    pub(crate) medians_us: Vec<Vec<f64>>,
}

impl Tripped {
    /// The ratio of the medians of two systems, turn by turn: its median, lowest and highest quarter.
    pub(crate) fn ratio(&self, of: usize, to: usize) -> [f64; 3] {
        let both = self.medians_us[of].iter().zip(&self.medians_us[to]);
        let mut ratios: Vec<f64> = both.map(|(of, to)| of / to).collect();
        let [median, ..] = median_lowest_highest(&mut ratios);
        [median, ratios[ratios.len() / 4], ratios[ratios.len() * 3 / 4]]
    }
}

/// Whose turn it is: a system's index, or one of these.
const WATCH: usize = usize::MAX - 1;
const DONE: usize = usize::MAX;

/// Makes the trips, in turn; in between, both cores are watched.
///
/// # Errors
///
/// Any violation.
pub(crate) fn rotate(
    common: &Common,
    subjects: &[Subject],
    setup: &Setup,
    messages: &Messages,
    plan: Plan,
    [asking, answering]: &mut [Pauses; 2],
) -> Result<Tripped, String> {
    let sides = subjects.iter().map(|subject| subject.open_trips(setup, messages));
    let (mut askers, mut answerers): (Vec<_>, Vec<_>) = sides.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    let turns = plan.trips.div_ceil(plan.swap).max(1);
    let trip_count = turns * (plan.swap + SETTLING) + plan.warm_up;
    let limit = Nanos(PATIENCE_PER_TRIP.0 * (trip_count * subjects.len()) as u64 + Nanos::from_secs(30).0);
    let gate = Gate::new(limit);
    let (turn, watch_until) = (AtomicUsize::new(WATCH), AtomicU64::new(0));
    let ask = || {
        let mut samples: Vec<_> = subjects.iter().map(|_| Samples::new()).collect();
        let mut medians_us = vec![Vec::with_capacity(turns); subjects.len()];
        let mut times = Vec::with_capacity(plan.warm_up.max(SETTLING + plan.swap));
        let mut take_turn = |index: usize, count: usize, times: &mut Vec<Nanos>| {
            turn.store(index, Ordering::Release);
            times.clear();
            let done = askers[index].trips(count, times, &gate);
            done.map_err(|error| format!("{}: {error}", subjects[index].name()))
        };
        for index in 0..subjects.len() {
            take_turn(index, plan.warm_up, &mut times)?;
        }
        for round in 0..turns {
            let started = Clock::now();
            for place in 0..subjects.len() {
                // Back and forth, so that a drift favours none.
                let index = if round % 2 == 0 { place } else { subjects.len() - 1 - place };
                take_turn(index, SETTLING + plan.swap, &mut times)?;
                let counted = &mut times[SETTLING..];
                counted.iter().for_each(|&time| samples[index].record(time));
                counted.sort_unstable();
                medians_us[index].push(counted[counted.len() / 2].0 as f64 / 1e3);
            }
            let now = Clock::now();
            let until = now + Nanos((now - started).0 / subjects.len() as u64);
            watch_until.store(until.0, Ordering::Relaxed);
            turn.store(WATCH, Ordering::Release);
            asking.watch(until);
        }
        turn.store(DONE, Ordering::Release);
        Ok(Tripped { times: samples, medians_us })
    };
    let answer = || {
        loop {
            gate.check(Clock::now())?;
            match turn.load(Ordering::Acquire) {
                DONE => return Ok(()),
                WATCH => answering.watch(Nanos(watch_until.load(Ordering::Relaxed))),
                index => {
                    let answered = answerers[index].answer(&|| turn.load(Ordering::Relaxed) == index, &gate);
                    answered.map_err(|error| format!("{}: {error}", subjects[index].name()))?;
                }
            }
        }
    };
    let results = run_pair(common, &gate, ask, answer);
    let (tripped, ()) = gate.finish(results)?;
    Ok(tripped)
}
