//! What an input makes of files that are cut, damaged, hostile, something else, or not there.

use crate::frames::{
    CLASSIC, FILE_HEADER_BYTES, enhanced, ethernet, frame, iex, interface, mold, pcapng_block, section, udp,
};
use crate::reading::{blocks, damage, gzip, read, read_as};
use seqcast::input::{Format, Input, Problem, Warning};
use seqcast_recovery::Random;
use std::io::Cursor;

#[test]
fn a_cut_last_block_is_a_warning_with_its_offset() {
    let file = blocks(&[b"\0ab", b"cd"]);
    for (cut, count) in [(8, 1), (7, 1), (6, 1)] {
        let whole = read(&file[..cut]);
        assert_eq!(whole.messages.len(), count);
        assert_eq!(whole.warnings, [Warning::Truncated { offset: 5 }]);
    }
}

#[test]
fn cut_compressed_data_give_a_warning_and_damaged_ones_an_offset() {
    let mut random = Random::new(4);
    let messages: Vec<Vec<u8>> = (0..20_000).map(|_| random.next_u64().to_be_bytes().to_vec()).collect();
    let borrowed: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    let file = gzip(&blocks(&borrowed));

    let whole = read(&file[..file.len() / 2]);
    assert!(!whole.messages.is_empty() && messages.starts_with(&whole.messages));
    assert!(whole.warnings.contains(&Warning::TruncatedGzip));

    let mut damaged = file.clone();
    damaged[file.len() / 2..][..64].fill(0xFF);
    let error = read_as(&damaged, None).unwrap_err();
    assert!(matches!(error.problem(), Problem::Damaged { decompressed: true, offset: 1.., .. }), "{error}");

    let mut wrong_sum = file;
    let end = wrong_sum.len() - 8;
    wrong_sum[end] ^= 1;
    assert!(matches!(read_as(&wrong_sum, None).unwrap_err().problem(), Problem::Damaged { offset: 200_000, .. }));
}

#[test]
fn a_cut_last_record_is_a_warning_with_its_offset() {
    let frames = [frame(&mold("S", 1, &[b"a"])), frame(&mold("S", 2, &[b"b"]))];
    let file = CLASSIC.file(&frames);
    let second = FILE_HEADER_BYTES + 16 + frames[0].len();
    for cut in second + 1..file.len() {
        let whole = read(&file[..cut]);
        assert_eq!(whole.messages, [b"a"]);
        assert_eq!(whole.warnings, [Warning::Truncated { offset: second as u64 }]);
    }
    let head = [section(false), interface(false, 1, None), enhanced(false, 0, 1, &frames[0])].concat();
    let file = [head.clone(), enhanced(false, 0, 2, &frames[1])].concat();
    for cut in head.len() + 1..file.len() {
        let whole = read(&file[..cut]);
        assert_eq!(whole.messages, [b"a"]);
        assert_eq!(whole.warnings, [Warning::Truncated { offset: head.len() as u64 }]);
    }
}

#[test]
fn damage_names_its_offset_after_the_messages_before_it() {
    let good = CLASSIC.file(&[frame(&mold("S", 1, &[b"a"]))]);
    let end = good.len() as u64;
    let record = |words: [u32; 4]| [good.clone(), words.map(u32::to_le_bytes).concat(), vec![0; 64]].concat();
    for (file, why) in [
        (record([0, 0, 300_000, 300_000]), "300000 captured bytes"),
        (record([0, 0, 64, 63]), "64 bytes captured of a packet of 63"),
        (record([0, 1_000_000_000, 64, 64]), "more than a second"),
    ] {
        let mut input = Input::from_reader("test", Cursor::new(file), None).unwrap();
        assert_eq!(input.next().unwrap().unwrap().payload, b"a");
        let error = input.next().unwrap_err().to_string();
        assert!(error.contains(&format!("at byte {end}")) && error.contains(why), "{error}");
    }

    let head = [section(false), interface(false, 1, None), enhanced(false, 0, 1, &frame(&mold("S", 1, &[b"a"])))];
    let good = head.concat();
    let end = good.len() as u64;
    let mut lengths_differ = enhanced(false, 0, 1, &[0; 64]);
    *lengths_differ.last_mut().unwrap() = 1;
    let mut too_long_a_frame = enhanced(false, 0, 1, &[0; 64]);
    too_long_a_frame[20..28].copy_from_slice(&[65, 0, 0, 0, 65, 0, 0, 0]);
    for (block, why) in [
        (lengths_differ, "lengths"),
        (too_long_a_frame, "room"),
        (enhanced(false, 1, 1, &[0; 64]), "interface 1"),
        (pcapng_block(false, 6, &[0; 16]), "too short"),
        (pcapng_block(false, 1, &[0; 4]), "too short"),
        ([[6, 0, 0, 0], 13u32.to_le_bytes(), [0; 4]].concat(), "13 bytes"),
        ([[6, 0, 0, 0], 8u32.to_le_bytes(), [0; 4]].concat(), "8 bytes"),
        ([[6, 0, 0, 0], (17u32 << 20).to_le_bytes(), [0; 4]].concat(), "17825792 bytes"),
        ([[0x0A, 0x0D, 0x0D, 0x0A], [28, 0, 0, 0], [0; 4]].concat(), "byte order"),
    ] {
        let (offset, what) = damage(&[good.clone(), block].concat(), None);
        assert!(offset == end && what.contains(why), "{offset} {what}");
    }
}

#[test]
fn a_capture_of_something_else_is_an_error() {
    let file = CLASSIC.file(&[frame(b"hello"), ethernet(&[], 0x0806, &[0; 28])]);
    let (offset, what) = damage(&file, None);
    assert_eq!(offset, file.len() as u64);
    assert!(what.contains("none of the 2 frames"), "{what}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Input::open("no/such/file", None).unwrap_err();
    assert!(error.to_string().starts_with("no/such/file: cannot be opened"), "{error}");
    let error = Input::open(env!("CARGO_MANIFEST_DIR"), None).unwrap_err();
    assert!(error.to_string().contains("cannot be read"), "{error}");
}

#[test]
fn hostile_bytes_neither_panic_nor_run_away() {
    let frames: Vec<_> = (0..8)
        .map(|n| frame(&if n % 2 == 0 { mold("S", n + 1, &[b"a"]) } else { mold("S", n + 1, &[b"b", b"c"]) }))
        .chain([frame(&iex(1, 1, &[b"x", b"y"])), ethernet(&[0x8100], 0x0800, &udp(&iex(1, 3, &[b"z"])))])
        .collect();
    let blocks_of_frames = (0..).zip(&frames).flat_map(|(n, frame)| enhanced(false, 0, n, frame));
    let pcapng: Vec<u8> =
        [section(false), interface(false, 1, Some(9))].concat().into_iter().chain(blocks_of_frames).collect();
    let mut random = Random::new(2);
    for base in [CLASSIC.file(&frames), pcapng, gzip(&CLASSIC.file(&frames)), blocks(&[b"abc", b"", b"\0\xFF"])] {
        for length in 0..base.len() {
            let _ = read_as(&base[..length], None);
        }
        for _ in 0..3_000 {
            let mut file = base.clone();
            for _ in 0..1 + random.below(8) {
                let at = random.below(file.len() as u64) as usize;
                file[at] = if random.below(4) == 0 { 0xFF } else { random.next_u64() as u8 };
            }
            for format in [None, Some(Format::Pcap), Some(Format::Blocks), Some(Format::Lines)] {
                if let Ok(whole) = read_as(&file, format) {
                    assert!(whole.messages.len() <= file.len());
                }
            }
        }
    }
}
