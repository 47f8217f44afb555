//! One subscriber of a scenario: a subscription, driven exactly by the driving contract, as an application with a
//! callback, a limit per poll, a receive buffer and other things to do would.

use crate::economy::Economy;
use crate::oracle::Oracle;
use crate::plan::ClientPlan;
use crate::records::Records;
use crate::source::Truth;
use seqcast_recovery::{Event, Line, Nanos, OutgoingRequest, Source, Subscription};
use std::collections::VecDeque;
use std::ops::ControlFlow::{self, Break, Continue};

/// How often, in polls, a copy is asked whether it would have had something to do before its time-out. Arbitrary.
const REHEARSE_EVERY: u64 = 8;

pub(crate) struct Client {
    pub(crate) plan: ClientPlan,
    pub(crate) subscription: Subscription,
    pub(crate) oracle: Oracle,
    pub(crate) economy: Economy,
    pub(crate) records: Records,
    /// By `Line::index`.
    from_lines: [VecDeque<Vec<u8>>; 2],
    /// Looked at only while an answer is awaited.
    from_targets: Vec<VecDeque<Vec<u8>>>,
    kernel_drops: u32,
    /// The datagram whose delivery the callback broke off.
    interrupted: Option<Vec<u8>>,
    /// When the last duty cycle was, if the callback broke it off.
    cut_at: Option<Nanos>,
    polls: u64,
    /// Not before this time does the application poll.
    pub(crate) away_until: Nanos,
    pub(crate) poll_at: Option<Nanos>,
}

/// What a poll comes to.
pub(crate) struct Polled {
    pub(crate) requests: Vec<OutgoingRequest>,
    pub(crate) next_poll: Option<Nanos>,
}

/// What a duty cycle goes with.
struct Cycle<'a> {
    now: Nanos,
    /// How many events the callback takes before it breaks.
    left: usize,
    truths: &'a [&'a Truth],
    requests: Vec<OutgoingRequest>,
}

impl Client {
    pub(crate) fn new(plan: &ClientPlan, is_answered: bool, is_roomy: bool) -> Self {
        Self {
            subscription: Subscription::new(plan.config, plan.joins),
            oracle: Oracle::new(plan, is_answered, is_roomy),
            economy: Economy::default(),
            records: Records::default(),
            from_lines: [VecDeque::new(), VecDeque::new()],
            from_targets: vec![VecDeque::new(); plan.targets.len()],
            kernel_drops: 0,
            interrupted: None,
            cut_at: None,
            polls: 0,
            away_until: plan.joins,
            poll_at: None,
            plan: plan.clone(),
        }
    }

    /// A datagram arrives in a receive buffer.
    pub(crate) fn receive(&mut self, source: Source, datagram: Vec<u8>) {
        match source {
            Source::Line(line) if self.from_lines[line.index()].len() >= self.plan.receive_buffer => {
                self.kernel_drops += 1;
            }
            Source::Line(line) => self.from_lines[line.index()].push_back(datagram),
            Source::RequestTarget(target) => self.from_targets[target].push_back(datagram),
        }
    }

    /// The earliest time at or behind `at` at which the application polls.
    pub(crate) fn present_at(&self, at: Nanos) -> Nanos {
        let at = at.max(self.away_until);
        self.plan.stalls.iter().filter(|stall| stall.contains(&at)).map(|stall| stall.end).fold(at, Nanos::max)
    }

    /// One poll, in the order of the real subscriber: what is left of the last one, datagrams, time, requests.
    pub(crate) fn poll(&mut self, now: Nanos, truths: &[&Truth]) -> Polled {
        self.polls += 1;
        if self.polls.is_multiple_of(REHEARSE_EVERY) {
            self.rehearse(now);
        }
        let (events_before, unread) = (self.oracle.told.len(), self.unread());
        let mut cycle = Cycle { now, left: self.plan.limit, truths, requests: vec![] };
        let flow = self.cycle(&mut cycle);
        self.ask(&mut cycle);
        let requests = cycle.requests;
        let shortest = self.plan.targets.iter().map(|(request, answer)| request.latency + answer.latency).min();
        if let (Some(shortest), Some(measured)) = (shortest, self.subscription.round_trip()) {
            // The estimator rounds each step down.
            assert!(
                measured + Nanos(8) >= shortest,
                "a round trip of {measured:?}, and the shortest takes {shortest:?}"
            );
        }
        let more_due = self.economy.at_rest(now, &self.subscription, &self.oracle, &self.plan);
        if flow.is_break() {
            self.away_until = now + self.plan.pause;
            return Polled { requests, next_poll: Some(self.away_until) };
        }
        let timeout = self.subscription.timeout();
        if !self.oracle.is_stopped {
            self.oracle.lines.at_rest(now, self.subscription.counters());
            self.economy.all_told(now, &self.oracle);
            let due = more_due.into_iter().chain(self.oracle.lines.due()).min();
            let sleeps_beyond = timeout.unwrap_or(Nanos::MAX) > due.unwrap_or(Nanos::MAX);
            assert!(!sleeps_beyond, "sleeps beyond {due:?} at {now:?}: {}", self.summary());
        }
        let is_idle = self.oracle.told.len() == events_before && requests.is_empty() && unread == 0;
        assert!(
            !is_idle || timeout.is_none_or(|timeout| timeout > now),
            "wakes at once, and has nothing to do at {now:?}: {}",
            self.summary()
        );
        let next_poll = if self.unread() > 0 { Some(now) } else { timeout.map(|timeout| timeout.max(now)) };
        Polled { requests, next_poll }
    }

