//! One subscriber's view of one session: what has arrived, what is missing, what comes next.
//!
//! This file routes between the mechanisms: [`GapSet`] (what is missing), [`ReorderWindow`] (what waits beyond it),
//! the requester (what to ask for), the reports (what the application knows of it), liveness. What arrives is in
//! `intake`, what the application is told in `delivery`, what whoever watches wants to know in `standing`.

mod delivery;
mod intake;
mod standing;

use crate::config::{GapPolicy, SessionChoice, Start, SubscriptionConfig};
use crate::copies::Copies;
use crate::event::{EndOfSession, Event, GapOrigin, Line, Source, Status};
use crate::lines::{LineLimits, Lines};
use crate::liveness::Liveness;
use crate::packing::Packing;
use crate::record::Records;
use crate::reports::Reports;
use crate::requester::Requester;
use crate::rewind::Rewinds;
use crate::{Counters, GapRecord, GapSet, Nanos, ReorderWindow};
use alloc::collections::VecDeque;
use core::ops::ControlFlow::{self, Continue};
use seqcast_protocol::{Packet, PacketKind, Request, SequenceNumber, SequenceRange, SessionId};

/// How many sessions that were left are remembered, so as never to return to one. Arbitrary.
const LEFT_SESSIONS: usize = 64;

/// When nothing has been heard for so long, the next number is asked for once: two heartbeats at their ceiling.
const ASK_UNHEARD_AFTER: Nanos = Nanos::from_millis(200);

/// When a late join is given up under a gap policy that does not wait: as the default of the one that does.
const JOIN_GIVE_UP: Nanos = Nanos::from_secs(10);

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
    /// What showed that number.
    deferred_by: (Source, PacketKind),
    /// One past the last number that is delivered straight from the datagram that was handed in last.
    direct_end: SequenceNumber,
    /// While the first number is expected next, there is no room for what is missing from the second on.
    no_room: (SequenceNumber, SequenceNumber),
    /// One past the last number of the session, once its end was announced.
    end: Option<SequenceNumber>,
    is_started: bool,
    is_caught_up: bool,
    has_backlog: bool,
    is_end_told: bool,
    is_stopped: bool,
    /// Whether it has stopped, and the application has yet to be told.
    owes_stopped: bool,
    has_begun: bool,
    has_asked_unheard: bool,
    opened_at: Nanos,
    /// The latest time that was handed in.
    now: Nanos,
    last_progress: Nanos,
    /// When what is handed in was received.
    received_at: Option<Nanos>,
    /// A message of which two copies were found to differ, until that is told.
    differing: Option<(SequenceNumber, Source)>,
    gaps: GapSet,
    window: ReorderWindow,
    reports: Reports,
    requester: Requester,
    liveness: Liveness,
    lines: Lines,
    packing: Packing,
    rewinds: Rewinds,
    copies: Option<Copies>,
    records: Records,
    counters: Counters,
}

