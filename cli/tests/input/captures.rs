//! What an input makes of captures, written here frame by frame: their kinds, two lines, gaps, sessions. The tests of real
//! captures say so when these are absent.

use crate::frames::{
    CLASSIC, Classic, START_NS, enhanced, ethernet, frame, iex, interface, ip, mold, pcapng_block, section, udp, word,
};
use crate::reading::{damage, drain, read};
use seqcast::input::{CaptureCounters, Input, Warning};
use seqcast_protocol::{Header, SessionId};
use std::io::{self, Write};
use std::path::PathBuf;

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

// Lines, gaps, sessions.

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
