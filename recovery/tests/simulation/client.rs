//! One subscriber of a scenario: a subscription, driven exactly by the driving contract, as an application with a
//! callback, a limit per poll, a receive buffer and other things to do would. Its process may be killed at any event; it writes
//! down what it is given, stores how far it has come behind every poll, and goes on from there.

use crate::economy::Economy;
use crate::oracle::{Oracle, Told};
use crate::plan::ClientPlan;
use crate::records::Records;
use crate::ring::{Arrival, Ring, RingFile};
use crate::truth::Truth;
use seqcast_protocol::{SequenceNumber, SessionId};
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
    /// How many processes it had before this one.
    pub(crate) life: usize,
    is_alive: bool,
    /// What it has written, and in which era, which ends when what was built is void.
    output: Vec<(usize, SequenceNumber)>,
    era: usize,
    stored: Option<Stored>,
    terms: Terms,
    /// By `Line::index`.
    from_lines: [VecDeque<Vec<u8>>; 2],
    pub(crate) ring: Option<Ring>,
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

/// A stored offset, with the length of the output.
#[derive(Clone, Copy, Debug)]
struct Stored {
    session: SessionId,
    next: SequenceNumber,
    position: usize,
    numbering: usize,
}

/// What a client must know of the scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) is_answered: bool,
    pub(crate) is_roomy: bool,
    /// From here on it is not killed.
    pub(crate) safe_from: Nanos,
}

/// What a poll comes to.
pub(crate) struct Polled {
    pub(crate) requests: Vec<OutgoingRequest>,
    pub(crate) next_poll: Option<Nanos>,
    /// When the process begins anew, if it was killed.
    pub(crate) back_at: Option<Nanos>,
}

/// What a duty cycle goes with.
struct Cycle<'a> {
    now: Nanos,
    /// How many events the callback takes before it breaks.
    left: usize,
    /// How many events the process takes before it is killed.
    left_to_live: usize,
    truths: &'a [&'a Truth],
    file: Option<&'a RingFile<'a>>,
    requests: Vec<OutgoingRequest>,
}

impl Client {
    pub(crate) fn new(plan: &ClientPlan, terms: Terms) -> Self {
        Self {
            subscription: Subscription::new(plan.config, plan.joins),
            oracle: Oracle::new(plan, terms, vec![], None),
            economy: Economy::default(),
            records: Records::default(),
            life: 0,
            is_alive: true,
            output: vec![],
            era: 0,
            stored: None,
            terms,
            from_lines: [VecDeque::new(), VecDeque::new()],
            ring: plan.ring.map(|_| Ring::new(plan.config.start, plan.config.resume)),
            from_targets: vec![VecDeque::new(); plan.config.request_targets],
            kernel_drops: 0,
            interrupted: None,
            cut_at: None,
            polls: 0,
            away_until: plan.joins,
            poll_at: None,
            plan: plan.clone(),
        }
    }

    /// A new process goes on from the stored offset, and cuts the output back to it.
    pub(crate) fn come_back(&mut self, now: Nanos) {
        let mut plan = self.plan.clone();
        plan.joins = now;
        if let Some(Stored { session, next, .. }) = self.stored {
            plan.config.resume = Some((session, next));
        }
        let mut next = Self::new(&plan, self.terms);
        let numbering = self.stored.map(|stored| stored.numbering);
        next.oracle = Oracle::new(&plan, self.terms, std::mem::take(&mut self.oracle.told), numbering);
        next.output = std::mem::take(&mut self.output);
        next.output.truncate(self.stored.map_or(0, |stored| stored.position));
        (next.life, next.stored, next.era) = (self.life + 1, self.stored, self.era);
        *self = next;
    }

    /// What its processes have written, each cut back to the offset at its start.
    pub(crate) fn output(&self) -> impl Iterator<Item = SequenceNumber> {
        self.output.iter().map(|(_, number)| *number)
    }

    /// Stores how far the application has come: behind everything that it was given.
    fn store(&mut self) {
        let numbering = self.oracle.view.as_ref().and_then(|view| view.numbering);
        if let (Some(session), Some(next), Some(numbering)) =
            (self.subscription.session(), self.subscription.next(), numbering)
        {
            self.stored = Some(Stored { session, next, position: self.output.len(), numbering });
        }
    }

    /// Writes down the messages that were told from the index `from` on.
    fn write(&mut self, from: usize) {
        for (_, told) in &self.oracle.told[from..] {
            match *told {
                Told::NewSession(_) | Told::Rewound(..) => self.era += 1,
                Told::Message(number) => {
                    let last = self.output.last().filter(|(era, _)| *era == self.era);
                    assert!(last.is_none_or(|(_, last)| *last < number), "{number} is written twice");
                    self.output.push((self.era, number));
                }
                _ => {}
            }
        }
    }

    /// A datagram arrives in a receive buffer.
    pub(crate) fn receive(&mut self, source: Source, datagram: Vec<u8>) {
        match source {
            _ if !self.is_alive => {}
            Source::Line(line) if self.from_lines[line.index()].len() >= self.plan.receive_buffer => {
                self.kernel_drops += 1;
            }
            Source::Line(line) => self.from_lines[line.index()].push_back(datagram),
            Source::RequestTarget(target) => self.from_targets[target].push_back(datagram),
        }
    }

