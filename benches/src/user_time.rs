//! `user-time`: what a message takes of the library's own, without sockets, system calls and other threads.

use crate::figures::{Figure, median_lowest_highest};
use crate::plots::Bar;
use crate::report::{self, Measurement, Round};
use crate::stage::{Common, words};
use crate::subject::fits;
use crate::system::Setup;
use seqcast_protocol::{HEADER_BYTES, LENGTH_BYTES, SequenceNumber, SequenceRange, SessionId};
use seqcast_recovery::{
    Event, Line, Nanos, Publication, RingSize, RingWriter, Run, SessionChoice, Source, Start, Subscription,
    SubscriptionConfig,
};
use seqcast_transport::{Clock, Mapping, pin_to_core};
use std::hint::black_box;
use std::ops::ControlFlow::{Break, Continue};

/// Measure what a message takes of the library's own: to be published, and to be delivered
///
/// One thread, on the publisher's core, drives the two state machines; there are no sockets, no system calls and no other
/// threads. The clock is read at the ends of each pass over many messages, and what else takes the core meanwhile counts: the
/// median of the passes of a round is told, and the lowest and the highest.
///
/// To publish: each message is claimed, copied into and committed; whenever the staging buffer is full it is flushed, which
/// retains it in a ring of 64 MiB and hands it to a send that does nothing. Passes of 100,000 messages, one behind the other.
///
/// To deliver: the packets of a million messages, or of 128 MiB of them if that is less, made beforehand, go through a
/// subscription that is new for each pass, to a callback that looks at the number, the length and the first bytes of each
/// message. The packets come from memory; those in a receive buffer would be in a cache.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Bytes of the messages, each of which begins with its number
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "40,100", value_parser = clap::value_parser!(u16).range(NUMBER_BYTES as i64..))]
    sizes: Vec<u16>,
    /// Bytes of the longest datagrams
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1472", value_parser = clap::value_parser!(u16).range(64..=65_507))]
    datagrams: Vec<u16>,
    /// Messages that are published, and delivered, of each size and in each datagram a round, in whole passes
    #[arg(long, value_name = "N", default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(PUBLISHED_PER_PASS..))]
    messages: u64,
}

/// Messages begin with their number.
const NUMBER_BYTES: usize = size_of::<SequenceNumber>();

/// The messages of a pass: some hundred microseconds at the least, thousands of readings of the clock.
const PUBLISHED_PER_PASS: u64 = 100_000;

/// The most messages that are made packets of beforehand, and the most bytes that they may have.
const DELIVERED_PER_PASS: u64 = 1_000_000;
const DELIVERED_BYTES: usize = 128 << 20;

const SESSION: SessionId = SessionId::from_bytes(*b"USERTIME  ");

/// Runs the measurement and prints its figures.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let cases = options.cases();
    cases.iter().try_for_each(|case| fits("--sizes", case))?;
    let what = format!("{} messages published and delivered in memory, on one thread, pinned", options.messages);
    report::measure(&options.common, &Measurement::new("user-time", what), || {
        pinned(options.common.publisher_core, || {
            let mut round = Round::default();
            for case in &cases {
                show(&mut round, case, "publish", &publish_all(case, options.messages)?);
                show(&mut round, case, "deliver", &deliver_all(case, options.messages)?);
            }
            Ok(round)
        })
    })
}

impl Options {
    fn cases(&self) -> Vec<Setup> {
        let in_datagrams = |&datagram: &u16| {
            let case = move |&size: &u16| Setup { datagram_bytes: datagram.into(), ..Setup::new(size.into()) };
            self.sizes.iter().map(case)
        };
        self.datagrams.iter().flat_map(in_datagrams).collect()
    }
}

/// Works on a thread of its own on this core.
fn pinned<T: Send>(core: usize, work: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
    let work = || pin_to_core(core).map_err(words).and_then(|()| work());
    let result = std::thread::scope(|scope| scope.spawn(work).join());
    result.unwrap_or_else(|_| Err("a thread panicked".to_owned()))
}

