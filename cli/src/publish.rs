//! `seqcast publish`: an input as one session.

use crate::headroom;
use crate::input::{Format, Input, InputError};
use crate::interrupt::Interrupt;
use crate::log::Words;
use crate::options::{self, DEFAULT_LINE_A, DEFAULT_REQUESTS, DESTINATION_FORM, OptionalAddress, OptionalDestination};
use crate::outcome::{Condition, Outcome, chain};
use crate::pace::{Pace, Schedule, wait_until};
use crate::progress::{Progress, count, thousands};
use crate::repair::{self, RepairOptions};
use crate::replay::Replay;
use crate::standard_input::{self, StandardInput, is_not_there_yet};
use crate::stats_option::StatsOption;
use crate::thread::ThreadOptions;
use crate::times;
use hdrhistogram::Histogram;
use seqcast_protocol::SessionId;
use seqcast_publisher::{
    Cell, ClientReport, Closed, Headroom, Line, LineCounters, OpenError, PublishError, Publisher, PublisherCounters,
    RingFileError, Unit, ring_session,
};
use seqcast_recovery::{ClaimError, Nanos};
use seqcast_transport::Clock;
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The pace of files that hold no times.
const DEFAULT_PACE: Pace = Pace::PerSecond(100_000.0);

/// What the file of counters calls the bytes of payload; it counts the messages itself.
const BYTES: &str = "message_bytes";

/// Publish a file, or standard input, as one session
///
/// Examples:
///   seqcast publish --input day.blocks
///   seqcast publish --input feed.pcap.gz --line-a 239.1.1.1:30001@eth1 --requests 10.1.0.5:30100
///   seqcast publish --input feed.pcap.gz --pace recorded*10
///   producer | seqcast publish --input -
///   seqcast publish --input day.blocks --ring /dev/shm/day --resume
///
/// With --ring and --resume, the same command goes on where a publisher that was killed has ended.
/// Two publishers of the same input with the same --session, one on line A and one on line B, are a
/// hot pair: subscribers take both as one, and either may die. They must read the same messages in
/// the same order. The summary says how far a subscriber can be behind.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Options {
    /// What to publish, gzip-compressed or not; - is standard input
    #[arg(long, value_name = "FILE|-")]
    input: PathBuf,
    /// How the input holds its messages; recognised if not given
    #[arg(long)]
    format: Option<Format>,
    /// When messages leave: max, N/s, recorded, recorded*X. Unless given, captures leave as recorded, standard input as
    /// it comes, other files at 100000/s. recorded*X is X times as fast as recorded; each recorded packet leaves as one, and
    /// the summary says how late. max overruns any reader
    #[arg(long, value_name = "PACE")]
    pace: Option<Pace>,
    /// The session, 1 to 10 characters. Unless given, that of the --ring to go on with, else the start time in µs, in base 36
    #[arg(long, value_name = "NAME", value_parser = options::session)]
    session: Option<SessionId>,
    /// Where line A goes: to a multicast group, to unicast addresses separated by commas, or, with --ring, nowhere
    #[arg(long, value_name = DESTINATION_FORM, default_value = DEFAULT_LINE_A)]
    line_a: OptionalDestination,
    /// Where line B goes, the second copy of every packet, best on a network of its own
    #[arg(long, value_name = DESTINATION_FORM)]
    line_b: Option<OptionalDestination>,
    /// The interface, by name or address, of lines that name none
    #[arg(long, value_name = "INTERFACE", default_value = "127.0.0.1")]
    interface: String,
    /// How many networks a packet may cross; unless given, 1 to a group, the system's default to unicast addresses
    #[arg(long, value_name = "N")]
    ttl: Option<u8>,
    /// Where requests are answered, or none
    #[arg(long, value_name = "ADDRESS:PORT|none", default_value = DEFAULT_REQUESTS, value_parser = options::optional_address)]
    requests: OptionalAddress,
    #[command(flatten)]
    repair: RepairOptions,
    /// How much is retained for those who missed it
    #[arg(long, value_name = "BYTES", default_value = "64MiB", value_parser = options::bytes)]
    retain: usize,
    /// Retain messages in this file, best in memory such as /dev/shm, which outlives a publisher that is killed: started
    /// again it goes on in the same session at the next number, and what was retained but not sent is announced and asked for.
    /// A session that has ended is replaced by a new --session. Others on this host may follow it: --line-a ring:FILE
    #[arg(long, value_name = "FILE")]
    ring: Option<PathBuf>,
    /// Go on with the first message of the input that the session of the --ring does not have yet
    #[arg(long, requires = "ring")]
    resume: bool,
    /// The longest packet, 64 to 65507 bytes, without IP and UDP headers
    #[arg(long, value_name = "BYTES", default_value = "1472", value_parser = options::bytes)]
    max_datagram: usize,
    /// Send each packet by itself: do not let the kernel cut what leaves with one system call into datagrams
    #[arg(long)]
    no_segmentation: bool,
    /// How long requests are answered after the end; less when nobody has asked for a second. A second Ctrl-C skips it
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = options::duration)]
    linger: Duration,
    #[command(flatten)]
    thread: ThreadOptions,
    #[command(flatten)]
    stats: StatsOption,
    /// Print the summary as JSON on standard output
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
#[must_use]
pub fn run(options: &Options) -> Outcome {
    match publish(options) {
        Ok(outcome) | Err(outcome) => outcome,
    }
}

