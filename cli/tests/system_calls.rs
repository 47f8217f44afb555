//! System calls, counted by a tracer: none per message on a ring line, one per packet on a network, at most.

#![expect(clippy::print_stderr, reason = "whoever runs the tests should know what was skipped")]

mod support;
#[path = "support/tracer.rs"]
mod tracer;

use seqcast_protocol::SessionId;
use seqcast_publisher::{Line, Publisher};
use seqcast_recovery::Nanos;
use seqcast_subscriber::{
    Event, Idle, IdleStrategy, LineSource, Offset, Start, StoredOffset, Subscriber, SubscriberBuilder,
};
use seqcast_transport::SharedFile;
use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::{Place, pause, wait_for};
use tracer::{SystemCalls, Traced};

const SESSION: SessionId = SessionId::from_bytes(*b"CALLS     ");

const MESSAGE_BYTES: usize = 32;

/// As many as fit into a packet of 1,472 bytes: (1472 − 20) / (2 + 32).
const MESSAGES_PER_PACKET: u64 = 42;

/// How many of these system calls there were.
fn count(calls: &SystemCalls, numbers: &[libc::c_long]) -> u64 {
    numbers.iter().filter_map(|number| calls.get(number)).sum()
}

fn received(calls: &SystemCalls) -> u64 {
    count(calls, &[libc::SYS_read, libc::SYS_recvfrom, libc::SYS_recvmsg, libc::SYS_recvmmsg])
}

fn sent(calls: &SystemCalls) -> u64 {
    count(calls, &[libc::SYS_write, libc::SYS_sendto, libc::SYS_sendmsg, libc::SYS_sendmmsg])
}

/// Publishes messages `1..=messages` that carry their number, packet by packet; `behind` is
/// called with the next number behind each.
fn publish(publisher: &mut Publisher, messages: u64, mut behind: impl FnMut(u64)) {
    for number in 1..=messages {
        let mut claim = publisher.claim(MESSAGE_BYTES).unwrap();
        claim[..8].copy_from_slice(&number.to_be_bytes());
        claim.commit();
        if number % MESSAGES_PER_PACKET == 0 || number == messages {
            assert_eq!(publisher.flush().unwrap().refused, 0);
            behind(number + 1);
        }
    }
}

/// What the child does: takes all messages, spinning, stores its offset behind each batch, and writes down the most receiving
/// calls that it may have made: one per packet, and one per poll that found no more.
fn subscribe_traced(place: &Path, builder: SubscriberBuilder, messages: u64) {
    let mut stored = StoredOffset::open(&place.join("offset")).unwrap();
    let mut subscriber = builder.start(Start::Oldest).open().unwrap();
    let mut idle = Idle::new(IdleStrategy::Spin);
    tracer::begin();
    let (mut next, mut polls) = (1, 0);
    while next <= messages {
        let work = subscriber.poll(
            |event| match event {
                Event::Message(message) => {
                    assert_eq!(message.payload[..8], next.to_be_bytes());
                    next += 1;
                }
                Event::Lost(loss) => panic!("{} lost: {:?}", loss.range, loss.cause),
                _ => {}
            },
            1_000,
        );
        stored.store(Offset { session: SESSION, next, position: 0 });
        idle.idle(work);
        polls += 1;
    }
    tracer::mark();
    let counters = subscriber.counters().subscription;
    assert_eq!(counters.requests, 0, "the publisher waits for the subscriber");
    fs::write(place.join("receives"), format!("{}", counters.lines[0].packets + polls)).unwrap();
}