fn show(round: &mut Round, case: &Setup, what: &str, passes: &[f64]) {
    let group = format!("{} B in {} B", case.message_bytes, case.datagram_bytes);
    let [median, lowest, highest] = median_lowest_highest(&mut passes.to_vec());
    let values = [("median", median), ("lowest", lowest), ("highest", highest)];
    round.figures.push(Figure::labelled(&format!("to {what} a message of {group}"), &values, "ns"));
    round.bars.push(Bar {
        chart: "User time a message, median of the passes, ns".to_owned(),
        group,
        name: what.to_owned(),
        value: median,
    });
}

/// Nanoseconds for each of so many messages.
fn each(elapsed: Nanos, messages: u64) -> f64 {
    elapsed.0 as f64 / messages as f64
}

/// Publishes so many messages in whole passes; returns the nanoseconds a message of each pass.
fn publish_all(case: &Setup, messages: u64) -> Result<Vec<f64>, String> {
    let mut publishing = Publishing::new(case)?;
    let mut passes = Vec::new();
    for pass in 0..messages / PUBLISHED_PER_PASS {
        let numbers = SequenceRange::with_count(1 + pass * PUBLISHED_PER_PASS, PUBLISHED_PER_PASS);
        let started = Clock::now();
        publishing.publish(numbers, |runs| {
            black_box(runs);
        })?;
        passes.push(each(Clock::now() - started, PUBLISHED_PER_PASS));
    }
    publishing.check_retained()?;
    Ok(passes)
}

/// Delivers so many messages in whole passes; returns the nanoseconds a message of each pass.
fn deliver_all(case: &Setup, messages: u64) -> Result<Vec<f64>, String> {
    let count = messages.min(DELIVERED_PER_PASS).min((DELIVERED_BYTES / case.message_bytes) as u64);
    let packets = packets(case, count)?;
    let pass = |_| deliver(&packets, case.message_bytes, count).map(|elapsed| each(elapsed, count));
    (0..messages / count).map(pass).collect()
}

/// A publication, and the message that it is given over and over with another number.
#[derive(Debug)]
struct Publishing {
    publication: Publication<Mapping>,
    message: Vec<u8>,
}

impl Publishing {
    /// Has published nothing yet.
    fn new(case: &Setup) -> Result<Self, String> {
        let size = RingSize::for_bytes(case.retain_bytes, case.datagram_bytes - HEADER_BYTES);
        let memory = Mapping::anonymous(size.words()).map_err(words)?;
        let ring = RingWriter::create(memory, size, SESSION).map_err(words)?;
        Ok(Self { publication: Publication::new(ring, case.datagram_bytes), message: vec![7; case.message_bytes] })
    }

