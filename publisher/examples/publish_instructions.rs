//! The way of a message through a publisher, with and without counters for others to see, for callgrind to count.
//!
//! `publish_instructions LINES PER_FLUSH COUNT none|DIRECTORY` publishes COUNT messages of 40 bytes, claimed, copied into,
//! committed, and flushed after every PER_FLUSH of them. LINES is where they go: one or two groups on loopback, joined by a plus,
//! or the file of a ring, ring:FILE. What else it does is the same for every COUNT, so the difference of two counts is the
//! messages' own. Nobody does the retransmitter's work, which is another thread's.

use seqcast_publisher::{Line, Publisher};
use std::error::Error;
use std::hint::black_box;

/// As long as the shortest that `scripts/instructions.sh` counts.
const MESSAGE_BYTES: usize = 40;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [lines, per_flush, count, stats] = &arguments[..] else {
        return Err("LINES PER_FLUSH COUNT none|DIRECTORY".into());
    };
    let (per_flush, count): (u64, u64) = (per_flush.parse()?, count.parse()?);
    let mut builder = Publisher::builder("COUNTED".parse()?).retain_bytes(1 << 20);
    if let Some(file) = lines.strip_prefix("ring:") {
        builder = builder.ring(file);
    } else {
        for (line, destination) in Line::ALL.into_iter().zip(lines.split('+')) {
            builder = builder.line(line, destination.parse()?);
        }
    }
    if stats != "none" {
        builder = builder.stats(stats);
    }
    let (mut publisher, retransmitter) = builder.open_split()?;
    let mut message = [7; MESSAGE_BYTES];
    for number in 1..=count {
        message[..8].copy_from_slice(&number.to_be_bytes());
        let mut claim = publisher.claim(MESSAGE_BYTES)?;
        claim.copy_from_slice(black_box(&message));
        claim.commit();
        if number % per_flush == 0 {
            let _ = black_box(publisher.flush()?);
        }
    }
    let _ = publisher.flush()?;
    drop(retransmitter);
    Ok(())
}
