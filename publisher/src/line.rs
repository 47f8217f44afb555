//! One line of a publisher: where its packets go.

use crate::OpenError;
use seqcast_recovery::{Line, Network};
use seqcast_transport::{AddressError, BufferGrant, Interface, LineAddress, MulticastSender, UnicastSender};
use std::{fmt, io, str::FromStr};

/// Where a line's packets go: `GROUP:PORT[@INTERFACE]`, or where there is no multicast, a list of unicast destinations
/// `ADDRESS:PORT[,ADDRESS:PORT]...[@INTERFACE]`.
///
/// Without an interface it is the builder's, which is loopback unless set otherwise. A list has at most 32 destinations,
/// each of which gets a copy of every packet, heartbeat and end of session, by a system call of its own; whether anybody
/// listens there makes no difference, and what is too long for the way to one of them counts as refused. The copies leave
/// with the interface's address; the kernel's routes choose their way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LineDestination(LineAddress);

impl FromStr for LineDestination {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for LineDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What became of a copy of a packet that was handed to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Yes,
    /// The kernel took it not: a full buffer, a link that is down, a firewall, a way to one of several destinations that
    /// carries less. It is retained and will be asked for.
    Refused,
    /// It will never pass.
    TooLong,
}

/// A line that is open.
#[derive(Debug)]
pub(crate) struct LineSender {
    pub(crate) line: Line,
    pub(crate) is_loopback: bool,
    /// Where those are who hear it: on its interface's network, or at one of its unicast destinations.
    pub(crate) networks: Vec<Network>,
    sender: Sender,
}

#[derive(Debug)]
enum Sender {
    Multicast(MulticastSender),
    Unicast(UnicastSender),
}

impl LineSender {
    /// Opens the line, for packets of at most `max_datagram` bytes.
    pub(crate) fn open(line: Line, destination: &LineDestination, settings: &LineSettings) -> Result<Self, OpenError> {
        let LineDestination(address) = destination;
        let interface = address.interface(&settings.interface).map_err(|error| OpenError::Interface(line, error))?;
        check_mtu(line, &interface, settings.max_datagram)?;
        let sender = match address {
            LineAddress::Multicast(group) => {
                let ttl = settings.ttl.unwrap_or(1);
                MulticastSender::open(group, &interface, ttl, settings.send_buffer_bytes).map(Sender::Multicast)
            }
            LineAddress::Unicast(addresses) => {
                UnicastSender::open(addresses, &interface, settings.ttl, settings.send_buffer_bytes)
                    .map(Sender::Unicast)
            }
        };
        let sender = sender.map_err(|error| OpenError::Line(line, error))?;
        let mut networks = vec![(interface.address, interface.prefix_length)];
        if let Sender::Unicast(sender) = &sender {
            networks.extend(sender.destinations().iter().map(|destination| (*destination.ip(), 32)));
        }
        let network = |(address, length)| Network::new(address, length).expect("a prefix is at most 32 bits");
        let networks = networks.into_iter().map(network).collect();
        Ok(Self { line, is_loopback: interface.is_loopback, networks, sender })
    }

    /// Says when its send buffer is smaller than it should be.
    pub(crate) fn warn_if_partial(&self) {
        let BufferGrant { asked_bytes, granted_bytes } = match &self.sender {
            Sender::Multicast(sender) => sender.buffer(),
            Sender::Unicast(sender) => sender.buffer(),
        };
        if let Some(asked_bytes) = asked_bytes.filter(|&asked_bytes| asked_bytes > granted_bytes) {
            tracing::warn!(
                "line {:?}: the send buffer has {granted_bytes} bytes instead of {asked_bytes}; to allow more: \
                 sysctl -w net.core.wmem_max={asked_bytes}",
                self.line
            );
        }
    }

    /// Hands the kernel a copy for each destination and says what became of it; a group is one destination.
    #[inline]
    pub(crate) fn send(&self, packet: &[u8], mut on_copy: impl FnMut(Sent)) {
        match &self.sender {
            Sender::Multicast(sender) => on_copy(sent(|| sender.send(packet))),
            Sender::Unicast(sender) => {
                for &destination in sender.destinations() {
                    on_copy(match sent(|| sender.send_to(packet, destination)) {
                        // The network may narrow the way to one destination, which is no reason to stop for the others.
                        Sent::TooLong => Sent::Refused,
                        sent => sent,
                    });
                }
            }
        }
    }
}

#[inline]
fn sent(send: impl Fn() -> io::Result<()>) -> Sent {
    match send() {
        Ok(()) => Sent::Yes,
        Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => Sent::TooLong,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => sent(send),
        Err(_) => Sent::Refused,
    }
}

/// What all lines of a publisher have in common.
#[derive(Clone, Debug)]
pub(crate) struct LineSettings {
    pub(crate) interface: String,
    /// `None`: 1 for a group, the system's default for unicast destinations.
    pub(crate) ttl: Option<u8>,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn open(destination: &str) -> LineSender {
        let settings = LineSettings {
            interface: "127.0.0.1".to_owned(),
            ttl: None,
            max_datagram: 1_472,
            send_buffer_bytes: Some(1 << 20),
        };
        LineSender::open(Line::A, &destination.parse().unwrap(), &settings).unwrap()
    }

    fn copies(destination: &str, packet: &[u8]) -> Vec<Sent> {
        let mut copies = Vec::new();
        open(destination).send(packet, |sent| copies.push(sent));
        copies
    }

    #[test]
    fn every_destination_gets_a_copy() {
        assert_eq!(copies("239.255.78.102:9", b"packet"), [Sent::Yes]);
        assert_eq!(copies("127.0.0.1:9,127.0.0.2:9,127.0.0.1:10", b"packet"), [Sent::Yes; 3]);
    }

    #[test]
    fn a_line_is_heard_on_its_interfaces_network_and_at_its_destinations() {
        let networks = |destination| open(destination).networks.iter().map(Network::to_string).collect::<Vec<_>>();
        assert_eq!(networks("239.255.78.106:9"), ["127.0.0.0/8"]);
        assert_eq!(networks("127.0.0.1:9,127.0.0.2:9"), ["127.0.0.0/8", "127.0.0.1/32", "127.0.0.2/32"]);
    }

    #[test]
    fn what_is_too_long_for_one_of_several_destinations_is_not_told_as_an_error_of_the_line() {
        // A byte more than any UDP datagram has.
        let packet = vec![0; 65_508];
        assert_eq!(copies("239.255.78.102:9", &packet), [Sent::TooLong]);
        assert_eq!(copies("127.0.0.1:9,127.0.0.2:9", &packet), [Sent::Refused; 2]);
    }

    #[test]
    fn packet_that_just_passes_the_interface_is_the_longest() {
        let interface = Interface { mtu: 1_500, ..Interface::resolve("127.0.0.1").unwrap() };
        check_mtu(Line::B, &interface, 1_472).unwrap();
        let error = check_mtu(Line::B, &interface, 1_473).unwrap_err().to_string();
        assert!(error.contains("line B") && error.ends_with("at most 1472 fit"), "{error}");
    }
}
