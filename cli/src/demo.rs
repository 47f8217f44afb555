//! `seqcast demo`: a publisher and a subscriber with losses between them, in one process, and a verdict.

use crate::input::Input;
use crate::interrupt::Interrupt;
use crate::market::MarketData;
use crate::outcome::{Condition, Outcome, chain};
use crate::pace::{Pace, Schedule, wait_until};
use crate::progress::{Progress, count, impairment_in_words, thousands};
use crate::times::distribution;
use hdrhistogram::Histogram;
use seqcast_protocol::SessionId;
use seqcast_publisher::{Publisher, PublisherCounters};
use seqcast_subscriber::{
    Event, Idle, IdleStrategy, ImpairmentConfig, Line, SessionChoice, Start, Subscriber, SubscriberCounters,
};
use seqcast_transport::Clock;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Messages per second: a busy feed, and no strain on a small machine.
const RATE: f64 = 100_000.0;

/// The group of the demonstration, one that `publish` and `subscribe` do not use by themselves.
const GROUP: &str = "239.255.77.77";

/// How many messages are handled between two looks at progress. Arbitrary.
const MESSAGES_PER_POLL: usize = 256;

/// Watch it work: generated market data, multicast on loopback with losses, all recovered
///
/// Examples:
///   seqcast demo
///   seqcast demo --seconds 60 --impair loss=5%,burst=4,reorder=2%,delay=1ms..2ms
///   seqcast demo --input feed.pcap.gz
///
/// A publisher with its retransmitter and a subscriber in one process. The line to the subscriber
/// drops packets on purpose; what is missing is asked for and answered. Exit code 0 only when every
/// message arrived once, in order, unaltered.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Options {
    /// Publish this file instead of generated market data
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// How long to publish, at 100,000 messages/s
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// What the subscriber's line does to its packets
    #[arg(long, value_name = "IMPAIRMENT", default_value = "loss=1%,seed=1", value_parser = ImpairmentConfig::from_str)]
    impair: ImpairmentConfig,
}

/// Runs the subcommand.
#[must_use]
pub fn run(options: &Options) -> Outcome {
    match demo(options) {
        Ok(outcome) | Err(outcome) => outcome,
    }
}

fn demo(options: &Options) -> Result<Outcome, Outcome> {
    let interrupt = Interrupt::new().map_err(|error| Outcome::failed(&error))?;
    let session = SessionId::from_number(Clock::unix_micros());
    let line = format!("{GROUP}:{}@127.0.0.1", free_port().map_err(|error| Outcome::failed(&error))?);
    let limit = u64::from(options.seconds) * RATE as u64;
    let (published, expected) = (Messages::open(options)?, Messages::open(options)?);

    let publisher = Publisher::builder(session)
        .line(Line::A, line.parse().map_err(|error| Outcome::settings(&error))?)
        .requests(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))
        .open()
        .map_err(|error| Outcome::settings(&error))?;
    let mut builder = Subscriber::builder(SessionChoice::Only(session))
        .line(Line::A, line.parse().map_err(|error| Outcome::settings(&error))?)
        .start(Start::Oldest)
        .impair(options.impair);
    if let Some(address) = publisher.request_address() {
        builder = builder.recover_from(address);
    }
    let mut subscriber = builder.open().map_err(|error| Outcome::settings(&error))?;

    let what = match &options.input {
        Some(path) => path.display().to_string(),
        None => "generated market data".to_owned(),
    };
    tracing::info!(
        "publishing {what} to {line} at {}/s, impaired on purpose: {}",
        thousands(RATE as u64),
        options.impair
    );

    let times: Arc<[AtomicU64]> = (0..limit).map(|_| AtomicU64::new(0)).collect();
    let feed = {
        let (times, interrupt) = (Arc::clone(&times), interrupt.clone());
        std::thread::Builder::new()
            .name("publisher".to_owned())
            .spawn(move || publish(publisher, published, &times, &interrupt))
            .map_err(|error| Outcome::failed(&error))?
    };
    let mut audience = Audience::new(expected, times);
    audience.run(&mut subscriber, &interrupt, || feed.is_finished());
    let published = match feed.join() {
        Ok(Ok(counters)) => counters,
        Ok(Err(words)) => return Err(Condition::Failed(words).into()),
        Err(_) => return Err(Condition::Failed("the publisher's thread panicked".to_owned()).into()),
    };
    let complaints = audience.complaints(&published);
    report(&mut std::io::stdout().lock(), &audience, &subscriber.counters(), &published, &complaints);
    let mut outcome = Outcome::default();
    if !complaints.is_empty() {
        outcome.add(Condition::Incomplete(complaints.join("; ")));
    }
    Ok(outcome)
}

