//! Kills at every step of a store: a process is executed instruction by instruction, and what it shares is looked at after
//! each one that changed it.
//!
//! The page cache outlives a process. So what a mapped file holds between two instructions is what `kill -9` leaves at that
//! instant: each such state is kept, and gone on with, as by a publisher or a subscriber that is started again. A few
//! processes are killed for good on top, so that this is seen as well as said.

#![expect(clippy::print_stderr, reason = "whoever runs the tests should know what was skipped")]

mod support;
#[path = "support/tracer.rs"]
mod tracer;

use seqcast_protocol::{Blocks, SequenceRange, SessionId};
use seqcast_publisher::{Line, OpenError, Publisher, PublisherBuilder, RingFileError};
use seqcast_recovery::{Followed, Random, RingFollower, RingReader};
use seqcast_subscriber::{Offset, StoredOffset};
use seqcast_transport::{Mapping, SharedFile};
use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use support::Place;
use tracer::Traced;

const SESSION: SessionId = SessionId::from_bytes(*b"STEPS     ");

/// Short packets, so that the smallest ring, of eight of the largest, is short, too: 1.5 kB to compare after each step.
const MAX_DATAGRAM: usize = 128;
const HEADER_BYTES: usize = 20;

/// Flushes before the first that is traced: twice what the ring holds.
const FLUSHES_BEFORE: u64 = 6;
/// Flushes that are traced: three times what it holds, so that `oldest` moves and records wrap at many places.
const FLUSHES: u64 = 8;
/// Messages of a flush: three packets or four.
const MESSAGES: u64 = 11;

/// Message `number`, whose length and bytes follow from its number.
fn message(number: u64) -> Vec<u8> {
    let mut random = Random::new(number);
    (0..random.below(50)).map(|_| random.next_u64() as u8).collect()
}

/// Where the packets of a flush of messages `first..end` end, by the naive rule: as many as fit.
fn packet_ends(first: u64, end: u64) -> Vec<u64> {
    let (mut ends, mut bytes) = (Vec::new(), HEADER_BYTES);
    for number in first..end {
        let needed = 2 + message(number).len();
        if bytes + needed > MAX_DATAGRAM {
            ends.push(number);
            bytes = HEADER_BYTES;
        }
        bytes += needed;
    }
    ends.push(end);
    ends
}

fn builder(ring: &Path) -> PublisherBuilder {
    Publisher::builder(SESSION).ring(ring).max_datagram(MAX_DATAGRAM).retain_bytes(1).requests_inline(true)
}

fn commit(publisher: &mut Publisher, count: u64) {
    for _ in 0..count {
        publisher.publish(&message(publisher.next())).unwrap();
    }
}

/// What the child does: flushes between marks, and then the end of the session between marks.
fn publish_traced(place: &Path) {
    let line = fs::read_to_string(place.join("line")).unwrap();
    let mut publisher = builder(&place.join("ring")).line(Line::A, line.parse().unwrap()).open().unwrap();
    for _ in 0..FLUSHES_BEFORE {
        commit(&mut publisher, MESSAGES);
        assert_eq!(publisher.flush().unwrap().refused, 0);
    }
    tracer::begin();
    for _ in 0..FLUSHES {
        commit(&mut publisher, MESSAGES);
        tracer::mark();
        let flushed = publisher.flush();
        tracer::mark();
        assert_eq!(flushed.unwrap().range.count(), MESSAGES);
    }
    publisher.close_while(|| false).unwrap();
    tracer::mark();
}

/// What the ring's file held between two instructions.
struct State {
    words: Vec<u64>,
    /// The numbers that `next` may have when somebody goes on: before the flush, and behind each of its packets.
    may_be_next: Vec<u64>,
}

fn words(memory: &Mapping) -> Vec<u64> {
    memory.as_ref().iter().map(|word| word.load(Ordering::Relaxed)).collect()
}

