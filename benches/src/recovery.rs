//! `recovery`: from a gap found to its delivery, against the bare round trip.

use crate::bare::{Echo, Ping};
use crate::feed::Feed;
use crate::figures::{Figure, Samples};
use crate::messages::Messages;
use crate::reception::Reception;
use crate::report::{self, Measurement};
use crate::stage::{Common, Gate, Stage, parse_loss, run_pair, words};
use crate::stalls::Stalls;
use seqcast_protocol::{HEADER_BYTES, LENGTH_BYTES};
use seqcast_publisher::Retransmitter;
use seqcast_recovery::{Nanos, parse_duration};
use seqcast_subscriber::{ImpairmentConfig, Line, SubscriberCounters};
use seqcast_transport::{Clock, set_fifo_priority, set_short_slice, wait_readable};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

/// Measure the time from a gap found to its delivery, against a bare round trip between the same two threads
///
/// One line, a message in a packet of its own at every interval, and seeded loss on the line alone, where the subscriber takes
/// it: answers are not lost. In turn, swapped every few hundred: repairs, and bare unicast round trips of a
/// datagram as long as a request and an answer as long as a retransmission. Found is when the duty cycle began that raised
/// the gap, or when the last message before it in that cycle was handed over; delivered is when its last message had been handed
/// over, both by the host's monotonic clock. What the library itself says it took, by the clock of its duty cycles, is told
/// beside it. So are bare round trips made as rarely as gaps come, one after each mean distance
/// of gaps: what a rare path costs that no cache keeps warm.
///
/// The publishing thread and the subscribing thread are pinned and spin. Requests are answered by the publishing thread, at
/// least once per packet; or, with --own-thread, by a thread that sleeps until a request arrives. Then there are bare round trips,
/// as rarely, to a thread that sleeps likewise, on the same core and at the same priority, too: what it costs to wake somebody.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Gaps per round
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    gaps: u64,
    /// Bytes of each message
    #[arg(long, value_name = "N", default_value_t = 64)]
    bytes: usize,
    /// The distance of packets
    #[arg(long, value_name = "TIME", default_value = "20us", value_parser = parse_duration)]
    interval: Nanos,
    /// The share of packets lost
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = parse_loss)]
    loss: f64,
    /// Gaps, and bare round trips, between two swaps
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    swap: u64,
    /// Answer requests on a thread of its own
    #[arg(long)]
    own_thread: bool,
    /// The core that it is pinned to
    #[arg(long, value_name = "CORE", default_value_t = 1, requires = "own_thread")]
    answer_core: usize,
    /// Schedule that thread as SCHED_FIFO with this priority, 1 to 99
    #[arg(long, value_name = "PRIORITY", requires = "own_thread")]
    fifo: Option<u8>,
    /// Keep both ways warm with a datagram to themselves at this interval when there is nothing to do
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    keep_warm: Option<Nanos>,
}

/// What a round may take beyond ten times its schedule: sessions open, pauses end.
const PATIENCE: Nanos = Nanos::from_secs(30);

/// For each rare bare round trip so many back to back, so that they take no longer than the feed.
const TRIPS_PER_RARE_ONE: u64 = 10;

/// So soon a thread that sleeps sees that the round is over. Arbitrary.
const LONGEST_SLEEP: Nanos = Nanos::from_millis(10);

/// Whose turn it is. The subscribing thread decides, but for the pause.
const FEED: u8 = 0;
/// The feed is to pause.
const PAUSE: u8 = 1;
/// Nothing more is published; what is missing is asked for.
const PAUSED: u8 = 2;
const BARE: u8 = 3;
const DONE: u8 = 4;

/// Hands the turn from thread to thread.
#[derive(Debug, Default)]
struct Turn {
    phase: AtomicU8,
    /// How many messages have been published, once paused.
    published: AtomicUsize,
}

/// What the subscribing thread saw.
#[derive(Debug)]
struct Seen {
    bare: Samples,
    rare: Samples,
    /// None unless a thread of its own answers.
    asleep: Samples,
    repair: Samples,
    told: Samples,
    counters: SubscriberCounters,
    stalls: Stalls,
}

