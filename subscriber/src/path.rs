//! One socket that datagrams arrive on, a line's or a request address's, impaired if so asked.

use seqcast_recovery::{Impairment, Nanos, Verdict};
use seqcast_transport::{Inbox, Place};
use std::io;
use std::os::fd::RawFd;

/// What one look at a socket finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival<D = Place> {
    /// A datagram: where it lies in the inbox, or its length.
    Datagram(D),
    /// One that is not handed on: from another source, or lost or delayed on purpose.
    Withheld,
    Nothing,
}

impl Arrival<usize> {
    /// Of a datagram that was laid into the spare room.
    pub(crate) fn in_spare(self, inbox: &Inbox) -> Arrival {
        match self {
            Self::Datagram(length) => Arrival::Datagram(inbox.spare_place(length)),
            Self::Withheld => Arrival::Withheld,
            Self::Nothing => Arrival::Nothing,
        }
    }
}

/// What can be received from.
pub(crate) trait Receive {
    /// Takes the next datagram out of the inbox, or receives into it when it is empty.
    fn receive(&mut self, now: Nanos, inbox: &mut Inbox) -> io::Result<Arrival>;

    /// What can be waited for; none if it has to be looked at.
    fn fd(&self) -> Option<RawFd>;
}

/// A socket, what it receives into, and what is done to its datagrams on purpose.
#[derive(Debug)]
pub(crate) struct Path<S> {
    pub(crate) socket: S,
    pub(crate) inbox: Inbox,
    pub(crate) impairment: Option<Impairment>,
    /// Whether the last datagram was one that the impairment had held.
    is_from_impairment: bool,
}

impl<S: Receive> Path<S> {
    pub(crate) fn new(socket: S, inbox: Inbox, impairment: Option<Impairment>) -> Self {
        Self { socket, inbox, impairment, is_from_impairment: false }
    }

    /// Takes the next datagram, unless there is none now or it is withheld.
    #[inline]
    pub(crate) fn next(&mut self, now: Nanos) -> io::Result<Arrival> {
        let Some(impairment) = &mut self.impairment else {
            return self.socket.receive(now, &mut self.inbox);
        };
        let held = impairment.pop(now);
        self.is_from_impairment = held.is_some();
        if let Some(datagram) = held {
            self.inbox.spare()[..datagram.len()].copy_from_slice(datagram);
            return Ok(Arrival::Datagram(self.inbox.spare_place(datagram.len())));
        }
        Ok(match self.socket.receive(now, &mut self.inbox)? {
            Arrival::Datagram(place) if impairment.push(now, self.inbox.datagram(place)) != Verdict::Deliver => {
                Arrival::Withheld
            }
            arrival => arrival,
        })
    }

    /// The datagram that [`Self::next`] told of last.
    #[inline]
    pub(crate) fn datagram(&self, place: Place) -> &[u8] {
        self.inbox.datagram(place)
    }

    /// When the kernel took in the datagram that [`Self::next`] told of last; what an impairment held has no time.
    pub(crate) fn received_at(&self) -> Option<Nanos> {
        if self.is_from_impairment { None } else { self.socket.fd().and(self.inbox.received_at()) }
    }

    /// When the impairment will hand something out.
    pub(crate) fn due(&self) -> Option<Nanos> {
        self.impairment.as_ref().and_then(Impairment::next_due)
    }

    pub(crate) fn fd(&self) -> Option<RawFd> {
        self.socket.fd()
    }
}
