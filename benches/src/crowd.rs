//! `crowd`: many subscribers that lose the same burst.

use crate::feed::Feed;
use crate::figures::{Figure, Samples};
use crate::messages::Messages;
use crate::reception::Reception;
use crate::report::{self, Measurement};
use crate::stage::{Common, Gate, Stage, parse_rate, words};
use seqcast::pace::{Pace, Schedule};
use seqcast_protocol::SequenceRange;
use seqcast_recovery::Nanos;
use seqcast_subscriber::Counters;
use seqcast_transport::Clock;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Measure how soon many subscribers that lose the same bursts of packets have recovered
///
/// One publisher, a message in a packet of its own at even distances; every burst is lost on the line, by a relay on the
/// publishing thread, so that all subscribers lose the same and no answer is lost. Measured in each subscriber from the duty
/// cycle that raised a gap to the delivery of its last message, and per burst from the first subscriber that found it to the
/// last that had recovered, by the host's monotonic clock.
///
/// The publishing thread is pinned and sleeps between packets, the retransmitter sleeps on a thread of its own, as by
/// default. One or two threads spin over the subscribers: the first on the subscriber's core, the second on the publisher's.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Subscribers
    #[arg(long, value_name = "N", default_value = "100")]
    subscribers: NonZeroUsize,
    /// Threads that poll them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    threads: u8,
    /// Packets per round
    #[arg(long, value_name = "N", default_value_t = 50_000)]
    packets: u64,
    /// Packets per second; each takes the kernel a copy for every subscriber
    #[arg(long, value_name = "N", default_value = "2000", value_parser = parse_rate)]
    rate: f64,
    /// Bytes of each message
    #[arg(long, value_name = "N", default_value_t = 64)]
    bytes: usize,
    /// Packets lost at once
    #[arg(long, value_name = "N", default_value_t = 20)]
    burst: u64,
    /// Packets from the start of one burst to the start of the next
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
}

/// What a round may take beyond its schedule.
const PATIENCE: Nanos = Nanos::from_secs(30);

/// What each subscriber keeps beyond a gap. 8,192 messages of 128 bytes: a hundred windows of the default size would take a
/// gigabyte.
const WINDOW: (usize, usize) = (8_192, 1 << 20);

/// One burst as all subscribers saw it.
#[derive(Clone, Copy, Debug)]
struct Burst {
    found: Nanos,
    delivered: Nanos,
    repairs: usize,
}

/// What one thread saw.
#[derive(Debug)]
struct Seen {
    repair: Samples,
    bursts: Vec<Burst>,
    counters: Vec<Counters>,
}

/// Runs the measurement and prints its figures.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let what = format!(
        "{} subscribers polled by {} thread(s), {} packets/s of one message of {} bytes, {} of every {} lost by all",
        options.subscribers, options.threads, options.rate, options.bytes, options.burst, options.every
    );
    let messages = Messages::uniform(options.bytes, 1);
    report::measure(&options.common, &Measurement::new("crowd", what), || round(options, &messages))
}

fn round(options: &Options, messages: &Messages) -> Result<Vec<Figure>, String> {
    let stage = Stage::new()?;
    let publisher = stage.publisher().open().map_err(words)?;
    let mut shares: Vec<Vec<Reception<'_>>> = (0..options.threads).map(|_| Vec::new()).collect();
    for index in 0..options.subscribers.get() {
        let builder = stage.subscriber(stage.relayed_line(), &publisher)?.reorder_window(WINDOW.0, WINDOW.1);
        let subscriber = builder.seed(index as u64).open().map_err(words)?;
        shares[index % usize::from(options.threads)].push(Reception::new(subscriber, messages));
    }
    let feed = Feed::relayed(&stage, publisher, messages)?;
    let gate = Gate::new(Nanos((options.packets as f64 * 1e9 / options.rate) as u64) + PATIENCE);
    let complete = AtomicUsize::new(0);
    let cores = [options.common.subscriber_core, options.common.publisher_core];
    let results = std::thread::scope(|scope| {
        let (gate, complete) = (&gate, &complete);
        let poll =
            |(share, core)| scope.spawn(move || gate.run(Some(core), || poll_all(share, options, complete, gate)));
        let polling: Vec<_> = shares.into_iter().zip(cores).map(poll).collect();
        let publisher_core = Some(options.common.publisher_core);
        scope.spawn(move || gate.run(publisher_core, || publish(feed, options, complete, gate)));
        polling.into_iter().map(|thread| thread.join().ok()?).collect::<Option<Vec<Seen>>>()
    });
    Ok(figures_of(options, &gate.finish(results)?))
}

