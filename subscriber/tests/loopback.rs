//! A publisher and subscribers on real sockets, on loopback.

use seqcast_publisher::Publisher;
use seqcast_recovery::Nanos;
use seqcast_subscriber::{
    Event, GapPolicy, Idle, IdleStrategy, ImpairmentConfig, Line, LossCause, RequestConfig, SequenceRange,
    SessionChoice, Start, Status, Subscriber, SubscriberBuilder,
};
use seqcast_transport::Clock;
use std::net::{SocketAddrV4, UdpSocket};
use std::time::Duration;

/// When a test gives up.
const PATIENCE: Nanos = Nanos::from_secs(30);

/// A group, its port, and a request address that nobody else on this machine uses at the moment.
struct Addresses {
    line: String,
    requests: SocketAddrV4,
}

fn addresses(group: u8) -> Addresses {
    let free = || UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    Addresses {
        line: format!("239.255.78.{group}:{}@127.0.0.1", free()),
        requests: format!("127.0.0.1:{}", free()).parse().unwrap(),
    }
}

fn publisher(addresses: &Addresses, session: &str, retain_bytes: usize) -> Publisher {
    Publisher::builder(session.parse().unwrap())
        .line(Line::A, addresses.line.parse().unwrap())
        .requests(addresses.requests)
        .retain_bytes(retain_bytes)
        .open()
        .unwrap()
}

fn subscriber(addresses: &Addresses, session: &str) -> SubscriberBuilder {
    Subscriber::builder(session.parse().unwrap())
        .line(Line::A, addresses.line.parse().unwrap())
        .recover_from(addresses.requests)
}

fn message(number: u64) -> Vec<u8> {
    (0..number % 90).map(|byte| (byte ^ number) as u8).chain(number.to_be_bytes()).collect()
}

/// Publishes messages `from..to`, a few packets at a time.
fn publish(publisher: &mut Publisher, from: u64, to: u64) {
    for number in from..to {
        assert_eq!(publisher.publish(&message(number)).unwrap(), number);
        if number % 50 == 0 {
            assert_eq!(publisher.flush().unwrap().refused, 0);
            std::thread::yield_now();
        }
    }
    assert_eq!(publisher.flush().unwrap().refused, 0);
}

/// What a subscriber is told until it has seen the end of session, messages checked and left out.
#[derive(Debug, Default)]
struct Seen {
    next: u64,
    lost: Vec<(SequenceRange, LossCause)>,
    gaps: u64,
    recovered: u64,
    ended_at: Option<u64>,
    statuses: Vec<Status>,
    sessions: Vec<String>,
}

impl Seen {
    fn handle(&mut self, event: Event<'_>) {
        match event {
            Event::Message(delivered) => {
                if self.next == 0 {
                    self.next = delivered.number;
                }
                assert_eq!(delivered.number, self.next);
                assert_eq!(delivered.payload, message(delivered.number));
                self.next += 1;
            }
            Event::Gap(_) => self.gaps += 1,
            Event::Recovered(_) => self.recovered += 1,
            Event::Lost(loss) => {
                if self.next == 0 {
                    self.next = loss.range.start();
                }
                assert_eq!(loss.range.start(), self.next);
                self.next = loss.range.end();
                self.lost.push((loss.range, loss.cause));
            }
            Event::Rewound(rewound) => panic!("{rewound:?}"),
            Event::NewSession(new) => {
                self.sessions.push(new.session.to_string());
                self.next = 0;
            }
            Event::EndOfSession(end) => self.ended_at = Some(end.next),
            Event::Status(status) => self.statuses.push(status),
        }
    }

