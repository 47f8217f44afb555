//! The words of a file, as those see them who write: a number, a histogram, a table.

use crate::description::{Described, ROW_HEAD_WORDS};
use seqcast_transport::Mapping;
use std::sync::atomic::{AtomicU64, Ordering};

/// Buckets for each doubling: a value is told from another one that differs by a sixteenth.
const BUCKETS_PER_DOUBLING: u64 = 16;
const DOUBLING_BITS: u32 = BUCKETS_PER_DOUBLING.trailing_zeros();

/// How many buckets a histogram has: values up to 2^36 - 1, more than a minute in nanoseconds, each less than a sixteenth of them
/// wide; larger ones count in the last. `16 + 16 * (36 - 4)`.
pub const BUCKETS: usize = 528;

/// How many, their sum, the largest.
pub(crate) const HISTOGRAM_HEAD_WORDS: usize = 3;
pub(crate) const HISTOGRAM_WORDS: usize = HISTOGRAM_HEAD_WORDS + BUCKETS;

/// The bucket of a value: up to 16 each has its own, from there on 16 follow each other between a power of two and the next.
#[must_use]
#[inline]
pub const fn bucket_of(value: u64) -> usize {
    if value < BUCKETS_PER_DOUBLING {
        return value as usize;
    }
    let doublings = value.ilog2() - DOUBLING_BITS;
    let bucket = doublings as u64 * BUCKETS_PER_DOUBLING + (value >> doublings);
    if bucket < BUCKETS as u64 { bucket as usize } else { BUCKETS - 1 }
}

/// One past the largest value of a bucket, but for the last, which has no end.
#[must_use]
pub const fn bucket_end(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < BUCKETS_PER_DOUBLING {
        return bucket + 1;
    }
    let doublings = bucket / BUCKETS_PER_DOUBLING - 1;
    (bucket - doublings * BUCKETS_PER_DOUBLING + 1) << doublings
}

/// Adds to a word that nobody else writes.
#[inline]
fn add(word: &AtomicU64, count: u64) {
    word.store(word.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
}

/// A counter or a gauge. One thread writes it.
#[derive(Clone, Debug)]
pub struct Cell(Mapping);

impl Cell {
    pub(crate) fn new(values: &Mapping, described: Described) -> Self {
        Self(values.part(described.at..described.at + 1))
    }

    /// Sets it.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.as_ref()[0].store(value, Ordering::Relaxed);
    }

    /// Adds to it.
    #[inline]
    pub fn add(&self, count: u64) {
        add(&self.0.as_ref()[0], count);
    }
}

/// Counters and gauges that were described one behind the other, to be written together at little cost. One thread writes them.
#[derive(Clone, Debug)]
pub struct Cells<const N: usize>(Mapping);

impl<const N: usize> Cells<N> {
    pub(crate) fn new(values: &Mapping, described: [Described; N]) -> Self {
        let are_adjacent = described.windows(2).all(|pair| pair[0].at + 1 == pair[1].at);
        assert!(are_adjacent, "they were described one behind the other");
        Self(values.part(described[0].at..described[0].at + N))
    }

    /// Sets them.
    #[inline]
    pub fn set(&self, values: [u64; N]) {
        self.0.as_ref()[..N].iter().zip(values).for_each(|(word, value)| word.store(value, Ordering::Relaxed));
    }
}

/// A histogram. One thread writes it.
#[derive(Clone, Debug)]
pub struct Histogram(Mapping);

impl Histogram {
    pub(crate) fn new(values: &Mapping, described: Described) -> Self {
        Self(values.part(described.at..described.at + HISTOGRAM_WORDS))
    }

    /// Counts a value.
    #[inline]
    pub fn record(&self, value: u64) {
        let words = self.0.as_ref();
        add(&words[0], 1);
        add(&words[1], value);
        if value > words[2].load(Ordering::Relaxed) {
            words[2].store(value, Ordering::Relaxed);
        }
        add(&words[HISTOGRAM_HEAD_WORDS + bucket_of(value)], 1);
    }
}

/// A table. One thread writes it.
#[derive(Clone, Debug)]
pub struct Table {
    words: Mapping,
    rows: usize,
    /// The words of a row's fields.
    width: usize,
    written: u64,
}

impl Table {
    pub(crate) fn new(values: &Mapping, described: Described) -> Self {
        let Described { at, rows, width } = described;
        let words = values.part(at..at + rows * (ROW_HEAD_WORDS + width));
        Self { words, rows, width, written: 0 }
    }

    /// How many rows it has.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Writes the row behind the one that was written last; behind the last row follows the first.
    ///
    /// # Panics
    ///
    /// When there are more or fewer words than the fields take.
    pub fn push(&mut self, fields: &[u64]) {
        let row = (self.written % self.rows as u64) as usize;
        self.set(row, fields);
    }

    /// Writes a row.
    ///
    /// # Panics
    ///
    /// When there is no such row, or more or fewer words than its fields take.
    pub fn set(&mut self, row: usize, fields: &[u64]) {
        assert_eq!(fields.len(), self.width, "a row has its fields");
        self.written += 1;
        self.write(row, self.written, fields);
    }

    /// Empties a row.
    ///
    /// # Panics
    ///
    /// When there is no such row.
    pub fn clear(&mut self, row: usize) {
        let width = ROW_HEAD_WORDS + self.width;
        self.words.as_ref()[row * width + 1].store(0, Ordering::Relaxed);
    }

    fn write(&self, row: usize, number: u64, fields: &[u64]) {
        let width = ROW_HEAD_WORDS + self.width;
        let words = &self.words.as_ref()[row * width..(row + 1) * width];
        // Nobody takes a row for whole before its checksum fits.
        words[0].store(checksum(number, fields), Ordering::Relaxed);
        words[1].store(number, Ordering::Relaxed);
        for (word, &field) in words[ROW_HEAD_WORDS..].iter().zip(fields) {
            word.store(field, Ordering::Relaxed);
        }
    }
}

/// Tells a row that is whole from one that is being written.
pub(crate) fn checksum(number: u64, fields: &[u64]) -> u64 {
    fields.iter().fold(mix(number), |hash, &field| mix(hash ^ field))
}

/// The finaliser of MurmurHash3.
pub(crate) const fn mix(mut word: u64) -> u64 {
    word ^= word >> 33;
    word = word.wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    word ^= word >> 33;
    word = word.wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    word ^ word >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_a_hole() {
        let mut begin = 0;
        for bucket in 0..BUCKETS {
            let end = bucket_end(bucket);
            assert_eq!((bucket_of(begin), bucket_of(end - 1)), (bucket, bucket));
            assert!(end - begin <= (begin / 16).max(1), "{begin}..{end}");
            begin = end;
        }
        assert_eq!(begin, 1 << 36);
        assert_eq!([bucket_of(begin), bucket_of(u64::MAX)], [BUCKETS - 1; 2]);
    }
}
