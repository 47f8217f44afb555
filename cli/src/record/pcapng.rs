//! The blocks of a pcapng file: little-endian, times in nanoseconds, one interface for each line.
//!
//! A frame is an IPv4 packet without a link layer. Its headers are made up from the addresses of the datagram, with right
//! checksums: a socket does not hand out the original ones.

use crate::input::Datagram;
use seqcast_recovery::Nanos;
use std::net::SocketAddrV4;

const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const INTERFACE: u32 = 1;
const ENHANCED_PACKET: u32 = 6;

const BYTE_ORDER_MARK: u32 = 0x1A2B_3C4D;

/// `LINKTYPE_IPV4` of the registry of tcpdump.org.
const LINK_IPV4: u16 = 228;

/// The options of blocks that are written here.
const USER_APPLICATION: u16 = 4;
const INTERFACE_NAME: u16 = 2;
const INTERFACE_DESCRIPTION: u16 = 3;
const TIME_RESOLUTION: u16 = 9;

/// Type and length before the body of a block, length after it.
const FRAME_BYTES: usize = 12;

/// Interface, time, and the two lengths before a packet.
const PACKET_HEAD_BYTES: usize = 20;

const IP_HEADER_BYTES: usize = 20;
const UDP_HEADER_BYTES: usize = 8;
const UDP: u8 = 17;

/// What is written as the time to live. Arbitrary, as the real one is not known.
const TTL: u8 = 64;

/// The longest payload of a UDP datagram over IPv4.
pub(super) const MAX_PAYLOAD_BYTES: usize = u16::MAX as usize - IP_HEADER_BYTES - UDP_HEADER_BYTES;

/// What a file begins with: its section, and an interface of each name and description.
pub(super) fn beginning<'a>(interfaces: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut bytes = Vec::new();
    block(&mut bytes, SECTION_HEADER, |body| {
        body.extend(BYTE_ORDER_MARK.to_le_bytes());
        // Version 1.0, and a length of the section that is not known.
        body.extend([1, 0, 0, 0]);
        body.extend([0xFF; 8]);
        option(body, USER_APPLICATION, concat!("seqcast ", env!("CARGO_PKG_VERSION")).as_bytes());
        option(body, 0, &[]);
    });
    for (name, description) in interfaces {
        block(&mut bytes, INTERFACE, |body| {
            body.extend(LINK_IPV4.to_le_bytes());
            // Nothing is cut.
            body.extend([0; 6]);
            option(body, INTERFACE_NAME, name.as_bytes());
            option(body, INTERFACE_DESCRIPTION, description.as_bytes());
            option(body, TIME_RESOLUTION, &[9]);
            option(body, 0, &[]);
        });
    }
    bytes
}

/// How long the block of a packet with a payload of so many bytes is.
pub(super) const fn packet_bytes(payload_bytes: usize) -> usize {
    FRAME_BYTES
        + PACKET_HEAD_BYTES
        + (IP_HEADER_BYTES + UDP_HEADER_BYTES + payload_bytes).next_multiple_of(size_of::<u32>())
}

/// Appends the block of a datagram that came at `time` on the interface with this index.
///
/// The payload is at most [`MAX_PAYLOAD_BYTES`] long.
pub(super) fn packet(bytes: &mut Vec<u8>, interface: u32, time: Nanos, datagram: &Datagram<'_>) {
    let udp_bytes = (UDP_HEADER_BYTES + datagram.payload.len()) as u16;
    let ip_bytes = IP_HEADER_BYTES as u16 + udp_bytes;
    block(bytes, ENHANCED_PACKET, |body| {
        for word in [interface, (time.0 >> 32) as u32, time.0 as u32, ip_bytes.into(), ip_bytes.into()] {
            body.extend(word.to_le_bytes());
        }
        body.extend(ip_header(datagram.source, datagram.destination, ip_bytes));
        body.extend(udp_header(datagram, udp_bytes));
        body.extend(datagram.payload);
    });
}

/// Appends a block with its type, its two lengths and its padding.
fn block(bytes: &mut Vec<u8>, kind: u32, write_body: impl FnOnce(&mut Vec<u8>)) {
    let start = bytes.len();
    bytes.extend(kind.to_le_bytes());
    bytes.extend([0; 4]);
    write_body(bytes);
    bytes.resize(start + (bytes.len() - start).next_multiple_of(size_of::<u32>()), 0);
    let length = ((bytes.len() - start + size_of::<u32>()) as u32).to_le_bytes();
    bytes[start + 4..start + 8].copy_from_slice(&length);
    bytes.extend(length);
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    body.extend(vec![0; value.len().next_multiple_of(size_of::<u32>()) - value.len()]);
}

