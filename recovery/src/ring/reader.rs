//! Those who look things up in the ring while it is being written.

use super::layout::{
    Commit, ENDED, Entry, NEXT_WORD, OLDEST_WORD, PACKETS_WORD, RingError, RingSize, SENDING_WORD, SENT_WORD,
    STATE_WORD, WORD_BYTES, holds_messages, parse,
};
use super::sync::{AtomicU64, Ordering, fence};
use alloc::{boxed::Box, vec};
use core::fmt;
use seqcast_protocol::{Blocks, LENGTH_BYTES, MAX_MESSAGES, SequenceNumber, SequenceRange, SessionId};

/// Reads the retained ring beside its writer, on any thread or in another process, and never holds it up.
#[derive(Clone)]
pub struct RingReader<M> {
    memory: M,
    size: RingSize,
    session: SessionId,
    /// The record that was copied last, unchecked until `oldest` was read again.
    scratch: Box<[[u8; WORD_BYTES]]>,
    /// The packet behind what was read last: who asks for one after the other need not have each searched for.
    following: Option<Entry>,
}

/// What [`RingReader::read`] copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingRead {
    /// The numbers of the messages; at most 0xFFFE.
    pub range: SequenceRange,
    /// How many bytes their blocks take at the beginning of the buffer.
    pub bytes: usize,
}

impl<M: AsRef<[AtomicU64]>> RingReader<M> {
    /// Opens a ring that a [`RingWriter`](super::RingWriter) made of the same memory; allocates a buffer of one packet.
    ///
    /// # Errors
    ///
    /// Says why `memory` does not hold a ring.
    pub fn open(memory: M) -> Result<Self, RingError> {
        let (size, session) = parse(memory.as_ref())?;
        Ok(Self::new(memory, size, session))
    }

    pub(super) fn new(memory: M, size: RingSize, session: SessionId) -> Self {
        let scratch = vec![[1; WORD_BYTES]; size.max_blocks_bytes.div_ceil(WORD_BYTES)].into_boxed_slice();
        Self { memory, size, session, scratch, following: None }
    }

    /// The session whose messages these are.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// What the ring can hold.
    #[must_use]
    pub const fn size(&self) -> RingSize {
        self.size
    }

    /// The first number still retained.
    #[must_use]
    #[inline]
    pub fn oldest(&self) -> SequenceNumber {
        self.mark(OLDEST_WORD)
    }

    /// The number after the last one retained.
    #[must_use]
    #[inline]
    pub fn next(&self) -> SequenceNumber {
        self.mark(NEXT_WORD)
    }

    /// The number after the last one that was offered to every line: nobody is told of more.
    #[must_use]
    #[inline]
    pub fn sent(&self) -> SequenceNumber {
        self.mark(SENT_WORD)
    }

    /// The number after the last one that is being offered to every line, or was: who has heard the last packet of a send may
    /// ask for its first before the send is over.
    #[must_use]
    #[inline]
    pub fn sending(&self) -> SequenceNumber {
        self.mark(SENDING_WORD)
    }

