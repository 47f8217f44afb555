//! Scenarios drawn from a seed: the same seed always draws, and runs, the same scenario.

mod clients;
mod sessions;

use crate::plan::{FloodPlan, Scenario, SessionPlan};
use crate::world::World;
use seqcast_recovery::{Nanos, Random, SessionChoice};
use std::ops::Range;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{env, thread};

/// How many seeds the ordinary test runs; `scripts/swarm.sh` runs any number.
const ORDINARY_SEEDS: u64 = 200;

/// Draws the parts of a scenario.
struct Draw {
    random: Random,
}

impl Draw {
    fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.random.below(range.end - range.start)
    }

    fn micros(&mut self, range: Range<u64>) -> Nanos {
        Nanos(self.within(range.start * 1_000..range.end * 1_000))
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.random.below(count) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.random.below(choices.len() as u64) as usize]
    }

    fn scenario(&mut self, seed: u64) -> Scenario {
        let sessions = self.sessions();
        let session = self.of(&[0, sessions.len() - 1]);
        let last_step = |plan: &SessionPlan| plan.steps.last().map_or(plan.begins, |step| step.at);
        let published = sessions.last().map_or(Nanos::ZERO, last_step);
        let clean_from = published + self.micros(0..50_000);
        let (first, bound) = (sessions[0].session, sessions[session].session);
        let first_ends = last_step(&sessions[0]);
        let clients = 1 + self.random.below(4);
        let clients = (0..clients)
            .map(|_| {
                let mut client = self.client(seed, clean_from);
                client.joins = if self.one_in(2) { Nanos::ZERO } else { self.micros(0..first_ends.0 / 1_000 + 1) };
                if self.one_in(3) {
                    client.config.session = SessionChoice::Only(bound);
                }
                if self.one_in(6) {
                    client.config.resume = Some((self.of(&[first, bound]), self.within(1..50)));
                }
                client
            })
            .collect();
        let floods = if self.one_in(6) { vec![self.flood(published)] } else { vec![] };
        Scenario {
            seed,
            sessions,
            clients,
            floods,
            clean_from,
            deadline: clean_from + Nanos::from_secs(60),
            is_answered: true,
        }
    }

    fn flood(&mut self, published: Nanos) -> FloodPlan {
        let start = self.micros(0..published.0 / 1_000 + 1);
        FloodPlan { during: start..start + self.micros(0..20_000), interval: self.micros(10..200) }
    }

    /// One to three intervals of up to so many microseconds before `end`.
    fn intervals(&mut self, end: Nanos, longest_micros: u64) -> Vec<Range<Nanos>> {
        (0..self.within(1..4))
            .map(|_| {
                let start = self.micros(0..end.0 / 1_000 + 1);
                start..start + self.micros(1..longest_micros)
            })
            .collect()
    }
}

/// The scenario of a seed.
fn scenario(seed: u64) -> Scenario {
    Draw { random: Random::new(seed) }.scenario(seed)
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not '{text}'")))
}

#[test]
fn a_swarm_of_scenarios_delivers_or_tells_everything() {
    let first = number("SEQCAST_SWARM_FIRST").unwrap_or(0);
    let count = number("SEQCAST_SWARM_SEEDS").unwrap_or(ORDINARY_SEEDS);
    let next = AtomicU64::new(first);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let failed: Vec<u64> = thread::scope(|scope| {
        let run = || {
            let seeds = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
            let seeds = seeds.take_while(|&seed| seed < first + count);
            seeds.filter(|&seed| catch_unwind(|| World::run(&scenario(seed))).is_err()).collect::<Vec<_>>()
        };
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(run)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("panics are caught")).collect()
    });
    let replay: String = failed.iter().take(10).map(|seed| format!("\n    scripts/swarm.sh 1 {seed}")).collect();
    assert!(failed.is_empty(), "{} of {count} seeds failed; replay, one each:{replay}", failed.len());
}