fn ip_header(source: SocketAddrV4, destination: SocketAddrV4, ip_bytes: u16) -> [u8; IP_HEADER_BYTES] {
    let mut header = [0; IP_HEADER_BYTES];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&ip_bytes.to_be_bytes());
    // Do not fragment.
    header[6] = 0x40;
    header[8..10].copy_from_slice(&[TTL, UDP]);
    header[12..16].copy_from_slice(&source.ip().octets());
    header[16..20].copy_from_slice(&destination.ip().octets());
    let checksum = !folded(sum(&header));
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    header
}

fn udp_header(datagram: &Datagram<'_>, udp_bytes: u16) -> [u8; UDP_HEADER_BYTES] {
    let Datagram { source, destination, payload } = datagram;
    let mut header = [0; UDP_HEADER_BYTES];
    header[..2].copy_from_slice(&source.port().to_be_bytes());
    header[2..4].copy_from_slice(&destination.port().to_be_bytes());
    header[4..6].copy_from_slice(&udp_bytes.to_be_bytes());
    let pseudo_header = sum(&source.ip().octets()) + sum(&destination.ip().octets()) + u64::from(UDP);
    // A sum of 0 would say that there is none (RFC 768).
    let checksum = match !folded(pseudo_header + u64::from(udp_bytes) + sum(&header) + sum(payload)) {
        0 => u16::MAX,
        checksum => checksum,
    };
    header[6..8].copy_from_slice(&checksum.to_be_bytes());
    header
}

/// The sum of the words of 16 bits, the last one filled with a zero (RFC 1071).
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<2>();
    let last = rest.first().map_or(0, |&byte| u64::from(byte) << 8);
    words.iter().map(|word| u64::from(u16::from_be_bytes(*word))).sum::<u64>() + last
}

/// The sum with what was carried added again.
fn folded(mut sum: u64) -> u16 {
    while sum > u64::from(u16::MAX) {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::Frames;
    use std::io::Cursor;

    #[test]
    fn what_is_written_is_read_again() {
        let source = "10.1.0.5:40000".parse().unwrap();
        let destination = "239.1.1.1:30001".parse().unwrap();
        let mut file = beginning([("A", "first line"), ("B", "")]);
        let payloads: Vec<Vec<u8>> =
            [0, 1, 2, 3, 1_472, MAX_PAYLOAD_BYTES].iter().map(|&length| vec![7; length]).collect();
        for (interface, payload) in [0, 1, 0, 1, 0, 1].into_iter().zip(&payloads) {
            let before = file.len();
            let datagram = Datagram { source, destination, payload };
            packet(&mut file, interface, Nanos(1_700_000_000_123_456_789), &datagram);
            assert_eq!(file.len() - before, packet_bytes(payload.len()));
        }
        let mut frames = Frames::from_reader("test", Cursor::new(file)).unwrap();
        for payload in &payloads {
            let frame = frames.next().unwrap().unwrap();
            assert_eq!(frame.datagram, Ok(Datagram { source, destination, payload }));
            assert_eq!(frame.time, Some(Nanos(1_700_000_000_123_456_789)));
        }
        assert!(frames.next().unwrap().is_none() && frames.warnings().is_empty());
    }

    #[test]
    fn checksums_are_those_of_the_standards() {
        // The example of RFC 1071, section 3.
        assert_eq!(folded(sum(&[0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7])), 0xDDF2);
        let (source, destination) = ("10.1.0.5:40000".parse().unwrap(), "239.1.1.1:30001".parse().unwrap());
        // What is received whole adds up to all ones.
        let header = ip_header(source, destination, 31);
        assert_eq!(folded(sum(&header)), 0xFFFF);
        let datagram = Datagram { source, destination, payload: b"abc" };
        let pseudo_header = [&header[12..], &[0, UDP, 0, 11]].concat();
        assert_eq!(folded(sum(&pseudo_header) + sum(&udp_header(&datagram, 11)) + sum(b"abc")), 0xFFFF);
    }
}
