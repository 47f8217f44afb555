//! Where everything stands in the region: sizes, header, index, records, and the search in the index.

use super::sync::{AtomicU64, Ordering};
use core::fmt;
use seqcast_protocol::{Blocks, MAX_MESSAGES, SequenceNumber, SessionId};

/// The most bytes of blocks that one packet can have: 64 KiB, more than fits into a UDP payload.
pub const MAX_BLOCKS_BYTES: usize = 1 << 16;

/// Read as a number in the byte order of the machine, so that a region of the other byte order is not taken for a ring.
const MAGIC: u64 = u64::from_le_bytes(*b"seqcast\x01");
/// Grows with every change of R1, R2 or R3.
const LAYOUT_VERSION: u64 = 4;

const MAGIC_WORD: usize = 0;
const VERSION_WORD: usize = 1;
const SESSION_WORD: usize = 2;
const DATA_WORDS_WORD: usize = 4;
const INDEX_ENTRIES_WORD: usize = 5;
const MAX_BLOCKS_WORD: usize = 6;
const CHECKSUM_WORD: usize = 7;
pub(super) const OLDEST_WORD: usize = 8;
pub(super) const NEXT_WORD: usize = 16;
pub(super) const PACKETS_WORD: usize = 17;
pub(super) const SENT_WORD: usize = 24;
pub(super) const STATE_WORD: usize = 25;
pub(super) const SENDING_WORD: usize = 26;
/// Four lines of 64 bytes (R1).
const HEADER_WORDS: usize = 32;
/// What the length of a record is a multiple of (R2). Loom knows no cache lines, and tries all orders only of what is small.
const LINE_WORDS: usize = if cfg!(loom) { 1 } else { 8 };

const ENTRY_WORDS: usize = 2;
pub(super) const WORD_BYTES: usize = size_of::<u64>();

pub(super) const LIVE: u64 = 1;
pub(super) const ENDED: u64 = 2;

/// How large a ring is: what it can hold at most, and how many words of memory that takes.
///
/// Invariants, checked when a ring is created or opened: both capacities are powers of two;
/// `max_blocks_bytes <= MAX_BLOCKS_BYTES`; the largest record and the zero word behind it fit into the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSize {
    /// The words of 8 bytes for records, a power of two; a packet takes one and its blocks, up to a multiple of 8.
    pub data_words: usize,
    /// The most packets that are retained at a time, a power of two.
    pub index_entries: usize,
    /// The most bytes of blocks that one packet may have, `0..=MAX_BLOCKS_BYTES`.
    pub max_blocks_bytes: usize,
}

impl RingSize {
    /// Derives a size from the bytes of blocks to retain and the most that one packet may have of them, cut at
    /// [`MAX_BLOCKS_BYTES`].
    ///
    /// The data is `retain_bytes` rounded up to a power of two, but holds at least eight of the largest packets: room
    /// is made in eighths, so an eighth must hold one of them, and then seven eighths less one packet are always kept.
    /// The index has one entry per 64 bytes of data, the least that a packet takes, so that it never decides.
    #[must_use]
    pub const fn for_bytes(retain_bytes: usize, max_blocks_bytes: usize) -> Self {
        let max_blocks_bytes = if max_blocks_bytes < MAX_BLOCKS_BYTES { max_blocks_bytes } else { MAX_BLOCKS_BYTES };
        let least = 8 * (record_words(max_blocks_bytes) as usize + 1);
        let wanted = retain_bytes.div_ceil(WORD_BYTES);
        // At most usize::MAX / 8 + 1, a power of two itself: rounding up cannot overflow.
        let data_words = if wanted > least { wanted } else { least }.next_power_of_two();
        Self { data_words, index_entries: data_words / 8, max_blocks_bytes }
    }

    /// The words of memory that a ring of this size takes, in all.
    #[must_use]
    pub const fn words(&self) -> usize {
        HEADER_WORDS.saturating_add(self.index_entries.saturating_mul(ENTRY_WORDS)).saturating_add(self.data_words)
    }

    const fn is_valid(&self) -> bool {
        self.data_words.is_power_of_two()
            && self.index_entries.is_power_of_two()
            && self.max_blocks_bytes <= MAX_BLOCKS_BYTES
            && record_words(self.max_blocks_bytes) < self.data_words as u64
    }

