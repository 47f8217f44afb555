//! One subscriber's view of one session: what has arrived, what is missing, what comes next.
//!
//! This file routes between the mechanisms: [`GapSet`] (what is missing), [`ReorderWindow`] (what waits beyond it),
//! the requester (what to ask for), the reports (what the application knows of it), liveness.

use crate::config::{GapPolicy, SessionChoice, Start, SubscriptionConfig};
use crate::event::{
    EndOfSession, Event, Gap, GapOrigin, Line, Loss, LossCause, Message, NewSession, PreviousSession, Status,
};
use crate::liveness::Liveness;
use crate::packing::Packing;
use crate::reports::Reports;
use crate::requester::Requester;
use crate::{Counters, GapSet, Nanos, ReorderWindow};
use alloc::collections::VecDeque;
use core::ops::ControlFlow::{self, Continue};
use seqcast_protocol::{Packet, PacketKind, Request, SequenceNumber, SequenceRange, SessionId};

/// How many sessions that were left are remembered, so as never to return to one. Arbitrary.
const LEFT_SESSIONS: usize = 64;

/// When nothing has been heard for so long, the next number is asked for once: two heartbeats at their ceiling.
const ASK_UNHEARD_AFTER: Nanos = Nanos::from_millis(200);

/// When a late join is given up under a gap policy that does not wait: as the default of the one that does.
const JOIN_GIVE_UP: Nanos = Nanos::from_secs(10);

/// Where a datagram came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It was received on a line.
    Line(Line),
    /// It came from the request address with this index.
    RequestTarget(usize),
}

/// A request that should leave now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutgoingRequest {
    /// The index of the request address, below `SubscriptionConfig::request_targets`.
    pub target: usize,
    /// What to send there.
    pub request: Request,
}

/// The state machine of a subscriber. See the driving contract in the crate's documentation.
///
/// Invariants, outside the calls: every number in `expected..known_next` is missing, or in the window, or in the datagram
/// whose delivery was interrupted; `expected <= known_next`; every missing number belongs to a report.
#[derive(Clone, Debug)]
pub struct Subscription {
    config: SubscriptionConfig,
    session: Option<SessionId>,
    left: VecDeque<SessionId>,
    /// The next number to deliver; meaningless until `is_started`.
    expected: SequenceNumber,
    /// One past the highest number that is accounted for.
    known_next: SequenceNumber,
    /// One past the highest number that arrived and could not be kept.
    deferred_next: SequenceNumber,
    /// One past the last number that is delivered straight from the datagram that was handed in last.
    direct_end: SequenceNumber,
    /// While the first number is expected next, there is no room for what is missing from the second on.
    no_room: (SequenceNumber, SequenceNumber),
    /// One past the last number of the session, once its end was announced.
    end: Option<SequenceNumber>,
    is_started: bool,
    is_caught_up: bool,
    is_end_told: bool,
    is_stopped: bool,
    has_begun: bool,
    has_asked_unheard: bool,
    opened_at: Nanos,
    last_progress: Nanos,
    gaps: GapSet,
    window: ReorderWindow,
    reports: Reports,
    requester: Requester,
    liveness: Liveness,
    packing: Packing,
    counters: Counters,
}

impl Subscription {
    /// Starts at `now`; reserves and touches all memory that it will ever use.
    #[must_use]
    pub fn new(config: SubscriptionConfig, now: Nanos) -> Self {
        let mut left = VecDeque::new();
        left.reserve_exact(LEFT_SESSIONS);
        Self {
            config,
            session: match config.session {
                SessionChoice::Any => None,
                SessionChoice::Only(session) => Some(session),
            },
            left,
            expected: 0,
            known_next: 0,
            deferred_next: 0,
            direct_end: 0,
            no_room: (0, 0),
            end: None,
            is_started: false,
            is_caught_up: false,
            is_end_told: false,
            is_stopped: false,
            has_begun: false,
            has_asked_unheard: false,
            opened_at: now,
            last_progress: now,
            gaps: GapSet::new(config.gap_capacity),
            window: ReorderWindow::new(config.window_messages, config.window_bytes),
            reports: Reports::new(config.gap_capacity),
            requester: Requester::new(config.request, config.request_targets, config.seed),
            liveness: Liveness::new(config.silent_after, now),
            packing: Packing::new(),
            counters: Counters::default(),
        }
    }

