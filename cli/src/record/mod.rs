//! `seqcast record`: what lines bring, or what a subscriber delivers, as pcapng.

mod delivery;
mod files;
mod lines;
mod pcapng;
mod recorder;
mod summary;

use crate::interrupt::Interrupt;
use crate::live::{Limit, LiveLine};
use crate::options::{self, DEFAULT_LINE_A, OptionalAddress};
use crate::outcome::{Condition, Outcome};
use delivery::Packets;
use files::{Files, Rotation};
use recorder::{CHUNK_BYTES, Recorder, Reserve};
use seqcast_recovery::Nanos;
use seqcast_subscriber::{Line, LineSource, OpenError, SessionChoice, Start, Subscriber};
use seqcast_transport::{Clock, LineAddress};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;
use summary::Summary;

/// The time that the packets of a line have.
const STAMPED: &str = "times are those of the kernel on receipt (SO_TIMESTAMPNS); IP and UDP headers are made up";

/// The time that the packets of a subscriber have.
const DELIVERED: &str = "times are those of delivery, to the microsecond; packets, IP and UDP headers are made up";

/// Record what one or two lines bring, as pcapng with times in nanoseconds
///
/// Examples:
///   seqcast record 239.1.1.1:30001@eth1 239.1.2.1:30001@eth2 --output day.pcapng
///   seqcast record 239.1.1.1:30001@eth1 --output day.pcapng --rotate-bytes 1GiB --rotate-every 1h
///   seqcast record 239.1.1.1:30001@eth1 --recover-from 10.1.0.5:30100 --output repaired.pcapng
///
/// Every datagram is recorded as it comes, whatever is in it, with the time at which the kernel took
/// it in. With --recover-from, what a subscriber delivers is recorded instead: in order, each once,
/// repaired. Files are never overwritten. Killed at any time, a recording is readable to its last
/// whole block.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Options {
    /// A line to listen to, or two: GROUP:PORT[@INTERFACE][,source=ADDRESS]|ADDRESS:PORT[,source=ADDRESS]; with
    /// --recover-from also ring:FILE
    #[arg(value_name = "LINE", required = true, num_args = 1..=2)]
    lines: Vec<LineSource>,
    /// The file to write; a number comes before its extension when files are rotated
    #[arg(long, value_name = "FILE.pcapng")]
    output: PathBuf,
    /// Begin the next file before one is longer than this, 1MiB at the least
    #[arg(long, value_name = "BYTES", value_parser = rotation_bytes)]
    rotate_bytes: Option<u64>,
    /// Begin the next file when one has been open for so long and something comes
    #[arg(long, value_name = "DURATION", value_parser = options::positive_duration)]
    rotate_every: Option<Duration>,
    /// Record what a subscriber delivers, who asks here for what is missing, or with none nobody; may be repeated
    #[arg(long, value_name = "ADDRESS:PORT|none", value_parser = options::optional_address)]
    recover_from: Vec<OptionalAddress>,
    /// Where a subscriber begins
    #[arg(long, value_name = "oldest|live|N", requires = "recover_from")]
    start: Option<Start>,
    /// End with the session that a subscriber follows
    #[arg(long, requires = "recover_from")]
    until_end: bool,
    /// The interface, by name or address, of lines that name none
    #[arg(long, value_name = "INTERFACE", default_value = "127.0.0.1")]
    interface: String,
    /// End after so many packets
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// End after so long
    #[arg(long, value_name = "DURATION", value_parser = options::positive_duration)]
    time: Option<Duration>,
    /// How much may wait for the disk; what comes beyond it is left out, and told
    #[arg(long, value_name = "BYTES", default_value = "64MiB", value_parser = options::bytes)]
    buffer: usize,
    /// Print the summary as JSON on standard output
    #[arg(long)]
    json: bool,
}

/// Reads the size of a file that has room for its beginning and a chunk.
fn rotation_bytes(text: &str) -> Result<u64, String> {
    const LEAST: usize = 4 * CHUNK_BYTES;
    match options::bytes(text)? {
        bytes if bytes < LEAST => Err(format!("'{text}' is less than 1MiB")),
        bytes => Ok(bytes as u64),
    }
}

/// Runs the subcommand.
#[must_use]
pub fn run(options: &Options) -> Outcome {
    match record(options) {
        Ok(outcome) | Err(outcome) => outcome,
    }
}

