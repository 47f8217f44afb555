//! The 20 bytes that begin every downstream packet, and that are all of a heartbeat, an end of session or a request.

use crate::{SequenceNumber, SessionId};
use zerocopy::byteorder::big_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The length of a header, and of a request, in bytes.
pub const HEADER_BYTES: usize = 20;

/// The length of the prefix of each message, in bytes; it does not count itself.
pub const LENGTH_BYTES: usize = 2;

/// The message count of a heartbeat.
pub const HEARTBEAT: u16 = 0;

/// The message count of an end of session.
pub const END_OF_SESSION: u16 = 0xFFFF;

/// The most messages that one packet can carry.
pub const MAX_MESSAGES: u16 = 0xFFFE;

/// A header as it stands on the wire, big-endian, without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Header {
    pub(crate) session: SessionId,
    pub(crate) sequence: U64,
    pub(crate) count: U16,
}

impl Header {
    /// A header of these three fields; `count` is taken as it is.
    #[must_use]
    pub const fn new(session: SessionId, sequence: SequenceNumber, count: u16) -> Self {
        Self { session, sequence: U64::new(sequence), count: U16::new(count) }
    }

    /// A heartbeat: the next number that will be published is `next`.
    #[must_use]
    pub const fn heartbeat(session: SessionId, next: SequenceNumber) -> Self {
        Self::new(session, next, HEARTBEAT)
    }

    /// An end of session: `next` is one past the last number there ever will be.
    #[must_use]
    pub const fn end_of_session(session: SessionId, next: SequenceNumber) -> Self {
        Self::new(session, next, END_OF_SESSION)
    }

    /// The header as it stands on the wire.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        zerocopy::transmute!(self)
    }
}
