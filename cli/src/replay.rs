//! A capture published at its recorded pace: each of its packets leaves at its own time.
//!
//! What one recorded packet held is flushed together, so that the packets of the replay are those of the capture, as far as
//! `--max-datagram` lets them: one that does not fit becomes several. Messages are numbered anew, and heartbeats and the
//! end are the publisher's own. A message that had waited for an earlier one leaves right behind it.

use hdrhistogram::Histogram;
use seqcast_publisher::{self as publisher, PublishError, Publisher, PublisherBuilder, Unit};
use seqcast_recovery::Nanos;
use seqcast_transport::Clock;

/// What the file of counters calls how late packets leave.
const ERROR: &str = "pace_error";

/// The longest delay that is told apart. Arbitrary.
const LONGEST: Nanos = Nanos::from_secs(3_600);

/// The packet of a capture that is being published, and how late those before it left.
#[derive(Debug)]
pub struct Replay {
    frame: u64,
    /// When it is due; `None` until the first packet that has a time.
    due: Option<Nanos>,
    /// When packets had left, less when they were due.
    errors: Histogram<u64>,
    /// The same, in the file of counters.
    kept_errors: Option<publisher::Histogram>,
    is_open: bool,
}

impl Replay {
    /// Makes room for how late packets leave in the file of a publisher.
    #[must_use]
    pub fn describe(builder: PublisherBuilder) -> PublisherBuilder {
        builder.stats_histogram(ERROR, Unit::Nanoseconds)
    }

    /// Begins in front of the first packet.
    #[must_use]
    pub fn new(publisher: &Publisher) -> Self {
        let errors = Histogram::new_with_bounds(1, LONGEST.0, 3).expect("the bounds are in order");
        Self { frame: 0, due: None, errors, kept_errors: publisher.stats_histogram(ERROR), is_open: false }
    }

    /// Flushes the packet before, if `frame` is another one.
    ///
    /// # Errors
    ///
    /// Those of [`Publisher::flush`].
    pub fn begin(&mut self, frame: u64, publisher: &mut Publisher) -> Result<(), PublishError> {
        if frame != self.frame {
            self.flush(publisher)?;
            self.frame = frame;
        }
        Ok(())
    }

    /// A message of the packet was published, which is due at `due`, or with the one before where it has no time.
    pub fn published(&mut self, due: Nanos) {
        if due > Nanos::ZERO {
            self.due = self.due.max(Some(due));
        }
        self.is_open = true;
    }

    /// Flushes what was published of the packet so far.
    ///
    /// # Errors
    ///
    /// Those of [`Publisher::flush`].
    pub fn flush(&mut self, publisher: &mut Publisher) -> Result<(), PublishError> {
        if std::mem::take(&mut self.is_open) {
            let _ = publisher.flush()?;
            if let Some(due) = self.due {
                let error = (Clock::now() - due).0;
                self.errors.saturating_record(error);
                if let Some(kept) = &self.kept_errors {
                    kept.record(error);
                }
            }
        }
        Ok(())
    }

    /// How late packets left: when they had left, less when they were due.
    #[must_use]
    pub const fn errors(&self) -> &Histogram<u64> {
        &self.errors
    }
}
