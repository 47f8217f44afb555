//! What one line does with the numbers of a session: gaps, what fills them late, what comes twice, what begins again.

use crate::feed::hash;
use std::collections::BTreeMap;

/// Of how many of the last numbers the bytes are remembered, as a hash; a power of two, otherwise arbitrary: 65 ms of a
/// million messages a second.
const REMEMBERED: usize = 1 << 16;

/// How many gaps may still be filled; of more than these the oldest are closed. Arbitrary.
const MAX_OPEN_GAPS: usize = 4_096;

/// How far below the first number heard one may lie that is taken for late rather than for a new beginning. Arbitrary.
const EARLIER: u64 = 1_024;

/// How many gaps are listed. Arbitrary.
const LISTED_GAPS: usize = 16;

/// What the numbers of a line did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NumberCounters {
    /// Messages under a number that the line had not brought before.
    pub(super) messages: u64,
    /// Ranges of numbers that the line went past and never brought.
    pub(super) gaps: u64,
    /// How many numbers those are.
    pub(super) missing: u64,
    /// The first of those ranges.
    pub(super) missing_ranges: Vec<(u64, u64)>,
    /// Messages that came behind later ones, and filled a gap.
    pub(super) late: u64,
    /// Messages under a number that the line had brought before: with the same bytes, or too long ago to be compared.
    pub(super) duplicates: u64,
    /// Messages under a number that the line had brought before with other bytes.
    pub(super) conflicting: u64,
    /// Times that the numbers began again.
    pub(super) rewinds: u64,
}

/// What the comparison of two lines is told.
pub(super) trait Witness {
    /// The line brought `number` for the first time, with bytes of this hash.
    fn saw(&mut self, number: u64, hash: u64);
    /// The line has come to `next`.
    fn passed(&mut self, next: u64);
    /// The numbers of the line begin again.
    fn restarted(&mut self);
}

/// Follows the numbers of one session on one line.
///
/// Invariants: every gap lies in `first..next`; `gaps.len() <= MAX_OPEN_GAPS`.
#[derive(Debug)]
pub(super) struct Numbers {
    first: u64,
    next: u64,
    /// The ranges that are missing: where they end, by where they start.
    gaps: BTreeMap<u64, u64>,
    /// The hash of number `n` at `n % REMEMBERED`, for the last ones below `next`; 0 where `n` is missing.
    hashes: Vec<u64>,
    suspect: Option<Suspect>,
    counters: NumberCounters,
}

/// A packet under old numbers that does not hold what they held: a new beginning, if the next packet goes on behind it.
#[derive(Debug)]
struct Suspect {
    first: u64,
    hashes: Vec<u64>,
    /// How many of its messages have other bytes than before.
    conflicting: u64,
}

impl Suspect {
    fn next(&self) -> u64 {
        self.first + self.hashes.len() as u64
    }
}

/// What a number is to a line; the last two are odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    New,
    Late,
    Same,
    Other,
    Forgotten,
}

impl Numbers {
    /// Begins with number `first`.
    pub(super) fn new(first: u64) -> Self {
        let hashes = vec![0; REMEMBERED];
        let counters = NumberCounters::default();
        Self { first, next: first, gaps: BTreeMap::new(), hashes, suspect: None, counters }
    }

    /// The first number.
    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    /// One past the highest number brought or announced.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// A packet that announces the number `next` has come.
    pub(super) fn announce(&mut self, next: u64, witness: &mut impl Witness) {
        if self.suspect.as_ref().is_some_and(|suspect| suspect.next() == next) {
            self.restart(witness);
        }
        self.skip_to(next);
        witness.passed(self.next);
    }

    /// A packet with these messages has come, the first under number `first`.
    pub(super) fn handle<'a>(
        &mut self,
        first: u64,
        messages: &(impl Iterator<Item = &'a [u8]> + Clone),
        witness: &mut impl Witness,
    ) {
        // The messages come first, so that no number is taken behind the last.
        let numbered = || messages.clone().map(hash).zip(first..);
        let is_odd = |(hash, number)| self.standing(number, hash) >= Standing::Other;
        if first < self.next && numbered().any(is_odd) {
            if self.suspect.as_ref().is_some_and(|suspect| suspect.next() == first) {
                self.restart(witness);
            } else {
                self.clear_suspect();
                let conflicting =
                    numbered().filter(|(hash, number)| self.standing(*number, *hash) == Standing::Other).count() as u64;
                self.suspect = Some(Suspect { first, hashes: numbered().map(|(hash, _)| hash).collect(), conflicting });
                return;
            }
        } else if self.suspect.is_some() && first >= self.next {
            // The old numbers go on.
            self.clear_suspect();
        }
        for (hash, number) in numbered() {
            self.take(number, hash, witness);
        }
        witness.passed(self.next);
    }

