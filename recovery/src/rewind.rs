//! Whether the numbers of a session have begun again, as real venues let them.
//!
//! A packet on a line shows numbers that were all delivered. Usually it is a copy that is late. But its messages may have
//! other bytes than were delivered, or lie farther back than anything can be late: then it is held, as a suspect. If the next
//! packet on the line goes on behind it, the numbers have begun again; one packet alone could be a damaged copy.

use crate::Line;
use crate::fingerprints::Fingerprints;
use alloc::boxed::Box;
use alloc::vec;
use seqcast_protocol::{Packet, SequenceNumber, SequenceRange};

/// What lies farther back than this many messages is no copy that is late: a second of a feed of 1,000,000 messages/s.
const DISTANCE: u64 = 1_000_000;

/// The longest UDP payload, which a suspect may have.
const DATAGRAM_BYTES: usize = 1 << 16;

/// Watches for numbers that come again.
#[derive(Clone, Debug)]
pub(crate) struct Rewinds {
    fingerprints: Fingerprints,
    /// By `Line::index`: the numbers of the packet that is suspected, if the line's last one is.
    suspects: [Option<SequenceRange>; 2],
    /// The lower of the suspects, with all its bytes, and its line.
    held: Box<[u8]>,
    held_by: Line,
    held_bytes: usize,
}

impl Rewinds {
    pub(crate) fn new() -> Self {
        Self {
            fingerprints: Fingerprints::new(),
            suspects: [None; 2],
            held: vec![1; DATAGRAM_BYTES].into_boxed_slice(),
            held_by: Line::A,
            held_bytes: 0,
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.fingerprints.clear();
        (self.suspects, self.held_bytes) = ([None; 2], 0);
    }

    /// Remembers a packet of a line that shows new numbers.
    #[inline]
    pub(crate) fn note(&mut self, line: Line, packet: &Packet<'_>) {
        self.fingerprints.note(packet);
        // What was held for another line's sake is held on.
        if self.suspects[line.index()].take().is_some() && self.suspects[1 - line.index()].is_none() {
            self.held_bytes = 0;
        }
    }

    /// Judges a packet of a line that shows no new number; returns whether the numbers of the line have begun again, and from
    /// which they go on. All below `expected` have been delivered.
    pub(crate) fn judge(
        &mut self,
        line: Line,
        packet: &Packet<'_>,
        datagram: &[u8],
        expected: SequenceNumber,
    ) -> Option<SequenceNumber> {
        let range = packet.range();
        let suspect = self.suspects[line.index()];
        if let Some(suspect) = suspect.filter(|suspect| suspect.end() == range.start()) {
            return Some(suspect.start());
        }
        if expected - range.end() <= DISTANCE && !self.fingerprints.contradict(packet) {
            return None;
        }
        self.suspects[line.index()] = Some(range);
        let is_lowest = self.suspects[1 - line.index()].is_none_or(|other| range.start() <= other.start());
        if is_lowest && datagram.len() <= DATAGRAM_BYTES {
            self.held[..datagram.len()].copy_from_slice(datagram);
            (self.held_by, self.held_bytes) = (line, datagram.len());
        }
        None
    }

    /// The numbers have begun again, with `packet` behind the one that is held: that is all there is to remember.
    pub(crate) fn start_over(&mut self, packet: &Packet<'_>) {
        self.fingerprints.clear();
        if let Ok(held) = Packet::parse(&self.held[..self.held_bytes]) {
            self.fingerprints.note(&held);
        }
        self.fingerprints.note(packet);
        (self.suspects, self.held_bytes) = ([None; 2], 0);
    }

    /// The lower of the packets that are suspected, and its line.
    pub(crate) fn held(&self) -> Option<(Line, Packet<'_>)> {
        Packet::parse(&self.held[..self.held_bytes]).ok().map(|packet| (self.held_by, packet))
    }
}
