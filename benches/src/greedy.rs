//! `greedy`: what a client that asks for everything, again and again, costs a healthy subscriber and the publisher.

use crate::feed::Feed;
use crate::figures::{Figure, Samples};
use crate::messages::Messages;
use crate::reception::Reception;
use crate::report::{self, Measurement};
use crate::stage::{Common, Gate, Stage, parse_loss, parse_rate, run_pair, words};
use crate::stalls::Stalls;
use seqcast::pace::{Pace, Schedule, wait_until};
use seqcast_protocol::{LENGTH_BYTES, Request, SequenceRange, SessionId};
use seqcast_publisher::{Line, Publisher};
use seqcast_recovery::{Nanos, Random, parse_duration};
use seqcast_subscriber::ImpairmentConfig;
use seqcast_transport::Clock;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

/// Measure a healthy subscriber's recovery, and the publisher's time per flush, without and with a greedy client
///
/// One publisher, a message in a packet of its own at even distances, seeded loss on the line alone, one subscriber. In turn,
/// window by window: nobody else; and a client that sends requests for ranges that are retained, each about a packet and
/// chosen at random, and discards the answers. Recovery is measured from the duty cycle that raised a gap to the delivery of
/// its last message, the flush around its call, by the host's monotonic clock; both count in the window in which they began.
///
/// The publishing thread and the subscribing thread are pinned and spin; the retransmitter sleeps on a thread of its own, as
/// by default. The client's thread is pinned nowhere and sends every millisecond; its socket is never read, so that the
/// kernel drops the answers once its buffer is full.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Schedule the retransmitter's thread as SCHED_FIFO with this priority, 1 to 99
    #[arg(long, value_name = "PRIORITY")]
    fifo: Option<u8>,
    /// Windows without and with the client, each, per round
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    windows: u16,
    /// The length of a window
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    window: Nanos,
    /// Packets per second
    #[arg(long, value_name = "N", default_value = "20000", value_parser = parse_rate)]
    rate: f64,
    /// Bytes of each message
    #[arg(long, value_name = "N", default_value_t = 64)]
    bytes: usize,
    /// The share of packets lost
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = parse_loss)]
    loss: f64,
    /// Requests per second of the greedy client
    #[arg(long, value_name = "N", default_value_t = 50_000)]
    requests: u64,
}

/// What a round may take beyond its windows.
const PATIENCE: Nanos = Nanos::from_secs(30);

/// At the start of each window nothing counts: requests of the one before may still be queued. Arbitrary.
const SETTLING: Nanos = Nanos::from_millis(50);

/// The distance of the client's batches.
const BATCH: Nanos = Nanos::from_millis(1);

/// What is going on. The client decides.
const SETTLES: u8 = 0;
const WITHOUT: u8 = 1;
const WITH: u8 = 2;
const DONE: u8 = 3;

/// What the threads tell each other.
#[derive(Debug, Default)]
struct Progress {
    window: AtomicU8,
    published: AtomicUsize,
    /// Nothing more will be published.
    is_final: AtomicBool,
    is_complete: AtomicBool,
}

/// Times by window: without and with the client.
#[derive(Debug)]
struct Sides([Samples; 2]);

impl Sides {
    fn new() -> Self {
        Self([Samples::new(), Samples::new()])
    }

    fn record(&mut self, window: u8, time: Nanos) {
        match window {
            WITHOUT => self.0[0].record(time),
            WITH => self.0[1].record(time),
            _ => {}
        }
    }

    fn figures(&self, name: &str) -> [Figure; 3] {
        let Self([without, with]) = self;
        [
            without.figure(&format!("{name} without")),
            with.figure(&format!("{name} with")),
            with.ratios(&format!("{name} with, against without"), without),
        ]
    }
}

/// Runs the measurement and prints its figures.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let what = format!(
        "{} packets/s of one message of {} bytes, {} % lost on the line only; {} windows of {} ms each without and with \
         {} requests/s of a client that discards the answers",
        options.rate,
        options.bytes,
        options.loss * 100.0,
        options.windows,
        options.window.0 as f64 / 1e6,
        options.requests
    );
    let messages = Messages::uniform(options.bytes, 1);
    let mut seed = 0;
    report::measure(&options.common, &Measurement::new("greedy", what), || {
        seed += 1;
        round(options, &messages, seed)
    })
}

fn round(options: &Options, messages: &Messages, seed: u64) -> Result<Vec<Figure>, String> {
    let stage = Stage::new()?;
    let builder = stage.publisher();
    let builder = options.fifo.map_or(builder.clone(), |priority| builder.retransmitter_priority(priority));
    let publisher = builder.open().map_err(words)?;
    let impairment = ImpairmentConfig { loss: options.loss, seed, ..ImpairmentConfig::default() };
    let subscriber = stage.subscriber(stage.line(), &publisher)?.impair_line(Line::A, impairment);
    let reception = Reception::new(subscriber.open().map_err(words)?, messages);
    let greedy = Greedy::open(&publisher, seed)?;
    let feed = Feed::direct(publisher, messages);
    let gate = Gate::new(Nanos(options.window.0.saturating_mul(2 * u64::from(options.windows))) + PATIENCE);
    let progress = Progress::default();
    let results = std::thread::scope(|scope| {
        let asking = scope.spawn(|| gate.run(None, || greedy.run(options, &progress, &gate)));
        let results = run_pair(
            &options.common,
            &gate,
            || publish(feed, options, &progress, &gate),
            || subscribe(reception, &progress, &gate),
        );
        Some((results?, asking.join().ok()??))
    });
    let (((flushes, answers), (repairs, stalls)), asked_per_second) = gate.finish(results)?;
    let mut figures = Vec::new();
    figures.extend(repairs.figures("gap found to delivered"));
    figures.extend(flushes.figures("time per flush"));
    figures.push(Figure::single("requests of the client", asked_per_second, "a second"));
    figures.push(Figure::single("answers with messages, to both", answers as f64, ""));
    figures.extend(stalls.figures());
    Ok(figures)
}