/// Runs the measurement and prints its figures.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let who = match (options.own_thread, options.fifo) {
        (false, _) => "the publishing thread".to_owned(),
        (true, None) => format!("a thread of its own on core {} at default priority", options.answer_core),
        (true, Some(priority)) => {
            format!("a thread of its own on core {} under SCHED_FIFO {priority}", options.answer_core)
        }
    };
    let warm = options
        .keep_warm
        .map_or_else(String::new, |interval| format!("; both ways kept warm every {} us", interval.0 as f64 / 1e3));
    let what = format!(
        "{} gaps a round, a message of {} bytes every {} us, {} % lost on the line only, answered by {who}{warm}",
        options.gaps,
        options.bytes,
        options.interval.0 as f64 / 1e3,
        options.loss * 100.0
    );
    let messages = Messages::uniform(options.bytes, 1);
    let mut seed = 0;
    report::measure(&options.common, &Measurement::new("recovery", what), || {
        seed += 1;
        round(options, &messages, seed)
    })
}

fn round(options: &Options, messages: &Messages, seed: u64) -> Result<Vec<Figure>, String> {
    let stage = Stage::new()?;
    let mut builder = stage.publisher();
    if let Some(interval) = options.keep_warm {
        builder = builder.keep_warm(interval.as_duration());
    }
    let (publisher, retransmitter) = if options.own_thread {
        builder.open_split().map(|(publisher, retransmitter)| (publisher, Some(retransmitter)))
    } else {
        builder.requests_inline(true).open().map(|publisher| (publisher, None))
    }
    .map_err(words)?;
    let impairment = ImpairmentConfig { loss: options.loss, seed, ..ImpairmentConfig::default() };
    let mut subscriber = stage.subscriber(stage.line(), &publisher)?.impair_line(Line::A, impairment);
    if let Some(interval) = options.keep_warm {
        subscriber = subscriber.keep_warm(interval.as_duration());
    }
    let reception = Reception::new(subscriber.open().map_err(words)?, messages).finding_within_cycles();
    let feed = Feed::direct(publisher, messages);
    let open_echo = || Echo::open(HEADER_BYTES + LENGTH_BYTES + options.bytes);
    let echo = open_echo()?;
    let sleeper = options.own_thread.then(open_echo).transpose()?;
    let pings = Pings { spinning: echo.ping()?, asleep: sleeper.as_ref().map(Echo::ping).transpose()? };
    let scheduled = Nanos((options.gaps as f64 / options.loss * options.interval.0 as f64) as u64);
    let gate = Gate::new(Nanos(scheduled.0.saturating_mul(10)) + PATIENCE);
    let (turn, is_over) = (Turn::default(), AtomicBool::new(false));
    let results = std::thread::scope(|scope| {
        if let Some(retransmitter) = retransmitter {
            let serve = || serve(retransmitter, options.fifo, &is_over);
            scope.spawn(|| gate.run(Some(options.answer_core), serve));
        }
        if let Some(sleeper) = sleeper {
            let answer = || answer_asleep(sleeper, options.fifo, &is_over);
            scope.spawn(|| gate.run(Some(options.answer_core), answer));
        }
        let results = run_pair(
            &options.common,
            &gate,
            || publish(feed, echo, options.interval, &turn, &gate),
            || subscribe(reception, pings, options, &turn, &gate),
        );
        is_over.store(true, Ordering::Relaxed);
        results
    });
    let ((), seen) = gate.finish(results)?;
    let bare_us = seen.bare.median_us();
    let counters = seen.counters.subscription;
    let per_gap = |name, count: u64| Figure::single(name, count as f64 / counters.gaps as f64, "");
    let mut figures = vec![
        seen.bare.figure("bare round trip"),
        seen.repair.figure("gap found to delivered"),
        seen.repair.multiples("gap found to delivered, in median bare round trips", bare_us),
        seen.rare.figure("bare round trip as rare as gaps"),
        seen.repair.multiples("gap found to delivered, in median rare round trips", seen.rare.median_us()),
        seen.told.figure("the same as the library tells it"),
        seen.told.multiples("the same as the library tells it, in median bare trips", bare_us),
        per_gap("requests a gap", counters.requests),
        per_gap("repeated requests a gap", counters.retries),
    ];
    if options.own_thread {
        figures.extend([
            seen.asleep.figure("bare round trip, as rare, to a thread that sleeps"),
            seen.asleep.multiples("bare round trip to a thread that sleeps, in median bare round trips", bare_us),
            seen.repair
                .multiples("gap found to delivered, in median trips to one that sleeps", seen.asleep.median_us()),
        ]);
    }
    figures.extend(seen.stalls.figures());
    Ok(figures)
}

