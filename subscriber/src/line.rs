//! One line of a subscriber: where its packets come from.

use crate::error::{LineSourceError, OpenError, SOURCE};
use crate::intake::{BUSY_LINE, Intake};
use crate::path::{Arrival, Receive};
use crate::ring::{Beginning, RingLine};
use seqcast_recovery::{Line, Nanos};
use seqcast_transport::{
    BufferGrant, Inbox, Interface, LineAddress, MulticastReceiver, UnicastSocket, kernel_drops, set_busy_poll,
};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, io, str::FromStr};

/// Where a line's packets come from: `GROUP:PORT[@INTERFACE][,source=ADDRESS]`; where there is no multicast, a unicast
/// address of this host to listen at, `ADDRESS:PORT[,source=ADDRESS]`; on the publisher's own host, its retained ring,
/// `ring:FILE`.
///
/// * A ring is followed without a socket or a system call per message, and asked for what was missed: it needs no request
///   address. It need not be there yet, and may be replaced. There is nothing to wait for: with a ring line
///   [`Subscriber::timeout`](crate::Subscriber::timeout) is an eighth of the time for
///   which nothing has come, between 50 µs and 5 ms.
/// * Without an interface a group is joined on the builder's, which is loopback unless set otherwise.
/// * A unicast address and port belongs to one subscriber: several on one host need a port each.
/// * With a source, what comes from any other address is dropped and counted
///   ([`SubscriberCounters::other_sources`](crate::SubscriberCounters::other_sources)). Addresses can be forged: this keeps
///   mistakes out, not attackers.
/// * A group in 232.0.0.0/8 is joined for its source only, and needs one: a network that follows RFC 4607 brings nothing to
///   whoever joins such a group without. Any other group is joined whoever sends to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LineSource(Kind);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Socket {
        /// A group, or one unicast address without an interface.
        address: LineAddress,
        source: Option<Ipv4Addr>,
    },
    Ring(PathBuf),
}

/// What comes before the file of a ring.
const RING: &str = "ring:";

impl LineSource {
    /// The retained ring in this file.
    #[must_use]
    pub fn ring(file: impl Into<PathBuf>) -> Self {
        Self(Kind::Ring(file.into()))
    }

    /// The address to listen at, and the only sender to hear, unless it is a ring.
    #[must_use]
    pub fn address(&self) -> Option<(&LineAddress, Option<Ipv4Addr>)> {
        match &self.0 {
            Kind::Socket { address, source } => Some((address, *source)),
            Kind::Ring(_) => None,
        }
    }

    /// The file of the ring, if it is one.
    pub(crate) fn ring_file(&self) -> Option<&Path> {
        match &self.0 {
            Kind::Ring(file) => Some(file),
            Kind::Socket { .. } => None,
        }
    }
}

impl FromStr for LineSource {
    type Err = LineSourceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix(RING) {
            Some("") => return Err(LineSourceError::NoFile),
            Some(file) => return Ok(Self::ring(file)),
            None => {}
        }
        let (address, source) = match text.split_once(SOURCE) {
            Some((address, source)) => (address, Some(host(source)?)),
            None => (text, None),
        };
        let address: LineAddress = address.parse().map_err(LineSourceError::Address)?;
        match &address {
            LineAddress::Multicast(address) if address.is_source_specific() && source.is_none() => {
                return Err(LineSourceError::NoSource { group: address.group() });
            }
            LineAddress::Multicast(_) => {}
            LineAddress::Unicast(addresses) => match addresses.socket_addresses() {
                [_] if address.interface_name().is_none() => {}
                &[address] => return Err(LineSourceError::NeedlessInterface { address }),
                _ => return Err(LineSourceError::SeveralAddresses),
            },
        }
        Ok(Self(Kind::Socket { address, source }))
    }
}

/// Reads the address of a source.
fn host(text: &str) -> Result<Ipv4Addr, LineSourceError> {
    let is_host = |ip: &Ipv4Addr| !ip.is_multicast() && !ip.is_unspecified() && !ip.is_broadcast();
    text.parse().ok().filter(is_host).ok_or_else(|| LineSourceError::InvalidSource { text: text.to_owned() })
}

/// Written as it is parsed.
impl fmt::Display for LineSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Socket { address, source } => {
                address.fmt(f)?;
                source.map_or(Ok(()), |source| write!(f, "{SOURCE}{source}"))
            }
            Kind::Ring(file) => write!(f, "{RING}{}", file.display()),
        }
    }
}

/// What all lines of a subscriber have in common.
#[derive(Clone, Debug)]
pub(crate) struct LineSettings {
    pub(crate) interface: String,
    pub(crate) receive_buffer_bytes: Option<usize>,
    /// Whether the kernel may hand over what was sent together as one buffer.
    pub(crate) coalescing: bool,
    pub(crate) busy_poll: Option<Duration>,
    /// Whether the kernel tells when it took datagrams in.
    pub(crate) receive_times: bool,
}

