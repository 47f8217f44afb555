//! Memory that two threads share, alone: what the processor itself can do with one message at a time. In bulk a ring that
//! releases many messages at once is faster.
//!
//! A circle of words. A message is a word with its length plus one, then its bytes in words, and begins a cache line, so that as
//! few as possible pass from core to core; the word that tells of it is written last, and that of the next was zeroed before.
//! The receiver says how far it has read, and the sender, which keeps
//! what it read of that, never passes it.

use crate::stage::words;
use crate::system::{Receiver, Sender, Setup, System};
use seqcast_transport::Mapping;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The words of the circle: 256 KiB, which stay in a second-level cache.
const WORDS: usize = 1 << 15;

/// The words of a cache line.
const LINE_WORDS: u64 = 8;

/// How many messages are handed over at once, after which the sender is told how far they were read. Arbitrary.
const MESSAGES_PER_POLL: usize = 256;

/// A word that has its cache line to itself; processors fetch lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart(AtomicU64);

/// Shared memory between two threads.
#[derive(Clone, Copy, Debug)]
pub struct BareMemory;

impl System for BareMemory {
    type Sender = MemorySender;
    type Receiver = MemoryReceiver;

    fn name(&self) -> &'static str {
        "bare-memory"
    }

    fn describe(&self, _: &Setup) -> String {
        format!(
            "a circle of {} KiB that two threads share, the sender waits for the receiver",
            (WORDS * size_of::<u64>()) >> 10
        )
    }

    fn refusal(&self, setup: &Setup) -> Option<String> {
        if setup.segmented || setup.loss > 0.0 {
            return Some("it sends no datagrams".to_owned());
        }
        // The sender needs room for a message beside the one that is being read.
        (record_words(setup.message_bytes as u64) * 2 > WORDS as u64)
            .then(|| "the circle is too small for such messages".to_owned())
    }

    fn repairs_loss(&self) -> bool {
        true
    }

    fn open(&self, setup: &Setup, receivers: usize) -> Result<(MemorySender, Vec<MemoryReceiver>), String> {
        if receivers != 1 {
            return Err("it has one receiver".to_owned());
        }
        let circle = Circle(Mapping::anonymous(WORDS).map_err(words)?);
        let read = Arc::new(Apart::default());
        let sender = MemorySender { circle: circle.clone(), read: Arc::clone(&read), at: 0, limit: WORDS as u64 };
        let message = vec![[0; _]; setup.message_bytes.div_ceil(size_of::<u64>())].into_boxed_slice();
        Ok((sender, vec![MemoryReceiver { circle, read, at: 0, number: 0, message }]))
    }
}

/// The words of a message, from the one that tells of it to the end of its last line.
fn record_words(message_bytes: u64) -> u64 {
    (1 + message_bytes.div_ceil(size_of::<u64>() as u64)).next_multiple_of(LINE_WORDS)
}

/// Positions count all words ever written; a place in the circle is a position's remainder.
#[derive(Clone, Debug)]
struct Circle(Mapping);

impl Circle {
    #[inline]
    fn word(&self, position: u64) -> &AtomicU64 {
        &self.0.as_ref()[position as usize % WORDS]
    }
}

/// Writes.
#[derive(Debug)]
pub struct MemorySender {
    circle: Circle,
    read: Arc<Apart>,
    at: u64,
    /// The position that must not be passed, by what was last known of the reader.
    limit: u64,
}

impl Sender for MemorySender {
    #[inline]
    fn offer(&mut self, message: &[u8]) -> Result<bool, String> {
        let behind = self.at + record_words(message.len() as u64);
        // The word behind it is written, too.
        if behind >= self.limit {
            self.limit = self.read.0.load(Ordering::Acquire) + WORDS as u64;
            if behind >= self.limit {
                return Ok(false);
            }
        }
        let (whole, rest) = message.as_chunks();
        let mut position = self.at + 1;
        for &bytes in whole {
            self.circle.word(position).store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
            position += 1;
        }
        if !rest.is_empty() {
            let mut bytes = [0; size_of::<u64>()];
            bytes[..rest.len()].copy_from_slice(rest);
            self.circle.word(position).store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
        }
        self.circle.word(behind).store(0, Ordering::Relaxed);
        self.circle.word(self.at).store(message.len() as u64 + 1, Ordering::Release);
        self.at = behind;
        Ok(true)
    }

    #[inline]
    fn flush(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// Reads.
#[derive(Debug)]
pub struct MemoryReceiver {
    circle: Circle,
    read: Arc<Apart>,
    at: u64,
    /// The number of the message last read.
    number: u64,
    message: Box<[[u8; size_of::<u64>()]]>,
}

impl Receiver for MemoryReceiver {
    #[inline]
    fn poll(&mut self, on_message: &mut impl FnMut(u64, &[u8])) -> Result<usize, String> {
        let from = self.number;
        for _ in 0..MESSAGES_PER_POLL {
            let Some(length) = self.circle.word(self.at).load(Ordering::Acquire).checked_sub(1) else { break };
            let word_count = length.div_ceil(size_of::<u64>() as u64);
            for (bytes, position) in self.message.iter_mut().zip(self.at + 1..=self.at + word_count) {
                *bytes = self.circle.word(position).load(Ordering::Relaxed).to_ne_bytes();
            }
            self.at += record_words(length);
            self.number += 1;
            on_message(self.number, &self.message.as_flattened()[..length as usize]);
        }
        if self.number > from {
            self.read.0.store(self.at, Ordering::Release);
        }
        Ok((self.number - from) as usize)
    }
}