/// Publishes, pauses and echoes as the turn says.
fn publish(mut feed: Feed<'_>, mut echo: Echo, interval: Nanos, turn: &Turn, gate: &Gate) -> Result<(), String> {
    let mut due = Clock::now();
    loop {
        let now = Clock::now();
        gate.check(now)?;
        match turn.phase.load(Ordering::Acquire) {
            FEED => {
                feed.answer();
                if now >= due {
                    feed.send(gate, |_| false)?;
                    due = due + interval;
                }
            }
            PAUSE => {
                turn.published.store(feed.published(), Ordering::Relaxed);
                turn.phase.store(PAUSED, Ordering::Release);
            }
            PAUSED => feed.tend()?,
            BARE => {
                echo.answer()?;
                due = now;
            }
            _ => return Ok(()),
        }
    }
}

/// Those who make bare round trips.
#[derive(Debug)]
struct Pings {
    spinning: Ping,
    asleep: Option<Ping>,
}

/// Repairs and makes round trips in turn, until there have been enough gaps.
fn subscribe(
    mut reception: Reception<'_>,
    mut pings: Pings,
    options: &Options,
    turn: &Turn,
    gate: &Gate,
) -> Result<Seen, String> {
    let [mut bare, mut rare, mut asleep, mut repair, mut told] = std::array::from_fn(|_| Samples::new());
    let distance = Nanos((options.interval.0 as f64 / options.loss) as u64);
    let mut stalls = Stalls::new(Clock::now());
    let mut work = 1;
    while repair.count() < options.gaps {
        turn.phase.store(FEED, Ordering::Release);
        let enough = options.gaps.min(repair.count() + options.swap);
        loop {
            let now = Clock::now();
            gate.check(now)?;
            stalls.look(now, work == 0);
            work = reception.poll(now, |filled| {
                repair.record(filled.delivered - filled.found);
                told.record(filled.elapsed);
            })?;
            match turn.phase.load(Ordering::Acquire) {
                FEED if repair.count() >= enough => turn.phase.store(PAUSE, Ordering::Release),
                PAUSED if reception.check().accounted() == turn.published.load(Ordering::Relaxed) => break,
                _ => {}
            }
        }
        turn.phase.store(BARE, Ordering::Release);
        for _ in 0..options.swap {
            bare.record(pings.spinning.trip(bare.count(), gate)?);
        }
        for (ping, samples) in [(Some(&mut pings.spinning), &mut rare), (pings.asleep.as_mut(), &mut asleep)] {
            let Some(ping) = ping else { continue };
            for _ in 0..options.swap.div_ceil(TRIPS_PER_RARE_ONE) {
                let due = Clock::now() + distance;
                // As between gaps: the subscriber is polled and has nothing.
                while Clock::now() < due {
                    reception.poll(Clock::now(), |_| {})?;
                }
                samples.record(ping.trip(samples.count(), gate)?);
            }
        }
        work = 1;
    }
    turn.phase.store(DONE, Ordering::Release);
    reception.check().complete(turn.published.load(Ordering::Relaxed))?;
    Ok(Seen { bare, rare, asleep, repair, told, counters: reception.subscriber().counters(), stalls })
}

/// Schedules this thread as a publisher does that of its retransmitter, but at a priority.
fn schedule(fifo: Option<u8>) -> Result<(), String> {
    let _ = set_short_slice();
    fifo.map_or(Ok(()), |priority| set_fifo_priority(priority).map_err(words))
}

/// Answers bare round trips whenever it is woken by one.
fn answer_asleep(mut echo: Echo, fifo: Option<u8>, is_over: &AtomicBool) -> Result<(), String> {
    schedule(fifo)?;
    while !is_over.load(Ordering::Relaxed) {
        wait_readable(&[echo.as_raw_fd()], Some(LONGEST_SLEEP)).map_err(words)?;
        echo.answer()?;
    }
    Ok(())
}

/// Runs the retransmitter as its publisher would, but at a priority.
fn serve(mut retransmitter: Retransmitter, fifo: Option<u8>, is_over: &AtomicBool) -> Result<(), String> {
    schedule(fifo)?;
    let fds = retransmitter.fds();
    while !is_over.load(Ordering::Relaxed) {
        retransmitter.do_work();
        wait_readable(&fds, Some(retransmitter.timeout())).map_err(words)?;
    }
    Ok(())
}
