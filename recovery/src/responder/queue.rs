//! What one client has asked for lately: first what it was given, then what waits for its turn.

use crate::Nanos;
use alloc::{boxed::Box, vec};
use seqcast_protocol::{SequenceNumber, SequenceRange};

/// A range that was asked for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    first: SequenceNumber,
    /// When its turn came.
    served_at: Nanos,
    count: u16,
    is_answered: bool,
}

/// The latest requests of one client, as many as the queue is long: those whose turn came, then those that wait.
///
/// Request `k` is at `k mod length`. Invariant: `turn <= next <= turn + length`; `turn..next` wait.
#[derive(Debug)]
pub(super) struct Queue {
    asked: Box<[Asked]>,
    turn: u64,
    next: u64,
    /// No request began with a number that is as high or higher: who asks for one range after the other is let through
    /// without a look at those before.
    unasked_from: SequenceNumber,
}

impl Queue {
    /// An empty one for `length` requests, at least 1. All its memory is written.
    pub(super) fn new(length: usize) -> Self {
        let asked = Asked { first: 1, served_at: Nanos::ZERO, count: 0, is_answered: false };
        Self { asked: vec![asked; length].into_boxed_slice(), turn: 0, next: 0, unasked_from: 0 }
    }

    pub(super) fn clear(&mut self) {
        (self.turn, self.next, self.unasked_from) = (0, 0, 0);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.turn == self.next
    }

    pub(super) fn is_full(&self) -> bool {
        self.next - self.turn == self.length()
    }

    /// Whether `first` waits, or was answered less than `linger` ago.
    pub(super) fn lingers(&self, now: Nanos, first: SequenceNumber, linger: Nanos) -> bool {
        if first >= self.unasked_from {
            return false;
        }
        let asked = |number: u64| &self.asked[self.index(number)];
        if (self.turn..self.next).map(asked).any(|asked| asked.first == first) {
            return true;
        }
        // Older ones were overwritten; the turns came in order.
        let served = (self.next.saturating_sub(self.length())..self.turn).rev().map(asked);
        let mut lately = served.take_while(|asked| now - asked.served_at < linger);
        lately.any(|asked| asked.first == first && asked.is_answered)
    }

    /// Takes `range`, of at most 65,535 numbers, behind those that wait; there must be room.
    pub(super) fn push(&mut self, range: SequenceRange) {
        debug_assert!(!self.is_full());
        let asked =
            Asked { first: range.start(), served_at: Nanos::ZERO, count: range.count() as u16, is_answered: false };
        self.asked[self.index(self.next)] = asked;
        self.next += 1;
        self.unasked_from = self.unasked_from.max(range.start().saturating_add(1));
    }

    /// What waits for the longest time, if anything does.
    pub(super) fn front(&self) -> Option<SequenceRange> {
        let asked = self.asked[self.index(self.turn)];
        (!self.is_empty()).then(|| SequenceRange::with_count(asked.first, u64::from(asked.count)))
    }

    /// Notes that the turn of the front has come, and whether it got an answer.
    pub(super) fn pop(&mut self, now: Nanos, is_answered: bool) {
        debug_assert!(!self.is_empty());
        let index = self.index(self.turn);
        (self.asked[index].served_at, self.asked[index].is_answered) = (now, is_answered);
        self.turn += 1;
    }

    fn length(&self) -> u64 {
        self.asked.len() as u64
    }

    fn index(&self, number: u64) -> usize {
        (number % self.length()) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Nanos = Nanos(200);

    fn one(first: u64) -> SequenceRange {
        SequenceRange::with_count(first, 1)
    }

    #[test]
    fn what_was_asked_first_has_its_turn_first() {
        let mut queue = Queue::new(3);
        for first in 1..100 {
            queue.push(one(first));
            queue.push(SequenceRange::with_count(first + 1, 0xFFFF));
            assert!(!queue.is_full());
            queue.push(one(first + 2));
            assert!(queue.is_full());
            assert_eq!(queue.front(), Some(one(first)));
            queue.pop(Nanos(first), true);
            assert_eq!(queue.front(), Some(SequenceRange::with_count(first + 1, 0xFFFF)));
            queue.pop(Nanos(first), true);
            queue.pop(Nanos(first), true);
            assert!(queue.is_empty());
            assert_eq!(queue.front(), None);
        }
    }

    #[test]
    fn what_waits_or_was_just_answered_lingers() {
        let mut queue = Queue::new(3);
        assert!(!queue.lingers(Nanos(0), 1, LINGER), "the filler is no request");
        queue.push(one(7));
        assert!(queue.lingers(Nanos(9_000), 7, LINGER) && !queue.lingers(Nanos(9_000), 8, LINGER));
        queue.pop(Nanos(9_000), true);
        assert!(queue.lingers(Nanos(9_199), 7, LINGER));
        assert!(!queue.lingers(Nanos(9_200), 7, LINGER));
        assert!(!queue.lingers(Nanos(9_000), 7, Nanos::ZERO));
        queue.clear();
        assert!(!queue.lingers(Nanos(9_000), 7, LINGER));
    }

    #[test]
    fn what_got_no_answer_may_be_asked_for_again_at_once() {
        let mut queue = Queue::new(3);
        for first in 1..=2 {
            queue.push(one(first));
            queue.pop(Nanos(10), first == 1);
        }
        assert!(queue.lingers(Nanos(10), 1, LINGER) && !queue.lingers(Nanos(10), 2, LINGER));
    }

    #[test]
    fn as_many_are_remembered_as_the_queue_is_long() {
        let mut queue = Queue::new(3);
        for first in 1..=4 {
            queue.push(one(first));
            queue.pop(Nanos(10), true);
        }
        queue.push(one(5));
        let lingering = (1..=6).filter(|&first| queue.lingers(Nanos(10), first, LINGER));
        assert!(lingering.eq([3, 4, 5]));
    }
}
