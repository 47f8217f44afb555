//! Whom to ask for what was missed.

use crate::intake::{BUSY_ADDRESS, Intake};
use crate::path::{Arrival, Receive};
use crate::ring::RingTarget;
use seqcast_protocol::{HEADER_BYTES, Request};
use seqcast_recovery::{MAX_RUN_PACKETS, Nanos, Run};
use seqcast_transport::{ConnectedSocket, Inbox, can_segment};
use std::io;
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, RawFd};

/// Bytes of a request, which is a header.
const REQUEST_BYTES: usize = HEADER_BYTES;

/// A request address: requests of one duty cycle leave together, and answers are taken as a line's packets are.
#[derive(Debug)]
pub(crate) struct Address {
    socket: ConnectedSocket,
    /// Whom it asks.
    peer: SocketAddrV4,
    intake: Intake,
    pending: [u8; MAX_RUN_PACKETS * REQUEST_BYTES],
    used: usize,
    /// Whether the kernel cuts runs into datagrams.
    segments: bool,
}

impl Address {
    /// `coalescing` and `tells_times` as those of a line.
    pub(crate) fn open(
        socket: ConnectedSocket,
        peer: SocketAddrV4,
        coalescing: bool,
        tells_times: bool,
    ) -> io::Result<Self> {
        let fd = socket.as_raw_fd();
        let intake = Intake::open(fd, BUSY_ADDRESS, coalescing, tells_times)?;
        let pending = [0; MAX_RUN_PACKETS * REQUEST_BYTES];
        Ok(Self { socket, peer, intake, pending, used: 0, segments: can_segment(fd) })
    }

    fn push(&mut self, request: Request) -> io::Result<()> {
        let sent = if self.used == self.pending.len() { self.send() } else { Ok(()) };
        self.pending[self.used..self.used + REQUEST_BYTES].copy_from_slice(&request.to_bytes());
        self.used += REQUEST_BYTES;
        sent
    }

    /// Sends what is pending; the error is that of the last request that did not leave.
    fn send(&mut self) -> io::Result<()> {
        let run = Run::new(&self.pending[..self.used], REQUEST_BYTES);
        self.used = 0;
        if run.count() > 1 && self.segments {
            match self.socket.send_run(run) {
                Ok(()) => return Ok(()),
                // What the request before has met.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Err(error),
                Err(_) => self.segments = false,
            }
        }
        let mut sent = Ok(());
        for request in run.packets() {
            sent = self.socket.send(request).and(sent);
        }
        sent
    }
}

/// A request address, or a ring on this host.
#[derive(Debug)]
pub(crate) enum TargetSocket {
    Address(Box<Address>),
    Ring(Box<RingTarget>),
}

impl TargetSocket {
    /// Takes a request, which leaves at once or with [`Self::send`].
    pub(crate) fn ask(&mut self, request: Request) -> io::Result<()> {
        match self {
            Self::Address(address) => address.push(request),
            Self::Ring(ring) => {
                ring.ask(request);
                Ok(())
            }
        }
    }

    /// Where requests leave from, and where they go; none of a ring.
    pub(crate) fn addresses(&self) -> Option<(SocketAddrV4, SocketAddrV4)> {
        match self {
            Self::Address(address) => Some((address.socket.local_address().ok()?, address.peer)),
            Self::Ring(_) => None,
        }
    }

    /// Sends what was asked.
    pub(crate) fn send(&mut self) -> io::Result<()> {
        match self {
            Self::Address(address) if address.used > 0 => address.send(),
            Self::Address(_) | Self::Ring(_) => Ok(()),
        }
    }
}

impl Receive for TargetSocket {
    #[inline]
    fn receive(&mut self, now: Nanos, inbox: &mut Inbox) -> io::Result<Arrival> {
        match self {
            Self::Address(address) => {
                let Address { socket, intake, .. } = &mut **address;
                let receive = |buffer: &mut [u8]| Ok(socket.recv(buffer)?.map(|length| (length, None)));
                let received = intake.next(now, socket.as_raw_fd(), inbox, receive)?;
                Ok(received.map_or(Arrival::Nothing, |(place, _)| Arrival::Datagram(place)))
            }
            Self::Ring(ring) => Ok(ring.answer(inbox.spare())?.in_spare(inbox)),
        }
    }

    fn fd(&self) -> Option<RawFd> {
        match self {
            Self::Address(address) => Some(address.socket.as_raw_fd()),
            Self::Ring(_) => None,
        }
    }
}
