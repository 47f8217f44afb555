//! What arrives: sessions, numbers that are shown to exist, messages, and the word of a request address.

use super::{LEFT_SESSIONS, Subscription};
use crate::config::{RewindPolicy, SessionChoice, Start};
use crate::event::{Event, GapOrigin, Line, LossCause, NewSession, PreviousSession, Rewound, Source};
use crate::reports::Opening;
use crate::{Nanos, ReorderWindow};
use core::ops::ControlFlow::{self, Continue};
use seqcast_protocol::{Blocks, HEADER_BYTES, Packet, PacketKind, SequenceNumber, SequenceRange, SessionId};

impl Subscription {
    /// Whether a packet of a session other than the present one is taken.
    pub(super) fn takes_session(&mut self, session: SessionId, source: Source) -> bool {
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
        !self.is_behind()
    }

    pub(super) fn adopt(
        &mut self,
        session: SessionId,
        sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
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
        self.forget_numbers();
        self.rewinds.clear();
        self.is_caught_up = false;
        self.liveness.renew();
        sink(Event::NewSession(NewSession { session, previous }))
    }

    /// Whether the session's numbers have begun again, on this line at least, and from which they go on.
    pub(super) fn rewound_to(&mut self, line: Line, packet: &Packet<'_>, datagram: &[u8]) -> Option<SequenceNumber> {
        if self.lines.is_rewound(line) {
            return Some(packet.sequence());
        }
        if packet.kind() != PacketKind::Data {
            return None;
        }
        let end = packet.range().end();
        if !self.is_started || end > self.expected || self.lines.next(line).is_none_or(|next| end > next) {
            self.rewinds.note(line, packet);
            return None;
        }
        self.rewinds.judge(line, packet, datagram, self.expected)
    }

