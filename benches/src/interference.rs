//! `interference`: what trouble made by others costs a healthy subscriber and the publisher.

use crate::elsewhere::Elsewhere;
use crate::feed::Feed;
use crate::figures::{Figure, Samples};
use crate::messages::Messages;
use crate::plots::Curve;
use crate::reception::Reception;
use crate::report::{self, Measurement, Round};
use crate::stage::{Common, Gate, Stage, parse_rate, parse_share, run_pair, words};
use crate::stalls::Stalls;
use crate::stream::due_at;
use crate::trouble::{Kind, Scene, Trouble};
use seqcast::pace::{Pace, Schedule};
use seqcast_publisher::{Line, Publisher};
use seqcast_recovery::{Nanos, parse_duration};
use seqcast_subscriber::{Event, ImpairmentConfig};
use seqcast_transport::Clock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

/// Measure delivery to a healthy subscriber, and the publisher's time per flush, without and with trouble made by others, and
/// with the same trouble elsewhere
///
/// One publisher, a message in a packet of its own at even distances, one subscriber. In turn, window by window: nobody else;
/// one of these; and the same elsewhere. A storm: a client that sends requests for ranges that are retained, each about a
/// packet and chosen at random, and never reads the answers. A slow subscriber: it hears half of what is sent, with a small
/// buffer, and asks for what it misses. A late joiner: it begins at the oldest message again and again, and leaves when it has
/// caught up.
///
/// Elsewhere is a control: the trouble is made to another publisher, which has its own session, group, request address and
/// retransmitter, and nothing in common with the measured one but the machine. It holds what that has published: whoever makes
/// the trouble publishes it there, too, which takes some microseconds a packet. With against elsewhere is what it costs to
/// share a publisher with trouble; elsewhere against without is what it costs that the machine's cores are busy.
///
/// Delivery is measured from the time that a message was due, the flush around its call, and, if the line is told to lose
/// packets, recovery from the duty cycle that raised a gap to the delivery of its last message; all by the host's monotonic
/// clock, and all count in the window in which they ended.
///
/// The publishing thread and the subscribing thread are pinned and spin; the retransmitter sleeps on a thread of its own, as
/// by default; whoever makes trouble has a thread that is pinned nowhere: on two cores it takes time from the others.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Who makes trouble, one after the other
    #[arg(long, value_name = "KIND,...", value_delimiter = ',', default_value = "storm,slow,joiner")]
    by: Vec<Kind>,
    /// Schedule the retransmitter's thread as SCHED_FIFO with this priority, 1 to 99
    #[arg(long, value_name = "PRIORITY")]
    fifo: Option<u8>,
    /// Windows without each trouble, with it and with it elsewhere, each, per round
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
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
    /// The share of packets lost on the healthy subscriber's line
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = parse_share)]
    loss: f64,
    /// Requests per second of the storm
    #[arg(long, value_name = "N", default_value_t = 50_000)]
    requests: u64,
}

/// What a round may take beyond its windows.
const PATIENCE: Nanos = Nanos::from_secs(30);

/// At the start of each window nothing counts: requests of the one before may still be queued. Arbitrary.
const SETTLING: Nanos = Nanos::from_millis(50);

/// How often it is looked whether a window is over.
const SLICE: Nanos = Nanos::from_millis(1);

/// What is going on. The thread that makes trouble decides.
const SETTLES: u8 = 0;
const WITHOUT: u8 = 1;
const WITH: u8 = 2;
const ELSEWHERE: u8 = 3;
const DONE: u8 = 4;

/// What the threads tell each other.
#[derive(Debug, Default)]
struct Progress {
    window: AtomicU8,
    /// When the first message was due, in nanoseconds.
    started: AtomicU64,
    published: AtomicUsize,
    /// Nothing more will be published.
    is_final: AtomicBool,
    is_complete: AtomicBool,
}

/// Times by window: without trouble, with it, and with it elsewhere.
#[derive(Debug)]
struct Sides {
    without: Samples,
    with: Samples,
    elsewhere: Samples,
}

impl Sides {
    fn new() -> Self {
        Self { without: Samples::new(), with: Samples::new(), elsewhere: Samples::new() }
    }

    #[inline]
    fn record(&mut self, window: u8, time: Nanos) {
        match window {
            WITHOUT => self.without.record(time),
            WITH => self.with.record(time),
            ELSEWHERE => self.elsewhere.record(time),
            _ => {}
        }
    }

    fn show(&self, name: &str, round: &mut Round) {
        let Self { without, with, elsewhere } = self;
        let sides = [("without", without), ("with", with), ("elsewhere", elsewhere)];
        round.figures.extend(sides.map(|(side, samples)| samples.figure(&format!("{name}, {side}"))));
        round.figures.extend([
            with.ratios(&format!("{name}, with against without"), without),
            with.ratios(&format!("{name}, with against elsewhere"), elsewhere),
        ]);
        round.curves.extend(sides.map(|(side, samples)| Curve {
            chart: name.to_owned(),
            name: side.to_owned(),
            samples: samples.clone(),
        }));
    }
}

