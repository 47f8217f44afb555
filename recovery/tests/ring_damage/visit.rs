//! Everything that is done to a ring, done to one that may be damaged; the fuzz target does the same.

use seqcast_protocol::{Blocks, SequenceNumber, SequenceRange, SessionId};
use seqcast_recovery::{Followed, RingError, RingFollower, RingReader, RingSize, RingWriter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) type Memory = Arc<[AtomicU64]>;

pub(crate) fn memory(words: &[u64]) -> Memory {
    words.iter().map(|&word| AtomicU64::new(word)).collect()
}

/// The whole words of a file.
pub(crate) fn words_of(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word)).collect()
}

/// Makes the beginning of the header good, whose checksum nobody guesses; `None` for less than a ring of eight entries and 64
/// words.
pub(crate) fn with_header(mut words: Vec<u64>) -> Option<Vec<u64>> {
    let size = RingSize { data_words: 64, index_entries: 8, max_blocks_bytes: 96 };
    let good = memory(&vec![0; size.words()]);
    RingWriter::create(good.clone(), size, SessionId::from_bytes(*b"DAMAGE    ")).ok()?;
    for (word, good) in words.get_mut(..size.words())?.iter_mut().zip(&good[..8]) {
        *word = good.load(Ordering::Relaxed);
    }
    Some(words)
}

/// Reads, follows and continues the ring in `words`, and hands out every message that it gives; returns the number at which
/// a writer goes on with it.
pub(crate) fn visit(
    words: &[u64],
    mut on_message: impl FnMut(SequenceNumber, &[u8]),
) -> Result<SequenceNumber, RingError> {
    look_up(&memory(words), &mut on_message)?;
    let reader = RingReader::open(memory(words))?;
    for first in [0, 1, reader.oldest() / 2 + reader.next() / 2, u64::MAX] {
        // Not to be continued is as good an answer as messages.
        let _ = follow(&memory(words), first, &mut on_message);
    }
    go_on(&memory(words), &mut on_message)
}

/// Looks up what may be there, what is not, and what lies at the edges.
pub(crate) fn look_up(memory: &Memory, on_message: &mut impl FnMut(SequenceNumber, &[u8])) -> Result<(), RingError> {
    let mut reader = RingReader::open(memory.clone())?;
    let (oldest, next) = (reader.oldest(), reader.next());
    let near = |number: u64| number.saturating_sub(2)..number.saturating_add(3);
    let retained = (oldest..next).take(100);
    let mut out = vec![0; 40 + 2 * reader.size().max_blocks_bytes];
    for number in near(oldest).chain(retained).chain(near(next)).chain([0, 1, u64::MAX - 1, u64::MAX]) {
        for (count, room) in [(1, out.len()), (7, out.len()), (u64::MAX, out.len()), (3, 40), (1, 0)] {
            let wanted = SequenceRange::with_count(number, count);
            if let Ok(read) = reader.read(wanted, &mut out[..room]) {
                assert_eq!((read.range.start(), read.range), (number, read.range.intersection(wanted)));
                hand_out(read.range, &out[..read.bytes], on_message);
            }
        }
    }
    Ok(())
}

/// Follows as a subscriber does, which gives a ring up that brings what is no packet; at most as far as a ring can reach.
pub(crate) fn follow(
    memory: &Memory,
    first: SequenceNumber,
    on_message: &mut impl FnMut(SequenceNumber, &[u8]),
) -> Result<(), RingError> {
    let reader = RingReader::open(memory.clone())?;
    let size = reader.size();
    let mut blocks = vec![0; size.max_blocks_bytes.next_multiple_of(8)];
    let mut follower = RingFollower::new(reader, first)?;
    for _ in 0..size.data_words {
        match follower.poll(&mut blocks)? {
            Followed::Packet { range, bytes } => {
                let mut messages = Blocks::new(&blocks[..bytes]);
                if messages.by_ref().count() as u64 != range.count() || !messages.rest().is_empty() {
                    return Err(RingError::Damaged);
                }
                hand_out(range, &blocks[..bytes], on_message);
            }
            Followed::Overtaken { .. } => {}
            Followed::Nothing => break,
        }
    }
    Ok(())
}

/// Goes on as a publisher that is started again. What it takes over is whole, and can be read.
fn go_on(memory: &Memory, on_message: &mut impl FnMut(SequenceNumber, &[u8])) -> Result<SequenceNumber, RingError> {
    let mut writer = RingWriter::reopen(memory.clone())?;
    let (mut reader, next) = (writer.reader(), writer.next());
    let mut out = vec![0; writer.size().max_blocks_bytes.max(2)];
    for number in (writer.oldest()..next).take(1_000) {
        let wanted = SequenceRange::with_count(number, 1);
        let read = reader.read(wanted, &mut out).expect("what is taken over is retained");
        hand_out(read.range, &out[..read.bytes], on_message);
    }
    // Over all that was there.
    for _ in 0..writer.size().data_words.min(1_000) {
        if let Ok(retained) = writer.retain(1, &[0, 0]) {
            assert_eq!(reader.read(retained, &mut out).map(|read| read.range), Ok(retained));
        }
    }
    Ok(next)
}

fn hand_out(range: SequenceRange, blocks: &[u8], on_message: &mut impl FnMut(SequenceNumber, &[u8])) {
    let mut messages = Blocks::new(blocks);
    let mut number = range.start();
    for message in messages.by_ref() {
        on_message(number, message);
        number += 1;
    }
    assert!(number == range.end() && messages.rest().is_empty(), "{range} in {} bytes", blocks.len());
}
