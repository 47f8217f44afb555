//! Packets that leave together: one buffer, from which the kernel can cut a datagram each.

/// The most packets of a run: what every kernel that segments takes (`UDP_MAX_SEGMENTS` was 64 until Linux 6.9).
pub const MAX_RUN_PACKETS: usize = 64;

/// The most bytes of a run of several packets. With the headers of UDP, IP and Ethernet, 42 bytes, it is shorter than the 65,536 of
/// a network device's `gso_max_size`; what is not, Linux cuts in software even where nobody has to cut it (`gso_features_check`
/// of `net/core/dev.c`).
pub const MAX_RUN_BYTES: usize = 65_536 - 42 - 1;

/// Packets that lie one behind the other, all of one length but the last, which may be shorter.
///
/// Invariant: `1 <= packet_bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run<'a> {
    bytes: &'a [u8],
    packet_bytes: usize,
}

impl<'a> Run<'a> {
    pub(crate) const EMPTY: Self = Self { bytes: &[], packet_bytes: 1 };

    /// The packets of `packet_bytes` bytes each, 1 at least, that `bytes` are cut into.
    #[must_use]
    pub const fn new(bytes: &'a [u8], packet_bytes: usize) -> Self {
        Self { bytes, packet_bytes: if packet_bytes == 0 { 1 } else { packet_bytes } }
    }

    /// A run of one packet.
    #[must_use]
    pub const fn one(packet: &'a [u8]) -> Self {
        Self::new(packet, packet.len())
    }

    /// All packets.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The length of each packet but the last.
    #[must_use]
    pub const fn packet_bytes(&self) -> usize {
        self.packet_bytes
    }

    /// How many packets there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.bytes.len().div_ceil(self.packet_bytes)
    }

    /// Each packet, in order.
    pub fn packets(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        self.bytes.chunks(self.packet_bytes)
    }
}