    pub(super) fn check(&self, words: &[AtomicU64]) -> Result<(), RingError> {
        if !self.is_valid() {
            return Err(RingError::Size);
        }
        if words.len() < self.words() {
            return Err(RingError::TooSmall { words: words.len(), needed_words: self.words() });
        }
        Ok(())
    }

    #[inline]
    pub(super) fn index<'a>(&self, words: &'a [AtomicU64]) -> Index<'a> {
        Index { words: &words[HEADER_WORDS..][..self.index_entries * ENTRY_WORDS], entries: self.index_entries as u64 }
    }

    #[inline]
    pub(super) fn data<'a>(&self, words: &'a [AtomicU64]) -> Data<'a> {
        Data { words: &words[HEADER_WORDS + self.index_entries * ENTRY_WORDS..][..self.data_words] }
    }
}

/// Writes every word of the region; the magic comes last, so that nobody takes half a ring for one.
pub(super) fn format(words: &[AtomicU64], size: &RingSize, session: SessionId) {
    for word in words {
        word.store(0, Ordering::Relaxed);
    }
    let mut session_words = [0; 2 * WORD_BYTES];
    session_words[..session.as_bytes().len()].copy_from_slice(session.as_bytes());
    for (word, chunk) in words[SESSION_WORD..].iter().zip(session_words.as_chunks().0) {
        word.store(u64::from_ne_bytes(*chunk), Ordering::Relaxed);
    }
    for (word, value) in [
        (VERSION_WORD, LAYOUT_VERSION),
        (DATA_WORDS_WORD, size.data_words as u64),
        (INDEX_ENTRIES_WORD, size.index_entries as u64),
        (MAX_BLOCKS_WORD, size.max_blocks_bytes as u64),
        (OLDEST_WORD, 1),
        (NEXT_WORD, 1),
        (SENT_WORD, 1),
        (SENDING_WORD, 1),
        (STATE_WORD, LIVE),
    ] {
        words[word].store(value, Ordering::Relaxed);
    }
    words[CHECKSUM_WORD].store(checksum(words), Ordering::Relaxed);
    words[MAGIC_WORD].store(MAGIC, Ordering::Release);
}

/// FNV-1a (Fowler, Noll and Vo) over the bytes of what never changes behind the magic.
fn checksum(words: &[AtomicU64]) -> u64 {
    let fixed = words[VERSION_WORD..CHECKSUM_WORD].iter().map(|word| word.load(Ordering::Relaxed));
    let hash = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
    fixed.flat_map(u64::to_ne_bytes).fold(0xCBF2_9CE4_8422_2325, hash)
}

/// Reads what [`format`] wrote and checks it against the memory there is.
pub(super) fn parse(words: &[AtomicU64]) -> Result<(RingSize, SessionId), RingError> {
    if words.len() < HEADER_WORDS {
        return Err(RingError::TooSmall { words: words.len(), needed_words: HEADER_WORDS });
    }
    if words[MAGIC_WORD].load(Ordering::Acquire) != MAGIC {
        return Err(RingError::NotARing);
    }
    let version = words[VERSION_WORD].load(Ordering::Relaxed);
    if version != LAYOUT_VERSION {
        return Err(RingError::Version { found: version });
    }
    if words[CHECKSUM_WORD].load(Ordering::Relaxed) != checksum(words) {
        return Err(RingError::Damaged);
    }
    let capacity = |word: usize| usize::try_from(words[word].load(Ordering::Relaxed)).map_err(|_| RingError::Size);
    let size = RingSize {
        data_words: capacity(DATA_WORDS_WORD)?,
        index_entries: capacity(INDEX_ENTRIES_WORD)?,
        max_blocks_bytes: capacity(MAX_BLOCKS_WORD)?,
    };
    size.check(words)?;
    let mut session_words = [0; 2 * WORD_BYTES];
    for (chunk, word) in session_words.as_chunks_mut().0.iter_mut().zip(&words[SESSION_WORD..]) {
        *chunk = word.load(Ordering::Relaxed).to_ne_bytes();
    }
    let session = *session_words.first_chunk().expect("two words hold ten bytes");
    Ok((size, SessionId::from_bytes(session)))
}

/// The words of a record with `blocks_bytes` of blocks, from its commit word to the end of its last line.
#[inline]
pub(super) const fn record_words(blocks_bytes: usize) -> u64 {
    (1 + blocks_bytes.div_ceil(WORD_BYTES)).next_multiple_of(LINE_WORDS) as u64
}

