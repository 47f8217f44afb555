//! A subscriber: polls its lines, delivers in order, asks for what is missing.

use crate::builder::SubscriberBuilder;
use crate::histograms::Histograms;
use crate::hold::Hold;
use crate::line::{DropCount, LineSocket};
use crate::offset::Offset;
use crate::path::{Arrival, Path};
use crate::recorder::Recorder;
use crate::stats::{Cycle, Stats, View};
use crate::target::TargetSocket;
use crate::warm::Warmer;
use seqcast_protocol::{SequenceNumber, SessionId};
use seqcast_recovery::{
    Counters, Event, Headroom, Impairment, ImpairmentCounters, Line, MAX_RUN_PACKETS, Nanos, SessionChoice, Source,
    Subscription,
};
use seqcast_stats::Cell;
use seqcast_transport::{Clock, Place, is_busy_polled};
use std::io;
use std::ops::ControlFlow::{self, Break, Continue};
use std::os::fd::RawFd;
use std::time::Duration;

/// The most datagrams taken from a line in one duty cycle, so that time-outs and requests get their turn: 256 of them take some
/// 100 µs. Where one request after the other leaves, those of so many leave together.
const DATAGRAMS_PER_CYCLE: usize = 256;

/// Behind a request that left at once, so many datagrams more at the most, which take about as long as its answer.
const DATAGRAMS_BEHIND_REQUEST: usize = 16;

/// The most answers taken from one request address in one duty cycle: as many as there may be requests that leave with one
/// system call.
const ANSWERS_PER_CYCLE: usize = MAX_RUN_PACKETS;

/// The most answers that may lie unread: four times the requests in flight at the most unless set, for some are repeated. What is
/// left unread when numbers begin again would be taken for the new ones.
const UNREAD_ANSWERS: usize = 1_024;

/// How long a line that can rest ([`Subscription::can_rest`]) is left alone: within that time a late copy of what is missing is
/// found on it. Arbitrary.
const REST: Nanos = Nanos::from_micros(100);

/// What a subscriber has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscriberCounters {
    /// What became of the datagrams.
    pub subscription: Counters,
    /// Datagrams that the kernel dropped because a line's receive buffer was full, as far as was seen when gaps were
    /// found.
    pub kernel_drops: u64,
    /// Datagrams from another source than the one that was set for their line ([`LineSource`](crate::LineSource)).
    pub other_sources: u64,
    /// Times that a request address was found to have nobody listening.
    pub requests_refused: u64,
    /// Other errors of sending and receiving; the sockets go on.
    pub socket_errors: u64,
    /// What was done to the datagrams on purpose, on all paths together.
    pub impairment: ImpairmentCounters,
}

/// A line that is open.
#[derive(Debug)]
pub(crate) struct LinePath {
    pub(crate) line: Line,
    pub(crate) path: Path<LineSocket>,
    pub(crate) drops: DropCount,
    /// When to look at it again while it rests.
    pub(crate) look_at: Nanos,
}

/// A datagram whose delivery was interrupted; it is still in its path's buffer.
#[derive(Clone, Copy, Debug)]
enum Held {
    Line { index: usize, place: Place },
    Answer { target: usize, place: Place },
}

/// Subscribes to one session at a time.
///
/// One call of [`Self::poll`] is one duty cycle: it takes what has arrived, delivers what is next in order, and sends the
/// requests that are due. It never waits. Nothing is allocated, locked or logged there.
#[derive(Debug)]
pub struct Subscriber {
    pub(crate) subscription: Subscription,
    pub(crate) lines: Vec<LinePath>,
    pub(crate) targets: Vec<Path<TargetSocket>>,
    held: Option<Held>,
    /// When the last duty cycle was, if it was cut short before the subscription was advanced.
    cut_at: Option<Nanos>,
    hold: Hold,
    fds: Vec<RawFd>,
    /// How many of them are the lines'.
    line_fds: usize,
    pub(crate) recorder: Recorder,
    kernel_drops: u64,
    requests_refused: u64,
    socket_errors: u64,
    warmer: Option<Warmer>,
    /// Whether messages tell when they were received.
    pub(crate) receive_times: bool,
}

