//! The retained ring against a naive model, and against time: every byte that it returns was published.
#![cfg(not(loom))]

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use seqcast_protocol::{Blocks, SequenceRange, SessionId};
use seqcast_recovery::{Followed, Random, RingFollower, RingReadError, RingReader, RingSize, RingWriter};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;

type Memory = Arc<[AtomicU64]>;

const SESSION: SessionId = SessionId::from_bytes(*b"RING      ");

fn writer(size: RingSize) -> RingWriter<Memory> {
    let memory = (0..size.words()).map(|_| AtomicU64::new(u64::MAX)).collect();
    RingWriter::create(memory, size, SESSION).unwrap()
}

/// Each block of each message still retained, and their numbers.
struct Model {
    blocks: VecDeque<Vec<u8>>,
    oldest: u64,
}

impl Model {
    fn next(&self) -> u64 {
        self.oldest + self.blocks.len() as u64
    }

    fn forget_below(&mut self, oldest: u64) {
        self.blocks.drain(..(oldest - self.oldest) as usize);
        self.oldest = oldest;
    }

    /// What a read must return: as many whole blocks as fit.
    fn read(&self, wanted: SequenceRange, room: usize) -> (SequenceRange, Vec<u8>) {
        let mut bytes = Vec::new();
        let mut end = wanted.start();
        for number in wanted.start()..wanted.end().min(self.next()) {
            let Some(block) = number.checked_sub(self.oldest).and_then(|offset| self.blocks.get(offset as usize))
            else {
                break;
            };
            if bytes.len() + block.len() > room {
                break;
            }
            bytes.extend_from_slice(block);
            end += 1;
        }
        (SequenceRange::new(wanted.start(), end), bytes)
    }
}

#[derive(Clone, Debug)]
enum Operation {
    /// A packet of messages of these lengths.
    Retain(Vec<usize>),
    /// A read that starts so far behind `oldest`, less 2.
    Read { start: u64, count: u64, room: usize },
    /// So many packets are taken by the one who follows.
    Follow(usize),
    /// Another one follows from so far behind `oldest`, less 2.
    FollowFrom(u64),
    /// The writer dies, another goes on.
    Reopen,
}

/// 55 words and the commit word: with the line of the zero word, all of the smallest ring.
const MAX_BLOCKS_BYTES: usize = 55 * 8;