/// A UDP port that nobody uses at the moment.
fn free_port() -> std::io::Result<u16> {
    Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// What is published; the subscriber opens it a second time, to compare.
enum Messages {
    Generated(Box<MarketData>),
    File(Box<Input>),
}

impl Messages {
    fn open(options: &Options) -> Result<Self, Outcome> {
        match &options.input {
            None => Ok(Self::Generated(Box::new(MarketData::new(1)))),
            Some(path) if path.as_os_str() == "-" => {
                let words = "--input: the demonstration reads its input twice, standard input will not do";
                Err(Condition::Settings(words.to_owned()).into())
            }
            Some(path) => Input::open(path, None)
                .map(|input| Self::File(Box::new(input)))
                .map_err(|error| Outcome::option_failed("--input", &error)),
        }
    }

    fn next(&mut self) -> Result<Option<&[u8]>, String> {
        match self {
            Self::Generated(data) => Ok(Some(data.next_message())),
            Self::File(input) => match input.next() {
                Ok(message) => Ok(message.map(|message| message.payload)),
                Err(error) => Err(format!("--input: {}", chain(&error))),
            },
        }
    }
}

/// Publishes as many messages as there are `times`, at most, and notes in them when each was handed over.
fn publish(
    mut publisher: Publisher,
    mut messages: Messages,
    times: &[AtomicU64],
    interrupt: &Interrupt,
) -> Result<PublisherCounters, String> {
    let mut now = Clock::now();
    let mut schedule = Schedule::new(Pace::PerSecond(RATE), now);
    for time in times {
        let due = schedule.next_due(None);
        if due > now {
            let _ = publisher.flush().map_err(|error| chain(&error))?;
            now = wait_until(due, false, || !interrupt.is_raised());
        }
        if interrupt.is_raised() {
            break;
        }
        let Some(message) = messages.next()? else { break };
        time.store(now.0, Ordering::Relaxed);
        let number = publisher.next();
        publisher.publish(message).map_err(|error| format!("message {number}: {}", chain(&error)))?;
    }
    let closed = publisher.close_while(|| interrupt.count() < 2).map_err(|error| chain(&error))?;
    Ok(closed.counters)
}

/// What the subscriber checks and measures.
struct Audience {
    expected: Messages,
    times: Arc<[AtomicU64]>,
    /// The number of the next message of `expected`.
    next: u64,
    delivered: u64,
    altered: u64,
    out_of_order: u64,
    lost: u64,
    has_ended: bool,
    failure: Option<String>,
    /// In nanoseconds.
    delivery: Histogram<u64>,
    /// In nanoseconds.
    recovery: Histogram<u64>,
}

impl Audience {
    fn new(expected: Messages, times: Arc<[AtomicU64]>) -> Self {
        Self {
            expected,
            times,
            next: 1,
            delivered: 0,
            altered: 0,
            out_of_order: 0,
            lost: 0,
            has_ended: false,
            failure: None,
            delivery: histogram(),
            recovery: histogram(),
        }
    }

    fn run(&mut self, subscriber: &mut Subscriber, interrupt: &Interrupt, publisher_is_gone: impl Fn() -> bool) {
        // A spinning subscriber and a publisher that mostly sleeps fill two cores.
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut idle = Idle::new(if cores > 1 { IdleStrategy::Spin } else { IdleStrategy::Backoff });
        let mut progress = Progress::new();
        while !self.has_ended && interrupt.count() < 2 {
            let now = Clock::now();
            let work = subscriber.poll(|event| self.handle(event), MESSAGES_PER_POLL);
            let subscription = subscriber.subscription();
            progress.update(now, self.delivered, || {
                let recovered = thousands(subscription.counters().recovered);
                let gaps = count(subscription.open_gaps() as u64, "gap");
                format!(
                    "{} delivered, {gaps} open, {recovered} recovered, {} lost",
                    thousands(self.delivered),
                    self.lost
                )
            });
            // Behind the publisher's end, what is still held, or asked for in vain, is waited for.
            if work == 0 && publisher_is_gone() && subscription.is_silent() && subscription.open_gaps() == 0 {
                break;
            }
            idle.idle(work);
        }
        progress.clear();
    }

    fn handle(&mut self, event: Event<'_>) {
        match event {
            Event::Message(message) => {
                self.delivered += 1;
                if message.number != self.next {
                    self.out_of_order += 1;
                    return;
                }
                let time = self.times.get(message.number as usize - 1).map_or(0, |time| time.load(Ordering::Relaxed));
                self.delivery.saturating_record(Clock::now().0.saturating_sub(time));
                self.compare(message.payload);
            }
            Event::Lost(loss) => {
                self.lost += loss.range.count();
                for _ in 0..loss.range.count() {
                    self.skip();
                }
            }
            Event::Recovered(recovered) => self.recovery.saturating_record(recovered.elapsed.0),
            Event::EndOfSession(_) => self.has_ended = true,
            Event::Gap(_) | Event::NewSession(_) | Event::Rewound(_) | Event::Status(_) => {}
        }
    }

    fn compare(&mut self, payload: &[u8]) {
        self.next += 1;
        match self.expected.next() {
            Ok(expected) if expected == Some(payload) => {}
            Ok(_) => self.altered += 1,
            Err(words) => self.failure = Some(words),
        }
    }

    fn skip(&mut self) {
        self.next += 1;
        if let Err(words) = self.expected.next() {
            self.failure = Some(words);
        }
    }

    /// Everything that is not as it should be.
    fn complaints(&self, published: &PublisherCounters) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut complain = |number: u64, words: &str| {
            if number > 0 {
                complaints.push(format!("{} {words}", count(number, "message")));
            }
        };
        complain(self.lost, "lost");
        complain(self.altered, "altered");
        complain(self.out_of_order, "out of order or twice");
        complain(published.messages.saturating_sub(self.delivered + self.lost), "never heard of");
        complaints.extend(self.failure.clone());
        complaints
    }
}

