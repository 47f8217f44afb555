//! How much is retained, and how much more may be retained before a number is given up.
//!
//! With `D` data words, `E` index entries, `W` the position behind the newest record and `P` the packets so far: room is made
//! for a record that ends at `end` only when `end - oldest position >= D`, and then by an eighth, so that no record at or
//! behind `end + D/8 - D` is given up; likewise for the entries. Hence packet `k` at position `p` is retained as long as
//!
//! ```text
//! W - p <= D - D/8    and    P - k <= E - max(E/8, 1) + 1
//! ```
//!
//! It may be retained for an eighth longer, as room is made in steps.

use super::layout::{Entry, OLDEST_WORD, PACKETS_WORD, WORD_BYTES, record_words};
use super::reader::RingReader;
use super::sync::{AtomicU64, Ordering, fence};
use super::writer::RingWriter;
use seqcast_protocol::SequenceNumber;

/// How often a reader that is overtaken looks again: the writer passes an eighth of the ring in the time of a look. Arbitrary.
const LOOKS: usize = 4;

/// A stretch of the ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingSpan {
    /// Messages.
    pub messages: u64,
    /// Bytes of the ring's data: the blocks of each packet and 8 more, rounded up to 64.
    pub bytes: u64,
}

/// What is retained, as it was at one moment, and where one packet stands in it.
struct Look {
    messages: u64,
    /// The words and packets from the oldest to the end, both 0 or neither.
    words: u64,
    packets: u64,
    /// The words and packets from the wanted one to the end; none if it is given up.
    behind: Option<(u64, u64)>,
}

impl<M: AsRef<[AtomicU64]>> RingReader<M> {
    /// What is retained; `None` when the region is damaged, or the writer overtakes every look.
    #[must_use]
    pub fn retained(&self) -> Option<RingSpan> {
        let Look { messages, words, .. } = self.look(SequenceNumber::MAX)?;
        Some(RingSpan { messages, bytes: bytes(words) })
    }

    /// How much more may be retained, at least, before `number` is given up; nothing if it is already, and as much as for
    /// the next number if it is not there yet.
    ///
    /// The bytes are exact; the messages are as many as take so many bytes among those that are retained, which also stand
    /// for the packets to come where the index decides. `None` as long as nothing is retained, and as [`Self::retained`].
    #[must_use]
    pub fn headroom(&self, number: SequenceNumber) -> Option<RingSpan> {
        let Look { messages, words, packets, behind } = self.look(number)?;
        if packets == 0 || words == 0 {
            return None;
        }
        let Some((words_behind, packets_behind)) = behind else { return Some(RingSpan::default()) };
        let (data_words, entries) = (self.size().data_words as u64, self.size().index_entries as u64);
        let packets_left = (entries + 1 - (entries / 8).max(1)).saturating_sub(packets_behind);
        let words_left =
            (data_words - data_words / 8).saturating_sub(words_behind).min(scaled(packets_left, words, packets));
        Some(RingSpan { messages: scaled(words_left, messages, words), bytes: bytes(words_left) })
    }

    fn look(&self, number: SequenceNumber) -> Option<Look> {
        (0..LOOKS).find_map(|_| self.try_look(number))
    }

    /// `None` if it was overtaken: everything is read between two loads of the same `oldest` (R4).
    fn try_look(&self, number: SequenceNumber) -> Option<Look> {
        let (words, size) = (self.words(), self.size());
        let (index, data) = (size.index(words), size.data(words));
        let oldest = self.oldest();
        let packets = words[PACKETS_WORD].load(Ordering::Acquire);
        let Some(newest) = packets.checked_sub(1) else {
            return Some(Look { messages: 0, words: 0, packets: 0, behind: None });
        };
        let newest = Entry { first: index.first(newest), position: index.position(newest) };
        let commit = data.commit(newest, size.max_blocks_bytes)?;
        let next = newest.first.checked_add(u64::from(commit.messages))?;
        let end = newest.position.checked_add(record_words(commit.blocks_bytes))?;
        let find = |number| match number {
            number if number >= next => Some((packets, end)),
            number => index.find(number, packets).map(|(packet, entry)| (packet, entry.position)),
        };
        let (oldest_packet, oldest_position) = find(oldest)?;
        let behind = if number < oldest { None } else { Some(find(number)?) };
        fence(Ordering::Acquire);
        if words[OLDEST_WORD].load(Ordering::Relaxed) != oldest {
            return None;
        }
        Some(Look {
            messages: next.saturating_sub(oldest),
            words: end.checked_sub(oldest_position)?,
            packets: packets - oldest_packet,
            behind: behind.map(|(packet, position)| (end.saturating_sub(position), packets - packet)),
        })
    }
}

impl<M: AsRef<[AtomicU64]>> RingWriter<M> {
    /// What is retained.
    #[must_use]
    pub fn retained(&self) -> RingSpan {
        RingSpan { messages: self.next() - self.oldest(), bytes: bytes(self.retained_words()) }
    }
}

const fn bytes(words: u64) -> u64 {
    words.saturating_mul(WORD_BYTES as u64)
}

/// `count * of / per`, cut at `u64::MAX`; `per` is not 0.
fn scaled(count: u64, of: u64, per: u64) -> u64 {
    u64::try_from(u128::from(count) * u128::from(of) / u128::from(per)).unwrap_or(u64::MAX)
}
