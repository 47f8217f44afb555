//! The sessions of a capture, and the lines that carry them.
//!
//! A line is a destination, in one of the files. Where a session goes to a group, what goes to a single host is an answer
//! to a request, and counted only. The first two lines of a session are compared; with two files, the first of each.

use super::comparison::{Comparison, ComparisonCounters};
use super::numbers::{Numbers, Witness};
use super::timing::Timing;
use crate::feed::{Content, FeedPacket, Malformed, StreamId};
use crate::input::{Datagram, Skipped};
use seqcast_protocol::PacketKind;
use seqcast_recovery::Nanos;
use std::net::SocketAddrV4;

/// The most lines of all sessions together. Each takes 1.2 MiB, and each session 1 MiB more: 70 MiB at the most.
const MAX_LINES: usize = 32;

/// How many malformed datagrams are listed. Arbitrary.
const LISTED_MALFORMED: usize = 16;

/// What frames hold that is not part of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FrameCounters {
    pub(super) frames: u64,
    pub(super) requests: u64,
    /// Datagrams that are no packets, to where no packets go.
    pub(super) other_udp: u64,
    /// Packets of more lines than are followed.
    pub(super) unfollowed: u64,
    pub(super) not_udp: u64,
    pub(super) fragments: u64,
    /// Frames of which the capture holds only the first bytes.
    pub(super) cut: u64,
}

/// A malformed datagram: in which file, where in it, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MalformedAt {
    pub(super) file: usize,
    pub(super) offset: u64,
    pub(super) malformed: Malformed,
}

/// One line of a session.
#[derive(Debug)]
pub(super) struct LineState {
    pub(super) file: usize,
    pub(super) destination: SocketAddrV4,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) heartbeats: u64,
    pub(super) ends: u64,
    pub(super) numbers: Numbers,
    pub(super) timing: Timing,
    /// How many times its numbers have begun again.
    restarts: u64,
}

impl LineState {
    fn new(file: usize, destination: SocketAddrV4, packet: &FeedPacket) -> Self {
        Self {
            file,
            destination,
            packets: 0,
            bytes: 0,
            heartbeats: 0,
            ends: 0,
            // Some venues send 0 before the first message.
            numbers: Numbers::new(packet.first.max(1)),
            timing: Timing::new(),
            restarts: 0,
        }
    }
}

/// One session.
#[derive(Debug)]
pub(super) struct SessionState {
    pub(super) stream: StreamId,
    pub(super) lines: Vec<LineState>,
    /// The lines that are compared, by their index, as far as they are known.
    pub(super) compared: [Option<usize>; 2],
    comparison: Comparison,
    /// Packets to single hosts beside the lines, and their messages.
    pub(super) answers: u64,
    pub(super) answered_messages: u64,
}

impl SessionState {
    fn new(stream: StreamId) -> Self {
        let comparison = Comparison::new();
        Self { stream, lines: Vec::new(), compared: [None; 2], comparison, answers: 0, answered_messages: 0 }
    }

    /// What was found when the lines were compared, if there are two; at the end.
    pub(super) fn take_comparison(&mut self) -> Option<ComparisonCounters> {
        let is_whole = self.compared.iter().all(Option::is_some);
        is_whole.then(|| std::mem::replace(&mut self.comparison, Comparison::new()).finish())
    }

    fn is_multicast(&self) -> bool {
        self.lines.first().is_some_and(|line| line.destination.ip().is_multicast())
    }

    /// Makes what was taken for lines to single hosts answers: there is a group.
    fn demote_lines(&mut self) {
        for line in self.lines.drain(..) {
            self.answers += line.packets;
            self.answered_messages += line.numbers.finish().messages;
        }
        (self.compared, self.comparison) = ([None; 2], Comparison::new());
    }

    fn add_line(&mut self, line: LineState, has_two_files: bool) {
        let side = if has_two_files { line.file } else { usize::from(self.compared[0].is_some()) };
        if self.compared[side].is_none() {
            self.compared[side] = Some(self.lines.len());
            self.comparison.begin(side);
        }
        self.lines.push(line);
    }
}

/// How far a file has come: in which session, after how many new beginnings, to which number.
pub(super) type Position = (StreamId, u64, u64);

/// Everything in one or two captures.
#[derive(Debug)]
pub(super) struct Sessions {
    has_two_files: bool,
    pub(super) sessions: Vec<SessionState>,
    pub(super) counters: FrameCounters,
    pub(super) malformed: u64,
    pub(super) malformed_list: Vec<MalformedAt>,
}

