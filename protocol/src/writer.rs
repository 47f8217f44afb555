//! A downstream packet, written: messages go behind a header that is filled in last.

use crate::error::PacketFull;
use crate::header::{HEADER_BYTES, Header, LENGTH_BYTES, MAX_MESSAGES};
use crate::{SequenceNumber, SequenceRange, SessionId};

/// The longest message there can be, in bytes.
pub const MAX_MESSAGE_BYTES: usize = u16::MAX as usize;

/// Builds one packet in a buffer that the caller owns; the buffer's length is the packet's limit.
///
/// ```
/// use seqcast_protocol::{Packet, PacketWriter};
/// let mut buffer = [0; 64];
/// let mut writer = PacketWriter::new(&mut buffer, "DEMO".parse()?, 7);
/// writer.push(b"hello")?;
/// let packet = Packet::parse(writer.finish())?;
/// assert_eq!((packet.sequence(), packet.messages().next()), (7, Some(&b"hello"[..])));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PacketWriter<'a> {
    buffer: &'a mut [u8],
    session: SessionId,
    first: SequenceNumber,
    count: u16,
    used: usize,
}

impl<'a> PacketWriter<'a> {
    /// Starts a packet whose first message is number `first`.
    ///
    /// # Panics
    ///
    /// When `buffer` is shorter than a header.
    #[must_use]
    pub fn new(buffer: &'a mut [u8], session: SessionId, first: SequenceNumber) -> Self {
        assert!(buffer.len() >= HEADER_BYTES, "a packet needs a buffer of at least {HEADER_BYTES} bytes");
        Self { buffer, session, first, count: 0, used: HEADER_BYTES }
    }

    /// Appends one message.
    ///
    /// # Errors
    ///
    /// When the message does not fit; the packet stays as it was.
    pub fn push(&mut self, message: &[u8]) -> Result<(), PacketFull> {
        let length = u16::try_from(message.len()).map_err(|_| PacketFull)?;
        let end = self.used + LENGTH_BYTES + message.len();
        if self.count == MAX_MESSAGES || end > self.buffer.len() {
            return Err(PacketFull);
        }
        let (prefix, body) = self.buffer[self.used..end].split_at_mut(LENGTH_BYTES);
        prefix.copy_from_slice(&length.to_be_bytes());
        body.copy_from_slice(message);
        self.used = end;
        self.count += 1;
        Ok(())
    }

    /// The numbers of the messages so far.
    #[must_use]
    pub fn range(&self) -> SequenceRange {
        SequenceRange::with_count(self.first, u64::from(self.count))
    }

    /// Writes the header and hands out the packet. Without a message it is a heartbeat.
    #[must_use]
    pub fn finish(self) -> &'a [u8] {
        let header = Header::new(self.session, self.first, self.count);
        self.buffer[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        &self.buffer[..self.used]
    }
}