    /// Whether the session has ended; if so, [`RingReader::next`] is final.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.mark(STATE_WORD) == ENDED
    }

    pub(super) fn words(&self) -> &[AtomicU64] {
        self.memory.as_ref()
    }

    #[inline]
    fn mark(&self, word: usize) -> u64 {
        self.memory.as_ref()[word].load(Ordering::Acquire)
    }

    /// Copies the blocks of the messages from `range.start()` on into `out`: whole messages, one behind the other, as
    /// many as are retained, fit, and lie in `range`; at most 0xFFFE. An empty range gives an empty read.
    ///
    /// What it returns was published, byte for byte, whatever the writer does meanwhile. It may be less than there is.
    ///
    /// # Errors
    ///
    /// Says why not even the first message was copied.
    pub fn read(&mut self, range: SequenceRange, out: &mut [u8]) -> Result<RingRead, RingReadError> {
        let start = range.start();
        let mut read = RingRead { range: SequenceRange::new(start, start), bytes: 0 };
        if range.is_empty() {
            return Ok(read);
        }
        // Before `packets`, so that the packet of `start` is among them.
        let next = self.next();
        if start >= next {
            return Err(RingReadError::NotYet { next });
        }
        let end = range.end().min(next).min(start.saturating_add(u64::from(MAX_MESSAGES)));
        let packets = self.mark(PACKETS_WORD);
        let following = self.following.take().filter(|entry| entry.first == start);
        let find = || self.size.index(self.memory.as_ref()).find(start, packets).map(|(_, entry)| entry);
        let Some(mut entry) = following.or_else(find) else { return Err(self.missing(start)) };
        loop {
            let Some(commit) = self.copy_record(entry) else {
                return if read.bytes > 0 { Ok(read) } else { Err(self.missing(start)) };
            };
            let packet = SequenceRange::with_count(entry.first, u64::from(commit.messages));
            let wanted = SequenceRange::new(read.range.end(), end.min(packet.end()));
            let blocks = &self.scratch.as_flattened()[..commit.blocks_bytes];
            let taken = match take(blocks, packet, wanted, out.len() - read.bytes) {
                Ok(taken) => taken,
                Err(_) if read.bytes > 0 => return Ok(read),
                Err(error) => return Err(error),
            };
            let bytes = taken.blocks.len();
            out[read.bytes..][..bytes].copy_from_slice(taken.blocks);
            read = RingRead { range: SequenceRange::new(start, taken.end), bytes: read.bytes + bytes };
            if taken.end < packet.end() {
                return Ok(read);
            }
            entry = entry.behind(commit);
            self.following = Some(entry);
            if taken.end == end {
                return Ok(read);
            }
        }
    }

    /// Copies one record into the scratch buffer; `None` when it was overtaken, or is no record.
    fn copy_record(&mut self, entry: Entry) -> Option<Commit> {
        let words = self.memory.as_ref();
        let data = self.size.data(words);
        let commit = data.commit(entry, self.size.max_blocks_bytes)?;
        let blocks = &mut self.scratch[..commit.blocks_bytes.div_ceil(WORD_BYTES)];
        data.load(entry.position.wrapping_add(1), blocks);
        // What was copied was not yet overwritten if `oldest` has not passed it by now (R4).
        fence(Ordering::Acquire);
        let is_there = words[OLDEST_WORD].load(Ordering::Relaxed) <= entry.first;
        (is_there && holds_messages(&self.scratch.as_flattened()[..commit.blocks_bytes], commit.messages))
            .then_some(commit)
    }

    /// Why `number`, below `next`, was not found: it was overwritten (R5), unless the region is damaged.
    #[cold]
    fn missing(&self, number: SequenceNumber) -> RingReadError {
        fence(Ordering::Acquire);
        let oldest = self.oldest();
        if oldest > number { RingReadError::Overwritten { oldest } } else { RingReadError::Damaged }
    }
}

impl<M> fmt::Debug for RingReader<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingReader").field("session", &self.session).field("size", &self.size).finish_non_exhaustive()
    }
}

/// The part of a packet that was asked for, not empty: whole blocks, and the number after their last.
struct Taken<'a> {
    blocks: &'a [u8],
    end: SequenceNumber,
}

/// Cuts whole messages out of the blocks of a packet: from `wanted.start()` on, below `wanted.end()`, at most `room` bytes.
fn take(blocks: &[u8], packet: SequenceRange, wanted: SequenceRange, room: usize) -> Result<Taken<'_>, RingReadError> {
    if wanted == packet && blocks.len() <= room {
        return Ok(Taken { blocks, end: wanted.end() });
    }
    let mut messages = Blocks::new(blocks);
    for _ in packet.start()..wanted.start() {
        messages.next().ok_or(RingReadError::Damaged)?;
    }
    let rest = messages.rest();
    let mut taken = Taken { blocks: &[], end: wanted.start() };
    while taken.end < wanted.end() && messages.next().is_some() {
        let bytes = rest.len() - messages.rest().len();
        if bytes > room {
            break;
        }
        taken = Taken { blocks: &rest[..bytes], end: taken.end + 1 };
    }
    if taken.end > wanted.start() {
        return Ok(taken);
    }
    match Blocks::new(rest).next() {
        Some(message) if !wanted.is_empty() => {
            Err(RingReadError::NoRoom { needed_bytes: LENGTH_BYTES + message.len() })
        }
        _ => Err(RingReadError::Damaged),
    }
}

/// Why a range cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingReadError {
    /// The first number is no longer retained: it lies before `oldest`.
    Overwritten {
        /// The first number still retained.
        oldest: SequenceNumber,
    },
    /// The first number was not yet retained.
    NotYet {
        /// The number after the last one retained.
        next: SequenceNumber,
    },
    /// The first message does not fit into the buffer.
    NoRoom {
        /// The bytes that its block takes, `2..=65537`.
        needed_bytes: usize,
    },
    /// The region holds what no writer writes.
    Damaged,
}

impl fmt::Display for RingReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overwritten { oldest } => write!(f, "the number is overwritten, the oldest retained is {oldest}"),
            Self::NotYet { next } => write!(f, "the number is not published yet, the next one is {next}"),
            Self::NoRoom { needed_bytes } => write!(f, "the first message needs a buffer of {needed_bytes} bytes"),
            Self::Damaged => f.write_str("the ring is damaged: it holds what no writer writes"),
        }
    }
}

impl core::error::Error for RingReadError {}