    /// Takes one datagram and delivers what is next in order straight from it.
    ///
    /// `Break` from `sink` stops the delivery behind the event it was given. The rest of this datagram's messages is
    /// then still in `datagram`: hand it to [`Self::resume`] before any other call.
    pub fn handle_datagram(
        &mut self,
        now: Nanos,
        source: Source,
        datagram: &[u8],
        sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if self.is_stopped {
            return Continue(());
        }
        let packet = match Packet::parse(datagram) {
            Ok(packet) => packet,
            Err(error) => {
                self.counters.malformed[error as usize] += 1;
                return Continue(());
            }
        };
        let mut flow = Continue(());
        if self.session != Some(packet.session()) {
            if !self.takes_session(packet.session(), source) {
                self.counters.foreign += 1;
                return Continue(());
            }
            flow = self.adopt(packet.session(), sink);
        }
        match source {
            Source::Line(line) => {
                let counters = &mut self.counters.lines[line.index()];
                counters.packets += 1;
                counters.bytes += datagram.len() as u64;
                self.liveness.heard(now);
                if flow.is_continue() {
                    flow = self.tell_heard(sink);
                }
            }
            Source::RequestTarget(target) => match packet.kind() {
                PacketKind::Data => {
                    self.counters.retransmissions += 1;
                    self.requester.handle_answer(now, target, packet.range());
                }
                PacketKind::Heartbeat => {
                    self.handle_oldest(target, packet.sequence());
                    return flow;
                }
                PacketKind::EndOfSession => return flow,
            },
        }
        let origin = if self.is_started { GapOrigin::Unknown } else { GapOrigin::LateJoin };
        self.start(now, packet.sequence());
        if packet.sequence() > self.known_next {
            self.note_missing(now, packet.sequence(), origin);
        }
        match packet.kind() {
            PacketKind::Heartbeat => {}
            PacketKind::EndOfSession => self.end = Some(packet.sequence()),
            PacketKind::Data => {
                self.packing.note(packet.blocks().len(), packet.range().count());
                let is_next = self.note_data(now, source, &packet);
                self.direct_end = if is_next { packet.range().end() } else { 0 };
                if is_next && flow.is_continue() {
                    return self.deliver_packet(&packet, sink);
                }
            }
        }
        flow
    }

    /// Delivers the rest of a datagram whose delivery was interrupted.
    pub fn resume(&mut self, datagram: &[u8], sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        match Packet::parse(datagram) {
            Ok(packet) if self.session == Some(packet.session()) && self.expected < self.direct_end => {
                self.deliver_packet(&packet, sink)
            }
            _ if self.is_started && !self.is_stopped => self.drain(sink),
            _ => Continue(()),
        }
    }

    /// Whether numbers have been found missing that the application has not been told of: the moment to find out whether
    /// the kernel dropped datagrams, see [`Self::note_kernel_drops`].
    #[must_use]
    pub fn has_unraised_gap(&self) -> bool {
        !self.gaps.is_empty() && self.reports.iter().any(|report| report.is_gap() && !report.raised)
    }

    /// Tells that the kernel has dropped `count` datagrams since the last call: the origin of the gaps that have not been
    /// raised yet. 0 changes nothing.
    pub fn note_kernel_drops(&mut self, count: u32) {
        if count == 0 {
            return;
        }
        for report in self.reports.iter_mut() {
            if !report.raised && report.origin == GapOrigin::Unknown {
                report.origin = GapOrigin::KernelDrop(count);
            }
        }
    }

