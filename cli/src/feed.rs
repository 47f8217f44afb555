//! The two packet formats of a feed: IEX-TP and MoldUDP64.
//!
//! Both number messages, not packets, and put a length of 2 bytes before each; a packet without messages carries the
//! next number. Their first bytes differ enough for neither to be taken for the other: what is valid to the last byte
//! as one is never valid as the other, except by a session that somebody made up for it.

use seqcast_protocol::{Blocks, HEADER_BYTES, LENGTH_BYTES, Packet, PacketError, PacketKind, Request, SessionId};
use std::fmt;
use std::net::Ipv4Addr;

/// IEX Transport Protocol 1.25: the header, little-endian.
const IEX_HEADER_BYTES: usize = 40;

/// Where the payload length, the number of the first message and the send time stand in it.
const IEX_LENGTH_AT: usize = 12;
const IEX_FIRST_AT: usize = 24;
const IEX_SEND_TIME_AT: usize = 32;

/// Where the number of the first message stands in a header of MoldUDP64.
const MOLDUDP64_FIRST_AT: usize = 10;

/// A packet format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FeedFormat {
    /// That of IEX.
    IexTp,
    /// That of Nasdaq and others, and ours.
    MoldUdp64,
}

impl fmt::Display for FeedFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IexTp => "IEX-TP",
            Self::MoldUdp64 => "MoldUDP64",
        })
    }
}

/// Which numbered stream a packet belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StreamId {
    /// Bytes 2 to 11 of IEX-TP: message protocol, channel, session.
    Iex([u8; 10]),
    /// The session of MoldUDP64.
    MoldUdp64(SessionId),
}

impl StreamId {
    /// The format of its packets.
    #[must_use]
    pub const fn format(self) -> FeedFormat {
        match self {
            Self::Iex(_) => FeedFormat::IexTp,
            Self::MoldUdp64(_) => FeedFormat::MoldUdp64,
        }
    }

    /// Where the blocks of a packet begin.
    pub(crate) const fn blocks_at(self) -> usize {
        match self {
            Self::Iex(_) => IEX_HEADER_BYTES,
            Self::MoldUdp64(_) => HEADER_BYTES,
        }
    }

    /// The length in front of a block.
    pub(crate) const fn length(self, prefix: [u8; LENGTH_BYTES]) -> usize {
        match self {
            Self::Iex(_) => u16::from_le_bytes(prefix) as usize,
            Self::MoldUdp64(_) => u16::from_be_bytes(prefix) as usize,
        }
    }
}

/// The session of MoldUDP64 as it is named; of IEX-TP the protocol of the messages, the channel and the session:
/// `8003.1.1150681088`.
impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Iex([p0, p1, c0, c1, c2, c3, s0, s1, s2, s3]) => {
                let protocol = u16::from_le_bytes([*p0, *p1]);
                let [channel, session] = [[*c0, *c1, *c2, *c3], [*s0, *s1, *s2, *s3]].map(u32::from_le_bytes);
                write!(f, "{protocol:04x}.{channel}.{session}")
            }
            Self::MoldUdp64(session) => session.fmt(f),
        }
    }
}

/// The header of a valid packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedPacket {
    /// The stream that it belongs to.
    pub stream: StreamId,
    /// What it is for; IEX-TP knows no end of session.
    pub kind: PacketKind,
    /// The number of the first message, or the next number when there is none.
    pub first: u64,
    /// How many messages there are.
    pub count: u16,
}

