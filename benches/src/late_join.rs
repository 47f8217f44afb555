//! `late-join`: what a late joiner costs the publisher, and how soon it is live.

use crate::figures::{Figure, Samples};
use crate::messages::Messages;
use crate::reception::Reception;
use crate::report::{self, Measurement};
use crate::stage::{Common, Gate, Stage, parse_rate, run_pair, words};
use seqcast::pace::{Pace, Schedule, wait_until};
use seqcast_protocol::SequenceNumber;
use seqcast_publisher::Publisher;
use seqcast_recovery::Nanos;
use seqcast_subscriber::{Idle, IdleStrategy, Start, SubscriberBuilder};
use seqcast_transport::Clock;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// Measure a publisher's lateness without and with a late joiner that catches up, and the time until it is live
///
/// A publisher sends packets at even distances. When it has sent the backlog, a subscriber joins at the oldest retained
/// message, fetches everything, is live, and stays for as long as the publisher sends on. Lateness is the time from when a
/// packet was due until its flush returned, by the host's monotonic clock, before the join and after it is live (without),
/// and between (with).
///
/// The publishing thread is pinned and spins until a packet is due; the retransmitter sleeps on a thread of its own, pinned
/// only if --retransmitter-core is given. The joiner is pinned and idles as --idle says; with --with-subscriber a second
/// subscriber that is there from the start does the same on another thread of that core. On two cores a joiner that spins
/// leaves the retransmitter no core of its own.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Messages per second
    #[arg(long, value_name = "N", default_value = "500000", value_parser = parse_rate)]
    rate: f64,
    /// Bytes of each message; market data has about so many
    #[arg(long, value_name = "N", default_value_t = 32)]
    bytes: usize,
    /// Messages in each packet
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    per_packet: u16,
    /// Messages published before the join
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    backlog: usize,
    /// MiB retained
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    retain: usize,
    /// What subscribers do when there is nothing to do: backoff, spin, yield or block
    #[arg(long, value_name = "STRATEGY", default_value_t)]
    idle: IdleStrategy,
    /// The core that the retransmitter's thread is pinned to
    #[arg(long, value_name = "CORE")]
    retransmitter_core: Option<usize>,
    /// Let a second subscriber listen from the start
    #[arg(long)]
    with_subscriber: bool,
}

/// How long a joiner may take: its backlog grows while it catches up.
const PATIENCE: Nanos = Nanos::from_secs(60);

/// How long the publisher goes on once the joiner is live: as long as the default backlog takes.
const LIVE_FOR: Nanos = Nanos::from_secs(2);

/// The publisher's first packets are late by whatever wakes up; lateness counts from here on.
const WARM_UP: Nanos = Nanos::from_millis(200);

const BEFORE: u8 = 0;
const JOINING: u8 = 1;
const LIVE: u8 = 2;

/// What the threads tell each other.
#[derive(Debug, Default)]
struct Progress {
    phase: AtomicU8,
    published: AtomicUsize,
}

/// What the joiner saw.
#[derive(Clone, Copy, Debug)]
struct Join {
    joined_at: Nanos,
    live_at: Nanos,
    /// How far behind it was when it joined, and what was next when it was live.
    backlog: usize,
    next: SequenceNumber,
    requests: u64,
    retries: u64,
}

/// Runs the measurement and prints its figures.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let what = format!(
        "{} messages/s of {} bytes, {} a packet, {} MiB retained; joined after {} messages; {}; idle: {}; \
         retransmitter: {}",
        options.rate,
        options.bytes,
        options.per_packet,
        options.retain,
        options.backlog,
        if options.with_subscriber { "a second subscriber listens" } else { "nobody else listens" },
        options.idle,
        options.retransmitter_core.map_or("any core".to_owned(), |core| format!("core {core}")),
    );
    let messages = Messages::uniform(options.bytes, 1);
    report::measure(&options.common, &Measurement::new("late-join", what), || round(options, &messages))
}

fn round(options: &Options, messages: &Messages) -> Result<Vec<Figure>, String> {
    let stage = Stage::new()?;
    let builder = stage.publisher().retain_bytes(options.retain << 20);
    let builder = match options.retransmitter_core {
        Some(core) => builder.retransmitter_core(core),
        None => builder,
    };
    let publisher = builder.open().map_err(words)?;
    let subscriber = || Ok::<_, String>(stage.subscriber(stage.line(), &publisher)?.start(Start::Oldest));
    let (joiner, listener) = (subscriber()?, options.with_subscriber.then(subscriber).transpose()?);
    let listener = listener.map(|builder| builder.open().map_err(words)).transpose()?;
    let listener = listener.map(|subscriber| Reception::new(subscriber, messages));
    let scheduled = Nanos((options.backlog as f64 * 1e9 / options.rate) as u64);
    let gate = Gate::new(scheduled + PATIENCE);
    let progress = Progress::default();
    let results = std::thread::scope(|scope| {
        let listening = listener.map(|reception| {
            scope.spawn(|| {
                gate.run(Some(options.common.subscriber_core), || listen(reception, options.idle, &progress, &gate))
            })
        });
        let results = run_pair(
            &options.common,
            &gate,
            || publish(publisher, options, messages, &progress, &gate),
            || join(joiner, options, messages, &progress, &gate),
        );
        // Its failure is the gate's.
        listening.map(std::thread::ScopedJoinHandle::join);
        results
    });
    let ((without, with), join) = gate.finish(results)?;
    let seconds = (join.live_at - join.joined_at).as_duration().as_secs_f64();
    Ok(vec![
        without.figure("lateness without a joiner"),
        with.figure("lateness while one catches up"),
        with.ratios("lateness while one catches up, against without", &without),
        Figure::single("messages behind at the join", join.backlog as f64, ""),
        Figure::single("joined to live", seconds * 1e3, "ms"),
        Figure::single("caught up at", join.next as f64 / seconds / 1e6, "million messages/s"),
        Figure::single("requests of the joiner", join.requests as f64, ""),
        Figure::single("repeated requests of the joiner", join.retries as f64, ""),
    ])
}

