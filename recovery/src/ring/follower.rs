//! Those who follow the ring packet by packet, as close behind its writer as memory allows.

use super::layout::{Commit, Entry, OLDEST_WORD, PACKETS_WORD, RingError, WORD_BYTES, record_words};
use super::reader::RingReader;
use super::sync::{AtomicU64, Ordering, fence};
use core::fmt;
use seqcast_protocol::{SequenceNumber, SequenceRange};

/// Follows the retained ring on any thread or in another process, and never holds its writer up.
///
/// It looks at one word until the next packet's commit word stands there (R2), and needs neither the index nor the marks
/// for that, but for `oldest`, which tells whether it was overtaken.
pub struct RingFollower<M> {
    reader: RingReader<M>,
    /// The number of the next message to come.
    next: SequenceNumber,
    /// Where its packet's commit word will stand; none while that is not known.
    position: Option<u64>,
}

/// What [`RingFollower::poll`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// The next packet, or its rest.
    Packet {
        /// The numbers of its messages.
        range: SequenceRange,
        /// How many bytes their blocks take at the beginning of the buffer.
        bytes: usize,
    },
    /// Nothing has come since.
    Nothing,
    /// Packets were overwritten before they were read; the next one begins with `oldest`.
    Overtaken {
        /// The first number still retained.
        oldest: SequenceNumber,
    },
}

impl<M: AsRef<[AtomicU64]>> RingFollower<M> {
    /// Follows from the packet that holds `first` on; from the oldest one that is retained if that one is not, and from the
    /// next one to come if it is not there yet.
    ///
    /// # Errors
    ///
    /// [`RingError::Damaged`] when the region holds what no writer writes.
    pub fn new(reader: RingReader<M>, first: SequenceNumber) -> Result<Self, RingError> {
        let mut follower = Self { reader, next: 1, position: None };
        follower.seek(first)?;
        Ok(follower)
    }

    /// The number of the next message to come.
    #[must_use]
    pub const fn next(&self) -> SequenceNumber {
        self.next
    }

    /// A reader of the same ring.
    #[must_use]
    pub const fn reader(&self) -> &RingReader<M> {
        &self.reader
    }

    /// Copies the blocks of the next packet into `blocks`, in whole words of 8 bytes: it is as long as the ring's
    /// [`max_blocks_bytes`](super::RingSize::max_blocks_bytes), rounded up to words, at least.
    ///
    /// # Errors
    ///
    /// [`RingError::Damaged`] when the region holds what no writer writes.
    ///
    /// # Panics
    ///
    /// When `blocks` is too short.
    #[inline]
    pub fn poll(&mut self, blocks: &mut [u8]) -> Result<Followed, RingError> {
        let Some(position) = self.position else { return self.find_again() };
        let (words, size) = (self.reader.words(), self.reader.size());
        let data = size.data(words);
        let word = data.word(position).load(Ordering::Acquire);
        let Some(commit) = Commit::from_word(word, self.next, size.max_blocks_bytes) else {
            // Where a packet was overwritten, anything may stand, 0 too.
            return match self.reader.oldest() {
                oldest if oldest > self.next => self.find_again(),
                _ if word == 0 => Ok(Followed::Nothing),
                _ => Err(RingError::Damaged),
            };
        };
        let (chunks, _) = blocks.as_chunks_mut::<WORD_BYTES>();
        data.load(position.wrapping_add(1), &mut chunks[..commit.blocks_bytes.div_ceil(WORD_BYTES)]);
        // What was copied was not yet overwritten if `oldest` has not passed it by now (R4).
        fence(Ordering::Acquire);
        if words[OLDEST_WORD].load(Ordering::Relaxed) > self.next {
            return self.find_again();
        }
        let range = SequenceRange::with_count(self.next, u64::from(commit.messages));
        self.next = range.end();
        self.position = Some(position.wrapping_add(record_words(commit.blocks_bytes)));
        Ok(Followed::Packet { range, bytes: commit.blocks_bytes })
    }

    /// Looks up to so many times, until [`Self::poll`] may have something to tell.
    #[must_use]
    #[inline]
    pub fn has_come(&self, looks: usize) -> bool {
        let Some(position) = self.position else { return true };
        let words = self.reader.words();
        let (word, oldest) = (self.reader.size().data(words).word(position), &words[OLDEST_WORD]);
        (0..looks).any(|_| word.load(Ordering::Relaxed) != 0 || oldest.load(Ordering::Relaxed) > self.next)
    }

    #[cold]
    fn find_again(&mut self) -> Result<Followed, RingError> {
        self.position = None;
        Ok(if self.seek(self.next)? { Followed::Overtaken { oldest: self.next } } else { Followed::Nothing })
    }

    /// Goes to the packet that holds `number`, or to the oldest one if that is overwritten, or to where the next one will
    /// be if it has not come; returns whether it got there.
    ///
    /// It does not while the writer gives up all packets for one that has yet to come, nor when it was overtaken just now.
    fn seek(&mut self, number: SequenceNumber) -> Result<bool, RingError> {
        let number = number.max(self.reader.oldest());
        let (words, size) = (self.reader.words(), self.reader.size());
        let packets = words[PACKETS_WORD].load(Ordering::Acquire);
        if packets == 0 {
            (self.next, self.position) = (1, Some(0));
            return Ok(true);
        }
        let found = size.index(words).find(number, packets);
        // A guess until `oldest` was looked at again.
        let behind = |entry: Entry| Some(entry.behind(size.data(words).commit(entry, size.max_blocks_bytes)?));
        let found = found.map(|(_, entry)| (entry, behind(entry)));
        fence(Ordering::Acquire);
        let oldest = self.reader.oldest();
        let there = match found {
            Some((entry, _)) if oldest > entry.first => return Ok(false),
            Some((_, Some(behind))) if number >= behind.first => behind,
            Some((entry, Some(_))) => entry,
            None if oldest > number => return Ok(false),
            Some((_, None)) | None => return Err(RingError::Damaged),
        };
        (self.next, self.position) = (there.first, Some(there.position));
        Ok(true)
    }
}

impl<M> fmt::Debug for RingFollower<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingFollower").field("reader", &self.reader).field("next", &self.next).finish_non_exhaustive()
    }
}