impl Subscription {
    /// Starts at `now`; reserves and touches all memory that it will ever use.
    #[must_use]
    pub fn new(mut config: SubscriptionConfig, now: Nanos) -> Self {
        if let GapPolicy::Wait { give_up } = config.gap_policy {
            // Waiting for another line for longer than for everybody is no use.
            config.request.delay = config.request.delay.min(give_up);
            config.request.max_line_wait = config.request.max_line_wait.min(give_up);
        }
        let limits = LineLimits {
            max_wait: config.request.max_line_wait,
            behind_after: config.line_behind_after,
            silent_after: config.silent_after,
        };
        let mut left = VecDeque::new();
        left.resize(LEFT_SESSIONS, SessionId::UNKNOWN);
        left.clear();
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
            deferred_by: (Source::Line(Line::A), PacketKind::Data),
            direct_end: 0,
            no_room: (0, 0),
            end: None,
            is_started: false,
            is_caught_up: false,
            has_backlog: false,
            is_end_told: false,
            is_stopped: false,
            owes_stopped: false,
            has_begun: false,
            has_asked_unheard: false,
            opened_at: now,
            now,
            last_progress: now,
            differing: None,
            gaps: GapSet::new(config.gap_capacity),
            window: ReorderWindow::new(config.window_messages, config.window_bytes, config.receive_times),
            received_at: None,
            reports: Reports::new(config.gap_capacity),
            requester: Requester::new(config.request, config.request_targets, config.seed),
            liveness: Liveness::new(config.silent_after, now),
            lines: Lines::new(limits, config.lines),
            packing: Packing::new(),
            rewinds: Rewinds::new(),
            copies: config.compare_copies.then(|| Copies::new(config.window_messages, config.window_bytes)),
            records: Records::new(),
            counters: Counters::default(),
        }
    }

    /// Says when the datagrams that are handed in next were received, as the messages then tell; what waits in the reorder window
    /// keeps its time if [`SubscriptionConfig::receive_times`] is on.
    pub fn set_received_at(&mut self, received_at: Option<Nanos>) {
        self.received_at = received_at;
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
        self.now = now;
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
        if let Source::Line(line) = source
            && let Some(sequence) = self.rewound_to(line, &packet, datagram)
        {
            let (has_started_over, told) = self.rewind(line, &packet, sequence, sink);
            if !has_started_over {
                self.counters.foreign += 1;
                self.liveness.heard(now);
                return told;
            }
            flow = told;
        }
        // What was published before a line was first heard is no gap.
        let origin = if self.liveness.has_heard() { GapOrigin::Unknown } else { GapOrigin::LateJoin };
        match source {
            Source::Line(line) => {
                let counters = &mut self.counters.lines[line.index()];
                counters.packets += 1;
                counters.bytes += datagram.len() as u64;
                self.liveness.heard(now);
                self.lines.note(now, line, packet.range(), counters);
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
        self.start(packet.sequence());
        if packet.sequence() > self.known_next {
            self.note_missing(packet.sequence(), origin, (source, packet.kind()));
        }
        match packet.kind() {
            PacketKind::Heartbeat => {}
            // An end below what is known to exist is none.
            PacketKind::EndOfSession if packet.sequence() >= self.known_next || !self.has_begun => {
                self.end = Some(packet.sequence());
            }
            PacketKind::EndOfSession => {}
            PacketKind::Data => {
                self.packing.note(packet.blocks().len(), packet.range().count());
                self.compare_copies(source, &packet);
                let is_next = self.note_data(source, &packet);
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
        !self.gaps.is_empty() && self.reports.has_unraised()
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

    /// Tells whether datagrams may lie unread: behind them may be more than is known, and nobody is caught up as long as that
    /// is so. It is not, unless told.
    pub fn note_backlog(&mut self, has_backlog: bool) {
        self.has_backlog = has_backlog;
    }

    /// Does what time asks for, and delivers what has become deliverable: once per duty cycle, behind the datagrams.
    ///
    /// `Break` from `sink` stops behind the event it was given; the rest follows at the next call.
    pub fn advance(&mut self, now: Nanos, sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        if core::mem::take(&mut self.owes_stopped) {
            return sink(Event::Status(Status::Stopped { next: self.expected }));
        }
        if self.is_stopped {
            return Continue(());
        }
        self.now = now;
        self.tell_heard(sink)?;
        self.tell_of_lines(sink)?;
        if let Some(elapsed) = self.liveness.poll(now) {
            sink(Event::Status(Status::Silent { elapsed }))?;
        }
        if !self.is_started {
            return Continue(());
        }
        self.settle(sink)?;
        self.open_deferred();
        loop {
            let next = self.expected;
            if !self.gaps.is_empty() {
                self.raise_gaps(sink)?;
                self.give_up();
            }
            self.drain(sink)?;
            // A gap that is settled may have kept another one from being raised.
            if !self.open_deferred() && self.expected == next {
                break;
            }
        }
        if self.config.gap_policy == GapPolicy::Stop && self.reports.front().is_some_and(|front| front.raised) {
            self.is_stopped = true;
            return sink(Event::Status(Status::Stopped { next: self.expected }));
        }
        if self.is_behind() || !self.liveness.has_heard() {
            return Continue(());
        }
        if !self.is_caught_up {
            if self.has_backlog {
                return Continue(());
            }
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
        if self.gaps.is_empty() && !self.requester.is_waiting() {
            return None;
        }
        self.now = now;
        let window_end = self.expected.saturating_add(self.window.message_capacity());
        let waits = matches!(self.config.gap_policy, GapPolicy::Wait { .. });
        let end = self.reports.askable_end(&self.due(), waits).min(window_end);
        let end = if self.no_room.0 == self.expected { end.min(self.no_room.1) } else { end };
        let ask = self.requester.poll(now, &self.gaps, end, self.packing.messages_per_packet())?;
        self.counters.requests += 1;
        self.counters.retries += u64::from(ask.is_retry);
        self.reports.note_request(now, ask.range.start());
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
        if let Some(due) = self.lines.due() {
            next = next.min(due);
        }
        if let Some(front) = self.reports.front() {
            if let Some(retry) = self.requester.next_retry() {
                next = next.min(retry);
            }
            if let Some(due) = self.reports.next_due(&self.due()).filter(|_| !self.gaps.is_empty()) {
                next = next.min(due);
            }
            next = next.min(front.opening.at.max(self.last_progress) + self.give_up_after());
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

    /// Whether [`Status::CaughtUp`] was told of this session, and everything known to exist is delivered or reported lost now.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.is_caught_up && !self.has_backlog && !self.is_behind()
    }

    /// Whether the end of the session was told.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.is_end_told
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

    /// Whether what `line` carries next may as well lie unread: answers are awaited, there was no room for what came last, and the
    /// line has passed what is missing first. Its socket keeps for later what would be forgotten here.
    #[must_use]
    pub fn can_rest(&self, line: Line) -> bool {
        let has_passed = |missing: SequenceRange| self.lines.next(line).is_some_and(|next| next >= missing.end());
        self.no_room.0 == self.expected && self.requester.is_waiting() && self.gaps.first().is_some_and(has_passed)
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

    /// How many messages the other line has shown that this one has yet to: lost on it, if it never carries them.
    #[must_use]
    pub fn line_behind(&self, line: Line) -> u64 {
        self.lines.behind(line)
    }

    /// By how much the line that the last datagram came on lagged behind the other one, if that is known: the other
    /// line, and the time; once.
    pub fn take_lead(&mut self) -> Option<(Line, Nanos)> {
        self.lines.take_lead()
    }

    /// The latest gaps that were raised and are settled, the oldest first, at most 128.
    #[must_use]
    pub fn records(&self) -> impl DoubleEndedIterator<Item = &GapRecord> + ExactSizeIterator {
        self.records.iter()
    }

    /// What has been counted so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Asks once for the first number when nobody is heard.
    fn ask_unheard(&mut self, now: Nanos) -> Option<OutgoingRequest> {
        self.ask_unheard_at().filter(|&due| now >= due)?;
        self.has_asked_unheard = true;
        self.counters.requests += 1;
        let session = self.session.unwrap_or(SessionId::UNKNOWN);
        let first = if let Start::At(number) = self.beginning() { number.max(1) } else { 1 };
        let request = Request::new(session, SequenceRange::with_count(first, u64::MAX)).ok()?;
        Some(OutgoingRequest { target: 0, request })
    }

    /// When to ask for the first number if nobody is heard before, where it is known and has not been asked for.
    fn ask_unheard_at(&self) -> Option<Nanos> {
        let may_ask = !self.is_started && !self.has_asked_unheard && self.requester.has_targets();
        (may_ask && self.beginning() != Start::Live).then(|| self.opened_at + ASK_UNHEARD_AFTER)
    }
}
