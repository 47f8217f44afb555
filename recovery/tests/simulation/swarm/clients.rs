//! Who listens, over which paths, and how they fare.

use super::Draw;
use crate::plan::{ClientPlan, Death, PathPlan};
use seqcast_recovery::{
    GapPolicy, ImpairmentConfig, Line, Nanos, RequestConfig, RewindPolicy, SessionChoice, Start, SubscriptionConfig,
};

impl Draw {
    /// A subscriber.
    pub(super) fn client(&mut self, seed: u64, clean_from: Nanos) -> ClientPlan {
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
            rewind_policy: if self.one_in(6) { RewindPolicy::Stop } else { RewindPolicy::StartOver },
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
        let client = ClientPlan {
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
            ring_lag: if self.one_in(2) { Nanos::ZERO } else { self.micros(0..200) },
            deaths: if self.one_in(5) { self.deaths() } else { vec![] },
        };
        match client.lines.len() {
            _ if !self.one_in(5) => client,
            2 if self.one_in(2) => client.on_ring(Line::B),
            _ => client.on_ring(Line::A),
        }
    }

    /// Up to three times that it is killed.
    fn deaths(&mut self) -> Vec<Death> {
        let longest = self.of(&[5, 50, 400]);
        let deaths = (0..self.within(1..4))
            .map(|_| Death { events: self.within(1..longest) as usize, down: self.micros(10_000..100_000) });
        deaths.collect()
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
}