    /// Does what time asks for, and delivers what has become deliverable: once per duty cycle, behind the datagrams.
    ///
    /// `Break` from `sink` stops behind the event it was given; the rest follows at the next call.
    pub fn advance(&mut self, now: Nanos, sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        if self.is_stopped {
            return Continue(());
        }
        self.tell_heard(sink)?;
        if let Some(elapsed) = self.liveness.poll(now) {
            sink(Event::Status(Status::Silent { elapsed }))?;
        }
        if !self.is_started {
            return Continue(());
        }
        self.settle(sink)?;
        self.open_deferred(now);
        loop {
            if !self.gaps.is_empty() {
                self.raise_gaps(now, sink)?;
                self.give_up(now);
            }
            self.drain(sink)?;
            if !self.open_deferred(now) {
                break;
            }
        }
        if self.config.gap_policy == GapPolicy::Stop && self.reports.front().is_some_and(|front| front.raised) {
            self.is_stopped = true;
            return sink(Event::Status(Status::Stopped { next: self.expected }));
        }
        if self.expected != self.known_next || self.deferred_next > self.known_next {
            return Continue(());
        }
        if !self.is_caught_up {
            self.is_caught_up = true;
            sink(Event::Status(Status::CaughtUp { next: self.expected }))?;
        }
        match (self.session, self.end) {
            (Some(session), Some(end)) if end <= self.expected && !self.is_end_told => {
                self.is_end_told = true;
                sink(Event::EndOfSession(EndOfSession { session, next: end }))
            }
            _ => Continue(()),
        }
    }

    /// The next request that should leave now; call until there is none, behind [`Self::advance`].
    pub fn poll_request(&mut self, now: Nanos) -> Option<OutgoingRequest> {
        if self.is_stopped || !self.requester.has_targets() {
            return None;
        }
        if !self.is_started {
            return self.ask_unheard(now);
        }
        let window_end = self.expected.saturating_add(self.window.message_capacity());
        let waits = matches!(self.config.gap_policy, GapPolicy::Wait { .. });
        let end = self.reports.askable_end(now, self.config.request.delay, waits).min(window_end);
        let end = if self.no_room.0 == self.expected { end.min(self.no_room.1) } else { end };
        let ask = self.requester.poll(now, &self.gaps, end, self.packing.messages_per_packet())?;
        self.counters.requests += 1;
        self.counters.retries += u64::from(ask.is_retry);
        let request = Request::new(self.session?, ask.range).ok()?;
        Some(OutgoingRequest { target: ask.target, request })
    }

    /// When [`Self::advance`] and [`Self::poll_request`] should be called next if nothing arrives before.
    #[must_use]
    pub fn timeout(&self) -> Option<Nanos> {
        if self.is_stopped {
            return None;
        }
        let mut next = self.liveness.due().unwrap_or(Nanos::MAX);
        if let Some(due) = self.ask_unheard_at() {
            next = next.min(due);
        }
        if let Some(front) = self.reports.front() {
            if let Some(retry) = self.requester.next_retry() {
                next = next.min(retry);
            }
            let may_raise = self.config.gap_policy != GapPolicy::Stop || !self.reports.has_raised();
            if let Some(opened_at) = self.reports.oldest_unraised().filter(|_| may_raise) {
                next = next.min(opened_at + self.config.request.delay);
            }
            next = next.min(front.opened_at.max(self.last_progress) + self.give_up_after());
        }
        (next != Nanos::MAX).then_some(next)
    }

    /// The session, once one was chosen or heard.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// The next number to be delivered, once the session was heard.
    #[must_use]
    pub fn next(&self) -> Option<SequenceNumber> {
        self.is_started.then_some(self.expected)
    }

    /// One past the highest number that is known to exist, once the session was heard.
    #[must_use]
    pub fn highest(&self) -> Option<SequenceNumber> {
        self.is_started.then_some(self.known_next.max(self.deferred_next))
    }

    /// How many separate ranges are missing now.
    #[must_use]
    pub fn open_gaps(&self) -> usize {
        self.gaps.len()
    }

    /// How many messages wait beyond a gap.
    #[must_use]
    pub fn window_messages(&self) -> usize {
        self.window.len()
    }

