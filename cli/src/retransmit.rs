//! `seqcast retransmit`: answers for the ring of a publisher in another process, dead or alive.

use crate::headroom;
use crate::interrupt::Interrupt;
use crate::log::Words;
use crate::options::{self, DEFAULT_REQUESTS, DESTINATION_FORM};
use crate::outcome::{Condition, Outcome};
use crate::progress::count;
use crate::publish::option_of;
use crate::repair::{self, RepairOptions};
use crate::stats_option::StatsOption;
use seqcast_protocol::SessionId;
use seqcast_publisher::{
    ClientReport, Headroom, Line, LineDestination, OpenError, Publisher, Retransmitter, RingFileError,
};
use seqcast_recovery::Nanos;
use seqcast_transport::{set_short_slice, wait_readable};
use serde_json::json;
use std::io::{ErrorKind, Write};
use std::net::SocketAddrV4;
use std::path::PathBuf;

/// How often a ring that is not there yet is looked for, and signals that came just before a wait are seen.
const LONGEST_WAIT: Nanos = Nanos::from_millis(100);

/// Answer requests from the ring of a publisher in another process, while it lives and after it died
///
/// Examples:
///   seqcast publish --input feed.pcap.gz --ring /dev/shm/feed --requests none
///   seqcast retransmit --ring /dev/shm/feed --line-a 239.255.77.1:30001
///
/// The publisher leaves answering to it with --requests none. Given the lines, it sends heartbeats
/// on them while nobody writes the ring, so that subscribers find the last messages; never an end of
/// session. It serves until it is interrupted.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Options {
    /// The ring; it need not be there yet
    #[arg(long, value_name = "FILE")]
    ring: PathBuf,
    /// The publisher's line A, for heartbeats
    #[arg(long, value_name = DESTINATION_FORM)]
    line_a: Option<LineDestination>,
    /// The publisher's line B, for heartbeats
    #[arg(long, value_name = DESTINATION_FORM)]
    line_b: Option<LineDestination>,
    /// The interface, by name or address, of lines that name none
    #[arg(long, value_name = "INTERFACE", default_value = "127.0.0.1")]
    interface: String,
    /// How many networks a heartbeat may cross; unless given, 1 to a group, the system's default to unicast addresses
    #[arg(long, value_name = "N")]
    ttl: Option<u8>,
    /// Where requests are answered
    #[arg(long, value_name = "ADDRESS:PORT", default_value = DEFAULT_REQUESTS)]
    requests: SocketAddrV4,
    #[command(flatten)]
    repair: RepairOptions,
    /// The longest answer, 64 to 65507 bytes, without IP and UDP headers
    #[arg(long, value_name = "BYTES", default_value = "1472", value_parser = options::bytes)]
    max_datagram: usize,
    #[command(flatten)]
    stats: StatsOption,
    /// Print the summary as JSON on standard output
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
#[must_use]
pub fn run(options: &Options) -> Outcome {
    match retransmit(options) {
        Ok(outcome) | Err(outcome) => outcome,
    }
}

fn retransmit(options: &Options) -> Result<Outcome, Outcome> {
    let interrupt = Interrupt::new().map_err(|error| Outcome::failed(&error))?;
    let Some(mut retransmitter) = open(options, &interrupt)? else { return Ok(Outcome::default()) };
    // Where it cannot be had, answers wait for a slice of whoever spins on this core.
    let _ = set_short_slice();
    options.repair.prepare_thread()?;
    let fds = retransmitter.fds();
    let mut retained = retransmitter.retained();
    while !interrupt.is_raised() {
        if retransmitter.do_work() == 0 {
            // Looked at now and then, so that it knows the present rate.
            retained = retransmitter.retained();
        }
        let timeout = retransmitter.timeout().min(LONGEST_WAIT);
        wait_readable(&fds, Some(timeout)).map_err(|error| Outcome::failed(&error))?;
    }
    let mut outcome = Outcome::default();
    print(&retransmitter, retained.as_ref());
    if options.json
        && let Err(error) = writeln!(std::io::stdout().lock(), "{}", summary(&retransmitter, retained.as_ref()))
    {
        outcome.add(Condition::Failed(format!("--json: {error}")));
    }
    Ok(outcome)
}

/// Waits for the ring, as long as nobody interrupts.
fn open(options: &Options, interrupt: &Interrupt) -> Result<Option<Retransmitter>, Outcome> {
    let mut has_told = false;
    while !interrupt.is_raised() {
        // A name that counts for nothing: that of the ring does.
        let mut builder = Publisher::builder(SessionId::UNKNOWN)
            .ring(&options.ring)
            .interface(&options.interface)
            .requests(options.requests)
            .max_datagram(options.max_datagram);
        for (line, destination) in [(Line::A, &options.line_a), (Line::B, &options.line_b)] {
            if let Some(destination) = destination {
                builder = builder.line(line, destination.clone());
            }
        }
        if let Some(ttl) = options.ttl {
            builder = builder.ttl(ttl);
        }
        if let Some(directory) = options.stats.directory() {
            builder = builder.stats(directory).stats_fact("command", &options::command_line());
        }
        match options.repair.apply(builder).open_retransmitter() {
            Ok(retransmitter) => return Ok(Some(retransmitter)),
            Err(OpenError::RingFile(_, RingFileError::Io(error))) if error.kind() == ErrorKind::NotFound => {
                if !has_told {
                    tracing::info!("waiting for {}", options.ring.display());
                    has_told = true;
                }
                wait_readable(&[], Some(LONGEST_WAIT)).map_err(|error| Outcome::failed(&error))?;
            }
            Err(error) => {
                return Err(match option_of(&error) {
                    Some(option) => Outcome::option(option, &error),
                    None => Outcome::settings(&error),
                });
            }
        }
    }
    Ok(None)
}

fn print(retransmitter: &Retransmitter, retained: Option<&Headroom>) {
    let counters = retransmitter.counters();
    let responder = &counters.responder;
    let mut stderr = Words::default();
    // There is nobody to tell when standard error is gone.
    let _ = writeln!(
        stderr,
        "session {}: {} answered with {} ({}), {} told that it is overwritten, {} without an answer; {}",
        retransmitter.session(),
        count(responder.requests, "request"),
        count(responder.retransmissions, "retransmission"),
        count(responder.messages, "message"),
        responder.overwritten,
        responder.refused.iter().sum::<u64>(),
        count(counters.heartbeats, "heartbeat"),
    );
    if let Some(retained) = retained {
        let _ = writeln!(stderr, "retained: {}", headroom::in_words(retained));
    }
    for words in repair::clients_in_words(&clients(retransmitter)) {
        let _ = writeln!(stderr, "{words}");
    }
}

fn summary(retransmitter: &Retransmitter, retained: Option<&Headroom>) -> serde_json::Value {
    let counters = retransmitter.counters();
    let clients = clients(retransmitter);
    json!({
        "session": retransmitter.session().to_string(),
        "retained": headroom::json(retained),
        "requests": counters.responder.requests,
        "retransmissions": counters.responder.retransmissions,
        "retransmitted_messages": counters.responder.messages,
        "overwritten": counters.responder.overwritten,
        "requests_refused": repair::refusals_json(&counters.responder),
        "clients": repair::clients_json(&clients),
        "client_count": clients.len(),
        "answers_refused": counters.refused_sends,
        "heartbeats": counters.heartbeats,
    })
}

fn clients(retransmitter: &Retransmitter) -> Vec<ClientReport> {
    retransmitter.clients().copied().collect()
}