    /// Publishes the messages of these numbers, which are the next ones.
    ///
    /// # Errors
    ///
    /// When those that were flushed have other numbers.
    fn publish(&mut self, numbers: SequenceRange, mut send: impl FnMut(&[Run<'_>])) -> Result<(), String> {
        let Self { publication, message } = self;
        let first = publication.ring().next();
        for number in numbers.start()..numbers.end() {
            message[..NUMBER_BYTES].copy_from_slice(&number.to_be_bytes());
            if !publication.has_room(message.len()) {
                publication.flush(&mut send);
            }
            let mut claim = publication.claim(message.len()).map_err(words)?;
            claim.copy_from_slice(black_box(message));
            claim.commit();
        }
        publication.flush(&mut send);
        let flushed = SequenceRange::new(first, publication.ring().next());
        if flushed == numbers { Ok(()) } else { Err(format!("{flushed} flushed where {numbers} was published")) }
    }

    /// # Errors
    ///
    /// When the oldest or the newest message that is retained is not what was published.
    fn check_retained(&self) -> Result<(), String> {
        let mut reader = self.publication.ring().reader();
        let mut block = vec![0; LENGTH_BYTES + self.message.len()];
        for number in [reader.oldest(), reader.next() - 1] {
            let read = reader.read(SequenceRange::with_count(number, 1), &mut block).map_err(words)?;
            if read.bytes != block.len() || block[LENGTH_BYTES..][..NUMBER_BYTES] != number.to_be_bytes() {
                return Err(format!("message {number} is not retained as it was published"));
            }
        }
        Ok(())
    }
}

/// The packets of messages `1..=count`.
fn packets(case: &Setup, count: u64) -> Result<Vec<Vec<u8>>, String> {
    let mut packets = Vec::new();
    let keep = |runs: &[Run<'_>]| packets.extend(runs.iter().flat_map(Run::packets).map(<[u8]>::to_vec));
    Publishing::new(case)?.publish(SequenceRange::with_count(1, count), keep)?;
    Ok(packets)
}

/// Delivers these packets through a new subscription, a microsecond from each to the next; returns how long it took.
///
/// # Errors
///
/// When not exactly messages `1..=count` of so many bytes were delivered.
fn deliver(packets: &[Vec<u8>], message_bytes: usize, count: u64) -> Result<Nanos, String> {
    let config = SubscriptionConfig {
        session: SessionChoice::Only(SESSION),
        start: Start::At(1),
        request_targets: 1,
        ..SubscriptionConfig::default()
    };
    let mut now = Nanos::from_secs(1);
    let mut subscription = Subscription::new(config, now);
    let mut next: SequenceNumber = 1;
    let mut sink = |event: Event<'_>| {
        if let Event::Message(message) = event {
            let is_as_published = (message.number, message.payload.len()) == (next, message_bytes)
                && message.payload[..NUMBER_BYTES] == next.to_be_bytes();
            if !is_as_published {
                return Break(());
            }
            next += 1;
        }
        Continue(())
    };
    let started = Clock::now();
    for packet in packets {
        now = now + Nanos::from_micros(1);
        let line = Source::Line(Line::A);
        if subscription.handle_datagram(now, line, black_box(packet), &mut sink).is_break() {
            return Err(format!("another message was delivered where {next} was next"));
        }
    }
    let elapsed = Clock::now() - started;
    match next - 1 {
        delivered if delivered == count => Ok(elapsed),
        delivered => Err(format!("{delivered} of {count} messages delivered")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASE: Setup = Setup::new(40);

    #[test]
    fn what_is_published_is_delivered_and_timed_pass_by_pass() {
        let messages = 2 * PUBLISHED_PER_PASS + 1;
        let published = pinned(0, || publish_all(&CASE, messages)).unwrap();
        let delivered = pinned(0, || deliver_all(&CASE, messages)).unwrap();
        assert_eq!((published.len(), delivered.len()), (2, 1));
        assert!(published.iter().chain(&delivered).all(|&nanos| nanos > 0.0), "{published:?} {delivered:?}");
    }

    #[test]
    fn the_median_the_lowest_and_the_highest_pass_are_told() {
        let mut round = Round::default();
        show(&mut round, &CASE, "publish", &[9.0, 7.0, 20.0]);
        let (name, values) = round.figures[0].words();
        assert_eq!(name, "to publish a message of 40 B in 1472 B");
        assert_eq!(values, "median 9.00  lowest 7.00  highest 20.0 ns");
        assert_eq!(round.bars[0].value, 9.0);
    }

    #[test]
    fn a_number_that_is_not_the_next_one_is_a_violation() {
        let mut publishing = Publishing::new(&CASE).unwrap();
        publishing.publish(SequenceRange::new(1, 9), |_| {}).unwrap();
        let error = publishing.publish(SequenceRange::new(10, 12), |_| {}).unwrap_err();
        assert_eq!(error, "9..11 flushed where 10..12 was published");
        assert_eq!(publishing.check_retained().unwrap_err(), "message 10 is not retained as it was published");
    }

    #[test]
    fn a_packet_that_is_missing_or_altered_is_a_violation() {
        let whole = packets(&CASE, 1_000).unwrap();
        deliver(&whole, CASE.message_bytes, 1_000).unwrap();
        let without_second = [&whole[..1], &whole[2..]].concat();
        let delivered = deliver(&without_second, CASE.message_bytes, 1_000).unwrap_err();
        assert_eq!(delivered, "34 of 1000 messages delivered");
        deliver(&whole, CASE.message_bytes, 999).unwrap_err();
        let mut altered = whole.clone();
        altered[0][HEADER_BYTES + LENGTH_BYTES] ^= 1;
        let delivered = deliver(&altered, CASE.message_bytes, 1_000).unwrap_err();
        assert_eq!(delivered, "another message was delivered where 1 was next");
    }
}