impl FeedPacket {
    /// Validates a UDP payload to its last byte.
    ///
    /// # Errors
    ///
    /// Says why it is no packet of the format that its first bytes look like. No input panics.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        // What begins as a version 1 of IEX-TP may still be a session of MoldUDP64.
        let iex = payload.starts_with(&[1]).then(|| Self::parse_iex(payload));
        match (iex, Packet::parse(payload)) {
            (Some(Ok(packet)), _) => Ok(packet),
            (_, Ok(packet)) => Ok(Self {
                stream: StreamId::MoldUdp64(packet.session()),
                kind: packet.kind(),
                first: packet.sequence(),
                count: packet.message_count(),
            }),
            (Some(Err(malformed)), Err(_)) => Err(malformed),
            (None, Err(reason)) => {
                Err(Malformed { format: FeedFormat::MoldUdp64, reason, at: moldudp64_error_at(payload, reason) })
            }
        }
    }

    fn parse_iex(payload: &[u8]) -> Result<Self, Malformed> {
        let malformed = |reason, at| Malformed { format: FeedFormat::IexTp, reason, at };
        let Some((header, blocks)) = payload.split_first_chunk::<IEX_HEADER_BYTES>() else {
            return Err(malformed(PacketError::TooShort, payload.len()));
        };
        let [length, count] = [IEX_LENGTH_AT, 14].map(|at| u16::from_le_bytes([header[at], header[at + 1]]));
        let first = u64_at(header, IEX_FIRST_AT);
        if blocks.len() != usize::from(length) {
            let is_cut = blocks.len() < usize::from(length);
            let reason = if is_cut { PacketError::Truncated } else { PacketError::TrailingBytes };
            return Err(malformed(reason, IEX_LENGTH_AT));
        }
        if first.checked_add(u64::from(count)).is_none() {
            return Err(malformed(PacketError::SequenceOverflow, IEX_FIRST_AT));
        }
        if count > 0 && first == 0 {
            return Err(malformed(PacketError::SequenceZero, IEX_FIRST_AT));
        }
        let stream = StreamId::Iex(header[2..12].try_into().expect("2..12 are ten bytes"));
        let mut messages = Messages { stream, rest: blocks };
        let whole = messages.by_ref().take(usize::from(count)).count();
        let at = payload.len() - messages.rest.len();
        if whole < usize::from(count) {
            return Err(malformed(PacketError::Truncated, at));
        }
        if !messages.rest.is_empty() {
            return Err(malformed(PacketError::TrailingBytes, at));
        }
        let kind = if count == 0 { PacketKind::Heartbeat } else { PacketKind::Data };
        Ok(Self { stream, kind, first, count })
    }

    /// One past the number of the last message; the next number when there is none.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.first + u64::from(self.count)
    }

    /// The messages of the `payload` that this was parsed from.
    #[must_use]
    pub fn messages<'a>(&self, payload: &'a [u8]) -> Messages<'a> {
        Messages { stream: self.stream, rest: &payload[self.stream.blocks_at()..] }
    }

    /// When the exchange says that it sent the `payload` that this was parsed from, in nanoseconds since 1970: IEX-TP
    /// alone.
    #[must_use]
    pub fn send_time_ns(&self, payload: &[u8]) -> Option<u64> {
        matches!(self.stream, StreamId::Iex(_)).then(|| u64_at(payload, IEX_SEND_TIME_AT))
    }
}

fn u64_at(header: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(header[at..at + 8].try_into().expect("the header is long enough"))
}

/// Where in `payload` the reason lies why it is no packet.
fn moldudp64_error_at(payload: &[u8], reason: PacketError) -> usize {
    match reason {
        PacketError::TooShort => payload.len(),
        PacketError::SequenceZero | PacketError::SequenceOverflow => MOLDUDP64_FIRST_AT,
        PacketError::Truncated | PacketError::TrailingBytes => {
            let count = match u16::from_be_bytes([payload[18], payload[19]]) {
                seqcast_protocol::END_OF_SESSION => 0,
                count => count,
            };
            let mut blocks = Blocks::new(&payload[HEADER_BYTES..]);
            blocks.by_ref().take(usize::from(count)).for_each(drop);
            payload.len() - blocks.rest().len()
        }
    }
}

/// What the payload of a datagram is to a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A packet, valid to its last byte.
    Packet(FeedPacket),
    /// Somebody asks for messages: MoldUDP64 alone.
    Request(Request),
    /// Neither.
    Malformed(Malformed),
}

impl Content {
    /// Looks at every byte of `payload`. Only what is sent to one host can be a request: it looks like a packet whose
    /// messages are cut off.
    #[must_use]
    pub fn of(payload: &[u8], destination: Ipv4Addr) -> Self {
        match (FeedPacket::parse(payload), Request::parse(payload)) {
            (Ok(packet), _) => Self::Packet(packet),
            (Err(_), Ok(request)) if !destination.is_multicast() => Self::Request(request),
            (Err(malformed), _) => Self::Malformed(malformed),
        }
    }
}

/// Walks through the messages of a packet.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    stream: StreamId,
    rest: &'a [u8],
}

impl<'a> Iterator for Messages<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (prefix, rest) = self.rest.split_first_chunk::<LENGTH_BYTES>()?;
        let (message, rest) = rest.split_at_checked(self.stream.length(*prefix))?;
        self.rest = rest;
        Some(message)
    }
}

