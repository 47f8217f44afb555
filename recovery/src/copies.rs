//! Whether the copies of a message agree: keeps the bytes of the latest messages and compares later copies with them.

use alloc::boxed::Box;
use alloc::vec;
use seqcast_protocol::SequenceNumber;

/// Where the first copy of a message lies.
#[derive(Clone, Copy, Debug)]
struct Slot {
    number: SequenceNumber,
    /// How many bytes had been laid down before it, since the beginning.
    position: u64,
    length: u16,
}

/// The first copies of the latest messages, in fixed memory: the oldest bytes make room for new ones.
///
/// Invariant: a slot's bytes are still there as long as `head - position <= arena.len()`.
#[derive(Clone, Debug)]
pub(crate) struct Copies {
    slots: Box<[Slot]>,
    arena: Box<[u8]>,
    /// How many bytes have been laid down.
    head: u64,
}

impl Copies {
    /// Reserves and touches room for `messages`, rounded up to a power of two, and for `bytes` of them.
    pub(crate) fn new(messages: usize, bytes: usize) -> Self {
        let none = Slot { number: SequenceNumber::MAX, position: 0, length: 0 };
        Self {
            slots: vec![none; messages.max(1).next_power_of_two()].into_boxed_slice(),
            arena: vec![1; bytes].into_boxed_slice(),
            head: 0,
        }
    }

    /// Whether this copy of message `number` agrees with the first, as far as that is known; a first copy is kept.
    pub(crate) fn agrees(&mut self, number: SequenceNumber, payload: &[u8]) -> bool {
        let index = number as usize & (self.slots.len() - 1);
        let slot = self.slots[index];
        if slot.number == number && self.head - slot.position <= self.arena.len() as u64 {
            return self.bytes(slot) == payload;
        }
        // Of two messages that share a slot the newer one stays.
        let is_newer = slot.number == SequenceNumber::MAX || slot.number <= number;
        if is_newer && payload.len() <= self.arena.len() {
            self.keep(index, number, payload);
        }
        true
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.slots.fill(Slot { number: SequenceNumber::MAX, position: 0, length: 0 });
    }

    fn keep(&mut self, index: usize, number: SequenceNumber, payload: &[u8]) {
        // What does not fit before the end of the arena goes to its beginning.
        let offset = self.offset(self.head);
        if offset + payload.len() > self.arena.len() {
            self.head += (self.arena.len() - offset) as u64;
        }
        let offset = self.offset(self.head);
        self.arena[offset..offset + payload.len()].copy_from_slice(payload);
        self.slots[index] = Slot { number, position: self.head, length: payload.len() as u16 };
        self.head += payload.len() as u64;
    }

    fn bytes(&self, slot: Slot) -> &[u8] {
        let offset = self.offset(slot.position);
        &self.arena[offset..offset + usize::from(slot.length)]
    }

    fn offset(&self, position: u64) -> usize {
        (position % (self.arena.len() as u64).max(1)) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_agree_when_all_their_bytes_do() {
        let mut copies = Copies::new(4, 64);
        assert!(copies.agrees(1, b"buy 100"));
        assert!(copies.agrees(1, b"buy 100"));
        assert!(!copies.agrees(1, b"buy 900"));
        assert!(!copies.agrees(1, b"buy 10"));
        assert!(copies.agrees(1, b"buy 100"), "the first copy stays");
    }

    #[test]
    fn what_made_room_for_others_is_not_compared() {
        let mut copies = Copies::new(4, 10);
        assert!(copies.agrees(1, b"123456"));
        assert!(copies.agrees(2, b"abcdef"));
        assert!(copies.agrees(1, b"xxxxxx"), "its bytes are gone");
        assert!(!copies.agrees(1, b"123456"), "and it was kept anew");
        assert!(copies.agrees(5, b"new"));
        assert!(copies.agrees(1, b"old"), "an older number does not take the slot of a newer one");
        assert!(!copies.agrees(5, b"old"));
        assert!(copies.agrees(3, b"longer than the arena"));
        copies.clear();
        assert!(copies.agrees(5, b"old"), "another session");
    }
}
