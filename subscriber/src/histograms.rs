//! How long things took, as histograms.

use hdrhistogram::Histogram;
use seqcast_recovery::Line;

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
}