impl Subscriber {
    /// Begins to set up a subscriber of `session`, or of [`SessionChoice::Any`].
    #[must_use]
    pub fn builder(session: SessionChoice) -> SubscriberBuilder {
        SubscriberBuilder::new(session)
    }

    pub(crate) fn new(
        subscription: Subscription,
        lines: Vec<LinePath>,
        targets: Vec<Path<TargetSocket>>,
        hold: Hold,
        warmer: Option<Warmer>,
    ) -> Self {
        let mut fds: Vec<_> = lines.iter().filter_map(|line| line.path.fd()).collect();
        let line_fds = fds.len();
        fds.extend(targets.iter().filter_map(Path::fd));
        Self {
            subscription,
            lines,
            targets,
            held: None,
            cut_at: None,
            hold,
            fds,
            line_fds,
            recorder: Recorder::new(),
            kernel_drops: 0,
            requests_refused: 0,
            socket_errors: 0,
            warmer,
            receive_times: false,
        }
    }

    /// One duty cycle that delivers at most `limit` messages (at least one); returns the work it did, in events and
    /// datagrams. 0 means that there was nothing to do.
    #[inline]
    pub fn poll(&mut self, mut on_event: impl FnMut(Event<'_>), limit: usize) -> usize {
        self.try_poll(
            |event| {
                on_event(event);
                Continue(())
            },
            limit,
        )
    }

    /// As [`Self::poll`], with a callback that may stop: after `Break` it is given nothing more in this call, the event
    /// it was given counts as handled, and the next call goes on behind it.
    pub fn try_poll(&mut self, mut on_event: impl FnMut(Event<'_>) -> ControlFlow<()>, limit: usize) -> usize {
        let now = Clock::now();
        if let Some(stats) = self.recorder.stats_mut() {
            stats.begin_cycle(now);
        }
        let limit = limit.max(1);
        let mut room = limit;
        let mut events = 0;
        let datagrams = self.duty_cycle(now, &mut |event| {
            events += 1;
            room -= usize::from(matches!(event, Event::Message(_)));
            on_event(event)?;
            if room == 0 { Break(()) } else { Continue(()) }
        });
        let work = events + datagrams;
        if let Some(stats) = self.recorder.stats_mut()
            && stats.end_cycle(Cycle { at: now, messages: limit - room, datagrams, work }, &self.subscription)
        {
            self.refresh_stats(now);
        }
        work
    }

    /// The sockets to wait for when there is nothing to do: the lines', and the request addresses' while an answer may
    /// come.
    #[must_use]
    pub fn fds(&self) -> &[RawFd] {
        if self.subscription.awaits_answer() { &self.fds } else { &self.fds[..self.line_fds] }
    }

    /// Every socket: the lines' first.
    pub(crate) fn all_fds(&self) -> &[RawFd] {
        &self.fds
    }

    /// How long the next [`Self::poll`] may be put off when no datagram arrives; `None`: for ever.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        let has_unread = self.lines.iter().any(|line| !line.path.inbox.is_empty());
        if self.held.is_some() || self.cut_at.is_some() || has_unread {
            return Some(Duration::ZERO);
        }
        let rest = |line: &LinePath| self.subscription.can_rest(line.line).then_some(line.look_at);
        let lines = self.lines.iter().flat_map(|line| [line.path.due(), line.path.socket.look_at(), rest(line)]);
        let stats = self.recorder.stats().map(Stats::due);
        let others = [self.subscription.timeout(), self.hold.due(), self.warmer.as_ref().map(Warmer::due), stats];
        let due = lines.chain(self.targets.iter().map(Path::due)).chain(others).flatten().min();
        due.map(|due| (due - Clock::now()).as_duration())
    }

    /// The session, once one was chosen or heard.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.subscription.session()
    }

