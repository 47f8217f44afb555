//! The publisher of a scenario: its sessions one behind the other, the ring, the answers, the heartbeats; and the truth
//! about what was published, which the oracle compares with.

use crate::plan::{Ending, SessionPlan};
use seqcast_protocol::{
    HEADER_BYTES, Packet, PacketKind, PacketWriter, Request, SequenceNumber, SequenceRange, SessionId,
};
use seqcast_recovery::{ClaimError, Heartbeat, Line, Nanos, Publication, Random, Responder, RingSize, RingWriter, Run};
use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// How often a retransmitter wakes of itself.
const TICK: Nanos = Nanos::from_micros(500);

/// The most messages in a packet that is cut anew, and the most by which it reaches back. Arbitrary.
const RECUT_MESSAGES: u64 = 7;
const RECUT_BACK: u64 = 3;

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
    /// Where line B's packets are cut.
    cuts: Random,
    publication: Option<Publication<Memory>>,
    pub(crate) responder: Option<Responder<Memory>>,
    /// What was asked for, by whom and from which number on.
    asked: HashMap<(SocketAddrV4, SequenceNumber), SequenceRange>,
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
            cuts: Random::new(!seed ^ plan.begins.0),
            publication: Some(Publication::new(ring, plan.max_datagram)),
            responder: Some(Responder::new(reader, plan.max_datagram, plan.responder.clone())),
            asked: HashMap::new(),
            heartbeat: Heartbeat::new(plan.heartbeat, plan.session, plan.begins),
            truth,
            plan: plan.clone(),
        }
    }

    /// Commits and flushes one step; `send` gets every packet, and the line that it is for.
    pub(crate) fn publish(&mut self, step: usize, send: &mut impl FnMut(Line, &[u8])) {
        let Some(mut publication) = self.publication.take() else { return };
        let (sizes, first) = (std::mem::take(&mut self.plan.steps[step].sizes), self.truth.sent);
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
        if self.plan.recuts_b {
            self.recut(first, send);
        }
    }

    /// Sends line B the messages from `first` on in packets of its own, which overlap.
    fn recut(&mut self, first: SequenceNumber, send: &mut impl FnMut(Line, &[u8])) {
        let mut buffer = vec![0; self.plan.max_datagram];
        let (mut next, sent) = (first, self.truth.sent);
        while next < sent {
            // The first message that is new fits behind those that are not, or they stay away.
            let back = self.cuts.below(RECUT_BACK + 1).min(next - 1);
            let most = self.cuts.below(RECUT_MESSAGES) + 1;
            let end = (next - back..=next).find_map(|start| {
                let mut writer = PacketWriter::new(&mut buffer, self.truth.session, start);
                let messages = &self.truth.messages[start as usize - 1..(next + most).min(sent) as usize - 1];
                messages.iter().try_for_each(|message| writer.push(message)).ok();
                let end = writer.range().end();
                (end > next).then(|| {
                    send(Line::B, writer.finish());
                    end
                })
            });
            next = end.expect("a message fits into a packet");
        }
    }

    fn flush(&mut self, publication: &mut Publication<Memory>, send: &mut impl FnMut(Line, &[u8])) {
        let (limit, recuts_b) = (self.plan.max_datagram, self.plan.recuts_b);
        publication.flush(|runs| {
            for packet in runs.iter().flat_map(Run::packets) {
                assert!(packet.len() <= limit, "a packet of {} bytes passes the limit {limit}", packet.len());
                send(Line::A, packet);
                if !recuts_b {
                    send(Line::B, packet);
                }
            }
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

    /// Takes one request of a client.
    pub(crate) fn ask(&mut self, now: Nanos, client: SocketAddrV4, datagram: &[u8]) {
        let Some(responder) = &mut self.responder else { return };
        if responder.handle_request(now, client, datagram).is_ok() {
            let range = Request::parse(datagram).expect("only a request is taken").range();
            self.asked.insert((client, range.start()), range);
            self.heartbeat.handle_request(now);
        }
    }

    /// The next answer and whom it is for, checked by the rules of the wire.
    pub(crate) fn answer(&mut self, now: Nanos) -> Option<(SocketAddrV4, Vec<u8>)> {
        let (client, answer) = self.responder.as_mut()?.poll_answer(now)?;
        let packet = Packet::parse(answer).expect("an answer is a packet");
        assert!(answer.len() <= self.plan.max_datagram, "an answer of {} bytes passes the limit", answer.len());
        assert_eq!(packet.session(), self.truth.session, "an answer of another session");
        match packet.kind() {
            PacketKind::Data => {
                let given = packet.range();
                let asked = self.asked.get(&(client, given.start())).expect("an answer begins where a request does");
                assert!(given.end() <= asked.end(), "{given} goes past the requested {asked}");
                assert!(given.end() <= self.truth.sent, "{given} goes past what was sent, {}", self.truth.sent);
                assert!(given.start() >= self.truth.oldest, "{given} is overwritten");
            }
            PacketKind::Heartbeat => {
                let mut asked = self.asked.iter().filter(|((other, _), _)| *other == client);
                assert!(asked.any(|((_, first), _)| *first < self.truth.oldest), "all that was asked for is retained");
                assert_eq!(packet.sequence(), self.truth.oldest, "the oldest number is told exactly");
            }
            PacketKind::EndOfSession => panic!("an end of session is no answer"),
        }
        Some((client, answer.to_vec()))
    }
}
