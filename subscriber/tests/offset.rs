//! How far a subscriber says that it has come.

use seqcast_publisher::Publisher;
use seqcast_recovery::Nanos;
use seqcast_subscriber::{Event, Line, LineSource, Offset, Subscriber};
use seqcast_transport::Clock;
use std::path::Path;

/// When a test gives up.
const PATIENCE: Nanos = Nanos::from_secs(30);

/// Polls until `is_enough`, and returns the first number that was delivered.
fn poll(subscriber: &mut Subscriber, is_enough: impl Fn(&Subscriber) -> bool) -> Option<u64> {
    let (start, mut first) = (Clock::now(), None);
    while !is_enough(subscriber) {
        subscriber.poll(
            |event| match event {
                Event::Message(message) => {
                    first.get_or_insert(message.number);
                }
                Event::Lost(loss) => panic!("{} lost: {:?}", loss.range, loss.cause),
                _ => {}
            },
            64,
        );
        assert!(Clock::now() < start + PATIENCE, "{:?}", subscriber.counters());
    }
    first
}

#[test]
fn who_was_delivered_nothing_begins_at_the_oldest_when_it_is_started_again() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("offset-none-{}", std::process::id()));
    let session = "OFFSET".parse().unwrap();
    let mut publisher = Publisher::builder(session).ring(&file).retain_bytes(1 << 16).open().unwrap();
    let open = |resumed: Option<Offset>| {
        let builder = Subscriber::builder(session.into()).line(Line::A, LineSource::ring(&file));
        builder.resume(resumed).open().unwrap()
    };
    let mut subscriber = open(None);
    poll(&mut subscriber, |subscriber| subscriber.next().is_some());
    let stored = subscriber.offset(7);
    assert_eq!(stored, None, "the number that it waits for may be overwritten before it is started again");

    while publisher.oldest() == 1 {
        publisher.publish(&[1; 1_000]).unwrap();
        let _ = publisher.flush().unwrap();
    }
    let next = publisher.next();
    let mut subscriber = open(stored);
    let first = poll(&mut subscriber, |subscriber| subscriber.next() == Some(next));
    assert_eq!(first, Some(publisher.oldest()));
    assert_eq!(subscriber.offset(7), Some(Offset { session, next, position: 7 }));
    std::fs::remove_file(&file).unwrap();
}
