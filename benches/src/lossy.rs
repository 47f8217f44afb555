//! `lossy`: how fast everything is complete under loss, against the highest pace that needs no request without it.

use crate::figures::{self, Figure};
use crate::messages::Messages;
use crate::rig::{Bounds, Load, Run, millions};
use crate::stage::{Common, parse_loss};
use crate::stalls::Stalls;
use seqcast_publisher::Line;
use seqcast_subscriber::ImpairmentConfig;
use std::num::NonZeroUsize;

/// Measure complete delivery under seeded loss against the highest pace that needs no request without it
///
/// Messages of one length in 1,472-byte packets. Each round finds by bisection the highest pace without a request, then
/// runs at that pace in turn without and with loss; the rate of a run is its messages over the time from the first published
/// to the last delivered, the ratio that of the medians. Loss hits the line and the answers alike, in the subscriber.
/// Publisher (spinning until each message is due) and subscriber (spinning) are pinned, everything else has default
/// settings: the retransmitter sleeps on a thread of its own. Time is the host's monotonic clock.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Messages per run
    #[arg(long, value_name = "N", default_value = "1000000")]
    messages: NonZeroUsize,
    /// Bytes of each message
    #[arg(long, value_name = "N", default_value_t = 100)]
    bytes: usize,
    /// The share of datagrams lost
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = parse_loss)]
    loss: f64,
    /// Runs without and with loss, each, per round
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pairs: u16,
    #[command(flatten)]
    bounds: Bounds,
}

/// Runs the measurement and prints its figures.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let Options { common, messages: count, bytes, loss, pairs, bounds } = *options;
    let count = count.get();
    let messages = Messages::uniform(bytes, 1);
    let load = Load { common, messages: &messages, count };
    let what = format!("lossy: {count} messages of {bytes} bytes a run, {} % of the datagrams lost", loss * 100.0);
    let mut seed = 0;
    figures::report(common.rounds, &what, || {
        let (pace, _) = bounds.highest_clean_pace(&load)?;
        let (mut clean, mut lossy) = (Vec::new(), Vec::new());
        for _ in 0..pairs {
            seed += 1;
            clean.push(complete(load.run(pace, None)?)?);
            let impairment = ImpairmentConfig { loss, seed, ..ImpairmentConfig::default() };
            lossy.push(complete(load.run(pace, Some(impairment))?)?);
        }
        let rate = |runs: &[Run]| count as f64 / median(runs, |run| run.elapsed.as_duration().as_secs_f64());
        let of_lossy = |name, value: fn(&Run) -> u64| Figure::single(name, median(&lossy, |run| value(run) as f64), "");
        let [short, long] = Stalls::sum(clean.iter().chain(&lossy).map(|run| run.stalls)).figures();
        Ok(vec![
            millions("highest pace without a request", pace),
            millions("complete without loss", rate(&clean)),
            millions("complete under loss", rate(&lossy)),
            Figure::single("complete under loss, against without", rate(&lossy) / rate(&clean), "x"),
            Figure::single(
                "requests without loss",
                median(&clean, |run| run.subscriber.subscription.requests as f64),
                "",
            ),
            of_lossy("packets under loss", |run| run.publisher.lines[Line::A.index()].packets),
            of_lossy("datagrams lost on purpose", |run| run.subscriber.impairment.dropped),
            of_lossy("datagrams dropped by the kernel", |run| run.subscriber.kernel_drops),
            of_lossy("requests under loss", |run| run.subscriber.subscription.requests),
            of_lossy("requests repeated under loss", |run| run.subscriber.subscription.retries),
            of_lossy("messages that found no room under loss", |run| run.subscriber.subscription.deferred),
            short,
            long,
        ])
    })
}

fn complete(run: Run) -> Result<Run, String> {
    match run.subscriber.subscription.lost {
        0 => Ok(run),
        lost => Err(format!("{lost} messages lost")),
    }
}

fn median(runs: &[Run], value: impl Fn(&Run) -> f64) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
