//! What arrived beyond a gap, kept until the gap is filled: fixed memory, reserved and touched once.
//!
//! Messages arrive in runs (the part of a packet that was missing). A run's blocks are copied into a chunk of the arena; one slot
//! per number says where its block begins. A chunk is free when none of its messages is held any more, and the one that was freed
//! last is used first: what waits for a moment only stays in the processor's cache, however large the arena. A message that waits
//! long keeps its chunk, and no other. That is safe: what does not fit is not stored, stays missing, and is asked for again, and
//! the number that is expected next never needs the window.

use crate::Nanos;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use seqcast_protocol::{Blocks, LENGTH_BYTES, SequenceNumber};

const EMPTY: u32 = u32::MAX;

/// Log2 of the bytes of a chunk: 64 KiB hold the blocks of any packet.
const CHUNK_SHIFT: u32 = 16;
const CHUNK_BYTES: usize = 1 << CHUNK_SHIFT;

/// Holds messages by number, within `[base, base + message capacity)` of the number that is expected.
///
/// Invariants: a slot that is not empty belongs to a number in that interval; `counts` has the messages of each chunk, and
/// `held` is their sum; a chunk is in `free` if and only if it has none and is not the one being filled.
#[derive(Clone, Debug)]
pub struct ReorderWindow {
    slots: Box<[u32]>,
    /// When each was received; none unless that is kept.
    times: Box<[Option<Nanos>]>,
    arena: Box<[u8]>,
    counts: Box<[u32]>,
    /// The one that was freed last on top.
    free: Vec<u32>,
    /// The chunk being filled.
    chunk: usize,
    /// Where in the arena it goes on.
    head: usize,
    held: usize,
}

impl ReorderWindow {
    /// Reserves and touches room for `messages` (rounded up to a power of two), for `bytes` of their blocks (rounded up to 64 KiB
    /// if more than that), and for the times at which they were received if `keeps_times`.
    ///
    /// # Panics
    ///
    /// When `bytes` is 4 GiB or more.
    #[must_use]
    pub fn new(messages: usize, bytes: usize, keeps_times: bool) -> Self {
        assert!(bytes < EMPTY as usize - CHUNK_BYTES, "a reorder window is smaller than 4 GiB");
        let slots = messages.max(1).next_power_of_two();
        let chunks = bytes.div_ceil(CHUNK_BYTES).max(1);
        let arena_bytes = if chunks > 1 { chunks << CHUNK_SHIFT } else { bytes };
        // A value other than zero, so that the pages are touched now.
        let mut window = Self {
            slots: vec![EMPTY; slots].into_boxed_slice(),
            times: vec![Some(Nanos::ZERO); if keeps_times { slots } else { 0 }].into_boxed_slice(),
            arena: vec![1; arena_bytes].into_boxed_slice(),
            counts: vec![1; chunks].into_boxed_slice(),
            free: vec![1; chunks],
            chunk: 0,
            head: 0,
            held: 0,
        };
        window.clear();
        window
    }

    /// How many numbers beyond the expected one can be held.
    #[must_use]
    pub fn message_capacity(&self) -> u64 {
        self.slots.len() as u64
    }

    /// How many messages are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Stores the `count` messages of `blocks`, numbered from `first` on; returns false, and stores nothing, when they do
    /// not fit into the arena or into the numbers that can be held while `expected` is the next one to be delivered.
    ///
    /// The caller does not store a number twice.
    pub fn insert(
        &mut self,
        expected: SequenceNumber,
        first: SequenceNumber,
        count: u64,
        blocks: &[u8],
        received_at: Option<Nanos>,
    ) -> bool {
        debug_assert!(first >= expected);
        let Some(end) = first.checked_add(count) else { return false };
        if end - expected > self.message_capacity() || !self.make_room(blocks.len()) {
            return false;
        }
        self.arena[self.head..self.head + blocks.len()].copy_from_slice(blocks);
        let mut number = first;
        let mut position = self.head;
        for message in Blocks::new(blocks) {
            let slot = self.slot(number);
            debug_assert_eq!(self.slots[slot], EMPTY);
            self.slots[slot] = position as u32;
            if let Some(time) = self.times.get_mut(slot) {
                *time = received_at;
            }
            position += LENGTH_BYTES + message.len();
            number += 1;
        }
        debug_assert_eq!(number, end);
        self.head += blocks.len();
        self.counts[self.chunk] += count as u32;
        self.held += count as usize;
        true
    }

