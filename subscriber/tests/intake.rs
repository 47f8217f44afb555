//! Runs and single packets in turn, so that a line's datagrams are taken together and singly in turn: every message comes once
//! and in order, and nothing is taken for one datagram that was several.

use seqcast_publisher::Publisher;
use seqcast_recovery::Nanos;
use seqcast_subscriber::{Event, Line, LineSource, Start, Subscriber};
use seqcast_transport::{Clock, wait_readable};
use std::net::UdpSocket;
use std::ops::ControlFlow::{Break, Continue};
use std::time::Duration;

/// When a test gives up.
const PATIENCE: Nanos = Nanos::from_secs(30);

/// How often it is changed between runs and single packets.
const ROUNDS: u64 = 12;

/// Longer than a line that is no longer busy is taken for busy.
const QUIET: Nanos = Nanos::from_millis(3);

fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn publisher(destination: &str) -> Publisher {
    let builder = Publisher::builder("INTAKE".parse().unwrap()).line(Line::A, destination.parse().unwrap());
    // Nobody does its other work, so there is no heartbeat.
    builder.requests_inline(true).retain_bytes(1 << 20).open().unwrap()
}

/// Messages of one length make runs of 45 packets; every third round they differ.
fn message(number: u64, round: u64) -> Vec<u8> {
    let length = if round % 3 == 2 { 8 + number * 37 % 190 } else { 100 };
    (number..).flat_map(u64::to_be_bytes).take(length as usize).collect()
}

/// Polls until message `next - 1` has come, and then for as long as `quiet`, in which nothing does; messages are delivered
/// `limit` at a time, and every seventh interrupts.
fn take(subscriber: &mut Subscriber, came: &mut u64, next: u64, round: u64, limit: usize, quiet: Nanos) {
    let start = Clock::now();
    let mut since = start;
    while *came < next || Clock::now() < since + quiet {
        let _ = subscriber.try_poll(
            |event| {
                match event {
                    Event::Message(delivered) => {
                        assert_eq!((delivered.number, delivered.payload), (*came, &message(*came, round)[..]));
                        *came += 1;
                        since = Clock::now();
                    }
                    Event::Gap(gap) => panic!("{gap:?}"),
                    Event::Lost(loss) => panic!("{loss:?}"),
                    _ => {}
                }
                if came.is_multiple_of(7) { Break(()) } else { Continue(()) }
            },
            limit,
        );
        assert!(Clock::now() < start + PATIENCE, "stuck at {came}: {:?}", subscriber.counters());
    }
    assert_eq!(*came, next);
}

/// Publishes on `destinations`, the first of which `source` hears, the others not; returns how many packets the others sent, and
/// the subscriber.
fn alternate(source: &str, destinations: &[String]) -> (u64, Subscriber) {
    let source: LineSource = source.parse().unwrap();
    let builder = Subscriber::builder("INTAKE".parse().unwrap()).line(Line::A, source);
    let mut subscriber = builder.start(Start::At(1)).open().unwrap();
    let mut publishers: Vec<_> = destinations.iter().map(|destination| publisher(destination)).collect();
    let (mut next, mut came) = (1, 1);
    for round in 0..ROUNDS {
        let limit = [1, 7, 1_000][round as usize % 3];
        // Up to 48 packets at a time, none of which is taken before the last is there; then one by one.
        for messages in [400, 630, 200, 1, 1, 1, 1, 1] {
            // Our host comes last, so that the strangers' copies would win.
            for publisher in publishers.iter_mut().rev() {
                for number in next..next + messages {
                    publisher.publish(&message(number, round)).unwrap();
                }
                assert_eq!(publisher.flush().unwrap().refused, 0);
            }
            next += messages;
            let quiet = if messages == 200 && round % 2 == 0 { QUIET } else { Nanos::ZERO };
            take(&mut subscriber, &mut came, next, round, limit, quiet);
        }
        take(&mut subscriber, &mut came, next, round, limit, if round % 4 == 0 { QUIET } else { Nanos::ZERO });
    }
    let counters = subscriber.counters();
    let packets = publishers.iter().map(|publisher| publisher.counters().lines[0].packets).collect::<Vec<_>>();
    assert_eq!(counters.subscription.lines[0].packets, packets[0]);
    assert_eq!(counters.subscription.malformed.iter().sum::<u64>(), 0, "{counters:?}");
    assert_eq!((counters.socket_errors, counters.kernel_drops), (0, 0));
    (packets[1..].iter().sum(), subscriber)
}

