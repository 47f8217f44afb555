//! `pace`: the highest pace at which not one request is needed.

use crate::figures::{self, Figure};
use crate::messages::Messages;
use crate::rig::{Bounds, Load, millions};
use crate::stage::Common;
use seqcast_publisher::Line;
use std::num::NonZeroUsize;

/// Find by bisection the highest pace of generated market data at which not one request is needed
///
/// One publisher (spinning until each message is due) and one subscriber (spinning), each pinned to its core, 1,472-byte
/// packets, default settings; the retransmitter sleeps on a thread of its own. Time is the host's monotonic clock. A pace
/// that fails is tried twice more, because one stall of the machine should not decide.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Messages per run
    #[arg(long, value_name = "N", default_value = "3000000")]
    messages: NonZeroUsize,
    #[command(flatten)]
    bounds: Bounds,
}

/// A pace that every machine reaches, to warm up with.
const WARM_UP: f64 = 500_000.0;

/// Runs the measurement and prints its figures.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let Options { common, messages: count, bounds } = *options;
    let count = count.get();
    let messages = Messages::market(count, 1);
    let mean_bytes = (0..count).map(|index| messages.get(index).len()).sum::<usize>() as f64 / count as f64;
    let load = Load { common, messages: &messages, count };
    let what = format!("pace: {count} messages a run, {mean_bytes:.1} bytes of payload each");
    load.run(WARM_UP, None)?;
    figures::report(common.rounds, &what, || {
        let (reached, run) = bounds.highest_clean_pace(&load)?;
        let packets = run.publisher.lines[Line::A.index()].packets as f64;
        let [short, long] = run.stalls.figures();
        Ok(vec![
            millions("highest pace without a request", reached),
            Figure::single("payload", reached * mean_bytes / 1e6, "MB/s"),
            Figure::single("packets", packets / run.published_in.as_duration().as_secs_f64(), "a second"),
            Figure::single("messages a packet", count as f64 / packets, ""),
            Figure::single("delivered in", run.elapsed.as_duration().as_secs_f64(), "s"),
            short,
            long,
        ])
    })
}
