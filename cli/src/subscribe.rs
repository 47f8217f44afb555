//! `seqcast subscribe`: one session to an output.

use crate::interrupt::Interrupt;
use crate::options::{self, DEFAULT_LINE_A, DEFAULT_REQUESTS, OptionalAddress};
use crate::outcome::{Condition, Outcome, chain};
use crate::output::{Output, OutputError, OutputFormat};
use crate::progress::{Progress, count, thousands};
use seqcast_recovery::Nanos;
use seqcast_subscriber::{
    Event, GapPolicy, Idle, IdleStrategy, ImpairmentConfig, Line, LineSource, LossCause, OpenError, SequenceRange,
    SessionChoice, Start, Status, Subscriber, SubscriberCounters, pin_to_core,
};
use seqcast_transport::Clock;
use serde_json::json;
use std::fs::File;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// How many messages are handled between two looks at signals and progress. Arbitrary.
const MESSAGES_PER_POLL: usize = 1_024;

/// The longest wait, so that progress is shown and signals that came just before it are seen.
const LONGEST_WAIT: Nanos = Nanos::from_millis(100);

/// How many lost ranges the summary lists. Arbitrary.
const LISTED_LOSSES: usize = 16;

/// Subscribe to a session: every message once, in order, or told that it is lost
///
/// Examples:
///   seqcast subscribe --output day.blocks --until-end
///   seqcast subscribe --line-a 239.1.1.1:30001@eth1 --recover-from 10.1.0.5:30100 --output - --format json
///
/// A slow reader of the output makes this subscriber fall behind, never the publisher: what is overwritten meanwhile is
/// lost, and told.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Options {
    /// The session; any follows the first one heard, and the next one after its end
    #[arg(long, value_name = "NAME|any", default_value = "any")]
    session: SessionChoice,
    /// Where line A comes from
    #[arg(long, value_name = "GROUP:PORT[@INTERFACE]", default_value = DEFAULT_LINE_A)]
    line_a: LineSource,
    /// The interface, by name or address, of lines that name none; requests leave from its address
    #[arg(long, value_name = "INTERFACE", default_value = "127.0.0.1")]
    interface: String,
    /// Who is asked for what is missing, or none; may be repeated
    #[arg(long, value_name = "ADDRESS:PORT|none", default_value = DEFAULT_REQUESTS, value_parser = options::optional_address)]
    recover_from: Vec<OptionalAddress>,
    /// Where to begin: at the oldest message retained, at the first one heard, or at a number
    #[arg(long, value_name = "oldest|live|N", default_value = "oldest", value_parser = options::start)]
    start: Start,
    /// Where the messages go; - is standard output
    #[arg(long, value_name = "FILE|-")]
    output: Option<PathBuf>,
    /// How they are written: blocks unless given, none without --output
    #[arg(long)]
    format: Option<OutputFormat>,
    /// End with the session instead of waiting for the next one
    #[arg(long)]
    until_end: bool,
    /// What to do about a gap: wait until nothing has been filled for so long, skip it, or stop
    #[arg(long, value_name = "wait[:DURATION]|skip|stop", default_value = "wait:10s", value_parser = gap_policy)]
    gap: GapPolicy,
    /// End with exit code 4 when no line has carried the session for so long
    #[arg(long, value_name = "DURATION", value_parser = options::duration)]
    silent_after: Option<Duration>,
    /// Pin to this core
    #[arg(long, value_name = "N")]
    core: Option<usize>,
    /// What to do when there is nothing to do
    #[arg(long, value_name = "backoff|spin|yield|block", default_value_t = IdleStrategy::Backoff)]
    idle: IdleStrategy,
    /// Impair every datagram received, on purpose, such as loss=2%,burst=4,duplicate=1%,reorder=1%,delay=1ms..2ms,seed=7
    #[arg(long, value_name = "IMPAIRMENT", value_parser = ImpairmentConfig::from_str)]
    impair: Option<ImpairmentConfig>,
    /// Print the summary as JSON on standard output; on standard error where messages go to standard output
    #[arg(long)]
    json: bool,
}

fn gap_policy(text: &str) -> Result<GapPolicy, String> {
    match text.split_once(':') {
        Some(("wait", give_up)) => {
            options::duration(give_up).map(|give_up| GapPolicy::Wait { give_up: give_up.into() })
        }
        None if text == "wait" => Ok(GapPolicy::default()),
        None if text == "skip" => Ok(GapPolicy::Skip),
        None if text == "stop" => Ok(GapPolicy::Stop),
        _ => Err(format!("'{text}' is not wait, wait:DURATION, skip or stop")),
    }
}