    fn run(&mut self, subscriber: &mut Subscriber, limit: usize) {
        let mut idle = Idle::new(IdleStrategy::Block);
        let mut last_work = Clock::now();
        while self.ended_at.is_none() && !subscriber.subscription().is_stopped() {
            let work = subscriber.poll(|event| self.handle(event), limit);
            let timeout = subscriber.timeout().map_or(PATIENCE, |timeout| PATIENCE.min(timeout.into()));
            idle.idle_until_readable(work, subscriber.fds(), Some(timeout)).unwrap();
            if work > 0 {
                last_work = Clock::now();
            }
            assert!(Clock::now() < last_work + PATIENCE, "stuck: {self:?} {:?}", subscriber.counters());
        }
    }
}

#[test]
fn everything_arrives_once_in_order_through_an_impaired_line() {
    let addresses = addresses(1);
    let mut publisher = publisher(&addresses, "LOSSY", 8 << 20);
    let impairment: ImpairmentConfig = "loss=10%,burst=3,duplicate=5%,reorder=5%,seed=1".parse().unwrap();
    let mut subscribers: Vec<_> = (0..3)
        .map(|seed| {
            let builder = subscriber(&addresses, "LOSSY").impair(ImpairmentConfig { seed, ..impairment });
            (builder.open().unwrap(), Seen::default())
        })
        .collect();
    let feed = std::thread::spawn(move || {
        publish(&mut publisher, 1, 20_001);
        publisher.close().unwrap()
    });
    std::thread::scope(|scope| {
        for (limit, (subscriber, seen)) in [1, 7, 10_000].into_iter().zip(&mut subscribers) {
            scope.spawn(move || seen.run(subscriber, limit));
        }
    });
    let published = feed.join().unwrap();
    for (subscriber, seen) in &subscribers {
        let counters = subscriber.counters();
        assert_eq!((seen.ended_at, seen.next), (Some(20_001), 20_001));
        assert_eq!(seen.lost, []);
        assert!(seen.gaps > 0 && seen.recovered == seen.gaps, "{seen:?}");
        assert!(counters.impairment.dropped > 0 && counters.subscription.recovered > 0, "{counters:?}");
        assert_eq!(counters.subscription.messages, 20_000);
    }
    assert_eq!(published.messages, 20_000);
    assert!(published.retransmitter.responder.retransmissions > 0, "{published:?}");
}

#[test]
fn a_late_joiner_takes_what_is_retained_and_is_caught_up() {
    let addresses = addresses(2);
    let mut publisher = publisher(&addresses, "LATE", 8 << 20);
    publish(&mut publisher, 1, 5_001);
    let mut late = subscriber(&addresses, "any").open().unwrap();
    let mut live = subscriber(&addresses, "LATE").start(Start::Live).open().unwrap();
    let mut at = subscriber(&addresses, "LATE").start(Start::At(4_000)).open().unwrap();
    let feed = std::thread::spawn(move || publisher.close().unwrap());
    let (mut seen, mut seen_live, mut seen_at) = (Seen::default(), Seen::default(), Seen::default());
    seen.run(&mut late, 64);
    seen_live.run(&mut live, 64);
    seen_at.run(&mut at, 64);
    feed.join().unwrap();
    assert_eq!((seen.next, seen.gaps, seen.lost.len()), (5_001, 0, 0));
    assert_eq!(seen.sessions, ["LATE"]);
    assert!(seen.statuses.iter().any(|status| matches!(status, Status::CaughtUp { next: 5_001 })), "{seen:?}");
    assert_eq!((seen_live.ended_at, live.counters().subscription.messages), (Some(5_001), 0));
    assert_eq!((seen_at.next, at.counters().subscription.messages), (5_001, 1_001));
}