/// What a commit word says: a record is complete, and how long it is.
///
/// Invariants: `1 <= messages <= MAX_MESSAGES`, so that its word is never zero; `blocks_bytes <= MAX_BLOCKS_BYTES`.
#[derive(Clone, Copy)]
pub(super) struct Commit {
    pub(super) blocks_bytes: usize,
    pub(super) messages: u16,
}

impl Commit {
    /// Where the number of the record's first message begins, without its 33 highest bits: behind 16 bits of messages and 17
    /// of bytes.
    const FIRST_SHIFT: u32 = 33;

    #[inline]
    pub(super) const fn to_word(self, first: SequenceNumber) -> u64 {
        first << Self::FIRST_SHIFT | (self.blocks_bytes as u64) << 16 | self.messages as u64
    }

    /// Takes a word for what it says if a writer could have written it for the record that begins with `first`; `None` for
    /// zero and for nonsense.
    #[inline]
    pub(super) const fn from_word(word: u64, first: SequenceNumber, max_blocks_bytes: usize) -> Option<Self> {
        let is_of_first = word >> Self::FIRST_SHIFT == first << Self::FIRST_SHIFT >> Self::FIRST_SHIFT;
        let blocks_bytes = (word & ((1 << Self::FIRST_SHIFT) - 1)) >> 16;
        let messages = word as u16;
        if !is_of_first || messages == 0 || messages > MAX_MESSAGES || blocks_bytes > max_blocks_bytes as u64 {
            return None;
        }
        Some(Self { blocks_bytes: blocks_bytes as usize, messages })
    }
}

/// Whether `blocks` holds just so many whole messages.
pub(super) fn holds_messages(blocks: &[u8], count: u16) -> bool {
    let mut messages = Blocks::new(blocks);
    messages.by_ref().count() == usize::from(count) && messages.rest().is_empty()
}

/// The records' words, addressed by position.
pub(super) struct Data<'a> {
    words: &'a [AtomicU64],
}

impl<'a> Data<'a> {
    /// What the commit word of this packet says; `None` when none stands there.
    pub(super) fn commit(&self, entry: Entry, max_blocks_bytes: usize) -> Option<Commit> {
        Commit::from_word(self.word(entry.position).load(Ordering::Acquire), entry.first, max_blocks_bytes)
    }

    #[inline]
    pub(super) fn word(&self, position: u64) -> &'a AtomicU64 {
        &self.words[self.offset(position)]
    }

    /// Stores `bytes` from the word at `position` on, relaxed; pads the last word with ones (R2).
    #[inline]
    pub(super) fn store(&self, position: u64, bytes: &[u8]) {
        let (until_wrap, after_wrap) = self.split(position);
        let (head, tail) = bytes.split_at(bytes.len().min(until_wrap.len() * WORD_BYTES));
        store_words(until_wrap, head);
        if !tail.is_empty() {
            store_words(after_wrap, tail);
        }
    }

    /// Loads whole words from `position` on into `bytes`, relaxed.
    #[inline]
    pub(super) fn load(&self, position: u64, bytes: &mut [[u8; WORD_BYTES]]) {
        let (until_wrap, after_wrap) = self.split(position);
        let (head, tail) = bytes.split_at_mut(bytes.len().min(until_wrap.len()));
        load_words(until_wrap, head);
        if !tail.is_empty() {
            load_words(after_wrap, tail);
        }
    }

    #[inline]
    fn split(&self, position: u64) -> (&'a [AtomicU64], &'a [AtomicU64]) {
        let offset = self.offset(position);
        (&self.words[offset..], &self.words[..offset])
    }

    /// The capacity is a power of two, so the mask is the remainder.
    #[inline]
    fn offset(&self, position: u64) -> usize {
        position as usize & (self.words.len() - 1)
    }
}

#[inline]
fn store_words(words: &[AtomicU64], bytes: &[u8]) {
    let (chunks, rest) = bytes.as_chunks::<WORD_BYTES>();
    for (word, chunk) in words.iter().zip(chunks) {
        word.store(u64::from_ne_bytes(*chunk), Ordering::Relaxed);
    }
    if !rest.is_empty() {
        // As the first of the word's bytes, whatever the byte order; those behind are ones.
        let last = match bytes.last_chunk() {
            Some(bytes) => u64::from_le_bytes(*bytes) >> (8 * (WORD_BYTES - rest.len())),
            None => rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
        };
        let word = last | u64::MAX << (8 * rest.len());
        words[chunks.len()].store(word.to_le(), Ordering::Relaxed);
    }
}

