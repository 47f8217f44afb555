//! `seqcast subscribe`: one session to an output.

pub(crate) mod health;
mod listener;
pub(crate) mod news;
mod summary;

pub(crate) use summary::cause_name;

use crate::interrupt::Interrupt;
use crate::options::{self, DEFAULT_LINE_A, DEFAULT_REQUESTS, OptionalAddress, SOURCE_FORM};
use crate::outcome::{Condition, Outcome, chain};
use crate::output::{Output, OutputError, OutputFormat};
use crate::output_times::OutputTimes;
use crate::progress;
use crate::stats_option::StatsOption;
use crate::thread::ThreadOptions;
use listener::{FIRST, Listener};
use seqcast_subscriber::{
    GapPolicy, IdleStrategy, Line, LineSource, Offset, OpenError, PathImpairment, RewindPolicy, SessionChoice, Start,
    StoredOffset, Subscriber, Unit,
};
use seqcast_transport::Clock;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use summary::Summary;

/// Subscribe to a session: every message once, in order, or told that it is lost
///
/// Examples:
///   seqcast subscribe --output day.blocks --until-end
///   seqcast subscribe --line-a 239.1.1.1:30001@eth1 --recover-from 10.1.0.5:30100 --until-end
///   seqcast subscribe --output - --format json | jq .
///   seqcast subscribe --line-a ring:/dev/shm/day --output day.blocks --offset day.offset
///
/// A slow reader of the output makes this subscriber fall behind, never the publisher: what is
/// overwritten meanwhile is lost, and told.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Options {
    /// The session; any follows the first one heard, and the next one after its end
    #[arg(long, value_name = "NAME|any", default_value = "any")]
    session: SessionChoice,
    /// Where line A comes from: a multicast group to join, or a unicast address to listen at, and from whom, if only one
    /// may send; or a publisher's ring on this host
    #[arg(long, value_name = SOURCE_FORM, default_value = DEFAULT_LINE_A)]
    line_a: LineSource,
    /// Where line B comes from, the second copy of every packet; of each message the first copy is delivered
    #[arg(long, value_name = SOURCE_FORM)]
    line_b: Option<LineSource>,
    /// The interface, by name or address, of lines that name none; requests leave from its address
    #[arg(long, value_name = "INTERFACE", default_value = "127.0.0.1")]
    interface: String,
    /// Who is asked for what is missing, or none; may be repeated
    #[arg(long, value_name = "ADDRESS:PORT|none", default_value = DEFAULT_REQUESTS, value_parser = options::optional_address)]
    recover_from: Vec<OptionalAddress>,
    /// Where to begin: at the oldest message retained, at the first one heard, or at a number
    #[arg(long, value_name = "oldest|live|N", default_value = "oldest")]
    start: Start,
    /// Remember in this file how far the output has come, and go on there when started again: the output file is cut back to
    /// it, so that every message is in it exactly once. With standard output it is at least once: what was written and not yet
    /// remembered comes again
    #[arg(long, value_name = "FILE")]
    offset: Option<PathBuf>,
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
    #[arg(long, value_name = "wait[:DURATION]|skip|stop", default_value = "wait:10s")]
    gap: GapPolicy,
    /// What to do when the numbers of a session begin again: follow them from the new number, or stop
    #[arg(long, value_name = "follow|stop", default_value = "follow")]
    rewind: RewindPolicy,
    /// End with exit code 4 when no line has carried the session for so long
    #[arg(long, value_name = "DURATION", value_parser = options::positive_duration)]
    silent_after: Option<Duration>,
    #[command(flatten)]
    thread: ThreadOptions,
    /// Ask the kernel for a receive buffer of so many bytes for each socket [default: 16MiB]
    #[arg(long, value_name = "BYTES", value_parser = options::bytes)]
    receive_buffer: Option<usize>,
    /// Keep the sending of requests warm with a datagram to itself at this interval, 50us to 1ms, when there is nothing to do
    #[arg(long, value_name = "DURATION", value_parser = options::positive_duration)]
    keep_warm: Option<Duration>,
    /// Have the kernel look into the card's receive queue for so long when a line has nothing (SO_BUSY_POLL)
    #[arg(long, value_name = "DURATION", value_parser = options::positive_duration)]
    busy_poll: Option<Duration>,
    /// What to do when there is nothing to do. A ring has nothing to wake block: it looks after an eighth of the time for which
    /// nothing has come, at most after 5 ms
    #[arg(long, value_name = "backoff|spin|yield|block", default_value_t = IdleStrategy::Backoff)]
    idle: IdleStrategy,
    /// Take each datagram by itself: do not let the kernel hand over as one buffer what was sent with one system call
    #[arg(long)]
    no_coalescing: bool,
    /// Say of each message when the kernel took it in, in nanoseconds since 1970, as received_ns of --format json
    #[arg(long)]
    receive_times: bool,
    /// Compare the bytes of each message on both lines, and say when they differ
    #[arg(long)]
    compare_copies: bool,
    /// Impair every datagram received, on purpose, such as loss=2%,burst=4,duplicate=1%,reorder=1%,delay=1ms..2ms,seed=7;
    /// or only those of line a, of line b, or the answers. May be repeated
    #[arg(long, value_name = "[a:|b:|answers:]IMPAIRMENT")]
    impair: Vec<PathImpairment>,
    #[command(flatten)]
    stats: StatsOption,
    /// Print the summary as JSON on standard output; on standard error where messages go to standard output
    #[arg(long)]
    json: bool,
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
        let words = format!("--format {format} needs --output FILE, or --output - for standard output");
        return Err(Condition::Settings(words).into());
    }
    if options.receive_times && format != OutputFormat::Json {
        return Err(Condition::Settings("--receive-times needs --format json, which says them".to_owned()).into());
    }
    if options.recover_from.len() > 1 && options.recover_from.contains(&OptionalAddress::None) {
        let words = "--recover-from: none and an address exclude each other";
        return Err(Condition::Settings(words.to_owned()).into());
    }
    let offset = options.offset.as_deref().map(StoredOffset::open).transpose();
    let offset = offset.map_err(|error| Outcome::option("--offset", &error))?;
    let resumed = offset.as_ref().and_then(StoredOffset::get);
    let mut subscriber = open(options, resumed)?;
    options.thread.prepare()?;
    let path = options.output.as_deref().unwrap_or(Path::new("-"));
    let mut output = Output::open_at(path, format, &interrupt, resumed.map(|offset| offset.position))
        .map_err(|error| Outcome::unwritable(path, &error))?;
    output.measure(OutputTimes::of(&subscriber));
    let has_stdout = path.as_os_str() == "-" && format != OutputFormat::None;
    let mut listener = Listener::new(output, offset, options.start, subscriber.stats_cell(FIRST));
    let started = Clock::now();
    let ended = listener.run(&mut subscriber, options, &interrupt);
    let elapsed = Clock::now() - started;
    let mut outcome = Outcome::default();
    // A reader that has read enough, as `head`, is no failure, and hears no more words.
    let is_quiet = listener.failure.as_ref().is_some_and(OutputError::is_broken_pipe);
    if let Some(error) = listener.failure.take().filter(|_| !is_quiet) {
        outcome.add(Condition::Failed(format!("--output {}: {}", path.display(), chain(&error))));
    }
    listener.judge(&subscriber, ended, options, &mut outcome);
    let summary =
        Summary { listener: &listener, subscriber: &subscriber, has_line_b: options.line_b.is_some(), elapsed };
    if !is_quiet {
        summary.print();
        if options.busy_poll.is_some() {
            for line in Line::ALL.into_iter().filter(|&line| line == Line::A || options.line_b.is_some()) {
                let effect = if subscriber.is_busy_polled(line) {
                    "came from a driver that can be polled"
                } else {
                    "did not come from a driver that can be polled, so that --busy-poll had no effect"
                };
                tracing::info!(?line, "line {line:?}: what arrived last {effect}");
            }
        }
    }
    if options.json {
        let object = summary.json(outcome.code());
        let written = if has_stdout {
            writeln!(progress::stderr(), "{object}")
        } else {
            writeln!(std::io::stdout().lock(), "{object}")
        };
        if let Err(error) = written {
            outcome.add(Condition::Failed(format!("--json: {error}")));
        }
    }
    Ok(outcome)
}

