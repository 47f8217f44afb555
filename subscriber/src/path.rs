//! One socket that datagrams arrive on, a line's or a request address's, impaired if so asked.

use seqcast_recovery::{Impairment, Nanos, Verdict};
use seqcast_transport::DATAGRAM_BUFFER_BYTES;
use std::io;
use std::os::fd::RawFd;

/// What one look at a socket finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// A datagram of this length.
    Datagram(usize),
    /// One that is not handed on: from another source, or lost or delayed on purpose.
    Withheld,
    Nothing,
}

impl Arrival {
    #[inline]
    pub(crate) fn new(length: Option<usize>) -> Self {
        length.map_or(Self::Nothing, Self::Datagram)
    }
}

/// What can be received from.
pub(crate) trait Receive {
    /// Takes the next datagram into `buffer`.
    fn receive(&mut self, now: Nanos, buffer: &mut [u8]) -> io::Result<Arrival>;

    /// What can be waited for; none if it has to be looked at.
    fn fd(&self) -> Option<RawFd>;
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

    /// Puts the next datagram into the buffer and returns its length, unless there is none now or it is withheld.
    #[inline]
    pub(crate) fn next(&mut self, now: Nanos) -> io::Result<Arrival> {
        let Some(impairment) = &mut self.impairment else {
            return self.socket.receive(now, &mut self.buffer);
        };
        if let Some(datagram) = impairment.pop(now) {
            self.buffer[..datagram.len()].copy_from_slice(datagram);
            return Ok(Arrival::Datagram(datagram.len()));
        }
        Ok(match self.socket.receive(now, &mut self.buffer)? {
            Arrival::Datagram(length) if impairment.push(now, &self.buffer[..length]) != Verdict::Deliver => {
                Arrival::Withheld
            }
            arrival => arrival,
        })
    }

    /// The datagram that [`Self::next`] put there.
    pub(crate) fn datagram(&self, length: usize) -> &[u8] {
        &self.buffer[..length]
    }

    /// When the impairment will hand something out.
    pub(crate) fn due(&self) -> Option<Nanos> {
        self.impairment.as_ref().and_then(Impairment::next_due)
    }

    pub(crate) fn fd(&self) -> Option<RawFd> {
        self.socket.fd()
    }
}
