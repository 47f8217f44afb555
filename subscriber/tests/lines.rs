//! Unicast lines, and lines of one source, on real sockets of loopback, where 127.0.0.1 and 127.0.0.2 stand for two hosts.

use seqcast_publisher::{Publisher, PublisherCounters};
use seqcast_recovery::Nanos;
use seqcast_subscriber::{
    Event, Idle, IdleStrategy, ImpairmentConfig, Line, LineSource, OpenError, Start, Subscriber, SubscriberBuilder,
};
use seqcast_transport::Clock;
use std::net::UdpSocket;
use std::time::Duration;

/// When a test gives up.
const PATIENCE: Nanos = Nanos::from_secs(30);

const SESSION: &str = "LINES";

fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A unicast address and port; no other test uses the same `host`, 1..=254.
fn unicast(host: u8) -> String {
    format!("127.0.78.{host}:{}", free_port())
}

fn publisher(line: &str, requests: Option<&str>) -> Publisher {
    let builder = Publisher::builder(SESSION.parse().unwrap()).line(Line::A, line.parse().unwrap());
    let builder = match requests {
        Some(address) => builder.requests(address.parse().unwrap()),
        None => builder.linger(Duration::from_millis(50)),
    };
    builder.retain_bytes(1 << 20).open().unwrap()
}

fn subscriber(line: &str) -> SubscriberBuilder {
    let source: LineSource = line.parse().unwrap();
    Subscriber::builder(SESSION.parse().unwrap()).line(Line::A, source).start(Start::At(1))
}

/// Publishes messages `1..to`, a packet each, that say who sent them, and ends the session.
fn publish(mut publisher: Publisher, from: &str, to: u64) -> PublisherCounters {
    for number in 1..to {
        publisher.publish(format!("{number} from {from}").as_bytes()).unwrap();
        assert_eq!(publisher.flush().unwrap().refused, 0);
        std::thread::yield_now();
    }
    publisher.close().unwrap()
}

/// Asserts that messages `1..to` arrive as `from` sent them, and then the end of session.
fn expect(subscriber: &mut Subscriber, from: &str, to: u64) {
    let mut idle = Idle::new(IdleStrategy::Block);
    let start = Clock::now();
    let (mut next, mut ended) = (1, false);
    while !ended {
        let work = subscriber.poll(
            |event| match event {
                Event::Message(message) => {
                    assert_eq!(message.payload, format!("{next} from {from}").as_bytes());
                    next += 1;
                }
                Event::EndOfSession(_) => ended = true,
                Event::Lost(loss) => panic!("{} lost: {:?}", loss.range, loss.cause),
                Event::Gap(_) | Event::Recovered(_) | Event::NewSession(_) | Event::Rewound(_) | Event::Status(_) => {}
            },
            64,
        );
        let timeout = subscriber.timeout().map_or(PATIENCE, |timeout| PATIENCE.min(timeout.into()));
        idle.idle_until_readable(work, subscriber.fds(), Some(timeout)).unwrap();
        assert!(Clock::now() < start + PATIENCE, "stuck at {next}: {:?}", subscriber.counters());
    }
    assert_eq!(next, to);
}

#[test]
fn unicast_line_brings_everything_to_each_of_two_while_a_third_is_absent() {
    let requests = unicast(1);
    let lines = [2, 3, 4].map(unicast);
    let publisher = publisher(&lines.join(","), Some(&requests));
    let impairment: ImpairmentConfig = "loss=5%,burst=2,reorder=5%,seed=1".parse().unwrap();
    let mut subscribers = [&lines[0], &lines[2]].map(|line| {
        let builder = subscriber(line).recover_from(requests.parse().unwrap());
        builder.impair(impairment).open().unwrap()
    });
    let published = std::thread::scope(|scope| {
        for subscriber in &mut subscribers {
            scope.spawn(|| expect(subscriber, "everybody", 2_001));
        }
        publish(publisher, "everybody", 2_001)
    });
    let line = published.lines[Line::A.index()];
    assert_eq!((line.packets, line.refused), (6_000, 0), "three copies of each packet");
    for counters in subscribers.map(|subscriber| subscriber.counters()) {
        assert!(counters.impairment.dropped > 0 && counters.subscription.recovered > 0, "{counters:?}");
    }
}

#[test]
fn unicast_address_in_use_is_an_error_that_names_the_line() {
    let line = unicast(5);
    let _first = subscriber(&line).open().unwrap();
    let error = subscriber(&line).open().unwrap_err();
    assert!(matches!(error, OpenError::Line(Line::A, _)), "{error}");
    let text = error.to_string();
    assert!(text.starts_with(&format!("line A: {line}: cannot bind: another socket holds this address")), "{text}");
}

#[test]
fn unicast_address_of_another_host_is_an_error_that_lists_those_of_this_one() {
    // 203.0.113.0/24 is for documentation (RFC 5737), so no interface has it.
    let error = subscriber("203.0.113.254:9").open().unwrap_err();
    assert!(matches!(error, OpenError::Interface(Line::A, _)), "{error}");
    assert!(error.to_string().contains("127.0.0.1"), "{error}");
}

/// One of two publishers of the same session and numbers is heard through `line`; returns how many datagrams of the other
/// were counted.
fn hear_one_of_two(line: &str, destination: &str) -> u64 {
    let mut subscriber = subscriber(&format!("{line},source=127.0.0.1")).open().unwrap();
    let stranger = publisher(&format!("{destination}@127.0.0.2"), None);
    let ours = publisher(&format!("{destination}@127.0.0.1"), None);
    std::thread::scope(|scope| {
        // The stranger comes first, so that its copies would win.
        scope.spawn(|| {
            publish(stranger, "a stranger", 11);
            publish(ours, "our host", 101);
        });
        expect(&mut subscriber, "our host", 101);
    });
    subscriber.counters().other_sources
}

#[test]
fn only_the_source_that_was_set_is_heard_in_a_group_that_anybody_may_send_to() {
    let group = format!("239.255.78.111:{}", free_port());
    let others = hear_one_of_two(&format!("{group}@127.0.0.1"), &group);
    assert!(others > 10, "ten packets and the end of session at least: {others}");
}

#[test]
fn only_the_source_that_was_set_is_heard_at_a_unicast_address() {
    let address = unicast(6);
    let others = hear_one_of_two(&address, &address);
    assert!(others > 10, "ten packets and the end of session at least: {others}");
}

#[test]
fn group_of_one_source_is_joined_for_it_so_that_the_kernel_passes_no_other() {
    let group = format!("232.255.78.112:{}", free_port());
    assert_eq!(hear_one_of_two(&format!("{group}@127.0.0.1"), &group), 0);
}

#[test]
fn flood_of_another_source_does_not_hold_a_duty_cycle_up() {
    let line = unicast(7);
    let mut subscriber = subscriber(&format!("{line},source=127.0.0.2")).open().unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..1_000 {
        stranger.send_to(b"flood", &line).unwrap();
    }
    let mut taken = 0;
    loop {
        match subscriber.poll(|event| panic!("{event:?}"), 64) {
            0 => break,
            work if work <= 256 => taken += work as u64,
            work => panic!("one duty cycle took {work}"),
        }
    }
    assert_eq!((taken, subscriber.counters().other_sources), (1_000, 1_000));
}