/// Runs the measurement and prints its figures.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let what = format!(
        "{} packets/s of one message of {} bytes, {} % lost on the line; {} windows of {} ms each without trouble, with \
         it and with it elsewhere",
        options.rate,
        options.bytes,
        options.loss * 100.0,
        options.windows,
        options.window.0 as f64 / 1e6,
    );
    let messages = Messages::uniform(options.bytes, 1);
    let mut seed = 0;
    report::measure(&options.common, &Measurement::new("interference", what), || {
        let mut round = Round::default();
        for &kind in &options.by {
            seed += 1;
            measure(options, &messages, kind, seed, &mut round).map_err(|error| format!("{kind}: {error}"))?;
        }
        Ok(round)
    })
}

fn measure(options: &Options, messages: &Messages, kind: Kind, seed: u64, round: &mut Round) -> Result<(), String> {
    let stage = Stage::new()?;
    let (publisher, trouble) = open(options, messages, kind, seed, stage)?;
    let impairment = ImpairmentConfig { loss: options.loss, seed, ..ImpairmentConfig::default() };
    let subscriber = stage.subscriber(stage.line(), &publisher)?.impair_line(Line::A, impairment);
    let reception = Reception::new(subscriber.open().map_err(words)?, messages);
    let feed = Feed::direct(publisher, messages);
    let (publisher, same_trouble) = open(options, messages, kind, seed, Stage::elsewhere()?)?;
    let elsewhere = Elsewhere::new(Feed::direct(publisher, messages), same_trouble);
    let gate = Gate::new(Nanos(options.window.0.saturating_mul(3 * u64::from(options.windows))) + PATIENCE);
    let progress = Progress::default();
    let results = std::thread::scope(|scope| {
        let troubling = scope.spawn(|| gate.run(None, || make_trouble(trouble, elsewhere, options, &progress, &gate)));
        let results = run_pair(
            &options.common,
            &gate,
            || publish(feed, options, &progress, &gate),
            || subscribe(reception, options, &progress, &gate),
        );
        Some((results?, troubling.join().ok()??))
    });
    let (((flushes, answers), (deliveries, repairs, stalls)), (trouble, answers_elsewhere)) = gate.finish(results)?;
    deliveries.show(&format!("{kind}: due to delivered"), round);
    flushes.show(&format!("{kind}: time per flush"), round);
    if options.loss > 0.0 {
        repairs.show(&format!("{kind}: gap found to delivered"), round);
    }
    round.figures.extend(trouble);
    for (whose, answers) in [("to all", answers), ("elsewhere", answers_elsewhere)] {
        round.figures.push(Figure::single(&format!("{kind}: answers with messages, {whose}"), answers as f64, ""));
    }
    round.figures.extend(stalls.figures().map(|figure| figure.of(&kind.to_string())));
    Ok(())
}

/// Opens a publisher on this stage, and one who is to make trouble for it.
fn open<'m>(
    options: &Options,
    messages: &'m Messages,
    kind: Kind,
    seed: u64,
    stage: Stage,
) -> Result<(Publisher, Trouble<'m>), String> {
    let builder = stage.publisher();
    let builder = options.fifo.map_or(builder.clone(), |priority| builder.retransmitter_priority(priority));
    let publisher = builder.open().map_err(words)?;
    let scene = Scene {
        stage,
        messages,
        requests: publisher.request_address().ok_or("the publisher has no request address")?,
        bytes: options.bytes,
        packets_per_second: options.rate,
        requests_per_second: options.requests as f64,
    };
    Ok((publisher, Trouble::new(kind, scene, seed)?))
}

/// Returns the times of the flushes, and how many answers with messages the retransmitter gave.
fn publish(mut feed: Feed<'_>, options: &Options, progress: &Progress, gate: &Gate) -> Result<(Sides, u64), String> {
    let mut flushes = Sides::new();
    let started = Clock::now();
    progress.started.store(started.0, Ordering::Relaxed);
    let mut schedule = Schedule::new(Pace::PerSecond(options.rate), started);
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
        feed.tend_until(Clock::now() + SLICE, true, gate)?;
    }
    Ok((flushes, feed.publisher().counters().retransmitter.responder.retransmissions))
}