/// Traces a publisher and hands each new state of its ring to `look`, until that says to kill it; `None` where nothing can be
/// traced.
fn trace(place: &Place, test: &str, mut look: impl FnMut(State) -> bool) -> Option<()> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let _ = fs::remove_file(place.path("ring"));
    place.write("line", socket.local_addr().unwrap().to_string().as_bytes());
    let mut publisher = Traced::start(test, place.path("ring").parent().unwrap())?;
    let ring = SharedFile::open(&place.path("ring")).unwrap();
    let mut before = words(ring.mapping());
    for flush in FLUSHES_BEFORE..=FLUSHES_BEFORE + FLUSHES {
        let first = 1 + flush * MESSAGES;
        let mut may_be_next = vec![first];
        if flush < FLUSHES_BEFORE + FLUSHES {
            publisher.go_to_mark();
            may_be_next.extend(packet_ends(first, first + MESSAGES));
        }
        while publisher.step() {
            let words = words(ring.mapping());
            if words == before {
                continue;
            }
            before.clone_from(&words);
            if !look(State { words, may_be_next: may_be_next.clone() }) {
                publisher.kill();
                return Some(());
            }
        }
    }
    panic!("the session has ended, and nobody saw it");
}

/// Follows a ring, and asserts that what it gives is what was published, without a break.
struct Reader {
    follower: RingFollower<Mapping>,
    next: u64,
}

impl Reader {
    fn new(memory: &Mapping) -> Self {
        let follower = RingFollower::new(RingReader::open(memory.clone()).unwrap(), 0).unwrap();
        let next = follower.reader().oldest();
        Self { follower, next }
    }

    fn read_all(&mut self) {
        let mut blocks = [0; MAX_DATAGRAM];
        loop {
            match self.follower.poll(&mut blocks).unwrap() {
                Followed::Packet { range, bytes } => {
                    assert_eq!(range.start(), self.next);
                    assert_eq!(Blocks::new(&blocks[..bytes]).count() as u64, range.count());
                    for found in Blocks::new(&blocks[..bytes]) {
                        assert_eq!(found, message(self.next), "message {}", self.next);
                        self.next += 1;
                    }
                }
                Followed::Nothing => return,
                // Where nothing was retained it finds its place when the first packet is there.
                Followed::Overtaken { oldest } => assert_eq!(oldest, self.next),
            }
        }
    }
}

/// Makes a file that nobody has ever held: what another test starts keeps, for as long as it is no process of its own yet, the
/// locks of this one.
fn lay_down(file: &Path, bytes: &[u8]) {
    let _ = fs::remove_file(file);
    fs::write(file, bytes).unwrap();
}

/// Goes on with a ring as a publisher that is started again, and asserts that it has lost nothing that was retained;
/// returns the number at which it went on, `None` when the session has ended.
fn go_on(file: &Path, may_be_next: &[u64]) -> Option<u64> {
    let memory = SharedFile::open(file).unwrap().mapping().clone();
    // One who was there before the publisher died, and one who comes later.
    let mut waiting = Reader::new(&memory);
    waiting.read_all();
    let mut reader = RingReader::open(memory.clone()).unwrap();
    // What a retransmitter announces meanwhile.
    let announced = reader.next();
    let mut publisher = match builder(file).open() {
        Ok(publisher) => publisher,
        Err(OpenError::RingFile(_, RingFileError::Ended(_))) => return None,
        Err(error) => panic!("{error}"),
    };
    let next = publisher.next();
    assert!(may_be_next.contains(&next), "{next} is none of {may_be_next:?}");
    assert!(announced <= next, "{announced} was announced");
    assert_eq!((reader.next(), reader.sent(), waiting.next), (next, next, next));
    for number in reader.oldest()..next {
        let mut out = [0; MAX_DATAGRAM];
        let read = reader.read(SequenceRange::with_count(number, 1), &mut out).unwrap();
        assert_eq!(Blocks::new(&out[..read.bytes]).collect::<Vec<_>>(), [message(number)]);
    }
    let mut later = Reader::new(&memory);
    later.read_all();
    // Once round the ring: over all that the other one had begun.
    for _ in 0..4 {
        commit(&mut publisher, MESSAGES);
        let _ = publisher.flush().unwrap();
        waiting.read_all();
        later.read_all();
    }
    assert_eq!((waiting.next, later.next), (publisher.next(), publisher.next()));
    Some(next)
}

