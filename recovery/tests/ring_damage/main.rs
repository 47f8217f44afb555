//! Rings that are damaged, as a file may be that outlives its writer: refused, or read; never a panic, never without end,
//! never a message that was not published.
//!
//! What can be noticed is what the writer lays round the messages: the header's sizes and marks, the index, the commit words,
//! the lengths of messages. They are stored twice, or have to agree, so that one word that is wrong shows, or does no harm.
//! The bytes of the messages carry no checksum, nor does the session's name: what is changed there is taken for what was
//! published. Nor can it be noticed that a live ring was marked as ended.
#![cfg(not(loom))]

mod visit;

use seqcast_protocol::SessionId;
use seqcast_recovery::{Random, RingSize, RingWriter};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use visit::{Memory, follow, look_up, memory, visit, with_header, words_of};

const SESSION: SessionId = SessionId::from_bytes(*b"DAMAGE    ");

/// By R1.
const HEADER_WORDS: usize = 32;

/// Message `number`, whose length and bytes follow from its number.
fn message(number: u64) -> Vec<u8> {
    let mut random = Random::new(number);
    (0..random.below(20)).map(|_| random.next_u64() as u8).collect()
}

/// A ring that is in order.
struct Whole {
    size: RingSize,
    words: Vec<u64>,
    next: u64,
    /// The bytes in which lengths of messages that are retained stand.
    length_bytes: Vec<usize>,
    /// The commit words of what is retained, and the zero behind them.
    commit_words: Vec<usize>,
}

/// Fills a ring with so many packets.
fn whole(size: RingSize, packets: u64) -> Whole {
    let memory = memory(&vec![u64::MAX; size.words()]);
    let mut writer = RingWriter::create(memory.clone(), size, SESSION).unwrap();
    let data_start = HEADER_WORDS + 2 * size.index_entries;
    let (mut position, mut records) = (0, Vec::new());
    let word_of = |position: usize| data_start + position % size.data_words;
    for packet in 0..packets {
        let (mut blocks, mut lengths) = (Vec::new(), Vec::new());
        let count = 1 + packet % 4;
        for number in writer.next()..writer.next() + count {
            lengths.extend([blocks.len(), blocks.len() + 1]);
            blocks.extend((message(number).len() as u16).to_be_bytes());
            blocks.extend(message(number));
        }
        let range = writer.retain(count as u16, &blocks).unwrap();
        writer.mark_sent(writer.next());
        records.push((range.start(), position, lengths));
        position += (1 + blocks.len().div_ceil(8)).next_multiple_of(8);
    }
    records.retain(|&(first, ..)| first >= writer.oldest());
    let mut commit_words: Vec<usize> = records.iter().map(|&(_, position, _)| word_of(position)).collect();
    commit_words.push(word_of(position));
    let byte_of = |position: usize, offset: usize| 8 * word_of(position + 1 + offset / 8) + offset % 8;
    let length_bytes = records
        .iter()
        .flat_map(|(_, position, lengths)| lengths.iter().map(|&offset| byte_of(*position, offset)))
        .collect();
    let words = memory.iter().map(|word| word.load(Ordering::Relaxed)).collect();
    Whole { size, words, next: writer.next(), length_bytes, commit_words }
}

/// Rings that are empty, have just begun, are about to wrap, and have: where the data decides and where the index does.
fn wholes() -> impl Iterator<Item = Whole> {
    let rings = [(256, 16, 0), (256, 16, 1), (256, 16, 15), (256, 16, 300), (512, 8, 40), (256, 64, 40)];
    rings.into_iter().map(|(data_words, index_entries, packets)| {
        whole(RingSize { data_words, index_entries, max_blocks_bytes: 96 }, packets)
    })
}

/// Visits a ring that was damaged, and asserts that what it gives was published, and that nobody goes on at a number that
/// was given to another message.
fn expect_truth(ring: &Whole, words: &[u64], what: &dyn Fn() -> String) {
    let next = visit(words, |number, found| {
        assert!(number < ring.next && found == message(number), "{}: {number} is {found:?}", what());
    });
    assert!(next.is_err() || next == Ok(ring.next), "{}: goes on at {next:?} instead of {}", what(), ring.next);
}

#[test]
fn a_ring_that_is_whole_gives_everything_to_everybody() {
    for ring in wholes() {
        let mut found = Vec::new();
        assert_eq!(visit(&ring.words, |number, _| found.push(number)), Ok(ring.next));
        let oldest = found.iter().copied().min().unwrap_or(1);
        assert!((oldest..ring.next).all(|number| found.iter().filter(|&&found| found == number).count() >= 3));
    }
}

