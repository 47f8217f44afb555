//! `seqcast dump`: the packets of a capture or of a line, decoded.

mod printer;

pub use printer::{Counts, Printer};

use crate::input::{Frames, InputError};
use crate::interrupt::Interrupt;
use crate::live::{LIVE_FORM, Limit, LiveLine};
use crate::options;
use crate::outcome::{Condition, Outcome, chain};
use crate::output::buffered_standard_output;
use crate::progress::{Progress, count};
use seqcast_subscriber::LineSource;
use seqcast_transport::{Clock, wait_readable};
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

/// Decode the packets of a capture, or of a line as they come: MoldUDP64 and IEX-TP
///
/// Examples:
///   seqcast dump feed.pcap.gz
///   seqcast dump day.pcapng --json --headers
///   seqcast dump 239.1.1.1:30001@eth1 --count 100 --time 10s
///
/// Captures are classic pcap or pcapng, gzip-compressed or not. What is malformed is shown with the
/// reason and the place.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Options {
    /// A capture file, or a line to listen to: GROUP:PORT[@INTERFACE][,source=ADDRESS]|ADDRESS:PORT[,source=ADDRESS]
    #[arg(value_name = "FILE|LINE")]
    from: String,
    /// Print each packet as a JSON object on a line of its own
    #[arg(long)]
    json: bool,
    /// Leave the messages out
    #[arg(long)]
    headers: bool,
    /// End after so many packets
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Listen to a line for so long
    #[arg(long, value_name = "DURATION", value_parser = options::positive_duration)]
    time: Option<Duration>,
    /// The interface, by name or address, of a line that names none; 127.0.0.1 unless given
    #[arg(long, value_name = "INTERFACE")]
    interface: Option<String>,
}

/// Runs the subcommand.
#[must_use]
pub fn run(options: &Options) -> Outcome {
    match dump(options) {
        Ok(outcome) | Err(outcome) => outcome,
    }
}

fn dump(options: &Options) -> Result<Outcome, Outcome> {
    let interrupt = Interrupt::new().map_err(|error| Outcome::failed(&error))?;
    let path = Path::new(&options.from);
    let line = match options.from.parse::<LineSource>() {
        // What is there as a file is meant.
        Ok(line) if !path.exists() => Some(LiveLine::open(&line, options.interface.as_deref().unwrap_or("127.0.0.1"))),
        Err(error) if !path.exists() && options.from.contains(':') => {
            let words = format!("there is no such file, and it is no line ({LIVE_FORM}): {}", chain(&error));
            return Err(Condition::Settings(format!("{}: {words}", options.from)).into());
        }
        _ => None,
    };
    let writer = buffered_standard_output(&interrupt).map_err(|error| Outcome::failed(&error))?;
    let mut printer = Printer::new(writer, options.json, options.headers);
    let ended = match line {
        Some(line) => {
            let line = line.map_err(|error| Outcome::option(&options.from, &*error))?;
            dump_line(line, &mut printer, options, &interrupt)
        }
        None if options.time.is_some() || options.interface.is_some() => {
            let words = format!("{}: --time and --interface are for a line, not for a file", options.from);
            return Err(Condition::Settings(words).into());
        }
        None => dump_file(path, &mut printer, options.count, &interrupt),
    };
    let ended = ended.and_then(|()| printer.flush().map_err(Failure::Output));
    let mut outcome = Outcome::default();
    match ended {
        // A reader that has read enough, as `head`, is no failure, and hears no more words.
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => return Ok(outcome),
        Err(Failure::Output(error)) => outcome.add(Condition::Failed(format!("standard output: {error}"))),
        Err(Failure::Input(error)) => outcome.add(Condition::Failed(chain(&error))),
        Ok(()) => {}
    }
    if outcome.code() == 0 || printer.counts().frames > 0 {
        tracing::info!("{}", printer.counts().in_words());
    }
    Ok(outcome)
}

/// Why the packets cannot be shown on.
#[derive(Debug)]
enum Failure {
    Input(InputError),
    Output(io::Error),
}

fn dump_file(
    path: &Path,
    printer: &mut Printer<impl Write>,
    limit: Option<u64>,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let mut frames = Frames::open(path).map_err(Failure::Input)?;
    let mut progress = Progress::new();
    let limit = limit.unwrap_or(u64::MAX);
    let mut ended = Ok(());
    while printer.counts().frames < limit && !interrupt.is_raised() {
        match frames.next() {
            Ok(Some(frame)) => printer.frame(&frame).map_err(Failure::Output)?,
            Ok(None) => break,
            Err(error) => {
                // What comes before the damage is shown before the error.
                ended = Err(Failure::Input(error));
                break;
            }
        }
        let percent = frames.percent_read();
        progress.update(Clock::now(), printer.counts().messages, || format!("{} % read", percent.unwrap_or(0)));
    }
    progress.clear();
    printer.flush().map_err(Failure::Output)?;
    for warning in frames.warnings() {
        tracing::warn!("{warning}");
    }
    ended
}

fn dump_line(
    mut line: LiveLine,
    printer: &mut Printer<impl Write>,
    options: &Options,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let limit = Limit::new(options.count, options.time);
    while !interrupt.is_raised() && !limit.is_reached_by(printer.counts().frames) {
        let Some(timeout) = limit.wait() else { break };
        let is_empty = match line.receive() {
            Some((time, datagram)) => {
                printer.datagram(Some(time), None, &datagram).map_err(Failure::Output)?;
                false
            }
            None => true,
        };
        if is_empty {
            printer.flush().map_err(Failure::Output)?;
            // A socket that cannot be waited for can still be asked.
            if wait_readable(&[line.fd()], Some(timeout)).is_err() {
                std::thread::yield_now();
            }
        }
    }
    let drops = line.kernel_drops();
    if drops > 0 {
        tracing::warn!("{} dropped by the kernel", count(drops, "datagram"));
    }
    Ok(())
}
