//! Packets, frames and capture files, written byte by byte.

use seqcast_protocol::PacketWriter;

/// A MoldUDP64 packet of messages from number `first` on.
pub(crate) fn mold(session: &str, first: u64, messages: &[&[u8]]) -> Vec<u8> {
    let mut buffer = [0; 1_472];
    let mut writer = PacketWriter::new(&mut buffer, session.parse().unwrap(), first);
    for message in messages {
        writer.push(message).unwrap();
    }
    writer.finish().to_vec()
}

/// An IEX-TP packet, likewise.
pub(crate) fn iex(session: u32, first: u64, messages: &[&[u8]]) -> Vec<u8> {
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

/// An IPv4 packet to line A, from nowhere in particular.
pub(crate) fn ip(options: &[u8], fragment: u16, protocol: u8, payload: &[u8]) -> Vec<u8> {
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

/// A datagram in an IPv4 packet.
pub(crate) fn udp(payload: &[u8]) -> Vec<u8> {
    ip(&[], 0, 17, payload)
}

/// A frame with VLAN tags.
pub(crate) fn ethernet(tags: &[u16], ethertype: u16, packet: &[u8]) -> Vec<u8> {
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

/// A datagram in a plain frame.
pub(crate) fn frame(payload: &[u8]) -> Vec<u8> {
    ethernet(&[], 0x0800, &udp(payload))
}

// Capture files.

/// A kind of classic capture.
#[derive(Clone, Copy)]
pub(crate) struct Classic {
    pub(crate) is_big: bool,
    pub(crate) is_ns: bool,
    pub(crate) link: u32,
}

/// The usual kind.
pub(crate) const CLASSIC: Classic = Classic { is_big: false, is_ns: true, link: 1 };

/// Bytes of its header, before the first record.
pub(crate) const FILE_HEADER_BYTES: usize = 24;

/// The time of the first frame of [`Classic::file`].
pub(crate) const START_NS: u64 = 1_700_000_000_000_000_000;

/// A number of 4 bytes.
pub(crate) fn word(is_big: bool, number: u32) -> [u8; 4] {
    if is_big { number.to_be_bytes() } else { number.to_le_bytes() }
}

impl Classic {
    /// One frame each 1.001 ms, so that units show.
    pub(crate) fn file(self, frames: &[Vec<u8>]) -> Vec<u8> {
        let timed: Vec<_> = (0u64..).zip(frames).map(|(n, frame)| (n * 1_001_000, frame.clone())).collect();
        self.timed(&timed)
    }

    /// Frames at times behind [`START_NS`].
    pub(crate) fn timed(self, frames: &[(u64, Vec<u8>)]) -> Vec<u8> {
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

/// A block of pcapng.
pub(crate) fn pcapng_block(is_big: bool, kind: u32, body: &[u8]) -> Vec<u8> {
    let padding = vec![0; body.len().next_multiple_of(4) - body.len()];
    let length = word(is_big, (12 + body.len() + padding.len()) as u32);
    [&word(is_big, kind), &length, body, &padding, &length].concat()
}

fn half(is_big: bool, number: u16) -> [u8; 2] {
    if is_big { number.to_be_bytes() } else { number.to_le_bytes() }
}

/// The block that begins a section.
pub(crate) fn section(is_big: bool) -> Vec<u8> {
    let body = [&word(is_big, 0x1A2B_3C4D)[..], &half(is_big, 1), &half(is_big, 0), &[0xFF; 8]].concat();
    pcapng_block(is_big, 0x0A0D_0D0A, &body)
}

/// The block of an interface; the unit of its times is a microsecond unless told.
pub(crate) fn interface(is_big: bool, link: u16, resolution: Option<u8>) -> Vec<u8> {
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

/// The block of a frame, `units` after 1970.
pub(crate) fn enhanced(is_big: bool, interface: u32, units: u64, frame: &[u8]) -> Vec<u8> {
    let length = frame.len() as u32;
    let words = [interface, (units >> 32) as u32, units as u32, length, length].map(|number| word(is_big, number));
    pcapng_block(is_big, 6, &[words.concat(), frame.to_vec()].concat())
}