fn publish(options: &Options) -> Result<Outcome, Outcome> {
    let interrupt = Interrupt::new().map_err(|error| Outcome::failed(&error))?;
    let is_stdin = options.input.as_os_str() == "-";
    if options.resume && is_stdin {
        return Err(Condition::Settings("--resume needs a file as --input".to_owned()).into());
    }
    let unreadable = |error: InputError| Outcome::option_failed("--input", &error);
    let file = if is_stdin { None } else { Some(Input::open(&options.input, options.format).map_err(unreadable)?) };
    // The retransmitter's thread starts before this one is pinned, so that it does not inherit the core; and before
    // standard input is waited for, so that the session is there to be found.
    let mut publisher = open(options)?;
    options.thread.prepare()?;
    let input = match file {
        Some(input) => input,
        None => {
            let is_open = Arc::new(AtomicBool::new(false));
            let stdin = StandardInput::new(&interrupt, &is_open).map_err(|error| Outcome::failed(&error))?;
            let input = Input::from_reader("standard input", stdin, options.format).map_err(unreadable)?;
            is_open.store(true, Ordering::Relaxed);
            input
        }
    };
    let pace = match (options.pace, input.format()) {
        (Some(Pace::Recorded(_)), format @ (Format::Blocks | Format::Lines)) => {
            let words = format!("--pace recorded needs a capture, {format} hold no times");
            return Err(Condition::Settings(words).into());
        }
        (Some(pace), _) => pace,
        (None, Format::Pcap) => Pace::Recorded(1.0),
        (None, Format::Blocks | Format::Lines) if is_stdin => Pace::Max,
        (None, Format::Blocks | Format::Lines) => DEFAULT_PACE,
    };
    let started = Clock::now();
    let mut feed = Feed {
        input,
        spins: options.thread.core.is_some(),
        schedule: Schedule::new(pace, started),
        replay: matches!(pace, Pace::Recorded(_)).then(|| Replay::new(&publisher)),
        interrupt: &interrupt,
        progress: Progress::new(),
        payload_bytes: 0,
        kept_bytes: publisher.stats_cell(BYTES),
    };
    let mut failure = feed.skip(&publisher, options).and_then(|()| feed.run(&mut publisher)).err();
    // What was read before a failure is part of the session.
    if let Err(error) = publisher.flush() {
        failure.get_or_insert(chain(&error));
    }
    feed.progress.clear();
    feed.progress.say(|| format!("answering requests for up to {:?}; a second Ctrl-C ends it", options.linger));
    let published = Clock::now() - started;
    let (session, oldest, next) = (publisher.session(), publisher.oldest(), publisher.next());
    let retained = publisher.retained();
    // One signal ends the feed, another one the linger.
    let go_on = || interrupt.count() < 2;
    let Closed { counters, clients } = match failure {
        None => publisher.close_while(go_on).map_err(|error| Outcome::failed(&error))?,
        Some(_) => {
            // Its end is not announced: the session is not complete, and nobody should take it for that.
            wait_until(Clock::now() + options.linger.into(), false, go_on);
            Closed { counters: publisher.counters(), clients: publisher.clients() }
        }
    };
    feed.progress.clear();
    let mut outcome = Outcome::default();
    if let Some(failure) = failure {
        let guess = if options.format.is_none() && feed.input.format() == Format::Blocks {
            "; the input was taken for blocks, give --format if it is something else"
        } else {
            ""
        };
        outcome.add(Condition::Failed(format!("{failure}{guess}; the end of the session was not announced")));
    }
    let has_line_b = options.line_b.as_ref().is_some_and(|line| line.0.is_some());
    let bytes = feed.payload_bytes;
    let pace_error = feed.replay.as_ref().map(Replay::errors);
    let summary =
        Summary { session, oldest, next, retained, has_line_b, bytes, published, pace_error, counters, clients };
    summary.print(&feed.input.warnings().iter().map(ToString::to_string).collect::<Vec<_>>());
    if options.json
        && let Err(error) = writeln!(std::io::stdout().lock(), "{}", summary.json())
    {
        outcome.add(Condition::Failed(format!("--json: {error}")));
    }
    Ok(outcome)
}

