//! What `scripts/instructions.sh` counts of a subscriber: the way of a message from a ring to the application, with and without
//! a file of counters.
//!
//! `poll_instructions PACKET DIRECTORY [--stats]` publishes messages into a ring in DIRECTORY, PACKET of them in each packet, and
//! takes each with one poll ([`poll_once`]), which alone is counted.

use seqcast_publisher::Publisher;
use seqcast_subscriber::{Event, Line, LineSource, Start, Subscriber};
use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;

/// How many are published. Arbitrary, enough that what is done once does not count.
const MESSAGES: u64 = 100_000;

/// How long a message is.
const BYTES: usize = 40;

/// Delivers what has come, from the number `next` on.
#[inline(never)]
fn poll_once(subscriber: &mut Subscriber, next: &mut u64) {
    subscriber.poll(
        |event| {
            if let Event::Message(message) = event {
                assert_eq!((message.number, message.payload.len()), (*next, BYTES));
                assert_eq!(black_box(message.payload)[..8], next.to_be_bytes());
                *next += 1;
            }
        },
        1_000,
    );
}

fn run(packet: u64, directory: &Path, keeps_stats: bool) -> Result<(), Box<dyn std::error::Error>> {
    let ring = directory.join("ring");
    let builder = Publisher::builder("COUNTED".parse()?).ring(&ring).retain_bytes(1 << 20);
    let mut publisher = builder.requests_inline(true).open()?;
    let mut builder =
        Subscriber::builder("COUNTED".parse()?).line(Line::A, LineSource::ring(&ring)).start(Start::At(1));
    if keeps_stats {
        builder = builder.stats(directory);
    }
    let mut subscriber = builder.open()?;
    assert_eq!(subscriber.stats_path().is_some(), keeps_stats);
    let (mut message, mut next) = ([7; BYTES], 1);
    for number in 1..=MESSAGES {
        message[..8].copy_from_slice(&number.to_be_bytes());
        publisher.publish(&message)?;
        if number % packet == 0 {
            let _ = publisher.flush()?;
            poll_once(&mut subscriber, &mut next);
            assert_eq!(next, number + 1);
        }
    }
    Ok(std::fs::remove_file(&ring)?)
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let (packet, directory, keeps_stats) = match &arguments[..] {
        [packet, directory] => (packet, directory, false),
        [packet, directory, stats] if stats == "--stats" => (packet, directory, true),
        _ => return ExitCode::FAILURE,
    };
    // What fits into a datagram on Ethernet.
    let Ok(packet @ 1..=34) = packet.parse() else { return ExitCode::FAILURE };
    match run(packet, Path::new(directory), keeps_stats) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