/// Runs the subcommand.
#[must_use]
pub fn run(options: &Options) -> Outcome {
    match subscribe(options) {
        Ok(outcome) | Err(outcome) => outcome,
    }
}

fn subscribe(options: &Options) -> Result<Outcome, Outcome> {
    let interrupt = Interrupt::new().map_err(|error| Outcome::failed(&error))?;
    let format = options.format.unwrap_or(match options.output {
        Some(_) => OutputFormat::Blocks,
        None => OutputFormat::None,
    });
    if let (None, true) = (&options.output, format != OutputFormat::None) {
        let mut outcome = Outcome::default();
        outcome.add(Condition::Settings(format!(
            "--format {format} needs --output FILE, or --output - for standard output"
        )));
        return Err(outcome);
    }
    if options.recover_from.len() > 1 && options.recover_from.contains(&OptionalAddress::None) {
        let mut outcome = Outcome::default();
        outcome.add(Condition::Settings("--recover-from: none and an address exclude each other".to_owned()));
        return Err(outcome);
    }
    let mut subscriber = open(options)?;
    if let Some(core) = options.core {
        pin_to_core(core).map_err(|error| Outcome::option("--core", &error))?;
    }
    let path = options.output.as_deref().unwrap_or(Path::new("-"));
    let output = open_output(path, format, &interrupt).map_err(|error| Outcome::unwritable(path, &error))?;
    let has_stdout = path.as_os_str() == "-" && format != OutputFormat::None;
    let mut listener = Listener::new(output);
    let started = Clock::now();
    let ended = listener.run(&mut subscriber, options, &interrupt);
    let elapsed = Clock::now() - started;
    let mut outcome = Outcome::default();
    if let Some(error) = listener.failure.take() {
        if error.is_broken_pipe() {
            return Ok(outcome);
        }
        outcome.add(Condition::Failed(format!("--output {}: {}", path.display(), chain(&error))));
    }
    listener.judge(&subscriber, ended, options, &mut outcome);
    Summary { listener: &listener, subscriber: &subscriber, elapsed, outcome: &outcome }
        .print(options.json, has_stdout);
    Ok(outcome)
}

fn open(options: &Options) -> Result<Subscriber, Outcome> {
    let mut builder = Subscriber::builder(options.session)
        .line(Line::A, options.line_a.clone())
        .interface(&options.interface)
        .start(options.start)
        .gap_policy(options.gap)
        .seed(Clock::unix_micros() ^ u64::from(std::process::id()));
    for address in options.recover_from.iter().filter_map(|address| address.address()) {
        builder = builder.recover_from(address);
    }
    if let Some(duration) = options.silent_after {
        builder = builder.silent_after(duration);
    }
    if let Some(impairment) = options.impair {
        builder = builder.impair(impairment);
    }
    builder.open().map_err(|error| match error {
        OpenError::Interface(..) => Outcome::option("--interface or --line-a", &error),
        OpenError::Line(..) => Outcome::option("--line-a", &error),
        OpenError::RecoverFrom(..) => Outcome::option("--recover-from", &error),
        _ => Outcome::settings(&error),
    })
}

/// Opens the output so that an interrupt ends a write that its reader has stalled.
fn open_output(path: &Path, format: OutputFormat, interrupt: &Interrupt) -> io::Result<Output> {
    if format == OutputFormat::None {
        return Output::open(path, format);
    }
    let file = if path.as_os_str() == "-" {
        // Past the standard library's own buffer, which looks for the ends of lines.
        File::from(io::stdout().as_fd().try_clone_to_owned()?)
    } else {
        File::create(path)?
    };
    Ok(Output::new(Box::new(InterruptibleFile { file, interrupt: interrupt.clone() }), format))
}

/// A file whose writes are not taken up again after an interrupt.
struct InterruptibleFile {
    file: File,
    interrupt: Interrupt,
}

impl Write for InterruptibleFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.file.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted && self.interrupt.is_raised() => {
                Err(io::Error::other("interrupted while the reader of the output stalled"))
            }
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Interrupted,
    Session,
    Silent,
    Stopped,
    Output,
}

/// Handles events: writes messages, remembers what the summary says.
struct Listener {
    output: Output,
    failure: Option<OutputError>,
    session: String,
    first: Option<u64>,
    losses: Vec<(SequenceRange, LossCause)>,
    loss_count: u64,
    has_ended: bool,
    is_silent: bool,
    /// Events worth a line on standard error, until it is written.
    news: Vec<String>,
}

impl Listener {
    fn new(output: Output) -> Self {
        Self {
            output,
            failure: None,
            session: String::new(),
            first: None,
            losses: Vec::new(),
            loss_count: 0,
            has_ended: false,
            is_silent: false,
            news: Vec::new(),
        }
    }

