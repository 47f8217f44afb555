//! When a subscriber must know that the numbers of its session have begun again.
//!
//! It cannot know by what it was never handed, nor when the bytes are the same. It must by this: on a line, a packet shows no
//! number that is new, contradicts what an earlier packet began with, and is continued by another packet; and so on every
//! line that was heard lately. What such lines carry from there on is of the new numbers: it waits until the same is seen on
//! the others, and then until everything that is owed has been told.

use seqcast_protocol::{Packet, PacketKind, SequenceNumber, SequenceRange};
use seqcast_recovery::Line;
use std::collections::HashMap;

/// What the lines have shown.
#[derive(Debug, Default)]
pub(crate) struct Rewinds {
    /// What each packet that showed a new number began with, by its first number.
    firsts: HashMap<SequenceNumber, Box<[u8]>>,
    /// By `Line::index`.
    suspects: [Option<SequenceRange>; 2],
    /// The lower of the suspects: it is kept.
    held: Option<Vec<u8>>,
    /// From which number on each line has begun again.
    lowest: [Option<SequenceNumber>; 2],
}

impl Rewinds {
    /// Notes a packet on a line that has shown every number below `shown`, when every number below `expected` is delivered or
    /// told; returns whether it is of numbers that have begun again.
    pub(crate) fn note(
        &mut self,
        line: Line,
        datagram: &[u8],
        expected: Option<SequenceNumber>,
        shown: Option<SequenceNumber>,
    ) -> bool {
        let packet = Packet::parse(datagram).expect("only packets are sent");
        let (index, range) = (line.index(), packet.range());
        if let Some(lowest) = &mut self.lowest[index] {
            *lowest = (*lowest).min(range.start());
            return true;
        }
        if packet.kind() != PacketKind::Data {
            return false;
        }
        let end = range.end();
        if expected.is_none_or(|expected| end > expected) || shown.is_none_or(|shown| end > shown) {
            self.remember(&packet);
            if self.suspects[index].take().is_some() && self.suspects[1 - index].is_none() {
                self.held = None;
            }
            return false;
        }
        if let Some(suspect) = self.suspects[index].filter(|suspect| suspect.end() == range.start()) {
            self.lowest[index] = Some(suspect.start());
            return true;
        }
        let mut messages = (range.start()..end).zip(packet.messages());
        let contradicts = |(number, payload): (SequenceNumber, &[u8])| {
            self.firsts.get(&number).is_some_and(|first| **first != *payload)
        };
        if messages.any(contradicts) {
            self.suspects[index] = Some(range);
            if self.suspects[1 - index].is_none_or(|other| range.start() <= other.start()) {
                self.held = Some(datagram.to_vec());
            }
        }
        false
    }

    fn remember(&mut self, packet: &Packet<'_>) {
        if let Some(first) = packet.messages().next() {
            self.firsts.insert(packet.sequence(), first.into());
        }
    }

    /// From which number on the session has begun again, if it has on every line that is `live`.
    pub(crate) fn begins_at(&self, live: [bool; 2]) -> Option<SequenceNumber> {
        let mut lowest = self.lowest.iter().zip(live).filter(|(_, is_live)| *is_live).map(|(lowest, _)| *lowest);
        lowest.try_fold(SequenceNumber::MAX, |lowest, next| Some(lowest.min(next?)))
    }

    /// The new numbers are taken, with this packet; returns the one that was kept of them.
    pub(crate) fn start_over(&mut self, packet: &Packet<'_>) -> Option<Vec<u8>> {
        let held = std::mem::take(self).held;
        if let Some(held) = &held {
            self.remember(&Packet::parse(held).expect("only packets are sent"));
        }
        self.remember(packet);
        held
    }
}
