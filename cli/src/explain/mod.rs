//! `seqcast explain`: what happened to the feeds of this host, why, and what to change.
//!
//! The files of counters of all processes and what the kernel says of them are read twice, a moment apart; everything else is a
//! pure function of that. Subscribers and whoever answers them are joined by session, and by the address that requests leave
//! from. What the numbers do not show is told as not known.

mod answers;
mod busy;
mod clients;
mod counters;
mod finding;
mod gaps;
mod host;
mod life;
mod lines;
mod presence;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use crate::doctor::finding::{Level, judge};
use crate::outcome::{Condition, Outcome};
use crate::stats::Directory;
use finding::Finding;
use host::Host;
use serde_json::json;
use std::io::{ErrorKind, Write};

/// Say what happened to the feeds of this host, why, and what to change
///
/// Examples:
///   seqcast explain
///   seqcast explain EQ20261121 --json
///   seqcast explain EQ20261121 --gap 1204
///
/// It reads the counters that publishers, retransmitters and subscribers keep (--stats), also those
/// that a process left which was killed, and what the kernel says of their sockets. It changes
/// nothing. Both sides are joined where they run on this host; elsewhere, ask there, too.
///
/// Exit codes: 0 nothing but notes, 3 warnings, 1 problems: messages lost, somebody gone or stopped;
/// 4 nobody keeps counters here, or nobody of that feed.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Options {
    /// Only this session, or the process with this id
    #[arg(value_name = "FEED")]
    feed: Option<String>,
    /// The whole life of the gaps that hold this number
    #[arg(long, value_name = "N")]
    gap: Option<u64>,
    #[command(flatten)]
    directory: Directory,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
#[must_use]
pub fn run(options: &Options) -> Outcome {
    let host = match Host::read(&options.directory) {
        Ok(host) => host,
        Err(outcome) => return outcome,
    };
    let is_wanted = |finding: &Finding| options.feed.as_deref().is_none_or(|feed| finding.is_about(feed));
    let mut findings = explain(&host);
    findings.retain(is_wanted);
    if findings.is_empty() {
        let whom = options.feed.as_ref().map_or_else(String::new, |feed| format!(" of {feed}"));
        return Condition::Unheard(format!("nobody{whom} keeps counters in {}", options.directory.path.display()))
            .into();
    }
    let lives = options.gap.map(|number| life::of(&host, number, options.feed.as_deref()));
    if let Some(lives) = &lives {
        // What the gap says of itself is all that is asked for.
        findings.retain(|finding| lives.iter().any(|life| life.is_explained_by(finding)));
    }
    let levels: Vec<_> = findings.iter().map(|finding| finding.level).collect();
    let mut outcome = judge(&levels);
    let words = if options.json {
        let gaps = lives.as_ref().map(|lives| lives.iter().map(life::Life::json).collect::<Vec<_>>());
        let findings = finding::json(&findings);
        format!("{}\n", json!({ "gaps": gaps, "findings": findings, "exit_code": outcome.code() }))
    } else {
        let lives = lives.iter().flatten().map(life::Life::in_words);
        lives.chain([finding::in_words(&findings)]).collect()
    };
    match std::io::stdout().lock().write_all(words.as_bytes()) {
        // A reader that has read enough, as `head`, is no failure.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            outcome.add(Condition::Failed(format!("standard output: {error}")));
        }
        _ => {}
    }
    outcome
}

/// What happened to everybody, the worst first; of whom nothing is to be told, what shows that.
fn explain(host: &Host) -> Vec<Finding> {
    let mut findings = Vec::new();
    for process in &host.processes {
        let mut found = if process.is_subscriber() {
            let mut found = presence::of_subscriber(host, process);
            found.extend(busy::slow(host, process));
            found.extend(lines::findings(host, process));
            found.extend(answers::findings(host, process));
            found
        } else {
            presence::of_server(host, process).into_iter().chain(counters::refused(host, process)).collect()
        };
        found.extend(counters::alarms(process));
        if found.iter().all(|finding| finding.level == Level::Note) && !process.is_dead() {
            found.push(counters::fine(process));
        }
        findings.extend(found);
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    findings
}
