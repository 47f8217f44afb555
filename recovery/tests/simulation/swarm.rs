//! Scenarios drawn from a seed: the same seed always draws, and runs, the same scenario.

use crate::plan::{ClientPlan, Ending, FloodPlan, PathPlan, Scenario, SessionPlan, Step};
use crate::world::World;
use seqcast_recovery::{
    Budget, GapPolicy, HeartbeatConfig, ImpairmentConfig, Nanos, Random, RequestConfig, ResponderConfig, RewindPolicy,
    SessionChoice, Start, SubscriptionConfig,
};
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

    /// One session, or two: the first ended, or died.
    fn sessions(&mut self) -> Vec<SessionPlan> {
        let mut first = self.session("FIRST", Nanos::ZERO);
        if !self.one_in(4) {
            return vec![first];
        }
        let last = first.steps.last().map_or(Nanos::ZERO, |step| step.at);
        let over = last + self.micros(1..20_000);
        first.ending = if self.one_in(2) { Ending::End(over) } else { Ending::Die(over) };
        let begins = over + self.micros(1..400_000);
        vec![first, self.session("SECOND", begins)]
    }

    fn session(&mut self, name: &str, begins: Nanos) -> SessionPlan {
        let max_datagram = self.of(&[64, 200, 600, 1_472, 1_472, 9_000]);
        let count = self.of(&[1, 20, 100, 300, 600]);
        let mut at = begins + self.micros(0..5_000);
        let mean = self.of(&[2, 10, 50, 200]);
        let per_step = self.of(&[1, 1, 4, 30]);
        let (long, pauses) = (self.of(&[8, 60, 300, 1_400]), self.one_in(2));
        let mut steps = vec![];
        let mut published = 0;
        while published < count {
            let messages = self.within(1..per_step + 1).min(count - published);
            let sizes = (0..messages).map(|_| self.within(0..long + 1) as usize).collect();
            steps.push(Step { at, sizes });
            published += messages;
            at = at + self.micros(1..2 * mean);
            if pauses && self.one_in(20) {
                at = at + self.micros(100..8_000);
            }
        }
        let ring_bytes = self.of(&[1, 4 << 10, 16 << 10, 1 << 20, 1 << 20]);
        SessionPlan {
            session: name.parse().expect("a session's name"),
            begins,
            steps,
            ending: Ending::End(at + self.micros(0..30_000)),
            ring_bytes,
            max_datagram,
            // Long enough that nobody who asks at times is left behind.
            heartbeat: HeartbeatConfig {
                linger: Nanos::from_secs(50),
                linger_quiet: Nanos::from_secs(4),
                ..HeartbeatConfig::default()
            },
            recuts_b: self.one_in(3),
            responder: self.responder(),
            service: if self.one_in(2) { Nanos::ZERO } else { self.micros(0..50) },
            input: begins.0,
            retransmitter_of_its_own: false,
            is_pair: false,
            skew: Nanos::ZERO,
            crashes: vec![],
        }
    }

    fn responder(&mut self) -> ResponderConfig {
        if self.one_in(2) {
            return ResponderConfig::default();
        }
        // Enough for everybody to have everything long before the end.
        let mut budget = |least: u64| Budget {
            bytes_per_s: least * (1 + self.random.below(20)),
            burst_bytes: self.random.below(20_000),
        };
        let budgets =
            [budget(1_000_000), budget(400_000)].map(|budget| (budget.burst_bytes % 2 == 0).then_some(budget));
        ResponderConfig {
            budget: budgets[0],
            client_budget: budgets[1],
            linger: self.micros(0..300),
            client_limit: self.of(&[1, 2, 1_024]),
            requests_per_client: self.of(&[1, 4, 64]),
            ..ResponderConfig::default()
        }
    }

    fn flood(&mut self, published: Nanos) -> FloodPlan {
        let start = self.micros(0..published.0 / 1_000 + 1);
        FloodPlan { during: start..start + self.micros(0..20_000), interval: self.micros(10..200) }
    }

    fn client(&mut self, seed: u64, clean_from: Nanos) -> ClientPlan {
        let is_impaired = !self.one_in(8);
        let targets = self.of(&[0, 1, 1, 1, 2]);
        let path = |draw: &mut Self| if is_impaired { draw.path(clean_from) } else { PathPlan::clean(Nanos(9)) };
        let mut lines = vec![path(self)];
        if !self.one_in(3) {
            let distance = self.of(&[0, 1_000, 5_000]);
            let latency = lines[0].latency + self.micros(0..distance + 1);
            lines.push(PathPlan { latency, ..path(self) });
            if self.one_in(2) {
                lines.swap(0, 1);
            }
        }
        let ways = (0..targets).map(|_| (path(self), path(self))).collect();
        let is_small = self.one_in(3);
        let tight = [1, 2, 3, 8, 32];
        let config = SubscriptionConfig {
            session: SessionChoice::Any,
            // At times a line that is never heard, and one that nobody spoke of.
            lines: [true, if self.one_in(6) { lines.len() == 1 } else { lines.len() > 1 }],
            start: self.start(),
            resume: None,
            gap_policy: match self.random.below(8) {
                _ if targets == 0 => GapPolicy::Skip,
                0 => GapPolicy::Skip,
                1 => GapPolicy::Stop,
                _ => GapPolicy::Wait { give_up: Nanos::from_secs(10) },
            },
            rewind_policy: RewindPolicy::default(),
            request_targets: targets,
            request: RequestConfig {
                delay: if self.one_in(2) { Nanos::ZERO } else { self.micros(0..1_500) },
                max_line_wait: Nanos::from_micros(self.of(&[0, 100, 2_000, 10_000, 10_000])),
                in_flight: self.of(&[1, 2, 4, 32]),
                ..RequestConfig::default()
            },
            trust_oldest: true,
            silent_after: self.micros(120_000..400_000),
            line_behind_after: self.micros(1_000..150_000),
            compare_copies: self.one_in(2),
            window_messages: if is_small { self.of(&[1, 4, 16, 64]) } else { 1_024 },
            window_bytes: if is_small { self.of(&[64, 1_000, 16_000, 60_000]) } else { 1 << 21 },
            gap_capacity: if is_small { self.of(&tight) } else { 1_024 },
            seed,
        };
        let is_slow = self.one_in(4);
        ClientPlan {
            joins: Nanos::ZERO,
            config,
            lines,
            targets: ways,
            limit: self.of(&[1, 2, 3, 7, 64, usize::MAX, usize::MAX, usize::MAX]),
            pause: if is_slow { self.micros(0..60) } else { Nanos::ZERO },
            datagrams_per_cycle: self.of(&[1, 3, 256, 256]),
            receive_buffer: if is_slow { self.of(&[1, 5, 40]) } else { usize::MAX },
            stalls: if is_slow { self.intervals(clean_from, 20_000) } else { vec![] },
            ring: None,
            ring_lag: Nanos::ZERO,
            deaths: vec![],
        }
    }

    fn start(&mut self) -> Start {
        match self.random.below(4) {
            0 => Start::Live,
            1 => Start::At(self.within(1..50)),
            _ => Start::Oldest,
        }
    }

    fn path(&mut self, clean_from: Nanos) -> PathPlan {
        let latency = self.micros(1..300);
        let delay = if self.one_in(3) { self.micros(0..2_000) } else { Nanos::ZERO };
        PathPlan {
            latency,
            impairment: ImpairmentConfig {
                loss: self.of(&[0.0, 0.01, 0.05, 0.1, 0.3, 0.5]),
                burst: self.of(&[1.0, 1.0, 3.0, 10.0]),
                duplicate: self.of(&[0.0, 0.02, 0.3]),
                reorder: self.of(&[0.0, 0.02, 0.3]),
                delay: (Nanos::ZERO, delay),
                seed: self.random.next_u64(),
            },
            blackouts: match self.random.below(8) {
                0 | 1 => self.intervals(clean_from, 60_000),
                2 => vec![self.micros(0..clean_from.0 / 1_000 + 1)..clean_from],
                _ => vec![],
            },
            loses: vec![],
            flips: None,
        }
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