fn operation() -> impl Strategy<Value = Operation> {
    let lengths = prop_oneof![
        prop::collection::vec(0..20usize, 1..11),
        prop::collection::vec(Just(0), 1..30),
        (0..=MAX_BLOCKS_BYTES - 2).prop_map(|length| vec![length]),
    ];
    prop_oneof![
        6 => lengths.prop_map(Operation::Retain),
        5 => (0..40u64, 0..60u64, 0..600usize)
            .prop_map(|(start, count, room)| Operation::Read { start, count, room }),
        3 => (1..8usize).prop_map(Operation::Follow),
        1 => (0..40u64).prop_map(Operation::FollowFrom),
        1 => Just(Operation::Reopen),
    ]
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 512 },
        rng_seed: if cfg!(miri) { RngSeed::Fixed(1) } else { RngSeed::Random },
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn ring_agrees_with_the_model(
        data_words in (6..10u32).prop_map(|bits| 1usize << bits),
        index_entries in (0..7u32).prop_map(|bits| 1usize << bits),
        operations in prop::collection::vec(operation(), 1..if cfg!(miri) { 40 } else { 200 }),
    ) {
        let size = RingSize { data_words, index_entries, max_blocks_bytes: MAX_BLOCKS_BYTES };
        let memory: Memory = (0..size.words()).map(|_| AtomicU64::new(u64::MAX)).collect();
        let mut writer = RingWriter::create(memory.clone(), size, SESSION).unwrap();
        let mut reader = writer.reader();
        let mut follower = RingFollower::new(writer.reader(), 1).unwrap();
        let mut model = Model { blocks: VecDeque::new(), oldest: 1 };
        // The first number of each packet that is retained.
        let mut firsts = VecDeque::new();
        let mut random = Random::new(0);
        for operation in operations {
            match operation {
                Operation::Retain(lengths) => {
                    let blocks: Vec<Vec<u8>> = lengths.iter().map(|&length| {
                        let mut block = (length as u16).to_be_bytes().to_vec();
                        block.extend((0..length).map(|_| random.next_u64() as u8));
                        block
                    }).collect();
                    let retained = writer.retain(blocks.len() as u16, &blocks.concat()).unwrap();
                    prop_assert_eq!(retained, SequenceRange::with_count(model.next(), blocks.len() as u64));
                    model.blocks.extend(blocks);
                    firsts.push_back(retained.start());
                    prop_assert!(model.oldest <= writer.oldest() && writer.oldest() < writer.next());
                    model.forget_below(writer.oldest());
                    firsts.retain(|&first| first >= writer.oldest());
                }
                Operation::Read { start, count, room } => {
                    let wanted = SequenceRange::with_count((model.oldest + start).saturating_sub(2), count);
                    let mut out = vec![0; room];
                    let read = reader.read(wanted, &mut out);
                    let (range, bytes) = model.read(wanted, room);
                    let expected = if wanted.is_empty() {
                        Ok(())
                    } else if wanted.start() < model.oldest {
                        Err(RingReadError::Overwritten { oldest: model.oldest })
                    } else if wanted.start() >= model.next() {
                        Err(RingReadError::NotYet { next: model.next() })
                    } else if range.is_empty() {
                        let needed_bytes = model.blocks[(wanted.start() - model.oldest) as usize].len();
                        Err(RingReadError::NoRoom { needed_bytes })
                    } else {
                        Ok(())
                    };
                    prop_assert_eq!(read.map(|_| ()), expected);
                    if let Ok(read) = read {
                        prop_assert_eq!(read.range, range);
                        prop_assert_eq!(&out[..read.bytes], bytes);
                    }
                }
                Operation::Follow(count) => {
                    for _ in 0..count {
                        let next = follower.next();
                        let mut out = [0; MAX_BLOCKS_BYTES];
                        match follower.poll(&mut out).unwrap() {
                            Followed::Packet { range, bytes } => {
                                prop_assert!(next >= model.oldest && range.start() == next);
                                let end = firsts.iter().copied().find(|&first| first > next).unwrap_or(model.next());
                                prop_assert_eq!(range.end(), end);
                                prop_assert_eq!(&out[..bytes], model.read(range, MAX_BLOCKS_BYTES).1);
                            }
                            Followed::Nothing => prop_assert_eq!(next, model.next()),
                            Followed::Overtaken { oldest } => {
                                prop_assert!(next < oldest && oldest == model.oldest && follower.next() == oldest);
                            }
                        }
                    }
                }
                Operation::FollowFrom(start) => {
                    let number = (model.oldest + start).saturating_sub(2);
                    follower = RingFollower::new(writer.reader(), number).unwrap();
                    let holds = firsts.iter().copied().take_while(|&first| first <= number).last();
                    let expected = if number >= model.next() { model.next() } else { holds.unwrap_or(model.oldest) };
                    prop_assert_eq!(follower.next(), expected);
                }
                Operation::Reopen => writer = RingWriter::reopen(memory.clone()).unwrap(),
            }
            prop_assert_eq!((writer.oldest(), writer.next()), (model.oldest, model.next()));
            prop_assert_eq!((reader.oldest(), reader.next()), (model.oldest, model.next()));
        }
        let mut out = [0; MAX_BLOCKS_BYTES];
        for number in model.oldest..model.next() {
            let read = reader.read(SequenceRange::with_count(number, 1), &mut out).unwrap();
            prop_assert_eq!(&out[..read.bytes], &model.blocks[(number - model.oldest) as usize]);
        }
    }
}

/// The block of message `number`: its number and its length follow from the seed that the number is.
fn numbered_block(number: u64, block: &mut Vec<u8>) {
    let length = 8 + Random::new(number).below(40) as usize;
    block.extend_from_slice(&(length as u16).to_be_bytes());
    block.extend_from_slice(&number.to_le_bytes());
    block.extend((8..length).map(|offset| (number as u8).wrapping_add(offset as u8)));
}