    /// What the line did, at its end.
    pub(super) fn finish(mut self) -> NumberCounters {
        self.clear_suspect();
        self.close_gaps(0);
        self.counters
    }

    fn standing(&self, number: u64, hash: u64) -> Standing {
        if number >= self.next {
            return Standing::New;
        }
        if number < self.first {
            return if self.first - number <= EARLIER { Standing::Late } else { Standing::Forgotten };
        }
        if self.gap_of(number).is_some() {
            return Standing::Late;
        }
        match self.hashes[slot(number)] {
            _ if self.next - number > REMEMBERED as u64 => Standing::Forgotten,
            // In a gap that was closed.
            0 => Standing::Forgotten,
            known if known == hash => Standing::Same,
            _ => Standing::Other,
        }
    }

    fn take(&mut self, number: u64, hash: u64, witness: &mut impl Witness) {
        match self.standing(number, hash) {
            Standing::New => {
                self.skip_to(number);
                self.next = number + 1;
            }
            Standing::Late => {
                self.fill(number);
                self.counters.late += 1;
            }
            Standing::Same | Standing::Other | Standing::Forgotten => {
                self.counters.duplicates += 1;
                return;
            }
        }
        if self.next - number <= REMEMBERED as u64 {
            self.hashes[slot(number)] = hash;
        }
        self.counters.messages += 1;
        witness.saw(number, hash);
    }

    /// Opens a gap, if there is one before `next`.
    fn skip_to(&mut self, next: u64) {
        if next <= self.next {
            return;
        }
        for number in next.saturating_sub(REMEMBERED as u64).max(self.next)..next {
            self.hashes[slot(number)] = 0;
        }
        self.gaps.insert(self.next, next);
        self.next = next;
        self.close_gaps(MAX_OPEN_GAPS);
    }

    /// The gap that `number` lies in.
    fn gap_of(&self, number: u64) -> Option<(u64, u64)> {
        let (&start, &end) = self.gaps.range(..=number).next_back()?;
        (number < end).then_some((start, end))
    }

    /// Takes `number` out of the gap that it lies in, or makes it the first one.
    fn fill(&mut self, number: u64) {
        let (start, end) = match self.gap_of(number) {
            Some(gap) => gap,
            None => (number, std::mem::replace(&mut self.first, number)),
        };
        self.gaps.remove(&start);
        for (start, end) in [(start, number), (number + 1, end)] {
            if start < end {
                self.gaps.insert(start, end);
            }
        }
        self.close_gaps(MAX_OPEN_GAPS);
    }

    /// Counts the oldest gaps as missing for good, until at most `limit` are left.
    fn close_gaps(&mut self, limit: usize) {
        while self.gaps.len() > limit
            && let Some((start, end)) = self.gaps.pop_first()
        {
            self.counters.gaps += 1;
            self.counters.missing = self.counters.missing.saturating_add(end - start);
            if self.counters.missing_ranges.len() < LISTED_GAPS {
                self.counters.missing_ranges.push((start, end));
            }
        }
    }

    /// The suspect was no new beginning.
    fn clear_suspect(&mut self) {
        if let Some(Suspect { hashes, conflicting, .. }) = self.suspect.take() {
            self.counters.conflicting += conflicting;
            self.counters.duplicates += hashes.len() as u64 - conflicting;
        }
    }

    /// The suspect was a new beginning.
    fn restart(&mut self, witness: &mut impl Witness) {
        let Some(Suspect { first, hashes, .. }) = self.suspect.take() else { return };
        self.close_gaps(0);
        self.counters.rewinds += 1;
        self.hashes.fill(0);
        (self.first, self.next) = (first, first);
        witness.restarted();
        for (hash, number) in hashes.into_iter().zip(first..) {
            self.take(number, hash, witness);
        }
    }
}