#[test]
fn runs_and_single_packets_of_a_group_come_once_and_in_order() {
    let line = format!("239.255.79.11:{}@127.0.0.1", free_port());
    alternate(&line, std::slice::from_ref(&line));
}

#[test]
fn runs_and_single_packets_of_a_unicast_line_come_once_and_in_order() {
    let line = format!("127.0.79.12:{}", free_port());
    alternate(&line, std::slice::from_ref(&line));
}

#[test]
fn only_the_source_that_was_set_is_heard_in_runs_and_singly() {
    for (address, interface) in [("239.255.79.13", "@127.0.0.1"), ("127.0.79.14", "")] {
        let address = format!("{address}:{}", free_port());
        let destinations = ["127.0.0.1", "127.0.0.2"].map(|host| format!("{address}@{host}"));
        let (packets, subscriber) = alternate(&format!("{address}{interface},source=127.0.0.1"), &destinations);
        assert_eq!(subscriber.counters().other_sources, packets);
    }
}

#[test]
fn each_message_tells_when_it_was_received_also_one_that_was_missed_at_first() {
    const MESSAGES: u64 = 5_000;
    let line = format!("239.255.79.16:{}@127.0.0.1", free_port());
    let builder = Publisher::builder("INTAKE".parse().unwrap()).line(Line::A, line.parse().unwrap());
    let requests = "127.0.0.1:0".parse().unwrap();
    let mut publisher = builder.requests(requests).requests_inline(true).open().unwrap();
    let builder = Subscriber::builder("INTAKE".parse().unwrap()).line(Line::A, line.parse().unwrap());
    let impairment = "loss=5%,seed=3".parse().unwrap();
    let builder = builder.start(Start::At(1)).impair_line(Line::A, impairment).receive_times(true);
    let mut subscriber = builder.recover_from(publisher.request_address().unwrap()).open().unwrap();
    let (mut came, begun) = (0, Clock::unix_micros());
    // The kernel begins to tell in the background.
    let mut untold = 0;
    let deadline = Clock::now() + PATIENCE;
    while came < MESSAGES {
        if publisher.next() <= MESSAGES {
            for _ in 0..1 + publisher.next() % 40 {
                publisher.publish(&[7; 100]).unwrap();
            }
            let _ = publisher.flush().unwrap();
        }
        publisher.do_work();
        let on_event = |event: Event<'_>| {
            if let Event::Message(message) = event {
                came += 1;
                untold += u64::from(message.received_at.is_none());
                let received = message.received_at.map_or(begun, |at| at.0 / 1_000);
                assert!((begun..=Clock::unix_micros()).contains(&received), "{message:?}");
            }
        };
        subscriber.poll(on_event, 100);
        assert!(Clock::now() < deadline, "stuck at {came}: {:?}", subscriber.counters());
    }
    assert!(subscriber.counters().subscription.recovered > 0);
    assert!(untold < MESSAGES / 10, "{untold}");
}

#[test]
fn what_was_received_and_not_looked_at_yet_is_not_waited_for() {
    let line = format!("127.0.79.15:{}", free_port());
    let builder = Subscriber::builder("INTAKE".parse().unwrap()).line(Line::A, line.parse().unwrap());
    let mut subscriber = builder.start(Start::At(1)).open().unwrap();
    let builder = Publisher::builder("INTAKE".parse().unwrap()).line(Line::A, line.parse().unwrap());
    // A message per packet: 20 + 2 + 42.
    let mut publisher = builder.requests_inline(true).max_datagram(64).open().unwrap();
    let mut came = 0;
    let mut polled = |messages| {
        for _ in 0..messages {
            publisher.publish(&[7; 42]).unwrap();
        }
        assert_eq!(publisher.flush().unwrap().refused, 0);
        subscriber.poll(|event| came += u64::from(matches!(event, Event::Message(_))), 1_000);
        (came, subscriber.timeout(), wait_readable(subscriber.fds(), Some(Nanos::ZERO)).unwrap())
    };
    // From now on they are taken together, in runs of up to 64; a duty cycle takes 256.
    let (came, timeout, _) = polled(64);
    assert_eq!(came, 64);
    assert_ne!(timeout, Some(Duration::ZERO));
    assert_eq!(polled(260), (64 + 256, Some(Duration::ZERO), false), "all are in the inbox, not in the socket");
    assert_eq!(polled(0).0, 64 + 260);
}
