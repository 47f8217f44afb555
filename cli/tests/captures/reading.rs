//! Captures read again: by the library, and by tshark.

use seqcast::feed::FeedPacket;
use seqcast::input::{Frames, Input, Warning};
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A packet of a capture.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Captured {
    pub(crate) destination: SocketAddrV4,
    pub(crate) time_ns: u64,
    pub(crate) payload_offset: u64,
    pub(crate) packet: FeedPacket,
}

/// Every packet of a capture, and what is to be said about the file.
pub(crate) fn packets(path: &Path) -> (Vec<Captured>, Vec<Warning>) {
    let mut frames = Frames::open(path).unwrap();
    let mut packets = Vec::new();
    while let Some(frame) = frames.next().unwrap() {
        let datagram = frame.datagram.unwrap();
        packets.push(Captured {
            destination: datagram.destination,
            time_ns: frame.time.unwrap().0,
            payload_offset: frame.payload_offset,
            packet: FeedPacket::parse(datagram.payload).unwrap(),
        });
    }
    (packets, frames.warnings())
}

/// Every message of a capture, in order.
pub(crate) fn messages(path: &Path) -> Vec<Vec<u8>> {
    let mut input = Input::open(path, None).unwrap();
    let mut messages = Vec::new();
    while let Some(message) = input.next().unwrap() {
        messages.push(message.payload.to_vec());
    }
    assert_eq!(input.warnings(), []);
    messages
}

/// The sequence number of every packet as tshark reads it, who finds nothing wrong but, perhaps, a cut end; `None`, with a
/// word, where it is not installed.
pub(crate) fn tshark(path: &Path, port: u16) -> Option<Vec<u64>> {
    let mut tshark = Command::new("tshark");
    tshark.args(["-n", "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-r"]).arg(path);
    tshark.args(["-d", &format!("udp.port=={port},moldudp64"), "-T", "fields", "-E", "separator=;"]);
    tshark.args(["-e", "moldudp64.sequence", "-e", "ip.checksum.status", "-e", "udp.checksum.status"]);
    tshark.args(["-e", "_ws.malformed", "-e", "moldudp64.count.invalid", "-e", "moldudp64.msglen.invalid"]);
    let output = match tshark.output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            say("skipped: tshark is not installed");
            return None;
        }
        output => output.unwrap(),
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || errors.contains("cut short"), "{}: {errors}", path.display());
    let number = |line: &str| {
        let number = line.strip_suffix(";1;1;;;").unwrap_or_else(|| panic!("{}: {line}", path.display()));
        number.parse().unwrap()
    };
    Some(String::from_utf8(output.stdout).unwrap().lines().map(number).collect())
}

/// Asserts that tshark, where it is installed, reads the same packets as we do.
pub(crate) fn assert_tshark_agrees(path: &Path, port: u16) {
    let numbers: Vec<_> = packets(path).0.iter().map(|captured| captured.packet.first).collect();
    if let Some(read) = tshark(path, port) {
        assert!(read == numbers, "{}: tshark reads {} packets, we {}", path.display(), read.len(), numbers.len());
    }
}

/// Says something past the capture of a test's output, so that it is seen.
pub(crate) fn say(words: &str) {
    let _ = writeln!(io::stderr(), "{words}");
}

/// A real capture beside the project, or `None` with a word about the test that is skipped.
pub(crate) fn real(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(name);
    let is_there = path.exists();
    if !is_there {
        say(&format!("skipped: the real capture {name} is not beside the project"));
    }
    is_there.then_some(path)
}

/// Writes a copy of a file in which one byte is another.
pub(crate) fn plant(path: &Path, copy: &Path, offset: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[offset as usize] ^= 1;
    fs::write(copy, bytes).unwrap();
}
