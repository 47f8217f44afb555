//! What the latest packets began with, so that numbers which come again with other bytes are recognised.

use alloc::boxed::Box;
use alloc::vec;
use seqcast_protocol::{Packet, SequenceNumber};

/// How many packets are remembered. Arbitrary: 40 ms at 100,000 packets/s, and the whole of many a session that begins again.
const PACKETS: usize = 4_096;

/// How many bytes of a message count: the fields that tell one message of a feed from another.
const BYTES: usize = 64;

/// The number and a hash of the first message of each packet, by number; of two that share a slot the later one stays.
#[derive(Clone, Debug)]
pub(crate) struct Fingerprints {
    slots: Box<[(SequenceNumber, u64)]>,
}

impl Fingerprints {
    pub(crate) fn new() -> Self {
        Self { slots: vec![(SequenceNumber::MAX, 0); PACKETS].into_boxed_slice() }
    }

    /// Remembers what the packet begins with.
    #[inline]
    pub(crate) fn note(&mut self, packet: &Packet<'_>) {
        if let Some(payload) = packet.messages().next() {
            self.slots[slot(packet.sequence())] = (packet.sequence(), hash(payload));
        }
    }

    /// Whether a message of the packet that is remembered had other bytes.
    pub(crate) fn contradict(&self, packet: &Packet<'_>) -> bool {
        (packet.range().start()..packet.range().end()).zip(packet.messages()).any(|(number, payload)| {
            let (remembered, known) = self.slots[slot(number)];
            remembered == number && known != hash(payload)
        })
    }

    pub(crate) fn clear(&mut self) {
        self.slots.fill((SequenceNumber::MAX, 0));
    }
}

fn slot(number: SequenceNumber) -> usize {
    number as usize % PACKETS
}

/// Of the first bytes and the length; a multiplication for each word, as in Knuth's multiplicative hashing.
fn hash(payload: &[u8]) -> u64 {
    let (words, rest) = payload[..payload.len().min(BYTES)].as_chunks();
    let add = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    let hash = words.iter().fold(payload.len() as u64, |hash, word| add(hash, u64::from_ne_bytes(*word)));
    add(hash, rest.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use seqcast_protocol::{PacketWriter, SessionId};

    fn packet(first: u64, messages: &[&[u8]]) -> Vec<u8> {
        let mut buffer = [0; 1_472];
        let mut writer = PacketWriter::new(&mut buffer, SessionId::UNKNOWN, first);
        messages.iter().for_each(|message| writer.push(message).expect("it fits"));
        writer.finish().to_vec()
    }

    #[test]
    fn other_bytes_of_a_first_message_are_a_contradiction_wherever_they_lie_in_a_packet() {
        let mut fingerprints = Fingerprints::new();
        let first = packet(5, &[b"buy 100 at 17", b"sell", b""]);
        fingerprints.note(&Packet::parse(&first).unwrap());
        let contradict = |datagram: Vec<u8>| fingerprints.contradict(&Packet::parse(&datagram).unwrap());
        assert!(!contradict(first));
        assert!(!contradict(packet(4, &[b"anything", b"buy 100 at 17"])));
        assert!(!contradict(packet(6, &[b"unknown"])));
        assert!(contradict(packet(4, &[b"anything", b"buy 100 at 18"])));
        assert!(contradict(packet(5, &[b"buy 100 at 1"])));
        assert!(contradict(packet(5, &[b""])));
    }
}