    /// The earliest time at or behind `at` at which the application polls, if it lives.
    pub(crate) fn present_at(&self, at: Nanos) -> Option<Nanos> {
        let at = at.max(self.away_until);
        let stalls = self.plan.stalls.iter().filter(|stall| stall.contains(&at));
        self.is_alive.then(|| stalls.map(|stall| stall.end).fold(at, Nanos::max))
    }

    /// One poll, in the order of the real subscriber: what is left of the last one, datagrams, time, requests.
    pub(crate) fn poll(&mut self, now: Nanos, truths: &[&Truth], file: Option<&RingFile<'_>>) -> Polled {
        self.polls += 1;
        if self.polls.is_multiple_of(REHEARSE_EVERY) {
            self.rehearse(now);
        }
        let (events_before, unread) = (self.oracle.told.len(), self.unread());
        let death = self.plan.deaths.get(self.life).filter(|_| now < self.terms.safe_from);
        let left_to_live = death.map_or(usize::MAX, |death| death.events);
        let mut cycle = Cycle { now, left: self.plan.limit, left_to_live, truths, file, requests: vec![] };
        let flow = self.cycle(&mut cycle);
        self.write(events_before);
        if cycle.left_to_live == 0 {
            self.is_alive = false;
            let back_at = now + self.plan.deaths[self.life].down;
            return Polled { requests: vec![], next_poll: None, back_at: Some(back_at) };
        }
        if let Some(death) = self.plan.deaths.get_mut(self.life) {
            death.events = death.events.min(cycle.left_to_live);
        }
        self.store();
        self.ask(&mut cycle);
        let requests = cycle.requests;
        let round_trips = self.plan.targets.iter().map(|(request, answer)| request.latency + answer.latency);
        // What is asked of the ring takes no time, and what was asked of numbers that were left may be answered at any time.
        let is_excused = self.oracle.view.as_ref().is_some_and(|view| view.is_excused);
        let shortest = round_trips.min().filter(|_| self.plan.ring.is_none() && !is_excused);
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
            return Polled { requests, next_poll: Some(self.away_until), back_at: None };
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
        let look_at = self.ring.as_ref().map(Ring::look_at);
        let due = timeout.into_iter().chain(look_at).min();
        let next_poll = if self.unread() > 0 { Some(now) } else { due.map(|due| due.max(now)) };
        Polled { requests, next_poll, back_at: None }
    }

    /// How many datagrams wait that would be looked at.
    fn unread(&self) -> usize {
        let from_lines: usize = self.from_lines.iter().map(VecDeque::len).sum();
        let from_targets: usize = self.from_targets.iter().map(VecDeque::len).sum();
        let from_ring = self.ring.as_ref().map_or(0, Ring::answers);
        let on_ring = usize::from(self.ring.as_ref().is_some_and(Ring::has_more));
        from_lines + on_ring + if self.subscription.awaits_answer() { from_targets + from_ring } else { 0 }
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
                let arrival = match &mut self.ring {
                    Some(ring) if target == 0 => ring.answer(cycle.file),
                    _ => self.from_targets[target].pop_front().map_or(Arrival::Nothing, Arrival::Datagram),
                };
                match arrival {
                    Arrival::Datagram(datagram) => self.hand_in(Source::RequestTarget(target), datagram, cycle)?,
                    Arrival::Withheld => {}
                    Arrival::Nothing => break,
                }
            }
        }
        for _ in 0..most {
            let mut is_empty = true;
            for line in Line::ALL {
                let arrival = match &mut self.ring {
                    Some(ring) if self.plan.ring == Some(line) => ring.receive(cycle.now, cycle.file),
                    _ => self.from_lines[line.index()].pop_front().map_or(Arrival::Nothing, Arrival::Datagram),
                };
                is_empty &= matches!(arrival, Arrival::Nothing);
                if let Arrival::Datagram(datagram) = arrival {
                    self.hand_in(Source::Line(line), datagram, cycle)?;
                }
            }
            if is_empty {
                break;
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
        let (now, told) = (cycle.now, oracle.told.len());
        oracle.before_datagram(now, source, &datagram, subscription, cycle.truths);
        let flow = subscription.handle_datagram(now, source, &datagram, &mut sink(oracle, now, cycle));
        let begins = |(_, told): &(Nanos, Told)| matches!(told, Told::NewSession(_) | Told::Rewound(..));
        if oracle.told[told..].iter().any(begins) {
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

/// The application's callback: the oracle, and a break behind the last event that it takes, or lives to see.
fn sink<'a>(
    oracle: &'a mut Oracle,
    now: Nanos,
    cycle: &'a mut Cycle<'_>,
) -> impl FnMut(Event<'_>) -> ControlFlow<()> + 'a {
    move |event| {
        oracle.event(now, &event, cycle.truths);
        assert!(cycle.left > 0 && cycle.left_to_live > 0, "{event:?} behind a break");
        cycle.left -= 1;
        cycle.left_to_live -= 1;
        if cycle.left == 0 || cycle.left_to_live == 0 { Break(()) } else { Continue(()) }
    }
}