#[test]
fn one_word_that_is_wrong_shows_or_does_no_harm() {
    let mut random = Random::new(1);
    for ring in wholes() {
        let index = HEADER_WORDS..HEADER_WORDS + 2 * ring.size.index_entries;
        let structure: Vec<usize> = (0..HEADER_WORDS).chain(index).chain(ring.commit_words.iter().copied()).collect();
        for &word in &structure {
            let was = ring.words[word];
            let bits = [(); 8].map(|()| was ^ 1 << random.below(64));
            let near = [was.wrapping_add(1), was.wrapping_sub(1), was.wrapping_mul(2), was / 2, 0, u64::MAX];
            let drawn = [(); 8].map(|()| random.next_u64());
            let others = [(); 8].map(|()| ring.words[structure[random.below(structure.len() as u64) as usize]]);
            for value in bits.into_iter().chain(near).chain(drawn).chain(others) {
                let mut words = ring.words.clone();
                words[word] = value;
                expect_truth(&ring, &words, &|| format!("word {word} is {value:#x} instead of {was:#x}"));
            }
        }
        for &byte in &ring.length_bytes {
            for change in (0..8).map(|bit| 1 << bit).chain([3, 6, 0xFF]) {
                let mut words = ring.words.clone();
                words[byte / 8] ^=
                    u64::from_ne_bytes(std::array::from_fn(|at| if at == byte % 8 { change } else { 0 }));
                expect_truth(&ring, &words, &|| format!("length byte {byte} is changed by {change:#x}"));
            }
        }
    }
}

/// Words that are drawn, more often than not such as a ring holds.
fn damage(words: &mut Vec<u64>, random: &mut Random) {
    for _ in 0..1 + random.below(8) {
        let [word, other] = [(); 2].map(|()| random.below(words.len() as u64) as usize);
        words[word] = match random.below(4) {
            0 => random.next_u64(),
            1 => words[other],
            2 => words[word] ^ 1 << random.below(64),
            _ => words[word].wrapping_add(random.below(5)).wrapping_sub(2),
        };
    }
    match random.below(10) {
        0 => words.truncate(random.below(words.len() as u64) as usize),
        1 => words.extend((0..random.below(50)).map(|_| random.next_u64())),
        _ => {}
    }
}

#[test]
fn whatever_is_wrong_is_refused_or_read_and_both_come_to_an_end() {
    let rounds = if cfg!(miri) { 3 } else { 400 };
    let mut random = Random::new(2);
    let (mut refused, mut read) = (0, 0);
    for ring in wholes() {
        for _ in 0..rounds {
            let mut words = ring.words.clone();
            damage(&mut words, &mut random);
            match visit(&words, |_, _| {}) {
                Ok(_) => read += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > rounds && read > rounds, "{refused} refused, {read} read");
}

#[test]
fn a_ring_that_is_cut_short_is_refused_and_a_longer_file_holds_it_all_the_same() {
    for ring in wholes() {
        for length in 0..ring.words.len() {
            assert!(visit(&ring.words[..length], |_, _| panic!("a message of {length} words")).is_err());
        }
        let longer: Vec<u64> = ring.words.iter().copied().chain([7; 100]).collect();
        expect_truth(&ring, &longer, &|| "longer".into());
        assert_eq!(visit(&longer, |_, _| {}), Ok(ring.next));
    }
}

#[test]
fn a_ring_that_is_overwritten_while_it_is_read_panics_nobody() {
    let rounds = if cfg!(miri) { 2 } else { 300 };
    for ring in wholes() {
        let memory: Memory = memory(&ring.words);
        let spoiled = Arc::clone(&memory);
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut random = Random::new(3);
                while !is_over.load(Ordering::Relaxed) {
                    let word = random.below(spoiled.len() as u64) as usize;
                    // Good words come back, so that much is found and then not.
                    let value = if random.below(2) == 0 { random.next_u64() } else { ring.words[word] };
                    spoiled[word].store(value, Ordering::Relaxed);
                    thread::yield_now();
                }
            });
            for round in 0..rounds {
                // Refused or read.
                let _ = look_up(&memory, &mut |_, _| {});
                let _ = follow(&memory, round, &mut |_, _| {});
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }
}

#[test]
fn the_fuzz_corpus_is_refused_or_read() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/damaged_ring");
    let (mut refused, mut read) = (0, 0);
    for file in fs::read_dir(corpus).unwrap() {
        let words = words_of(&fs::read(file.unwrap().path()).unwrap());
        for words in [Some(words.clone()), with_header(words)].into_iter().flatten() {
            match visit(&words, |_, _| {}) {
                Ok(_) => read += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused >= 10 && read >= 6, "{refused} refused, {read} read: the corpus is in the repository");
}
