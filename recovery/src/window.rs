//! What arrived beyond a gap, kept until the gap is filled: fixed memory, reserved and touched once.
//!
//! Messages arrive in runs (the part of a packet that was missing). A run's blocks are copied into a circular arena in
//! the order of arrival; one slot per number says where its block begins. A run is freed when all of its numbers have
//! been delivered and all older runs are free, so a run that waits long can keep younger space from being used again.
//! That is safe: what does not fit is not stored, stays missing, and is asked for again, and the number that is
//! expected next never needs the window.

use crate::Nanos;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;
use seqcast_protocol::{Blocks, LENGTH_BYTES, SequenceNumber};

const EMPTY: u32 = u32::MAX;

/// Some consecutive messages of one packet, as they lie in the arena.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// One past the last number.
    end: SequenceNumber,
    /// Where the blocks begin, in bytes.
    offset: usize,
}

/// Holds messages by number, within `[base, base + message capacity)` of the number that is expected.
///
/// Invariant: a slot that is not empty belongs to a number in that interval; runs lie in the arena in the order of the
/// queue, from `front().offset` to `head`, wrapping at most once.
#[derive(Clone, Debug)]
pub struct ReorderWindow {
    slots: Box<[u32]>,
    /// When each was received; none unless that is kept.
    times: Box<[Option<Nanos>]>,
    arena: Box<[u8]>,
    runs: VecDeque<Run>,
    head: usize,
    held: usize,
}

impl ReorderWindow {
    /// Reserves and touches room for `messages` (rounded up to a power of two), for `bytes` of their blocks, and for the times at
    /// which they were received if `keeps_times`.
    ///
    /// # Panics
    ///
    /// When `bytes` is 4 GiB or more.
    #[must_use]
    pub fn new(messages: usize, bytes: usize, keeps_times: bool) -> Self {
        assert!(bytes < EMPTY as usize, "a reorder window is smaller than 4 GiB");
        let slots = messages.max(1).next_power_of_two();
        let mut runs = VecDeque::new();
        runs.resize(slots, Run { end: 1, offset: 1 });
        runs.clear();
        // A value other than zero, so that the pages are touched now.
        Self {
            slots: vec![EMPTY; slots].into_boxed_slice(),
            times: vec![Some(Nanos::ZERO); if keeps_times { slots } else { 0 }].into_boxed_slice(),
            arena: vec![1; bytes].into_boxed_slice(),
            runs,
            head: 0,
            held: 0,
        }
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
        if end - expected > self.message_capacity() || self.runs.len() == self.slots.len() {
            return false;
        }
        let Some(offset) = self.room(blocks.len()) else { return false };
        self.arena[offset..offset + blocks.len()].copy_from_slice(blocks);
        let mut number = first;
        let mut position = offset;
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
        self.runs.push_back(Run { end, offset });
        self.head = offset + blocks.len();
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
        if self.held > 0 {
            for number in from..to.min(from.saturating_add(self.message_capacity())) {
                let slot = self.slot(number);
                if self.slots[slot] != EMPTY {
                    self.slots[slot] = EMPTY;
                    self.held -= 1;
                }
            }
        }
        while self.runs.front().is_some_and(|run| run.end <= to) {
            self.runs.pop_front();
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.slots.fill(EMPTY);
        self.runs.clear();
        self.held = 0;
    }

    /// Where `bytes` can be laid down in one piece.
    fn room(&self, bytes: usize) -> Option<usize> {
        let Some(tail) = self.runs.front().map(|run| run.offset) else {
            return (bytes <= self.arena.len()).then_some(0);
        };
        // `head == tail` never means full: room below the tail is only used up to one byte less.
        if self.head > tail {
            if bytes <= self.arena.len() - self.head { Some(self.head) } else { (bytes < tail).then_some(0) }
        } else {
            (bytes < tail - self.head).then_some(self.head)
        }
    }

    fn slot(&self, number: SequenceNumber) -> usize {
        number as usize & (self.slots.len() - 1)
    }
}
