//! What an input makes of files that are whole, cut, damaged, compressed, or hostile. Captures are written here, frame by
//! frame; the tests of real captures say so when these are absent.

use flate2::{Compression, write::GzEncoder};
use seqcast::input::{CaptureCounters, Format, Input, InputError, Problem, Warning};
use seqcast_protocol::{Header, PacketWriter, SessionId};
use seqcast_recovery::{Nanos, Random};
use std::io::{self, Cursor, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Everything that an input gives.
#[derive(Debug, PartialEq, Eq)]
struct Whole {
    messages: Vec<Vec<u8>>,
    times: Vec<Option<u64>>,
    warnings: Vec<Warning>,
    counters: CaptureCounters,
}

fn drain(mut input: Input) -> Result<Whole, InputError> {
    let (mut messages, mut times) = (Vec::new(), Vec::new());
    while let Some(message) = input.next()? {
        messages.push(message.payload.to_vec());
        times.push(message.time.map(|Nanos(time_ns)| time_ns));
    }
    assert!(input.next()?.is_none(), "the end stays the end");
    let counters = input.capture().copied().unwrap_or_default();
    Ok(Whole { messages, times, warnings: input.warnings(), counters })
}

fn read_as(bytes: &[u8], format: Option<Format>) -> Result<Whole, InputError> {
    drain(Input::from_reader("test", Cursor::new(bytes.to_vec()), format)?)
}

fn read(bytes: &[u8]) -> Whole {
    read_as(bytes, None).unwrap()
}

fn format_of(bytes: &[u8]) -> Option<Format> {
    Input::from_reader("test", Cursor::new(bytes.to_vec()), None).ok().map(|input| input.format())
}

fn damage(bytes: &[u8], format: Option<Format>) -> (u64, String) {
    match read_as(bytes, format).unwrap_err().problem() {
        Problem::Damaged { offset, what, .. } => (*offset, what.to_string()),
        other => panic!("{other:?}"),
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn blocks(messages: &[&[u8]]) -> Vec<u8> {
    messages.iter().flat_map(|message| [&(message.len() as u16).to_be_bytes(), *message].concat()).collect()
}

// Packets and frames.

fn mold(session: &str, first: u64, messages: &[&[u8]]) -> Vec<u8> {
    let mut buffer = [0; 1_472];
    let mut writer = PacketWriter::new(&mut buffer, session.parse().unwrap(), first);
    for message in messages {
        writer.push(message).unwrap();
    }
    writer.finish().to_vec()
}

fn iex(session: u32, first: u64, messages: &[&[u8]]) -> Vec<u8> {
    let body: Vec<u8> =
        messages.iter().flat_map(|message| [&(message.len() as u16).to_le_bytes(), *message].concat()).collect();
    let mut packet = vec![1, 0, 3, 0x80];
    packet.extend(1u32.to_le_bytes());
    packet.extend(session.to_le_bytes());
    packet.extend((body.len() as u16).to_le_bytes());
    packet.extend((messages.len() as u16).to_le_bytes());
    packet.extend(0u64.to_le_bytes());
    packet.extend(first.to_le_bytes());
    packet.extend(0u64.to_le_bytes());
    [packet, body].concat()
}

fn ip(options: &[u8], fragment: u16, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let udp_bytes = (payload.len() + 8) as u16;
    let total = 20 + options.len() as u16 + udp_bytes;
    let mut packet = vec![0x45 + (options.len() / 4) as u8, 0];
    packet.extend(total.to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([1, protocol, 0, 0, 127, 0, 0, 1, 239, 255, 77, 1]);
    packet.extend(options);
    packet.extend([0x75, 0x31, 0x75, 0x31]);
    packet.extend(udp_bytes.to_be_bytes());
    packet.extend([0, 0]);
    [packet, payload.to_vec()].concat()
}

fn udp(payload: &[u8]) -> Vec<u8> {
    ip(&[], 0, 17, payload)
}

fn ethernet(tags: &[u16], ethertype: u16, packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 12];
    for tag in tags {
        frame.extend(tag.to_be_bytes());
        frame.extend([0, 7]);
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(packet);
    frame.extend([0; 3]); // Padding of a short frame, no part of the packet.
    frame
}

fn frame(payload: &[u8]) -> Vec<u8> {
    ethernet(&[], 0x0800, &udp(payload))
}

// Capture files.

#[derive(Clone, Copy)]
struct Classic {
    is_big: bool,
    is_ns: bool,
    link: u32,
}

const CLASSIC: Classic = Classic { is_big: false, is_ns: true, link: 1 };
const FILE_HEADER_BYTES: usize = 24;
const START_NS: u64 = 1_700_000_000_000_000_000;

fn word(is_big: bool, number: u32) -> [u8; 4] {
    if is_big { number.to_be_bytes() } else { number.to_le_bytes() }
}

impl Classic {
    /// One frame each 1.001 ms, so that units show.
    fn file(self, frames: &[Vec<u8>]) -> Vec<u8> {
        let timed: Vec<_> = (0u64..).zip(frames).map(|(n, frame)| (n * 1_001_000, frame.clone())).collect();
        self.timed(&timed)
    }

    fn timed(self, frames: &[(u64, Vec<u8>)]) -> Vec<u8> {
        let magic = if self.is_ns { 0xA1B2_3C4D } else { 0xA1B2_C3D4 };
        let version = if self.is_big { 0x0002_0004 } else { 0x0004_0002 };
        let mut file = [magic, version, 0, 0, 262_144, self.link].map(|number| word(self.is_big, number)).concat();
        for (time_ns, frame) in frames {
            let time_ns = START_NS + time_ns;
            let fraction = time_ns % 1_000_000_000 / if self.is_ns { 1 } else { 1_000 };
            let length = frame.len() as u32;
            for number in [(time_ns / 1_000_000_000) as u32, fraction as u32, length, length] {
                file.extend(word(self.is_big, number));
            }
            file.extend(frame);
        }
        file
    }
}

fn pcapng_block(is_big: bool, kind: u32, body: &[u8]) -> Vec<u8> {
    let padding = vec![0; body.len().next_multiple_of(4) - body.len()];
    let length = word(is_big, (12 + body.len() + padding.len()) as u32);
    [&word(is_big, kind), &length, body, &padding, &length].concat()
}

fn half(is_big: bool, number: u16) -> [u8; 2] {
    if is_big { number.to_be_bytes() } else { number.to_le_bytes() }
}

fn section(is_big: bool) -> Vec<u8> {
    let body = [&word(is_big, 0x1A2B_3C4D)[..], &half(is_big, 1), &half(is_big, 0), &[0xFF; 8]].concat();
    pcapng_block(is_big, 0x0A0D_0D0A, &body)
}

fn interface(is_big: bool, link: u16, resolution: Option<u8>) -> Vec<u8> {
    let mut body = [&half(is_big, link)[..], &[0, 0], &word(is_big, 0)].concat();
    body.extend([half(is_big, 2), half(is_big, 3)].concat());
    body.extend(*b"eth\0");
    if let Some(exponent) = resolution {
        body.extend([half(is_big, 9), half(is_big, 1)].concat());
        body.extend([exponent, 0, 0, 0]);
    }
    body.extend([0; 4]);
    pcapng_block(is_big, 1, &body)
}

fn enhanced(is_big: bool, interface: u32, units: u64, frame: &[u8]) -> Vec<u8> {
    let length = frame.len() as u32;
    let words = [interface, (units >> 32) as u32, units as u32, length, length].map(|number| word(is_big, number));
    pcapng_block(is_big, 6, &[words.concat(), frame.to_vec()].concat())
}

// Blocks and lines.

#[test]
fn blocks_come_out_as_they_went_in() {
    let long = vec![7; 65_535];
    let whole = read(&blocks(&[b"\0ab", b"", &long, b"c"]));
    assert_eq!(whole.messages, [&b"\0ab"[..], b"", &long, b"c"]);
    assert_eq!((whole.times, whole.warnings), (vec![None; 4], vec![]));
}

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

// Compression.

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

// Captures.

#[test]
fn every_kind_of_classic_capture_gives_the_same_messages() {
    let frames = [frame(&mold("S", 1, &[b"a", b""])), frame(&mold("S", 3, &[b"c"]))];
    for (is_big, is_ns) in [(false, false), (false, true), (true, false), (true, true)] {
        let whole = read(&Classic { is_big, is_ns, ..CLASSIC }.file(&frames));
        assert_eq!(whole.messages, [&b"a"[..], b"", b"c"]);
        assert_eq!(whole.times, [START_NS, START_NS, START_NS + 1_001_000].map(Some));
        assert_eq!(whole.warnings, []);
    }
}

#[test]
fn every_link_type_leads_to_the_same_message() {
    let packet = udp(&mold("S", 1, &[b"a"]));
    let cooked = |ethertype_at: usize, length: usize| {
        let mut header = vec![0; length];
        header[ethertype_at] = 8;
        [header, packet.clone()].concat()
    };
    for (link, frame) in [
        (1, ethernet(&[], 0x0800, &packet)),
        (1, ethernet(&[0x8100], 0x0800, &packet)),
        (1, ethernet(&[0x88A8, 0x8100], 0x0800, &packet)),
        (1, ethernet(&[], 0x0800, &ip(&[1; 12], 0x4000, 17, &mold("S", 1, &[b"a"])))),
        (12, packet.clone()),
        (14, packet.clone()),
        (101, packet.clone()),
        (228, packet.clone()),
        (0, [&[2, 0, 0, 0], &packet[..]].concat()),
        (0, [&[0, 0, 0, 2], &packet[..]].concat()),
        (108, [&[0, 0, 0, 2], &packet[..]].concat()),
        (113, cooked(14, 16)),
        (276, cooked(0, 20)),
        (1 | 0x1000_0000, ethernet(&[], 0x0800, &packet)),
    ] {
        let whole = read(&Classic { link, ..CLASSIC }.file(&[frame]));
        assert_eq!(whole.messages, [b"a"], "link type {link}");
    }
    let unknown = Classic { link: 147, ..CLASSIC }.file(&[packet]);
    assert!(damage(&unknown, None).1.contains("link type 147"));
}

#[test]
fn a_pcapng_gives_messages_and_times_in_the_unit_of_each_interface() {
    for is_big in [false, true] {
        let one = frame(&mold("S", 1, &[b"a"]));
        let two = udp(&mold("S", 2, &[b"b"]));
        let three = frame(&mold("S", 3, &[b"c"]));
        let four = frame(&mold("S", 4, &[b"d"]));
        let simple = [&word(is_big, three.len() as u32)[..], &three].concat();
        let file = [
            section(is_big),
            interface(is_big, 1, None),
            pcapng_block(is_big, 5, b"statistics"),
            enhanced(is_big, 0, 5_000_007, &one),
            interface(is_big, 101, Some(9)),
            enhanced(is_big, 1, 6_000_000_009, &two),
            pcapng_block(is_big, 3, &simple),
            section(!is_big),
            interface(!is_big, 1, Some(0x80 | 10)),
            enhanced(!is_big, 0, 7 << 10 | 512, &four),
        ]
        .concat();
        let whole = read(&file);
        assert_eq!(whole.messages, [b"a", b"b", b"c", b"d"]);
        assert_eq!(whole.times, [Some(5_000_007_000), Some(6_000_000_009), None, Some(7_500_000_000)]);
        assert_eq!(whole.warnings, []);
    }
}

#[test]
fn iex_packets_are_little_endian_and_their_heartbeats_yield_nothing() {
    let whole = read(&CLASSIC.file(&[
        frame(&iex(7, 5, &[])),
        frame(&iex(7, 5, &[b"a", b"", b"c"])),
        frame(&iex(7, 8, &[])),
        frame(&iex(7, 8, &[b"d"])),
    ]));
    assert_eq!(whole.messages, [&b"a"[..], b"", b"c", b"d"]);
    assert_eq!((whole.counters.heartbeats, whole.counters.packets, whole.warnings.len()), (2, 2, 0));
}

#[test]
fn the_second_line_of_a_capture_fills_the_gaps_of_the_first() {
    let a = [frame(&mold("S", 1, &[b"1", b"2"])), frame(&mold("S", 5, &[b"5"])), frame(&mold("S", 6, &[b"6"]))];
    let b = [frame(&mold("S", 1, &[b"1"])), frame(&mold("S", 2, &[b"2", b"3", b"4", b"5"]))];
    let whole = read(&CLASSIC.file(&[a[0].clone(), b[0].clone(), a[1].clone(), b[1].clone(), a[2].clone()]));
    assert_eq!(whole.messages, [b"1", b"2", b"3", b"4", b"5", b"6"]);
    assert_eq!((whole.counters.duplicates, whole.counters.missing, whole.warnings), (3, 0, vec![]));
}

#[test]
fn a_gap_that_nothing_fills_is_counted_and_the_replay_goes_on() {
    let second = 1_000_000_000;
    let whole = read(&CLASSIC.timed(&[
        (0, frame(&mold("S", 10, &[b"10"]))),
        (1, frame(&mold("S", 13, &[b"13"]))),
        (2 + second, frame(&mold("S", 14, &[b"14"]))),
        (3 + second, frame(&mold("S", 11, &[b"11"]))),
        (4 + second, frame(&mold("S", 9, &[b"9"]))),
        (5 + second, frame(&mold("S", 17, &[b"17"]))),
        (6 + second, frame(&mold("S", 20, &[]))),
    ]));
    assert_eq!(whole.messages, [&b"10"[..], b"13", b"14", b"17"]);
    assert_eq!(whole.warnings, [Warning::Missing { missing: 6, gaps: 3 }, Warning::Late(2)]);
}

#[test]
fn what_a_heartbeat_announced_before_the_first_message_is_missing() {
    let whole = read(&CLASSIC.file(&[frame(&mold("S", 4, &[])), frame(&mold("S", 6, &[b"6"]))]));
    assert_eq!(whole.messages, [b"6"]);
    assert_eq!(whole.warnings, [Warning::Missing { missing: 2, gaps: 1 }]);
    let whole = read(&CLASSIC.file(&[frame(&mold("T", 1, &[])), frame(&mold("S", 6, &[b"6"]))]));
    assert_eq!(whole.warnings, []);
}

#[test]
fn what_waits_behind_a_gap_is_bounded() {
    let mut frames = vec![frame(&mold("S", 1, &[b"1"]))];
    frames.extend((0..6_000).map(|n| frame(&mold("S", 3 + n, &[&[0; 1_400]]))));
    frames.push(frame(&mold("S", 2, &[b"2"])));
    let timed: Vec<_> = frames.into_iter().map(|frame| (0, frame)).collect();
    let whole = read(&CLASSIC.timed(&timed));
    assert_eq!(whole.messages.len(), 6_001);
    assert_eq!(whole.warnings, [Warning::Missing { missing: 1, gaps: 1 }, Warning::Late(1)]);
}

#[test]
fn a_restart_within_a_session_is_told() {
    let whole = read(&CLASSIC.file(&[
        frame(&mold("S", 1, &[b"a", b"b"])),
        frame(&mold("S", 1, &[b"a"])),
        frame(&mold("S", 2, &[b"other"])),
    ]));
    assert_eq!(whole.messages, [b"a", b"b"]);
    assert_eq!((whole.counters.duplicates, whole.warnings), (1, vec![Warning::Conflicting(1)]));
}

#[test]
fn the_first_session_with_messages_is_followed_and_others_are_counted() {
    let whole = read(&CLASSIC.file(&[
        frame(&mold("OLD", 90, &[])),
        frame(&mold("S", 1, &[b"a"])),
        frame(&mold("T", 1, &[b"x", b"y"])),
        frame(&iex(7, 1, &[b"z"])),
        frame(&mold("S", 2, &[b"b"])),
        frame(&Header::end_of_session(session("S"), 3).to_bytes()),
    ]));
    assert_eq!(whole.messages, [b"a", b"b"]);
    assert_eq!(whole.warnings, [Warning::OtherSessions(3)]);
    assert_eq!(whole.counters.heartbeats, 2);
}

fn session(name: &str) -> SessionId {
    name.parse().unwrap()
}

#[test]
fn frames_without_a_whole_packet_are_counted_by_their_reason() {
    let packet = mold("S", 2, &[b"b"]);
    let whole_frame = frame(&packet);
    let mut file = CLASSIC.file(&[
        frame(&mold("S", 1, &[b"a"])),
        ethernet(&[], 0x86DD, &[0x60; 60]),
        ethernet(&[], 0x0806, &[0; 28]),
        ethernet(&[], 0x0800, &ip(&[], 0, 6, &packet)),
        ethernet(&[], 0x0800, &ip(&[], 0x2000, 17, &packet)),
        ethernet(&[], 0x0800, &ip(&[], 100, 17, &packet)),
        frame(b"something else"),
        frame(&packet),
    ]);
    // The same again, with fewer bytes captured than there were.
    let length = whole_frame.len() as u32;
    file.extend([1_700_000_000, 0, length - 10, length].map(u32::to_le_bytes).concat());
    file.extend(&whole_frame[..whole_frame.len() - 10]);
    let whole = read(&file);
    assert_eq!(whole.messages, [b"a", b"b"]);
    let counters = whole.counters;
    assert_eq!((counters.ipv6, counters.not_udp, counters.other_udp), (1, 2, 1));
    assert_eq!(whole.warnings, [Warning::CutPackets(1), Warning::Fragments(2)]);
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

// Real captures.

/// A real capture beside the project, or `None` with a word about the test that is skipped.
fn real(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(name);
    let is_there = path.exists();
    if !is_there {
        // Past the capture of a test's output, so that it is seen.
        let _ = writeln!(io::stderr(), "skipped: the real capture {name} is not beside the project");
    }
    is_there.then_some(path)
}

#[test]
fn the_real_iex_capture_is_read_without_a_gap() {
    let Some(path) = real("iex-tops16.pcap.gz") else { return };
    let whole = drain(Input::open(path, None).unwrap()).unwrap();
    assert_eq!(whole.messages.len(), 57_674);
    assert_eq!(whole.warnings, []);
    let expected =
        CaptureCounters { frames: 13_022, packets: 12_785, heartbeats: 237, messages: 57_674, ..Default::default() };
    assert_eq!(whole.counters, expected);
    assert!(whole.times.is_sorted() && whole.times.iter().all(Option::is_some));
}

#[test]
fn the_real_nasdaq_captures_are_read() {
    let Some(path) = real("moldudp64-nasdaq") else { return };
    let mut captures = 0;
    for entry in path.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "pcap") {
            let whole = drain(Input::open(&path, None).unwrap()).unwrap();
            let messages = if path.ends_with("Multiple.Packets.pcap") { 39 } else { 1 };
            assert_eq!(whole.messages.len(), messages, "{path:?}");
            assert_eq!(whole.counters.frames, whole.counters.packets, "{path:?}");
            captures += 1;
        }
    }
    assert!(captures > 0);
}
