//! System calls, counted by a tracer: none per message on a ring line, one per packet on a network, at most.

#![expect(clippy::print_stderr, reason = "whoever runs the tests should know what was skipped")]

mod support;
#[path = "support/tracer.rs"]
mod tracer;

use seqcast_protocol::SessionId;
use seqcast_publisher::{Line, Publisher};
use seqcast_recovery::Nanos;
use seqcast_subscriber::{Event, Idle, IdleStrategy, LineSource, Offset, Start, StoredOffset, Subscriber};
use seqcast_transport::{Clock, SharedFile};
use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::{PATIENCE, Place, pause};
use tracer::{SystemCalls, Traced};

const SESSION: SessionId = SessionId::from_bytes(*b"CALLS     ");

/// What is published, one flush after the other.
struct Feed {
    name: &'static str,
    /// How long the message of this number is.
    bytes: fn(u64) -> usize,
    messages_per_flush: u64,
    flushes: u64,
    segmentation: bool,
    /// How many packets a call that sends or receives has at least, on average.
    sent_per_call: u64,
    received_per_call: u64,
}

impl Feed {
    fn messages(&self) -> u64 {
        self.messages_per_flush * self.flushes
    }

    /// Whether each flush is one packet.
    fn is_slow(&self) -> bool {
        self.sent_per_call == 1
    }
}

/// A packet of 1,472 bytes takes 42 messages of 32 bytes: (1472 − 20) / (2 + 32); and 14 of 100. 45 packets of 14 are one run, all
/// that waits in the staging buffer.
const FEEDS: [Feed; 4] = [
    Feed {
        name: "slow",
        bytes: |_| 32,
        messages_per_flush: 42,
        flushes: 1_000,
        segmentation: true,
        sent_per_call: 1,
        received_per_call: 1,
    },
    Feed {
        name: "equal",
        bytes: |_| 100,
        messages_per_flush: 45 * 14,
        flushes: 200,
        segmentation: true,
        sent_per_call: 40,
        received_per_call: 30,
    },
    Feed {
        name: "mixed",
        bytes: |number| 8 + (number * 37 % 400) as usize,
        messages_per_flush: 280,
        flushes: 200,
        segmentation: true,
        sent_per_call: 8,
        received_per_call: 10,
    },
    Feed {
        name: "unsegmented",
        bytes: |_| 100,
        messages_per_flush: 40 * 14,
        flushes: 200,
        segmentation: false,
        sent_per_call: 8,
        received_per_call: 6,
    },
];

/// How many of these system calls there were.
fn count(calls: &SystemCalls, numbers: &[libc::c_long]) -> u64 {
    numbers.iter().filter_map(|number| calls.get(number)).sum()
}

/// Those that receive, or look whether there is anything to receive.
fn received(calls: &SystemCalls) -> u64 {
    count(calls, &[libc::SYS_read, libc::SYS_recvfrom, libc::SYS_recvmsg, libc::SYS_recvmmsg, libc::SYS_ppoll])
}

fn sent(calls: &SystemCalls) -> u64 {
    count(calls, &[libc::SYS_write, libc::SYS_sendto, libc::SYS_sendmsg, libc::SYS_sendmmsg])
}

/// Publishes messages that begin with their number; `behind` is called with the next number behind each flush.
fn publish(publisher: &mut Publisher, feed: &Feed, mut behind: impl FnMut(u64)) {
    for number in 1..=feed.messages() {
        let mut claim = publisher.claim((feed.bytes)(number)).unwrap();
        claim[..8].copy_from_slice(&number.to_be_bytes());
        claim.commit();
        if number % feed.messages_per_flush == 0 {
            assert_eq!(publisher.flush().unwrap().refused, 0);
            behind(number + 1);
        }
    }
}

/// Whether the offset that is stored in this file has this number, without a system call.
fn has_come_to(offset: &SharedFile, next: u64) -> bool {
    offset.mapping().as_ref().iter().any(|word| word.load(Ordering::Relaxed) == next)
}

