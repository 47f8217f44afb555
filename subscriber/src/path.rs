//! One socket that datagrams arrive on, a line's or a request address's, impaired if so asked.

use seqcast_recovery::{Impairment, Nanos, Verdict};
use seqcast_transport::{ConnectedSocket, DATAGRAM_BUFFER_BYTES, MulticastReceiver};
use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// What can be received from.
pub(crate) trait Receive: AsRawFd {
    fn recv(&self, buffer: &mut [u8]) -> io::Result<Option<usize>>;
}

impl Receive for MulticastReceiver {
    fn recv(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.recv(buffer)
    }
}

impl Receive for ConnectedSocket {
    fn recv(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.recv(buffer)
    }
}

/// A socket, its receive buffer, and what is done to its datagrams on purpose.
#[derive(Debug)]
pub(crate) struct Path<S> {
    pub(crate) socket: S,
    buffer: Box<[u8]>,
    pub(crate) impairment: Option<Impairment>,
}

impl<S: Receive> Path<S> {
    pub(crate) fn new(socket: S, impairment: Option<Impairment>) -> Self {
        // A value other than zero, so that the pages are touched now.
        Self { socket, buffer: vec![1; DATAGRAM_BUFFER_BYTES].into_boxed_slice(), impairment }
    }

    /// Puts the next datagram into the buffer and returns its length, or `None` when there is none now.
    #[inline]
    pub(crate) fn next(&mut self, now: Nanos) -> io::Result<Option<usize>> {
        let Some(impairment) = &mut self.impairment else {
            return self.socket.recv(&mut self.buffer);
        };
        loop {
            if let Some(datagram) = impairment.pop(now) {
                self.buffer[..datagram.len()].copy_from_slice(datagram);
                return Ok(Some(datagram.len()));
            }
            let Some(length) = self.socket.recv(&mut self.buffer)? else { return Ok(None) };
            if impairment.push(now, &self.buffer[..length]) == Verdict::Deliver {
                return Ok(Some(length));
            }
        }
    }

    /// The datagram that [`Self::next`] put there.
    pub(crate) fn datagram(&self, length: usize) -> &[u8] {
        &self.buffer[..length]
    }

    /// When the impairment will hand something out.
    pub(crate) fn due(&self) -> Option<Nanos> {
        self.impairment.as_ref().and_then(Impairment::next_due)
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
