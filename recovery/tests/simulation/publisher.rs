//! One publisher's process, which can be killed, and its retransmitter, which may be a process of its own; the ring outlives
//! both.

use crate::plan::SessionPlan;
use crate::truth::Truth;
use seqcast_protocol::{HEADER_BYTES, Header, Packet, PacketKind, Request, SequenceNumber, SequenceRange};
use seqcast_recovery::{Heartbeat, Line, Nanos, Publication, Responder, RingReader, RingSize, RingWriter, Run};
use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How often a retransmitter wakes of itself.
const TICK: Nanos = Nanos::from_micros(500);

/// How often a retransmitter of its own looks whether somebody writes the ring.
const LOOK: Nanos = Nanos::from_millis(100);

/// The marks of the ring that are stored behind a packet (R1, R3): the next number, which is the last, and the count of packets.
const MARKS: std::ops::Range<usize> = 16..18;

pub(crate) type Memory = Arc<[AtomicU64]>;

/// The process is killed while it sends.
struct Killed;

/// A retransmitter that is a process of its own.
struct Watch {
    has_writer: bool,
    look_at: Nanos,
    heartbeat: Heartbeat,
}

/// One publisher.
pub(crate) struct Publisher {
    /// By `Line::index`: those that it sends on.
    lines: [bool; 2],
    limit: usize,
    recuts_b: bool,
    pub(crate) memory: Memory,
    ring: RingReader<Memory>,
    /// None while its process is dead, and once it has ended.
    pub(crate) publication: Option<Publication<Memory>>,
    /// Lives as long as its process.
    heartbeat: Option<Heartbeat>,
    responder: Option<Responder<Memory>>,
    watch: Option<Watch>,
    /// What was asked for, by whom and from which number on.
    asked: HashMap<(SocketAddrV4, SequenceNumber), SequenceRange>,
    /// One past the last message that it has retained.
    pub(crate) retained: SequenceNumber,
    /// One past the last message that its input has given so far.
    pub(crate) due: SequenceNumber,
    pub(crate) is_due_to_end: bool,
    /// Its next tick that counts.
    pub(crate) tick_at: Option<Nanos>,
    /// When its responder has time next, if it waits for that.
    pub(crate) serve_at: Option<Nanos>,
    /// When its responder will have ended the answer that it gave last.
    pub(crate) busy_until: Nanos,
}

impl Publisher {
    pub(crate) fn new(plan: &SessionPlan, lines: [bool; 2]) -> Self {
        let size = RingSize::for_bytes(plan.ring_bytes, plan.max_datagram - HEADER_BYTES);
        let memory: Memory = (0..size.words()).map(|_| AtomicU64::new(0)).collect();
        let ring = RingWriter::create(memory.clone(), size, plan.session).expect("a valid ring");
        let heartbeat = || Heartbeat::new(plan.heartbeat, plan.session, plan.begins);
        Self {
            lines,
            limit: plan.max_datagram,
            recuts_b: plan.recuts_b,
            ring: ring.reader(),
            heartbeat: Some(heartbeat()),
            responder: Some(Responder::new(ring.reader(), plan.max_datagram, plan.responder.clone())),
            watch: plan.retransmitter_of_its_own.then(|| Watch {
                has_writer: true,
                look_at: plan.begins,
                heartbeat: heartbeat(),
            }),
            publication: Some(Publication::new(ring, plan.max_datagram)),
            memory,
            asked: HashMap::new(),
            retained: 1,
            due: 1,
            is_due_to_end: false,
            tick_at: None,
            serve_at: None,
            busy_until: Nanos::ZERO,
        }
    }

    /// Whether its process lives.
    pub(crate) fn is_alive(&self) -> bool {
        self.heartbeat.is_some()
    }

    pub(crate) fn ring(&self) -> &RingReader<Memory> {
        &self.ring
    }

    pub(crate) fn responder(&self) -> Option<&Responder<Memory>> {
        self.responder.as_ref()
    }

    /// Flushes; returns whether the process survived, which it does unless it is to be killed where so many datagrams have
    /// left. `send` gets every packet, and the line that it is for.
    pub(crate) fn flush(&mut self, left: &mut Option<usize>, send: &mut dyn FnMut(Line, &[u8])) -> bool {
        let Self { publication: Some(publication), ring, lines, limit, recuts_b, .. } = self else { return false };
        let flushed = catch_unwind(AssertUnwindSafe(|| {
            publication.flush(|runs| {
                for line in Line::ALL.into_iter().filter(|line| lines[line.index()]) {
                    for packet in runs.iter().flat_map(Run::packets) {
                        assert!(packet.len() <= *limit, "a packet of {} bytes passes the limit {limit}", packet.len());
                        let end = Packet::parse(packet).expect("a packet").range().end();
                        assert!(end <= ring.sent() && ring.sent() <= ring.next(), "retained, then marked, then sent");
                        match left {
                            Some(0) => resume_unwind(Box::new(Killed)),
                            Some(left) => *left -= 1,
                            None => {}
                        }
                        if line == Line::A || !*recuts_b {
                            send(line, packet);
                        }
                    }
                }
            });
        }));
        match flushed {
            Ok(()) => true,
            Err(panic) if panic.is::<Killed>() => false,
            Err(panic) => resume_unwind(panic),
        }
    }

    /// What the marks say.
    pub(crate) fn marks(&self) -> [u64; 2] {
        [0, 1].map(|mark| self.memory[MARKS][mark].load(Ordering::Relaxed))
    }

