//! What arrived beyond a gap, kept until the gap is filled: fixed memory, reserved and touched once.
//!
//! Messages arrive in pieces (the part of a packet that was missing), and are kept, delivered and forgotten piece by piece. The
//! blocks of one are copied into a chunk of the arena; the slot of its first number says where they begin. A chunk is free when
//! no piece is held in it any more, and the one that was freed last is used first: what waits for a moment only stays in the
//! processor's cache, however large the arena. A piece that waits long keeps its chunk, and no other. That is safe: what does not
//! fit is not stored, stays missing, and is asked for again, and the number that is expected next never needs the window.

use crate::Nanos;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use seqcast_protocol::{Blocks, LENGTH_BYTES, SequenceNumber};

/// Log2 of the bytes of a chunk: 64 KiB hold the blocks of any packet.
const CHUNK_SHIFT: u32 = 16;
const CHUNK_BYTES: usize = 1 << CHUNK_SHIFT;

/// Messages in a row whose blocks lie together.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// Where in the arena they begin.
    position: u32,
    /// How many there are; 0: none.
    count: u32,
}

const NOTHING: Piece = Piece { position: 0, count: 0 };

/// Holds messages by number, within `[base, base + message capacity)` of the number that is expected.
///
/// Invariants: a slot with a piece belongs to the first number of that, which lies in that interval, and pieces are disjoint;
/// `counts` has the pieces of each chunk, and `held` is the sum of their messages; a chunk is in `free` if and only if it has none
/// and is not the one being filled.
#[derive(Clone, Debug)]
pub struct ReorderWindow {
    slots: Box<[Piece]>,
    /// When each piece was received; none unless that is kept.
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

/// What is held in one piece.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    /// How many messages that are, at least 1.
    pub count: u64,
    /// When they were received, if that was kept.
    pub received_at: Option<Nanos>,
    blocks: &'a [u8],
}

impl<'a> Held<'a> {
    /// The messages, in order.
    #[inline]
    pub fn messages(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        Blocks::new(self.blocks).take(self.count as usize)
    }
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
        assert!(bytes < u32::MAX as usize - CHUNK_BYTES, "a reorder window is smaller than 4 GiB");
        let slots = messages.max(1).next_power_of_two();
        let chunks = bytes.div_ceil(CHUNK_BYTES).max(1);
        let arena_bytes = if chunks > 1 { chunks << CHUNK_SHIFT } else { bytes };
        // Values other than zero, so that the pages are touched now.
        let mut window = Self {
            slots: vec![Piece { position: 1, count: 1 }; slots].into_boxed_slice(),
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

    /// Stores the `count` messages of `blocks` (at least 1), numbered from `first` on, as one piece; returns false, and stores
    /// nothing, when they do not fit into the arena or into the numbers that can be held while `expected` is the next one to be
    /// delivered.
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
        debug_assert_eq!(Blocks::new(blocks).count() as u64, count);
        let Some(end) = first.checked_add(count) else { return false };
        if end - expected > self.message_capacity() || !self.make_room(blocks.len()) {
            return false;
        }
        self.arena[self.head..self.head + blocks.len()].copy_from_slice(blocks);
        self.put(first, Piece { position: self.head as u32, count: count as u32 }, received_at);
        self.head += blocks.len();
        self.counts[self.chunk] += 1;
        self.held += count as usize;
        true
    }

    /// The piece that begins with this number, which lies in `[expected, expected + message capacity)`.
    #[inline]
    #[must_use]
    pub fn get(&self, first: SequenceNumber) -> Option<Held<'_>> {
        let slot = self.slot(first);
        let Piece { position, count } = self.slots[slot];
        (count > 0).then(|| Held {
            count: u64::from(count),
            received_at: self.times.get(slot).copied().flatten(),
            blocks: &self.arena[position as usize..],
        })
    }

    /// Forgets the numbers `from..to`, delivered or given up, and frees what they used. No piece begins below `from` and reaches
    /// beyond it; what reaches beyond `to` is a piece from there on.
    pub fn release(&mut self, from: SequenceNumber, to: SequenceNumber) {
        let mut number = from;
        let to = to.min(from.saturating_add(self.message_capacity()));
        while self.held > 0 && number < to {
            let slot = self.slot(number);
            let piece = core::mem::replace(&mut self.slots[slot], NOTHING);
            if piece.count == 0 {
                number += 1;
                continue;
            }
            let passed = u64::from(piece.count).min(to - number);
            number += passed;
            self.held -= passed as usize;
            let position = piece.position as usize;
            if passed == u64::from(piece.count) {
                self.give_back(position >> CHUNK_SHIFT);
            } else {
                let passed_bytes =
                    Blocks::new(&self.arena[position..]).take(passed as usize).map(|it| LENGTH_BYTES + it.len());
                let position = piece.position + passed_bytes.sum::<usize>() as u32;
                let received_at = self.times.get(slot).copied().flatten();
                self.put(number, Piece { position, count: piece.count - passed as u32 }, received_at);
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.slots.fill(NOTHING);
        self.counts.fill(0);
        self.free.clear();
        self.free.extend((1..self.counts.len() as u32).rev());
        (self.chunk, self.head, self.held) = (0, 0, 0);
    }

    fn put(&mut self, first: SequenceNumber, piece: Piece, received_at: Option<Nanos>) {
        let slot = self.slot(first);
        debug_assert_eq!(self.slots[slot].count, 0);
        self.slots[slot] = piece;
        if let Some(time) = self.times.get_mut(slot) {
            *time = received_at;
        }
    }

    /// Takes a piece off a chunk, and frees that when it was the last.
    fn give_back(&mut self, chunk: usize) {
        self.counts[chunk] -= 1;
        if self.counts[chunk] > 0 {
            return;
        }
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
            assert_eq!(window.get(number).unwrap().messages().next().unwrap()[9], number as u8);
            window.release(number, number + 1);
        }
        assert_eq!(window.get(60).unwrap().messages().next().unwrap()[9], 60);
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