fn open(options: &Options) -> Result<Publisher, Outcome> {
    let mut builder = Publisher::builder(session(options)?)
        .interface(&options.interface)
        .retain_bytes(options.retain)
        .max_datagram(options.max_datagram)
        .segmentation(!options.no_segmentation)
        .linger(options.linger);
    for (line, destination) in [(Line::A, Some(&options.line_a)), (Line::B, options.line_b.as_ref())] {
        if let Some(OptionalDestination(Some(destination))) = destination {
            builder = builder.line(line, destination.clone());
        }
    }
    if let Some(ttl) = options.ttl {
        builder = builder.ttl(ttl);
    }
    if let Some(address) = options.requests.address() {
        builder = builder.requests(address);
    }
    if let Some(file) = &options.ring {
        builder = builder.ring(file);
    }
    if let Some(directory) = options.stats.directory() {
        builder = builder.stats(directory).stats_fact("command", &options::command_line());
        builder = Replay::describe(builder.stats_counter(BYTES, Unit::Bytes));
    }
    let builder = options.repair.apply_to_thread(options.repair.apply(builder));
    builder.open().map_err(|error| match option_of(&error) {
        Some(option) => Outcome::option(option, &error),
        None => Outcome::settings(&error),
    })
}

/// The session to publish: the one named, or that of the ring, or a new one.
fn session(options: &Options) -> Result<SessionId, Outcome> {
    let found = match (&options.ring, options.session) {
        (_, Some(session)) => return Ok(session),
        (Some(file), None) => ring_session(file)
            .map_err(|error| Condition::Settings(format!("--ring: {}: {}", file.display(), chain(&error))))?,
        (None, None) => None,
    };
    Ok(found.unwrap_or_else(|| SessionId::from_number(Clock::unix_micros())))
}

/// The option whose setting cannot be had.
pub(crate) fn option_of(error: &OpenError) -> Option<&'static str> {
    match error {
        OpenError::Interface(line, _) => Some(options::interface_or_line(*line)),
        OpenError::Line(line, _) => Some(options::line(*line)),
        OpenError::UnspecifiedRequests(_) | OpenError::RequestInterface(_) | OpenError::Requests(_) => {
            Some("--requests")
        }
        OpenError::MaxDatagram(_) | OpenError::Mtu { .. } => Some("--max-datagram"),
        OpenError::RingFile(_, RingFileError::Ended(_) | RingFileError::OtherSession(_)) => Some("--ring or --session"),
        OpenError::RingFile(_, RingFileError::SmallPackets { .. }) => Some("--ring or --max-datagram"),
        OpenError::RingFile(..) => Some("--ring"),
        OpenError::NoLine => Some("--line-a"),
        OpenError::Pin(_) => Some("--answer-core"),
        OpenError::Priority(_) => Some("--answer-priority"),
        OpenError::Memory { .. } | OpenError::Ring(_) => Some("--retain"),
        _ => None,
    }
}