    fn run(&mut self, subscriber: &mut Subscriber, options: &Options, interrupt: &Interrupt) -> End {
        let mut idle = Idle::new(options.idle);
        let mut progress = Progress::new();
        let end = loop {
            let work = subscriber.try_poll(|event| self.handle(event), MESSAGES_PER_POLL);
            if work == 0 && self.failure.is_none() {
                self.failure = self.output.flush().err();
            }
            if !self.news.is_empty() {
                progress.clear();
                let mut stderr = std::io::stderr().lock();
                for news in self.news.drain(..) {
                    let _ = writeln!(stderr, "{news}");
                }
            }
            if let Some(end) = self.end(subscriber, options, interrupt) {
                break end;
            }
            show(&mut progress, subscriber);
            let timeout = subscriber.timeout().map_or(LONGEST_WAIT, |timeout| LONGEST_WAIT.min(timeout.into()));
            // A socket that cannot be waited for can still be polled.
            if idle.idle_until_readable(work, subscriber.fds(), Some(timeout)).is_err() {
                std::thread::yield_now();
            }
        };
        progress.clear();
        if self.failure.is_none() {
            self.failure = self.output.flush().err();
        }
        end
    }

    fn end(&self, subscriber: &Subscriber, options: &Options, interrupt: &Interrupt) -> Option<End> {
        if self.failure.is_some() {
            Some(End::Output)
        } else if self.has_ended && options.until_end {
            Some(End::Session)
        } else if subscriber.subscription().is_stopped() {
            Some(End::Stopped)
        } else if self.is_silent && options.silent_after.is_some() {
            Some(End::Silent)
        } else if interrupt.is_raised() {
            Some(End::Interrupted)
        } else {
            None
        }
    }

    fn handle(&mut self, event: Event<'_>) -> ControlFlow<()> {
        match event {
            Event::Message(message) => {
                self.first.get_or_insert(message.number);
                if let Err(error) = self.output.message(&self.session, message.number, message.payload) {
                    self.failure = Some(error);
                    return ControlFlow::Break(());
                }
            }
            Event::Gap(_) | Event::Recovered(_) => {}
            Event::Lost(loss) => {
                self.first.get_or_insert(loss.range.start());
                self.loss_count += 1;
                if self.losses.len() < LISTED_LOSSES {
                    self.losses.push((loss.range, loss.cause));
                    self.news.push(format!("lost {} ({})", loss.range, cause_in_words(loss.cause)));
                }
            }
            Event::NewSession(new) => {
                self.first = None;
                self.has_ended = false;
                if let Some(previous) = new.previous {
                    let how = if previous.ended { "ended" } else { "fell silent" };
                    self.news.push(format!("session {} {how}, following {}", previous.session, new.session));
                }
            }
            Event::EndOfSession(end) => {
                self.has_ended = true;
                self.news.push(format!("session {} has ended at {}", end.session, end.next));
                return ControlFlow::Break(());
            }
            Event::Status(status) => self.handle_status(status),
        }
        ControlFlow::Continue(())
    }

    fn handle_status(&mut self, status: Status) {
        match status {
            Status::Heard { session } => {
                self.session = session.to_string();
                self.is_silent = false;
                self.news.push(format!("session {session} is heard"));
            }
            // After the end, silence is what is expected.
            Status::Silent { elapsed } if !self.has_ended => {
                self.is_silent = true;
                let what = match self.session.as_str() {
                    "" => "nobody was heard".to_owned(),
                    session => format!("session {session} was not heard"),
                };
                self.news.push(format!("silent: {what} for {:.1} s", elapsed.as_duration().as_secs_f64()));
            }
            Status::Silent { .. } => self.is_silent = true,
            Status::CaughtUp { next } => self.news.push(format!("caught up at {next}")),
            Status::Stopped { next } => self.news.push(format!("stopped at {next}: a gap was found (--gap stop)")),
            _ => {}
        }
    }

    /// What holds at the end.
    fn judge(&self, subscriber: &Subscriber, end: End, options: &Options, outcome: &mut Outcome) {
        let counters = subscriber.counters().subscription;
        if end == End::Silent {
            let heard_for = options.silent_after.map_or(0.0, |duration| duration.as_secs_f64());
            outcome.add(Condition::Unheard(format!("nobody was heard for {heard_for} s (--silent-after)")));
        }
        if counters.lost > 0 {
            let words = format!("{} lost in {}", count(counters.lost, "message"), count(self.loss_count, "range"));
            outcome.add(Condition::Incomplete(words));
        }
        let open_gaps = subscriber.subscription().open_gaps() as u64;
        if open_gaps > 0 && end != End::Output {
            outcome.add(Condition::Incomplete(format!("{} open at the end", count(open_gaps, "gap"))));
        }
    }
}

