//! The one that fills the ring.

use super::layout::{
    Commit, Data, ENDED, Entry, LIVE, NEXT_WORD, OLDEST_WORD, PACKETS_WORD, RingError, RingSize, SENDING_WORD,
    SENT_WORD, STATE_WORD, WORD_BYTES, format, holds_messages, parse, record_words,
};
use super::reader::RingReader;
use super::sync::{AtomicU64, Ordering, fence};
use alloc::vec;
use core::fmt;
use seqcast_protocol::{MAX_MESSAGES, SequenceNumber, SequenceRange, SessionId};

/// What numbers and positions have not come to in any ring (R6), so that adding to one never overflows.
const LIMIT: u64 = u64::MAX / 2;

/// Writes the retained ring; there is at most one for a region, which is the caller's duty.
///
/// Invariants: `1 <= oldest <= next`; `sent <= sending <= next`; `position < data_limit`; `packets <= packet_limit`.
pub struct RingWriter<M> {
    memory: M,
    size: RingSize,
    session: SessionId,
    oldest: SequenceNumber,
    next: SequenceNumber,
    sent: SequenceNumber,
    sending: SequenceNumber,
    is_ended: bool,
    /// The position of the next record's commit word.
    position: u64,
    /// How many packets were ever retained: the number of the next one.
    packets: u64,
    /// The first packet still retained; `packets` when there is none.
    oldest_packet: u64,
    /// Where writing has to stop: the position of the oldest record, one lap on.
    data_limit: u64,
    /// The first packet whose entry is the oldest packet's.
    packet_limit: u64,
}

impl<M: AsRef<[AtomicU64]>> RingWriter<M> {
    /// Makes an empty ring of `memory`, live, with 1 as its next number; writes every word of the memory.
    ///
    /// # Errors
    ///
    /// [`RingError::Size`] when `size` breaks its invariants, [`RingError::TooSmall`] when `memory` is shorter than
    /// [`RingSize::words`].
    pub fn create(memory: M, size: RingSize, session: SessionId) -> Result<Self, RingError> {
        let words = memory.as_ref();
        size.check(words)?;
        format(words, &size, session);
        Ok(Self {
            memory,
            size,
            session,
            oldest: 1,
            next: 1,
            sent: 1,
            sending: 1,
            is_ended: false,
            position: 0,
            packets: 0,
            oldest_packet: 0,
            data_limit: size.data_words as u64,
            packet_limit: size.index_entries as u64,
        })
    }

    /// Goes on with a ring whose writer died, at any point of its work: a packet counts from its commit word on. Looks at all
    /// that is retained, so that it is whole, but for the bytes of the messages.
    ///
    /// # Errors
    ///
    /// Says why `memory` does not hold a ring that can be continued.
    pub fn reopen(memory: M) -> Result<Self, RingError> {
        let words = memory.as_ref();
        let (size, session) = parse(words)?;
        match words[STATE_WORD].load(Ordering::Acquire) {
            LIVE => {}
            ENDED => return Err(RingError::Ended),
            _ => return Err(RingError::Damaged),
        }
        let (index, data) = (size.index(words), size.data(words));
        let [oldest, told, sent, sending, counted] = [OLDEST_WORD, NEXT_WORD, SENT_WORD, SENDING_WORD, PACKETS_WORD]
            .map(|word| words[word].load(Ordering::Acquire));

        let mut behind = Entry::FIRST;
        if let Some(newest) = counted.checked_sub(1) {
            let entry = index.entry(newest);
            behind = entry.behind(data.commit(entry, size.max_blocks_bytes).ok_or(RingError::Damaged)?);
        }
        let mut packets = counted;
        // Committed, and not yet counted: its entry may not have been written.
        let mut uncounted = None;
        if data.word(behind.position).load(Ordering::Acquire) != 0 {
            packets = packets.checked_add(1).ok_or(RingError::Damaged)?;
            uncounted = Some(behind);
            behind = behind.behind(data.commit(behind, size.max_blocks_bytes).ok_or(RingError::Damaged)?);
        }
        let Entry { first: next, position } = behind;

        let (oldest_packet, oldest_position) = match uncounted {
            _ if oldest == next => (packets, position),
            Some(entry) if entry.first == oldest => (counted, entry.position),
            _ => {
                let (packet, entry) = index.find(oldest, counted).ok_or(RingError::Damaged)?;
                if entry.first != oldest {
                    return Err(RingError::Damaged);
                }
                (packet, entry.position)
            }
        };
        let used = position.checked_sub(oldest_position).ok_or(RingError::Damaged)?;
        let marks_agree = oldest > 0 && oldest.max(sending).max(told) <= next && sent <= sending;
        let is_end = data.word(position).load(Ordering::Acquire) == 0;
        if !marks_agree || !is_end || used >= size.data_words as u64 || next.max(position).max(packets) > LIMIT {
            return Err(RingError::Damaged);
        }
        let retained = (oldest_packet..counted).map(|packet| index.entry(packet)).chain(uncounted);
        if !are_whole(&data, size.max_blocks_bytes, retained, behind) {
            return Err(RingError::Damaged);
        }

        if let Some(entry) = uncounted {
            index.store(counted, entry);
        }
        words[PACKETS_WORD].store(packets, Ordering::Release);
        words[NEXT_WORD].store(next, Ordering::Release);
        let data_limit = oldest_position + size.data_words as u64;
        let packet_limit = oldest_packet + size.index_entries as u64;
        Ok(Self {
            memory,
            size,
            session,
            oldest,
            next,
            sent,
            sending,
            is_ended: false,
            position,
            packets,
            oldest_packet,
            data_limit,
            packet_limit,
        })
    }

