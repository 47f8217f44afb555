//! What we write as an independent reader sees it: tshark's MoldUDP64 dissector finds nothing wrong with it, and reads
//! the same numbers and messages. Skipped, with a word, where tshark is not installed.
#![expect(clippy::print_stdout, reason = "says when it was skipped")]

use seqcast_protocol::{Header, PacketWriter, Request, SequenceRange, SessionId};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

const SESSION: &str = "EQ2026";
const LINE_PORT: u16 = 30_001;
const REQUEST_PORT: u16 = 30_100;

/// What must not match anything.
const WRONG: &str =
    "moldudp64.count.invalid || moldudp64.msglen.invalid || moldudp64.end_of_session_extra || _ws.malformed";

/// One datagram, and what tshark is to read from it.
struct Sample {
    port: u16,
    bytes: Vec<u8>,
    sequence: u64,
    count: u16,
    messages: Vec<Vec<u8>>,
}

#[test]
fn tshark_reads_what_we_write_and_finds_nothing_wrong() {
    let samples = samples();
    let capture = Capture::write("clean", samples.iter().map(|sample| (sample.port, &sample.bytes[..])));
    let Some(wrong) = capture.read(&["-Y", WRONG]) else { return };
    assert_eq!(wrong, "");

    let fields =
        ["session", "sequence", "count", "msgseq", "msglen", "msgdata"].map(|field| format!("moldudp64.{field}"));
    let mut options = vec!["-T", "fields", "-E", "separator=;"];
    options.extend(fields.iter().flat_map(|field| ["-e", field]));
    let table = capture.read(&options).expect("tshark is installed");
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), samples.len());
    for (line, Sample { port, bytes, sequence, count, messages }) in lines.into_iter().zip(samples) {
        let fields: Vec<&str> = line.split(';').collect();
        let [session, rest @ .., data] = &fields[..] else { panic!("no fields in {line:?}") };
        assert_eq!(session.trim_end(), SESSION);
        let join = |values: Vec<String>| values.join(",");
        let hex = |message: &Vec<u8>| message.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let expected = [
            sequence.to_string(),
            count.to_string(),
            join((sequence..).take(messages.len()).map(|number| number.to_string()).collect()),
            join(messages.iter().map(|message| message.len().to_string()).collect()),
        ];
        assert_eq!(rest, expected, "{} bytes to port {port}", bytes.len());
        // Versions differ in what they print for a message of no bytes: nothing, or "<MISSING>".
        let data = data.split(',').filter(|data| !["", "<MISSING>"].contains(data));
        assert!(data.eq(messages.iter().filter(|message| !message.is_empty()).map(hex)), "{} bytes", bytes.len());
    }
}

/// The check above can fail.
#[test]
fn tshark_finds_something_wrong_with_what_is_wrong() {
    let good = packet(1, &[&b"hello"[..]]);
    let mut miscounted = good.clone();
    miscounted[19] = 2;
    let wrong = [good[..good.len() - 1].to_vec(), [&good[..], &[0, 9]].concat(), miscounted];
    for (index, bytes) in wrong.iter().enumerate() {
        let capture = Capture::write(&format!("wrong-{index}"), [(LINE_PORT, &bytes[..])]);
        let Some(found) = capture.read(&["-Y", WRONG]) else { return };
        assert_ne!(found, "", "wrong packet {index}");
    }
}

fn packet(first: u64, messages: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut buffer = vec![0; 65_507];
    let mut writer = PacketWriter::new(&mut buffer, SESSION.parse().unwrap(), first);
    for message in messages {
        writer.push(message.as_ref()).unwrap();
    }
    writer.finish().to_vec()
}

