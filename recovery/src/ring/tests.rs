use super::layout::{Entry, NEXT_WORD, PACKETS_WORD};
use super::sync::{AtomicU64, Ordering};
use super::*;
use crate::Random;
use seqcast_protocol::{SequenceRange, SessionId};
use std::sync::Arc;
use std::vec;
use std::vec::Vec;

type Memory = Arc<[AtomicU64]>;

const SESSION: SessionId = SessionId::from_bytes(*b"RING      ");

fn memory(words: usize) -> Memory {
    (0..words).map(|_| AtomicU64::new(u64::MAX)).collect()
}

fn ring(data_words: usize, index_entries: usize, max_blocks_bytes: usize) -> RingWriter<Memory> {
    let size = RingSize { data_words, index_entries, max_blocks_bytes };
    RingWriter::create(memory(size.words()), size, SESSION).unwrap()
}

/// One message of `length` times `byte`, as a block.
fn block(byte: u8, length: u16) -> Vec<u8> {
    let mut block = length.to_be_bytes().to_vec();
    block.resize(2 + usize::from(length), byte);
    block
}

fn range(start: u64, end: u64) -> SequenceRange {
    SequenceRange::new(start, end)
}

/// Reads into a buffer of `room` bytes; the range that was read and its bytes.
fn read(
    reader: &mut RingReader<Memory>,
    wanted: SequenceRange,
    room: usize,
) -> Result<(SequenceRange, Vec<u8>), RingReadError> {
    let mut out = vec![0xEE; room];
    let read = reader.read(wanted, &mut out)?;
    assert!(out[read.bytes..].iter().all(|&byte| byte == 0xEE), "bytes behind the blocks were touched");
    out.truncate(read.bytes);
    Ok((read.range, out))
}

#[test]
fn numbers_start_at_one_and_nothing_is_there_yet() {
    let writer = ring(64, 8, 64);
    let mut reader = writer.reader();
    assert_eq!((writer.oldest(), writer.next(), writer.sent()), (1, 1, 1));
    assert_eq!((reader.oldest(), reader.next(), reader.sent()), (1, 1, 1));
    assert_eq!((reader.session(), reader.size(), reader.is_ended()), (SESSION, writer.size(), false));
    assert_eq!(read(&mut reader, range(1, 2), 64), Err(RingReadError::NotYet { next: 1 }));
    assert_eq!(read(&mut reader, range(0, 2), 64), Err(RingReadError::Overwritten { oldest: 1 }));
    assert_eq!(read(&mut reader, range(1, 1), 0), Ok((range(1, 1), vec![])));
}

#[test]
fn a_range_comes_out_as_consecutive_blocks_of_several_packets() {
    let mut writer = ring(64, 8, 64);
    let mut reader = writer.reader();
    let first = [block(1, 3), block(2, 0), block(3, 10)].concat();
    assert_eq!(writer.retain(3, &first), Ok(range(1, 4)));
    assert_eq!(writer.retain(1, &block(4, 7)), Ok(range(4, 5)));
    assert_eq!(read(&mut reader, range(2, 9), 64), Ok((range(2, 5), [&first[5..], &block(4, 7)].concat())));
    assert_eq!(read(&mut reader, range(1, 3), 64), Ok((range(1, 3), first[..7].to_vec())));
    assert_eq!(read(&mut reader, range(5, 9), 64), Err(RingReadError::NotYet { next: 5 }));
}

#[test]
fn only_whole_messages_that_fit_are_read() {
    let mut writer = ring(64, 8, 64);
    let mut reader = writer.reader();
    writer.retain(2, &[block(1, 4), block(2, 4)].concat()).unwrap();
    writer.retain(1, &block(3, 4)).unwrap();
    for (room, end, bytes) in [(6, 2, 6), (11, 2, 6), (12, 3, 12), (17, 3, 12), (18, 4, 18)] {
        let read = read(&mut reader, range(1, 9), room).unwrap();
        assert_eq!((read.0, read.1.len()), (range(1, end), bytes), "room for {room}");
    }
    assert_eq!(read(&mut reader, range(2, 9), 5), Err(RingReadError::NoRoom { needed_bytes: 6 }));
}

#[test]
fn old_packets_give_way_in_eighths_of_the_data() {
    let mut writer = ring(256, 64, 8);
    let mut reader = writer.reader();
    // A line of 8 words each: 31 packets and the zero word behind the last fit into 256.
    for number in 1..=31 {
        writer.retain(1, &block(number, 6)).unwrap();
    }
    assert_eq!(writer.oldest(), 1);
    writer.retain(1, &block(32, 6)).unwrap();
    assert_eq!((writer.oldest(), reader.oldest(), reader.next()), (5, 5, 33));
    assert_eq!(read(&mut reader, range(4, 9), 64), Err(RingReadError::Overwritten { oldest: 5 }));
    for number in 5..=32 {
        let start = u64::from(number);
        assert_eq!(read(&mut reader, range(start, start + 1), 8), Ok((range(start, start + 1), block(number, 6))));
    }
}

