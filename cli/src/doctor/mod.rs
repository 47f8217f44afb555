//! `seqcast doctor`: what of the host and the network is in the way, why it matters, and what mends it.

pub(crate) mod finding;
mod firewall;
pub(crate) mod host;
mod interface;
mod path;
mod placement;
pub(crate) mod system;

use crate::options;
use crate::outcome::{Condition, Outcome};
use finding::{Finding, Level, Section};
use firewall::Traffic;
use path::{Lines, ListenOptions, Paths, SendOptions};
use seqcast_subscriber::RECEIVE_BUFFER_BYTES;
use seqcast_transport::{Ethtool, Interface, UnicastSocket};
use serde_json::json;
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use system::System;

/// Find what of the host and the network is in the way, and the command that mends it
///
/// Examples:
///   seqcast doctor --line-a 239.1.1.1:30001@eth1 --line-b 239.1.2.1:30001@eth2
///   seqcast doctor --interface eth1 --max-datagram 8972 --json
///   seqcast doctor listen --line-a 239.1.1.1:30001@eth1          # on one host
///   seqcast doctor send --line-a 239.1.1.1:30001@eth1            # on another
///
/// It changes nothing, and without a subcommand it sends nothing. What cannot be seen, mostly for
/// want of root, is told as such. Exit codes: 0 nothing but notes, 3 warnings, 1 problems; 4 when
/// listen or send heard nobody and no problem was found.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, args_conflicts_with_subcommands = true)]
pub struct Options {
    #[command(subcommand)]
    path: Option<PathCommand>,
    #[command(flatten)]
    lines: Lines,
    /// The longest packet that should pass, 548 to 65507 bytes, without IP and UDP headers
    #[arg(long, value_name = "BYTES", default_value = "1472", value_parser = max_datagram)]
    max_datagram: usize,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum PathCommand {
    Listen(ListenOptions),
    Send(SendOptions),
}

/// Reads the size of a datagram that every host takes and IPv4 can carry.
fn max_datagram(text: &str) -> Result<usize, String> {
    /// What IP lets through anywhere (RFC 791), and what fits into its longest packet, without headers.
    const SIZES: std::ops::RangeInclusive<usize> = 548..=65_507;
    let bytes = options::bytes(text)?;
    SIZES.contains(&bytes).then_some(bytes).ok_or_else(|| format!("'{text}' is not 548 to 65507 bytes"))
}

/// Runs the subcommand.
#[must_use]
pub fn run(options: &Options) -> Outcome {
    let (found, is_json) = match &options.path {
        None => (Ok(Paths { sections: examine(options), ..Paths::default() }), options.json),
        Some(PathCommand::Listen(options)) => (path::listen(options), options.json),
        Some(PathCommand::Send(options)) => (path::send(options), options.json),
    };
    let Paths { sections, json, unheard } = match found {
        Ok(found) => found,
        Err(outcome) => return outcome,
    };
    let levels: Vec<_> = sections.iter().flat_map(|section| &section.findings).map(|finding| finding.level).collect();
    let mut outcome = finding::judge(&levels);
    unheard.into_iter().for_each(|condition| outcome.add(condition));
    let words = if is_json {
        let findings = finding::json(&sections);
        format!("{}\n", json!({ "findings": findings, "paths": json, "exit_code": outcome.code() }))
    } else {
        finding::in_words(&sections)
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

/// Everything about the host and the interfaces of the lines.
fn examine(options: &Options) -> Vec<Section> {
    let system = System::at("/");
    let socket = UnicastSocket::open(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), Some(RECEIVE_BUFFER_BYTES));
    let granted = socket.ok().map(|socket| socket.buffer());
    let mut sections =
        vec![Section { title: "host".to_owned(), findings: host::findings(&system, granted, options.max_datagram) }];
    let (mut names, mut cards, mut looked_at) = (Vec::new(), Vec::new(), Vec::new());
    for (line, group) in options.lines.each() {
        let name = options.lines.interface_name(group);
        let interface = match Interface::resolve(&name) {
            Ok(interface) => interface,
            Err(error) => {
                let title = format!("interface {name}");
                sections.push(Section { title, findings: vec![interface::unusable(&error)] });
                continue;
            }
        };
        if !names.contains(&interface.name) {
            names.push(interface.name.clone());
            cards.extend((!interface.is_loopback).then(|| interface.name.clone()));
            let ethtool = Ethtool::read(&interface.name);
            let findings = interface::findings(&system, &interface, &ethtool, options.max_datagram);
            sections.push(Section { title: format!("interface {interface}"), findings });
        }
        let title = format!("line {line:?} {}@{}", group.socket_address(), interface.name);
        looked_at.push((title, interface.name, group.socket_address()));
    }
    sections.push(Section { title: "placement".to_owned(), findings: placement::findings(&system, &cards) });
    for (title, interface, destination) in looked_at {
        let of = |is_inbound| firewall::findings(&Traffic { interface: interface.clone(), destination, is_inbound });
        let mut findings = of(true);
        findings.extend(of(false).into_iter().filter(|finding| !findings.contains(finding)).collect::<Vec<_>>());
        sections.push(Section { title, findings });
    }
    if cards.is_empty() && !names.is_empty() {
        let why = "it is the default; what goes wrong on a real network is seen on its interface";
        let others = Finding::new(Level::Note, "interfaces", "only loopback was looked at", why);
        let present = system.names("sys/class/net").into_iter().filter(|name| name != "lo").collect::<Vec<_>>();
        let others = match present.first() {
            Some(first) => {
                others.mend(format!("seqcast doctor --interface {first}    # there are: {}", present.join(", ")))
            }
            None => others,
        };
        sections[0].findings.push(others);
    }
    sections
}