/// Returns the times of deliveries and of repairs.
fn subscribe(
    mut reception: Reception<'_>,
    options: &Options,
    progress: &Progress,
    gate: &Gate,
) -> Result<(Sides, Sides, Stalls), String> {
    let (mut deliveries, mut repairs) = (Sides::new(), Sides::new());
    let mut stalls = Stalls::new(Clock::now());
    let mut work = 0;
    while !(progress.is_final.load(Ordering::Acquire)
        && reception.check().accounted() >= progress.published.load(Ordering::Relaxed))
    {
        let now = Clock::now();
        gate.check(now)?;
        stalls.look(now, work == 0);
        let window = progress.window.load(Ordering::Relaxed);
        let started = Nanos(progress.started.load(Ordering::Relaxed));
        let on_event = |event: &Event<'_>| {
            if let Event::Message(message) = event {
                let due = due_at(started, options.rate, message.number as usize - 1);
                deliveries.record(window, Clock::now() - due);
            }
        };
        work = reception.poll_with(now, on_event, |repair| repairs.record(window, repair.delivered - repair.found))?;
    }
    progress.is_complete.store(true, Ordering::Release);
    reception.check().complete(progress.published.load(Ordering::Acquire))?;
    Ok((deliveries, repairs, stalls))
}

/// Goes through the windows; returns what the trouble was, and how many answers with messages were given elsewhere.
fn make_trouble(
    mut trouble: Trouble<'_>,
    mut elsewhere: Elsewhere<'_>,
    options: &Options,
    progress: &Progress,
    gate: &Gate,
) -> Result<(Vec<Figure>, u64), String> {
    for side in (0..options.windows).flat_map(|_| [WITHOUT, WITH, ELSEWHERE]) {
        progress.window.store(SETTLES, Ordering::Relaxed);
        if side == ELSEWHERE {
            elsewhere.level(progress.published.load(Ordering::Acquire), gate)?;
        }
        let started = Clock::now();
        let mut now = started;
        while now < started + options.window {
            let published = progress.published.load(Ordering::Acquire);
            let until = now + SLICE;
            match side {
                WITH if published > 0 => trouble.work(until, published as u64)?,
                ELSEWHERE => elsewhere.work(until, published, gate)?,
                _ => {}
            }
            if now >= started + SETTLING {
                progress.window.store(side, Ordering::Relaxed);
            }
            now = seqcast::pace::wait_until(until, false, || true);
            gate.check(now)?;
        }
        trouble.rest();
        elsewhere.rest();
    }
    progress.window.store(DONE, Ordering::Relaxed);
    let seconds = options.window.as_duration().as_secs_f64() * f64::from(options.windows);
    Ok((trouble.figures(seconds), elsewhere.answers()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(round: &Round) -> Vec<&str> {
        round.figures.iter().map(|figure| figure.name.as_str()).collect()
    }

    #[test]
    fn a_time_counts_in_its_window_and_in_none_while_it_settles() {
        let mut sides = Sides::new();
        for window in [SETTLES, WITHOUT, WITH, WITH, ELSEWHERE, ELSEWHERE, ELSEWHERE, DONE] {
            sides.record(window, Nanos::from_micros(1));
        }
        assert_eq!([&sides.without, &sides.with, &sides.elsewhere].map(Samples::count), [1, 2, 3]);
    }

    #[test]
    fn trouble_is_held_against_none_and_against_the_same_elsewhere() {
        let mut sides = Sides::new();
        for (window, micros) in [(WITHOUT, 10), (WITH, 60), (ELSEWHERE, 20)] {
            (0..20).for_each(|_| sides.record(window, Nanos::from_micros(micros)));
        }
        let mut round = Round::default();
        sides.show("flush", &mut round);
        let expected = ["without", "with", "elsewhere", "with against without", "with against elsewhere"]
            .map(|side| format!("flush, {side}"));
        assert_eq!(names(&round), expected);
        let ratios = [3, 4].map(|index| crate::figures::digits(round.figures[index].values[0].1));
        assert_eq!(ratios, ["6.00", "3.00"]);
        let curves: Vec<_> = round.curves.iter().map(|curve| curve.name.as_str()).collect();
        assert_eq!(curves, ["without", "with", "elsewhere"]);
    }

    #[test]
    fn every_kind_of_trouble_goes_through_its_windows() {
        let options = Options {
            common: Common { rounds: 1, publisher_core: 0, subscriber_core: 0, out: None },
            by: vec![Kind::Storm, Kind::Slow, Kind::Joiner],
            fifo: None,
            windows: 1,
            window: Nanos::from_millis(100),
            rate: 1_000.0,
            bytes: 64,
            loss: 0.0,
            requests: 1_000,
        };
        let messages = Messages::uniform(options.bytes, 1);
        for &kind in &options.by {
            let mut round = Round::default();
            measure(&options, &messages, kind, 1, &mut round).unwrap();
            let names = names(&round);
            assert!(names.contains(&format!("{kind}: time per flush, elsewhere").as_str()), "{names:?}");
        }
    }
}