/// What a child that takes all messages does: it stores its offset behind each poll. Before each it lets `wait` wait for this
/// number. Returns how many polls there were.
fn subscribe_traced(place: &Path, subscriber: &mut Subscriber, messages: u64, mut wait: impl FnMut(u64)) -> u64 {
    let mut stored = StoredOffset::open(&place.join("taken")).unwrap();
    let mut idle = Idle::new(IdleStrategy::Spin);
    tracer::begin();
    let (mut next, mut polls) = (1, 0);
    while next <= messages {
        wait(next);
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
    assert!(subscriber.stats_path().is_some(), "counters are kept");
    assert_eq!(subscriber.counters().subscription.requests, 0, "the publisher waits for the subscriber");
    polls
}

#[test]
fn a_ring_line_takes_no_system_call_per_message_with_a_stored_offset_either() {
    const TEST: &str = "a_ring_line_takes_no_system_call_per_message_with_a_stored_offset_either";
    let feed = Feed { flushes: 25_000, ..FEEDS[0] };
    if let Some(place) = tracer::place() {
        let builder = Subscriber::builder(SESSION.into()).line(Line::A, LineSource::ring(place.join("ring")));
        let mut subscriber = builder.start(Start::Oldest).stats(place.join("stats")).open().unwrap();
        subscribe_traced(&place, &mut subscriber, feed.messages(), |_| {});
        return;
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
        if next % (250 * feed.messages_per_flush) == 1 {
            pause(Nanos::from_millis(5));
        }
    };
    let calls = std::thread::scope(|scope| {
        scope.spawn(|| publish(&mut publisher, &feed, breathe));
        subscriber.count_to_mark()
    });
    let total: u64 = calls.values().sum();
    assert!(total < feed.messages() / 1_000, "{total} system calls for {} messages: {calls:?}", feed.messages());
    subscriber.finish();
}

#[test]
fn a_subscriber_takes_a_packet_with_one_system_call_and_many_with_fewer() {
    const TEST: &str = "a_subscriber_takes_a_packet_with_one_system_call_and_many_with_fewer";
    if let Some(place) = tracer::place() {
        return subscribe_counted(&place);
    }
    for feed in &FEEDS {
        let place = Place::new("calls-subscriber");
        let line = format!("{}@127.0.0.1", place.line());
        place.write("line", line.as_bytes());
        place.write("feed", feed.name.as_bytes());
        let mut published = StoredOffset::open(&place.path("published")).unwrap();
        let Some(mut subscriber) = Traced::start(TEST, &place.path("")) else {
            eprintln!("skipped: no process may be traced here");
            return;
        };
        let line = Publisher::builder(SESSION).line(Line::A, line.parse().unwrap()).segmentation(feed.segmentation);
        let mut publisher = line.requests_inline(true).open().unwrap();
        // No more is under way than a receive buffer of the usual length holds.
        let taken = SharedFile::open(&place.path("taken")).unwrap();
        let keep_back = |next: u64| {
            published.store(Offset { session: SESSION, next, position: 0 });
            let end = Clock::now() + PATIENCE;
            while !has_come_to(&taken, next) {
                assert!(Clock::now() < end, "{}: the subscriber does not come to {next}", feed.name);
                std::thread::yield_now();
            }
        };
        let calls = std::thread::scope(|scope| {
            scope.spawn(|| publish(&mut publisher, feed, keep_back));
            subscriber.count_to_mark()
        });
        subscriber.finish();
        let [packets, polls] = read_counts(&place, "counts");
        assert_eq!(packets, publisher.counters().lines[0].packets);
        let others = calls.values().sum::<u64>() - received(&calls);
        // A machine that holds the subscriber up has it take datagrams together, and again singly: two calls each time, of which
        // there are three in the first 10 s and one in each 10 s after.
        assert!(others < 10, "{}: {others} other system calls: {calls:?}", feed.name);
        // Each poll looks for more until there is none. A look that finds something receives it with one call more, behind one of
        // the others.
        let most = packets / feed.received_per_call + polls + others;
        assert!(received(&calls) <= most, "{}: more than {most}: {calls:?}", feed.name);
    }
}

/// The child of a feed over the network: spins when it is slow, else looks when something is there.
fn subscribe_counted(place: &Path) {
    let feed = read_feed(place);
    let line = fs::read_to_string(place.join("line")).unwrap();
    let builder = Subscriber::builder(SESSION.into()).line(Line::A, line.parse().unwrap());
    let mut subscriber = builder.start(Start::At(1)).stats(place.join("stats")).open().unwrap();
    let published = SharedFile::open(&place.join("published")).unwrap();
    let polls = subscribe_traced(place, &mut subscriber, feed.messages(), |next| {
        let end = (next - 1) / feed.messages_per_flush * feed.messages_per_flush + feed.messages_per_flush + 1;
        while !feed.is_slow() && !has_come_to(&published, end) {
            std::hint::spin_loop();
        }
    });
    let packets = subscriber.counters().subscription.lines[0].packets;
    fs::write(place.join("counts"), format!("{packets} {polls}")).unwrap();
}

#[test]
fn a_publisher_sends_a_packet_with_one_system_call_per_line_and_many_with_fewer() {
    const TEST: &str = "a_publisher_sends_a_packet_with_one_system_call_per_line_and_many_with_fewer";
    if let Some(place) = tracer::place() {
        return publish_counted(&place);
    }
    for feed in &FEEDS {
        let place = Place::new("calls-publisher");
        // Nobody reads them; what does not fit into their buffers is dropped.
        let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        for (name, socket) in ["a", "b"].into_iter().zip(&sockets) {
            place.write(name, socket.local_addr().unwrap().to_string().as_bytes());
        }
        place.write("feed", feed.name.as_bytes());
        let Some(mut publisher) = Traced::start(TEST, &place.path("")) else {
            eprintln!("skipped: no process may be traced here");
            return;
        };
        let calls = publisher.count_to_mark();
        publisher.finish();
        let [packets] = read_counts(&place, "counts");
        let most = 2 * packets / feed.sent_per_call;
        assert!(sent(&calls) <= most, "{}: more than {most}: {calls:?}", feed.name);
        let others = calls.values().sum::<u64>() - sent(&calls);
        assert!(others < 10, "{}: {others} other system calls: {calls:?}", feed.name);
    }
}

/// The child that publishes a feed on two lines.
fn publish_counted(place: &Path) {
    let feed = read_feed(place);
    let [a, b] = ["a", "b"].map(|name| fs::read_to_string(place.join(name)).unwrap().parse().unwrap());
    let builder = Publisher::builder(SESSION).line(Line::A, a).line(Line::B, b).segmentation(feed.segmentation);
    let mut publisher = builder.ring(place.join("ring")).linger(Duration::ZERO).open().unwrap();
    tracer::begin();
    publish(&mut publisher, feed, |_| {});
    tracer::mark();
    let [a, b] = publisher.counters().lines.map(|counters| counters.packets);
    assert_eq!(a, b);
    fs::write(place.join("counts"), a.to_string()).unwrap();
}

/// The feed that the parent named.
fn read_feed(place: &Path) -> &'static Feed {
    let name = fs::read_to_string(place.join("feed")).unwrap();
    FEEDS.iter().find(|feed| feed.name == name).unwrap()
}

/// What the child has counted.
fn read_counts<const COUNT: usize>(place: &Place, name: &str) -> [u64; COUNT] {
    let text = fs::read_to_string(place.path(name)).unwrap();
    text.split(' ').map(|count| count.parse().unwrap()).collect::<Vec<_>>().try_into().unwrap()
}