fn assert_published(range: SequenceRange, blocks: &[u8]) {
    let mut expected = Vec::new();
    for number in range.start()..range.end() {
        numbered_block(number, &mut expected);
    }
    assert_eq!(blocks, expected, "{range}");
    assert_eq!(Blocks::new(blocks).count() as u64, range.count());
}

/// Reads until the writer has ended and all is read; returns how many messages it got.
fn read_to_the_end(mut reader: RingReader<Memory>, seed: u64) -> u64 {
    let mut random = Random::new(seed);
    let mut out = [0; 2048];
    let (mut start, mut oldest_seen, mut read_count) = (1, 1, 0);
    loop {
        let is_ended = reader.is_ended();
        let wanted = SequenceRange::with_count(start, 1 + random.below(40));
        match reader.read(wanted, &mut out) {
            Ok(read) => {
                assert_eq!(read.range, wanted.intersection(read.range));
                assert_eq!(read.range.start(), start);
                assert_published(read.range, &out[..read.bytes]);
                read_count += read.range.count();
                // Now and then back to the oldest, where the writer is about to overwrite.
                start = if random.below(4) == 0 { reader.oldest() } else { read.range.end() };
            }
            Err(RingReadError::Overwritten { oldest }) => {
                assert!(oldest > start && oldest >= oldest_seen, "{start} overwritten, oldest {oldest}");
                oldest_seen = oldest;
                start = oldest;
            }
            Err(RingReadError::NotYet { next }) => {
                assert!(start >= next);
                if is_ended {
                    return read_count;
                }
                start = start.min(next);
                thread::yield_now();
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Follows until the writer has ended and all is taken; returns how many messages it got, and how often it was overtaken.
fn follow_to_the_end(mut follower: RingFollower<Memory>) -> (u64, u64) {
    let mut out = [0; 512];
    let (mut count, mut overtaken) = (0, 0);
    loop {
        let is_ended = follower.reader().is_ended();
        let next = follower.next();
        match follower.poll(&mut out).unwrap() {
            Followed::Packet { range, bytes } => {
                assert_eq!(range.start(), next);
                assert_published(range, &out[..bytes]);
                count += range.count();
            }
            Followed::Overtaken { oldest } => {
                assert!(oldest > next && follower.next() == oldest);
                overtaken += 1;
            }
            Followed::Nothing if is_ended => {
                assert_eq!(next, follower.reader().next());
                return (count, overtaken);
            }
            Followed::Nothing => thread::yield_now(),
        }
    }
}

#[test]
fn readers_beside_a_writer_get_exact_bytes_or_are_told() {
    let packets = if cfg!(miri) { 150 } else { 200_000 };
    // Small, so that the writer is always at the readers' heels; the index decides as often as the data.
    let mut writer = writer(RingSize { data_words: 512, index_entries: 32, max_blocks_bytes: 512 });
    let readers: Vec<_> = (0..2)
        .map(|seed| {
            let reader = writer.reader();
            thread::spawn(move || read_to_the_end(reader, seed))
        })
        .collect();
    let follower = RingFollower::new(writer.reader(), 1).unwrap();
    let follower = thread::spawn(move || follow_to_the_end(follower));
    let mut random = Random::new(99);
    let mut blocks = Vec::new();
    for _ in 0..packets {
        blocks.clear();
        let count = 1 + random.below(5);
        for number in writer.next()..writer.next() + count {
            numbered_block(number, &mut blocks);
        }
        writer.retain(count as u16, &blocks).unwrap();
        writer.mark_sent(writer.next());
        // A burst, then a breath, so that readers both fall behind and catch up.
        if random.below(64) == 0 {
            thread::yield_now();
        }
    }
    writer.mark_ended();
    for reader in readers {
        assert!(reader.join().unwrap() > 0);
    }
    assert!(follower.join().unwrap().0 > 0);
}