fn figures_of(options: &Options, seen: &[Seen]) -> Vec<Figure> {
    let (mut repair, mut all) = (Samples::new(), Samples::new());
    seen.iter().for_each(|seen| repair.add(&seen.repair));
    for index in 0..burst_count(options) {
        let bursts = seen.iter().map(|seen| seen.bursts[index]);
        if let Some(whole) = bursts.reduce(Burst::merge).filter(|whole| whole.repairs > 0) {
            all.record(whole.delivered - whole.found);
        }
    }
    let counters = || seen.iter().flat_map(|seen| &seen.counters);
    let total = |value: fn(&Counters) -> u64| counters().map(value).sum::<u64>() as f64;
    vec![
        repair.figure("gap found to delivered"),
        all.figure("burst found by the first to delivered to the last"),
        Figure::single("gaps", total(|counters| counters.gaps), ""),
        Figure::single("requests in all", total(|counters| counters.requests), ""),
        Figure::single("requests a gap", total(|counters| counters.requests) / total(|counters| counters.gaps), ""),
        Figure::single("repeated requests", total(|counters| counters.retries), ""),
        Figure::single("messages that arrived again", total(|counters| counters.duplicates), ""),
    ]
}

/// The burst that this number belongs to, if it is lost. The first packets pass.
fn burst_of(options: &Options, number: u64) -> Option<usize> {
    let is_lost = number >= options.every && number % options.every < options.burst;
    is_lost.then(|| (number / options.every - 1) as usize)
}

fn burst_count(options: &Options) -> usize {
    (options.packets / options.every) as usize
}

impl Burst {
    const NONE: Self = Self { found: Nanos::MAX, delivered: Nanos::ZERO, repairs: 0 };

    fn merge(self, other: Self) -> Self {
        Self {
            found: self.found.min(other.found),
            delivered: self.delivered.max(other.delivered),
            repairs: self.repairs + other.repairs,
        }
    }
}

fn publish(mut feed: Feed<'_>, options: &Options, complete: &AtomicUsize, gate: &Gate) -> Result<(), String> {
    let mut schedule = Schedule::new(Pace::PerSecond(options.rate), Clock::now());
    let is_lost = |range: SequenceRange| burst_of(options, range.start()).is_some();
    for _ in 0..options.packets {
        feed.tend_until(schedule.next_due(None), false, gate)?;
        feed.send(gate, is_lost)?;
    }
    while complete.load(Ordering::Relaxed) < options.subscribers.get() {
        feed.tend_until(Clock::now() + Nanos::from_millis(1), false, gate)?;
    }
    Ok(())
}

/// Polls its share in turn until every subscriber has everything.
fn poll_all(
    mut share: Vec<Reception<'_>>,
    options: &Options,
    complete: &AtomicUsize,
    gate: &Gate,
) -> Result<Seen, String> {
    let mut repairs = Samples::new();
    let mut bursts = vec![Burst::NONE; burst_count(options)];
    let mut complete_here = 0;
    while complete_here < share.len() {
        for reception in &mut share {
            let was_complete = reception.check().accounted() as u64 >= options.packets;
            let now = Clock::now();
            gate.check(now)?;
            reception.poll(now, |repair| {
                repairs.record(repair.delivered - repair.found);
                if let Some(index) = burst_of(options, repair.range.start()) {
                    let seen = Burst { found: repair.found, delivered: repair.delivered, repairs: 1 };
                    bursts[index] = bursts[index].merge(seen);
                }
            })?;
            complete_here += usize::from(!was_complete && reception.check().accounted() as u64 >= options.packets);
        }
    }
    for reception in &share {
        reception.check().complete(options.packets as usize)?;
    }
    complete.fetch_add(share.len(), Ordering::Relaxed);
    let counters = share.iter().map(|reception| reception.subscriber().counters().subscription).collect();
    Ok(Seen { repair: repairs, bursts, counters })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn every_burst_is_lost_whole_and_the_first_packets_pass() {
        let options = Cli::parse_from(["crowd", "--packets", "100", "--every", "10", "--burst", "3"]).options;
        let lost: Vec<u64> = (1..=35).filter(|&number| burst_of(&options, number).is_some()).collect();
        assert_eq!(lost, [10, 11, 12, 20, 21, 22, 30, 31, 32]);
        assert_eq!((1..=options.packets).filter_map(|number| burst_of(&options, number)).max(), Some(9));
        assert_eq!(burst_count(&options), 10);
    }
}