#[test]
fn old_packets_give_way_when_the_index_is_full() {
    let mut writer = ring(1024, 16, 64);
    let mut reader = writer.reader();
    for number in 1..=40 {
        writer.retain(1, &block(number, 1)).unwrap();
        assert!(writer.next() - writer.oldest() <= 16);
        for start in writer.oldest()..writer.next() {
            assert_eq!(read(&mut reader, range(start, start + 1), 8).unwrap().1, block(start as u8, 1));
        }
    }
    assert!(writer.next() - writer.oldest() >= 15);
}

#[test]
fn the_search_sees_through_entries_that_were_overwritten_meanwhile() {
    let entries = 16;
    let size = RingSize { data_words: 64, index_entries: entries as usize, max_blocks_bytes: 64 };
    let words = memory(size.words());
    let index = size.index(&words);
    let entry = |packet: u64| Entry { first: 1 + 3 * packet, position: 7 * packet };
    let snapshots: &[u64] = if cfg!(miri) { &[5, 18] } else { &[1, 2, 5, 16, 21, 40] };
    for &packets in snapshots {
        (0..packets).for_each(|packet| index.store(packet, entry(packet)));
        for later in 0..2 * entries {
            let live = (packets + later).saturating_sub(entries);
            for number in 1..entry(packets).first {
                let packet = (number - 1) / 3;
                let expected = (packet >= live).then(|| (packet, entry(packet)));
                assert_eq!(index.find(number, packets), expected, "{number} of {packets} packets, {later} later");
            }
            index.store(packets + later, entry(packets + later));
        }
    }
    assert_eq!(index.find(1, 0), None);
}

