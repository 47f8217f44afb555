//! The socket of a request address or of a unicast line: it hears whoever sends there.

use std::io;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use seqcast_recovery::Run;

use crate::buffer::{Buffer, BufferGrant};
use crate::messages;
use crate::opening::{Opening, received};
use crate::socket_error::SocketError;

/// A non-blocking unicast socket, never shared: an address in use is an error, not a silent takeover.
#[derive(Debug)]
pub struct UnicastSocket {
    socket: UdpSocket,
    local_address: SocketAddrV4,
    buffer: BufferGrant,
}

impl UnicastSocket {
    /// Opens a socket at `bind`; port 0 takes any free one.
    ///
    /// # Errors
    ///
    /// Returns a [`SocketError`] that names the step which the kernel refused.
    pub fn open(bind: SocketAddrV4, receive_buffer_bytes: Option<usize>) -> Result<Self, SocketError> {
        let opening = Opening::new(&bind)?;
        let buffer = opening.grant(Buffer::Receive, receive_buffer_bytes)?;
        opening.bind(bind)?;
        let socket = UdpSocket::from(opening.socket);
        let local_address = socket
            .local_addr()
            .and_then(ipv4)
            .map_err(|source| SocketError::new("read the bound address", &bind, source))?;
        Ok(Self { socket, local_address, buffer })
    }

    /// Takes the next datagram into `buffer`, whoever sent it, and returns its length, or `None` when there is none.
    ///
    /// A datagram longer than `buffer` would be cut without notice, as by [`Self::recv_from`].
    ///
    /// # Errors
    ///
    /// Returns the kernel's error, which the caller counts: the socket remains usable.
    #[inline]
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        received(|| self.socket.recv(buffer))
    }

    /// Takes the next datagram into `buffer` and returns its length and sender, or `None` when there is none.
    ///
    /// A datagram longer than `buffer` would be cut without notice, so the caller passes
    /// [`DATAGRAM_BUFFER_BYTES`](crate::DATAGRAM_BUFFER_BYTES), which none exceeds.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error, which the caller counts: the socket remains usable.
    #[inline]
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<Option<(usize, SocketAddrV4)>> {
        received_from(&self.socket, buffer)
    }

    /// Sends one datagram.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error, such as `WouldBlock`, `EMSGSIZE` for a datagram larger than the path carries, or
    /// `EINVAL` when this socket is bound to loopback and the destination is elsewhere. Nothing was sent then.
    #[inline]
    pub fn send_to(&self, datagram: &[u8], destination: SocketAddrV4) -> io::Result<()> {
        self.socket.send_to(datagram, destination).map(|_| ())
    }

    /// Sends the first runs, 8 at the most, with one system call, each packet to its destination as a datagram of its own;
    /// returns how many runs left, at least one unless there are none.
    ///
    /// # Errors
    ///
    /// As [`Self::send_to`], of the first run, or because the kernel, or the interface, does not cut runs into datagrams.
    pub fn send_runs_to<'a>(&self, runs: impl Iterator<Item = (Run<'a>, SocketAddrV4)>) -> io::Result<usize> {
        messages::send(self.socket.as_raw_fd(), runs.map(|(run, destination)| (run, Some(destination))))
    }

    /// The address and port that the socket is bound to.
    #[must_use]
    pub const fn local_address(&self) -> SocketAddrV4 {
        self.local_address
    }

    /// The receive buffer that was granted.
    #[must_use]
    pub const fn buffer(&self) -> BufferGrant {
        self.buffer
    }
}

impl AsRawFd for UnicastSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Takes the next datagram of an IPv4 socket and returns its length and sender.
#[inline]
pub(crate) fn received_from(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Option<(usize, SocketAddrV4)>> {
    let Some((length, sender)) = received(|| socket.recv_from(buffer))? else { return Ok(None) };
    Ok(Some((length, ipv4(sender)?)))
}

fn not_ipv4() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel gave an address that is not IPv4")
}

/// The IPv4 address that every address of an IPv4 socket is.
pub(crate) fn ipv4(address: SocketAddr) -> io::Result<SocketAddrV4> {
    match address {
        SocketAddr::V4(address) => Ok(address),
        SocketAddr::V6(_) => Err(not_ipv4()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::DATAGRAM_BUFFER_BYTES;
    use crate::testing::{largest_datagram, loopback};

    const ANY_PORT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);

    #[test]
    fn address_in_use_is_refused() {
        let first = UnicastSocket::open(ANY_PORT, None).unwrap();
        let error = UnicastSocket::open(first.local_address(), None).unwrap_err();
        assert_eq!(error.io_error().kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().starts_with(&format!("{}: cannot bind: ", first.local_address())));
    }

    #[test]
    fn address_of_another_host_is_refused() {
        // 203.0.113.0/24 is for documentation (RFC 5737), so no interface has it.
        let error = UnicastSocket::open(SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 254), 0), None).unwrap_err();
        assert_eq!(error.io_error().kind(), io::ErrorKind::AddrNotAvailable);
    }

    #[test]
    fn loopback_socket_cannot_send_elsewhere() {
        let socket = UnicastSocket::open(ANY_PORT, None).unwrap();
        let elsewhere = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 1), 9);
        assert!(socket.send_to(b"leak", elsewhere).is_err());
    }

    #[test]
    fn largest_datagram_passes_and_one_byte_more_is_refused() {
        let socket = UnicastSocket::open(ANY_PORT, None).unwrap();
        let datagram = [0; DATAGRAM_BUFFER_BYTES];
        let largest = largest_datagram(&loopback());
        let error = socket.send_to(&datagram[..=largest], socket.local_address()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
        socket.send_to(&datagram[..largest], socket.local_address()).unwrap();
    }
}