fn show(progress: &mut Progress, subscriber: &Subscriber) {
    let subscription = subscriber.subscription();
    let counters = subscription.counters();
    progress.update(Clock::now(), counters.messages, || {
        format!(
            "next {}, {} open, {} recovered, {} lost",
            subscription.next().map_or_else(|| "-".to_owned(), thousands),
            count(subscription.open_gaps() as u64, "gap"),
            thousands(counters.recovered),
            thousands(counters.lost),
        )
    });
}

/// A cause as the summary says it.
#[must_use]
pub fn cause_in_words(cause: LossCause) -> &'static str {
    match cause {
        LossCause::Overwritten => "overwritten: nobody retains it any more",
        LossCause::NoAnswer => "no answer: nobody could fill it in time",
        LossCause::Skipped => "skipped: --gap skip",
        LossCause::Ended => "ended: its session was left",
    }
}

/// What a subscriber did.
struct Summary<'a> {
    listener: &'a Listener,
    subscriber: &'a Subscriber,
    elapsed: Nanos,
    outcome: &'a Outcome,
}

impl Summary<'_> {
    fn print(&self, as_json: bool, has_stdout: bool) {
        let SubscriberCounters { subscription, kernel_drops, impairment, .. } = self.subscriber.counters();
        let next = self.subscriber.next();
        let elapsed_s = self.elapsed.as_duration().as_secs_f64();
        let session = self.subscriber.session().map(|session| session.to_string());
        let mut stderr = std::io::stderr().lock();
        // There is nobody to tell when standard error or output is gone.
        let _ = writeln!(
            stderr,
            "session {}: {} ({}) in {elapsed_s:.3} s, numbers {}..{}",
            session.as_deref().unwrap_or("none heard"),
            count(subscription.messages, "message"),
            count(subscription.bytes, "byte"),
            self.listener.first.or(next).map_or_else(|| "-".to_owned(), |number| number.to_string()),
            next.map_or_else(|| "-".to_owned(), |number| number.to_string()),
        );
        let _ = writeln!(
            stderr,
            "{}, {} recovered by {}, {} lost, {} duplicate, {} malformed, {} foreign, {} dropped by the kernel",
            count(subscription.gaps, "gap"),
            count(subscription.recovered, "message"),
            count(subscription.requests, "request"),
            thousands(subscription.lost),
            thousands(subscription.duplicates),
            thousands(subscription.malformed_total()),
            thousands(subscription.foreign),
            thousands(kernel_drops),
        );
        if impairment.datagrams > 0 {
            let _ = writeln!(
                stderr,
                "impaired on purpose: of {}, {} dropped, {} duplicated, {} reordered, {} delayed",
                count(impairment.datagrams, "datagram"),
                thousands(impairment.dropped),
                thousands(impairment.duplicated),
                thousands(impairment.reordered),
                thousands(impairment.delayed),
            );
        }
        if self.listener.loss_count > self.listener.losses.len() as u64 {
            let _ = writeln!(stderr, "only the first {LISTED_LOSSES} lost ranges are listed above");
        }
        if as_json {
            let line = subscription.lines[Line::A.index()];
            let object = json!({
                "session": session,
                "first": self.listener.first.or(next),
                "next": next,
                "messages": subscription.messages,
                "bytes": subscription.bytes,
                "gaps": subscription.gaps,
                "recovered": subscription.recovered,
                "lost": subscription.lost,
                "lost_ranges": self.lost_ranges(),
                "lost_range_count": self.listener.loss_count,
                "duplicates": subscription.duplicates,
                "deferred": subscription.deferred,
                "requests": subscription.requests,
                "retries": subscription.retries,
                "retransmissions": subscription.retransmissions,
                "malformed": subscription.malformed_total(),
                "foreign": subscription.foreign,
                "kernel_drops": kernel_drops,
                "elapsed_s": elapsed_s,
                "exit_code": self.outcome.code(),
                "lines": { "a": { "packets": line.packets, "bytes": line.bytes } },
            });
            let _ =
                if has_stdout { writeln!(stderr, "{object}") } else { writeln!(std::io::stdout().lock(), "{object}") };
        }
    }

    fn lost_ranges(&self) -> Vec<serde_json::Value> {
        let range = |(range, cause): &(SequenceRange, LossCause)| {
            let cause = match cause {
                LossCause::Overwritten => "overwritten",
                LossCause::NoAnswer => "no_answer",
                LossCause::Skipped => "skipped",
                LossCause::Ended => "ended",
            };
            json!({ "first": range.start(), "next": range.end(), "cause": cause })
        };
        self.listener.losses.iter().map(range).collect()
    }
}
