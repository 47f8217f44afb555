//! How requests reach the publisher and answers leave it, of clients and of floods.

use super::{Happening, PathId, World};
use crate::source::Source;
use seqcast_protocol::{Request, SequenceRange, SessionId};
use seqcast_recovery::Responder;
use std::net::{Ipv4Addr, SocketAddrV4};

/// The address from which a client asks a target; floods ask from addresses beyond those of all targets.
pub(super) fn address(client: usize, target: usize) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, target as u8), client as u16)
}

impl World {
    /// A request arrives. The address belongs to the newest publisher.
    pub(super) fn ask(&mut self, client: SocketAddrV4, datagram: &[u8]) {
        let now = self.now;
        let is_there = |source: &Source| source.plan.begins <= now && source.responder.is_some();
        if let Some(index) = self.sources.iter().rposition(is_there) {
            self.sources[index].ask(now, client, datagram);
            self.serve(index);
        }
    }

    /// Answers as fast as the responder does, until it has nothing more, or has to wait.
    pub(super) fn serve(&mut self, index: usize) {
        while self.busy_until[index] <= self.now
            && let Some((client, answer)) = self.sources[index].answer(self.now)
        {
            self.busy_until[index] = self.now + self.sources[index].plan.service;
            let (client, target) = (usize::from(client.port()), usize::from(client.ip().octets()[3]));
            self.served.push(client);
            if client < self.clients.len() {
                self.transmit(PathId::Answer(client, target), &answer);
            }
        }
        let responder = self.sources[index].responder.as_ref();
        let Some(at) = responder.and_then(Responder::next_answer_at) else { return };
        let at = at.max(self.busy_until[index]).max(self.now);
        if self.serves[index].is_none_or(|serve| at < serve) {
            self.serves[index] = Some(at);
            self.queue.schedule(at, Happening::Serve(index));
        }
    }

    /// The request `count` of a flood: for each retained number in turn.
    pub(super) fn flood(&mut self, index: usize, count: u64) {
        let (flood, truth) = (self.scenario.floods[index].clone(), &self.sources[0].truth);
        if truth.oldest < truth.sent {
            let first = truth.oldest + count % (truth.sent - truth.oldest);
            let request = Request::new(SessionId::UNKNOWN, SequenceRange::with_count(first, u64::from(u16::MAX)));
            let request = request.expect("a number that is retained can be asked for").to_bytes();
            self.ask(address(self.clients.len() + index, 0), &request);
        }
        let next = self.now + flood.interval;
        if flood.during.contains(&next) {
            self.queue.schedule(next, Happening::Flood(index, count + 1));
        }
    }
}
