//! Answers requests from the retained ring: the four rules, and fairness.
//!
//! 1. One request gets at most one packet, of whole messages that fit, never past the requested range.
//! 2. A session that is blank is taken for ours; another one is answered only if so set.
//! 3. What is overwritten is answered by one heartbeat whose number is the oldest still retained.
//! 4. Everything else gets silence, and a reason under which it is counted.
//!
//! Requests wait in a queue for each client. The clients that wait are served in turn, one answer each: who asks for more
//! waits longer and holds nobody up.

mod budget;
mod clients;
mod config;
mod counters;
mod queue;
#[cfg(test)]
mod tests;

pub use budget::Budget;
pub use config::ResponderConfig;
pub use counters::{ClientReport, Refusal, ResponderCounters};

use crate::ring::sync::AtomicU64;
use crate::{Nanos, RingReadError, RingReader};
use alloc::{boxed::Box, vec};
use budget::Bucket;
use clients::Clients;
use core::net::SocketAddrV4;
use seqcast_protocol::{HEADER_BYTES, Header, Request, SequenceNumber, SequenceRange};

/// The state machine behind a request address: requests go in, answers come out in turn.
///
/// All memory is allocated when it is made. The clock that it is given never goes back.
#[derive(Debug)]
pub struct Responder<M> {
    ring: RingReader<M>,
    config: ResponderConfig,
    packet: Box<[u8]>,
    clients: Clients,
    bucket: Option<Bucket>,
    offers_retained: bool,
    counters: ResponderCounters,
}

impl<M: AsRef<[AtomicU64]>> Responder<M> {
    /// Answers from `ring` in packets of at most `max_datagram` bytes.
    #[must_use]
    pub fn new(ring: RingReader<M>, max_datagram: usize, config: ResponderConfig) -> Self {
        let bytes = max_datagram.clamp(crate::MIN_DATAGRAM_BYTES, crate::MAX_DATAGRAM_BYTES);
        let bucket = |budget: Option<Budget>| {
            let budget = budget?;
            Some(Bucket::new(Budget { burst_bytes: budget.burst_bytes.max(bytes as u64), ..budget }))
        };
        let queue_length = config.requests_per_client.max(1);
        Self {
            ring,
            packet: vec![1; bytes].into_boxed_slice(),
            clients: Clients::new(config.client_limit.max(1), queue_length, bucket(config.client_budget)),
            bucket: bucket(config.budget),
            offers_retained: false,
            counters: ResponderCounters::default(),
            config,
        }
    }

    /// The ring that it answers from.
    #[must_use]
    pub fn ring(&self) -> &RingReader<M> {
        &self.ring
    }

    /// Answers from another ring from now on. Clients and counts remain.
    pub fn replace_ring(&mut self, ring: RingReader<M>) {
        self.ring = ring;
    }

    /// Whether to answer for all that is retained, or only for what the lines have carried, as a responder does unless told
    /// otherwise: while somebody writes the ring, nobody is told of numbers that the lines have yet to carry; once the writer
    /// is dead, they never will.
    pub fn offer_retained(&mut self, offer: bool) {
        self.offers_retained = offer;
    }

    /// The number after the last one that the lines have carried, or that may be told of because they never will.
    #[must_use]
    pub fn offered(&self) -> SequenceNumber {
        if self.offers_retained { self.ring.next() } else { self.ring.sent() }
    }

    /// The number after the last one that is answered for: also for what is on its way, as some who have heard the end of a
    /// send miss its beginning.
    fn answerable(&self) -> SequenceNumber {
        if self.offers_retained { self.ring.next() } else { self.ring.sending() }
    }

    /// What it has done so far.
    #[must_use]
    pub fn counters(&self) -> &ResponderCounters {
        &self.counters
    }

    /// What is known of each client, by address.
    pub fn clients(&self) -> impl ExactSizeIterator<Item = &ClientReport> {
        self.clients.reports()
    }

    /// What is known of the client at this address.
    #[must_use]
    pub fn client(&self, address: SocketAddrV4) -> Option<&ClientReport> {
        self.clients.find(address).map(|slot| &self.clients[slot].report)
    }

    /// Takes one datagram of `client`, to be answered when its turn comes.
    ///
    /// # Errors
    ///
    /// When it gets no answer; the reason has been counted.
    pub fn handle_request(&mut self, now: Nanos, client: SocketAddrV4, datagram: &[u8]) -> Result<(), Refusal> {
        self.counters.requests += 1;
        let networks = &self.config.networks;
        let is_allowed = networks.is_empty() || networks.iter().any(|network| network.contains(*client.ip()));
        // A stranger is remembered where there is room, and pushes nobody out.
        let Some(slot) = self.clients.find(client).or_else(|| self.clients.admit(client, is_allowed)) else {
            return Err(self.refuse(None, if is_allowed { Refusal::Clients } else { Refusal::Network }));
        };
        let report = &mut self.clients[slot].report;
        report.last_heard = now;
        report.counters.requests += 1;
        if !is_allowed {
            return Err(self.refuse(Some(slot), Refusal::Network));
        }
        let was_idle = self.clients[slot].queue.is_empty();
        let accepted = self.accept(now, slot, datagram);
        if was_idle {
            self.clients.move_to_back(slot);
        }
        accepted.map_err(|refusal| self.refuse(Some(slot), refusal))
    }

