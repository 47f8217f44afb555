//! `seqcast stats`: the counters of all processes of this host, from their files.

mod json;
mod kernel;
mod reading;
mod words;

#[cfg(test)]
pub(crate) mod testing;

pub(crate) use reading::{Complaints, Directory, Process, Reading};
pub(crate) use words::{block, title};

use crate::interrupt::Interrupt;
use crate::options;
use crate::outcome::{Condition, Outcome};
use crate::times;
use seqcast_recovery::Nanos;
use seqcast_stats::clear;
use seqcast_transport::{Clock, wait_readable};
use serde_json::{Value, json};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::time::Duration;

/// Moves to the top of a terminal and clears it (ECMA-48: CUP, ED).
const CLEAR: &str = "\x1b[H\x1b[2J";

/// How long a signal that comes just before a wait may go unnoticed: less than a person notices.
pub(crate) const LOOK: Nanos = Nanos::from_millis(100);

/// Show the counters of every publisher, retransmitter and subscriber of this host
///
/// Examples:
///   seqcast stats
///   seqcast stats EQ20261121 --watch=5s
///   seqcast stats subscriber --json | jq '.processes[] | {session, process, state}'
///
/// What is 0 is left out, but for JSON. A process that is stalled is there and has not written for 3 s: it was stopped, or is
/// kept from its core. One that is dead was killed; its file stays, and is in nobody's way, until --clear removes it.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Options {
    /// Show only processes of this session or role
    #[arg(value_name = "FEED|ROLE")]
    only: Vec<String>,
    #[command(flatten)]
    directory: Directory,
    /// Print everything as a JSON object, on a line of its own
    #[arg(long)]
    json: bool,
    /// Show it again and again, every second unless an interval is given, until interrupted
    #[arg(long, value_name = "INTERVAL", num_args = 0..=1, require_equals = true, default_missing_value = "1s",
          value_parser = options::positive_duration)]
    watch: Option<Duration>,
    /// Remove the files of processes that were killed, and say which
    #[arg(long, conflicts_with_all = ["watch", "only"])]
    clear: bool,
}

/// Runs the subcommand.
#[must_use]
pub fn run(options: &Options) -> Outcome {
    let shown = if options.clear { remove(options) } else { show(options) };
    shown.err().unwrap_or_default()
}

fn remove(options: &Options) -> Result<(), Outcome> {
    let removed = clear(&options.directory.path).map_err(|error| options.directory.failed(&error))?;
    let removed: Vec<_> = removed.into_iter().map(Process::new).collect();
    let text = if options.json {
        let removed: Vec<_> = removed.iter().map(json::identity).map(Value::Object).collect();
        format!("{}\n", json!({ "removed": removed }))
    } else {
        let words = |process: &Process| {
            let (role, id) = (&process.snapshot.role, process.snapshot.process);
            format!("removed {role} {}, process {id}: {}\n", process.feed(), process.snapshot.path.display())
        };
        removed.iter().map(words).collect()
    };
    print(&text).map(|_| ())
}

fn show(options: &Options) -> Result<(), Outcome> {
    let interrupt = Interrupt::new().map_err(|error| Outcome::failed(&error))?;
    let is_cleared = !options.json && io::stdout().is_terminal();
    let mut complaints = Complaints::default();
    let mut previous: Option<Reading> = None;
    loop {
        let reading = options.directory.read()?;
        let mut text = if options.json { format!("{}\n", document(options, &reading)) } else { String::new() };
        if !options.json {
            if options.watch.is_some() {
                let (clear, gap) = if is_cleared { (CLEAR, "") } else { ("", "\n") };
                let gap = if previous.is_some() { gap } else { "" };
                text = format!("{clear}{gap}{}\n\n", times::utc(reading.unix));
            }
            text.push_str(&blocks(options, &reading, previous.as_ref()));
        }
        complaints.say(&reading);
        let is_read = print(&text)?;
        let Some(interval) = options.watch.filter(|_| is_read) else { return Ok(()) };
        previous = Some(reading);
        let due = Clock::now() + interval.into();
        while Clock::now() < due {
            if interrupt.is_raised() {
                return Ok(());
            }
            let rest = (due - Clock::now()).min(LOOK);
            wait_readable(&[], Some(rest)).map_err(|error| Outcome::failed(&error))?;
        }
    }
}

fn wanted<'a>(options: &'a Options, reading: &'a Reading) -> impl Iterator<Item = &'a Process> {
    let is_wanted = |process: &&Process| {
        let only = &options.only;
        only.is_empty() || only.iter().any(|word| *word == process.snapshot.role || *word == process.feed())
    };
    reading.processes.iter().filter(is_wanted)
}

fn document(options: &Options, reading: &Reading) -> Value {
    json::document(reading, wanted(options, reading))
}

/// A block for each process, empty lines between them.
fn blocks(options: &Options, reading: &Reading, previous: Option<&Reading>) -> String {
    let block = |process: &Process| {
        let lines = std::iter::once(title(process, reading)).chain(block(process, reading, previous));
        lines.map(|line| line + "\n").collect::<String>()
    };
    let blocks: Vec<_> = wanted(options, reading).map(block).collect();
    match (blocks.is_empty(), options.only.is_empty()) {
        (false, _) => blocks.join("\n"),
        (true, true) => format!("no process keeps counters in {}\n", options.directory.path.display()),
        (true, false) => {
            format!("none of {} keeps counters in {}\n", options.only.join(", "), options.directory.path.display())
        }
    }
}

/// Writes to standard output; `false` when nobody reads it any more, as `head`, which is no failure.
fn print(text: &str) -> Result<bool, Outcome> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Condition::Failed(format!("standard output: {error}")).into()),
    }
}
