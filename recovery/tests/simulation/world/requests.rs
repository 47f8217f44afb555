//! How requests reach the publisher and answers leave it, of clients and of floods.

use super::{Happening, PathId, World};
use crate::publisher::Publisher;
use seqcast_protocol::{Request, SequenceRange, SessionId};
use seqcast_recovery::Responder;
use std::net::{Ipv4Addr, SocketAddrV4};

/// The address from which a client asks a target in one of its lives; floods ask from addresses beyond those of all targets.
pub(super) fn address(client: usize, life: usize, target: usize) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(127, life as u8, 0, target as u8), client as u16)
}

impl World {
    /// A request arrives. The address belongs to the newest publisher, or to those of the newest pair in turn.
    pub(super) fn ask(&mut self, client: SocketAddrV4, datagram: &[u8]) {
        let target = usize::from(client.ip().octets()[3]);
        let is_there = |publishers: &[Publisher]| publishers[target % publishers.len()].responder().is_some();
        let begun = |index: &usize| self.sources[*index].truth.has_begun && is_there(&self.sources[*index].publishers);
        if let Some(index) = (0..self.sources.len()).rev().find(begun) {
            let publisher = target % self.sources[index].publishers.len();
            self.sources[index].publishers[publisher].ask(self.now, client, datagram);
            self.serve(index, publisher);
        }
    }

    /// Answers as fast as the responder does, until it has nothing more, or has to wait.
    pub(super) fn serve(&mut self, index: usize, publisher: usize) {
        let now = self.now;
        let mut answers = vec![];
        let source = &mut self.sources[index];
        let server = &mut source.publishers[publisher];
        while server.busy_until <= now
            && let Some(answer) = server.answer(now, &source.truth)
        {
            server.busy_until = now + source.plan.service;
            answers.push(answer);
        }
        if let Some(at) = server.responder().and_then(Responder::next_answer_at) {
            let at = at.max(server.busy_until).max(now);
            if server.serve_at.is_none_or(|serve_at| at < serve_at) {
                server.serve_at = Some(at);
                self.queue.schedule(at, Happening::Serve(index, publisher));
            }
        }
        for (address, answer) in answers {
            let [_, life, _, target] = address.ip().octets().map(usize::from);
            let client = usize::from(address.port());
            self.served.push(client);
            // The port of a process that was killed is nobody's.
            if self.clients.get(client).is_some_and(|client| client.life == life) {
                self.transmit(PathId::Answer(client, target), &answer);
            }
        }
    }

    /// The request `count` of a flood: for each retained number in turn.
    pub(super) fn flood(&mut self, index: usize, count: u64) {
        let (flood, truth) = (self.scenario.floods[index].clone(), &self.sources[0].truth);
        let oldest = truth.oldest(1);
        if oldest < truth.retained {
            let first = oldest + count % (truth.retained - oldest);
            let request = Request::new(SessionId::UNKNOWN, SequenceRange::with_count(first, u64::from(u16::MAX)));
            let request = request.expect("a number that is retained can be asked for").to_bytes();
            self.ask(address(self.clients.len() + index, 0, 0), &request);
        }
        let next = self.now + flood.interval;
        if flood.during.contains(&next) {
            self.queue.schedule(next, Happening::Flood(index, count + 1));
        }
    }
}