    /// Retains one packet: `count` messages, numbered from [`RingWriter::next`] on, whose blocks are `blocks`; returns
    /// their numbers. That `blocks` holds just `count` whole messages is the caller's duty.
    ///
    /// # Errors
    ///
    /// Says why the packet cannot be retained; the ring stays as it was.
    ///
    /// # Panics
    ///
    /// In debug builds, when `blocks` does not hold just `count` whole messages.
    #[inline]
    pub fn retain(&mut self, count: u16, blocks: &[u8]) -> Result<SequenceRange, RetainError> {
        if self.is_ended {
            return Err(RetainError::Ended);
        }
        if count == 0 || count > MAX_MESSAGES {
            return Err(RetainError::Count);
        }
        if blocks.len() > self.size.max_blocks_bytes {
            return Err(RetainError::TooLong);
        }
        debug_assert!(holds_messages(blocks, count), "the blocks are not {count} whole messages");

        let end = self.position + record_words(blocks.len());
        if end >= self.data_limit || self.packets == self.packet_limit {
            self.make_room(end);
        }
        let words = self.memory.as_ref();
        let data = self.size.data(words);
        let range = SequenceRange::with_count(self.next, u64::from(count));
        data.word(end).store(0, Ordering::Relaxed);
        data.store(self.position + 1, blocks);
        let commit = Commit { blocks_bytes: blocks.len(), messages: count };
        data.word(self.position).store(commit.to_word(self.next), Ordering::Release);
        // Whoever follows waits for none of the rest.
        self.size.index(words).store(self.packets, Entry { first: self.next, position: self.position });

        self.position = end;
        self.packets += 1;
        self.next = range.end();
        words[PACKETS_WORD].store(self.packets, Ordering::Release);
        words[NEXT_WORD].store(self.next, Ordering::Release);
        Ok(range)
    }

    /// Gives up the oldest packets, so that `end` can be zeroed and an entry written: an eighth of what is short, data
    /// or index, so that readers see `oldest` move seldom; more when the packet needs more.
    #[cold]
    fn make_room(&mut self, end: u64) {
        let words = self.memory.as_ref();
        let index = self.size.index(words);
        let (data_words, entries) = (self.size.data_words as u64, self.size.index_entries as u64);

        let mut packet = self.oldest_packet;
        if self.packets == self.packet_limit {
            packet = (packet + (entries / 8).max(1)).min(self.packets);
        }
        if end >= self.data_limit {
            let limit = (self.data_limit + data_words / 8).max(end + 1);
            packet = first_packet_from(limit - data_words, packet, self.packets, |packet| index.position(packet));
        }
        let oldest = if packet == self.packets {
            Entry { first: self.next, position: self.position }
        } else {
            Entry { first: index.first(packet), position: index.position(packet) }
        };
        self.oldest = oldest.first;
        self.oldest_packet = packet;
        self.data_limit = oldest.position + data_words;
        self.packet_limit = packet + entries;
        debug_assert!(end < self.data_limit && self.packets < self.packet_limit);

        words[OLDEST_WORD].store(oldest.first, Ordering::Release);
        // Whoever reads a word that is stored from here on, then fences, sees `oldest` moved (R4).
        fence(Ordering::Release);
    }