/// Why a UDP payload is no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The format that its first bytes look like.
    pub format: FeedFormat,
    /// What is wrong.
    pub reason: PacketError,
    /// Where, from the beginning of the payload on.
    pub at: usize,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.format, self.reason) {
            (FeedFormat::IexTp, PacketError::TooShort) => {
                write!(f, "datagram is shorter than a packet header of {IEX_HEADER_BYTES} bytes")
            }
            (_, reason) => reason.fmt(f),
        }
    }
}

/// Stands for the bytes of a message where two are compared; never 0. It mixes eight bytes at a time by multiplication: two
/// messages that differ have the same once in 2^63, unless somebody made them so.
pub(crate) fn hash(message: &[u8]) -> u64 {
    let mut hash = message.len() as u64;
    for chunk in message.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        hash ^= hash >> 32;
    }
    hash | 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moldudp64(count: u16, blocks: &[u8]) -> Vec<u8> {
        [b"S         \0\0\0\0\0\0\0\x07", &count.to_be_bytes()[..], blocks].concat()
    }

    fn iex(first: u64, count: u16, blocks: &[u8]) -> Vec<u8> {
        let mut packet = vec![1, 0, 3, 0x80, 1, 0, 0, 0, 9, 0, 0, 0];
        packet.extend((blocks.len() as u16).to_le_bytes());
        packet.extend(count.to_le_bytes());
        packet.extend([0; 8]);
        packet.extend(first.to_le_bytes());
        packet.extend(5u64.to_le_bytes());
        [packet, blocks.to_vec()].concat()
    }

    #[test]
    fn both_formats_are_told_apart() {
        let payload = moldudp64(2, b"\0\x01a\0\0");
        let packet = FeedPacket::parse(&payload).unwrap();
        assert_eq!((packet.stream.to_string().as_str(), packet.first, packet.next()), ("S", 7, 9));
        assert_eq!(packet.messages(&payload).collect::<Vec<_>>(), [&b"a"[..], b""]);
        assert_eq!(packet.send_time_ns(&payload), None);
        let payload = iex(3, 1, b"\x01\0a");
        let packet = FeedPacket::parse(&payload).unwrap();
        assert_eq!((packet.stream.to_string().as_str(), packet.first, packet.next()), ("8003.1.9", 3, 4));
        assert_eq!(packet.messages(&payload).collect::<Vec<_>>(), [b"a"]);
        assert_eq!(packet.send_time_ns(&payload), Some(5));
    }

    #[test]
    fn a_request_is_sent_to_one_host() {
        let payload = moldudp64(2, b"");
        let request = Request::parse(&payload).unwrap();
        assert_eq!(Content::of(&payload, Ipv4Addr::LOCALHOST), Content::Request(request));
        let malformed = Malformed { format: FeedFormat::MoldUdp64, reason: PacketError::Truncated, at: 20 };
        assert_eq!(Content::of(&payload, Ipv4Addr::new(239, 1, 1, 1)), Content::Malformed(malformed));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let wrong = |payload: &[u8]| FeedPacket::parse(payload).map_err(|error| (error.format, error.reason, error.at));
        let (iex_tp, mold) = (FeedFormat::IexTp, FeedFormat::MoldUdp64);
        assert_eq!(wrong(b"hello"), Err((mold, PacketError::TooShort, 5)));
        assert_eq!(wrong(&moldudp64(2, b"\0\x01a\0\x02b")), Err((mold, PacketError::Truncated, 23)));
        assert_eq!(wrong(&moldudp64(1, b"\0\x01a!")), Err((mold, PacketError::TrailingBytes, 23)));
        assert_eq!(wrong(&moldudp64(0xFFFF, b"!")), Err((mold, PacketError::TrailingBytes, 20)));
        assert_eq!(wrong(b"\x01\0hello"), Err((iex_tp, PacketError::TooShort, 7)));
        assert_eq!(wrong(&iex(0, 1, b"\x01\0a")), Err((iex_tp, PacketError::SequenceZero, 24)));
        assert_eq!(wrong(&iex(u64::MAX, 1, b"\x01\0a")), Err((iex_tp, PacketError::SequenceOverflow, 24)));
        assert_eq!(wrong(&iex(1, 2, b"\x01\0a\x02\0b")), Err((iex_tp, PacketError::Truncated, 43)));
        assert_eq!(wrong(&iex(1, 1, b"\x01\0a\0\0")), Err((iex_tp, PacketError::TrailingBytes, 43)));
        let whole = iex(1, 1, b"\x01\0a");
        assert_eq!(wrong(&whole[..42]), Err((iex_tp, PacketError::Truncated, 12)));
    }
}