/// What is recorded.
enum Heard {
    Lines(Vec<LiveLine>),
    Subscriber(Box<Subscriber>),
}

fn record(options: &Options) -> Result<Outcome, Outcome> {
    let interrupt = Interrupt::new().map_err(|error| Outcome::failed(&error))?;
    // Before anything comes.
    let reserve = Reserve::new(options.buffer);
    let mut heard = open(options)?;
    let names: Vec<String> = options.lines.iter().map(ToString::to_string).collect();
    let (interfaces, description) = match heard {
        Heard::Lines(_) => (names.clone(), STAMPED),
        Heard::Subscriber(_) => (vec![names.join(" and ")], DELIVERED),
    };
    let beginning = pcapng::beginning(interfaces.iter().map(|name| (name.as_str(), description)));
    let rotation = Rotation { bytes: options.rotate_bytes, every: options.rotate_every.map(Nanos::from) };
    let files = Files::create(&options.output, rotation, beginning);
    let files = files.map_err(|error| Outcome::unwritable(&options.output, &error))?;
    let mut recorder = Recorder::new(files, reserve).map_err(|error| Outcome::failed(&error))?;
    let started = Clock::now();
    let limit = Limit::new(options.count, options.time);
    match &mut heard {
        Heard::Lines(lines) => lines::record(lines, &mut recorder, limit, &interrupt),
        Heard::Subscriber(subscriber) => {
            let (source, destination) = addresses(options);
            Packets::new(&mut recorder, source, destination).record(subscriber, limit, options.until_end, &interrupt);
        }
    }
    let elapsed = Clock::now() - started;
    let summary = Summary { names: &names, heard: &heard, recorded: recorder.finish(), elapsed };
    let mut outcome = summary.judge(&options.output);
    summary.print();
    if options.json
        && let Err(error) = writeln!(std::io::stdout().lock(), "{}", summary.json(outcome.code()))
    {
        outcome.add(Condition::Failed(format!("--json: {error}")));
    }
    Ok(outcome)
}

fn open(options: &Options) -> Result<Heard, Outcome> {
    if options.recover_from.is_empty() {
        let open = |line: &LineSource| {
            LiveLine::open(line, &options.interface).map_err(|error| match line.address() {
                Some(_) => Outcome::option(&line.to_string(), &*error),
                None => Condition::Settings(format!("{line}: {error}; add --recover-from none")).into(),
            })
        };
        return options.lines.iter().map(open).collect::<Result<_, _>>().map(Heard::Lines);
    }
    if options.recover_from.len() > 1 && options.recover_from.contains(&OptionalAddress::None) {
        let words = "--recover-from: none and an address exclude each other";
        return Err(Condition::Settings(words.to_owned()).into());
    }
    let mut builder = Subscriber::builder(SessionChoice::Any)
        .interface(&options.interface)
        .start(options.start.unwrap_or(Start::Oldest))
        .seed(Clock::unix_micros() ^ u64::from(std::process::id()));
    for (line, source) in Line::ALL.into_iter().zip(&options.lines) {
        builder = builder.line(line, source.clone());
    }
    for address in options.recover_from.iter().filter_map(|address| address.address()) {
        builder = builder.recover_from(address);
    }
    let subscriber = builder.open().map_err(|error| match error {
        OpenError::Interface(line, _) | OpenError::Line(line, _) => {
            Outcome::option(&options.lines[line.index()].to_string(), &error)
        }
        OpenError::RecoverFrom(..) => Outcome::option("--recover-from", &error),
        _ => Outcome::settings(&error),
    });
    Ok(Heard::Subscriber(Box::new(subscriber?)))
}

/// Between whom the packets of a subscriber are shown: from the first that is asked, to the first line. A ring has no
/// address, and stands for the group that publishers use unless told otherwise.
fn addresses(options: &Options) -> (SocketAddrV4, SocketAddrV4) {
    let source = options.recover_from.iter().find_map(|address| address.address());
    let destination = options.lines.iter().find_map(|line| match line.address()? {
        (LineAddress::Multicast(group), _) => Some(group.socket_address()),
        (LineAddress::Unicast(addresses), _) => addresses.socket_addresses().first().copied(),
    });
    let group = || DEFAULT_LINE_A.parse().expect("it is a group and a port");
    (source.unwrap_or(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)), destination.unwrap_or_else(group))
}