    /// The next number to be delivered, once the session was heard.
    #[must_use]
    pub fn next(&self) -> Option<SequenceNumber> {
        self.subscription.next()
    }

    /// How far it has come, to be stored behind what was handled, with the application's own `position`; `None` before the first
    /// message was delivered or reported lost, for who is started again then begins where it is set to.
    #[must_use]
    pub fn offset(&self, position: u64) -> Option<Offset> {
        let (session, next) = (self.session()?, self.next()?);
        self.subscription.has_begun().then_some(Offset { session, next, position })
    }

    /// How much more may pass, at least, until what this subscriber needs next is overwritten in the ring that it follows; in
    /// the one where it is kept longer, if it follows two. It may be kept for an eighth of the ring longer. A few lookups; no
    /// system call but for the clock.
    ///
    /// `None` without a ring line, for over the network nobody tells: a request address names the oldest number only when what
    /// was asked for is already overwritten. `None` also as long as the ring is not there, is empty, or holds another session.
    pub fn headroom(&mut self) -> Option<Headroom> {
        self.headroom_at(Clock::now())
    }

    pub(crate) fn headroom_at(&mut self, now: Nanos) -> Option<Headroom> {
        let (session, next) = (self.session()?, self.next()?);
        let rings = self.lines.iter_mut().filter_map(|line| line.path.socket.ring());
        rings.filter_map(|ring| ring.headroom(now, session, next)).max_by_key(|headroom| headroom.messages)
    }

    /// The state machine behind this subscriber.
    #[must_use]
    pub fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    /// Whether what arrived last on a line came from a driver that the kernel can poll
    /// ([`SubscriberBuilder::busy_poll`]); loopback is none, and a ring is none.
    #[must_use]
    pub fn is_busy_polled(&self, line: Line) -> bool {
        let path = self.lines.iter().find(|path| path.line == line);
        path.and_then(|path| path.path.fd()).is_some_and(is_busy_polled)
    }

    /// How long things took so far.
    #[must_use]
    pub fn histograms(&self) -> &Histograms {
        &self.recorder.histograms
    }

    /// The file in which it keeps counters for others to read ([`SubscriberBuilder::stats`]), if it does.
    #[must_use]
    pub fn stats_path(&self) -> Option<&std::path::Path> {
        self.recorder.stats().map(Stats::path)
    }

    /// The word in that file of a number of the application's own
    /// ([`SubscriberBuilder::stats_counter`], [`SubscriberBuilder::stats_gauge`]); `None` when there is no such file or number.
    #[must_use]
    pub fn stats_cell(&self, name: &str) -> Option<Cell> {
        self.recorder.stats()?.own(name)
    }

    /// What it has done so far.
    #[must_use]
    pub fn counters(&self) -> SubscriberCounters {
        let mut impairment = ImpairmentCounters::default();
        for counters in self.impairments().map(Impairment::counters) {
            impairment.datagrams += counters.datagrams;
            impairment.dropped += counters.dropped;
            impairment.duplicated += counters.duplicated;
            impairment.reordered += counters.reordered;
            impairment.delayed += counters.delayed;
            impairment.early += counters.early;
        }
        SubscriberCounters {
            subscription: *self.subscription.counters(),
            kernel_drops: self.kernel_drops,
            other_sources: self.lines.iter().map(|line| line.path.socket.other_sources).sum(),
            requests_refused: self.requests_refused,
            socket_errors: self.socket_errors,
            impairment,
        }
    }

    fn impairments(&self) -> impl Iterator<Item = &Impairment> {
        let lines = self.lines.iter().filter_map(|line| line.path.impairment.as_ref());
        lines.chain(self.targets.iter().filter_map(|path| path.impairment.as_ref()))
    }

