//! Whom to ask for what was missed.

use crate::path::{Arrival, Receive};
use crate::ring::RingTarget;
use seqcast_protocol::Request;
use seqcast_recovery::Nanos;
use seqcast_transport::{ConnectedSocket, Inbox};
use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// A request address, or a ring on this host.
#[derive(Debug)]
pub(crate) enum TargetSocket {
    Address(ConnectedSocket),
    Ring(RingTarget),
}

impl TargetSocket {
    pub(crate) fn ask(&mut self, request: Request) -> io::Result<()> {
        match self {
            Self::Address(socket) => socket.send(&request.to_bytes()),
            Self::Ring(ring) => {
                ring.ask(request);
                Ok(())
            }
        }
    }
}

impl Receive for TargetSocket {
    #[inline]
    fn receive(&mut self, _: Nanos, inbox: &mut Inbox) -> io::Result<Arrival> {
        let arrival = match self {
            Self::Address(socket) => socket.recv(inbox.spare())?.map_or(Arrival::Nothing, Arrival::Datagram),
            Self::Ring(ring) => ring.answer(inbox.spare())?,
        };
        Ok(arrival.in_spare(inbox))
    }

    fn fd(&self) -> Option<RawFd> {
        match self {
            Self::Address(socket) => Some(socket.as_raw_fd()),
            Self::Ring(_) => None,
        }
    }
}
