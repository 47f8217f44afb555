//! Sequence numbers and half-open ranges of them.

use core::fmt;

/// The number of a message within its session; the first is 1, 0 is never a message.
pub type SequenceNumber = u64;

/// The numbers `start..end` of one session; `start == end` is empty.
///
/// Invariant: `start <= end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceRange {
    start: SequenceNumber,
    end: SequenceNumber,
}

impl SequenceRange {
    /// The numbers `start..end`; empty at `start` when `end < start`.
    #[must_use]
    pub const fn new(start: SequenceNumber, end: SequenceNumber) -> Self {
        Self { start, end: if end < start { start } else { end } }
    }

    /// The `count` numbers from `start` on, cut at the largest number there is.
    #[must_use]
    pub const fn with_count(start: SequenceNumber, count: u64) -> Self {
        Self { start, end: start.saturating_add(count) }
    }

    /// The first number.
    #[must_use]
    pub const fn start(self) -> SequenceNumber {
        self.start
    }

    /// The number after the last one.
    #[must_use]
    pub const fn end(self) -> SequenceNumber {
        self.end
    }

    /// How many numbers there are.
    #[must_use]
    pub const fn count(self) -> u64 {
        self.end - self.start
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Whether `number` is one of them.
    #[must_use]
    pub const fn contains(self, number: SequenceNumber) -> bool {
        self.start <= number && number < self.end
    }

    /// The numbers that both ranges have; empty when there are none.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        let start = if self.start > other.start { self.start } else { other.start };
        let end = if self.end < other.end { self.end } else { other.end };
        Self::new(start, end)
    }
}

/// Writes `start..end`.
impl fmt::Display for SequenceRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_do_not_meet_have_an_empty_intersection() {
        let meet = SequenceRange::new(1, 5).intersection(SequenceRange::new(3, 9));
        assert_eq!(meet, SequenceRange::new(3, 5));
        assert!(SequenceRange::new(1, 3).intersection(SequenceRange::new(3, 9)).is_empty());
        assert!(SequenceRange::new(7, 9).intersection(SequenceRange::new(1, 3)).is_empty());
    }

    #[test]
    fn a_reversed_range_is_empty_and_a_huge_one_is_cut() {
        assert!(SequenceRange::new(9, 3).is_empty());
        assert_eq!(SequenceRange::with_count(u64::MAX - 1, 9).count(), 1);
    }
}