    /// Whether everything known to exist has been delivered at least once.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.is_caught_up
    }

    /// Whether no line carries the session at present.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.liveness.is_silent()
    }

    /// Whether the gap policy has stopped the subscription.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Whether an answer to a request may arrive: as long as it may not, nobody needs to look.
    #[must_use]
    pub fn awaits_answer(&self) -> bool {
        self.requester.is_waiting() || (!self.is_started && self.has_asked_unheard)
    }

    /// The smoothed round trip of a request, once one has been measured.
    #[must_use]
    pub fn round_trip(&self) -> Option<Nanos> {
        self.requester.round_trip()
    }

    /// What has been counted so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Whether a packet of a session other than the present one is taken.
    fn takes_session(&mut self, session: SessionId, source: Source) -> bool {
        let SessionChoice::Any = self.config.session else { return false };
        if self.session.is_none() {
            return true;
        }
        let is_over = self.is_end_told || self.liveness.is_silent();
        if !is_over || !matches!(source, Source::Line(_)) || self.left.contains(&session) {
            return false;
        }
        // What the old session still owes is told first; the new one is taken from a later packet.
        for report in self.reports.iter_mut() {
            report.given_up = Some(LossCause::Ended);
        }
        self.expected == self.known_next && self.deferred_next <= self.known_next
    }

    fn adopt(&mut self, session: SessionId, sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        let previous = self.session.map(|session| PreviousSession { session, ended: self.end.is_some() });
        if let Some(previous) = previous {
            if self.left.len() == LEFT_SESSIONS {
                self.left.pop_front();
            }
            self.left.push_back(previous.session);
            if let Start::At(_) = self.config.start {
                self.config.start = Start::Oldest;
            }
        }
        self.session = Some(session);
        (self.end, self.deferred_next, self.no_room) = (None, 0, (0, 0));
        (self.is_started, self.is_caught_up, self.is_end_told, self.has_begun) = (false, false, false, false);
        self.gaps.clear();
        self.window.clear();
        self.reports.clear();
        self.requester.reset();
        self.liveness.renew();
        sink(Event::NewSession(NewSession { session, previous }))
    }

    /// Begins at the first packet, whose first or next number is `sequence`.
    fn start(&mut self, now: Nanos, sequence: SequenceNumber) {
        if self.is_started {
            return;
        }
        self.is_started = true;
        self.last_progress = now;
        self.expected = match self.config.start {
            Start::Oldest if self.requester.has_targets() => 1,
            Start::Oldest | Start::Live => sequence.max(1),
            Start::At(number) => number.max(1),
        };
        self.known_next = self.expected;
    }

    /// Takes the word of a request address that it retains nothing below `oldest`.
    fn handle_oldest(&mut self, target: usize, oldest: SequenceNumber) {
        let is_plausible = self.is_started && self.config.trust_oldest && Some(oldest) <= self.highest();
        if !is_plausible || !self.requester.handle_oldest(target, oldest) {
            return;
        }
        let oldest = self.requester.oldest();
        match self.gaps.first() {
            // Nothing has been delivered or told: the session is joined later, and nothing is lost.
            Some(missing) if self.config.start == Start::Oldest && !self.has_begun && oldest > self.expected => {
                self.expected = missing.end().min(oldest).min(self.reports.raised_start());
                self.gaps.forget_below(self.expected);
                self.reports.forget_below(self.expected);
            }
            _ => {}
        }
    }

    /// Opens the gap of what arrived and could not be kept; returns whether there was one, and room for it.
    fn open_deferred(&mut self, now: Nanos) -> bool {
        if self.deferred_next <= self.known_next {
            return false;
        }
        let is_joining = !self.is_caught_up && self.requester.has_targets();
        let origin = if is_joining { GapOrigin::LateJoin } else { GapOrigin::Deferred };
        self.note_missing(now, self.deferred_next, origin);
        self.deferred_next <= self.known_next
    }

    /// Opens the gap `known_next..next`. Without room for it, it is opened later.
    fn note_missing(&mut self, now: Nanos, next: SequenceNumber, origin: GapOrigin) {
        let range = SequenceRange::new(self.known_next, next);
        if self.reports.has_room(origin) && self.gaps.open(range) {
            self.reports.open(range, origin, now);
            self.known_next = next;
        } else {
            self.deferred_next = self.deferred_next.max(next);
        }
    }

    /// Takes the messages of a packet; returns whether the next expected one is among them, so that delivery goes on from
    /// the packet itself.
    fn note_data(&mut self, now: Nanos, source: Source, packet: &Packet<'_>) -> bool {
        let range = packet.range();
        if range.end() <= self.expected {
            self.counters.duplicates += range.count();
            return false;
        }
        let is_next = range.start() <= self.expected;
        if range.start() > self.known_next {
            // There was no room for the gap before it.
            self.deferred_next = self.deferred_next.max(range.end());
            self.counters.deferred += range.count();
            return false;
        }
        let new = SequenceRange::new(range.start().max(self.known_next), range.end().max(self.known_next));
        let mut taken = 0;
        let mut deferred = 0;
        if !self.gaps.is_empty() {
            taken = self.fill(packet, is_next);
            if taken > 0 {
                self.last_progress = now;
                let gaps = &self.gaps;
                self.reports.note_filled(range, now, |range| gaps.first_within(range).is_some());
            }
            if let Some(refused) = self.gaps.first_within(range) {
                deferred = self.gaps.count_within(range);
                self.note_no_room(refused.start(), deferred);
            }
        }
        if !new.is_empty() {
            if is_next || self.store(packet, new) {
                self.known_next = new.end();
                taken += new.count();
            } else {
                deferred += new.count();
                self.deferred_next = self.deferred_next.max(new.end());
                self.note_no_room(new.start(), new.count());
            }
        }
        if let Source::RequestTarget(_) = source {
            self.counters.recovered += taken;
        }
        self.counters.duplicates += (range.count() - deferred).saturating_sub(taken);
        is_next
    }

    /// Removes what the packet brings from what is missing; what is not delivered from the packet itself goes into the
    /// window. Returns how many messages that were.
    fn fill(&mut self, packet: &Packet<'_>, is_next: bool) -> u64 {
        let (window, expected) = (&mut self.window, self.expected);
        self.gaps.fill(packet.range(), |piece| is_next || store_piece(window, expected, packet, piece))
    }

    fn store(&mut self, packet: &Packet<'_>, piece: SequenceRange) -> bool {
        store_piece(&mut self.window, self.expected, packet, piece)
    }

    /// Notes that `count` messages from `from` on could not be kept: as long as nothing is delivered, they need not be
    /// asked for.
    fn note_no_room(&mut self, from: SequenceNumber, count: u64) {
        let before = if self.no_room.0 == self.expected { self.no_room.1 } else { SequenceNumber::MAX };
        self.no_room = (self.expected, from.min(before));
        self.counters.deferred += count;
    }

    /// Delivers from the packet, which holds the next expected message or has held it, and then from the window.
    fn deliver_packet(
        &mut self,
        packet: &Packet<'_>,
        sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let from = self.expected;
        let range = packet.range();
        let mut flow = Continue(());
        for (number, payload) in (range.start()..range.end()).zip(packet.messages()) {
            if number == self.expected {
                if self.reports.next_settled() <= number {
                    flow = self.settle(sink);
                    if flow.is_break() {
                        break;
                    }
                }
                self.count_delivery(payload);
                flow = sink(Event::Message(Message { number, payload }));
                if flow.is_break() {
                    break;
                }
            }
        }
        self.window.release(from, self.expected);
        flow?;
        if self.window.is_empty() && self.reports.next_settled() > self.expected {
            return Continue(());
        }
        self.drain(sink)
    }

    /// Delivers from the window, and reports lost what has been given up, as far as it goes.
    fn drain(&mut self, sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        loop {
            self.settle(sink)?;
            let number = self.expected;
            if let Some(payload) = self.window.get(number) {
                self.counters.messages += 1;
                self.counters.bytes += payload.len() as u64;
                self.has_begun = true;
                self.expected += 1;
                let flow = sink(Event::Message(Message { number, payload }));
                self.window.release(number, number + 1);
                flow?;
            } else if let Some(loss) = self.next_loss() {
                self.gaps.forget_below(loss.range.end());
                self.expected = loss.range.end();
                self.has_begun = true;
                self.window.release(loss.range.start(), self.expected);
                self.counters.lost = self.counters.lost.saturating_add(loss.range.count());
                sink(Event::Lost(loss))?;
            } else {
                return Continue(());
            }
        }
    }

    /// The next expected numbers, when they are missing and given up.
    fn next_loss(&mut self) -> Option<Loss> {
        let missing = self.gaps.first().filter(|missing| missing.start() == self.expected)?;
        let overwritten = self.requester.oldest();
        // A gap is raised before anything is done about it; and if the policy is to stop there, nothing is.
        let passes_gaps = self.config.gap_policy != GapPolicy::Stop;
        let report = self.reports.front_mut().filter(|report| (report.raised && passes_gaps) || !report.is_gap())?;
        let (end, cause) = match report.given_up {
            _ if overwritten > self.expected => (overwritten, LossCause::Overwritten),
            Some(cause) => (report.range.end(), cause),
            None => return None,
        };
        report.lossy = true;
        // Cut at the report, so that each gap that was raised is settled by its own words.
        let end = end.min(missing.end()).min(report.range.end());
        Some(Loss { range: SequenceRange::new(self.expected, end), cause })
    }

    /// Tells of the gaps that have been passed.
    fn settle(&mut self, sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        while let Some(report) = self.reports.settle(self.expected) {
            if let Some(recovered) = report.recovered() {
                sink(Event::Recovered(recovered))?;
            }
        }
        Continue(())
    }

    /// Raises the gaps whose wait for another line is over, and applies the policy to them.
    fn raise_gaps(&mut self, now: Nanos, sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        let (delay, policy) = (self.config.request.delay, self.config.gap_policy);
        for report in self.reports.iter_mut() {
            if report.raised && policy == GapPolicy::Stop {
                break;
            }
            if report.raised || !report.is_gap() || now < report.opened_at + delay {
                continue;
            }
            if self.gaps.first_within(report.range).is_none() {
                continue;
            }
            report.raised = true;
            self.counters.gaps += 1;
            if policy == GapPolicy::Skip && (report.origin != GapOrigin::Deferred || !self.requester.has_targets()) {
                report.given_up = Some(LossCause::Skipped);
            }
            sink(Event::Gap(Gap { range: report.range, origin: report.origin }))?;
            if policy == GapPolicy::Stop {
                break;
            }
        }
        Continue(())
    }

    /// Gives up the gaps whose time is over.
    fn give_up(&mut self, now: Nanos) {
        let (last_progress, give_up_after) = (self.last_progress, self.give_up_after());
        if now < last_progress + give_up_after {
            return;
        }
        for report in self.reports.iter_mut().take_while(|report| now >= report.opened_at + give_up_after) {
            report.given_up.get_or_insert(LossCause::NoAnswer);
        }
    }

    fn give_up_after(&self) -> Nanos {
        match self.config.gap_policy {
            GapPolicy::Wait { give_up } => give_up,
            GapPolicy::Skip | GapPolicy::Stop => JOIN_GIVE_UP,
        }
    }

    /// Asks once for the first number when nobody is heard.
    fn ask_unheard(&mut self, now: Nanos) -> Option<OutgoingRequest> {
        self.ask_unheard_at().filter(|&due| now >= due)?;
        self.has_asked_unheard = true;
        self.counters.requests += 1;
        let session = self.session.unwrap_or(SessionId::UNKNOWN);
        let first = if let Start::At(number) = self.config.start { number.max(1) } else { 1 };
        let request = Request::new(session, SequenceRange::with_count(first, u64::MAX)).ok()?;
        Some(OutgoingRequest { target: 0, request })
    }

    /// When to ask for the first number if nobody is heard before, where it is known and has not been asked for.
    fn ask_unheard_at(&self) -> Option<Nanos> {
        let may_ask = !self.is_started && !self.has_asked_unheard && self.requester.has_targets();
        (may_ask && self.config.start != Start::Live).then(|| self.opened_at + ASK_UNHEARD_AFTER)
    }

    fn tell_heard(&mut self, sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        match self.session {
            Some(session) if self.liveness.take_news() => sink(Event::Status(Status::Heard { session })),
            _ => Continue(()),
        }
    }

    fn count_delivery(&mut self, payload: &[u8]) {
        self.counters.messages += 1;
        self.counters.bytes += payload.len() as u64;
        self.has_begun = true;
        self.expected += 1;
    }
}

/// Copies the messages `piece` of the packet into the window.
fn store_piece(
    window: &mut ReorderWindow,
    expected: SequenceNumber,
    packet: &Packet<'_>,
    piece: SequenceRange,
) -> bool {
    let mut blocks = packet.messages();
    let all = blocks.rest();
    let skipped = (piece.start() - packet.sequence()) as usize;
    if skipped > 0 {
        blocks.nth(skipped - 1);
    }
    let start = all.len() - blocks.rest().len();
    if piece.end() < packet.range().end() {
        blocks.nth(piece.count() as usize - 1);
    } else {
        blocks = seqcast_protocol::Blocks::new(&[]);
    }
    let end = all.len() - blocks.rest().len();
    window.insert(expected, piece.start(), piece.count(), &all[start..end])
}
