//! Packets of a real exchange: captures of Nasdaq TotalView-ITCH 5.0, which are kept beside the project, parse to the
//! last byte.
#![expect(clippy::print_stdout, reason = "says which captures were read, or that there are none")]

use seqcast_protocol::{Packet, PacketKind, PacketWriter};
use std::fs;
use std::path::Path;

/// The lengths of the messages of ITCH 5.0, by their type, from Nasdaq's specification.
const ITCH_BYTES: [(u8, usize); 22] = [
    (b'S', 12),
    (b'R', 39),
    (b'H', 25),
    (b'Y', 20),
    (b'L', 26),
    (b'V', 35),
    (b'W', 12),
    (b'K', 28),
    (b'J', 35),
    (b'h', 21),
    (b'A', 36),
    (b'F', 40),
    (b'E', 31),
    (b'C', 36),
    (b'X', 23),
    (b'D', 19),
    (b'U', 35),
    (b'P', 44),
    (b'Q', 40),
    (b'B', 19),
    (b'I', 50),
    (b'N', 20),
];

#[test]
fn packets_of_nasdaq_parse_to_the_last_byte_and_are_written_again_as_they_were() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/moldudp64-nasdaq");
    let Ok(files) = fs::read_dir(&directory) else {
        println!("skipped: there are no captures in {}", directory.display());
        return;
    };
    let (mut packets, mut messages, mut longest) = (0, 0, 0);
    for path in files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|it| it == "pcap")) {
        for datagram in datagrams(&fs::read(&path).unwrap()) {
            let packet = Packet::parse(datagram).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!(packet.session().as_bytes(), b"000010059B");
            assert_eq!(packet.kind(), PacketKind::Data);
            let mut buffer = vec![0; datagram.len()];
            let mut writer = PacketWriter::new(&mut buffer, packet.session(), packet.sequence());
            for message in packet.messages() {
                let bytes = ITCH_BYTES.iter().find(|(kind, _)| message.first() == Some(kind));
                assert_eq!(bytes, Some(&(message[0], message.len())), "{}", path.display());
                writer.push(message).unwrap();
                messages += 1;
            }
            assert_eq!(writer.finish(), datagram, "{}", path.display());
            packets += 1;
            longest = longest.max(datagram.len());
        }
    }
    println!("{packets} packets of at most {longest} bytes, {messages} messages");
    assert!(packets > 0 && messages >= packets, "captures without a packet in {}", directory.display());
}

/// The UDP payloads of a classic little-endian capture of Ethernet frames that carry IPv4, behind a VLAN tag or not.
fn datagrams(capture: &[u8]) -> Vec<&[u8]> {
    let u32_le = |at: usize| u32::from_le_bytes(capture[at..at + 4].try_into().unwrap());
    assert!([0xA1B2_C3D4, 0xA1B2_3C4D].contains(&u32_le(0)), "times in microseconds or nanoseconds");
    assert_eq!(u32_le(20), 1, "Ethernet");
    let mut datagrams = vec![];
    let mut at = 24;
    while at < capture.len() {
        let (captured, original) = (u32_le(at + 8) as usize, u32_le(at + 12) as usize);
        assert_eq!(captured, original, "a frame was cut");
        datagrams.push(udp_payload(&capture[at + 16..at + 16 + captured]));
        at += 16 + captured;
    }
    datagrams
}

fn udp_payload(frame: &[u8]) -> &[u8] {
    let u16_be = |at: usize| usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
    let ip = if u16_be(12) == 0x8100 { 18 } else { 14 };
    assert_eq!((u16_be(ip - 2), frame[ip] >> 4, frame[ip + 9]), (0x0800, 4, 17), "IPv4 and UDP");
    let udp = ip + 4 * usize::from(frame[ip] & 15);
    &frame[udp + 8..udp + u16_be(udp + 4)]
}