/// From 1 ns to 60 s with three significant digits.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, Duration::from_secs(60).as_nanos() as u64, 3).expect("the bounds are in order")
}

fn report(
    out: &mut impl Write,
    audience: &Audience,
    subscriber: &SubscriberCounters,
    published: &PublisherCounters,
    complaints: &[String],
) {
    let counters = &subscriber.subscription;
    let mut say = |words: String| {
        // The exit code says the same if nobody reads this.
        let _ = writeln!(out, "{words}");
    };
    say(format!(
        "published  {} in {}",
        count(published.messages, "message"),
        count(published.lines[Line::A.index()].packets, "packet")
    ));
    say(format!(
        "impaired   {} of {}",
        impairment_in_words(&subscriber.impairment),
        count(subscriber.impairment.datagrams, "datagram"),
    ));
    say(format!(
        "recovered  {} in {} by {}; {} lost",
        count(counters.recovered, "message"),
        count(counters.gaps, "gap"),
        count(counters.requests, "request"),
        thousands(audience.lost),
    ));
    if !audience.recovery.is_empty() {
        say(format!("recovery   took {}", distribution(&audience.recovery)));
    }
    if !audience.delivery.is_empty() {
        say(format!("delivery   took {}", distribution(&audience.delivery)));
        say("           (from publish to callback, what had to be recovered included)".to_owned());
    }
    say(if complaints.is_empty() {
        format!("verdict    complete: all {} arrived once, in order, unaltered", count(audience.delivered, "message"))
    } else {
        format!("verdict    NOT complete: {}", complaints.join("; "))
    });
}
