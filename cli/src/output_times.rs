//! How long the writes of an output take, in the file of counters: whether its reader is what keeps a subscriber.

use seqcast_recovery::Nanos;
use seqcast_subscriber::{Cell, Subscriber, SubscriberBuilder, Unit};
use seqcast_transport::Clock;
use std::io;

const TIME: &str = "output_time";
const BYTES: &str = "output_bytes";
const SLOWEST: &str = "output_slowest";

/// What the writes of an output have taken so far.
#[derive(Debug)]
pub struct OutputTimes {
    time: Cell,
    bytes: Cell,
    slowest: Cell,
    /// The longest that a write took.
    longest: Nanos,
}

impl OutputTimes {
    /// Makes room for them in the file of a subscriber.
    #[must_use]
    pub fn describe(builder: SubscriberBuilder) -> SubscriberBuilder {
        let builder = builder.stats_counter(TIME, Unit::Nanoseconds).stats_counter(BYTES, Unit::Bytes);
        builder.stats_gauge(SLOWEST, Unit::Nanoseconds)
    }

    /// Those of a subscriber, if it keeps a file.
    #[must_use]
    pub fn of(subscriber: &Subscriber) -> Option<Self> {
        let cell = |name| subscriber.stats_cell(name);
        Some(Self { time: cell(TIME)?, bytes: cell(BYTES)?, slowest: cell(SLOWEST)?, longest: Nanos::ZERO })
    }

    /// Writes, and measures that.
    ///
    /// # Errors
    ///
    /// As `write`.
    pub fn measure(&mut self, write: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
        let start = Clock::now();
        let written = write()?;
        let time = Clock::now() - start;
        self.longest = self.longest.max(time);
        self.time.add(time.0);
        self.bytes.add(written as u64);
        self.slowest.set(self.longest.0);
        Ok(written)
    }
}