    /// The message with this number, which lies in `[expected, expected + message capacity)`.
    #[must_use]
    pub fn get(&self, number: SequenceNumber) -> Option<&[u8]> {
        if self.held == 0 {
            return None;
        }
        match self.slots[self.slot(number)] {
            EMPTY => None,
            position => Blocks::new(&self.arena[position as usize..]).next(),
        }
    }

    /// When the message with this number was received, if it is held and that was kept.
    #[must_use]
    pub fn received_at(&self, number: SequenceNumber) -> Option<Nanos> {
        self.times.get(self.slot(number)).copied().flatten()
    }

    /// Forgets the numbers `from..to`, delivered or given up, and frees what they used.
    pub fn release(&mut self, from: SequenceNumber, to: SequenceNumber) {
        if self.held == 0 {
            return;
        }
        for number in from..to.min(from.saturating_add(self.message_capacity())) {
            let slot = self.slot(number);
            let position = core::mem::replace(&mut self.slots[slot], EMPTY);
            if position != EMPTY {
                self.held -= 1;
                let chunk = position as usize >> CHUNK_SHIFT;
                self.counts[chunk] -= 1;
                if self.counts[chunk] == 0 {
                    self.give_back(chunk);
                }
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.slots.fill(EMPTY);
        self.counts.fill(0);
        self.free.clear();
        self.free.extend((1..self.counts.len() as u32).rev());
        (self.chunk, self.head, self.held) = (0, 0, 0);
    }

    /// Frees a chunk that nothing is held in.
    fn give_back(&mut self, chunk: usize) {
        if chunk == self.chunk {
            self.head = chunk << CHUNK_SHIFT;
        } else {
            self.free.push(chunk as u32);
        }
    }

    /// Makes sure that `bytes` can be laid down in one piece from `head` on; returns whether they can.
    fn make_room(&mut self, bytes: usize) -> bool {
        let end = self.arena.len().min((self.chunk + 1) << CHUNK_SHIFT);
        if bytes <= end - self.head {
            return true;
        }
        if bytes > CHUNK_BYTES {
            return false;
        }
        // The one being filled is never free: something is held in it, or it would have room.
        let Some(chunk) = self.free.pop() else { return false };
        self.chunk = chunk as usize;
        self.head = self.chunk << CHUNK_SHIFT;
        true
    }

    fn slot(&self, number: SequenceNumber) -> usize {
        number as usize & (self.slots.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run of one message that fills all of a chunk but for a byte.
    fn large(fill: u8) -> Vec<u8> {
        let body = CHUNK_BYTES - 1 - LENGTH_BYTES;
        [&(body as u16).to_be_bytes()[..], &vec![fill; body]].concat()
    }

    #[test]
    fn a_message_that_waits_long_keeps_only_its_chunk() {
        let mut window = ReorderWindow::new(64, 2 * CHUNK_BYTES, false);
        assert!(window.insert(1, 60, 1, &large(60), None));
        for number in 2..60 {
            assert!(window.insert(1, number, 1, &large(number as u8), None), "{number}");
            assert!(!window.insert(1, 61, 1, &large(61), None), "there is no third");
            assert_eq!(window.get(number).map(|message| message[9]), Some(number as u8));
            window.release(number, number + 1);
        }
        assert_eq!(window.get(60).map(|message| message[9]), Some(60));
        window.release(60, 61);
        assert!(window.is_empty());
    }

    #[test]
    fn what_was_freed_last_is_used_first() {
        let mut window = ReorderWindow::new(64, 8 * CHUNK_BYTES, false);
        for number in 2..40 {
            assert!(window.insert(1, number, 1, &large(number as u8), None));
            assert!(window.insert(1, number + 1, 1, &[0, 1, 7], None));
            window.release(number, number + 2);
            assert!(window.chunk < 2, "two are enough");
        }
        for number in 2..10 {
            assert!(window.insert(1, number, 1, &large(number as u8), None), "all are there");
        }
        assert!(!window.insert(1, 10, 1, &[0, 1, 7], None));
        assert_eq!(window.len(), 8);
    }
}