fn open(options: &Options, resumed: Option<Offset>) -> Result<Subscriber, Outcome> {
    let mut builder = Subscriber::builder(options.session)
        .line(Line::A, options.line_a.clone())
        .interface(&options.interface)
        .start(options.start)
        .resume(resumed)
        .gap_policy(options.gap)
        .rewind_policy(options.rewind)
        .compare_copies(options.compare_copies)
        .coalescing(!options.no_coalescing)
        .receive_times(options.receive_times)
        .seed(Clock::unix_micros() ^ u64::from(std::process::id()));
    for address in options.recover_from.iter().filter_map(|address| address.address()) {
        builder = builder.recover_from(address);
    }
    if let Some(duration) = options.silent_after {
        builder = builder.silent_after(duration);
    }
    if let Some(interval) = options.keep_warm {
        builder = builder.keep_warm(interval);
    }
    if let Some(time) = options.busy_poll {
        builder = builder.busy_poll(time);
    }
    for impairment in &options.impair {
        builder = builder.impair_path(*impairment);
    }
    if let Some(source) = &options.line_b {
        builder = builder.line(Line::B, source.clone());
    }
    if let Some(bytes) = options.receive_buffer {
        builder = builder.receive_buffer_bytes(Some(bytes));
    }
    if let Some(directory) = options.stats.directory() {
        let idle = options.idle.to_string();
        builder = builder.stats(directory).stats_fact("command", &options::command_line()).stats_fact("idle", &idle);
        builder = OutputTimes::describe(builder.stats_gauge(FIRST, Unit::Number));
    }
    builder.open().map_err(|error| match error {
        OpenError::Interface(line, _) => Outcome::option(options::interface_or_line(line), &error),
        OpenError::Line(line, _) => Outcome::option(options::line(line), &error),
        OpenError::Ring(..) => Outcome::option("--line-a or --line-b", &error),
        OpenError::BusyPoll(..) => Outcome::option("--busy-poll", &error),
        OpenError::RecoverFrom(..) => Outcome::option("--recover-from", &error),
        _ => Outcome::settings(&error),
    })
}