/// Messages on their way from an input to a publisher.
struct Feed<'a> {
    input: Input,
    spins: bool,
    schedule: Schedule,
    /// At the recorded pace.
    replay: Option<Replay>,
    interrupt: &'a Interrupt,
    progress: Progress,
    payload_bytes: u64,
    /// The same, in the file of counters.
    kept_bytes: Option<Cell>,
}

impl Feed<'_> {
    /// Skips what the session has already, if so told.
    fn skip(&mut self, publisher: &Publisher, options: &Options) -> Result<(), String> {
        let published = publisher.next() - 1;
        if published == 0 {
            return Ok(());
        }
        let session = publisher.session();
        let has = format!("session {session} has {} already", count(published, "message"));
        if !options.resume {
            tracing::info!("{has}; the input follows them, --resume would skip as many of it");
            return Ok(());
        }
        tracing::info!("{has}; going on with number {}", published + 1);
        for skipped in 0..published {
            match self.input.next() {
                Ok(Some(_)) => {}
                Ok(None) => return Err(format!("--resume: {has}, and the input only {}", thousands(skipped))),
                Err(error) => return Err(format!("--input: {}", chain(&error))),
            }
        }
        Ok(())
    }

    /// Publishes every message at its time, until the input ends or the user interrupts; says what failed.
    fn run(&mut self, publisher: &mut Publisher) -> Result<(), String> {
        let mut now = Nanos::ZERO;
        while !self.interrupt.is_raised() {
            let message = match self.input.next() {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(error) if is_not_there_yet(&error) => {
                    self.wait_for_stdin(publisher)?;
                    continue;
                }
                Err(error) => return Err(format!("--input: {}", chain(&error))),
            };
            if let Some(replay) = &mut self.replay {
                replay.begin(message.frame, publisher).map_err(|error| chain(&error))?;
            }
            let due = self.schedule.next_due(message.time);
            if due > now {
                now = Clock::now();
                if due > now {
                    let _ = publisher.flush().map_err(|error| chain(&error))?;
                    show(&mut self.progress, publisher);
                    now = wait_until(due, self.spins, || !self.interrupt.is_raised());
                }
            }
            let number = publisher.publish(message.payload).map_err(|error| in_words(&error, publisher.next()))?;
            self.payload_bytes += message.payload.len() as u64;
            if let Some(kept) = &self.kept_bytes {
                kept.set(self.payload_bytes);
            }
            if let Some(replay) = &mut self.replay {
                replay.published(due);
            }
            if number % 16_384 == 0 {
                show(&mut self.progress, publisher);
            }
        }
        self.flush(publisher)
    }

    /// Sends what has been read.
    fn flush(&mut self, publisher: &mut Publisher) -> Result<(), String> {
        let flushed = match &mut self.replay {
            Some(replay) => replay.flush(publisher),
            None => publisher.flush().map(|_| ()),
        };
        flushed.map_err(|error| chain(&error))
    }

    /// Sends what has been read, then waits for standard input, or long enough to look for an interrupt.
    fn wait_for_stdin(&mut self, publisher: &mut Publisher) -> Result<(), String> {
        self.flush(publisher)?;
        show(&mut self.progress, publisher);
        standard_input::wait().map_err(|error| format!("standard input: {error}"))
    }
}

fn show(progress: &mut Progress, publisher: &mut Publisher) {
    // Looked at now and then, so that it knows the present rate.
    let retained = publisher.retained();
    progress.update(Clock::now(), publisher.next() - 1, || {
        let answers = publisher.counters().retransmitter.responder.retransmissions;
        let (next, retained) = (thousands(publisher.next()), headroom::in_brief(&retained));
        format!("next {next}, {retained} retained, {}", count(answers, "retransmission"))
    });
}

