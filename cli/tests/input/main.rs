//! What an input makes of files that are whole: blocks, lines, compressed ones, and reads of any size; of captures; and of
//! what is damaged.

mod captures;
mod damage;
mod frames;
mod reading;

use frames::{CLASSIC, frame, mold, section};
use reading::{blocks, damage, drain, format_of, gzip, read, read_as};
use seqcast::input::{Format, Input, Problem};
use std::io::{self, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn blocks_come_out_as_they_went_in() {
    let long = vec![7; 65_535];
    let whole = read(&blocks(&[b"\0ab", b"", &long, b"c"]));
    assert_eq!(whole.messages, [&b"\0ab"[..], b"", &long, b"c"]);
    assert_eq!((whole.times, whole.warnings), (vec![None; 4], vec![]));
}

#[test]
fn lines_keep_everything_but_their_newline() {
    let whole = read("a\r\n\né\nlast".as_bytes());
    assert_eq!(whole.messages, [&b"a\r"[..], b"", "é".as_bytes(), b"last"]);
    assert_eq!(read(b"a\n").messages, [b"a"]);
    assert_eq!(read(b"\n").messages, [b""]);
}

#[test]
fn a_line_as_long_as_a_message_can_be_is_taken_and_a_longer_one_named() {
    let mut file = vec![b'a'; 65_535];
    assert_eq!(read(&file).messages, [&file[..]]);
    file.extend(*b"\nb\n");
    assert_eq!(read(&file).messages, [&file[..65_535], b"b"]);
    file.extend([b'c'; 65_536]);
    assert_eq!(damage(&file, None).0, 65_538);
    file.extend(*b"\n");
    assert_eq!(damage(&file, None).0, 65_538);
}

#[test]
fn formats_are_recognised_by_their_first_bytes() {
    assert_eq!(format_of(b""), Some(Format::Lines));
    assert_eq!(format_of(b"text"), Some(Format::Lines));
    assert_eq!(format_of(b"\n"), Some(Format::Lines));
    assert_eq!(format_of(&blocks(&[b"text"])), Some(Format::Blocks));
    assert_eq!(format_of(b"\0\0"), Some(Format::Blocks));
    assert_eq!(format_of(&CLASSIC.file(&[])), Some(Format::Pcap));
    assert_eq!(format_of(&section(true)), Some(Format::Pcap));
    assert_eq!(format_of(b"\0\x05abc"), None);
    assert_eq!(format_of(b"\xFF\xFFabc"), None);
    assert_eq!(format_of(b"\xC3"), None, "half a character is no text");
    let error = read_as(b"\xFF\xFFabc", None).unwrap_err();
    assert!(error.to_string().contains("--format"), "{error}");
}

#[test]
fn a_character_cut_by_the_end_of_what_was_looked_at_is_still_text() {
    let text = "é".repeat(400_000);
    for shift in 0..2 {
        let text = format!("{}{}", "a".repeat(shift), text.replace("éééé", "éé\n"));
        assert_eq!(format_of(text.as_bytes()), Some(Format::Lines));
    }
}

#[test]
fn a_given_format_overrules_the_first_bytes() {
    assert_eq!(read_as(b"\0\x01a", Some(Format::Lines)).unwrap().messages, [b"\0\x01a"]);
    assert_eq!(read_as(b"\0\x01a", Some(Format::Blocks)).unwrap().messages, [b"a"]);
    assert_eq!(damage(b"text", Some(Format::Pcap)).0, 0);
}

#[test]
fn an_empty_input_is_valid_in_every_format() {
    for format in [None, Some(Format::Blocks), Some(Format::Lines), Some(Format::Pcap)] {
        for file in [vec![], gzip(b"")] {
            let whole = read_as(&file, format).unwrap();
            assert_eq!((whole.messages.len(), whole.warnings.len()), (0, 0));
        }
    }
    assert_eq!(read(&CLASSIC.file(&[])).messages.len(), 0);
}

#[test]
fn compressed_input_is_read_whatever_is_inside() {
    let capture = CLASSIC.file(&[frame(&mold("S", 1, &[b"a", b"b"]))]);
    for file in [capture, blocks(&[b"a", b"bc"]), b"a\nb".to_vec()] {
        assert_eq!(read(&gzip(&file)), read(&file));
        let (first, second) = file.split_at(2);
        assert_eq!(read(&[gzip(first), gzip(second)].concat()), read(&file), "members follow each other");
    }
    assert_eq!(read_as(&gzip(b"\0\x01a"), Some(Format::Blocks)).unwrap().messages, [b"a"]);
}

// Reads.

/// Gives what it has in the pieces it has, and panics when asked for more.
struct Pipe(Vec<&'static [u8]>);

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let piece = self.0.remove(0);
        buffer[..piece.len()].copy_from_slice(piece);
        Ok(piece.len())
    }
}