#[test]
fn a_ring_line_takes_no_system_call_per_message_with_a_stored_offset_either() {
    const TEST: &str = "a_ring_line_takes_no_system_call_per_message_with_a_stored_offset_either";
    const MESSAGES: u64 = 1_000_000;
    if let Some(place) = tracer::place() {
        let builder = Subscriber::builder(SESSION.into()).line(Line::A, LineSource::ring(place.join("ring")));
        return subscribe_traced(&place, builder, MESSAGES);
    }
    let place = Place::new("calls-ring");
    // Room for all, so that nobody is overtaken, however slow.
    let builder = Publisher::builder(SESSION).ring(place.path("ring")).retain_bytes(64 << 20);
    let mut publisher = builder.requests_inline(true).open().unwrap();
    let Some(mut subscriber) = Traced::start(TEST, &place.path("")) else {
        eprintln!("skipped: no process may be traced here");
        return;
    };
    // A hundred pauses in which the subscriber spins.
    let breathe = |next: u64| {
        if next % (240 * MESSAGES_PER_PACKET) == 1 {
            pause(Nanos::from_millis(5));
        }
    };
    let calls = std::thread::scope(|scope| {
        scope.spawn(|| publish(&mut publisher, MESSAGES, breathe));
        subscriber.count_to_mark()
    });
    let total: u64 = calls.values().sum();
    assert!(total < MESSAGES / 1_000, "{total} system calls for {MESSAGES} messages: {calls:?}");
    subscriber.finish();
}

#[test]
fn a_subscriber_takes_each_packet_with_one_system_call() {
    const TEST: &str = "a_subscriber_takes_each_packet_with_one_system_call";
    const MESSAGES: u64 = 1_000 * MESSAGES_PER_PACKET;
    if let Some(place) = tracer::place() {
        let line = fs::read_to_string(place.join("line")).unwrap();
        let builder = Subscriber::builder(SESSION.into()).line(Line::A, line.parse().unwrap());
        return subscribe_traced(&place, builder, MESSAGES);
    }
    let place = Place::new("calls-subscriber");
    let line = format!("{}@127.0.0.1", place.line());
    place.write("line", line.as_bytes());
    let Some(mut subscriber) = Traced::start(TEST, &place.path("")) else {
        eprintln!("skipped: no process may be traced here");
        return;
    };
    let line = Publisher::builder(SESSION).line(Line::A, line.parse().unwrap());
    let mut publisher = line.requests_inline(true).open().unwrap();
    // The subscriber's offset is read from its file, so that no more is under way than a receive buffer holds.
    let offset = SharedFile::open(&place.path("offset")).unwrap();
    let has_taken = |next: u64| offset.mapping().as_ref().iter().any(|word| word.load(Ordering::Relaxed) == next);
    let keep_back = |next: u64| {
        if next % (20 * MESSAGES_PER_PACKET) == 1 {
            wait_for("the subscriber", || has_taken(next).then_some(()));
        }
    };
    let calls = std::thread::scope(|scope| {
        scope.spawn(|| publish(&mut publisher, MESSAGES, keep_back));
        subscriber.count_to_mark()
    });
    subscriber.finish();
    let most: u64 = fs::read_to_string(place.path("receives")).unwrap().parse().unwrap();
    assert!(received(&calls) <= most, "more than {most}: {calls:?}");
    let others = calls.values().sum::<u64>() - received(&calls);
    assert!(others < 10, "{others} other system calls: {calls:?}");
}

#[test]
fn a_publisher_sends_each_packet_with_one_system_call_per_line() {
    const TEST: &str = "a_publisher_sends_each_packet_with_one_system_call_per_line";
    const PACKETS: u64 = 2_000;
    if let Some(place) = tracer::place() {
        let [a, b] = ["a", "b"].map(|name| fs::read_to_string(place.join(name)).unwrap().parse().unwrap());
        let builder = Publisher::builder(SESSION).line(Line::A, a).line(Line::B, b).ring(place.join("ring"));
        let mut publisher = builder.linger(Duration::ZERO).open().unwrap();
        tracer::begin();
        publish(&mut publisher, PACKETS * MESSAGES_PER_PACKET, |_| {});
        return tracer::mark();
    }
    let place = Place::new("calls-publisher");
    // Nobody reads them; what does not fit into their buffers is dropped.
    let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    for (name, socket) in ["a", "b"].into_iter().zip(&sockets) {
        place.write(name, socket.local_addr().unwrap().to_string().as_bytes());
    }
    let Some(mut publisher) = Traced::start(TEST, &place.path("")) else {
        eprintln!("skipped: no process may be traced here");
        return;
    };
    let calls = publisher.count_to_mark();
    publisher.finish();
    assert!(sent(&calls) <= 2 * PACKETS, "more than {}: {calls:?}", 2 * PACKETS);
    let others = calls.values().sum::<u64>() - sent(&calls);
    assert!(others < PACKETS / 100, "{others} other system calls: {calls:?}");
}
