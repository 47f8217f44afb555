//! A subscriber that waits until it is live, and how far it may fall behind a ring.

use seqcast_publisher::Publisher;
use seqcast_subscriber::{
    CatchUp, Event, GapPolicy, Headroom, Idle, IdleStrategy, ImpairmentConfig, Line, Start, Status, Subscriber,
};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// When a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Messages of so many bytes fill a packet a dozen at a time.
const MESSAGE: [u8; 100] = [7; 100];

/// A directory of one test, removed at its end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let place = std::env::temp_dir().join(format!("seqcast-catch-up-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&place).unwrap();
        Self(place)
    }

    fn ring(&self) -> PathBuf {
        self.0.join("ring")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A publisher of a ring and nothing else.
fn publisher(ring: &Path, session: &str, retain_bytes: usize) -> Publisher {
    let builder = Publisher::builder(session.parse().unwrap()).ring(ring).retain_bytes(retain_bytes);
    builder.linger(Duration::ZERO).open().unwrap()
}

fn publish(publisher: &mut Publisher, count: u64) {
    for _ in 0..count {
        publisher.publish(&MESSAGE).unwrap();
    }
    assert_eq!(publisher.flush().unwrap().refused, 0);
}

fn on_ring(ring: &Path, start: Start) -> Subscriber {
    let line = format!("ring:{}", ring.display()).parse().unwrap();
    Subscriber::builder("any".parse().unwrap()).line(Line::A, line).start(start).open().unwrap()
}

/// Waits; returns how that ended, the numbers of the messages in order, and where it was told that it is caught up.
fn wait(subscriber: &mut Subscriber, timeout: Duration) -> (CatchUp, Vec<u64>, Vec<u64>) {
    let (mut numbers, mut caught_up) = (vec![], vec![]);
    let outcome = subscriber.wait_until_caught_up(&mut Idle::new(IdleStrategy::Block), timeout, |event| match event {
        Event::Message(message) => numbers.push(message.number),
        Event::Status(Status::CaughtUp { next }) => caught_up.push(next),
        _ => {}
    });
    (outcome, numbers, caught_up)
}

#[test]
fn a_ring_is_caught_up_with_at_its_end_wherever_it_is_joined() {
    let place = Place::new("ring");
    let mut publisher = publisher(&place.ring(), "ONE", 8 << 20);
    // More packets than a duty cycle takes, and more messages than a poll hands out.
    publish(&mut publisher, 20_000);
    for (start, first) in [(Start::Oldest, 1), (Start::At(19_000), 19_000), (Start::Live, 20_001)] {
        let mut subscriber = on_ring(&place.ring(), start);
        assert!(!subscriber.is_caught_up());
        let expected = (CatchUp::Live, (first..20_001).collect(), vec![20_001]);
        assert!(wait(&mut subscriber, PATIENCE) == expected, "{start:?}");
        assert!(subscriber.is_caught_up());
    }
}

#[test]
fn one_that_fell_behind_is_told_by_polls_and_waits_for_what_came() {
    let place = Place::new("behind");
    let mut publisher = publisher(&place.ring(), "ONE", 8 << 20);
    let mut subscriber = on_ring(&place.ring(), Start::Oldest);
    assert_eq!(wait(&mut subscriber, PATIENCE), (CatchUp::Live, vec![], vec![1]));
    publish(&mut publisher, 5_000);
    subscriber.poll(|_| {}, 10);
    assert!(!subscriber.is_caught_up(), "it has more to take");
    let (outcome, numbers, caught_up) = wait(&mut subscriber, PATIENCE);
    assert_eq!((outcome, caught_up), (CatchUp::Live, vec![]), "told once in a session");
    assert!(numbers == (11..5_001).collect::<Vec<_>>());
}

#[test]
fn a_join_over_the_network_is_live_once_what_was_before_has_come() {
    let line = format!("239.255.79.1:{}@127.0.0.1", free_port());
    let requests = format!("127.0.0.1:{}", free_port()).parse().unwrap();
    let builder = Publisher::builder("ONE".parse().unwrap()).line(Line::A, line.parse().unwrap());
    let mut publisher = builder.requests(requests).retain_bytes(8 << 20).open().unwrap();
    publish(&mut publisher, 5_000);
    for (start, first) in [(Start::Oldest, 1), (Start::At(4_000), 4_000), (Start::Live, 5_001)] {
        let builder = Subscriber::builder("ONE".parse().unwrap()).line(Line::A, line.parse().unwrap());
        let mut subscriber = builder.recover_from(requests).start(start).open().unwrap();
        let expected = (CatchUp::Live, (first..5_001).collect(), vec![5_001]);
        assert!(wait(&mut subscriber, PATIENCE) == expected, "{start:?}");
        assert_eq!(subscriber.headroom(), None, "nobody tells over the network");
    }
}

#[test]
fn the_end_a_stop_and_a_time_out_are_told_apart() {
    let place = Place::new("ends");
    let mut nobody = on_ring(&place.ring(), Start::Oldest);
    assert_eq!(wait(&mut nobody, Duration::from_millis(20)), (CatchUp::TimedOut, vec![], vec![]));
    assert_eq!(wait(&mut nobody, Duration::ZERO).0, CatchUp::TimedOut);

    let mut publisher = publisher(&place.ring(), "ONE", 8 << 20);
    publish(&mut publisher, 100);
    let loss: ImpairmentConfig = "loss=20%,seed=1".parse().unwrap();
    let line: String = format!("ring:{}", place.ring().display());
    let builder = Subscriber::builder("ONE".parse().unwrap()).line(Line::A, line.parse().unwrap());
    let mut stopping = builder.gap_policy(GapPolicy::Stop).impair_line(Line::A, loss).open().unwrap();
    while stopping.next().is_none() {
        stopping.poll(|_| {}, 64);
    }
    for _ in 0..50 {
        publish(&mut publisher, 100);
        stopping.poll(|_| {}, 10);
    }
    assert_eq!(wait(&mut stopping, PATIENCE).0, CatchUp::Stopped);

    publisher.close().unwrap();
    let mut late = on_ring(&place.ring(), Start::Oldest);
    let expected = (CatchUp::Ended, (1..5_101).collect(), vec![5_101]);
    let outcome = wait(&mut late, PATIENCE);
    assert!(outcome == expected, "{:?} {:?}", outcome.0, outcome.2);
    assert_eq!(wait(&mut late, PATIENCE), (CatchUp::Ended, vec![], vec![]), "and again");
}

#[test]
fn headroom_shrinks_as_the_publisher_goes_on_and_is_gone_when_it_is_overtaken() {
    let place = Place::new("headroom");
    let mut publisher = publisher(&place.ring(), "ONE", 64 << 10);
    let mut subscriber = on_ring(&place.ring(), Start::Live);
    assert_eq!(subscriber.headroom(), None, "nobody was heard");
    assert_eq!(wait(&mut subscriber, PATIENCE).0, CatchUp::Live);
    assert_eq!(subscriber.headroom(), None, "nothing is retained");
    publish(&mut publisher, 1);
    subscriber.poll(|_| {}, 1);
    // 102 bytes of a block are 13 words, one is the commit word's, two lines hold both; seven eighths of the ring are kept at least.
    let whole = Headroom { messages: 57_344 / 128, bytes: 57_344, time: None };
    assert_eq!(subscriber.headroom(), Some(whole));
    let retained = publisher.retained();
    assert_eq!((retained.messages, retained.bytes), (1, 128));
    let mut left = whole;
    let mut published = 1;
    while left.messages > 0 {
        publish(&mut publisher, 1);
        published += 1;
        let now = subscriber.headroom().unwrap();
        assert_eq!((now.messages, now.bytes), (left.messages - 1, left.bytes - 128));
        left = now;
    }
    assert_eq!(publisher.oldest(), 1);
    let retained = publisher.retained();
    assert_eq!((retained.messages, retained.bytes), (published, 128 * published));
    // An eighth may pass before it is overwritten indeed.
    while publisher.oldest() <= 2 {
        publish(&mut publisher, 1);
    }
    assert_eq!(subscriber.headroom().map(|left| left.messages), Some(0));
    let (_, numbers, _) = wait(&mut subscriber, PATIENCE);
    assert_eq!(numbers.first(), Some(&publisher.oldest()), "the rest was lost");
    assert_eq!(subscriber.headroom().map(|left| left.messages), Some(448));
}