#[test]
fn a_packet_as_large_as_the_ring_replaces_all_others() {
    let mut writer = ring(32, 8, 23 * 8);
    let mut reader = writer.reader();
    for number in 1..=20 {
        writer.retain(1, &block(number, u16::from(number) % 8)).unwrap();
        writer.retain(1, &block(number, 23 * 8 - 2)).unwrap();
        let start = 2 * u64::from(number);
        assert_eq!(reader.oldest()..reader.next(), start..start + 1);
        assert_eq!(read(&mut reader, range(start, 99), 200).unwrap().1, block(number, 23 * 8 - 2));
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes")]
fn a_read_stops_at_the_most_messages_that_a_packet_can_have() {
    let mut writer = ring(1 << 16, 1 << 8, MAX_BLOCKS_BYTES);
    let mut reader = writer.reader();
    let blocks = vec![0; 2 * 30_000];
    for _ in 0..3 {
        writer.retain(30_000, &blocks).unwrap();
    }
    let (range_read, bytes) = read(&mut reader, range(5, u64::MAX), 1 << 20).unwrap();
    assert_eq!((range_read, bytes.len()), (SequenceRange::with_count(5, 0xFFFE), 2 * 0xFFFE));
}

#[test]
fn packets_that_do_not_belong_are_refused() {
    let mut writer = ring(64, 8, 64);
    assert_eq!(writer.retain(0, &[]), Err(RetainError::Count));
    assert_eq!(writer.retain(0xFFFF, &[]), Err(RetainError::Count));
    assert_eq!(writer.retain(1, &block(1, 63)), Err(RetainError::TooLong));
    assert_eq!((writer.oldest(), writer.next()), (1, 1));
    writer.mark_ended();
    assert_eq!(writer.retain(1, &block(1, 1)), Err(RetainError::Ended));
}

#[test]
fn marks_are_seen_by_readers() {
    let mut writer = ring(64, 8, 64);
    let reader = writer.reader();
    writer.retain(1, &block(1, 1)).unwrap();
    assert_eq!((reader.next(), reader.sent()), (2, 1));
    writer.mark_sent(2);
    assert_eq!(reader.sent(), 2);
    writer.mark_sent(1);
    assert_eq!((writer.sent(), reader.sent()), (2, 2));
    assert!(!reader.is_ended());
    writer.mark_ended();
    assert!(reader.is_ended());
}

#[test]
fn capacities_are_derived_from_bytes_and_told() {
    let size = RingSize::for_bytes(256 << 20, MAX_BLOCKS_BYTES);
    assert_eq!((size.data_words * 8, size.index_entries), (256 << 20, 4 << 20));
    assert_eq!(size.words(), 32 + 2 * size.index_entries + size.data_words);
    let least = RingSize::for_bytes(0, 1452);
    assert_eq!((least.data_words, least.index_entries), (2048, 256));
    for max_blocks_bytes in [0, 1, 1452, usize::MAX] {
        let size = RingSize::for_bytes(1, max_blocks_bytes);
        let retained_words = size.data_words - size.data_words / 8;
        assert!(retained_words / (size.max_blocks_bytes.div_ceil(8) + 2) >= 7);
    }
    assert!(RingSize::for_bytes(usize::MAX, 1452).words() > usize::MAX / 8);
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    for (data_words, index_entries, max_blocks_bytes) in
        [(63, 8, 8), (64, 0, 8), (64, 9, 8), (0, 8, 0), (2, 8, 8), (1 << 20, 8, MAX_BLOCKS_BYTES + 1)]
    {
        let size = RingSize { data_words, index_entries, max_blocks_bytes };
        let error = RingWriter::create(memory(256), size, SESSION).err();
        assert_eq!(error, Some(RingError::Size), "{size:?}");
    }
    let size = RingSize { data_words: 64, index_entries: 8, max_blocks_bytes: 64 };
    let error = RingWriter::create(memory(111), size, SESSION).err();
    assert_eq!(error, Some(RingError::TooSmall { words: 111, needed_words: 112 }));
}

#[test]
fn memory_that_holds_no_ring_is_not_opened() {
    let size = RingSize { data_words: 64, index_entries: 8, max_blocks_bytes: 64 };
    let open = |memory: Memory| RingReader::open(memory).err();
    assert_eq!(open(memory(0)), Some(RingError::TooSmall { words: 0, needed_words: 32 }));
    assert_eq!(open(memory(200)), Some(RingError::NotARing));

    let words = memory(size.words());
    RingWriter::create(words.clone(), size, SESSION).unwrap();
    assert_eq!(open(words.clone()), None);
    assert_eq!(
        open(words[..111].iter().map(|word| AtomicU64::new(word.load(Ordering::Relaxed))).collect()),
        Some(RingError::TooSmall { words: 111, needed_words: 112 })
    );
    words[1].store(7, Ordering::Relaxed);
    assert_eq!(open(words.clone()), Some(RingError::Version { found: 7 }));
    words[0].store(words[0].load(Ordering::Relaxed).swap_bytes(), Ordering::Relaxed);
    assert_eq!(open(words), Some(RingError::NotARing));
}

#[test]
fn a_killed_writer_goes_on_at_the_next_number() {
    let size = RingSize { data_words: 64, index_entries: 8, max_blocks_bytes: 64 };
    let words = memory(size.words());
    let mut writer = RingWriter::create(words.clone(), size, SESSION).unwrap();
    let mut reader = writer.reader();
    for number in 1..=60u8 {
        writer.retain(1, &block(number, u16::from(number) % 50)).unwrap();
        writer.mark_sent(u64::from(number));
        let (oldest, next) = (writer.oldest(), writer.next());
        writer = RingWriter::reopen(words.clone()).unwrap();
        assert_eq!((writer.oldest(), writer.next(), writer.sent()), (oldest, next, next - 1));
        assert_eq!(writer.session(), SESSION);
        for start in oldest..next {
            let (_, bytes) = read(&mut reader, range(start, start + 1), 64).unwrap();
            assert_eq!(bytes, block(start as u8, start as u16 % 50));
        }
    }
    writer.mark_ended();
    assert_eq!(RingWriter::reopen(words).err(), Some(RingError::Ended));
}

#[test]
fn a_packet_whose_writer_died_before_the_marks_moved_is_kept() {
    let size = RingSize { data_words: 64, index_entries: 8, max_blocks_bytes: 64 };
    let words = memory(size.words());
    let mut writer = RingWriter::create(words.clone(), size, SESSION).unwrap();
    for number in 1..=20 {
        // By R1, behind a header of 32 words.
        let entry = 32 + 2 * ((usize::from(number) - 1) % size.index_entries);
        let before = [0, 1].map(|word| words[entry + word].load(Ordering::Relaxed));
        writer.retain(2, &[block(number, 3), block(number, 9)].concat()).unwrap();
        let (oldest, next) = (writer.oldest(), writer.next());
        words[NEXT_WORD].store(next - 2, Ordering::Relaxed);
        if number % 2 == 0 {
            words[PACKETS_WORD].store(u64::from(number) - 1, Ordering::Relaxed);
        }
        if number % 4 == 0 {
            (0..2).for_each(|word| words[entry + word].store(before[word], Ordering::Relaxed));
        }
        writer = RingWriter::reopen(words.clone()).unwrap();
        assert_eq!((writer.oldest(), writer.next()), (oldest, next));
        assert_eq!(read(&mut writer.reader(), range(next - 1, next), 64).unwrap().1, block(number, 9));
    }
}

#[test]
fn a_damaged_region_is_an_error_and_never_a_panic() {
    let size = RingSize { data_words: 64, index_entries: 8, max_blocks_bytes: 64 };
    let words = memory(size.words());
    let mut writer = RingWriter::create(words.clone(), size, SESSION).unwrap();
    for number in 1..=20 {
        writer.retain(1, &block(number, 20)).unwrap();
    }
    let mut reader = writer.reader();
    let wanted = range(writer.oldest(), writer.next());
    let mut out = [0; 512];
    // Miri takes its time: a sample will do.
    for word in (8..words.len()).step_by(if cfg!(miri) { 19 } else { 1 }) {
        let good = words[word].load(Ordering::Relaxed);
        for bad in [0, 1, 0xFFFE, 64 << 16 | 0xFFFE, good ^ 1, good ^ 1 << 16, good.wrapping_add(1), 1 << 63, u64::MAX]
        {
            words[word].store(bad, Ordering::Relaxed);
            for start in wanted.start()..wanted.end() {
                let _ = reader.read(range(start, wanted.end()), &mut out);
                let _ = (reader.retained(), reader.headroom(start));
            }
            words[word].store(good, Ordering::Relaxed);
        }
    }
    assert_eq!(reader.read(wanted, &mut out).unwrap().range, wanted);
}

#[test]
fn nothing_is_given_up_within_its_headroom_and_hardly_anything_an_eighth_beyond() {
    let mut random = Random::new(3);
    for (data_words, index_entries) in [(128, 128), (256, 4_096), (4_096, 8)] {
        let mut writer = ring(data_words, index_entries, 64);
        let reader = writer.reader();
        let mut block_bytes = || block(7, random.below(60) as u16);
        assert_eq!((reader.headroom(1), reader.retained()), (None, Some(RingSpan::default())));
        for _ in 0..if cfg!(miri) { 5 } else { 500 } {
            writer.retain(1, &block_bytes()).unwrap();
            let wanted = writer.oldest() + (writer.next() - writer.oldest()) / 3;
            let headroom = reader.headroom(wanted).unwrap();
            // What is written on beyond it, until it is overwritten.
            let (mut written, mut packets) = (0, 0);
            while writer.oldest() <= wanted {
                let block = block_bytes();
                written += (8 + block.len()).next_multiple_of(64) as u64;
                packets += 1;
                writer.retain(1, &block).unwrap();
            }
            let is_exact = index_entries != 8;
            assert!(!is_exact || written > headroom.bytes, "{headroom:?}, and it was overwritten by {written} bytes");
            let step = 8 * (data_words as u64 / 8 + 2 * 16);
            assert!(!is_exact || written <= headroom.bytes + step, "{headroom:?}, {written}");
            assert!(is_exact || (packets <= 8 && headroom.messages <= 16), "{headroom:?} {packets}");
            assert_eq!(reader.headroom(wanted), Some(RingSpan::default()));
        }
    }
}

#[test]
fn the_index_bounds_the_headroom_where_packets_are_small() {
    // All records take 8 words: 16 entries are used up long before 1,024 words are.
    let mut writer = ring(1_024, 16, 64);
    let reader = writer.reader();
    // Two laps of the index take Miri long enough, and a few of the packets that are retained.
    let (packets, step) = if cfg!(miri) { (33, 7) } else { (200, 1) };
    for number in 1..=packets {
        writer.retain(1, &block(number, 6)).unwrap();
        // 15 of 16 entries may lie behind a packet that is retained for sure.
        let next = writer.next();
        for behind in (0..writer.retained().messages.min(15)).step_by(step) {
            let span = RingSpan { messages: 15 - behind, bytes: 64 * (15 - behind) };
            assert_eq!(reader.headroom(next - behind), Some(span));
        }
        assert_eq!(reader.headroom(next + 5), reader.headroom(next));
    }
}

#[test]
fn what_is_retained_is_known_to_writer_and_reader_alike() {
    let mut writer = ring(64, 8, 64);
    let reader = writer.reader();
    for number in 1..=100 {
        writer.retain(2, &[block(number, 6), block(number, 12)].concat()).unwrap();
        // A commit word and 22 bytes, in a line.
        let packets = (writer.next() - writer.oldest()) / 2;
        let expected = RingSpan { messages: 2 * packets, bytes: 64 * packets };
        assert_eq!((writer.retained(), reader.retained()), (expected, Some(expected)));
    }
}