#[test]
fn what_was_overwritten_is_reported_exactly_and_at_once() {
    let addresses = addresses(3);
    let mut publisher = publisher(&addresses, "LAPPED", 16 << 10);
    let mut slow = subscriber(&addresses, "LAPPED").receive_buffer_bytes(Some(4_096)).open().unwrap();
    let mut seen = Seen::default();
    publish(&mut publisher, 1, 11);
    while seen.next < 11 {
        slow.poll(|event| seen.handle(event), 64);
    }
    // It stops while the ring goes round several times and its receive buffer overflows.
    publish(&mut publisher, 11, 3_001);
    let oldest = publisher.oldest();
    let feed = std::thread::spawn(move || publisher.close().unwrap());
    seen.run(&mut slow, 64);
    feed.join().unwrap();
    let (range, cause) = *seen.lost.last().unwrap();
    assert_eq!((range.end(), cause, seen.next), (oldest, LossCause::Overwritten, 3_001));
    let lost: u64 = seen.lost.iter().map(|(range, _)| range.count()).sum();
    let counters = slow.counters();
    assert_eq!(counters.subscription.messages + lost, 3_000);
    assert_eq!(counters.subscription.lost, lost);
    assert!(counters.kernel_drops > 0, "{counters:?}");
}

#[test]
fn skip_delivers_on_and_stop_delivers_nothing_more() {
    let addresses = addresses(4);
    let mut publisher = publisher(&addresses, "POLICY", 8 << 20);
    let impairment: ImpairmentConfig = "loss=10%,seed=3".parse().unwrap();
    let mut skip = subscriber(&addresses, "POLICY").gap_policy(GapPolicy::Skip).impair(impairment).open().unwrap();
    let mut stop = subscriber(&addresses, "POLICY").gap_policy(GapPolicy::Stop).impair(impairment).open().unwrap();
    let feed = std::thread::spawn(move || {
        publish(&mut publisher, 1, 5_001);
        publisher.close().unwrap()
    });
    let (mut skipped, mut stopped) = (Seen::default(), Seen::default());
    skipped.run(&mut skip, 64);
    stopped.run(&mut stop, 64);
    feed.join().unwrap();
    assert_eq!(skipped.next, 5_001);
    assert!(!skipped.lost.is_empty() && skipped.lost.iter().all(|(_, cause)| *cause == LossCause::Skipped));
    assert_eq!((stopped.gaps, stopped.lost.len()), (1, 0));
    assert!(matches!(stopped.statuses.last(), Some(Status::Stopped { next }) if *next == stopped.next), "{stopped:?}");
}

#[test]
fn a_publisher_that_is_gone_is_silent_and_the_next_one_is_followed() {
    let addresses = addresses(5);
    let choice = SessionChoice::Any;
    let mut follower = Subscriber::builder(choice)
        .line(Line::A, addresses.line.parse().unwrap())
        .recover_from(addresses.requests)
        .silent_after(Duration::from_millis(300))
        .open()
        .unwrap();
    let mut seen = Seen::default();
    let mut first = publisher(&addresses, "FIRST", 1 << 20);
    publish(&mut first, 1, 101);
    while seen.next < 101 {
        follower.poll(|event| seen.handle(event), 64);
    }
    drop(first);
    while !follower.subscription().is_silent() {
        follower.poll(|event| seen.handle(event), 64);
    }
    assert_eq!(seen.ended_at, None, "a crash announces nothing");
    let mut second = publisher(&addresses, "SECOND", 1 << 20);
    let feed = std::thread::spawn(move || {
        publish(&mut second, 1, 51);
        second.close().unwrap()
    });
    seen.run(&mut follower, 64);
    feed.join().unwrap();
    assert_eq!(seen.sessions, ["FIRST", "SECOND"]);
    assert_eq!((seen.ended_at, seen.next), (Some(51), 51));
}

#[test]
fn one_registration_with_mio_is_enough() {
    let addresses = addresses(6);
    let mut publisher = publisher(&addresses, "EVENTS", 1 << 20);
    let impairment: ImpairmentConfig = "loss=5%,seed=5".parse().unwrap();
    let mut subscriber = subscriber(&addresses, "EVENTS").impair(impairment).open().unwrap();
    let mut poll = mio::Poll::new().unwrap();
    poll.registry().register(&mut subscriber, mio::Token(0), mio::Interest::READABLE).unwrap();
    let feed = std::thread::spawn(move || {
        publish(&mut publisher, 1, 2_001);
        publisher.close().unwrap()
    });
    let mut seen = Seen::default();
    let mut events = mio::Events::with_capacity(8);
    let mut turns = 0;
    while seen.ended_at.is_none() {
        while subscriber.poll(|event| seen.handle(event), 64) > 0 {}
        poll.poll(&mut events, subscriber.timeout()).unwrap();
        turns += 1;
        assert!(turns < 100_000, "{seen:?}");
    }
    feed.join().unwrap();
    assert_eq!((seen.next, seen.lost.len()), (2_001, 0));
}

