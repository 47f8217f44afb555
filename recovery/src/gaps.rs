//! Which numbers are missing: sorted, disjoint, non-adjacent ranges, at most a fixed number of them.

use alloc::collections::VecDeque;
use seqcast_protocol::{SequenceNumber, SequenceRange};

/// The set of missing numbers.
///
/// Invariant: for neighbours `a`, `b`: `!a.is_empty() && a.end() < b.start()`, and `len() <= capacity`.
#[derive(Clone, Debug)]
pub struct GapSet {
    ranges: VecDeque<SequenceRange>,
    capacity: usize,
    /// How many numbers were filled, ever.
    filled: u64,
}

impl GapSet {
    /// An empty set that will hold at most `capacity` ranges; reserves and touches all of them.
    ///
    /// # Panics
    ///
    /// When `capacity` is 0.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        assert!(capacity > 0, "a gap set holds at least one range");
        let mut ranges = VecDeque::new();
        ranges.resize(capacity, SequenceRange::new(1, 1));
        ranges.clear();
        Self { ranges, capacity, filled: 0 }
    }

    /// Whether nothing is missing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many ranges there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// How many numbers have been taken out since it was made.
    #[must_use]
    pub fn filled(&self) -> u64 {
        self.filled
    }

    /// The ranges, in order.
    pub fn iter(&self) -> impl Iterator<Item = SequenceRange> + '_ {
        self.ranges.iter().copied()
    }

    /// The ranges that end above `number`, in order.
    pub fn above(&self, number: SequenceNumber) -> impl Iterator<Item = SequenceRange> + '_ {
        self.ranges.range(self.index_after(number)..).copied()
    }

    /// The lowest missing range.
    #[must_use]
    pub fn first(&self) -> Option<SequenceRange> {
        self.ranges.front().copied()
    }

    /// The lowest missing numbers within `range`, cut to it.
    #[must_use]
    pub fn first_within(&self, range: SequenceRange) -> Option<SequenceRange> {
        let found = self.ranges.get(self.index_after(range.start()))?.intersection(range);
        (!found.is_empty()).then_some(found)
    }

    /// How many numbers of `range` are missing.
    #[must_use]
    pub fn count_within(&self, range: SequenceRange) -> u64 {
        let pieces = self.ranges.range(self.index_after(range.start())..).map(|missing| missing.intersection(range));
        pieces.take_while(|piece| !piece.is_empty()).map(SequenceRange::count).sum()
    }

    /// Adds numbers above all that are missing; returns whether there was room.
    pub fn open(&mut self, range: SequenceRange) -> bool {
        debug_assert!(self.ranges.back().is_none_or(|last| last.end() <= range.start()), "gaps open upwards");
        if range.is_empty() {
            return true;
        }
        let is_full = self.ranges.len() == self.capacity;
        match self.ranges.back_mut() {
            Some(last) if last.end() == range.start() => *last = SequenceRange::new(last.start(), range.end()),
            _ if is_full => return false,
            _ => self.ranges.push_back(range),
        }
        true
    }

    /// Removes the numbers of `range` that are missing and that `keep` takes, piece by piece, in order; returns how many
    /// were removed.
    ///
    /// A piece from the middle of a missing range leaves two; when there is no room for the second, the piece stays
    /// missing and `keep` does not see it.
    pub fn fill(&mut self, range: SequenceRange, mut keep: impl FnMut(SequenceRange) -> bool) -> u64 {
        let mut filled = 0;
        let mut index = self.index_after(range.start());
        while let Some(&missing) = self.ranges.get(index) {
            let piece = missing.intersection(range);
            if piece.is_empty() {
                break;
            }
            let below = SequenceRange::new(missing.start(), piece.start());
            let above = SequenceRange::new(piece.end(), missing.end());
            let splits = !below.is_empty() && !above.is_empty();
            if (splits && self.ranges.len() == self.capacity) || !keep(piece) {
                index += 1;
                continue;
            }
            filled += piece.count();
            match (below.is_empty(), above.is_empty()) {
                (true, true) => drop(self.ranges.remove(index)),
                (false, true) => {
                    self.ranges[index] = below;
                    index += 1;
                }
                (true, false) => self.ranges[index] = above,
                (false, false) => {
                    self.ranges[index] = below;
                    self.ranges.insert(index + 1, above);
                }
            }
        }
        self.filled = self.filled.wrapping_add(filled);
        filled
    }

    /// Forgets everything below `number`; returns how many missing numbers that were.
    pub fn forget_below(&mut self, number: SequenceNumber) -> u64 {
        let start = self.first().map_or(number, SequenceRange::start);
        self.fill(SequenceRange::new(start, number), |_| true)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.ranges.clear();
    }

    /// The index of the first range that ends above `number`.
    fn index_after(&self, number: SequenceNumber) -> usize {
        if self.ranges.front().is_none_or(|first| first.end() > number) {
            return 0;
        }
        self.ranges.partition_point(|range| range.end() <= number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn range(start: u64, end: u64) -> SequenceRange {
        SequenceRange::new(start, end)
    }

    #[test]
    fn filling_the_middle_leaves_both_ends() {
        let mut gaps = GapSet::new(4);
        assert!(gaps.open(range(1, 10)));
        assert_eq!(gaps.fill(range(4, 6), |_| true), 2);
        assert_eq!(gaps.iter().collect::<Vec<_>>(), [range(1, 4), range(6, 10)]);
        assert_eq!(gaps.first_within(range(4, 8)), Some(range(6, 8)));
    }

    #[test]
    fn a_full_set_still_takes_what_adjoins_and_keeps_what_would_split() {
        let mut gaps = GapSet::new(1);
        assert!(gaps.open(range(1, 10)));
        assert!(gaps.open(range(10, 20)));
        assert!(!gaps.open(range(21, 22)));
        assert_eq!(gaps.fill(range(4, 6), |_| panic!("not offered")), 0);
        assert_eq!(gaps.first(), Some(range(1, 20)));
    }

    #[test]
    fn what_is_not_kept_stays_missing() {
        let mut gaps = GapSet::new(8);
        gaps.open(range(1, 3));
        gaps.open(range(5, 7));
        assert_eq!(gaps.fill(range(1, 9), |piece| piece.start() == 5), 2);
        assert_eq!(gaps.iter().collect::<Vec<_>>(), [range(1, 3)]);
    }
}