    /// Whether anything is done to datagrams on purpose.
    pub(crate) fn has_impairment(&self) -> bool {
        self.impairments().next().is_some()
    }

    /// Copies what is counted into the file of counters, if there is one.
    #[cold]
    pub(crate) fn refresh_stats(&mut self, now: Nanos) {
        let view = View::of(self, now);
        if let Some(stats) = self.recorder.stats_mut() {
            stats.refresh(now, &view, &self.subscription);
        }
    }

    /// Returns how many datagrams were taken and sent.
    fn duty_cycle(&mut self, mut now: Nanos, sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>) -> usize {
        let mut datagrams = 0;
        // However the delivery ends, requests leave.
        let _ = self.receive(&mut now, sink, &mut datagrams);
        datagrams += self.send_requests(now);
        if let (Some(warmer), 0) = (&mut self.warmer, datagrams) {
            warmer.warm(now);
        }
        datagrams
    }

    /// What has arrived comes before what time asks for: a deadline is not over as long as its answer lies unread. When
    /// the last cycle was cut short, what time asked for then has its turn first, so that it is put off by no more than
    /// a cycle.
    fn receive(
        &mut self,
        now: &mut Nanos,
        sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
        datagrams: &mut usize,
    ) -> ControlFlow<()> {
        if let Some(held) = self.held {
            let datagram = match held {
                Held::Line { index, place } => self.lines[index].path.datagram(place),
                Held::Answer { target, place } => self.targets[target].datagram(place),
            };
            self.subscription.resume(datagram, &mut self.recorder.recording(sink))?;
            self.held = None;
        }
        if let Some(cut_at) = self.cut_at {
            self.advance(cut_at, sink)?;
        }
        self.cut_at = Some(*now);
        self.subscription.note_backlog(true);
        self.receive_answers(*now, sink, datagrams)?;
        self.receive_lines(now, sink, datagrams)?;
        if self.subscription.has_unraised_gap() {
            // Before anything that the application does about the gap.
            *datagrams += self.send_requests(*now);
        }
        self.advance(*now, sink)?;
        self.cut_at = None;
        Continue(())
    }

    fn advance(&mut self, now: Nanos, sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        if self.subscription.has_unraised_gap() {
            self.attribute_gaps();
        }
        self.subscription.advance(now, &mut self.recorder.recording(sink))
    }

    fn receive_lines(
        &mut self,
        now: &mut Nanos,
        sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
        datagrams: &mut usize,
    ) -> ControlFlow<()> {
        let mut left = DATAGRAMS_PER_CYCLE;
        while left > 0 {
            left -= 1;
            let (mut is_empty, mut has_rest) = (true, false);
            for (index, LinePath { line, path, look_at, .. }) in self.lines.iter_mut().enumerate() {
                if self.subscription.can_rest(*line) {
                    if *now < *look_at {
                        has_rest = true;
                        continue;
                    }
                    *look_at = *now + REST;
                }
                let arrival = match path.next(*now) {
                    Ok(Arrival::Nothing) => continue,
                    Ok(arrival) => arrival,
                    Err(_) => {
                        self.socket_errors += 1;
                        continue;
                    }
                };
                is_empty = false;
                *datagrams += 1;
                let Arrival::Datagram(place) = arrival else { continue };
                let (source, datagram) = (Source::Line(*line), path.datagram(place));
                if self.receive_times {
                    self.subscription.set_received_at(path.received_at());
                }
                let mut recording = self.recorder.recording(sink);
                let flow = self.subscription.handle_datagram(*now, source, datagram, &mut recording);
                drop(recording);
                if let Some(lead) = self.subscription.take_lead() {
                    self.recorder.note_lead(lead);
                }
                if flow.is_break() {
                    self.held = Some(Held::Line { index, place });
                    return flow;
                }
            }
            if is_empty {
                self.subscription.note_backlog(has_rest);
                break;
            }
            if !self.subscription.awaits_answer()
                && self.subscription.has_unraised_gap()
                && self.hold.due().is_none_or(|due| due <= *now)
            {
                left = left.min(self.ask_at_once(now, datagrams));
            }
        }
        Continue(())
    }