/// Opens the line; returns its socket, and its interface unless it is a ring, which is followed from its beginning on.
pub(crate) fn open(
    line: Line,
    source: &LineSource,
    settings: &LineSettings,
    beginning: Beginning,
) -> Result<(LineSocket, Option<Interface>), OpenError> {
    let (address, source) = match &source.0 {
        Kind::Socket { address, source } => (address, source),
        Kind::Ring(file) => {
            let ring = RingLine::open(file, beginning).map_err(|error| OpenError::Ring(file.clone(), error))?;
            return Ok((LineSocket { socket: Socket::Ring(Box::new(ring)), source: None, other_sources: 0 }, None));
        }
    };
    let own_interface = match address {
        LineAddress::Multicast(_) => None,
        LineAddress::Unicast(addresses) => Some(addresses.socket_addresses()[0].ip().to_string()),
    };
    let interface = address
        .interface(own_interface.as_deref().unwrap_or(&settings.interface))
        .map_err(|error| OpenError::Interface(line, error))?;
    let receive_buffer_bytes = settings.receive_buffer_bytes;
    let socket = match (address, source) {
        (LineAddress::Multicast(group), Some(source)) if group.is_source_specific() => {
            MulticastReceiver::open_source(group, *source, &interface, receive_buffer_bytes).map(UdpSocket::Multicast)
        }
        (LineAddress::Multicast(group), _) => {
            MulticastReceiver::open(group, &interface, receive_buffer_bytes).map(UdpSocket::Multicast)
        }
        (LineAddress::Unicast(addresses), _) => {
            UnicastSocket::open(addresses.socket_addresses()[0], receive_buffer_bytes).map(UdpSocket::Unicast)
        }
    };
    let socket = socket.map_err(|error| OpenError::Line(line, error))?;
    let buffer = socket.buffer();
    let Interface { name, .. } = &interface;
    tracing::info!(
        ?line,
        %address,
        source = source.map(tracing::field::display),
        interface = name,
        receive_buffer_bytes = buffer.granted_bytes,
        "line {line:?} comes from {address} on {name}: {} bytes of receive buffer",
        buffer.granted_bytes,
    );
    warn_if_partial(&format_args!("line {line:?}"), buffer);
    if let Some(time) = settings.busy_poll {
        set_busy_poll(socket.as_raw_fd(), time).map_err(|error| OpenError::BusyPoll(line, error))?;
    }
    let intake = Intake::open(socket.as_raw_fd(), BUSY_LINE, settings.coalescing, settings.receive_times);
    let intake = intake.map_err(OpenError::ReceiveTimes)?;
    Ok((LineSocket { socket: Socket::Udp(socket, intake), source: *source, other_sources: 0 }, Some(interface)))
}

/// The socket of a line that is open.
#[derive(Debug)]
pub(crate) struct LineSocket {
    socket: Socket,
    source: Option<Ipv4Addr>,
    /// Datagrams from another source than the one that was set.
    pub(crate) other_sources: u64,
}

#[derive(Debug)]
enum Socket {
    Udp(UdpSocket, Intake),
    Ring(Box<RingLine>),
}

impl LineSocket {
    pub(crate) fn ring(&mut self) -> Option<&mut RingLine> {
        match &mut self.socket {
            Socket::Ring(ring) => Some(ring),
            Socket::Udp(..) => None,
        }
    }

    pub(crate) fn is_ring(&self) -> bool {
        matches!(self.socket, Socket::Ring(_))
    }

    /// The receive buffer that was granted, unless it is a ring.
    pub(crate) fn buffer(&self) -> Option<BufferGrant> {
        match &self.socket {
            Socket::Udp(socket, _) => Some(socket.buffer()),
            Socket::Ring(_) => None,
        }
    }

    /// When to look again, if nothing tells that something has come.
    pub(crate) fn look_at(&self) -> Option<Nanos> {
        match &self.socket {
            Socket::Ring(ring) => Some(ring.look_at()),
            Socket::Udp(..) => None,
        }
    }
}

#[derive(Debug)]
enum UdpSocket {
    Multicast(MulticastReceiver),
    Unicast(UnicastSocket),
}

impl UdpSocket {
    fn buffer(&self) -> BufferGrant {
        match self {
            Self::Multicast(socket) => socket.buffer(),
            Self::Unicast(socket) => socket.buffer(),
        }
    }