    /// Starts over where the numbers have begun again, if they have on every line that is heard; returns whether so.
    pub(super) fn rewind(
        &mut self,
        line: Line,
        packet: &Packet<'_>,
        sequence: SequenceNumber,
        sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> (bool, ControlFlow<()>) {
        let Some(sequence) = self.lines.rewind(self.now, line, sequence) else { return (false, Continue(())) };
        // What is owed from before is told first; the new numbers are taken from a later packet.
        for report in self.reports.iter_mut() {
            report.given_up = Some(LossCause::Ended);
        }
        let (Some(session), false) = (self.session, self.is_behind()) else { return (false, Continue(())) };
        let expected = self.expected;
        self.forget_numbers();
        (self.is_started, self.has_begun, self.expected, self.known_next) = (true, true, sequence, sequence);
        self.last_progress = self.now;
        if let Some((line, held)) = self.rewinds.held().filter(|(_, held)| held.sequence() == sequence)
            && self.window.insert(sequence, sequence, held.range().count(), held.messages().rest(), None)
        {
            self.known_next = held.range().end();
            // It was taken for a copy.
            self.counters.duplicates -= held.range().count();
            self.counters.lines[line.index()].first += held.range().count();
        }
        self.rewinds.start_over(packet);
        self.has_stale_answers = true;
        self.is_stopped = self.config.rewind_policy == RewindPolicy::Stop;
        self.owes_stopped = self.is_stopped;
        (!self.is_stopped, sink(Event::Rewound(Rewound { session, expected, sequence })))
    }

    /// Whether anything that is known to exist has yet to be delivered or told.
    pub(super) fn is_behind(&self) -> bool {
        self.expected != self.known_next || self.deferred_next > self.known_next
    }

    /// Forgets what was known of the numbers of a session.
    fn forget_numbers(&mut self) {
        (self.end, self.deferred_next, self.no_room) = (None, 0, (0, 0));
        (self.is_started, self.is_end_told, self.has_begun) = (false, false, false);
        self.gaps.clear();
        self.window.clear();
        self.reports.clear();
        self.requester.reset();
        self.lines.renew();
        if let Some(copies) = &mut self.copies {
            copies.clear();
        }
    }

    /// Begins at the first packet, whose first or next number is `sequence`.
    pub(super) fn start(&mut self, sequence: SequenceNumber) {
        if self.is_started {
            return;
        }
        self.is_started = true;
        self.last_progress = self.now;
        self.expected = match self.beginning() {
            Start::Oldest if self.requester.has_targets() => 1,
            Start::Oldest | Start::Live => sequence.max(1),
            Start::At(number) => number.max(1),
        };
        self.known_next = self.expected;
    }

    /// Where the present session, or any as long as none is known, begins.
    pub(super) fn beginning(&self) -> Start {
        match self.config.resume {
            Some((session, number)) if self.session.is_none_or(|present| present == session) => Start::At(number),
            _ => self.config.start,
        }
    }

    /// Takes the word of a request address that it retains nothing below `oldest`.
    pub(super) fn handle_oldest(&mut self, target: usize, oldest: SequenceNumber) {
        let is_plausible = self.is_started && self.config.trust_oldest && Some(oldest) <= self.highest();
        if !is_plausible || !self.requester.handle_oldest(target, oldest) {
            return;
        }
        let oldest = self.requester.oldest();
        match self.gaps.first() {
            // Nothing has been delivered or told: the session is joined later, and nothing is lost.
            Some(missing) if self.beginning() == Start::Oldest && !self.has_begun && oldest > self.expected => {
                self.expected = missing.end().min(oldest).min(self.reports.raised_start());
                self.gaps.forget_below(self.expected);
                self.reports.forget_below(self.expected);
            }
            _ => {}
        }
    }

    /// Opens the gap of what arrived and could not be kept; returns whether there was one, and room for it.
    pub(super) fn open_deferred(&mut self) -> bool {
        if self.deferred_next <= self.known_next {
            return false;
        }
        let is_joining = !self.is_caught_up && self.requester.has_targets();
        let origin = if is_joining { GapOrigin::LateJoin } else { GapOrigin::Deferred };
        self.note_missing(self.deferred_next, origin, self.deferred_by);
        self.deferred_next <= self.known_next
    }

    /// Opens the gap `known_next..next`, which such a packet from there has shown. Without room for it, it is opened later.
    pub(super) fn note_missing(
        &mut self,
        next: SequenceNumber,
        origin: GapOrigin,
        (source, kind): (Source, PacketKind),
    ) {
        let range = SequenceRange::new(self.known_next, next);
        if self.reports.has_room(origin) && self.gaps.open(range) {
            self.reports.open(range, origin, Opening { at: self.now, source, kind });
            self.known_next = next;
        } else {
            self.defer(next, (source, kind));
        }
    }

    fn defer(&mut self, next: SequenceNumber, by: (Source, PacketKind)) {
        if next > self.deferred_next {
            (self.deferred_next, self.deferred_by) = (next, by);
        }
    }

    /// Whether a packet on a line is what nearly all are: data that goes on where everything known ends, of which nothing is to be
    /// told but its messages.
    #[inline]
    pub(super) fn is_usual(&self, line: Line, packet: &Packet<'_>) -> bool {
        packet.sequence() == self.expected
            && self.expected == self.known_next
            && packet.kind() == PacketKind::Data
            && self.session == Some(packet.session())
            && self.is_started
            && self.liveness.is_as_before()
            && !self.lines.is_rewound(line)
    }

    /// Notes such a packet, behind its delivery.
    pub(super) fn note_usual(&mut self, line: Line, packet: &Packet<'_>) {
        self.rewinds.note(line, packet);
        self.note_packet(line, packet);
        self.packing.note(packet.blocks().len(), packet.range().count());
        self.compare_copies(Source::Line(line), packet);
        self.counters.lines[line.index()].first += packet.range().count();
        // Nothing is to be told behind it, but that copies differ, or what it says of the other line.
        if self.differing.is_some() || self.lines.are_two() {
            self.settled_until = Nanos::ZERO;
        }
    }

    /// Notes a packet of the session on a line.
    pub(super) fn note_packet(&mut self, line: Line, packet: &Packet<'_>) {
        let counters = &mut self.counters.lines[line.index()];
        counters.packets += 1;
        counters.bytes += (HEADER_BYTES + packet.blocks().len()) as u64;
        self.liveness.heard(self.now);
        self.lines.note(self.now, line, packet.range(), counters);
    }

    /// Compares the messages of a packet with their first copies.
    pub(super) fn compare_copies(&mut self, source: Source, packet: &Packet<'_>) {
        let Some(copies) = &mut self.copies else { return };
        for (number, payload) in (packet.range().start()..packet.range().end()).zip(packet.messages()) {
            if !copies.agrees(number, payload) {
                self.counters.differing += 1;
                self.differing.get_or_insert((number, source));
            }
        }
    }

    /// Takes the messages of a packet; returns whether the next expected one is among them, so that delivery goes on from
    /// the packet itself.
    pub(super) fn note_data(&mut self, source: Source, packet: &Packet<'_>) -> bool {
        let range = packet.range();
        if range.end() <= self.expected {
            self.counters.duplicates += range.count();
            return false;
        }
        let is_next = range.start() <= self.expected;
        if range.start() > self.known_next {
            // There was no room for the gap before it.
            self.defer(range.end(), (source, PacketKind::Data));
            self.counters.deferred += range.count();
            return false;
        }
        let new = SequenceRange::new(range.start().max(self.known_next), range.end().max(self.known_next));
        let mut taken = 0;
        let mut deferred = 0;
        if range.start() < self.known_next && !self.gaps.is_empty() {
            taken = self.fill(source, packet, is_next);
            if taken > 0 {
                // What a line fills beyond the first missing number says nothing of whether that can still be filled.
                if is_next || matches!(source, Source::RequestTarget(_)) {
                    self.last_progress = self.now;
                }
                let gaps = &self.gaps;
                self.reports.note_filled(range, self.now, |range| gaps.first_within(range).is_some());
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
                self.defer(new.end(), (source, PacketKind::Data));
                self.note_no_room(new.start(), new.count());
            }
        }
        match source {
            Source::Line(line) => self.counters.lines[line.index()].first += taken,
            Source::RequestTarget(_) => self.counters.recovered += taken,
        }
        self.counters.duplicates += (range.count() - deferred).saturating_sub(taken);
        is_next
    }

    /// Removes what the packet brings from what is missing; what is not delivered from the packet itself goes into the
    /// window. Returns how many messages that were.
    fn fill(&mut self, source: Source, packet: &Packet<'_>, is_next: bool) -> u64 {
        let (window, reports, expected) = (&mut self.window, &mut self.reports, self.expected);
        let received_at = self.received_at;
        self.gaps.fill(packet.range(), |piece| {
            let is_kept = is_next || store_piece(window, expected, packet, piece, received_at);
            if is_kept {
                reports.note_piece(piece, source);
            }
            is_kept
        })
    }

    fn store(&mut self, packet: &Packet<'_>, piece: SequenceRange) -> bool {
        store_piece(&mut self.window, self.expected, packet, piece, self.received_at)
    }

    /// Notes that `count` messages from `from` on could not be kept: as long as nothing is delivered, they need not be
    /// asked for.
    fn note_no_room(&mut self, from: SequenceNumber, count: u64) {
        let before = if self.no_room.0 == self.expected { self.no_room.1 } else { SequenceNumber::MAX };
        self.no_room = (self.expected, from.min(before));
        self.counters.deferred += count;
    }
}

/// Copies the messages `piece` of the packet into the window.
fn store_piece(
    window: &mut ReorderWindow,
    expected: SequenceNumber,
    packet: &Packet<'_>,
    piece: SequenceRange,
    received_at: Option<Nanos>,
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
        blocks = Blocks::new(&[]);
    }
    let end = all.len() - blocks.rest().len();
    window.insert(expected, piece.start(), piece.count(), &all[start..end], received_at)
}
