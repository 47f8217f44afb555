//! The publisher of a scenario: its sessions one behind the other, the ring, the answers, the heartbeats; and the truth
//! about what was published, which the oracle compares with.

use crate::plan::{Ending, SessionPlan};
use seqcast_protocol::{HEADER_BYTES, Packet, PacketKind, Request, SequenceNumber, SessionId};
use seqcast_recovery::{
    ClaimError, Heartbeat, Nanos, Publication, Random, Responder, ResponderConfig, RingSize, RingWriter,
};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// How often a retransmitter wakes of itself.
const TICK: Nanos = Nanos::from_micros(500);

type Memory = Arc<[AtomicU64]>;

/// What really was published, and what is still retained.
#[derive(Debug)]
pub(crate) struct Truth {
    pub(crate) session: SessionId,
    /// Message `n` is at `n - 1`; those from `sent` on have not been flushed.
    pub(crate) messages: Vec<Box<[u8]>>,
    pub(crate) sent: SequenceNumber,
    pub(crate) oldest: SequenceNumber,
    /// Whether the end was announced.
    pub(crate) is_ended: bool,
    /// Whether nothing of it will ever be sent again.
    pub(crate) is_over: bool,
}

/// One session on the publisher's side.
pub(crate) struct Source {
    pub(crate) plan: SessionPlan,
    pub(crate) truth: Truth,
    random: Random,
    publication: Option<Publication<Memory>>,
    responder: Option<Responder<Memory>>,
    heartbeat: Heartbeat,
}

impl Source {
    pub(crate) fn new(plan: &SessionPlan, seed: u64) -> Self {
        let size = RingSize::for_bytes(plan.ring_bytes, plan.max_datagram - HEADER_BYTES);
        let memory: Memory = (0..size.words()).map(|_| AtomicU64::new(0)).collect();
        let ring = RingWriter::create(memory, size, plan.session).expect("a valid ring");
        let reader = ring.reader();
        let truth =
            Truth { session: plan.session, messages: vec![], sent: 1, oldest: 1, is_ended: false, is_over: false };
        Self {
            random: Random::new(seed ^ plan.begins.0),
            publication: Some(Publication::new(ring, plan.max_datagram)),
            responder: Some(Responder::new(reader, plan.max_datagram, ResponderConfig::default())),
            heartbeat: Heartbeat::new(plan.heartbeat, plan.session, plan.begins),
            truth,
            plan: plan.clone(),
        }
    }

    /// Commits and flushes one step; `send` gets every packet.
    pub(crate) fn publish(&mut self, step: usize, send: &mut impl FnMut(&[u8])) {
        let Some(mut publication) = self.publication.take() else { return };
        let sizes = std::mem::take(&mut self.plan.steps[step].sizes);
        for bytes in sizes {
            let bytes = bytes.min(publication.max_message_bytes());
            if publication.claim(bytes).is_err_and(|error| error == ClaimError::Full) {
                self.flush(&mut publication, send);
            }
            let mut claim = publication.claim(bytes).expect("a flushed publication has room");
            claim.fill_with(|| self.random.next_u64() as u8);
            self.truth.messages.push((*claim).into());
            assert_eq!(claim.commit(), self.truth.messages.len() as u64);
        }
        self.flush(&mut publication, send);
        self.publication = Some(publication);
    }

    fn flush(&mut self, publication: &mut Publication<Memory>, send: &mut impl FnMut(&[u8])) {
        let limit = self.plan.max_datagram;
        publication.flush(|packet| {
            assert!(packet.len() <= limit, "a packet of {} bytes passes the limit {limit}", packet.len());
            send(packet);
        });
        self.truth.sent = publication.ring().sent();
        self.truth.oldest = publication.ring().oldest();
    }

    /// Ends the session as planned.
    pub(crate) fn end(&mut self) {
        match self.plan.ending {
            Ending::End(_) => {
                if let Some(publication) = self.publication.take() {
                    publication.end(|_| panic!("everything was flushed"));
                    self.truth.is_ended = true;
                }
            }
            Ending::Die(_) => self.stop(),
        }
    }

    /// Its process is gone.
    pub(crate) fn stop(&mut self) {
        self.publication = None;
        self.responder = None;
        self.truth.is_over = true;
    }

    /// The retransmitter's duty cycle: a heartbeat or an end of session, if due.
    pub(crate) fn tick(&mut self, now: Nanos) -> Option<[u8; HEADER_BYTES]> {
        let responder = self.responder.as_ref()?;
        let (sent, is_ended) = (responder.ring().sent(), responder.ring().is_ended());
        let header = self.heartbeat.poll(now, sent, is_ended).map(seqcast_protocol::Header::to_bytes);
        if self.heartbeat.is_finished(now) {
            self.stop();
        }
        header
    }

    /// The next tick at which there may be something to do, on the grid of duty cycles.
    pub(crate) fn next_tick(&self, now: Nanos, has_news: bool) -> Option<Nanos> {
        self.responder.as_ref()?;
        let at = if has_news { now } else { self.heartbeat.due().max(now) };
        let grid = (at.0 / TICK.0 + u64::from(has_news || !at.0.is_multiple_of(TICK.0))) * TICK.0;
        Some(Nanos(if grid <= now.0 { grid + TICK.0 } else { grid }))
    }

    pub(crate) fn is_answering(&self) -> bool {
        self.responder.is_some()
    }

    /// Answers one request of a client, and checks the answer by the rules of the wire.
    pub(crate) fn answer(&mut self, now: Nanos, client: usize, datagram: &[u8]) -> Option<Vec<u8>> {
        let client = SocketAddrV4::new(Ipv4Addr::LOCALHOST, client as u16);
        let responder = self.responder.as_mut()?;
        responder.handle_request(now, client, datagram).ok()?;
        let (served, answer) =
            responder.poll_answer(now).expect("nobody waits for another one's turn, or for a budget");
        assert_eq!(served, client);
        let answer = answer.to_vec();
        self.heartbeat.handle_request(now);
        let request = Request::parse(datagram).expect("only a request is answered");
        let packet = Packet::parse(&answer).expect("an answer is a packet");
        assert!(answer.len() <= self.plan.max_datagram, "an answer of {} bytes passes the limit", answer.len());
        assert_eq!(packet.session(), self.truth.session, "an answer of another session");
        match packet.kind() {
            PacketKind::Data => {
                let (asked, given) = (request.range(), packet.range());
                assert_eq!(given.start(), asked.start(), "an answer begins where the request does");
                assert!(given.end() <= asked.end(), "{given} goes past the requested {asked}");
                assert!(given.end() <= self.truth.sent, "{given} goes past what was sent, {}", self.truth.sent);
                assert!(given.start() >= self.truth.oldest, "{given} is overwritten");
            }
            PacketKind::Heartbeat => {
                assert!(request.range().start() < self.truth.oldest, "{} is retained", request.range());
                assert_eq!(packet.sequence(), self.truth.oldest, "the oldest number is told exactly");
            }
            PacketKind::EndOfSession => panic!("an end of session is no answer"),
        }
        Some(answer)
    }
}