#[test]
fn a_pipe_is_not_waited_for_longer_than_needed() {
    let mut lines = Input::from_reader("pipe", Pipe(vec![b"a\n"]), None).unwrap();
    assert_eq!(lines.next().unwrap().unwrap().payload, b"a");
    let mut blocks = Input::from_reader("pipe", Pipe(vec![b"\0", b"\x02", b"a", b"b\0"]), None).unwrap();
    assert_eq!(blocks.next().unwrap().unwrap().payload, b"ab");
}

/// Gives one byte at a time, interrupted before each.
struct Trickle(Cursor<Vec<u8>>, bool);

impl Read for Trickle {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 { Err(io::ErrorKind::Interrupted.into()) } else { self.0.read(&mut buffer[..1]) }
    }
}

#[test]
fn the_sizes_of_reads_do_not_matter() {
    let capture = CLASSIC.file(&[frame(&mold("S", 1, &[b"a", b"b"])), frame(&mold("S", 3, &[b"c"]))]);
    for file in [capture.clone(), blocks(&[b"a", b"bc"]), b"a\nb".to_vec(), gzip(&capture)] {
        let trickle = Input::from_reader("test", Trickle(Cursor::new(file.clone()), false), None).unwrap();
        assert_eq!(drain(trickle).unwrap(), read(&file));
    }
}

/// Gives one byte at a time, and between two of them has nothing yet, once it is open.
struct Stalling {
    bytes: Cursor<Vec<u8>>,
    is_open: Arc<AtomicBool>,
    has_nothing: bool,
}

impl Read for Stalling {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.is_open.load(Ordering::Relaxed) {
            return self.bytes.read(&mut buffer[..1]);
        }
        self.has_nothing = !self.has_nothing;
        if self.has_nothing { Err(io::ErrorKind::WouldBlock.into()) } else { self.bytes.read(&mut buffer[..1]) }
    }
}

#[test]
fn an_input_that_has_nothing_yet_can_be_asked_again() {
    let capture = CLASSIC.file(&[frame(&mold("S", 1, &[b"a", b"b"])), frame(&mold("S", 3, &[b"c"]))]);
    for file in [capture.clone(), blocks(&[b"a", b"bc"]), b"ab\nc\n".to_vec(), gzip(&capture), gzip(b"ab\nc\n")] {
        let is_open = Arc::new(AtomicBool::new(false));
        let bytes = Cursor::new(file.clone());
        let stalling = Stalling { bytes, is_open: Arc::clone(&is_open), has_nothing: false };
        let mut input = Input::from_reader("test", stalling, None).unwrap();
        is_open.store(true, Ordering::Relaxed);
        let mut messages = Vec::new();
        let mut stalls = 0;
        loop {
            match input.next() {
                Ok(Some(message)) => messages.push(message.payload.to_vec()),
                Ok(None) => break,
                Err(error) => {
                    let is_stalled = matches!(error.problem(), Problem::Read { error, .. } if error.kind() == io::ErrorKind::WouldBlock);
                    assert!(is_stalled, "{error}");
                    stalls += 1;
                }
            }
        }
        assert_eq!(messages, read(&file).messages);
        assert!(stalls > 0);
        assert_eq!(input.warnings(), []);
    }
}
