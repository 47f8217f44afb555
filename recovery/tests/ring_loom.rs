//! The retained ring, and the doze of those who read it, under loom: every interleaving and every stale load that the memory
//! model allows. `scripts/loom.sh` runs it.
#![cfg(loom)]

use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;
use seqcast_protocol::{SequenceRange, SessionId};
use seqcast_recovery::{Doze, Followed, RingFollower, RingReadError, RingReader, RingSize, RingWriter};
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
            assert_eq!(commit, 1 << 33 | 16 << 16 | 1);
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

/// Looks `polls` times for what comes next, and asserts that it is whole and right, in order, or told to be overtaken.
fn follow(follower: &mut RingFollower<Memory>, polls: usize, words_of: impl Fn(u64) -> usize) {
    let mut out = [0; 64];
    for _ in 0..polls {
        let next = follower.next();
        match follower.poll(&mut out).expect("nobody damages it") {
            Followed::Packet { range, bytes } => {
                assert_eq!(range, SequenceRange::with_count(next, 1));
                assert_eq!(out[..bytes], block(next, words_of(next)));
            }
            Followed::Overtaken { oldest } => assert!(oldest >= next && follower.next() == oldest),
            Followed::Nothing => assert_eq!(follower.next(), next),
        }
    }
}

#[test]
fn a_follower_gets_each_packet_whole_or_is_told_that_it_was_overtaken() {
    model(|| {
        // Two packets of one word fit, and wrap: where the follower is, the writer will be.
        let mut writer = ring(8, 8, 8);
        let mut follower = RingFollower::new(writer.reader(), 1).unwrap();
        for number in 1..=2 {
            writer.retain(1, &block(number, 1)).unwrap();
        }
        let thread = thread::spawn(move || {
            for number in 3..=5 {
                writer.retain(1, &block(number, 1)).unwrap();
            }
        });
        follow(&mut follower, 2, |_| 1);
        thread.join().unwrap();
        follow(&mut follower, 6, |_| 1);
        assert_eq!(follower.next(), 6, "all that is left was taken");
    });
}

#[test]
fn a_follower_that_waits_takes_no_word_of_an_older_packet_for_the_next() {
    model(|| {
        // Of different lengths, so that what an older packet left stands where the next one is waited for.
        let words_of = |number: u64| if number.is_multiple_of(2) { 1 } else { 2 };
        let mut writer = ring(8, 8, 16);
        for number in 1..=3 {
            writer.retain(1, &block(number, words_of(number))).unwrap();
        }
        let mut follower = RingFollower::new(writer.reader(), u64::MAX).unwrap();
        assert_eq!(follower.next(), 4);
        let thread = thread::spawn(move || {
            writer.retain(1, &block(4, words_of(4))).unwrap();
            writer.retain(1, &block(5, words_of(5))).unwrap();
        });
        follow(&mut follower, 3, words_of);
        thread.join().unwrap();
        follow(&mut follower, 4, words_of);
        assert_eq!(follower.next(), 6);
    });
}

#[test]
fn whoever_begins_to_follow_while_packets_are_overwritten_finds_a_place() {
    for first in [0, 2, u64::MAX] {
        model(move || {
            let mut writer = ring(8, 2, 8);
            for number in 1..=3 {
                writer.retain(1, &block(number, 1)).unwrap();
            }
            let reader = writer.reader();
            let thread = thread::spawn(move || {
                writer.retain(1, &block(4, 1)).unwrap();
            });
            let mut follower = RingFollower::new(reader, first).expect("nobody damages it");
            follow(&mut follower, 1, |_| 1);
            thread.join().unwrap();
            follow(&mut follower, 4, |_| 1);
            assert_eq!(follower.next(), 5);
        });
    }
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
