//! What `scripts/instructions.sh` counts: the way of a message through the two state machines, without sockets and clocks.
//!
//! `instructions encode BYTES COUNT` publishes COUNT messages: claimed, copied into, committed, and flushed into the retained
//! ring whenever the staging buffer is full. `instructions deliver BYTES COUNT` delivers COUNT messages, packet by packet, to a
//! callback that looks at each. What else it does is the same for every COUNT, so the difference of two counts is the messages'
//! own.

use seqcast_protocol::SessionId;
use seqcast_recovery::{
    Event, Line, Nanos, Publication, RingSize, RingWriter, Run, SessionChoice, Source, Start, Subscription,
    SubscriptionConfig,
};
use std::hint::black_box;
use std::ops::ControlFlow::Continue;
use std::process::ExitCode;
use std::sync::atomic::AtomicU64;

/// What an unfragmented datagram on Ethernet carries.
const DATAGRAM_BYTES: usize = 1_472;

/// The ring goes round several times.
const RING_BYTES: usize = 1 << 20;

/// The most messages that may be asked for: those of 100 bytes fill 20 MB of packets.
const MESSAGES: u64 = 200_000;

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

/// Delivers packets up to message `count`, which are as long as `encode` made them.
fn deliver(bytes: usize, count: u64) {
    let mut packets = Vec::new();
    encode(bytes, MESSAGES, |packet| packets.push(packet.to_vec()));
    let config = SubscriptionConfig {
        session: SessionChoice::Only(SESSION),
        start: Start::At(1),
        lines: [true, false],
        ..SubscriptionConfig::default()
    };
    let mut now = Nanos::from_secs(1);
    let mut subscription = Subscription::new(config, now);
    let mut next = 1;
    for packet in &packets {
        if next > count {
            break;
        }
        now = now + Nanos::from_micros(1);
        let _ = subscription.handle_datagram(now, Source::Line(Line::A), black_box(packet), &mut |event| {
            if let Event::Message(message) = event {
                assert_eq!((message.number, message.payload.len()), (next, bytes));
                assert_eq!(message.payload[..8], next.to_be_bytes());
                next += 1;
            }
            Continue(())
        });
    }
    assert!(next > count, "{:?}", subscription.counters());
}

/// As `deliver`, with one packet of a hundred lost, asked for every 64 packets, and answered 256 packets later.
fn repair(bytes: usize, count: u64) {
    let mut packets = Vec::new();
    encode(bytes, MESSAGES, |packet| packets.push(packet.to_vec()));
    let config = SubscriptionConfig {
        session: SessionChoice::Only(SESSION),
        start: Start::At(1),
        lines: [true, false],
        request_targets: 1,
        ..SubscriptionConfig::default()
    };
    let mut now = Nanos::from_secs(1);
    let mut subscription = Subscription::new(config, now);
    let mut next = 1;
    let mut asked = std::collections::VecDeque::new();
    for (index, packet) in packets.iter().enumerate() {
        if next > count {
            break;
        }
        now = now + Nanos::from_micros(1);
        let mut sink = |event: Event<'_>| {
            if let Event::Message(message) = event {
                assert_eq!((message.number, message.payload.len()), (next, bytes));
                assert_eq!(message.payload[..8], next.to_be_bytes());
                next += 1;
            }
            Continue(())
        };
        if index % 100 != 50 {
            let _ = subscription.handle_datagram(now, Source::Line(Line::A), black_box(packet), &mut sink);
        }
        while let Some(&(at, answered)) = asked.front() {
            if at > index {
                break;
            }
            asked.pop_front();
            let answered: &Vec<u8> = &packets[answered];
            let _ = subscription.handle_datagram(now, Source::RequestTarget(0), answered, &mut sink);
        }
        if index % 64 == 0 {
            let _ = subscription.advance(now, &mut sink);
            while let Some(request) = subscription.poll_request(now) {
                let first = request.request.range().start();
                let number = |packet: &Vec<u8>| u64::from_be_bytes(packet[10..18].try_into().unwrap());
                let answered = packets.partition_point(|packet| number(packet) <= first) - 1;
                asked.push_back((index + 256, answered));
            }
        }
    }
    assert!(next > count - 6000, "{next} {:?}", subscription.counters());
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
