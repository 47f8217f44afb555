//! Why bytes are not what they should be. Every variant is a reason under which a receiver counts a datagram; none
//! carries data from the wire, so that counting one never allocates.

use core::fmt;

/// Why a datagram is not a downstream packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PacketError {
    /// It is shorter than the 20 bytes of a header.
    TooShort,
    /// A message reaches past the end of the datagram.
    Truncated,
    /// Bytes follow the last message, so the count and the length disagree.
    TrailingBytes,
    /// It carries messages from number 0 on; the first number of a session is 1.
    SequenceZero,
    /// Its numbers do not fit into 64 bits.
    SequenceOverflow,
}

impl PacketError {
    /// Every reason, in the order of their discriminants.
    pub const ALL: [Self; 5] =
        [Self::TooShort, Self::Truncated, Self::TrailingBytes, Self::SequenceZero, Self::SequenceOverflow];

    /// The reason as one stable word of lower-case letters, for counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::Truncated => "truncated",
            Self::TrailingBytes => "trailing_bytes",
            Self::SequenceZero => "sequence_zero",
            Self::SequenceOverflow => "sequence_overflow",
        }
    }
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooShort => "datagram is shorter than a packet header of 20 bytes",
            Self::Truncated => "a message reaches past the end of the datagram",
            Self::TrailingBytes => "bytes follow the last message",
            Self::SequenceZero => "messages are numbered from 0, the first number is 1",
            Self::SequenceOverflow => "sequence numbers exceed 64 bits",
        })
    }
}

impl core::error::Error for PacketError {}

/// Why a datagram is not a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RequestError {
    /// It is not exactly 20 bytes long.
    Length,
    /// It asks for no message at all.
    CountZero,
    /// It asks from number 0 on; the first number of a session is 1.
    SequenceZero,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "a request is exactly 20 bytes",
            Self::CountZero => "the request asks for no message",
            Self::SequenceZero => "the request starts at number 0, the first number is 1",
        })
    }
}

impl core::error::Error for RequestError {}

/// Why text does not name a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionIdError {
    /// It is empty or longer than ten bytes.
    Length,
    /// It holds something other than printable ASCII.
    NotPrintable,
    /// It is all zeros or all spaces, which requests use for "whatever session you have".
    Blank,
    /// It is the word `any`, which subscribers use for "the first session heard".
    Reserved,
}

impl fmt::Display for SessionIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "a session is 1 to 10 characters long",
            Self::NotPrintable => "a session consists of printable ASCII characters",
            Self::Blank => "a session cannot be all zeros or all spaces",
            Self::Reserved => "a session cannot be called 'any'",
        })
    }
}

impl core::error::Error for SessionIdError {}

/// A packet under construction has no room for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketFull;

impl fmt::Display for PacketFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the packet has no room for this message")
    }
}

impl core::error::Error for PacketFull {}