    /// The words from the oldest record to the end.
    pub(super) const fn retained_words(&self) -> u64 {
        self.position + self.size.data_words as u64 - self.data_limit
    }

    /// Tells readers that every number below `next` is being offered to every line from now on; never moves back, nor past
    /// [`RingWriter::next`].
    ///
    /// # Panics
    ///
    /// In debug builds, when `next` is past [`RingWriter::next`].
    #[inline]
    pub fn mark_sending(&mut self, next: SequenceNumber) {
        debug_assert!(next <= self.next, "sent before it was retained");
        self.sending = next.clamp(self.sending, self.next);
        self.memory.as_ref()[SENDING_WORD].store(self.sending, Ordering::Release);
    }

    /// Tells readers that every number below `next` was offered to every line; never moves back, nor past
    /// [`RingWriter::next`].
    ///
    /// # Panics
    ///
    /// In debug builds, when `next` is past [`RingWriter::next`].
    #[inline]
    pub fn mark_sent(&mut self, next: SequenceNumber) {
        debug_assert!(next <= self.next, "sent before it was retained");
        self.sent = next.clamp(self.sent, self.next);
        if self.sending < self.sent {
            self.mark_sending(self.sent);
        }
        self.memory.as_ref()[SENT_WORD].store(self.sent, Ordering::Release);
    }

    /// Tells readers that no number from [`RingWriter::next`] on will ever come.
    pub fn mark_ended(&mut self) {
        self.is_ended = true;
        self.memory.as_ref()[STATE_WORD].store(ENDED, Ordering::Release);
    }

    /// The first number still retained; equal to [`RingWriter::next`] when there is none.
    #[must_use]
    pub const fn oldest(&self) -> SequenceNumber {
        self.oldest
    }

    /// The number that the next message gets; the first is 1.
    #[must_use]
    pub const fn next(&self) -> SequenceNumber {
        self.next
    }

    /// The number after the last one that was offered to every line.
    #[must_use]
    pub const fn sent(&self) -> SequenceNumber {
        self.sent
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

    /// A reader of the same memory, for any thread; allocates its buffer of one packet.
    #[must_use]
    pub fn reader(&self) -> RingReader<M>
    where
        M: Clone,
    {
        RingReader::new(self.memory.clone(), self.size, self.session)
    }
}

impl<M> fmt::Debug for RingWriter<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingWriter")
            .field("session", &self.session)
            .field("size", &self.size)
            .field("oldest", &self.oldest)
            .field("next", &self.next)
            .field("sent", &self.sent)
            .finish_non_exhaustive()
    }
}

/// Whether records stand one behind the other, up to `end`, and hold what their commit words say.
fn are_whole(data: &Data<'_>, max_blocks_bytes: usize, entries: impl Iterator<Item = Entry>, end: Entry) -> bool {
    let mut blocks = vec![[0; WORD_BYTES]; max_blocks_bytes.div_ceil(WORD_BYTES)];
    let mut next = None;
    for entry in entries {
        let Some(commit) = data.commit(entry, max_blocks_bytes) else { return false };
        let copied = &mut blocks[..commit.blocks_bytes.div_ceil(WORD_BYTES)];
        data.load(entry.position.wrapping_add(1), copied);
        if next.is_some_and(|next| next != entry)
            || !holds_messages(&copied.as_flattened()[..commit.blocks_bytes], commit.messages)
        {
            return false;
        }
        next = Some(entry.behind(commit));
    }
    next.is_none_or(|next| next == end)
}

/// The first of the packets `low..high` at or behind `position`, by halves; `high` when there is none.
fn first_packet_from(position: u64, mut low: u64, mut high: u64, position_of: impl Fn(u64) -> u64) -> u64 {
    while low < high {
        let middle = low + (high - low) / 2;
        if position_of(middle) < position {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// Why a packet cannot be retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetainError {
    /// It has no message, or more than 0xFFFE.
    Count,
    /// Its blocks are longer than the ring's [`RingSize::max_blocks_bytes`].
    TooLong,
    /// The session was ended.
    Ended,
}

impl fmt::Display for RetainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Count => "a packet to retain has 1 to 65534 messages",
            Self::TooLong => "the packet is longer than the ring was made for",
            Self::Ended => "the session has ended",
        })
    }
}

impl core::error::Error for RetainError {}