    /// As long as nothing is asked for, the first that is missing is asked for at once, not behind what lies unread; its round trip
    /// is measured from here. Returns how many datagrams may be taken before its answer is looked for.
    #[cold]
    fn ask_at_once(&mut self, now: &mut Nanos, datagrams: &mut usize) -> usize {
        *now = Clock::now();
        self.cut_at = Some(*now);
        let requests = self.send_requests(*now);
        *datagrams += requests;
        if requests > 0 { DATAGRAMS_BEHIND_REQUEST } else { DATAGRAMS_PER_CYCLE }
    }

    /// The request sockets are looked at only while an answer may come.
    fn receive_answers(
        &mut self,
        now: Nanos,
        sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
        datagrams: &mut usize,
    ) -> ControlFlow<()> {
        for (target, path) in self.targets.iter_mut().enumerate() {
            for _ in 0..ANSWERS_PER_CYCLE {
                let is_quiet = path.inbox.is_empty() && path.due().is_none_or(|due| due > now);
                if is_quiet && !self.subscription.awaits_answer() {
                    break;
                }
                let arrival = match path.next(now) {
                    Ok(Arrival::Nothing) => break,
                    Ok(arrival) => arrival,
                    Err(error) => {
                        count_error(&error, &mut self.requests_refused, &mut self.socket_errors);
                        continue;
                    }
                };
                *datagrams += 1;
                let Arrival::Datagram(place) = arrival else { continue };
                let (source, datagram) = (Source::RequestTarget(target), path.datagram(place));
                if self.receive_times {
                    self.subscription.set_received_at(path.received_at());
                }
                let flow = self.subscription.handle_datagram(now, source, datagram, &mut self.recorder.recording(sink));
                if flow.is_break() {
                    self.held = Some(Held::Answer { target, place });
                    return flow;
                }
            }
        }
        Continue(())
    }

    fn send_requests(&mut self, now: Nanos) -> usize {
        if self.subscription.take_stale_answers() {
            self.throw_answers_away(now);
            // More of them may come as long as nothing is asked for.
            self.hold.start_over();
        }
        if !self.hold.lets_pass(now) {
            return 0;
        }
        let mut count = 0;
        while let Some(outgoing) = self.subscription.poll_request(now) {
            count += 1;
            if let Err(error) = self.targets[outgoing.target].socket.ask(outgoing.request) {
                count_error(&error, &mut self.requests_refused, &mut self.socket_errors);
            }
        }
        if count > 0 {
            self.hold.note(now, count, self.subscription.round_trip().unwrap_or(Nanos::ZERO));
            for target in &mut self.targets {
                if let Err(error) = target.socket.send() {
                    count_error(&error, &mut self.requests_refused, &mut self.socket_errors);
                }
            }
        }
        count
    }

    /// Takes the answers that lie unread, and hands none on.
    #[cold]
    fn throw_answers_away(&mut self, now: Nanos) {
        for path in &mut self.targets {
            let is_rest = |arrival: &io::Result<Arrival>| !matches!(arrival, Ok(Arrival::Nothing) | Err(_));
            let _ = (0..UNREAD_ANSWERS).map(|_| path.next(now)).take_while(is_rest).count();
        }
    }

    /// Finds out whether the kernel dropped what is missing.
    #[cold]
    fn attribute_gaps(&mut self) {
        let dropped = self.lines.iter_mut().map(|line| line.drops.poll(&line.path.socket)).sum();
        self.kernel_drops += u64::from(dropped);
        self.subscription.note_kernel_drops(dropped);
    }
}

fn count_error(error: &io::Error, refused: &mut u64, others: &mut u64) {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => *refused += 1,
        _ => *others += 1,
    }
}
