//! How many messages fit into a packet, from what has been seen: the size of a request.

use seqcast_protocol::HEADER_BYTES;

/// The blocks that an unfragmented packet on Ethernet holds; an answer may fill it even when the lines carry less.
const USUAL_BLOCK_BYTES: u64 = 1_472 - HEADER_BYTES as u64;

/// Keeps the largest packet, and how many bytes and messages the latest packets had.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packing {
    largest_bytes: u64,
    /// Of about the last 64 packets, times [`SCALE`]; with each one a 64th is forgotten.
    bytes: u64,
    messages: u64,
}

/// So that a 64th of what one message adds is a whole number. A multiple of 64, else arbitrary.
const SCALE: u64 = 1 << 10;

impl Packing {
    pub(crate) const fn new() -> Self {
        Self { largest_bytes: USUAL_BLOCK_BYTES, bytes: 0, messages: 0 }
    }

    /// Notes the blocks of one packet, at least one.
    #[inline]
    pub(crate) fn note(&mut self, blocks_bytes: usize, count: u64) {
        let bytes = blocks_bytes as u64;
        self.largest_bytes = self.largest_bytes.max(bytes);
        self.bytes = self.bytes - self.bytes / 64 + bytes * SCALE;
        self.messages = self.messages - self.messages / 64 + count * SCALE;
    }

    /// How many messages about fill a packet, `1..`.
    pub(crate) fn messages_per_packet(&self) -> u64 {
        (self.largest_bytes * self.messages).checked_div(self.bytes).unwrap_or(1).clamp(1, 0xFFFE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_asks_for_about_a_packet() {
        let mut packing = Packing::new();
        assert_eq!(packing.messages_per_packet(), 1, "nothing seen yet");
        packing.note(42, 1);
        assert_eq!(packing.messages_per_packet(), 1_452 / 42);
        for _ in 0..1_000 {
            packing.note(8_000, 80);
        }
        assert!((78..=82).contains(&packing.messages_per_packet()), "{}", packing.messages_per_packet());
    }
}
