//! What `scripts/instructions.sh` counts of a subscriber: the way of a message from a ring to the application, with and without
//! a file of counters.
//!
//! `poll_instructions BYTES COUNT DIRECTORY [--stats]` publishes as many messages as are ever asked for into a ring in DIRECTORY, and
//! polls until COUNT are delivered. What else it does is the same for every COUNT, so the difference of two counts is the messages'
//! own.

use seqcast_publisher::Publisher;
use seqcast_subscriber::{Event, Line, LineSource, Start, Subscriber};
use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;

/// The most messages that may be asked for: those of 100 bytes fill 20 MB of packets.
const MESSAGES: u64 = 200_000;

/// The ring has room for all of them.
const RING_BYTES: usize = 32 << 20;

/// The most that one poll delivers, as in the examples: a packet or two.
const LIMIT: usize = 64;

/// How many are published with one flush: about a packet of 1,472 bytes.
const FLUSH: u64 = 14;

fn poll(bytes: usize, count: u64, directory: &Path, keeps_stats: bool) -> Result<(), Box<dyn std::error::Error>> {
    let ring = directory.join("ring");
    let builder = Publisher::builder("COUNTED".parse()?).ring(&ring).retain_bytes(RING_BYTES);
    let mut publisher = builder.requests_inline(true).open()?;
    let mut message = vec![7; bytes];
    for number in 1..=MESSAGES {
        message[..8].copy_from_slice(&number.to_be_bytes());
        publisher.publish(&message)?;
        if number % FLUSH == 0 || number == MESSAGES {
            let _ = publisher.flush()?;
        }
    }
    let mut builder =
        Subscriber::builder("COUNTED".parse()?).line(Line::A, LineSource::ring(&ring)).start(Start::At(1));
    if keeps_stats {
        builder = builder.stats(directory);
    }
    let mut subscriber = builder.open()?;
    assert_eq!(subscriber.stats_path().is_some(), keeps_stats);
    let mut next = 1;
    while next <= count {
        subscriber.poll(
            |event| {
                if let Event::Message(message) = event {
                    assert_eq!((message.number, message.payload.len()), (next, bytes));
                    assert_eq!(black_box(message.payload)[..8], next.to_be_bytes());
                    next += 1;
                }
            },
            LIMIT,
        );
    }
    Ok(std::fs::remove_file(&ring)?)
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let (bytes, count, directory, keeps_stats) = match &arguments[..] {
        [bytes, count, directory] => (bytes, count, directory, false),
        [bytes, count, directory, stats] if stats == "--stats" => (bytes, count, directory, true),
        _ => return ExitCode::FAILURE,
    };
    let (Ok(bytes @ 8..=1_450), Ok(count @ 1..=MESSAGES)) = (bytes.parse(), count.parse()) else {
        return ExitCode::FAILURE;
    };
    match poll(bytes, count, Path::new(directory), keeps_stats) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
