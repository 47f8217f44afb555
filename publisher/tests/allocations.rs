//! Nothing is allocated on the way of a message, nor for an answer, while counters are kept for others: counted by the allocator.

use seqcast_protocol::{Request, SequenceRange, SessionId};
use seqcast_publisher::{Line, Nanos, Publisher};
use seqcast_stats::{Snapshot, read_directory};
use seqcast_transport::Clock;
use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

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

/// How many clients ask, more than are told of, one of them each time; and how often.
const CLIENTS: u64 = 100;
const REQUESTS: u64 = 10_000;

/// Messages published between two requests.
const MESSAGES: u64 = 10;

/// Publishes and asks for each tenth message; returns when all answers have come.
fn pass(publisher: &mut Publisher, clients: &[UdpSocket], requests: u64) {
    let address = publisher.request_address().unwrap();
    let mut answer = [0; 2_000];
    for index in 0..requests {
        let number = publisher.next();
        (0..MESSAGES).for_each(|_| {
            publisher.publish(&[7; 100]).unwrap();
        });
        assert_eq!(publisher.flush().unwrap().range.count(), MESSAGES);
        let client = &clients[(index % CLIENTS) as usize];
        let request = Request::new(SessionId::UNKNOWN, SequenceRange::with_count(number, 1)).unwrap();
        client.send_to(&request.to_bytes(), address).unwrap();
        // What is wanted next has not been sent: it is refused.
        let request = Request::new(SessionId::UNKNOWN, SequenceRange::with_count(publisher.next(), 1)).unwrap();
        client.send_to(&request.to_bytes(), address).unwrap();
        while publisher.do_work() > 0 {}
        client.recv(&mut answer).unwrap();
    }
}

fn only(directory: &Path) -> Snapshot {
    let mut snapshots = read_directory(directory).unwrap().snapshots;
    assert_eq!(snapshots.len(), 1);
    snapshots.remove(0)
}

/// One test, for the allocator counts what all threads do.
#[test]
fn counters_are_kept_for_others_without_an_allocation() {
    let clients: Vec<_> = (0..CLIENTS).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let patience = Some(Duration::from_secs(20));
    clients.iter().for_each(|client| client.set_read_timeout(patience).unwrap());
    let directory = std::env::temp_dir().join(format!("seqcast-publisher-allocations-{}", std::process::id()));
    COUNTS.store(true, Ordering::Relaxed);
    drop(std::hint::black_box(Box::new(1)));
    COUNTS.store(false, Ordering::Relaxed);
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), 2, "it counts");
    for inline in [true, false] {
        let mut publisher = Publisher::builder("ALLOCATION".parse().unwrap())
            .line(Line::A, "239.255.78.109:9@127.0.0.1".parse().unwrap())
            .requests("127.0.0.1:0".parse().unwrap())
            .requests_inline(inline)
            .retain_bytes(1 << 20)
            .stats(&directory)
            .open()
            .unwrap();
        pass(&mut publisher, &clients, CLIENTS);
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        COUNTS.store(true, Ordering::Relaxed);
        pass(&mut publisher, &clients, REQUESTS);
        COUNTS.store(false, Ordering::Relaxed);
        assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0, "inline {inline}");
        // What was counted included the writing.
        let (end, asked) = (Clock::now() + Nanos::from_secs(20), 2 * (CLIENTS + REQUESTS));
        let mut snapshot = only(&directory);
        assert!(snapshot.value("requests", &[]).unwrap() > asked / 2, "{snapshot:?}");
        // A row that is being written is left out.
        while snapshot.value("requests", &[]) != Some(asked) || snapshot.table("clients").unwrap().rows.len() != 64 {
            assert!(Clock::now() < end, "{snapshot:?}");
            publisher.do_work();
            snapshot = only(&directory);
        }
    }
    fs::remove_dir(&directory).unwrap();
}