    /// Puts a request into its client's queue.
    fn accept(&mut self, now: Nanos, slot: usize, datagram: &[u8]) -> Result<(), Refusal> {
        let request = Request::parse(datagram).map_err(|_| Refusal::Malformed)?;
        if request.session() != self.ring.session() && !request.session().is_blank() && !self.config.answers_foreign {
            return Err(Refusal::Foreign);
        }
        if request.range().start() >= self.answerable() {
            return Err(Refusal::NotYet);
        }
        let queue = &mut self.clients[slot].queue;
        if queue.lingers(now, request.range().start(), self.config.linger) {
            return Err(Refusal::Linger);
        }
        if queue.is_full() {
            let has_budget = covers(&mut self.bucket, now, self.packet.len());
            return Err(if has_budget { Refusal::Queue } else { Refusal::Budget });
        }
        queue.push(request.range());
        Ok(())
    }

    /// The next answer, and whom to send it to; `None` when nobody waits, or all wait for the overall budget.
    pub fn poll_answer(&mut self, now: Nanos) -> Option<(SocketAddrV4, &[u8])> {
        let (client, bytes) = self.take_turns(now)?;
        Some((client, &self.packet[..bytes]))
    }

    /// When the next answer can leave, if nothing more is asked for: at once, unless the overall budget is used up. `None`
    /// when nobody waits.
    #[must_use]
    pub fn next_answer_at(&self) -> Option<Nanos> {
        self.clients.turn()?;
        Some(self.bucket.map_or(Nanos::ZERO, |bucket| bucket.covered_at(self.packet.len())))
    }

    /// Ends the turns that pass in silence and the first that gets an answer: lays it down in `packet`, and returns whose
    /// it is and its length.
    fn take_turns(&mut self, now: Nanos) -> Option<(SocketAddrV4, usize)> {
        // What is covered is the longest answer, before anybody knows how long it is; what is charged is its length.
        let longest = self.packet.len();
        // Nobody is told of numbers that the lines have yet to carry.
        let answerable = SequenceRange::new(0, self.answerable());
        loop {
            let slot = self.clients.turn()?;
            if !covers(&mut self.bucket, now, longest) {
                return None;
            }
            let client = &mut self.clients[slot];
            let range = client.queue.front().expect("whose turn it is waits");
            let answer = if covers(&mut client.bucket, now, longest) {
                lay_down(&mut self.ring, range.intersection(answerable), &mut self.packet)
            } else {
                Err(Refusal::ClientBudget)
            };
            client.queue.pop(now, answer.is_ok());
            let address = client.report.address;
            self.clients.move_to_back(slot);
            match answer {
                Ok(answer) => {
                    self.hand_out(slot, answer);
                    return Some((address, answer.bytes));
                }
                Err(refusal) => {
                    self.refuse(Some(slot), refusal);
                }
            }
        }
    }

    /// Charges and counts an answer.
    fn hand_out(&mut self, slot: usize, answer: Answer) {
        for bucket in [&mut self.bucket, &mut self.clients[slot].bucket].into_iter().flatten() {
            bucket.charge(answer.bytes);
        }
        self.count(Some(slot), |counters| {
            counters.bytes += answer.bytes as u64;
            counters.messages += answer.messages;
            match answer.messages {
                0 => counters.overwritten += 1,
                _ => counters.retransmissions += 1,
            }
        });
    }

    fn refuse(&mut self, slot: Option<usize>, refusal: Refusal) -> Refusal {
        self.count(slot, |counters| counters.refused[refusal as usize] += 1);
        refusal
    }

    /// Counts in all, and for the client if it is known.
    fn count(&mut self, slot: Option<usize>, count: impl Fn(&mut ResponderCounters)) {
        count(&mut self.counters);
        if let Some(slot) = slot {
            count(&mut self.clients[slot].report.counters);
        }
    }
}

/// What was laid down for a client.
#[derive(Clone, Copy, Debug)]
struct Answer {
    bytes: usize,
    /// 0 when it says that they are overwritten.
    messages: u64,
}

/// Lays the answer for `range` down in `packet`.
fn lay_down<M: AsRef<[AtomicU64]>>(
    ring: &mut RingReader<M>,
    range: SequenceRange,
    packet: &mut [u8],
) -> Result<Answer, Refusal> {
    let session = ring.session();
    let (header, blocks) = packet.split_at_mut(HEADER_BYTES);
    match ring.read(range, blocks) {
        Ok(read) => {
            let messages = read.range.count();
            header.copy_from_slice(&Header::new(session, read.range.start(), messages as u16).to_bytes());
            Ok(Answer { bytes: HEADER_BYTES + read.bytes, messages })
        }
        Err(RingReadError::Overwritten { oldest }) => {
            header.copy_from_slice(&Header::heartbeat(session, oldest).to_bytes());
            Ok(Answer { bytes: HEADER_BYTES, messages: 0 })
        }
        Err(_) => Err(Refusal::NotYet),
    }
}

/// Whether a budget, if there is one, covers `bytes` now.
fn covers(bucket: &mut Option<Bucket>, now: Nanos, bytes: usize) -> bool {
    bucket.as_mut().is_none_or(|bucket| bucket.covers(now, bytes))
}