    /// How many datagrams wait that would be looked at.
    fn unread(&self) -> usize {
        let from_lines: usize = self.from_lines.iter().map(VecDeque::len).sum();
        let from_targets: usize = self.from_targets.iter().map(VecDeque::len).sum();
        from_lines + if self.subscription.awaits_answer() { from_targets } else { 0 }
    }

    /// Where the subscription stands, in words.
    pub(crate) fn summary(&self) -> String {
        let Self { subscription, .. } = self;
        let (next, highest, timeout) = (subscription.next(), subscription.highest(), subscription.timeout());
        format!("next {next:?} of {highest:?}, due at {timeout:?}: {:?}", subscription.counters())
    }

    fn cycle(&mut self, cycle: &mut Cycle<'_>) -> ControlFlow<()> {
        if let Some(datagram) = self.interrupted.take()
            && self.subscription.resume(&datagram, &mut sink(&mut self.oracle, cycle.now, cycle)).is_break()
        {
            self.interrupted = Some(datagram);
            return Break(());
        }
        if let Some(cut_at) = self.cut_at {
            self.advance(cut_at, cycle)?;
        }
        self.cut_at = Some(cycle.now);
        let most = self.plan.datagrams_per_cycle;
        for target in 0..self.from_targets.len() {
            for _ in 0..most {
                if !self.subscription.awaits_answer() {
                    break;
                }
                let Some(datagram) = self.from_targets[target].pop_front() else { break };
                self.hand_in(Source::RequestTarget(target), datagram, cycle)?;
            }
        }
        for _ in 0..most {
            if self.from_lines.iter().all(VecDeque::is_empty) {
                break;
            }
            for line in Line::ALL {
                if let Some(datagram) = self.from_lines[line.index()].pop_front() {
                    self.hand_in(Source::Line(line), datagram, cycle)?;
                }
            }
        }
        if self.subscription.has_unraised_gap() {
            self.ask(cycle);
        }
        self.advance(cycle.now, cycle)?;
        self.cut_at = None;
        Continue(())
    }

    fn ask(&mut self, cycle: &mut Cycle<'_>) {
        while let Some(request) = self.subscription.poll_request(cycle.now) {
            self.economy.request(cycle.now, &request, &self.subscription, &self.oracle, &self.plan);
            cycle.requests.push(request);
            assert!(cycle.requests.len() <= 2 * self.plan.config.request.in_flight, "requests without end");
        }
    }

    fn hand_in(&mut self, source: Source, datagram: Vec<u8>, cycle: &mut Cycle<'_>) -> ControlFlow<()> {
        let Self { subscription, oracle, economy, .. } = self;
        let (now, session) = (cycle.now, subscription.session());
        oracle.before_datagram(now, source, &datagram);
        let flow = subscription.handle_datagram(now, source, &datagram, &mut sink(oracle, now, cycle));
        if subscription.session() != session {
            economy.reset();
        }
        assert_eq!(subscription.take_lead(), oracle.lines.lead, "{source:?} lagged otherwise");
        if let Source::RequestTarget(target) = source {
            economy.answered(target, &datagram, subscription);
        }
        oracle.after_datagram(subscription);
        if flow.is_break() {
            self.interrupted = Some(datagram);
        }
        self.judge();
        flow
    }

    fn advance(&mut self, now: Nanos, cycle: &mut Cycle<'_>) -> ControlFlow<()> {
        if self.kernel_drops > 0 && self.subscription.has_unraised_gap() {
            self.subscription.note_kernel_drops(std::mem::take(&mut self.kernel_drops));
        }
        let flow = self.subscription.advance(now, &mut sink(&mut self.oracle, now, cycle));
        self.judge();
        flow
    }

    fn judge(&mut self) {
        self.oracle.state(&self.subscription, self.interrupted.is_some());
        self.records.judge(&self.subscription, &self.oracle, &self.economy);
    }

    /// Before its time-out a subscription that nothing was handed to has nothing to do.
    fn rehearse(&self, now: Nanos) {
        if self.cut_at.is_some() || self.subscription.timeout().is_some_and(|timeout| timeout <= now) {
            return;
        }
        let mut copy = self.subscription.clone();
        let _ = copy.advance(now, &mut |event| panic!("{event:?} was due before the time-out"));
        assert_eq!(copy.poll_request(now), None, "a request was due before the time-out");
    }
}

/// The application's callback: the oracle, and a break behind the last event that it takes.
fn sink<'a>(
    oracle: &'a mut Oracle,
    now: Nanos,
    cycle: &'a mut Cycle<'_>,
) -> impl FnMut(Event<'_>) -> ControlFlow<()> + 'a {
    move |event| {
        oracle.event(now, &event, cycle.truths);
        cycle.left -= 1;
        if cycle.left == 0 { Break(()) } else { Continue(()) }
    }
}