fn slot(number: u64) -> usize {
    number as usize % REMEMBERED
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that it is told.
    #[derive(Debug, Default)]
    struct Log(Vec<String>);

    impl Witness for Log {
        fn saw(&mut self, number: u64, _: u64) {
            self.0.push(number.to_string());
        }
        fn passed(&mut self, _: u64) {}
        fn restarted(&mut self) {
            self.0.push("restart".to_owned());
        }
    }

    /// What becomes of packets, each of a first number and messages of one letter; of no letter it announces the number.
    fn run(packets: &[(u64, &str)]) -> (NumberCounters, String) {
        let mut numbers = Numbers::new(packets[0].0);
        let mut log = Log::default();
        for (first, letters) in packets {
            if letters.is_empty() {
                numbers.announce(*first, &mut log);
            } else {
                numbers.handle(*first, &letters.as_bytes().chunks(1), &mut log);
            }
        }
        (numbers.finish(), log.0.join(" "))
    }

    fn counters(packets: &[(u64, &str)]) -> NumberCounters {
        run(packets).0
    }

    const NOTHING: NumberCounters = NumberCounters {
        messages: 0,
        gaps: 0,
        missing: 0,
        missing_ranges: Vec::new(),
        late: 0,
        duplicates: 0,
        conflicting: 0,
        rewinds: 0,
    };

    #[test]
    fn what_nothing_fills_is_missing() {
        let found = counters(&[(1, "ab"), (4, "d"), (9, ""), (9, "i")]);
        let missing_ranges = vec![(3, 4), (5, 9)];
        assert_eq!(found, NumberCounters { messages: 4, gaps: 2, missing: 5, missing_ranges, ..NOTHING });
    }

    #[test]
    fn what_comes_late_is_not_missing() {
        let found = counters(&[(3, "c"), (7, "g"), (5, "e"), (2, "b"), (4, "d"), (6, "f")]);
        assert_eq!(found, NumberCounters { messages: 6, late: 4, ..NOTHING });
    }

    #[test]
    fn a_second_copy_is_a_duplicate_and_other_bytes_are_a_conflict() {
        let found = counters(&[(1, "abc"), (2, "bc"), (2, "bX"), (4, "d")]);
        assert_eq!(found, NumberCounters { messages: 4, duplicates: 3, conflicting: 1, ..NOTHING });
    }

    #[test]
    fn numbers_that_begin_again_are_told_by_the_second_packet() {
        let (found, log) = run(&[(1, "abc"), (5, "e"), (1, "XY"), (3, "Z")]);
        let missing_ranges = vec![(4, 5)];
        let expected = NumberCounters { messages: 7, gaps: 1, missing: 1, missing_ranges, rewinds: 1, ..NOTHING };
        assert_eq!((found, log.as_str()), (expected, "1 2 3 5 restart 1 2 3"));
        let (found, _) = run(&[(1, "abc"), (1, "XY"), (3, "")]);
        assert_eq!(found, NumberCounters { messages: 5, rewinds: 1, ..NOTHING });
    }

    #[test]
    fn numbers_from_long_ago_begin_again_too() {
        let found = counters(&[(1_000_000, "a"), (1, "a"), (2, "b")]);
        assert_eq!(found, NumberCounters { messages: 3, rewinds: 1, ..NOTHING });
        let found = counters(&[(1_000_000, "a"), (1, "a"), (1_000_001, "b")]);
        assert_eq!(found, NumberCounters { messages: 2, duplicates: 1, ..NOTHING });
    }

    #[test]
    fn more_gaps_than_are_kept_are_still_counted() {
        let gaps = MAX_OPEN_GAPS as u64 + 10;
        let packets: Vec<_> = (0..=gaps).map(|n| (1 + 2 * n, "a")).collect();
        let found = counters(&packets);
        assert_eq!((found.gaps, found.missing, found.missing_ranges.len()), (gaps, gaps, LISTED_GAPS));
        assert_eq!(found.missing_ranges[0], (2, 3));
    }

    #[test]
    fn the_highest_numbers_there_are_do_no_harm() {
        let found = counters(&[(1, "a"), (u64::MAX - 1, "b"), (u64::MAX, ""), (1, "x")]);
        assert_eq!((found.messages, found.missing), (2, u64::MAX - 3));
    }
}
