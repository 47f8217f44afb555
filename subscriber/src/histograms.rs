//! How long things took, as histograms.

use hdrhistogram::Histogram;
use seqcast_recovery::{Event, Line, Nanos};
use std::ops::ControlFlow;

/// The longest time that is told apart from longer ones, in nanoseconds: a minute.
const LONGEST_NS: u64 = 60_000_000_000;

/// Times in nanoseconds, `0..=60 s` with two significant digits; longer ones count as a minute.
#[derive(Clone, Debug)]
pub struct Histograms {
    /// From the moment that a gap was found until the last of it arrived, for each gap that was raised and recovered.
    pub recovery: Histogram<u64>,
    /// By [`Line::index`]: how much earlier than the other line this one carried a packet, for each that it carried first
    /// and the other one later. The times are those of duty cycles: what is taken in the same one is 0 apart.
    pub leads: [Histogram<u64>; 2],
}

impl Histograms {
    pub(crate) fn new() -> Self {
        let histogram = || Histogram::new_with_bounds(1, LONGEST_NS, 2).expect("the bounds are in order");
        Self { recovery: histogram(), leads: Line::ALL.map(|_| histogram()) }
    }

    /// Hands every event on to `sink`, and records those that say how long something took.
    pub(crate) fn recording(
        &mut self,
        sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> impl FnMut(Event<'_>) -> ControlFlow<()> {
        |event| {
            if let Event::Recovered(recovered) = &event {
                self.recovery.saturating_record(recovered.elapsed.0);
            }
            sink(event)
        }
    }

    pub(crate) fn record_lead(&mut self, (line, lead): (Line, Nanos)) {
        self.leads[line.index()].saturating_record(lead.0);
    }
}
