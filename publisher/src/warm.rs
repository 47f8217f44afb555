//! Keeps the rare way from a request to its answer warm: what a thread does seldom it does with cold caches, and a cold system
//! call takes several times as long as a warm one.

use seqcast_protocol::{Request, SequenceRange};
use seqcast_recovery::{Nanos, Network, Responder, ResponderConfig, RingReader};
use seqcast_transport::{Mapping, UnicastSocket};
use std::time::Duration;

/// Asks for the newest message now and then, as if it were a client, and sends the answer to the own address.
///
/// It has a responder of its own, so that nothing of this is counted, or takes a client's turn.
#[derive(Debug)]
pub(crate) struct Warmer {
    responder: Responder<Mapping>,
    interval: Nanos,
    due: Nanos,
}

impl Warmer {
    pub(crate) fn new(
        ring: RingReader<Mapping>,
        max_datagram: usize,
        socket: &UnicastSocket,
        interval: Duration,
    ) -> Self {
        let networks = Network::new(*socket.local_address().ip(), 32).into_iter().collect();
        let config = ResponderConfig {
            networks,
            linger: Nanos::ZERO,
            client_limit: 1,
            requests_per_client: 1,
            ..ResponderConfig::default()
        };
        Self { responder: Responder::new(ring, max_datagram, config), interval: interval.into(), due: Nanos::ZERO }
    }

    /// When it wants to be called.
    pub(crate) fn due(&self) -> Nanos {
        self.due
    }

    pub(crate) fn replace_ring(&mut self, ring: RingReader<Mapping>) {
        self.responder.replace_ring(ring);
    }

    /// Goes through the motions, if it is time to. The caller ignores what comes from the own address.
    pub(crate) fn warm(&mut self, now: Nanos, socket: &UnicastSocket) {
        if now < self.due {
            return;
        }
        self.due = now + self.interval;
        let newest = self.responder.offered().saturating_sub(1);
        let Ok(request) = Request::new(self.responder.ring().session(), SequenceRange::with_count(newest, 1)) else {
            return;
        };
        // That nothing was published yet, and that the kernel takes no more, is no harm.
        let _ = self.responder.handle_request(now, socket.local_address(), &request.to_bytes());
        if let Some((own_address, packet)) = self.responder.poll_answer(now) {
            let _ = socket.send_to(packet, own_address);
        }
    }
}
