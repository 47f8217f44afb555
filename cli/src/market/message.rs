//! The layout of ITCH 5.0: fields one after the other, big-endian, unpadded.

use super::BUFFER_BYTES;

/// Writes one message into a buffer, field by field.
pub(super) struct Writer<'a> {
    buffer: &'a mut [u8; BUFFER_BYTES],
    length: usize,
}

impl<'a> Writer<'a> {
    /// Begins with what all messages begin with: type, stock locate (0 for the whole market), tracking number, time.
    pub(super) fn new(buffer: &'a mut [u8; BUFFER_BYTES], kind: u8, symbol: Option<u16>, time_ns: u64) -> Self {
        let locate = symbol.map_or(0, |symbol| symbol + 1);
        let time = time_ns.to_be_bytes();
        Self { buffer, length: 0 }.bytes(&[kind]).bytes(&locate.to_be_bytes()).bytes(&[0, 0]).bytes(&time[2..])
    }

    pub(super) fn bytes(self, bytes: &[u8]) -> Self {
        let end = self.length + bytes.len();
        self.buffer[self.length..end].copy_from_slice(bytes);
        Self { length: end, ..self }
    }

    pub(super) fn u32(self, number: u32) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    pub(super) fn u64(self, number: u64) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    /// The name of a symbol: eight characters, padded with spaces.
    pub(super) fn stock(self, symbol: u16) -> Self {
        let [first, second] = [symbol / 26, symbol % 26].map(|digit| b'A' + digit as u8);
        self.bytes(&[b'Z', first, second, b'T', b' ', b' ', b' ', b' '])
    }

    pub(super) const fn length(self) -> usize {
        self.length
    }
}
