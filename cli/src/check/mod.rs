//! `seqcast check`: what is wrong with a capture.
//!
//! Memory is constant whatever the size of the captures: about 3 MiB for one feed, 70 MiB for 32 lines, which are the most
//! that are followed, besides what reading takes ([`Frames`]).

mod comparison;
mod numbers;
mod report;
mod sessions;
mod timing;

pub use report::Report;
pub(crate) use timing::{receive_buffer, truesize};

use crate::input::{Frame, Frames, InputError};
use crate::interrupt::Interrupt;
use crate::outcome::{Condition, Outcome, chain};
use crate::progress::Progress;
use seqcast_recovery::Nanos;
use seqcast_transport::Clock;
use sessions::{Position, Sessions};
use std::io::{ErrorKind, Write};
use std::net::SocketAddrV4;
use std::path::PathBuf;

/// Check a capture, or one of each line: gaps, duplicates, differences, heartbeats, bursts
///
/// Examples:
///   seqcast check day.pcapng
///   seqcast check line-a.pcap.gz line-b.pcap.gz --json
///   seqcast check day.pcapng --line 239.1.1.1:30001 --line 239.1.2.1:30001
///
/// Two lines of a session, in one file or in two, are compared message by message, by number and
/// bytes.
///
/// Exit codes: 0 nothing found; 3 something found: messages missing on a line, other bytes, numbers
/// that begin again, malformed packets; 1 a capture that cannot be read, or holds no packet.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Options {
    /// A capture, or two: pcap or pcapng, gzip-compressed or not
    #[arg(value_name = "FILE", required = true, num_args = 1..=2)]
    files: Vec<PathBuf>,
    /// Look only at what is sent here; may be repeated
    #[arg(long, value_name = "ADDRESS:PORT")]
    line: Vec<SocketAddrV4>,
    /// Print what is found as a JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
#[must_use]
pub fn run(options: &Options) -> Outcome {
    match check(options) {
        Ok(outcome) | Err(outcome) => outcome,
    }
}

fn check(options: &Options) -> Result<Outcome, Outcome> {
    let interrupt = Interrupt::new().map_err(|error| Outcome::failed(&error))?;
    let files = options.files.iter().map(Frames::open).collect::<Result<Vec<_>, _>>();
    let mut captures = Captures::new(files.map_err(|error| Outcome::failed(&error))?, &options.line);
    let mut progress = Progress::of("frames");
    let mut failure = None;
    while !interrupt.is_raised() {
        match captures.step() {
            Ok(true) => {}
            Ok(false) => break,
            // What comes before the damage is reported.
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
        progress.update(Clock::now(), captures.sessions.counters.frames, || captures.progress());
    }
    progress.clear();
    for warning in captures.warnings() {
        tracing::warn!("{warning}");
    }
    let report = captures.finish();
    let mut outcome = report.judge();
    match failure {
        Some(error) => outcome.add(Condition::Failed(chain(&error))),
        None if report.is_empty() => {
            outcome.add(Condition::Failed("there is no IEX-TP or MoldUDP64 packet".to_owned()));
        }
        None => {}
    }
    if interrupt.is_raised() {
        outcome.add(Condition::Failed("interrupted before the end".to_owned()));
    }
    let mut stdout = std::io::stdout().lock();
    let written = if options.json {
        writeln!(stdout, "{}", report.json(outcome.code()))
    } else {
        report.in_words().iter().try_for_each(|words| writeln!(stdout, "{words}"))
    };
    // A reader that has read enough, as `head`, is no failure.
    if let Err(error) = written
        && error.kind() != ErrorKind::BrokenPipe
    {
        outcome.add(Condition::Failed(format!("standard output: {error}")));
    }
    Ok(outcome)
}

/// One or two captures, read side by side.
#[derive(Debug)]
pub struct Captures {
    files: Vec<Open>,
    /// The destinations that are looked at; all if there are none.
    wanted: Vec<SocketAddrV4>,
    sessions: Sessions,
}

#[derive(Debug)]
struct Open {
    frames: Frames,
    has_ended: bool,
    /// How far it has come.
    position: Option<Position>,
    time: Option<Nanos>,
}

impl Captures {
    /// Reads one or two captures; only what is sent to `wanted`, if that names any.
    #[must_use]
    pub fn new(files: Vec<Frames>, wanted: &[SocketAddrV4]) -> Self {
        let sessions = Sessions::new(files.len() > 1);
        let open = |frames| Open { frames, has_ended: false, position: None, time: None };
        Self { files: files.into_iter().map(open).collect(), wanted: wanted.to_vec(), sessions }
    }

    /// Takes the next frame; `false` when there is none.
    ///
    /// # Errors
    ///
    /// When a capture cannot be read on or is damaged. What came before stays.
    pub fn step(&mut self) -> Result<bool, InputError> {
        let Some(index) = self.furthest_behind() else { return Ok(false) };
        let file = &mut self.files[index];
        let Some(Frame { time, datagram, payload_offset, .. }) = file.frames.next()? else {
            file.has_ended = true;
            return Ok(true);
        };
        file.time = time.or(file.time);
        match datagram {
            Ok(datagram) if self.wanted.is_empty() || self.wanted.contains(&datagram.destination) => {
                let position = self.sessions.handle(index, time, payload_offset, &datagram);
                file.position = position.or(file.position);
            }
            Ok(_) => {}
            Err(skipped) => self.sessions.skip(skipped),
        }
        Ok(true)
    }

    /// Which file to read on. Within one session both keep to the same numbers, however far apart their clocks are; else
    /// to the same time.
    fn furthest_behind(&self) -> Option<usize> {
        match &self.files[..] {
            [first, second] if !first.has_ended && !second.has_ended => {
                let is_second = match (first.position, second.position) {
                    (Some((a, ..)), Some((b, ..))) if a == b => second.position < first.position,
                    _ => second.time < first.time,
                };
                Some(usize::from(is_second))
            }
            files => files.iter().position(|file| !file.has_ended),
        }
    }

    /// What was found so far, or in all when there is no more.
    #[must_use]
    pub fn finish(self) -> Report {
        let names = self.files.iter().map(|file| file.frames.name().to_owned()).collect();
        Report::new(self.sessions, names)
    }

    fn progress(&self) -> String {
        let percent = |file: &Open| file.frames.percent_read().map(|percent| format!("{percent} %"));
        let read: Vec<_> = self.files.iter().filter_map(percent).collect();
        format!("{} read", read.join(" and "))
    }

    fn warnings(&self) -> Vec<String> {
        let of = |file: &Open| {
            let name = file.frames.name().to_owned();
            file.frames.warnings().into_iter().map(move |warning| format!("{name}: {warning}"))
        };
        self.files.iter().flat_map(of).collect()
    }
}
