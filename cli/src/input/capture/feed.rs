//! The two packet formats of a feed: IEX-TP and MoldUDP64.
//!
//! Both number messages, not packets, and put a length of 2 bytes before each; a packet without messages carries the
//! next number. Their first bytes differ enough for neither to be taken for the other: what is valid to the last byte
//! as one is never valid as the other, except by a session that somebody made up for it.

use seqcast_protocol::{HEADER_BYTES, LENGTH_BYTES, Packet, SessionId};

/// IEX Transport Protocol 1.25: the header, little-endian.
const IEX_HEADER_BYTES: usize = 40;

/// Which numbered stream a packet belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamId {
    /// Bytes 2 to 11 of IEX-TP: message protocol, channel, session.
    Iex([u8; 10]),
    MoldUdp64(SessionId),
}

impl StreamId {
    /// Whether both are of the same packet format.
    pub(super) const fn is_like(self, other: Self) -> bool {
        matches!((self, other), (Self::Iex(_), Self::Iex(_)) | (Self::MoldUdp64(_), Self::MoldUdp64(_)))
    }

    /// Where the blocks of a packet begin.
    pub(super) const fn blocks_at(self) -> usize {
        match self {
            Self::Iex(_) => IEX_HEADER_BYTES,
            Self::MoldUdp64(_) => HEADER_BYTES,
        }
    }

    /// The length in front of a block.
    pub(super) const fn length(self, prefix: [u8; LENGTH_BYTES]) -> usize {
        match self {
            Self::Iex(_) => u16::from_le_bytes(prefix) as usize,
            Self::MoldUdp64(_) => u16::from_be_bytes(prefix) as usize,
        }
    }
}

/// The header of a valid packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FeedPacket {
    pub(super) stream: StreamId,
    /// The number of the first message, or the next number when there is none.
    pub(super) first: u64,
    /// How many messages there are.
    pub(super) count: u16,
}

impl FeedPacket {
    /// Validates a UDP payload to its last byte.
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        Self::parse_iex(payload).or_else(|| {
            let packet = Packet::parse(payload).ok()?;
            let stream = StreamId::MoldUdp64(packet.session());
            Some(Self { stream, first: packet.sequence(), count: packet.message_count() })
        })
    }

    fn parse_iex(payload: &[u8]) -> Option<Self> {
        let (header, mut blocks) = payload.split_first_chunk::<IEX_HEADER_BYTES>()?;
        let length = usize::from(u16::from_le_bytes(*header[12..].first_chunk()?));
        let count = u16::from_le_bytes(*header[14..].first_chunk()?);
        let first = u64::from_le_bytes(*header[24..].first_chunk()?);
        if header[0] != 1 || blocks.len() != length || first.checked_add(u64::from(count)).is_none() {
            return None;
        }
        if count > 0 && first == 0 {
            return None;
        }
        let stream = StreamId::Iex(*header[2..].first_chunk()?);
        for _ in 0..count {
            let (prefix, rest) = blocks.split_first_chunk::<LENGTH_BYTES>()?;
            blocks = rest.get(stream.length(*prefix)..)?;
        }
        blocks.is_empty().then_some(Self { stream, first, count })
    }
}
