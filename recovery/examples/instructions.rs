//! What `scripts/instructions.sh` counts: the way of a message through the two state machines, without sockets and clocks.
//!
//! `instructions encode BYTES COUNT` publishes COUNT messages: claimed, copied into, committed, and flushed into the retained
//! ring whenever the staging buffer is full. `instructions deliver BYTES COUNT` delivers COUNT messages, packet by packet, to a
//! callback that looks at each. `instructions repair BYTES COUNT` does so while packets are lost and repaired. What else it does is the same for every COUNT, so the difference of two counts is the messages'
//! own.

use seqcast_protocol::{Packet, Request, SessionId};
use seqcast_recovery::{
    Event, Line, Nanos, Publication, RingSize, RingWriter, Run, SessionChoice, Source, Start, Subscription,
    SubscriptionConfig,
};
use std::collections::VecDeque;
use std::hint::black_box;
use std::ops::ControlFlow::{self, Continue};
use std::process::ExitCode;
use std::sync::atomic::AtomicU64;

/// What an unfragmented datagram on Ethernet carries.
const DATAGRAM_BYTES: usize = 1_472;

/// The ring goes round several times.
const RING_BYTES: usize = 1 << 20;

/// The most messages that may be asked for: those of 100 bytes fill 20 MB of packets.
const MESSAGES: u64 = 200_000;

/// One packet of so many is lost; what is missing is asked for behind so many packets, and answered so many later.
const LOST_OF: usize = 100;
const ASKED_EVERY: usize = 64;
const ANSWERED_AFTER: usize = 256;

/// More than the messages of so many packets, so that the last one that counts is repaired.
const UNDER_WAY: u64 = 20_000;

const SESSION: SessionId = SessionId::from_bytes(*b"COUNTED   ");

fn publication() -> Publication<Vec<AtomicU64>> {
    let size = RingSize::for_bytes(RING_BYTES, DATAGRAM_BYTES);
    let memory = (0..size.words()).map(|_| AtomicU64::new(0)).collect();
    Publication::new(RingWriter::create(memory, size, SESSION).expect("the memory is as long as said"), DATAGRAM_BYTES)
}

/// Publishes messages `1..=count` of `bytes` bytes that begin with their number; `send` is given each packet.
fn encode(bytes: usize, count: u64, mut send: impl FnMut(&[u8])) {
    let mut publication = publication();
    let mut message = vec![7; bytes];
    let mut flush = |publication: &mut Publication<_>| {
        publication.flush(|runs| runs.iter().flat_map(Run::packets).for_each(&mut send));
    };
    for number in 1..=count {
        message[..8].copy_from_slice(&number.to_be_bytes());
        if !publication.has_room(bytes) {
            flush(&mut publication);
        }
        let mut claim = publication.claim(bytes).expect("there is room");
        claim.copy_from_slice(black_box(&message));
        claim.commit();
    }
    flush(&mut publication);
}

/// More packets than are delivered, which are as long as `encode` makes them.
fn packets(bytes: usize) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    encode(bytes, MESSAGES + UNDER_WAY, |packet| packets.push(packet.to_vec()));
    packets
}

/// A subscription, and what it has delivered.
struct Reader {
    subscription: Subscription,
    now: Nanos,
    bytes: usize,
    next: u64,
}

impl Reader {
    fn new(bytes: usize, request_targets: usize) -> Self {
        let config = SubscriptionConfig {
            session: SessionChoice::Only(SESSION),
            start: Start::At(1),
            lines: [true, false],
            request_targets,
            ..SubscriptionConfig::default()
        };
        let now = Nanos::from_secs(1);
        Self { subscription: Subscription::new(config, now), now, bytes, next: 1 }
    }

    /// Takes a packet, a microsecond after the one before.
    fn take(&mut self, source: Source, packet: &[u8]) {
        self.now = self.now + Nanos::from_micros(1);
        let mut sink = sink(self.bytes, &mut self.next);
        let _ = self.subscription.handle_datagram(self.now, source, black_box(packet), &mut sink);
    }

    /// What it asks for.
    fn requests(&mut self) -> impl Iterator<Item = Request> {
        let _ = self.subscription.advance(self.now, &mut sink(self.bytes, &mut self.next));
        std::iter::from_fn(|| self.subscription.poll_request(self.now)).map(|outgoing| outgoing.request)
    }

    fn finish(&self, count: u64) {
        assert!(self.next > count, "{:?}", self.subscription.counters());
    }
}

/// Looks at each message.
fn sink(bytes: usize, next: &mut u64) -> impl FnMut(Event<'_>) -> ControlFlow<()> {
    move |event| {
        if let Event::Message(message) = event {
            assert_eq!((message.number, message.payload.len()), (*next, bytes));
            assert_eq!(message.payload[..8], next.to_be_bytes());
            *next += 1;
        }
        Continue(())
    }
}

/// Delivers packets up to message `count`.
fn deliver(bytes: usize, count: u64) {
    let packets = packets(bytes);
    let mut reader = Reader::new(bytes, 0);
    for packet in &packets {
        if reader.next > count {
            break;
        }
        reader.take(Source::Line(Line::A), packet);
    }
    reader.finish(count);
}

/// As `deliver`, but one packet of a hundred is lost, and what is missing is asked for now and then and answered later, so that
/// most messages wait in the reorder window.
fn repair(bytes: usize, count: u64) {
    let packets = packets(bytes);
    let number = |packet: &Vec<u8>| Packet::parse(packet).expect("it was just made").sequence();
    let mut reader = Reader::new(bytes, 1);
    let mut answers = VecDeque::new();
    for (index, packet) in packets.iter().enumerate() {
        if reader.next > count {
            break;
        }
        if index % LOST_OF != LOST_OF / 2 {
            reader.take(Source::Line(Line::A), packet);
        }
        while let Some(&(at, answer)) = answers.front()
            && at <= index
        {
            answers.pop_front();
            reader.take(Source::RequestTarget(0), answer);
        }
        if index % ASKED_EVERY == 0 {
            for request in reader.requests() {
                let answered = packets.partition_point(|packet| number(packet) <= request.range().start()) - 1;
                answers.push_back((index + ANSWERED_AFTER, &packets[answered]));
            }
        }
    }
    reader.finish(count);
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [half, bytes, count] = &arguments[..] else { return ExitCode::FAILURE };
    let (Ok(bytes @ 8..=1_450), Ok(count @ 1..=MESSAGES)) = (bytes.parse(), count.parse()) else {
        return ExitCode::FAILURE;
    };
    match half.as_str() {
        "encode" => encode(bytes, count, |packet| {
            black_box(packet);
        }),
        "deliver" => deliver(bytes, count),
        "repair" => repair(bytes, count),
        _ => return ExitCode::FAILURE,
    }
    ExitCode::SUCCESS
}