#[test]
fn the_smallest_limits_lose_nothing() {
    let addresses = addresses(7);
    let mut publisher = Publisher::builder("SMALL".parse().unwrap())
        .line(Line::A, addresses.line.parse().unwrap())
        .requests(addresses.requests)
        .heartbeat_ceiling(Duration::from_millis(5))
        .max_datagram(200)
        .open()
        .unwrap();
    let limits = RequestConfig { in_flight: 1, delay: Nanos::from_micros(200), ..RequestConfig::default() };
    let impairment: ImpairmentConfig = "loss=5%,burst=2,reorder=5%,seed=6".parse().unwrap();
    let mut subscriber = subscriber(&addresses, "SMALL")
        .reorder_window(4, 512)
        .request_limits(limits)
        .impair(impairment)
        .open()
        .unwrap();
    let feed = std::thread::spawn(move || {
        publish(&mut publisher, 1, 3_001);
        // Longer than the first heartbeats, which a ceiling of 5 ms keeps coming.
        std::thread::park_timeout(Duration::from_millis(100));
        publisher.close().unwrap()
    });
    let mut seen = Seen::default();
    seen.run(&mut subscriber, 64);
    let published = feed.join().unwrap();
    assert_eq!((seen.next, seen.lost.len()), (3_001, 0));
    assert!(subscriber.counters().subscription.deferred > 0, "a window of four messages has no room for most");
    assert!(published.retransmitter.heartbeats >= 12, "{published:?}");
}

/// Does nothing for so long, as an application that is stuck.
fn stall(duration: Duration) {
    let end = Clock::now() + duration.into();
    while Clock::now() < end {
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

#[test]
fn answers_that_lie_unread_are_not_given_up() {
    let addresses = addresses(8);
    let mut publisher = publisher(&addresses, "STALLED", 1 << 20);
    publish(&mut publisher, 1, 101);
    let give_up = Duration::from_millis(300);
    let mut late =
        subscriber(&addresses, "STALLED").gap_policy(GapPolicy::Wait { give_up: give_up.into() }).open().unwrap();
    let mut seen = Seen::default();
    let mut has_stalled = false;
    while seen.next < 101 {
        late.poll(|event| seen.handle(event), 64);
        if !has_stalled && late.counters().subscription.requests > 0 {
            has_stalled = true;
            stall(give_up * 2);
        }
    }
    assert_eq!((seen.lost.len(), late.counters().subscription.lost), (0, 0));
}

#[test]
fn a_callback_that_takes_long_is_no_silence() {
    let addresses = addresses(9);
    let mut publisher = publisher(&addresses, "SLOW", 1 << 20);
    let silent_after = Duration::from_millis(300);
    let mut slow = subscriber(&addresses, "SLOW").silent_after(silent_after).open().unwrap();
    publish(&mut publisher, 1, 3);
    let mut seen = Seen::default();
    while seen.next < 3 {
        slow.poll(
            |event| {
                if let Event::Message(_) = event {
                    stall(silent_after * 2);
                }
                seen.handle(event);
            },
            1,
        );
    }
    for _ in 0..100 {
        slow.poll(|event| seen.handle(event), 64);
    }
    let is_silence = |status: &&Status| matches!(status, Status::Silent { .. });
    assert_eq!(seen.statuses.iter().find(is_silence), None, "heartbeats came all the time");
}
