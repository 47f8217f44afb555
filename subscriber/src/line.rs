//! One line of a subscriber: where its packets come from.

use crate::OpenError;
use seqcast_recovery::Line;
use seqcast_transport::{
    BufferGrant, Interface, MulticastAddress, MulticastAddressError, MulticastReceiver, kernel_drops,
};
use std::os::fd::AsRawFd;
use std::{fmt, str::FromStr};

/// Where a line's packets come from: `GROUP:PORT[@INTERFACE]`.
///
/// Without an interface it is the builder's, which is loopback unless set otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LineSource(MulticastAddress);

impl LineSource {
    /// The multicast group, its port, and the interface if one was named.
    #[must_use]
    pub const fn address(&self) -> &MulticastAddress {
        &self.0
    }
}

impl From<MulticastAddress> for LineSource {
    fn from(address: MulticastAddress) -> Self {
        Self(address)
    }
}

impl FromStr for LineSource {
    type Err = MulticastAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for LineSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Opens the line; returns its socket and its interface.
pub(crate) fn open(
    line: Line,
    source: &LineSource,
    default_interface: &str,
    receive_buffer_bytes: Option<usize>,
) -> Result<(MulticastReceiver, Interface), OpenError> {
    let address = source.address();
    let interface = address.interface(default_interface).map_err(|error| OpenError::Interface(line, error))?;
    let receiver = MulticastReceiver::open(address, &interface, receive_buffer_bytes)
        .map_err(|error| OpenError::Line(line, error))?;
    warn_if_partial(&format_args!("line {line:?}"), receiver.buffer());
    Ok((receiver, interface))
}

/// Says that a receive buffer is smaller than it should be.
pub(crate) fn warn_if_partial(what: &impl fmt::Display, buffer: BufferGrant) {
    let BufferGrant { asked_bytes, granted_bytes } = buffer;
    if let Some(asked_bytes) = asked_bytes.filter(|&asked_bytes| asked_bytes > granted_bytes) {
        tracing::warn!(
            "{what}: the receive buffer has {granted_bytes} bytes instead of {asked_bytes}; to allow more: \
             sysctl -w net.core.rmem_max={asked_bytes}"
        );
    }
}

/// Follows the kernel's count of the datagrams that it dropped on one socket.
#[derive(Debug)]
pub(crate) struct DropCount {
    seen: u32,
}

impl DropCount {
    pub(crate) fn new(receiver: &MulticastReceiver) -> Self {
        Self { seen: kernel_drops(receiver.as_raw_fd()).unwrap_or(0) }
    }

    /// How many were dropped since the last call.
    pub(crate) fn poll(&mut self, receiver: &MulticastReceiver) -> u32 {
        let count = kernel_drops(receiver.as_raw_fd()).unwrap_or(self.seen);
        let new = count.wrapping_sub(self.seen);
        self.seen = count;
        new
    }
}