    /// Takes so many of the stores behind the last packet back, as if the process had been killed before: its `before`.
    pub(crate) fn tear_marks(&self, before: [u64; 2], count: usize) {
        if self.marks()[1] == before[1] + 1 {
            for (word, mark) in self.memory[MARKS].iter().zip(before).take(count) {
                word.store(mark, Ordering::Relaxed);
            }
        }
    }

    /// Its process is gone.
    pub(crate) fn die(&mut self) {
        (self.publication, self.heartbeat) = (None, None);
        if self.watch.is_none() {
            self.responder = None;
        }
    }

    /// It is gone, and its retransmitter, too.
    pub(crate) fn stop(&mut self) {
        self.die();
        (self.responder, self.watch) = (None, None);
    }

    /// Goes on with its ring.
    pub(crate) fn come_back(&mut self, now: Nanos, plan: &SessionPlan) {
        let mut ring = RingWriter::reopen(self.memory.clone()).expect("the ring of a publisher that was killed");
        assert_eq!(ring.next(), self.retained, "just what was retained is there");
        ring.mark_sent(ring.next());
        if self.watch.is_none() {
            self.responder = Some(Responder::new(ring.reader(), plan.max_datagram, plan.responder.clone()));
        }
        self.heartbeat = Some(Heartbeat::new(plan.heartbeat, plan.session, now));
        self.publication = Some(Publication::new(ring, plan.max_datagram));
    }

    /// The duty cycles of both processes: heartbeats or an end of session, if due. Returns whether the linger is over.
    pub(crate) fn tick(&mut self, now: Nanos, mut send: impl FnMut(Line, &[u8])) -> bool {
        let (sent, is_ended) = (self.ring.sent(), self.ring.is_ended());
        let mut send = |header: Header| {
            let lines = Line::ALL.into_iter().filter(|line| self.lines[line.index()]);
            lines.for_each(|line| send(line, &header.to_bytes()));
        };
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.poll(now, sent, is_ended).map(&mut send);
        }
        if let (Some(watch), Some(responder)) = (&mut self.watch, &mut self.responder) {
            if now >= watch.look_at {
                (watch.look_at, watch.has_writer) = (now + LOOK, self.heartbeat.is_some());
                responder.offer_retained(!watch.has_writer);
            }
            if !watch.has_writer {
                watch.heartbeat.poll(now, responder.offered(), false).map(&mut send);
            }
        }
        self.heartbeat.as_ref().is_some_and(|heartbeat| heartbeat.is_finished(now))
    }

    /// The next tick at which there may be something to do, on the grid of duty cycles.
    pub(crate) fn next_tick(&self, now: Nanos, has_news: bool) -> Option<Nanos> {
        let heartbeat = self.heartbeat.as_ref().map(Heartbeat::due);
        let watch = self.watch.as_ref().map(|watch| match watch.has_writer {
            true => watch.look_at,
            false => watch.look_at.min(watch.heartbeat.due()),
        });
        let due = heartbeat.into_iter().chain(watch).min()?;
        let at = if has_news { now } else { due.max(now) };
        let grid = (at.0 / TICK.0 + u64::from(has_news || !at.0.is_multiple_of(TICK.0))) * TICK.0;
        Some(Nanos(if grid <= now.0 { grid + TICK.0 } else { grid }))
    }

    /// Takes one request of a client.
    pub(crate) fn ask(&mut self, now: Nanos, client: SocketAddrV4, datagram: &[u8]) {
        let Some(responder) = &mut self.responder else { return };
        if responder.handle_request(now, client, datagram).is_ok() {
            let range = Request::parse(datagram).expect("only a request is taken").range();
            self.asked.insert((client, range.start()), range);
            // Whoever runs both processes lets both live as long as anybody asks.
            self.heartbeat.iter_mut().for_each(|heartbeat| heartbeat.handle_request(now));
        }
    }

    /// The next answer and whom it is for, checked by the rules of the wire.
    pub(crate) fn answer(&mut self, now: Nanos, truth: &Truth) -> Option<(SocketAddrV4, Vec<u8>)> {
        let (client, answer) = self.responder.as_mut()?.poll_answer(now)?;
        let packet = Packet::parse(answer).expect("an answer is a packet");
        assert!(answer.len() <= self.limit, "an answer of {} bytes passes the limit", answer.len());
        assert_eq!(packet.session(), truth.session, "an answer of another session");
        // While somebody writes the ring, nobody is told of more than the lines have carried.
        let is_orphan = self.watch.as_ref().is_some_and(|watch| !watch.has_writer);
        let end = if is_orphan { truth.retained } else { self.ring.sent() };
        let oldest = self.ring.oldest();
        match packet.kind() {
            PacketKind::Data => {
                let given = packet.range();
                let asked = self.asked.get(&(client, given.start())).expect("an answer begins where a request does");
                assert!(given.end() <= asked.end(), "{given} goes past the requested {asked}");
                assert!(given.end() <= end, "{given} goes past what is offered, {end}");
                assert!(given.start() >= oldest, "{given} is overwritten");
            }
            PacketKind::Heartbeat => {
                let mut asked = self.asked.iter().filter(|((other, _), _)| *other == client);
                assert!(asked.any(|((_, first), _)| *first < oldest), "all that was asked for is retained");
                assert_eq!(packet.sequence(), oldest, "the oldest number is told exactly");
            }
            PacketKind::EndOfSession => panic!("an end of session is no answer"),
        }
        Some((client, answer.to_vec()))
    }
}
