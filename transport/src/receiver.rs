//! The receiving end of a line.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use socket2::{InterfaceIndexOrAddress, Socket};

use crate::address::MulticastAddress;
use crate::buffer::{Buffer, BufferGrant};
use crate::interface::Interface;
use crate::opening::{Opening, received};
use crate::socket_error::SocketError;
use crate::sys;
use crate::unicast::received_from;

/// A non-blocking socket that hears one multicast group on one interface, and nothing else.
///
/// Any number of receivers of one host share a group and port; each gets every datagram.
#[derive(Debug)]
pub struct MulticastReceiver {
    socket: UdpSocket,
    buffer: BufferGrant,
}

impl MulticastReceiver {
    /// Joins `address` on `interface`, whoever sends to it; the interface that the address may name is the caller's to
    /// resolve.
    ///
    /// # Errors
    ///
    /// Returns a [`SocketError`] that names the step which the kernel refused.
    pub fn open(
        address: &MulticastAddress,
        interface: &Interface,
        receive_buffer_bytes: Option<usize>,
    ) -> Result<Self, SocketError> {
        Self::open_and_join(address, interface, receive_buffer_bytes, |socket| {
            socket.join_multicast_v4_n(&address.group(), &InterfaceIndexOrAddress::Index(interface.index))
        })
    }

    /// Joins `address` on `interface` for what `source` sends to it: routers bring nothing else, and the kernel passes
    /// nothing else (RFC 4607).
    ///
    /// # Errors
    ///
    /// Returns a [`SocketError`] that names the step which the kernel refused.
    pub fn open_source(
        address: &MulticastAddress,
        source: Ipv4Addr,
        interface: &Interface,
        receive_buffer_bytes: Option<usize>,
    ) -> Result<Self, SocketError> {
        Self::open_and_join(address, interface, receive_buffer_bytes, |socket| {
            sys::join_source(socket.as_raw_fd(), interface.index, address.group(), source)
        })
    }

    fn open_and_join(
        address: &MulticastAddress,
        interface: &Interface,
        receive_buffer_bytes: Option<usize>,
        join: impl FnOnce(&Socket) -> io::Result<()>,
    ) -> Result<Self, SocketError> {
        let opening = Opening::new(&format_args!("{} on {interface}", address.socket_address()))?;
        opening.step("set SO_REUSEADDR", |socket| socket.set_reuse_address(true))?;
        // Off, so that a group which another socket joined on another interface is not heard here.
        opening.confirm("set IP_MULTICAST_ALL", |socket| {
            socket.set_multicast_all_v4(false)?;
            Ok((false, socket.multicast_all_v4()?))
        })?;
        // Before joining, so that the first datagrams find it.
        let buffer = opening.grant(Buffer::Receive, receive_buffer_bytes)?;
        opening.bind(address.socket_address())?;
        opening.step("join the group", join)?;
        Ok(Self { socket: opening.socket.into(), buffer })
    }

    /// Takes the next datagram into `buffer` and returns its length, or `None` when there is none.
    ///
    /// A datagram longer than `buffer` would be cut without notice, so the caller passes
    /// [`DATAGRAM_BUFFER_BYTES`](crate::DATAGRAM_BUFFER_BYTES), which none exceeds.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error, such as `ENETDOWN` when the interface went down.
    #[inline]
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        received(|| self.socket.recv(buffer))
    }

    /// As [`Self::recv`], and returns the sender too.
    ///
    /// # Errors
    ///
    /// As [`Self::recv`].
    #[inline]
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<Option<(usize, SocketAddrV4)>> {
        received_from(&self.socket, buffer)
    }

    /// The receive buffer that was granted.
    #[must_use]
    pub const fn buffer(&self) -> BufferGrant {
        self.buffer
    }
}

impl AsRawFd for MulticastReceiver {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;

    use super::*;
    use crate::MulticastSender;
    use crate::testing::{drained, group, loopback, next_datagram};

