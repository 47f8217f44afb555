//! Two lines of one session, message by message: what only one of them brought, and what they brought with other bytes.

use super::numbers::Witness;

/// How many numbers are kept until both lines have passed them; a power of two, otherwise arbitrary: 65 ms of a million
/// messages a second, which is how far two lines may run apart.
const WINDOW: u64 = 1 << 16;

/// How many numbers with other bytes are listed. Arbitrary.
const LISTED_NUMBERS: usize = 16;

/// What was compared, between the higher of the two first numbers and the lower of the two last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ComparisonCounters {
    /// Messages that both brought.
    pub(super) compared: u64,
    /// Those of them with other bytes.
    pub(super) differing: u64,
    /// The first of those.
    pub(super) differing_numbers: Vec<u64>,
    /// Messages that one brought and the other went past, of the first line and of the second.
    pub(super) only: [u64; 2],
    /// Numbers that both went past.
    pub(super) neither: u64,
    /// Messages that came too far behind the other line, or behind its new beginning, to be compared.
    pub(super) uncompared: u64,
}

/// Compares the bytes by a hash of 64 bits.
///
/// Invariants: `base <= end <= base + WINDOW`; slots outside `base..end` are empty.
#[derive(Debug)]
pub(super) struct Comparison {
    /// The hashes of number `n` on both lines at `n % WINDOW`; 0 where it was not seen.
    window: Vec<[u64; 2]>,
    base: u64,
    end: u64,
    sides: [Side; 2],
    counters: ComparisonCounters,
}

/// How far a line has come.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    has_begun: bool,
    first: Option<u64>,
    next: u64,
    /// How many times its numbers have begun again.
    restarts: u64,
}

impl Comparison {
    pub(super) fn new() -> Self {
        Self {
            window: vec![[0; 2]; WINDOW as usize],
            base: 0,
            end: 0,
            sides: [Side::default(); 2],
            counters: ComparisonCounters::default(),
        }
    }

    /// The line with this index begins where the other one is.
    pub(super) fn begin(&mut self, index: usize) {
        let restarts = self.sides[1 - index].restarts;
        self.sides[index] = Side { has_begun: true, restarts, ..Side::default() };
    }

    /// The part of the line with this index.
    pub(super) fn side(&mut self, index: usize) -> SideOf<'_> {
        SideOf { comparison: self, index }
    }

    /// What was found, at the end.
    pub(super) fn finish(mut self) -> ComparisonCounters {
        self.settle(self.end);
        self.counters
    }

    /// Whether this line has begun again, and the other has not yet.
    fn is_ahead(&self, index: usize) -> bool {
        let (side, other) = (self.sides[index], self.sides[1 - index]);
        other.has_begun && side.restarts > other.restarts
    }

    fn saw(&mut self, index: usize, number: u64, hash: u64) {
        if self.is_ahead(index) {
            self.counters.uncompared += 1;
            return;
        }
        let side = &mut self.sides[index];
        side.first = Some(side.first.map_or(number, |first| first.min(number)));
        side.next = side.next.max(number + 1);
        if self.base == self.end {
            (self.base, self.end) = (number, number);
        }
        if number < self.base {
            // What the other line had not begun with is nothing to compare.
            self.counters.uncompared += u64::from(self.is_common(number));
            return;
        }
        if number >= self.end.saturating_add(WINDOW) {
            self.settle(self.end);
            (self.base, self.end) = (number, number);
        }
        self.settle(number.saturating_sub(WINDOW - 1));
        self.end = self.end.max(number + 1);
        let slot = &mut self.window[slot(number)];
        slot[index] = hash;
        let [first, second] = *slot;
        if first != 0 && second != 0 {
            self.counters.compared += 1;
            if first != second {
                self.counters.differing += 1;
                if self.counters.differing_numbers.len() < LISTED_NUMBERS {
                    self.counters.differing_numbers.push(number);
                }
            }
        }
    }

    /// Whether `number` is not below the first number of either line.
    fn is_common(&self, number: u64) -> bool {
        self.sides.iter().all(|side| side.first.is_some_and(|first| number >= first))
    }

    /// Takes everything below `base` out of the window.
    fn settle(&mut self, base: u64) {
        for number in self.base..base.min(self.end) {
            let seen = std::mem::take(&mut self.window[slot(number)]).map(|hash| hash != 0);
            // A line that has not come so far has not missed it.
            let is_passed = self.sides.iter().all(|side| number < side.next);
            if !is_passed || !self.is_common(number) {
                continue;
            }
            match seen {
                [true, true] => {}
                [true, false] => self.counters.only[0] += 1,
                [false, true] => self.counters.only[1] += 1,
                [false, false] => self.counters.neither += 1,
            }
        }
        self.base = self.base.max(base);
        self.end = self.end.max(self.base);
    }
}

/// One of the two lines that are compared.
#[derive(Debug)]
pub(super) struct SideOf<'a> {
    comparison: &'a mut Comparison,
    index: usize,
}