/// Every kind of packet that we write.
fn samples() -> Vec<Sample> {
    let session: SessionId = SESSION.parse().unwrap();
    let message = |bytes: usize| (0..bytes).map(|index| (index % 251) as u8).collect::<Vec<u8>>();
    let mut sets: Vec<Vec<Vec<u8>>> =
        vec![vec![vec![]], vec![vec![]; 3], vec![vec![1], vec![], vec![2, 3], vec![]], vec![message(36); 38]];
    // Packets of one message, up to the largest datagram of a standard frame (1472), a jumbo frame, and of UDP.
    sets.extend(
        [21, 22, 23, 24, 42, 100, 276, 277, 278, 512, 1471, 1472, 8972, 65_507]
            .map(|bytes: usize| vec![message(bytes.saturating_sub(22))]),
    );
    // Packets that messages fill to the last byte.
    sets.extend((1..40).map(|count| {
        let bytes = (1472 - 20) / count - 2;
        let mut messages = vec![message(bytes); count - 1];
        messages.push(message(1472 - 20 - (count - 1) * (bytes + 2) - 2));
        messages
    }));
    let mut next = 1;
    let mut samples = vec![];
    for messages in sets {
        let count = messages.len() as u16;
        samples.push(Sample { port: LINE_PORT, bytes: packet(next, &messages), sequence: next, count, messages });
        next += u64::from(count);
    }
    assert!(samples.iter().filter(|sample| sample.bytes.len() == 1472).count() > 30);
    for sequence in [1, next, u64::MAX] {
        for (port, header, count) in [
            (LINE_PORT, Header::heartbeat(session, sequence), 0),
            (LINE_PORT, Header::end_of_session(session, sequence), 0xFFFF),
        ] {
            samples.push(Sample { port, bytes: header.to_bytes().to_vec(), sequence, count, messages: vec![] });
        }
    }
    for (first, count) in [(1, 1), (next, 38), (1 << 40, 0xFFFE), (u64::MAX - 1, 1)] {
        let request = Request::new(session, SequenceRange::with_count(first, u64::from(count))).unwrap();
        let bytes = request.to_bytes().to_vec();
        samples.push(Sample { port: REQUEST_PORT, bytes, sequence: first, count, messages: vec![] });
    }
    samples
}

/// A capture file that is removed when it is dropped.
struct Capture(PathBuf);

impl Capture {
    /// Writes a classic capture of IPv4 packets without a link layer (link type 228), each with one UDP datagram.
    fn write<'a>(name: &str, datagrams: impl IntoIterator<Item = (u16, &'a [u8])>) -> Self {
        let mut file = vec![];
        for field in [0xA1B2_C3D4u32, 2 << 16 | 4, 0, 0, 1 << 18, 228] {
            file.extend(field.to_be_bytes());
        }
        for (port, payload) in datagrams {
            let udp_bytes = 8 + payload.len() as u16;
            let ip_bytes = 20 + udp_bytes;
            for field in [0, 0, u32::from(ip_bytes), u32::from(ip_bytes)] {
                file.extend(field.to_be_bytes());
            }
            for field in [0x4500, ip_bytes, 0, 0x4000, 0x0111, 0] {
                file.extend(field.to_be_bytes());
            }
            file.extend([127, 0, 0, 1, 239, 255, 77, 1]);
            for field in [40_000, port, udp_bytes, 0] {
                file.extend(field.to_be_bytes());
            }
            file.extend(payload);
        }
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.pcap", std::process::id()));
        fs::write(&path, file).unwrap();
        Self(path)
    }

    /// What tshark prints about the file; `None`, with a word, when it is not installed.
    fn read(&self, options: &[&str]) -> Option<String> {
        let mut tshark = Command::new("tshark");
        tshark.arg("-n").arg("-r").arg(&self.0);
        for port in [LINE_PORT, REQUEST_PORT] {
            tshark.arg("-d").arg(format!("udp.port=={port},moldudp64"));
        }
        let output = match tshark.args(options).output() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                println!("skipped: tshark is not installed");
                return None;
            }
            output => output.unwrap(),
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(String::from_utf8(output.stdout).unwrap())
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
