//! Nothing is allocated on the way of a message, on either side, recoveries included: counted by the allocator.

use seqcast_publisher::Publisher;
use seqcast_recovery::Nanos;
use seqcast_stats::Snapshot;
use seqcast_subscriber::{Event, ImpairmentConfig, Line, LineSource, Start, Subscriber};
use seqcast_transport::Clock;
use std::alloc::{GlobalAlloc, Layout, System};
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counts while it is told to, on all threads.
struct Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

fn count() {
    if COUNTS.load(Ordering::Relaxed) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promise is handed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is handed on.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// When the test gives up.
const PATIENCE: Nanos = Nanos::from_secs(120);

/// How many messages are passed before it is counted: long enough for the first gaps.
const WARM_UP: u64 = 50_000;

/// How many while it is.
const MESSAGES: u64 = 1_000_000;

/// Publishes up to `end` and takes everything in; messages of 1 to 400 bytes, in bursts of 1 to 199, so that packets leave alone
/// and in runs.
fn pass(publisher: &mut Publisher, subscriber: &mut Subscriber, next: &mut u64, end: u64) {
    let deadline = Clock::now() + PATIENCE;
    let payload = [7; 400];
    while *next < end {
        let burst = (publisher.next() % 199 + 1).min(end - publisher.next().min(end));
        for _ in 0..burst {
            let length = publisher.next() as usize * 37 % payload.len() + 1;
            publisher.publish(&payload[..length]).unwrap();
        }
        let _ = publisher.flush().unwrap();
        loop {
            publisher.do_work();
            let work = subscriber.poll(
                |event| match event {
                    Event::Message(message) => {
                        assert_eq!(message.number, *next);
                        assert_eq!(message.payload.len(), *next as usize * 37 % 400 + 1);
                        *next += 1;
                    }
                    Event::Lost(loss) => panic!("{} lost: {:?}", loss.range, loss.cause),
                    _ => {}
                },
                1_000,
            );
            assert!(Clock::now() < deadline, "stuck at {next}: {:?}", subscriber.counters());
            // What is missing is waited for at the end, and before the ring could be overwritten.
            if work == 0 && (*next == publisher.next() || (publisher.next() < end && publisher.next() - *next < 20_000))
            {
                break;
            }
        }
    }
}

/// The allocations of a million messages from a publisher to a subscriber on one or two lines.
fn allocations(inline: bool, two_lines: bool) -> (u64, Subscriber) {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let session = "ALLOCATION".parse().unwrap();
    let mut publisher = Publisher::builder(session)
        .requests("127.0.0.1:0".parse().unwrap())
        .requests_inline(inline)
        .keep_warm(std::time::Duration::from_millis(1));
    let mut subscriber = Subscriber::builder(session.into())
        .start(Start::At(1))
        .keep_warm(std::time::Duration::from_millis(1))
        .compare_copies(two_lines)
        .stats(env!("CARGO_TARGET_TMPDIR"))
        .impair("loss=2%,burst=3,reorder=1%,duplicate=1%,seed=5".parse::<ImpairmentConfig>().unwrap());
    for (line, group) in Line::ALL.into_iter().zip(["239.255.79.1", "239.255.79.2"]).take(1 + usize::from(two_lines)) {
        let address = format!("{group}:{port}@127.0.0.1");
        publisher = publisher.line(line, address.parse().unwrap());
        subscriber = subscriber.line(line, address.parse::<LineSource>().unwrap());
    }
    let mut publisher = publisher.open().unwrap();
    let requests = publisher.request_address().unwrap();
    let mut subscriber = subscriber.recover_from(requests).open().unwrap();
    let mut next = 1;
    pass(&mut publisher, &mut subscriber, &mut next, WARM_UP);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    COUNTS.store(true, Ordering::Relaxed);
    pass(&mut publisher, &mut subscriber, &mut next, WARM_UP + MESSAGES);
    COUNTS.store(false, Ordering::Relaxed);
    (ALLOCATIONS.load(Ordering::Relaxed) - before, subscriber)
}

/// One test, for the allocator counts what all threads do.
#[test]
fn a_million_messages_are_passed_and_recovered_without_an_allocation() {
    COUNTS.store(true, Ordering::Relaxed);
    drop(std::hint::black_box(Box::new(1)));
    COUNTS.store(false, Ordering::Relaxed);
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), 2, "it counts");
    for (inline, two_lines) in [(true, false), (false, false), (true, true)] {
        let (allocations, subscriber) = allocations(inline, two_lines);
        let counters = subscriber.counters().subscription;
        let stats = Snapshot::read(subscriber.stats_path().unwrap()).unwrap();
        assert!(stats.value("messages", &[]).is_some_and(|messages| messages > WARM_UP), "counters are kept");
        assert!(counters.recovered > 0 && counters.requests > 0, "{counters:?}");
        assert_eq!(allocations, 0, "inline {inline}, two lines {two_lines}: {counters:?}");
    }
}