    /// Takes the next datagram into `buffer`: its length, and its sender if asked for.
    #[inline]
    fn recv(&self, buffer: &mut [u8], tells_sender: bool) -> io::Result<Option<(usize, Option<SocketAddrV4>)>> {
        let told = |(length, sender)| (length, Some(sender));
        let untold = |length| (length, None);
        Ok(match (self, tells_sender) {
            (Self::Multicast(socket), false) => socket.recv(buffer)?.map(untold),
            (Self::Multicast(socket), true) => socket.recv_from(buffer)?.map(told),
            (Self::Unicast(socket), false) => socket.recv(buffer)?.map(untold),
            (Self::Unicast(socket), true) => socket.recv_from(buffer)?.map(told),
        })
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Multicast(socket) => socket.as_raw_fd(),
            Self::Unicast(socket) => socket.as_raw_fd(),
        }
    }
}

impl Receive for LineSocket {
    /// The sender is looked at only when a source was set.
    #[inline]
    fn receive(&mut self, now: Nanos, inbox: &mut Inbox) -> io::Result<Arrival> {
        let (socket, intake) = match &mut self.socket {
            Socket::Ring(ring) => return Ok(ring.receive(now, inbox.spare())?.in_spare(inbox)),
            Socket::Udp(socket, intake) => (&*socket, intake),
        };
        let tells_sender = self.source.is_some();
        let received = intake.next(now, socket.as_raw_fd(), inbox, |buffer| socket.recv(buffer, tells_sender))?;
        let Some((place, sender)) = received else { return Ok(Arrival::Nothing) };
        match (self.source, sender) {
            (Some(source), Some(sender)) if *sender.ip() != source => {
                self.other_sources += 1;
                Ok(Arrival::Withheld)
            }
            _ => Ok(Arrival::Datagram(place)),
        }
    }

    fn fd(&self) -> Option<RawFd> {
        match &self.socket {
            Socket::Udp(socket, _) => Some(socket.as_raw_fd()),
            Socket::Ring(_) => None,
        }
    }
}

/// Says that a receive buffer is smaller than it should be.
pub(crate) fn warn_if_partial(what: &impl fmt::Display, buffer: BufferGrant) {
    let BufferGrant { asked_bytes, granted_bytes } = buffer;
    if let Some(asked_bytes) = asked_bytes.filter(|&asked_bytes| asked_bytes > granted_bytes) {
        tracing::warn!(
            "{what}: the receive buffer has {granted_bytes} bytes instead of {asked_bytes}; to allow more: \
             sysctl -w net.core.rmem_max={asked_bytes}; to ask for less: receive_buffer_bytes, --receive-buffer"
        );
    }
}

/// Follows the kernel's count of the datagrams that it dropped on one socket.
#[derive(Debug)]
pub(crate) struct DropCount {
    seen: u32,
}

impl DropCount {
    pub(crate) fn new(socket: &LineSocket) -> Self {
        Self { seen: socket.fd().and_then(kernel_drops).unwrap_or(0) }
    }

    /// How many were dropped since the last call.
    pub(crate) fn poll(&mut self, socket: &LineSocket) -> u32 {
        let count = socket.fd().and_then(kernel_drops).unwrap_or(self.seen);
        let new = count.wrapping_sub(self.seen);
        self.seen = count;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seqcast_transport::AddressError;

    fn refusal(text: &str) -> LineSourceError {
        text.parse::<LineSource>().unwrap_err()
    }

    #[test]
    fn source_is_written_as_it_was_read() {
        for text in [
            "239.1.1.1:30001",
            "239.1.1.1:30001@10.1.0.9,source=10.1.0.5",
            "232.1.1.1:30001,source=127.0.0.1",
            "10.1.0.9:30001",
            "10.1.0.9:30001,source=10.1.0.5",
            "ring:/dev/shm/EQ,source=1",
        ] {
            assert_eq!(text.parse::<LineSource>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn group_of_one_source_needs_one_and_names_the_mend() {
        let error = refusal("232.1.1.1:30001@lo");
        assert_eq!(error, LineSourceError::NoSource { group: Ipv4Addr::new(232, 1, 1, 1) });
        assert!(error.to_string().contains("`,source=ADDRESS`"), "{error}");
    }

    #[test]
    fn what_is_no_host_is_no_source() {
        for source in ["", "eth0", "239.1.1.1", "0.0.0.0", "255.255.255.255", "10.1.0.5:9", "10.1.0.5,source=10.1.0.6"]
        {
            let error = refusal(&format!("239.1.1.1:30001,source={source}"));
            assert_eq!(error, LineSourceError::InvalidSource { text: source.to_owned() });
        }
    }

    #[test]
    fn a_subscriber_listens_at_one_unicast_address_that_is_its_interface() {
        assert_eq!(refusal("127.0.0.1:1,127.0.0.1:2"), LineSourceError::SeveralAddresses);
        let address = "127.0.0.1:1".parse().unwrap();
        assert_eq!(refusal("127.0.0.1:1@lo"), LineSourceError::NeedlessInterface { address });
        assert_eq!(refusal("ring:"), LineSourceError::NoFile);
        assert_eq!(refusal("0.0.0.0:1"), LineSourceError::Address(AddressError::Unspecified));
    }
}
