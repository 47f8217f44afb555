//! A request: the 20 bytes with which a subscriber asks for a range of numbers.

use crate::error::RequestError;
use crate::header::{HEADER_BYTES, Header};
use crate::{SequenceRange, SessionId};
use zerocopy::FromBytes;

/// Asks for the messages `range` of `session`.
///
/// Invariant: `1 <= range.start()` and `1 <= range.count() <= 0xFFFF`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    session: SessionId,
    range: SequenceRange,
}

impl Request {
    /// Asks for `range`, cut to the 65,535 numbers that a request can name.
    ///
    /// # Errors
    ///
    /// When `range` is empty or starts at 0.
    pub const fn new(session: SessionId, range: SequenceRange) -> Result<Self, RequestError> {
        if range.start() == 0 {
            return Err(RequestError::SequenceZero);
        }
        if range.is_empty() {
            return Err(RequestError::CountZero);
        }
        let count = if range.count() < 0xFFFF { range.count() } else { 0xFFFF };
        Ok(Self { session, range: SequenceRange::with_count(range.start(), count) })
    }

    /// Validates one datagram.
    ///
    /// # Errors
    ///
    /// Says why `datagram` is not a request. No input panics.
    pub fn parse(datagram: &[u8]) -> Result<Self, RequestError> {
        let header = Header::ref_from_bytes(datagram).map_err(|_| RequestError::Length)?;
        Self::new(header.session, SequenceRange::with_count(header.sequence.get(), u64::from(header.count.get())))
    }

    /// The session asked for; blank when the sender knows none.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// The numbers asked for.
    #[must_use]
    pub const fn range(&self) -> SequenceRange {
        self.range
    }

    /// The request as it stands on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        Header::new(self.session, self.range.start(), self.range.count() as u16).to_bytes()
    }
}