/// Returns the times of the flushes, and how many answers with messages the retransmitter gave.
fn publish(mut feed: Feed<'_>, options: &Options, progress: &Progress, gate: &Gate) -> Result<(Sides, u64), String> {
    let mut flushes = Sides::new();
    let mut schedule = Schedule::new(Pace::PerSecond(options.rate), Clock::now());
    loop {
        feed.tend_until(schedule.next_due(None), true, gate)?;
        let window = progress.window.load(Ordering::Relaxed);
        if window == DONE {
            break;
        }
        let sent = feed.send(gate, |_| false)?;
        flushes.record(window, sent.until - sent.from);
        progress.published.store(feed.published(), Ordering::Release);
    }
    progress.is_final.store(true, Ordering::Release);
    while !progress.is_complete.load(Ordering::Acquire) {
        feed.tend_until(Clock::now() + BATCH, true, gate)?;
    }
    Ok((flushes, feed.publisher().counters().retransmitter.responder.retransmissions))
}

/// The windows as the subscribing thread saw them begin.
#[derive(Debug)]
struct Windows(Vec<(Nanos, u8)>);

impl Windows {
    fn new() -> Self {
        Self(vec![(Nanos::ZERO, SETTLES)])
    }

    /// Notes which window it is `now`.
    fn look(&mut self, now: Nanos, window: u8) {
        if self.0.last().is_some_and(|&(_, last)| last != window) {
            self.0.push((now, window));
        }
    }

    /// Which window it was `then`.
    fn at(&self, then: Nanos) -> u8 {
        let begun = self.0.partition_point(|&(since, _)| since <= then);
        self.0[begun.saturating_sub(1)].1
    }
}

fn subscribe(mut reception: Reception<'_>, progress: &Progress, gate: &Gate) -> Result<(Sides, Stalls), String> {
    let (mut repairs, mut windows) = (Sides::new(), Windows::new());
    let mut stalls = Stalls::new(Clock::now());
    let mut work = 0;
    while !(progress.is_final.load(Ordering::Acquire)
        && reception.check().accounted() >= progress.published.load(Ordering::Relaxed))
    {
        let now = Clock::now();
        gate.check(now)?;
        stalls.look(now, work == 0);
        windows.look(now, progress.window.load(Ordering::Relaxed));
        work = reception.poll(now, |repair| {
            repairs.record(windows.at(repair.found), repair.delivered - repair.found);
        })?;
    }
    progress.is_complete.store(true, Ordering::Release);
    reception.check().complete(progress.published.load(Ordering::Acquire))?;
    Ok((repairs, stalls))
}

/// A client that asks for what it does not need.
#[derive(Debug)]
struct Greedy {
    socket: UdpSocket,
    session: SessionId,
    random: Random,
}

impl Greedy {
    fn open(publisher: &Publisher, seed: u64) -> Result<Self, String> {
        let address = publisher.request_address().ok_or("the publisher has no request address")?;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(words)?;
        socket.connect(address).map_err(words)?;
        socket.set_nonblocking(true).map_err(words)?;
        Ok(Self { socket, session: publisher.session(), random: Random::new(seed) })
    }

    /// Goes through the windows; returns how many requests a second it sent in those in which it was greedy.
    fn run(mut self, options: &Options, progress: &Progress, gate: &Gate) -> Result<f64, String> {
        let (mut sent, mut seconds) = (0, 0.0);
        for side in (0..options.windows).flat_map(|_| [WITHOUT, WITH]) {
            let started = Clock::now();
            let (mut now, mut in_window) = (started, 0);
            progress.window.store(SETTLES, Ordering::Relaxed);
            while now < started + options.window {
                if side == WITH {
                    let target = (options.requests as f64 * (now - started).as_duration().as_secs_f64()) as u64;
                    for _ in in_window..target {
                        self.ask(options, progress.published.load(Ordering::Acquire) as u64)?;
                    }
                    in_window = target;
                }
                if now >= started + SETTLING {
                    progress.window.store(side, Ordering::Relaxed);
                }
                now = wait_until(now + BATCH, false, || true);
                gate.check(now)?;
            }
            if side == WITH {
                sent += in_window;
                seconds += (now - started).as_duration().as_secs_f64();
            }
        }
        progress.window.store(DONE, Ordering::Relaxed);
        Ok(sent as f64 / f64::max(seconds, f64::MIN_POSITIVE))
    }

    /// Asks for about a packet of the messages that were published.
    fn ask(&mut self, options: &Options, published: u64) -> Result<(), String> {
        let about_a_packet = (1_400 / (options.bytes + LENGTH_BYTES)).max(1) as u64;
        let first = 1 + self.random.below(published.saturating_sub(about_a_packet).max(1));
        let request = Request::new(self.session, SequenceRange::with_count(first, about_a_packet)).map_err(words)?;
        self.socket.send(&request.to_bytes()).map(|_| ()).map_err(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_belongs_to_the_window_in_which_it_was_found() {
        let mut windows = Windows::new();
        for (now, window) in [(10, SETTLES), (20, WITHOUT), (30, WITHOUT), (40, WITH)] {
            windows.look(Nanos(now), window);
        }
        assert_eq!(
            [0, 19, 20, 39, 40, 99].map(|then| windows.at(Nanos(then))),
            [SETTLES, SETTLES, WITHOUT, WITHOUT, WITH, WITH]
        );
    }
}
