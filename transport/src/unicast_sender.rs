//! The sending end of a line where there is no multicast.

use std::io;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use seqcast_recovery::Run;

use crate::address::UnicastAddresses;
use crate::buffer::{Buffer, BufferGrant};
use crate::connected::ConnectedSocket;
use crate::interface::Interface;
use crate::messages;
use crate::opening::Opening;
use crate::socket_error::{SET_TTL, SocketError};

/// A non-blocking socket that sends to each of a list of addresses. It is connected to none of them, so that no send
/// fails because nobody listens at one of them.
///
/// A datagram whose payload exceeds the path's MTU less 28 bytes is refused, never fragmented.
#[derive(Debug)]
pub struct UnicastSender {
    socket: UdpSocket,
    destinations: Vec<SocketAddrV4>,
    buffer: BufferGrant,
}

impl UnicastSender {
    /// Opens a sender to `addresses` with the address of `interface`; the interface that they may name is the caller's to
    /// resolve. The kernel's routes choose the way. Nothing is sent.
    ///
    /// `ttl` ∈ 1..=255 is the number of networks a datagram may cross; `None` leaves the system's default.
    ///
    /// # Errors
    ///
    /// Returns a [`SocketError`] that names the step which the kernel refused; also when no route leads to one of the
    /// addresses, or one is the broadcast address of a network.
    pub fn open(
        addresses: &UnicastAddresses,
        interface: &Interface,
        ttl: Option<u8>,
        send_buffer_bytes: Option<usize>,
    ) -> Result<Self, SocketError> {
        let destinations = addresses.socket_addresses().to_vec();
        for destination in &destinations {
            ConnectedSocket::open(interface.address, *destination, None)?;
        }
        let opening = Opening::new(&format_args!("unicast from {interface}"))?;
        if let Some(ttl) = ttl.map(u32::from) {
            opening.confirm(SET_TTL, |socket| {
                socket.set_ttl_v4(ttl)?;
                Ok((ttl, socket.ttl_v4()?))
            })?;
        }
        let buffer = opening.grant(Buffer::Send, send_buffer_bytes)?;
        opening.bind(SocketAddrV4::new(interface.address, 0))?;
        Ok(Self { socket: opening.socket.into(), destinations, buffer })
    }

    /// Whom to send to.
    #[must_use]
    pub fn destinations(&self) -> &[SocketAddrV4] {
        &self.destinations
    }

    /// Sends one datagram to one of [`Self::destinations`].
    ///
    /// # Errors
    ///
    /// Returns the kernel's error: `WouldBlock` when the send buffer is full, `EMSGSIZE` for a datagram larger than
    /// the path carries. Nothing was sent then.
    #[inline]
    pub fn send_to(&self, datagram: &[u8], destination: SocketAddrV4) -> io::Result<()> {
        self.socket.send_to(datagram, destination).map(|_| ())
    }

    /// Sends runs, each packet as a datagram of its own, to every destination: the first run to all of them, then the next. With
    /// one system call, from this copy of a run on, 8 at the most; returns how many copies left, at least one unless there are
    /// none.
    ///
    /// # Errors
    ///
    /// As [`Self::send_to`], of the first copy, or because the kernel, or the interface, does not cut runs into datagrams.
    pub fn send_runs(&self, runs: &[Run<'_>], from: usize) -> io::Result<usize> {
        let copies = runs.iter().flat_map(|&run| self.destinations.iter().map(move |&address| (run, Some(address))));
        messages::send(self.socket.as_raw_fd(), copies.skip(from))
    }

    /// The send buffer that was granted.
    #[must_use]
    pub const fn buffer(&self) -> BufferGrant {
        self.buffer
    }
}

impl AsRawFd for UnicastSender {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use seqcast_recovery::Nanos;

    use super::*;
    use crate::testing::{largest_datagram, loopback};
    use crate::{DATAGRAM_BUFFER_BYTES, LineAddress, UnicastSocket, wait_readable};

    fn addresses(text: &str) -> UnicastAddresses {
        match text.parse().unwrap() {
            LineAddress::Unicast(addresses) => addresses,
            LineAddress::Multicast(_) => panic!("{text} is a group"),
        }
    }

