//! Captures that are damaged, cut, enormous or hostile: the corpus of the fuzz target, and changes of it.

use seqcast::check::Captures;
use seqcast::dump::Printer;
use seqcast::input::{Format, Frames, Input, InputError};
use seqcast_recovery::Random;
use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::Path;

/// The files of the corpus, by their names.
fn corpus() -> BTreeMap<String, Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/captures");
    let files = directory.read_dir().unwrap().map(|entry| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
    });
    files.collect()
}

fn frames(bytes: &[u8]) -> Result<Frames, InputError> {
    Frames::from_reader("it", Cursor::new(bytes.to_vec()))
}

/// Reads a capture in every way there is; returns what stopped the reading of frames.
fn read(bytes: &[u8]) -> Option<InputError> {
    if let Ok(mut input) = Input::from_reader("it", Cursor::new(bytes.to_vec()), Some(Format::Pcap)) {
        while let Ok(Some(_)) = input.next() {}
    }
    let mut shown = match frames(bytes) {
        Ok(frames) => frames,
        Err(error) => return Some(error),
    };
    let mut printers = [false, true].map(|is_json| Printer::new(Vec::new(), is_json, false));
    let stopped = loop {
        match shown.next() {
            Ok(Some(frame)) => printers.iter_mut().for_each(|printer| printer.frame(&frame).unwrap()),
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    for files in [vec![frames(bytes)], vec![frames(bytes), frames(bytes)]] {
        let mut captures = Captures::new(files.into_iter().map(Result::unwrap).collect(), &[]);
        while let Ok(true) = captures.step() {}
        let report = captures.finish();
        assert!(!report.in_words().is_empty() && report.json(0).is_object());
    }
    stopped
}

#[test]
fn damage_is_named_with_its_offset() {
    let expected = [
        ("block_of_no_length", "damaged at byte 436: a block cannot be 0 bytes long"),
        ("captured_more_than_sent", "damaged at byte 436: 29 bytes captured of a packet of 1"),
        ("captured_more_than_there_is", "damaged at byte 436: the block has no room for 16777215 captured bytes"),
        ("cut_header", "damaged at byte 0: the header of the capture is not whole"),
        ("enormous_block", "damaged at byte 436: a block cannot be 4294967280 bytes long"),
        ("enormous_record", "damaged at byte 91: a record cannot hold 2147483647 captured bytes"),
        ("lengths_differ", "damaged at byte 436: the two lengths of the block differ"),
        ("no_byte_order", "damaged at byte 0: the section has no byte order mark"),
        ("option_past_its_block", "damaged at byte 28: an option reaches past its block"),
        ("unknown_interface", "damaged at byte 436: the packet's interface 7 is not described"),
        ("unknown_link", "damaged at byte 60: link type 9999 is not known"),
        ("unknown_version", "damaged at byte 0: version 9 of pcapng is unknown"),
    ];
    let mut found = corpus().into_iter().filter_map(|(name, bytes)| Some((name, read(&bytes)?.to_string())));
    for (name, words) in expected {
        let (found_name, found_words) = found.next().unwrap();
        assert!(found_name == name && found_words.contains(words), "{found_name}: {found_words}");
    }
    assert_eq!(found.next(), None);
}

#[test]
fn what_is_wrong_with_packets_stops_nothing() {
    let corpus = corpus();
    let malformed = |name: &str| {
        let mut frames = frames(&corpus[name]).unwrap();
        let mut printer = Printer::new(Vec::new(), false, false);
        while let Some(frame) = frames.next().unwrap() {
            printer.frame(&frame).unwrap();
        }
        (printer.counts().frames, printer.counts().malformed)
    };
    assert_eq!(malformed("malformed_on_a_line"), (5, 4));
    assert_eq!(malformed("iex_malformed"), (5, 4));
}

#[test]
fn changed_captures_neither_panic_nor_run_away() {
    let mut random = Random::new(5);
    for (name, bytes) in corpus() {
        // What is compressed decays at its first byte.
        let changes = if bytes.is_empty() || name.starts_with("gzip") { 3 } else { 60 };
        for _ in 0..changes {
            let mut changed = bytes.clone();
            for _ in 0..random.below(6).min(changed.len() as u64) {
                let at = random.below(changed.len() as u64) as usize;
                changed[at] = [0, 1, 0x7F, 0xFF, random.next_u64() as u8][random.below(5) as usize];
            }
            changed.truncate(changed.len() - random.below(1 + changed.len() as u64 / 4) as usize);
            let _ = read(&changed);
        }
    }
}