impl Sessions {
    pub(super) fn new(has_two_files: bool) -> Self {
        Self {
            has_two_files,
            sessions: Vec::new(),
            counters: FrameCounters::default(),
            malformed: 0,
            malformed_list: Vec::new(),
        }
    }

    /// A frame without a datagram.
    pub(super) fn skip(&mut self, skipped: Skipped) {
        self.counters.frames += 1;
        *match skipped {
            Skipped::Other | Skipped::Ipv6 => &mut self.counters.not_udp,
            Skipped::Fragment => &mut self.counters.fragments,
            Skipped::Cut => &mut self.counters.cut,
        } += 1;
    }

    /// A datagram of a file, whose payload begins there at `offset`. Returns how far the file has come, if it carries a
    /// session.
    pub(super) fn handle(
        &mut self,
        file: usize,
        time: Option<Nanos>,
        offset: u64,
        datagram: &Datagram<'_>,
    ) -> Option<Position> {
        self.counters.frames += 1;
        match Content::of(datagram.payload, *datagram.destination.ip()) {
            Content::Packet(packet) => self.handle_packet(file, time, datagram, &packet),
            Content::Request(_) => {
                self.counters.requests += 1;
                None
            }
            Content::Malformed(malformed) => {
                self.handle_malformed(datagram.destination, MalformedAt { file, offset, malformed });
                None
            }
        }
    }

    fn handle_malformed(&mut self, destination: SocketAddrV4, malformed: MalformedAt) {
        let mut lines = self.sessions.iter().flat_map(|session| &session.lines);
        if !lines.any(|line| line.destination == destination) {
            self.counters.other_udp += 1;
            return;
        }
        self.malformed += 1;
        if self.malformed_list.len() < LISTED_MALFORMED {
            self.malformed_list.push(malformed);
        }
    }

    fn handle_packet(
        &mut self,
        file: usize,
        time: Option<Nanos>,
        datagram: &Datagram<'_>,
        packet: &FeedPacket,
    ) -> Option<Position> {
        let destination = datagram.destination;
        let line_count: usize = self.sessions.iter().map(|session| session.lines.len()).sum();
        let known = self.sessions.iter().position(|session| session.stream == packet.stream);
        if known.is_none() && line_count == MAX_LINES {
            self.counters.unfollowed += 1;
            return None;
        }
        let index = known.unwrap_or_else(|| {
            self.sessions.push(SessionState::new(packet.stream));
            self.sessions.len() - 1
        });
        let session = &mut self.sessions[index];
        if !destination.ip().is_multicast() && session.is_multicast() {
            session.answers += 1;
            session.answered_messages += u64::from(packet.count);
            return None;
        }
        if destination.ip().is_multicast() && !session.is_multicast() {
            session.demote_lines();
        }
        let known = session.lines.iter().position(|line| (line.file, line.destination) == (file, destination));
        let Some(line_index) = known.or_else(|| {
            (line_count < MAX_LINES).then(|| {
                session.add_line(LineState::new(file, destination, packet), self.has_two_files);
                session.lines.len() - 1
            })
        }) else {
            self.counters.unfollowed += 1;
            return None;
        };
        let line = &mut session.lines[line_index];
        line.bytes += datagram.payload.len() as u64;
        *match packet.kind {
            PacketKind::Data => &mut line.packets,
            PacketKind::Heartbeat => &mut line.heartbeats,
            PacketKind::EndOfSession => &mut line.ends,
        } += 1;
        if let Some(time) = time {
            line.timing.handle(time, datagram.payload.len(), packet.kind == PacketKind::Heartbeat);
        }
        let side = session.compared.iter().position(|compared| *compared == Some(line_index));
        let comparison = side.map(|side| session.comparison.side(side));
        let mut witness = Watched { comparison, restarts: &mut line.restarts };
        if packet.count == 0 {
            line.numbers.announce(packet.first, &mut witness);
        } else {
            line.numbers.handle(packet.first, &packet.messages(datagram.payload), &mut witness);
        }
        Some((packet.stream, line.restarts, line.numbers.next()))
    }
}

/// Who hears of the numbers of a line: the comparison with the other line, if there is one.
struct Watched<'a, C> {
    comparison: Option<C>,
    restarts: &'a mut u64,
}

impl<C: Witness> Witness for Watched<'_, C> {
    fn saw(&mut self, number: u64, hash: u64) {
        if let Some(comparison) = &mut self.comparison {
            comparison.saw(number, hash);
        }
    }

    fn passed(&mut self, next: u64) {
        if let Some(comparison) = &mut self.comparison {
            comparison.passed(next);
        }
    }

    fn restarted(&mut self) {
        *self.restarts += 1;
        if let Some(comparison) = &mut self.comparison {
            comparison.restarted();
        }
    }
}