    #[test]
    fn two_receivers_of_one_group_both_get_everything() {
        let address = group(21);
        let receivers = [(); 2].map(|()| MulticastReceiver::open(&address, &loopback(), Some(1 << 20)).unwrap());
        let sender = MulticastSender::open(&address, &loopback(), 1, None).unwrap();
        let sent: Vec<Vec<u8>> = (0..100u8).map(|number| vec![number; usize::from(number)]).collect();
        for datagram in &sent {
            sender.send(datagram).unwrap();
        }
        for receiver in &receivers {
            let heard: Vec<_> = sent.iter().filter_map(|_| next_datagram(receiver)).collect();
            assert_eq!(heard, sent);
            assert!(drained(receiver));
        }
    }

    #[test]
    fn receiver_of_another_group_on_the_same_port_hears_nothing() {
        let address = group(22);
        let other = MulticastAddress::new("239.255.77.23".parse().unwrap(), address.port(), None).unwrap();
        let receiver = MulticastReceiver::open(&address, &loopback(), None).unwrap();
        let stranger = MulticastReceiver::open(&other, &loopback(), None).unwrap();
        let sender = MulticastSender::open(&address, &loopback(), 1, None).unwrap();
        sender.send(b"tick").unwrap();
        assert_eq!(next_datagram(&receiver).unwrap(), b"tick");
        assert!(drained(&stranger));
    }

    #[test]
    fn unicast_to_the_port_is_not_heard() {
        let address = group(24);
        let receiver = MulticastReceiver::open(&address, &loopback(), None).unwrap();
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        stranger.send_to(b"tick", ("127.0.0.1", address.port())).unwrap();
        assert!(drained(&receiver));
    }

    #[test]
    fn group_that_only_a_neighbour_joined_is_not_heard() {
        let address = group(25);
        let neighbour = MulticastReceiver::open(&address, &loopback(), None).unwrap();
        let receiver = MulticastReceiver::open(&address, &loopback(), None).unwrap();
        let sender = MulticastSender::open(&address, &loopback(), 1, None).unwrap();
        let index = InterfaceIndexOrAddress::Index(loopback().index);
        SockRef::from(&receiver.socket).leave_multicast_v4_n(&address.group(), &index).unwrap();
        sender.send(b"tick").unwrap();
        assert_eq!(next_datagram(&neighbour).unwrap(), b"tick");
        assert!(drained(&receiver));
    }

    /// A sender on loopback that is another host to whoever looks at the address.
    fn sender_from(last: u8, address: &MulticastAddress) -> MulticastSender {
        let interface = Interface { address: Ipv4Addr::new(127, 0, 0, last), ..loopback() };
        MulticastSender::open(address, &interface, 1, None).unwrap()
    }

    #[test]
    fn joined_for_one_source_hears_no_other() {
        let address = MulticastAddress::new(Ipv4Addr::new(232, 255, 77, 27), group(27).port(), None).unwrap();
        let senders = [sender_from(1, &address), sender_from(2, &address)];
        let everyone = MulticastReceiver::open(&address, &loopback(), None).unwrap();
        for heard in [0, 1] {
            let source = *senders[heard].local_address().unwrap().ip();
            let receiver = MulticastReceiver::open_source(&address, source, &loopback(), None).unwrap();
            senders[1 - heard].send(b"other").unwrap();
            senders[heard].send(b"tick").unwrap();
            assert_eq!(next_datagram(&receiver).unwrap(), b"tick");
            assert!(drained(&receiver));
            let both = [next_datagram(&everyone).unwrap(), next_datagram(&everyone).unwrap()];
            assert_eq!(both, [&b"other"[..], b"tick"]);
        }
    }

    #[test]
    fn sender_is_told_to_who_asks() {
        let address = group(28);
        let receiver = MulticastReceiver::open(&address, &loopback(), None).unwrap();
        let sender = sender_from(3, &address);
        sender.send(b"tick").unwrap();
        assert!(!drained(&receiver));
        let from = sender.local_address().unwrap();
        assert_eq!(receiver.recv_from(&mut [0; 16]).unwrap(), Some((4, from)));
        assert_eq!(receiver.recv_from(&mut [0; 16]).unwrap(), None);
    }

    #[test]
    fn empty_queue_is_none() {
        let receiver = MulticastReceiver::open(&group(26), &loopback(), None).unwrap();
        assert_eq!(receiver.recv(&mut [0; 16]).unwrap(), None);
    }
}