impl Witness for SideOf<'_> {
    fn saw(&mut self, number: u64, hash: u64) {
        self.comparison.saw(self.index, number, hash);
    }

    fn passed(&mut self, next: u64) {
        if !self.comparison.is_ahead(self.index) {
            let side = &mut self.comparison.sides[self.index];
            side.next = side.next.max(next);
        }
    }

    /// When both lines have begun again, the comparison does.
    fn restarted(&mut self) {
        let Self { comparison, index } = self;
        comparison.sides[*index].restarts += 1;
        let other = comparison.sides[1 - *index];
        if !other.has_begun || other.restarts == comparison.sides[*index].restarts {
            comparison.settle(comparison.end);
            (comparison.base, comparison.end) = (0, 0);
            for side in &mut comparison.sides {
                *side = Side { first: None, next: 0, ..*side };
            }
        }
    }
}

fn slot(number: u64) -> usize {
    (number % WINDOW) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both lines are there.
    fn begun() -> Comparison {
        let mut comparison = Comparison::new();
        comparison.begin(0);
        comparison.begin(1);
        comparison
    }

    /// What is found when the lines bring these numbers, each with these bytes, in this order.
    fn compared(seen: impl IntoIterator<Item = (usize, u64, u64)>) -> ComparisonCounters {
        let mut comparison = begun();
        for (index, number, hash) in seen {
            comparison.side(index).saw(number, hash);
        }
        comparison.finish()
    }

    #[test]
    fn lines_that_carry_the_same_do_not_differ_however_they_run_apart() {
        for lead in [0, 1, 1_000, WINDOW - 1] {
            let order = (1..5_000 + lead).flat_map(|step| {
                let ahead = (step < 5_000).then_some((0, step, 7 * step));
                let behind = step.checked_sub(lead).filter(|number| *number > 0).map(|number| (1, number, 7 * number));
                ahead.into_iter().chain(behind)
            });
            assert_eq!(compared(order), ComparisonCounters { compared: 4_999, ..Default::default() }, "{lead}");
        }
    }

    #[test]
    fn what_one_line_lacks_and_what_differs_is_told() {
        let order = [(0, 1, 9), (1, 1, 9), (0, 2, 9), (1, 3, 9), (0, 4, 9), (1, 4, 8), (0, 6, 9), (1, 6, 9)];
        let expected = ComparisonCounters {
            compared: 3,
            differing: 1,
            differing_numbers: vec![4],
            only: [1, 1],
            neither: 1,
            uncompared: 0,
        };
        assert_eq!(compared(order), expected);
    }

    #[test]
    fn what_lies_outside_of_either_line_is_no_difference() {
        let order = [(0, 1, 9), (0, 2, 9), (1, 2, 9), (0, 3, 9), (0, 4, 9)];
        assert_eq!(compared(order), ComparisonCounters { compared: 1, ..Default::default() });
        let mut comparison = begun();
        for (index, number) in [(0, 1), (1, 1), (0, 2)] {
            comparison.side(index).saw(number, 9);
        }
        comparison.side(1).passed(3);
        let found = comparison.finish();
        assert_eq!(found, ComparisonCounters { compared: 1, only: [1, 0], ..Default::default() }, "announced");
    }

    #[test]
    fn what_comes_too_late_is_not_compared() {
        let ahead = (1..=WINDOW + 10).map(|number| (0, number, 9));
        let behind = (1..=WINDOW + 10).map(|number| (1, number, 9));
        let found = compared([(1, 1, 9)].into_iter().chain(ahead).chain(behind.skip(1)));
        assert_eq!(found, ComparisonCounters { compared: WINDOW + 1, uncompared: 9, ..Default::default() });
    }

    #[test]
    fn a_jump_is_no_work() {
        let order = [(0, 1, 9), (1, 1, 9), (0, u64::MAX - 1, 9), (1, u64::MAX - 1, 9)];
        assert_eq!(compared(order), ComparisonCounters { compared: 2, ..Default::default() });
    }

    #[test]
    fn lines_that_begin_again_are_compared_from_where_both_have() {
        let mut comparison = begun();
        let mut saw = |index, number, hash| comparison.side(index).saw(number, hash);
        saw(0, 1, 9);
        saw(0, 2, 9);
        saw(1, 1, 9);
        comparison.side(0).restarted();
        let mut saw = |index, number, hash| comparison.side(index).saw(number, hash);
        saw(0, 1, 5);
        saw(1, 2, 9);
        comparison.side(1).restarted();
        let mut saw = |index, number, hash| comparison.side(index).saw(number, hash);
        saw(0, 2, 5);
        saw(1, 1, 5);
        saw(1, 2, 5);
        let found = comparison.finish();
        assert_eq!(found, ComparisonCounters { compared: 3, uncompared: 1, ..Default::default() });
    }

    #[test]
    fn a_line_that_comes_behind_a_new_beginning_is_compared_with_that() {
        let mut comparison = Comparison::new();
        comparison.begin(0);
        comparison.side(0).saw(1, 9);
        comparison.side(0).restarted();
        comparison.side(0).saw(1, 5);
        comparison.begin(1);
        comparison.side(1).saw(1, 5);
        assert_eq!(comparison.finish(), ComparisonCounters { compared: 1, ..Default::default() });
    }
}