#[test]
fn a_publisher_that_is_killed_at_any_step_of_a_flush_goes_on_behind_a_whole_packet() {
    const TEST: &str = "a_publisher_that_is_killed_at_any_step_of_a_flush_goes_on_behind_a_whole_packet";
    if let Some(place) = tracer::place() {
        return publish_traced(&place);
    }
    let place = Place::new("steps");
    let snapshot = place.path("snapshot");
    let (mut states, mut nexts, mut oldests) = (0, Vec::new(), Vec::new());
    let mut has_ended = false;
    let traced = trace(&place, TEST, |state| {
        lay_down(&snapshot, &state.words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>());
        let oldest = RingReader::open(SharedFile::open(&snapshot).unwrap().mapping().clone()).unwrap().oldest();
        match go_on(&snapshot, &state.may_be_next) {
            Some(next) => {
                assert!(nexts.last().is_none_or(|&last| last <= next), "{next} behind {nexts:?}");
                nexts.push(next);
            }
            None => has_ended = true,
        }
        oldests.push(oldest);
        states += 1;
        !has_ended
    });
    if traced.is_none() {
        eprintln!("skipped: no process may be traced here");
        return;
    }
    // Each packet's commit word is a step of its own, and so is each of its other words.
    let first = 1 + FLUSHES_BEFORE * MESSAGES;
    let ends = (0..FLUSHES).flat_map(|flush| packet_ends(first + flush * MESSAGES, first + (flush + 1) * MESSAGES));
    let expected: Vec<u64> = [first].into_iter().chain(ends).collect();
    nexts.dedup();
    oldests.dedup();
    assert_eq!(nexts, expected);
    assert!(has_ended && oldests.len() > 8, "{oldests:?}");
    assert!(states > 10 * expected.len(), "{states} states");
}

#[test]
fn a_publisher_that_is_killed_for_good_leaves_what_was_seen_there() {
    const TEST: &str = "a_publisher_that_is_killed_for_good_leaves_what_was_seen_there";
    if let Some(place) = tracer::place() {
        return publish_traced(&place);
    }
    let place = Place::new("steps-killed");
    let ring = place.path("ring");
    // Primes, so that it is another step of a packet each time.
    for kill_at in [1, 7, 23, 41, 59, 83, 109] {
        let mut left = None;
        let mut states = 0;
        let traced = trace(&place, TEST, |state| {
            states += 1;
            left = Some(state);
            states < kill_at
        });
        if traced.is_none() {
            eprintln!("skipped: no process may be traced here");
            return;
        }
        let left = left.unwrap();
        assert_eq!(words(SharedFile::open(&ring).unwrap().mapping()), left.words);
        go_on(&ring, &left.may_be_next).expect("the session has not ended");
    }
}

/// The offsets that the child stores, one by one.
fn offset(index: u64) -> Offset {
    Offset { session: SESSION, next: index * 0x0101_0101_0101, position: index << 40 | index }
}

#[test]
fn an_offset_whose_store_was_cut_short_at_any_step_is_the_one_before_or_the_new_one() {
    const TEST: &str = "an_offset_whose_store_was_cut_short_at_any_step_is_the_one_before_or_the_new_one";
    const STORES: u64 = 4;
    if let Some(place) = tracer::place() {
        let mut stored = StoredOffset::open(&place.join("offset")).unwrap();
        tracer::begin();
        for index in 1..=STORES {
            stored.store(offset(index));
            tracer::mark();
        }
        return;
    }
    let place = Place::new("steps-offset");
    let (file, snapshot): (PathBuf, PathBuf) = (place.path("offset"), place.path("snapshot"));
    let Some(mut subscriber) = Traced::start(TEST, file.parent().unwrap()) else {
        eprintln!("skipped: no process may be traced here");
        return;
    };
    for index in 1..=STORES {
        let (old, new) = ((index > 1).then(|| offset(index - 1)), Some(offset(index)));
        let (mut before, mut found) = (fs::read(&file).unwrap(), Vec::new());
        while subscriber.step() {
            let bytes = fs::read(&file).unwrap();
            if bytes != before {
                lay_down(&snapshot, &bytes);
                found.push(StoredOffset::open(&snapshot).unwrap().get());
                before = bytes;
            }
        }
        assert!(found.len() >= 4, "{} steps", found.len());
        let new_from = found.iter().position(|found| *found == new).expect("the new one is stored");
        assert!(
            found[..new_from].iter().all(|found| *found == old) && found[new_from..].iter().all(|found| *found == new)
        );
    }
    subscriber.finish();
}
