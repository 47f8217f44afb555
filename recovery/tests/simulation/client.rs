//! One subscriber of a scenario: a subscription, driven exactly by the driving contract, as an application with a
//! callback, a limit per poll, a receive buffer and other things to do would.

use crate::economy::Economy;
use crate::oracle::Oracle;
use crate::plan::ClientPlan;
use crate::source::Truth;
use seqcast_recovery::{Event, Nanos, OutgoingRequest, Source, Subscription, SubscriptionConfig};
use std::collections::VecDeque;
use std::ops::ControlFlow::{self, Break, Continue};

/// How often, in polls, a copy is asked whether it would have had something to do before its time-out. Arbitrary.
const REHEARSE_EVERY: u64 = 8;

pub(crate) struct Client {
    pub(crate) plan: ClientPlan,
    pub(crate) subscription: Subscription,
    pub(crate) oracle: Oracle,
    pub(crate) economy: Economy,
    from_lines: VecDeque<(Source, Vec<u8>)>,
    /// Looked at only while an answer is awaited.
    from_targets: VecDeque<(Source, Vec<u8>)>,
    kernel_drops: u32,
    /// The datagram whose delivery the callback broke off.
    interrupted: Option<Vec<u8>>,
    /// Whether the last poll ended because the callback broke.
    was_broken: bool,
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

impl Client {
    pub(crate) fn new(plan: &ClientPlan, is_answered: bool, is_roomy: bool) -> Self {
        Self {
            subscription: Subscription::new(
                SubscriptionConfig { lines: [true, plan.lines.len() > 1], ..plan.config },
                plan.joins,
            ),
            oracle: Oracle::new(plan, is_answered, is_roomy),
            economy: Economy::default(),
            from_lines: VecDeque::new(),
            from_targets: VecDeque::new(),
            kernel_drops: 0,
            interrupted: None,
            was_broken: false,
            polls: 0,
            away_until: plan.joins,
            poll_at: None,
            plan: plan.clone(),
        }
    }

    /// A datagram arrives in a receive buffer.
    pub(crate) fn receive(&mut self, source: Source, datagram: Vec<u8>) {
        match source {
            Source::Line(_) if self.from_lines.len() >= self.plan.receive_buffer => self.kernel_drops += 1,
            Source::Line(_) => self.from_lines.push_back((source, datagram)),
            Source::RequestTarget(_) => self.from_targets.push_back((source, datagram)),
        }
    }

    /// The earliest time at or behind `at` at which the application polls.
    pub(crate) fn present_at(&self, at: Nanos) -> Nanos {
        let at = at.max(self.away_until);
        self.plan.stalls.iter().filter(|stall| stall.contains(&at)).map(|stall| stall.end).fold(at, Nanos::max)
    }

    /// One poll: datagrams, time, requests.
    pub(crate) fn poll(&mut self, now: Nanos, truths: &[&Truth]) -> Polled {
        self.polls += 1;
        if self.polls.is_multiple_of(REHEARSE_EVERY) {
            self.rehearse(now);
        }
        let events_before = self.oracle.told.len();
        let handed_in = self.from_lines.len() + self.from_targets.len();
        let mut requests = vec![];
        let flow = self.deliver(now, truths);
        self.was_broken = flow.is_break();
        if flow.is_continue() {
            while let Some(request) = self.subscription.poll_request(now) {
                self.economy.request(now, &request, &self.subscription, &self.oracle, &self.plan);
                assert!(requests.len() <= self.plan.config.request.in_flight, "requests without end");
                requests.push(request);
            }
        }
        self.oracle.state(now, &self.subscription, self.interrupted.is_some());
        if self.was_broken {
            self.away_until = now + self.plan.pause;
            return Polled { requests, next_poll: Some(self.away_until) };
        }
        let timeout = self.subscription.timeout();
        let is_idle = self.oracle.told.len() == events_before && requests.is_empty() && handed_in == 0;
        assert!(
            !is_idle || timeout.is_none_or(|timeout| timeout > now),
            "wakes at once, and has nothing to do at {now:?}: {}",
            self.summary()
        );
        Polled { requests, next_poll: timeout.map(|timeout| timeout.max(now)) }
    }

    /// Where the subscription stands, in words.
    pub(crate) fn summary(&self) -> String {
        let Self { subscription, .. } = self;
        let (next, highest, timeout) = (subscription.next(), subscription.highest(), subscription.timeout());
        format!("next {next:?} of {highest:?}, due at {timeout:?}: {:?}", subscription.counters())
    }

    fn deliver(&mut self, now: Nanos, truths: &[&Truth]) -> ControlFlow<()> {
        let Self { plan, subscription, oracle, economy, interrupted, .. } = self;
        let mut left = plan.limit;
        macro_rules! sink {
            () => {
                &mut |event: Event<'_>| {
                    oracle.event(now, &event, truths);
                    left -= 1;
                    if left == 0 { Break(()) } else { Continue(()) }
                }
            };
        }
        if let Some(datagram) = interrupted.take()
            && subscription.resume(&datagram, sink!()).is_break()
        {
            *interrupted = Some(datagram);
            return Break(());
        }
        for is_target in [false, true] {
            let queue = if is_target { &mut self.from_targets } else { &mut self.from_lines };
            while !is_target || subscription.awaits_answer() {
                let Some((source, datagram)) = queue.pop_front() else { break };
                let session = subscription.session();
                oracle.before_datagram(source, &datagram);
                let flow = subscription.handle_datagram(now, source, &datagram, sink!());
                if subscription.session() != session {
                    economy.reset();
                }
                if let Source::RequestTarget(target) = source {
                    economy.answered(target, &datagram, subscription);
                }
                oracle.after_datagram(&datagram);
                oracle.state(now, subscription, flow.is_break());
                if flow.is_break() {
                    *interrupted = Some(datagram);
                    return Break(());
                }
            }
        }
        if self.kernel_drops > 0 && subscription.has_unraised_gap() {
            subscription.note_kernel_drops(std::mem::take(&mut self.kernel_drops));
        }
        subscription.advance(now, sink!())
    }

    /// Before its time-out a subscription that nothing was handed to has nothing to do.
    fn rehearse(&self, now: Nanos) {
        if self.was_broken || self.subscription.timeout().is_some_and(|timeout| timeout <= now) {
            return;
        }
        let mut copy = self.subscription.clone();
        let _ = copy.advance(now, &mut |event| panic!("{event:?} was due before the time-out"));
        assert_eq!(copy.poll_request(now), None, "a request was due before the time-out");
    }
}
