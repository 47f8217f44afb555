//! The sockets of requests and their answers.

use std::io;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use crate::buffer::{Buffer, BufferGrant};
use crate::opening::{Opening, received};
use crate::socket_error::SocketError;

/// Whether an address is in 127.0.0.0/8, so that what is sent to or from it never leaves the host.
///
/// The unspecified address 0.0.0.0 is not: a socket bound to it answers on every interface.
#[must_use]
pub const fn is_loopback(address: &SocketAddrV4) -> bool {
    address.ip().is_loopback()
}

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

    /// Opens a socket on a free port of the address from which the kernel would reach `destination`; sends nothing.
    ///
    /// # Errors
    ///
    /// Returns a [`SocketError`], also when no route leads to the destination.
    pub fn open_toward(destination: SocketAddrV4, receive_buffer_bytes: Option<usize>) -> Result<Self, SocketError> {
        let probe = Opening::new(&destination)?;
        let source = probe.step("find the address that reaches it", |socket| {
            socket.connect(&destination.into())?;
            socket.local_addr()?.as_socket_ipv4().ok_or_else(not_ipv4)
        })?;
        Self::open(SocketAddrV4::new(*source.ip(), 0), receive_buffer_bytes)
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
        let Some((length, sender)) = received(|| self.socket.recv_from(buffer))? else { return Ok(None) };
        Ok(Some((length, ipv4(sender)?)))
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

    /// The address and port that the socket is bound to.
    #[must_use]
    pub const fn local_address(&self) -> SocketAddrV4 {
        self.local_address
    }

    /// Whether the socket is bound to loopback, so that it can neither hear nor reach another host.
    #[must_use]
    pub const fn is_loopback(&self) -> bool {
        is_loopback(&self.local_address)
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

    use seqcast_recovery::Nanos;

    use super::*;
    use crate::wait_readable;

    const ANY_PORT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);

    #[test]
    fn request_and_answer_reach_each_other() {
        let server = UnicastSocket::open(ANY_PORT, Some(65_536)).unwrap();
        let client = UnicastSocket::open_toward(server.local_address(), None).unwrap();
        let mut buffer = [0; 64];
        client.send_to(b"ask", server.local_address()).unwrap();
        assert!(wait_readable(&[server.as_raw_fd()], Some(Nanos::from_secs(5))).unwrap());
        assert_eq!(server.recv_from(&mut buffer).unwrap(), Some((3, client.local_address())));
        server.send_to(b"answer", client.local_address()).unwrap();
        assert!(wait_readable(&[client.as_raw_fd()], Some(Nanos::from_secs(5))).unwrap());
        assert_eq!(client.recv_from(&mut buffer).unwrap(), Some((6, server.local_address())));
        assert_eq!(&buffer[..6], b"answer");
        assert_eq!(client.recv_from(&mut buffer).unwrap(), None);
    }

    #[test]
    fn source_toward_loopback_is_loopback() {
        let client = UnicastSocket::open_toward(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9), None).unwrap();
        assert!(client.is_loopback());
    }

    #[test]
    fn address_in_use_is_refused() {
        let first = UnicastSocket::open(ANY_PORT, None).unwrap();
        let error = UnicastSocket::open(first.local_address(), None).unwrap_err();
        assert_eq!(error.io_error().kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().starts_with(&format!("{}: cannot bind: ", first.local_address())));
    }

    #[test]
    fn address_of_another_host_is_refused() {
        // 192.0.2.0/24 is for documentation (RFC 5737); this one is on no interface.
        let error = UnicastSocket::open(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 254), 0), None).unwrap_err();
        assert_eq!(error.io_error().kind(), io::ErrorKind::AddrNotAvailable);
    }

    #[test]
    fn loopback_socket_cannot_send_elsewhere() {
        let socket = UnicastSocket::open(ANY_PORT, None).unwrap();
        let elsewhere = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 1), 9);
        assert!(socket.send_to(b"leak", elsewhere).is_err());
    }

    #[test]
    fn datagram_beyond_the_mtu_is_refused() {
        let socket = UnicastSocket::open(ANY_PORT, None).unwrap();
        let error = socket.send_to(&[0; 65_508], socket.local_address()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
    }

    #[test]
    fn only_the_127_block_is_loopback() {
        assert!(is_loopback(&SocketAddrV4::new(Ipv4Addr::new(127, 9, 9, 9), 1)));
        assert!(!is_loopback(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 1)));
        assert!(!is_loopback(&SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 1)));
    }
}
