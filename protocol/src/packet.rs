//! A downstream packet, read: parsed and validated once, infallible after.

use crate::error::PacketError;
use crate::header::{END_OF_SESSION, HEADER_BYTES, HEARTBEAT, Header, LENGTH_BYTES};
use crate::{SequenceNumber, SequenceRange, SessionId};
use zerocopy::FromBytes;

/// What a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketKind {
    /// It carries at least one message.
    Data,
    /// It carries none and says which number comes next.
    Heartbeat,
    /// It carries none and says that no number from its own on will ever come.
    EndOfSession,
}

/// A valid downstream packet that borrows the datagram it came in.
///
/// Invariants, established by [`Packet::parse`]: the blocks hold exactly `count` messages and nothing else;
/// `sequence + count <= u64::MAX`; `sequence >= 1` when there are messages.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    header: &'a Header,
    blocks: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Validates one datagram, to its last byte.
    ///
    /// # Errors
    ///
    /// Says why `datagram` is not a packet. No input panics.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, PacketError> {
        match Self::split_first(datagram)? {
            (packet, []) => Ok(packet),
            _ => Err(PacketError::TrailingBytes),
        }
    }

    /// Takes the first packet off bytes in which several lie one behind the other: it, and the bytes behind it.
    ///
    /// # Errors
    ///
    /// Says why `bytes` do not begin with a packet. No input panics.
    #[inline]
    pub fn split_first(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), PacketError> {
        let (header, blocks) = Header::ref_from_prefix(bytes).map_err(|_| PacketError::TooShort)?;
        let packet = Self { header, blocks };
        let count = packet.range().count();
        if count > 0 && packet.sequence() == 0 {
            return Err(PacketError::SequenceZero);
        }
        if count != u64::from(packet.message_count()) {
            return Err(PacketError::SequenceOverflow);
        }
        let mut rest = blocks;
        for _ in 0..count {
            (_, rest) = split_block(rest).ok_or(PacketError::Truncated)?;
        }
        Ok((Self { blocks: &blocks[..blocks.len() - rest.len()], ..packet }, rest))
    }

    /// The session that the packet belongs to.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.header.session
    }

    /// The number of the first message; without messages, the next number of the session.
    #[must_use]
    pub fn sequence(&self) -> SequenceNumber {
        self.header.sequence.get()
    }

    /// What the packet is for.
    #[must_use]
    pub fn kind(&self) -> PacketKind {
        match self.header.count.get() {
            HEARTBEAT => PacketKind::Heartbeat,
            END_OF_SESSION => PacketKind::EndOfSession,
            _ => PacketKind::Data,
        }
    }

    /// How many messages there are, `0..=0xFFFE`.
    #[must_use]
    pub fn message_count(&self) -> u16 {
        match self.header.count.get() {
            END_OF_SESSION => 0,
            count => count,
        }
    }

    /// The numbers of the messages; empty at the next number when there are none.
    #[must_use]
    pub fn range(&self) -> SequenceRange {
        SequenceRange::with_count(self.sequence(), u64::from(self.message_count()))
    }

    /// Everything behind the header: each message behind its length.
    #[must_use]
    pub fn blocks(&self) -> &'a [u8] {
        self.blocks
    }

    /// The messages, in order.
    #[must_use]
    pub fn messages(&self) -> Blocks<'a> {
        Blocks::new(self.blocks)
    }
}

/// Walks through message blocks, each a 2-byte big-endian length and that many bytes; ends at the first that is not
/// whole.
#[derive(Clone, Debug)]
pub struct Blocks<'a> {
    rest: &'a [u8],
}

impl<'a> Blocks<'a> {
    /// Starts at the first block of `blocks`.
    #[must_use]
    pub const fn new(blocks: &'a [u8]) -> Self {
        Self { rest: blocks }
    }

    /// What has not been walked through yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let (message, rest) = split_block(self.rest)?;
        self.rest = rest;
        Some(message)
    }
}

/// Takes the first block off: its message, and the bytes after it; `None` when it is not whole.
#[inline]
fn split_block(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

const _: () = assert!(size_of::<Header>() == HEADER_BYTES && align_of::<Header>() == 1);
