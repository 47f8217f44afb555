//! One line of a publisher: where its packets go.

use crate::OpenError;
use seqcast_recovery::{Line, Network};
use seqcast_transport::{BufferGrant, Interface, MulticastAddress, MulticastAddressError, MulticastSender};
use std::{fmt, io, str::FromStr};

/// Where a line's packets go: `GROUP:PORT[@INTERFACE]`.
///
/// Without an interface it is the builder's, which is loopback unless set otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LineDestination(MulticastAddress);

impl LineDestination {
    /// The multicast group, its port, and the interface if one was named.
    #[must_use]
    pub const fn address(&self) -> &MulticastAddress {
        &self.0
    }
}

impl From<MulticastAddress> for LineDestination {
    fn from(address: MulticastAddress) -> Self {
        Self(address)
    }
}

impl FromStr for LineDestination {
    type Err = MulticastAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for LineDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What became of a packet that was handed to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Yes,
    /// The kernel took it not: a full buffer, a link that is down, a firewall. It is retained and will be asked for.
    Refused,
    /// It will never pass.
    TooLong,
}

/// A line that is open.
#[derive(Debug)]
pub(crate) struct LineSender {
    pub(crate) line: Line,
    pub(crate) is_loopback: bool,
    /// That of its interface.
    pub(crate) network: Network,
    sender: MulticastSender,
}

impl LineSender {
    /// Opens the line, for packets of at most `max_datagram` bytes.
    pub(crate) fn open(line: Line, destination: &LineDestination, settings: &LineSettings) -> Result<Self, OpenError> {
        let address = destination.address();
        let interface = address.interface(&settings.interface).map_err(|error| OpenError::Interface(line, error))?;
        check_mtu(line, &interface, settings.max_datagram)?;
        let sender = MulticastSender::open(address, &interface, settings.ttl, settings.send_buffer_bytes)
            .map_err(|error| OpenError::Line(line, error))?;
        let network = Network::new(interface.address, interface.prefix_length).expect("a prefix is at most 32 bits");
        Ok(Self { line, sender, is_loopback: interface.is_loopback, network })
    }

    /// Says when its send buffer is smaller than it should be.
    pub(crate) fn warn_if_partial(&self) {
        let BufferGrant { asked_bytes, granted_bytes } = self.sender.buffer();
        if let Some(asked_bytes) = asked_bytes.filter(|&asked_bytes| asked_bytes > granted_bytes) {
            tracing::warn!(
                "line {:?}: the send buffer has {granted_bytes} bytes instead of {asked_bytes}; to allow more: \
                 sysctl -w net.core.wmem_max={asked_bytes}",
                self.line
            );
        }
    }

    pub(crate) fn send(&self, packet: &[u8]) -> Sent {
        match self.sender.send(packet) {
            Ok(()) => Sent::Yes,
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => Sent::TooLong,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.send(packet),
            Err(_) => Sent::Refused,
        }
    }
}

/// What all lines of a publisher have in common.
#[derive(Clone, Debug)]
pub(crate) struct LineSettings {
    pub(crate) interface: String,
    pub(crate) ttl: u8,
    pub(crate) max_datagram: usize,
    pub(crate) send_buffer_bytes: Option<usize>,
}

fn check_mtu(line: Line, interface: &Interface, max_datagram: usize) -> Result<(), OpenError> {
    // 20 bytes of IPv4 header without options, 8 of UDP.
    if max_datagram + 28 > interface.mtu as usize {
        return Err(OpenError::Mtu { line, interface: interface.name.clone(), mtu: interface.mtu, max_datagram });
    }
    Ok(())
}
