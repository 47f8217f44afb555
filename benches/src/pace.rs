//! `pace`: the highest pace at which not one request is needed.

use crate::environment;
use crate::rig::{self, Messages, Run};
use seqcast::pace::Pace;
use seqcast_publisher::Line;
use std::io::Write;
use std::sync::Arc;

/// Find by bisection the highest pace of generated market data at which not one request is needed
///
/// One publisher (spinning until each message is due), its retransmitter, one subscriber (spinning), 1,472-byte packets.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Messages per run
    #[arg(long, value_name = "N", default_value_t = 3_000_000)]
    messages: usize,
    /// Bisections, of which each gives a figure
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// The lowest pace tried, messages/s
    #[arg(long, value_name = "N", default_value_t = 100_000.0)]
    lowest: f64,
    /// The highest pace tried, messages/s
    #[arg(long, value_name = "N", default_value_t = 20_000_000.0)]
    highest: f64,
}

/// The bisection ends when its bounds are this close.
const RESOLUTION: f64 = 1.05;

/// A pace counts only if at least this share of it was reached.
const ACHIEVED: f64 = 0.98;

/// Runs the measurement and prints a table.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    let mut say = |words: String| writeln!(out, "{words}").map_err(|error| error.to_string());
    say(environment::describe())?;
    let messages = Arc::new(Messages::generate(options.messages, 1));
    let mean_bytes = messages.bytes() as f64 / messages.count() as f64;
    say(format!("{} messages a run, {mean_bytes:.1} bytes of payload each", messages.count()))?;
    // Warm-up: not counted.
    rig::run(&messages, Pace::PerSecond(options.lowest.max(500_000.0)))?;
    let mut found = Vec::new();
    for round in 1..=options.rounds {
        let (mut low, mut high) = (options.lowest, options.highest);
        let mut best: Option<(f64, Run)> = None;
        while high / low > RESOLUTION {
            let pace = (low * high).sqrt();
            let run = rig::run(&messages, Pace::PerSecond(pace))?;
            let reached = messages.count() as f64 / run.published_in.as_duration().as_secs_f64();
            let counters = run.subscriber.subscription;
            let is_clean = counters.requests == 0 && counters.lost == 0;
            if is_clean && reached >= ACHIEVED * pace {
                low = pace;
                best = Some((reached, run));
            } else {
                high = pace;
            }
        }
        let Some((reached, run)) = best else { return Err("no pace without a request was found".to_owned()) };
        let packets = run.publisher.packets[Line::A.index()];
        say(format!(
            "round {round}: {:.2} million messages/s, {:.1} MB/s of payload, {:.0} packets/s, {:.1} messages a packet, \
             delivered in {:.3} s, 0 requests",
            reached / 1e6,
            reached * mean_bytes / 1e6,
            packets as f64 / run.published_in.as_duration().as_secs_f64(),
            messages.count() as f64 / packets as f64,
            run.elapsed.as_duration().as_secs_f64(),
        ))?;
        found.push(reached);
    }
    found.sort_by(f64::total_cmp);
    let median = found[found.len() / 2];
    say(format!(
        "median of {}: {:.2} million messages/s, {:.1} MB/s of payload (lowest {:.2}, highest {:.2} million)",
        found.len(),
        median / 1e6,
        median * mean_bytes / 1e6,
        found[0] / 1e6,
        found[found.len() - 1] / 1e6,
    ))
}
