//! Keeps the sending of a request warm: what is done seldom is done with cold caches.

use crate::OpenError;
use seqcast_protocol::{HEADER_BYTES, Request, SequenceRange, SessionId};
use seqcast_recovery::Nanos;
use seqcast_transport::ConnectedSocket;
use std::net::Ipv4Addr;
use std::time::Duration;

/// Sends itself a request now and then.
#[derive(Debug)]
pub(crate) struct Warmer {
    socket: ConnectedSocket,
    interval: Nanos,
    due: Nanos,
}

impl Warmer {
    pub(crate) fn open(address: Ipv4Addr, interval: Duration) -> Result<Self, OpenError> {
        let socket = ConnectedSocket::open_to_itself(address).map_err(OpenError::KeepWarm)?;
        Ok(Self { socket, interval: interval.into(), due: Nanos::ZERO })
    }

    /// When it wants to be called.
    pub(crate) fn due(&self) -> Nanos {
        self.due
    }

    /// Takes what it sent the last time and sends another one, if it is time to.
    #[inline]
    pub(crate) fn warm(&mut self, now: Nanos) {
        if now < self.due {
            return;
        }
        self.due = now + self.interval;
        let _ = self.socket.recv(&mut [0; HEADER_BYTES]);
        if let Ok(request) = Request::new(SessionId::UNKNOWN, SequenceRange::with_count(1, 1)) {
            let _ = self.socket.send(&request.to_bytes());
        }
    }
}
