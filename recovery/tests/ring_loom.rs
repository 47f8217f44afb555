//! The retained ring, and the doze of those who read it, under loom: every interleaving and every stale load that the memory
//! model allows. `scripts/loom.sh` runs it.
#![cfg(loom)]

use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;
use seqcast_protocol::{SequenceRange, SessionId};
use seqcast_recovery::{Doze, RingReadError, RingReader, RingSize, RingWriter};
use std::sync::Arc;

type Memory = Arc<[AtomicU64]>;

/// No bound on preemptions: with rings this small every interleaving is tried, in seconds.
fn model(test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    // Arbitrary, above what one run takes.
    builder.max_branches = 10_000;
    builder.check(test);
}

fn ring(data_words: usize, index_entries: usize, max_blocks_bytes: usize) -> RingWriter<Memory> {
    let size = RingSize { data_words, index_entries, max_blocks_bytes };
    let memory = (0..size.words()).map(|_| AtomicU64::new(0)).collect();
    RingWriter::create(memory, size, SessionId::from_bytes(*b"LOOM      ")).unwrap()
}

/// One message that fills `words` words with its number.
fn block(number: u64, words: usize) -> Vec<u8> {
    let length = words * 8 - 2;
    let mut block = (length as u16).to_be_bytes().to_vec();
    block.resize(2 + length, number as u8);
    block
}

/// Reads `wanted` and asserts that it is exact, or that a true reason is given.
fn read(reader: &mut RingReader<Memory>, wanted: SequenceRange, words_of: impl Fn(u64) -> usize) {
    let mut out = [0; 64];
    match reader.read(wanted, &mut out) {
        Ok(read) => {
            let range = read.range;
            assert!(range.start() == wanted.start() && !range.is_empty() && range.end() <= wanted.end());
            let expected: Vec<u8> =
                (range.start()..range.end()).flat_map(|number| block(number, words_of(number))).collect();
            assert_eq!(out[..read.bytes], expected);
        }
        Err(RingReadError::Overwritten { oldest }) => assert!(oldest > wanted.start()),
        Err(RingReadError::NotYet { next }) => assert!(next <= wanted.start()),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_record_that_is_overwritten_is_never_returned() {
    model(|| {
        // Room for one packet of two words: each one overwrites the one before it.
        let mut writer = ring(4, 4, 16);
        let mut reader = writer.reader();
        writer.retain(1, &block(1, 2)).unwrap();
        let thread = thread::spawn(move || {
            writer.retain(1, &block(2, 2)).unwrap();
        });
        read(&mut reader, SequenceRange::new(1, 9), |_| 2);
        thread.join().unwrap();
    });
}

#[test]
fn an_index_entry_that_is_overwritten_misleads_nobody() {
    model(|| {
        // Room for two packets in the index, for many in the data; the lengths differ, so a wrong position shows.
        let mut writer = ring(16, 2, 16);
        let mut reader = writer.reader();
        writer.retain(1, &block(1, 1)).unwrap();
        writer.retain(1, &block(2, 2)).unwrap();
        let thread = thread::spawn(move || {
            writer.retain(1, &block(3, 1)).unwrap();
            writer.retain(1, &block(4, 1)).unwrap();
        });
        read(&mut reader, SequenceRange::new(1, 3), |number| if number == 2 { 2 } else { 1 });
        thread.join().unwrap();
    });
}

#[test]
fn a_number_below_next_is_there_in_full() {
    model(|| {
        let mut writer = ring(16, 4, 16);
        let mut reader = writer.reader();
        let thread = thread::spawn(move || {
            writer.retain(1, &block(1, 1)).unwrap();
            writer.retain(1, &block(2, 1)).unwrap();
            writer.mark_sent(3);
            writer.mark_ended();
        });
        let (is_ended, sent, next) = (reader.is_ended(), reader.sent(), reader.next());
        assert!(sent <= next);
        assert!(!is_ended || (sent, next) == (3, 3));
        for number in 1..next {
            let read = reader.read(SequenceRange::new(number, number + 1), &mut [0; 8]).unwrap();
            assert_eq!(read.range, SequenceRange::new(number, number + 1));
        }
        read(&mut reader, SequenceRange::new(1, 3), |_| 1);
        thread.join().unwrap();
    });
}

#[test]
fn a_commit_word_is_never_seen_before_what_it_commits() {
    model(|| {
        // Who follows record by record looks at the words alone (R2): header of 32 words, index of 2 * 4, data.
        let size = RingSize { data_words: 8, index_entries: 4, max_blocks_bytes: 16 };
        let memory: Memory = (0..size.words()).map(|_| AtomicU64::new(0)).collect();
        let mut writer = RingWriter::create(memory.clone(), size, SessionId::from_bytes(*b"LOOM      ")).unwrap();
        let thread = thread::spawn(move || {
            writer.retain(1, &block(1, 2)).unwrap();
        });
        let data = &memory[40..];
        let commit = data[0].load(Ordering::Acquire);
        if commit != 0 {
            assert_eq!(commit, 16 << 16 | 1);
            let words = [1, 2, 3].map(|word| data[word].load(Ordering::Relaxed).to_ne_bytes());
            assert_eq!((words.as_flattened()[..16].to_vec(), words[2]), (block(1, 2), [0; 8]));
        }
        thread.join().unwrap();
    });
}

#[test]
fn a_reader_that_goes_on_from_record_to_record_is_told_when_it_is_overtaken() {
    model(|| {
        // Two packets of one word fit, and wrap.
        let mut writer = ring(8, 8, 8);
        let mut reader = writer.reader();
        for number in 1..=3 {
            writer.retain(1, &block(number, 1)).unwrap();
        }
        let thread = thread::spawn(move || {
            writer.retain(1, &block(4, 1)).unwrap();
            writer.retain(1, &block(5, 1)).unwrap();
        });
        read(&mut reader, SequenceRange::new(1, 9), |_| 1);
        thread.join().unwrap();
    });
}

#[test]
fn whoever_sleeps_while_something_was_sent_is_woken() {
    model(|| {
        let mut writer = ring(4, 4, 8);
        let reader = writer.reader();
        let doze = Arc::new(Doze::default());
        let theirs = Arc::clone(&doze);
        let thread = thread::spawn(move || {
            writer.retain(1, &block(1, 1)).unwrap();
            writer.mark_sent(2);
            theirs.interrupt()
        });
        doze.begin();
        let sleeps = reader.sent() == 1;
        let is_woken = thread.join().unwrap();
        assert!(is_woken || !sleeps);
    });
}
