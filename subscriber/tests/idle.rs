//! Each idle strategy costs the thread the processor time that it says, behind a subscriber that nothing arrives at.

#![expect(clippy::print_stderr, reason = "whoever runs the tests should know what was skipped")]

use seqcast_publisher::Publisher;
use seqcast_recovery::Nanos;
use seqcast_subscriber::{Event, Idle, IdleStrategy, Line, LineSource, Start, Subscriber};
use seqcast_transport::Clock;
use std::net::UdpSocket;

/// For how long nothing arrives.
const QUIET: Nanos = Nanos::from_millis(700);

/// When a test gives up.
const PATIENCE: Nanos = Nanos::from_secs(30);

/// For how long this thread has run, and for how long it has been ready to run while others did; `None` where the kernel does not
/// tell.
fn processor_time() -> Option<[Nanos; 2]> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let mut times = text.split_whitespace().map(|nanos| Nanos(nanos.parse().unwrap()));
    let times = [times.next()?, times.next()?];
    (times[0] > Nanos::ZERO).then_some(times)
}

/// Runs duty cycles until `goes_on` says no, which is told how many messages have come.
fn run(subscriber: &mut Subscriber, idle: &mut Idle, mut goes_on: impl FnMut(u64) -> bool) {
    let mut messages = 0;
    while goes_on(messages) {
        let work = subscriber.poll(|event| messages += u64::from(matches!(event, Event::Message(_))), 64);
        let timeout = subscriber.timeout().map_or(QUIET, |timeout| QUIET.min(timeout.into()));
        idle.idle_until_readable(work, subscriber.fds(), Some(timeout)).unwrap();
    }
}

/// Publishes a message and takes it.
fn pass(publisher: &mut Publisher, subscriber: &mut Subscriber, idle: &mut Idle) {
    publisher.publish(b"tick").unwrap();
    let _ = publisher.flush().unwrap();
    let end = Clock::now() + PATIENCE;
    run(subscriber, idle, |messages| {
        assert!(Clock::now() < end, "the message does not arrive");
        messages == 0
    });
}

/// What a strategy does between two messages from `publisher`: for how much of the time the thread runs, and for how much it runs or
/// is ready to, in per cent.
fn share(publisher: &mut Publisher, source: &LineSource, strategy: IdleStrategy) -> Option<(u64, u64)> {
    let builder = Subscriber::builder(publisher.session().into()).line(Line::A, source.clone());
    let mut subscriber = builder.start(Start::Live).open().unwrap();
    let mut idle = Idle::new(strategy);
    pass(publisher, &mut subscriber, &mut idle);
    let (start, before) = (Clock::now(), processor_time()?);
    run(&mut subscriber, &mut idle, |messages| messages == 0 && Clock::now() < start + QUIET);
    let (time, after) = (Clock::now() - start, processor_time()?);
    pass(publisher, &mut subscriber, &mut idle);
    let [run, ready] = [0, 1].map(|index| (after[index] - before[index]).0 * 100 / time.0);
    Some((run, run + ready))
}

/// Asserts that who spins or yields never rests, and that who backs off or blocks takes no more than so many per cent.
fn expect(publisher: &mut Publisher, source: &LineSource, backoff: u64, block: u64) {
    for strategy in IdleStrategy::ALL {
        let Some((runs, wants)) = share(publisher, source, strategy) else {
            eprintln!("skipped: this kernel does not tell the time that a thread runs");
            return;
        };
        let is_expected = match strategy {
            IdleStrategy::Spin | IdleStrategy::Yield => wants >= 90,
            IdleStrategy::Backoff => runs <= backoff,
            IdleStrategy::Block => runs <= block,
        };
        assert!(is_expected, "{strategy}: runs for {runs} %, runs or is ready for {wants} %");
    }
}

#[test]
fn on_a_network_line_blocking_takes_no_time_and_backing_off_little() {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let line = format!("239.255.79.3:{port}@127.0.0.1");
    let builder = Publisher::builder("IDLE".parse().unwrap()).line(Line::A, line.parse().unwrap());
    // Nobody does its other work, so there is no heartbeat.
    let mut publisher = builder.requests_inline(true).open().unwrap();
    expect(&mut publisher, &line.parse().unwrap(), 10, 3);
}

/// A ring has to be looked at every 200 µs, however its reader idles.
#[test]
fn on_a_ring_line_blocking_and_backing_off_take_little_time() {
    let ring = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("idle-{}.ring", std::process::id()));
    let builder = Publisher::builder("IDLE".parse().unwrap()).ring(&ring).retain_bytes(1 << 20);
    let mut publisher = builder.requests_inline(true).open().unwrap();
    expect(&mut publisher, &LineSource::ring(&ring), 10, 10);
    std::fs::remove_file(&ring).unwrap();
}