fn in_words(error: &PublishError, number: u64) -> String {
    let words = chain(error);
    match error {
        PublishError::Claim(ClaimError::TooLong { .. }) => format!("message {number}: {words}; set --max-datagram"),
        _ => words,
    }
}

/// What a publisher did.
struct Summary<'a> {
    session: SessionId,
    oldest: u64,
    next: u64,
    retained: Headroom,
    has_line_b: bool,
    bytes: u64,
    published: Nanos,
    /// How late packets left, at the recorded pace.
    pace_error: Option<&'a Histogram<u64>>,
    counters: PublisherCounters,
    clients: Vec<ClientReport>,
}

impl Summary<'_> {
    fn print(&self, warnings: &[String]) {
        let mut stderr = Words::default();
        let retransmitter = &self.counters.retransmitter;
        let responder = &retransmitter.responder;
        let refused: u64 = responder.refused.iter().sum();
        let elapsed_s = self.published.as_duration().as_secs_f64();
        let sum = |of: fn(&LineCounters) -> u64| self.counters.lines.iter().map(of).sum::<u64>();
        // There is nobody to tell when standard error or output is gone.
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let _ = writeln!(
            stderr,
            "session {}: {} published in {elapsed_s:.3} s ({} of payload, {} with {}), numbers 1..{}, {} refused by the \
             kernel",
            self.session,
            count(self.counters.messages, "message"),
            count(self.bytes, "byte"),
            count(sum(|line| line.packets), "packet"),
            count(sum(|line| line.system_calls), "system call"),
            self.next,
            count(sum(|line| line.refused), "packet"),
        );
        if sum(|line| line.segmentation_refused) > 0 {
            let _ = writeln!(
                stderr,
                "the kernel or the interface cuts no runs of packets into datagrams: each left with a call of its own"
            );
        }
        let _ = writeln!(stderr, "{}..{} retained: {}", self.oldest, self.next, headroom::in_words(&self.retained));
        let _ = writeln!(
            stderr,
            "{} answered with {} ({}), {} told that it is overwritten, {refused} without an answer",
            count(responder.requests, "request"),
            count(responder.retransmissions, "retransmission"),
            count(responder.messages, "message"),
            responder.overwritten,
        );
        if let Some(errors) = self.pace_error {
            let _ = writeln!(stderr, "later than recorded: {}", times::distribution(errors));
        }
        for words in repair::clients_in_words(&self.clients) {
            let _ = writeln!(stderr, "{words}");
        }
    }

    fn json(&self) -> serde_json::Value {
        let line = |line: Line| {
            let LineCounters { packets, bytes, refused, system_calls, segmentation_refused } =
                self.counters.lines[line.index()];
            json!({
                "packets": packets,
                "bytes": bytes,
                "packets_refused": refused,
                "system_calls": system_calls,
                "segmentation_refused": segmentation_refused,
            })
        };
        let retransmitter = &self.counters.retransmitter;
        let responder = &retransmitter.responder;
        json!({
            "session": self.session.to_string(),
            "first": 1,
            "next": self.next,
            "oldest": self.oldest,
            "retained": headroom::json(Some(&self.retained)),
            "messages": self.counters.messages,
            "bytes": self.bytes,
            "requests": responder.requests,
            "retransmissions": responder.retransmissions,
            "retransmitted_messages": responder.messages,
            "overwritten": responder.overwritten,
            "requests_refused": repair::refusals_json(responder),
            "clients": repair::clients_json(&self.clients),
            "client_count": self.clients.len(),
            "answers_refused": retransmitter.refused_sends,
            "heartbeats": retransmitter.heartbeats,
            "elapsed_s": self.published.as_duration().as_secs_f64(),
            "pace_error": self.pace_error.map(times::json),
            "lines": { "a": line(Line::A), "b": self.has_line_b.then(|| line(Line::B)) },
        })
    }
}
