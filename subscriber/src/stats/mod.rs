//! The file of counters of a subscriber, as [`Subscriber::poll`](crate::Subscriber::poll) writes it.
//!
//! What happened is written when it has happened: gaps that are settled, losses, slow duty cycles. What is counted anyway is
//! copied now and then, at best in a duty cycle that has nothing else to do.

mod layout;
mod settings;
mod tables;
mod view;

pub(crate) use settings::{Own, StatsSettings};
pub(crate) use view::View;

use seqcast_protocol::SessionId;
use seqcast_recovery::{Event, Line, Nanos, Subscription};
use seqcast_stats::{Cell, Histogram, LONGEST_PAUSE, Mirror, REFRESH, StatsFile};
use seqcast_transport::Clock;
use std::path::Path;
use tables::Tables;

/// For how long a subscriber that always has something to do puts the copying off. Arbitrary, a few times as long as one that
/// has not.
const LATEST: Nanos = Nanos(REFRESH.0 * 4);

/// A duty cycle that takes longer is remembered: to receive the most that is taken in one takes well under it, so that its thread
/// was kept from its core, or the application took the time.
const SLOW_CYCLE: Nanos = Nanos::from_millis(1);

/// A duty cycle.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cycle {
    pub(crate) at: Nanos,
    pub(crate) messages: usize,
    pub(crate) datagrams: usize,
    /// What it returned, 0 if there was nothing to do.
    pub(crate) work: usize,
}

/// The file, and what of it has been written.
#[derive(Debug)]
pub(crate) struct Stats {
    file: StatsFile,
    mirror: Mirror<View>,
    tables: Tables,
    recovery: Histogram,
    /// By `Line::index`; none of a line that there is not.
    leads: [Option<Histogram>; 2],
    /// Only with the times at which datagrams were received.
    delivery: Option<Histogram>,
    longest_cycle: Cell,
    lost_ranges: Cell,
    /// The application's own, by name.
    own: Vec<(String, Cell)>,
    /// The latest duty cycle.
    cycle: Cycle,
    /// The longest one that did anything.
    longest: Nanos,
    /// One that takes longer is longer than that, or slow: `longest.min(SLOW_CYCLE)`.
    remarkable: Nanos,
    /// How many settled gaps have been written.
    settled: u64,
    written_at: Nanos,
    /// Whether something was done since.
    is_dirty: bool,
}

impl Stats {
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    pub(crate) fn own(&self, name: &str) -> Option<Cell> {
        self.own.iter().find(|(own, _)| own == name).map(|(_, cell)| cell.clone())
    }

    /// When [`Self::refresh`] wants to be called if nothing happens before.
    pub(crate) fn due(&self) -> Nanos {
        self.written_at + if self.is_dirty { REFRESH } else { LONGEST_PAUSE }
    }

    /// A duty cycle begins: if the one before did anything, it has lasted until now.
    #[inline]
    pub(crate) fn begin_cycle(&mut self, now: Nanos) {
        if self.cycle.work > 0 && now - self.cycle.at > self.remarkable {
            self.note_duration(now - self.cycle.at);
        }
        // What happens in it happens now.
        self.cycle.at = now;
    }

    /// A duty cycle is over; returns whether [`Self::refresh`] is due.
    #[inline]
    pub(crate) fn end_cycle(&mut self, cycle: Cycle, subscription: &Subscription) -> bool {
        if subscription.settled_gaps() != self.settled {
            self.note_settled(subscription);
        }
        self.cycle = cycle;
        self.is_dirty |= cycle.work > 0;
        cycle.at >= self.written_at + if cycle.work > 0 { LATEST } else { REFRESH }
    }

    /// Copies what is counted elsewhere.
    #[cold]
    pub(crate) fn refresh(&mut self, now: Nanos, view: &View, subscription: &Subscription) {
        self.mirror.store(view);
        self.tables.write_open_gaps(subscription);
        self.file.note_written(now);
        (self.written_at, self.is_dirty) = (now, false);
    }

    /// Notes an event other than a message.
    pub(crate) fn note(&mut self, event: &Event<'_>) {
        match event {
            Event::Recovered(recovered) => self.recovery.record(recovered.elapsed.0),
            Event::Lost(loss) => {
                self.lost_ranges.add(1);
                self.tables.write_loss(loss, self.cycle.at);
            }
            Event::NewSession(new) => self.set_session(new.session),
            _ => {}
        }
    }

    pub(crate) fn note_lead(&self, line: Line, lead: Nanos) {
        if let Some(histogram) = &self.leads[line.index()] {
            histogram.record(lead.0);
        }
    }

    pub(crate) fn set_session(&mut self, session: SessionId) {
        self.tables.write_session(session);
    }

    /// Notes that a datagram which the kernel took in at this time, by the calendar clock, is delivered.
    pub(crate) fn note_delivery(&self, received_at: Nanos) {
        if let Some(histogram) = &self.delivery {
            histogram.record((Clock::unix_nanos() - received_at).0);
        }
    }

    #[cold]
    fn note_duration(&mut self, duration: Nanos) {
        if duration > self.longest {
            (self.longest, self.remarkable) = (duration, duration.min(SLOW_CYCLE));
            self.longest_cycle.set(duration.0);
        }
        if duration > SLOW_CYCLE {
            self.tables.write_slow_cycle(&self.cycle, duration);
        }
    }

    #[cold]
    fn note_settled(&mut self, subscription: &Subscription) {
        let settled = subscription.settled_gaps();
        let records = subscription.records();
        let known = records.len().saturating_sub((settled - self.settled) as usize);
        records.skip(known).for_each(|record| self.tables.write_gap(record));
        self.settled = settled;
    }
}