#[inline]
fn load_words(words: &[AtomicU64], bytes: &mut [[u8; WORD_BYTES]]) {
    for (chunk, word) in bytes.iter_mut().zip(words) {
        *chunk = word.load(Ordering::Relaxed).to_ne_bytes();
    }
}

/// One packet as the index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) first: SequenceNumber,
    pub(super) position: u64,
}

impl Entry {
    /// That of the first packet ever retained.
    pub(super) const FIRST: Self = Self { first: 1, position: 0 };

    /// The entry of the packet behind, if this one's commit word is `commit`.
    pub(super) const fn behind(self, commit: Commit) -> Self {
        Self {
            first: self.first.wrapping_add(commit.messages as u64),
            position: self.position.wrapping_add(record_words(commit.blocks_bytes)),
        }
    }
}

/// The index, addressed by the packet's number, 0 for the first ever retained.
pub(super) struct Index<'a> {
    words: &'a [AtomicU64],
    entries: u64,
}

impl Index<'_> {
    #[inline]
    pub(super) fn store(&self, packet: u64, entry: Entry) {
        let offset = self.offset(packet);
        self.words[offset].store(entry.first, Ordering::Relaxed);
        self.words[offset + 1].store(entry.position, Ordering::Relaxed);
    }

    pub(super) fn first(&self, packet: u64) -> SequenceNumber {
        self.words[self.offset(packet)].load(Ordering::Relaxed)
    }

    pub(super) fn position(&self, packet: u64) -> u64 {
        self.words[self.offset(packet) + 1].load(Ordering::Relaxed)
    }

    pub(super) fn entry(&self, packet: u64) -> Entry {
        Entry { first: self.first(packet), position: self.position(packet) }
    }

    /// Searches the packet that holds `number`, backwards from the newest of `packets` (R5): in steps that double, then
    /// by halves. `None` when its entry was overwritten. What it finds is to be checked against `oldest` (R4).
    ///
    /// The caller's duty: `number` is below the `next` of `packets`.
    pub(super) fn find(&self, number: SequenceNumber, packets: u64) -> Option<(u64, Entry)> {
        let newest = packets.checked_sub(1)?;
        let newest_first = self.first(newest);
        let floor = packets.saturating_sub(self.entries);

        let (mut low, mut low_first, mut high) = (newest, newest_first, packets);
        let mut step = 1;
        while low_first > number && low_first <= newest_first {
            if low == floor {
                return None;
            }
            high = low;
            low = newest.saturating_sub(step).max(floor);
            low_first = self.first(low);
            step *= 2;
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let first = self.first(middle);
            if first <= number || first > newest_first {
                (low, low_first) = (middle, first);
            } else {
                high = middle;
            }
        }
        (low_first <= number).then(|| (low, Entry { first: low_first, position: self.position(low) }))
    }

    #[inline]
    fn offset(&self, packet: u64) -> usize {
        (packet & (self.entries - 1)) as usize * ENTRY_WORDS
    }
}

/// Why memory does not hold a ring, or cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingError {
    /// The size breaks one of the invariants of [`RingSize`].
    Size,
    /// The memory is shorter than the ring.
    TooSmall {
        /// The words of memory there are.
        words: usize,
        /// The words that the ring takes.
        needed_words: usize,
    },
    /// The memory does not begin with the mark of a ring in this machine's byte order.
    NotARing,
    /// The ring was written by a version with another layout.
    Version {
        /// The layout that it has.
        found: u64,
    },
    /// The session has ended; nothing can be added to it.
    Ended,
    /// The marks, the index and the records contradict each other.
    Damaged,
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size => f.write_str("capacities are not powers of two, or a packet does not fit into the data"),
            Self::TooSmall { words, needed_words } => {
                write!(f, "the memory has {words} words, the ring takes {needed_words}")
            }
            Self::NotARing => f.write_str("the memory does not hold a retained ring of this machine's byte order"),
            Self::Version { found } => write!(f, "the ring has layout {found}, this version knows {LAYOUT_VERSION}"),
            Self::Ended => f.write_str("the session of the ring has ended"),
            Self::Damaged => f.write_str("the ring is damaged: its marks, index and records contradict each other"),
        }
    }
}

impl core::error::Error for RingError {}
