//! What one subscriber knows of the present session: what it was told, what is raised and not settled, what arrived.

use crate::oracle::Told;
use crate::truth::Truth;
use seqcast_protocol::{Packet, PacketKind, SequenceNumber, SequenceRange, SessionId};
use seqcast_recovery::{Nanos, Recovered, Source};
use std::collections::VecDeque;

/// How a message came to be known to exist.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) at: Nanos,
    pub(crate) by: Source,
    pub(crate) kind: PacketKind,
}

/// What is known of the present session.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) session: SessionId,
    pub(crate) is_first: bool,
    /// Which of the truths it is, once something of it was heard.
    pub(crate) numbering: Option<usize>,
    /// Whether messages of several numberings were mixed in a way that nobody could know of.
    pub(crate) is_excused: bool,
    /// Whether its numbers have begun again.
    pub(crate) is_rewound: bool,
    /// The first or next number of the first packet.
    pub(crate) first_heard: Option<SequenceNumber>,
    /// The number after the last one that was delivered or told; none before the first.
    pub(crate) next: Option<SequenceNumber>,
    /// Gaps that were raised and are not settled, and whether some of each was lost.
    pub(crate) raised: VecDeque<(SequenceRange, bool)>,
    pub(crate) raised_end: SequenceNumber,
    pub(crate) is_caught_up: bool,
    pub(crate) is_ended: bool,
    /// When message `n` was handed in first, and where it came from, at `n`.
    arrivals: Vec<Option<(Nanos, Source)>>,
    /// How message `n` came to be known to exist, at `n`.
    pub(crate) known: Vec<Known>,
}

impl View {
    pub(crate) fn new(session: SessionId, is_first: bool) -> Self {
        Self {
            session,
            is_first,
            numbering: None,
            is_excused: false,
            is_rewound: false,
            first_heard: None,
            next: None,
            raised: VecDeque::new(),
            raised_end: 0,
            is_caught_up: false,
            is_ended: false,
            arrivals: vec![],
            known: vec![],
        }
    }

    /// Notes of which numbering a packet is, when every number below `expected` has been delivered or told; returns whether
    /// nothing is mixed by it.
    pub(crate) fn follow(
        &mut self,
        source: Source,
        packet: &Packet<'_>,
        resumed: Option<usize>,
        expected: Option<SequenceNumber>,
        truths: &[&Truth],
    ) -> bool {
        let is_its = |truth: &Truth| truth.session == packet.session() && truth.has_begun && truth.has_all(packet);
        let newest = |truths: &[&Truth]| truths.iter().rposition(|truth| is_its(truth));
        let resumed = resumed.filter(|&resumed| truths[resumed].session == self.session);
        let Some(present) = self.numbering.or(resumed) else {
            self.numbering = newest(truths);
            return true;
        };
        self.numbering = Some(present);
        if truths.iter().filter(|truth| truth.session == self.session && truth.has_begun).count() == 1 {
            return true;
        }
        let (end, expected) = (packet.range().end(), expected.unwrap_or(0));
        if let (Source::RequestTarget(_), PacketKind::Heartbeat) = (source, packet.kind()) {
            // An answer to a request from before says what was overwritten then.
            return truths[present].retained_from.contains(&end);
        }
        if packet.kind() != PacketKind::Data {
            // Without bytes nobody can tell whose word it is.
            let is_end = packet.kind() == PacketKind::EndOfSession;
            let is_harmless = if is_end { end < expected && self.next.is_some() } else { end <= expected };
            let newest = truths.iter().rposition(|truth| truth.session == self.session && truth.has_begun);
            return is_harmless || (newest == Some(present) && end <= truths[present].retained);
        }
        if is_its(truths[present]) || end <= expected {
            return true;
        }
        let continues = |truth: &&Truth| is_its(truth) && truth.repeats(truths[present]);
        self.numbering = truths.iter().position(continues).or(self.numbering);
        self.numbering != Some(present)
    }

    /// Notes that messages were handed in.
    pub(crate) fn arrive(&mut self, now: Nanos, source: Source, range: SequenceRange) {
        self.arrivals.resize(self.arrivals.len().max(range.end() as usize), None);
        for arrival in &mut self.arrivals[range.start() as usize..range.end() as usize] {
            arrival.get_or_insert((now, source));
        }
    }

    pub(crate) fn arrival(&self, number: SequenceNumber) -> Option<(Nanos, Source)> {
        self.arrivals.get(number as usize).copied().flatten()
    }

    pub(crate) fn has_arrived(&self, number: SequenceNumber) -> bool {
        self.arrival(number).is_some()
    }

    /// Everything below `next` is delivered or told.
    pub(crate) fn pass(&mut self, next: SequenceNumber, is_loss: bool) {
        let number = self.next.replace(next).unwrap_or(next - 1);
        while let Some((range, is_lossy)) = self.raised.front_mut() {
            if number >= range.end() {
                assert!(*is_lossy, "{range} was passed, and is neither recovered nor lost");
                self.raised.pop_front();
                continue;
            }
            *is_lossy |= is_loss && next > range.start();
            break;
        }
        while self.raised.front().is_some_and(|(range, is_lossy)| *is_lossy && range.end() <= next) {
            self.raised.pop_front();
        }
    }

    /// The first raised gap is filled; `is_exact` unless gaps may have been merged for want of room.
    pub(crate) fn recovered(&mut self, recovered: Recovered, is_exact: bool) -> Told {
        let range = recovered.range;
        let lossy = self.raised.iter().take_while(|(_, is_lossy)| *is_lossy).count();
        self.raised.drain(..lossy);
        assert_eq!(self.raised.pop_front(), Some((range, false)), "{recovered:?} was not raised, or is not next");
        assert_eq!(self.next, Some(range.end()), "{recovered:?} does not follow its last message");
        if is_exact {
            let arrivals = (range.start()..range.end()).filter_map(|number| self.arrival(number));
            let filled_at = arrivals.map(|(at, _)| at).fold(Nanos::ZERO, Nanos::max);
            assert_eq!(recovered.elapsed, filled_at - self.known[range.start() as usize].at, "{recovered:?}");
        }
        Told::Recovered(range, recovered.elapsed)
    }

    pub(crate) fn is_within_raised(&self, range: SequenceRange) -> bool {
        self.raised.iter().any(|(raised, _)| raised.start() <= range.start() && range.end() <= raised.end())
    }
}