    fn refusal(text: &str, ttl: Option<u8>) -> SocketError {
        UnicastSender::open(&addresses(text), &loopback(), ttl, None).unwrap_err()
    }

    #[test]
    fn nobody_listening_at_one_address_harms_no_send() {
        let receiver = UnicastSocket::open("127.0.0.1:0".parse().unwrap(), Some(65_536)).unwrap();
        let absent = UnicastSocket::open("127.0.0.2:0".parse().unwrap(), None).unwrap().local_address();
        let list = addresses(&format!("{absent},{}", receiver.local_address()));
        let sender = UnicastSender::open(&list, &loopback(), Some(255), Some(1 << 20)).unwrap();
        let mut buffer = [0; 8];
        for number in 0..100 {
            for &destination in sender.destinations() {
                sender.send_to(&[number], destination).unwrap();
            }
            assert!(wait_readable(&[receiver.as_raw_fd()], Some(Nanos::from_secs(5))).unwrap());
            let (length, from) = receiver.recv_from(&mut buffer).unwrap().unwrap();
            assert_eq!((&buffer[..length], *from.ip()), (&[number][..], loopback().address));
        }
    }

    #[test]
    fn runs_go_to_every_destination() {
        let receivers =
            [1, 2].map(|last| UnicastSocket::open(format!("127.0.0.{last}:0").parse().unwrap(), Some(65_536)).unwrap());
        let list = addresses(&receivers.each_ref().map(|receiver| receiver.local_address().to_string()).join(","));
        let sender = UnicastSender::open(&list, &loopback(), None, Some(1 << 20)).unwrap();
        let runs = [Run::new(b"tick tock!", 5), Run::one(b"again")];
        assert_eq!(sender.send_runs(&runs, 0).unwrap(), 4);
        assert_eq!(sender.send_runs(&runs, 3).unwrap(), 1);
        assert_eq!(sender.send_runs(&runs, 4).unwrap(), 0);
        let mut heard = Vec::new();
        for receiver in &receivers {
            let mut buffer = [0; 16];
            while let Some(length) = receiver.recv(&mut buffer).unwrap() {
                heard.push(buffer[..length].to_vec());
            }
        }
        assert_eq!(
            heard,
            [[&b"tick "[..], b"tock!", b"again"].as_slice(), &[b"tick ", b"tock!", b"again", b"again"]].concat()
        );
    }

    #[test]
    fn largest_datagram_passes_and_one_byte_more_is_refused() {
        let receiver = UnicastSocket::open("127.0.0.1:0".parse().unwrap(), None).unwrap();
        let list = addresses(&receiver.local_address().to_string());
        let sender = UnicastSender::open(&list, &loopback(), None, Some(1 << 20)).unwrap();
        let largest = largest_datagram(&loopback());
        let datagram = [7; DATAGRAM_BUFFER_BYTES];
        let error = sender.send_to(&datagram[..=largest], receiver.local_address()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
        sender.send_to(&datagram[..largest], receiver.local_address()).unwrap();
    }

    #[test]
    fn broadcast_address_of_a_network_is_refused_with_the_mend() {
        let error = refusal("127.0.0.1:9,127.255.255.255:9", None);
        assert_eq!(error.setting(), "127.255.255.255:9 from 127.0.0.1");
        assert!(error.mend().unwrap().starts_with("it is the broadcast address of a network"), "{error}");
    }

    #[test]
    fn address_where_no_way_leads_is_refused() {
        // 198.51.100.0/24 is for documentation (RFC 5737), and loopback reaches no other host.
        let error = refusal("127.0.0.1:9,198.51.100.1:9", None);
        assert_eq!(error.setting(), "198.51.100.1:9 from 127.0.0.1");
        assert!(error.mend().is_some(), "{error}: {:?}", error.source());
    }

    #[test]
    fn time_to_live_of_0_is_refused_with_the_mend() {
        let error = refusal("127.0.0.1:9", Some(0));
        assert_eq!(error.operation(), "set IP_TTL");
        assert!(error.mend().is_some(), "{error}");
    }
}