/// Returns the lateness without and with a joiner that catches up.
fn publish(
    mut publisher: Publisher,
    options: &Options,
    messages: &Messages,
    progress: &Progress,
    gate: &Gate,
) -> Result<(Samples, Samples), String> {
    let (mut without, mut with) = (Samples::new(), Samples::new());
    let started = Clock::now();
    let mut schedule = Schedule::new(Pace::PerSecond(options.rate / f64::from(options.per_packet)), started);
    let (mut published, mut ends_at) = (0, Nanos::MAX);
    loop {
        let due = schedule.next_due(None);
        let now = wait_until(due, true, || true);
        gate.check(now)?;
        if now >= ends_at {
            break;
        }
        for _ in 0..options.per_packet {
            publisher.publish(messages.get(published)).map_err(words)?;
            published += 1;
        }
        let _ = publisher.flush().map_err(words)?;
        let flushed = Clock::now();
        progress.published.store(published, Ordering::Release);
        match progress.phase.load(Ordering::Relaxed) {
            BEFORE if due - started < WARM_UP => {}
            JOINING => with.record(flushed - due),
            LIVE if ends_at == Nanos::MAX => ends_at = flushed + LIVE_FOR,
            _ => without.record(flushed - due),
        }
    }
    let go_on = || gate.check(Clock::now()).is_ok();
    publisher.close_while(go_on).map_err(words)?;
    Ok((without, with))
}

/// Joins once the backlog has been published, and stays until the end of session.
fn join(
    builder: SubscriberBuilder,
    options: &Options,
    messages: &Messages,
    progress: &Progress,
    gate: &Gate,
) -> Result<Join, String> {
    while progress.published.load(Ordering::Acquire) < options.backlog {
        gate.check(wait_until(Clock::now() + Nanos::from_millis(1), false, || true))?;
    }
    let joined_at = Clock::now();
    let backlog = progress.published.load(Ordering::Acquire);
    let mut reception = Reception::new(builder.open().map_err(words)?, messages);
    progress.phase.store(JOINING, Ordering::Relaxed);
    let (mut live, mut idle) = (None, Idle::new(options.idle));
    while !reception.check().has_ended() {
        duty_cycle(&mut reception, &mut idle, gate)?;
        if live.is_none() && reception.subscriber().subscription().is_caught_up() {
            progress.phase.store(LIVE, Ordering::Relaxed);
            let counters = reception.subscriber().counters().subscription;
            let next = reception.subscriber().next().unwrap_or_default();
            live = Some((Clock::now(), next, counters.requests, counters.retries));
        }
    }
    reception.check().complete(progress.published.load(Ordering::Acquire))?;
    let (live_at, next, requests, retries) = live.ok_or("the joiner was never live")?;
    Ok(Join { joined_at, live_at, backlog, next, requests, retries })
}

/// Listens from the first message to the end of session.
fn listen(
    mut reception: Reception<'_>,
    strategy: IdleStrategy,
    progress: &Progress,
    gate: &Gate,
) -> Result<(), String> {
    let mut idle = Idle::new(strategy);
    while !reception.check().has_ended() {
        duty_cycle(&mut reception, &mut idle, gate)?;
    }
    reception.check().complete(progress.published.load(Ordering::Acquire))
}

/// Polls and idles once.
///
/// # Errors
///
/// Any violation, and any loss: nobody is lapped while it makes progress.
fn duty_cycle(reception: &mut Reception<'_>, idle: &mut Idle, gate: &Gate) -> Result<(), String> {
    let now = Clock::now();
    gate.check(now).map_err(|error| format!("{error}: {} messages delivered", reception.check().accounted()))?;
    let work = reception.poll(now, |_| {})?;
    match reception.check().lost() {
        0 => {}
        lost => return Err(format!("{lost} messages lost, {} accounted for", reception.check().accounted())),
    }
    let timeout = reception.subscriber().timeout().map(Nanos::from);
    idle.idle_until_readable(work, reception.subscriber().fds(), timeout).map_err(words)
}
