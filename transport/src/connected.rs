//! The socket of one request address: it hears that address only.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use seqcast_recovery::Run;

use crate::buffer::{Buffer, BufferGrant};
use crate::messages;
use crate::opening::{Opening, received};
use crate::socket_error::{CONNECT, SocketError};

/// A non-blocking unicast socket with one peer. The kernel passes nobody else's datagrams, and reports as
/// `ConnectionRefused` that nobody listens there.
#[derive(Debug)]
pub struct ConnectedSocket {
    socket: UdpSocket,
    buffer: BufferGrant,
}

impl ConnectedSocket {
    /// Opens a socket at a free port of `source`, an address of this host, toward `destination`; sends nothing.
    ///
    /// # Errors
    ///
    /// Returns a [`SocketError`] that names the step which the kernel refused; also when no route leads from the one
    /// address to the other, such as from loopback to another host.
    pub fn open(
        source: Ipv4Addr,
        destination: SocketAddrV4,
        receive_buffer_bytes: Option<usize>,
    ) -> Result<Self, SocketError> {
        let opening = Opening::new(&format_args!("{destination} from {source}"))?;
        let buffer = opening.grant(Buffer::Receive, receive_buffer_bytes)?;
        opening.bind(SocketAddrV4::new(source, 0))?;
        opening.step(CONNECT, |socket| socket.connect(&destination.into()))?;
        Ok(Self { socket: opening.socket.into(), buffer })
    }

    /// Opens a socket at a free port of `address`, an address of this host, which has itself as its peer.
    ///
    /// # Errors
    ///
    /// Returns a [`SocketError`] that names the step which the kernel refused.
    pub fn open_to_itself(address: Ipv4Addr) -> Result<Self, SocketError> {
        let opening = Opening::new(&format_args!("{address} to itself"))?;
        let buffer = opening.grant(Buffer::Receive, None)?;
        opening.bind(SocketAddrV4::new(address, 0))?;
        opening.step(CONNECT, |socket| socket.connect(&socket.local_addr()?))?;
        Ok(Self { socket: opening.socket.into(), buffer })
    }

    /// Takes the next datagram into `buffer` and returns its length, or `None` when there is none.
    ///
    /// A datagram longer than `buffer` would be cut without notice, so the caller passes
    /// [`DATAGRAM_BUFFER_BYTES`](crate::DATAGRAM_BUFFER_BYTES), which none exceeds.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error, `ConnectionRefused` among them, which the caller counts: the socket remains usable.
    #[inline]
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        received(|| self.socket.recv(buffer))
    }

    /// Sends one datagram.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error, also one that an earlier datagram has met. Nothing was sent then.
    #[inline]
    pub fn send(&self, datagram: &[u8]) -> io::Result<()> {
        self.socket.send(datagram).map(|_| ())
    }

    /// Sends the packets of a run, each as a datagram of its own, with one system call.
    ///
    /// # Errors
    ///
    /// As [`Self::send`], or because the kernel, or the interface, does not cut runs into datagrams.
    pub fn send_run(&self, run: Run<'_>) -> io::Result<()> {
        messages::send(self.socket.as_raw_fd(), std::iter::once((run, None))).map(|_| ())
    }

    /// The address and port that datagrams leave with.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn local_address(&self) -> io::Result<SocketAddrV4> {
        crate::unicast::ipv4(self.socket.local_addr()?)
    }

    /// The receive buffer that was granted.
    #[must_use]
    pub const fn buffer(&self) -> BufferGrant {
        self.buffer
    }
}

impl AsRawFd for ConnectedSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use seqcast_recovery::Nanos;

    use super::*;

    #[test]
    fn a_socket_can_be_its_own_peer() {
        let socket = ConnectedSocket::open_to_itself(Ipv4Addr::LOCALHOST).unwrap();
        socket.send(b"tick").unwrap();
        let mut buffer = [0; 8];
        assert_eq!(socket.recv(&mut buffer).unwrap(), Some(4));
        assert_eq!(socket.recv(&mut buffer).unwrap(), None);
    }
    use crate::{UnicastSocket, wait_readable};

    fn server() -> UnicastSocket {
        UnicastSocket::open(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), Some(65_536)).unwrap()
    }

    fn readable(socket: &impl AsRawFd) -> bool {
        wait_readable(&[socket.as_raw_fd()], Some(Nanos::from_secs(5))).unwrap()
    }

    #[test]
    fn request_and_answer_reach_each_other() {
        let server = server();
        let client = ConnectedSocket::open(Ipv4Addr::LOCALHOST, server.local_address(), None).unwrap();
        let mut buffer = [0; 64];
        client.send(b"ask").unwrap();
        assert!(readable(&server));
        let (length, from) = server.recv_from(&mut buffer).unwrap().unwrap();
        assert_eq!(length, 3);
        server.send_to(b"answer", from).unwrap();
        assert!(readable(&client));
        assert_eq!(client.recv(&mut buffer).unwrap(), Some(6));
        assert_eq!(&buffer[..6], b"answer");
        assert_eq!(client.recv(&mut buffer).unwrap(), None);
    }

    #[test]
    fn strangers_are_not_heard() {
        let (server, stranger) = (server(), server());
        let client = ConnectedSocket::open(Ipv4Addr::LOCALHOST, server.local_address(), None).unwrap();
        client.send(b"ask").unwrap();
        assert!(readable(&server));
        let (_, from) = server.recv_from(&mut [0; 64]).unwrap().unwrap();
        stranger.send_to(b"forged", from).unwrap();
        server.send_to(b"answer", from).unwrap();
        assert!(readable(&client));
        let mut buffer = [0; 64];
        assert_eq!(client.recv(&mut buffer).unwrap(), Some(6));
        assert_eq!(&buffer[..6], b"answer");
    }

    #[test]
    fn a_server_that_died_is_told_as_a_refused_connection() {
        let server = server();
        let client = ConnectedSocket::open(Ipv4Addr::LOCALHOST, server.local_address(), None).unwrap();
        drop(server);
        client.send(b"ask").unwrap();
        assert!(readable(&client));
        assert_eq!(client.recv(&mut [0; 64]).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(client.recv(&mut [0; 64]).unwrap(), None);
    }

    #[test]
    fn loopback_does_not_reach_another_host() {
        let elsewhere = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 1), 9);
        ConnectedSocket::open(Ipv4Addr::LOCALHOST, elsewhere, None).unwrap_err();
    }
}
