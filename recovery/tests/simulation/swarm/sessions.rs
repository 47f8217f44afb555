//! What is published, by whom, and how they fare.

use super::Draw;
use crate::plan::{Crash, Cut, Ending, SessionPlan, Step};
use seqcast_recovery::{Budget, HeartbeatConfig, Nanos, ResponderConfig};

impl Draw {
    /// One session, or two, of which the first ended or died; or one that begins again; or one of two publishers.
    pub(super) fn sessions(&mut self) -> Vec<SessionPlan> {
        let first = self.session("FIRST", Nanos::ZERO);
        match self.random.below(8) {
            0 | 1 => {
                let (is_ended, pause) = (self.one_in(2), self.micros(1..400_000));
                let (first, begins) = self.over(first, is_ended, pause);
                vec![first, self.session("SECOND", begins)]
            }
            2 => self.lives(first),
            3 => vec![self.pair(first)],
            _ => vec![first],
        }
    }

    /// A session that goes before another, and when that one begins.
    fn over(&mut self, session: SessionPlan, is_ended: bool, pause: Nanos) -> (SessionPlan, Nanos) {
        let last = session.steps.last().map_or(session.begins, |step| step.at);
        let over = last + self.micros(1..20_000);
        let ending = if is_ended { Ending::End(over) } else { Ending::Die(over) };
        (SessionPlan { ending, ..session }, over + pause)
    }

    /// A session whose numbers begin again up to three times: at times with the same bytes.
    fn lives(&mut self, first: SessionPlan) -> Vec<SessionPlan> {
        let (mut lives, mut next) = (vec![], first);
        for _ in 0..self.within(1..4) {
            let pause = self.micros(20_000..100_000);
            let (life, begins) = self.over(next, false, pause);
            next = if self.one_in(8) { life.again(begins) } else { self.session("FIRST", begins) };
            // What is empty cannot be told apart.
            next.steps.iter_mut().flat_map(|step| &mut step.sizes).for_each(|bytes| *bytes = (*bytes).max(8));
            lives.push(life);
        }
        lives.push(next);
        lives
    }

    /// The same of two publishers.
    fn pair(&mut self, session: SessionPlan) -> SessionPlan {
        let mut pair = SessionPlan { is_pair: true, recuts_b: false, skew: self.micros(0..300), ..session };
        pair.crashes.iter_mut().for_each(|crash| crash.publisher = self.random.below(2) as usize);
        pair
    }

    /// Up to four times that the publisher is killed.
    fn crashes(&mut self, steps: usize) -> Vec<Crash> {
        let crashes = (0..self.within(1..5)).map(|_| {
            let cut = match self.random.below(2) {
                0 => Cut::Retaining { messages: self.within(0..10), torn_marks: self.within(0..3) as usize },
                _ => Cut::Sending { datagrams: self.within(0..8) as usize },
            };
            let longest = self.of(&[1_000, 10_000, 300_000]);
            let step = self.random.below(steps as u64) as usize;
            Crash { publisher: 0, step, cut, down: self.micros(50..longest) }
        });
        crashes.collect()
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
        let crashes = if self.one_in(3) { self.crashes(steps.len()) } else { vec![] };
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
            retransmitter_of_its_own: self.one_in(3),
            is_pair: false,
            skew: Nanos::ZERO,
            crashes,
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
}
