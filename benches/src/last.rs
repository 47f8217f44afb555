//! `last`: from the publication of a message that is lost before a pause to its delivery.

use crate::feed::Feed;
use crate::figures::{Figure, Samples};
use crate::messages::Messages;
use crate::reception::Reception;
use crate::report::{self, Measurement};
use crate::stage::{Common, Gate, Stage, run_pair, words};
use crate::stalls::Stalls;
use seqcast_recovery::{Nanos, parse_duration};
use seqcast_transport::Clock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Measure the time from the publication of the last message before a pause, which is lost, to its delivery
///
/// Before each pause two messages leave, each in a packet of its own; the second is lost on the line, by a relay on the
/// publishing thread, and nothing but a heartbeat tells of it. Measured from just before its flush to its delivery, by the
/// host's monotonic clock.
///
/// The subscribing thread is pinned and spins. The publishing thread is pinned and sleeps between the messages unless --spin
/// or --inline is given; the retransmitter, at default settings, sleeps on a thread of its own unless --inline is given.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Messages lost per round
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    samples: usize,
    /// Bytes of each message
    #[arg(long, value_name = "N", default_value_t = 64)]
    bytes: usize,
    /// The length of a pause
    #[arg(long, value_name = "TIME", default_value = "20ms", value_parser = parse_duration)]
    pause: Nanos,
    /// Spin on the publishing thread, too
    #[arg(long)]
    spin: bool,
    /// Do the retransmitter's work on the publishing thread, which then spins
    #[arg(long, conflicts_with = "spin")]
    inline: bool,
}

/// What a round may take beyond twice its pauses.
const PATIENCE: Nanos = Nanos::from_secs(30);

/// Runs the measurement and prints its figures.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let what = format!(
        "{} messages of {} bytes lost before a pause of {} ms; {}",
        options.samples,
        options.bytes,
        options.pause.0 as f64 / 1e6,
        match (options.inline, options.spin) {
            (true, _) => "the publishing thread spins and does the retransmitter's work",
            (false, true) => "the publishing thread spins, the retransmitter sleeps on a thread of its own",
            (false, false) => "the publishing thread sleeps, the retransmitter sleeps on a thread of its own",
        }
    );
    let messages = Messages::uniform(options.bytes, 1);
    report::measure(&options.common, &Measurement::new("last", what), || round(options, &messages))
}

fn round(options: &Options, messages: &Messages) -> Result<Vec<Figure>, String> {
    let stage = Stage::new()?;
    let publisher = stage.publisher().requests_inline(options.inline).open().map_err(words)?;
    let subscriber = stage.subscriber(stage.relayed_line(), &publisher)?.open().map_err(words)?;
    let reception = Reception::new(subscriber, messages);
    let feed = Feed::relayed(&stage, publisher, messages)?;
    let gate = Gate::new(Nanos(options.pause.0.saturating_mul(2 * options.samples as u64)) + PATIENCE);
    let delivered_count = AtomicUsize::new(0);
    let results = run_pair(
        &options.common,
        &gate,
        || publish(feed, options, &delivered_count, &gate),
        || subscribe(reception, options.samples, &delivered_count, &gate),
    );
    let (published, (delivered, stalls)) = gate.finish(results)?;
    let mut samples = Samples::new();
    published.iter().zip(delivered).for_each(|(&published, delivered)| samples.record(delivered - published));
    let mut figures = vec![samples.figure("last message published to delivered")];
    figures.extend(stalls.figures());
    Ok(figures)
}

/// Returns when each message that was lost was published.
fn publish(
    mut feed: Feed<'_>,
    options: &Options,
    delivered_count: &AtomicUsize,
    gate: &Gate,
) -> Result<Vec<Nanos>, String> {
    let spins = options.spin || options.inline;
    let mut published = Vec::with_capacity(options.samples);
    for _ in 0..options.samples {
        feed.send(gate, |_| false)?;
        let sent = feed.send(gate, |_| true)?;
        published.push(sent.from);
        feed.tend_until(sent.until + options.pause, spins, gate)?;
    }
    while delivered_count.load(Ordering::Relaxed) < feed.published() {
        feed.tend_until(Clock::now() + options.pause, spins, gate)?;
    }
    Ok(published)
}

/// Returns when each message that had been lost was delivered.
fn subscribe(
    mut reception: Reception<'_>,
    samples: usize,
    delivered_count: &AtomicUsize,
    gate: &Gate,
) -> Result<(Vec<Nanos>, Stalls), String> {
    let mut delivered = Vec::with_capacity(samples);
    let mut stalls = Stalls::new(Clock::now());
    let mut work = 0;
    while reception.check().accounted() < 2 * samples {
        let now = Clock::now();
        gate.check(now)?;
        stalls.look(now, work == 0);
        work = reception.poll(now, |repair| delivered.push(repair.delivered))?;
    }
    reception.check().complete(2 * samples)?;
    delivered_count.store(2 * samples, Ordering::Relaxed);
    match delivered.len() {
        count if count == samples => Ok((delivered, stalls)),
        count => Err(format!("{count} of {samples} lost messages were repaired as gaps")),
    }
}
