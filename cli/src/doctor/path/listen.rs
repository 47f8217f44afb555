//! The far end: hears probes, and says of each run what it has heard.

use super::endpoint::{Arrival, Endpoint, Way};
use super::probe::{MAX_BURST, Message, Probe, Report, Stage, Tally};
use super::verdict::{Path, querier};
use super::{Lines, MAX_PEERS, Paths, identity, obstacles, title};
use crate::doctor::finding::Section;
use crate::interrupt::Interrupt;
use crate::live::Limit;
use crate::options;
use crate::outcome::{Condition, Outcome};
use crate::progress::Progress;
use crate::times;
use seqcast_recovery::{Line, Nanos};
use seqcast_transport::{Clock, IgmpListener, IgmpQuery, Interface, MulticastAddress, wait_readable};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// How often a listener shows itself on the group, for senders that it cannot hear.
const BEACON: Nanos = Nanos::from_millis(200);

/// How long answers go on after the end, whose first word may be lost.
const LINGER: Nanos = Nanos::from_millis(500);

/// The most answers to one run: several times what a sender asks for that hears none.
const MAX_ANSWERS: u32 = 1_000;

/// Listen for `doctor send` on another host, answer it, and tell what arrived
///
/// Examples:
///   seqcast doctor listen --line-a 239.1.1.1:30001@eth1
///   seqcast doctor listen --line-a 239.1.1.1:30001@eth1 --time 150s --json
///
/// It ends when a sender has tried every line, or when the time is over. It sends on the group, too,
/// five packets a second and an answer to each probe: valid MoldUDP64 packets of sessions whose names
/// begin with DOCTOR. Subscribers that have a session count them as foreign; one with --session any
/// that has none yet, or whose own is silent, would take this one.
#[derive(Clone, Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(in crate::doctor) struct ListenOptions {
    #[command(flatten)]
    lines: Lines,
    /// Listen for so long at the most; an IGMP querier asks about every two minutes
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = options::positive_duration)]
    time: Duration,
    /// Print what was found as JSON
    #[arg(long)]
    pub(in crate::doctor) json: bool,
}

/// What was heard of one sender.
#[derive(Debug)]
struct Run {
    id: u32,
    sender: SocketAddrV4,
    ttl: u8,
    full: usize,
    burst: u64,
    tally: Tally,
    /// A bit for each packet of the burst that has come.
    seen: Vec<u64>,
    /// One past the last of them.
    next: u64,
    multicast_back: bool,
    unicast_back: bool,
    answers: u32,
    has_ended: bool,
}

struct Listener<'a> {
    line: Line,
    group: &'a MulticastAddress,
    interface: Interface,
    id: u32,
    endpoint: Endpoint,
    runs: Vec<Run>,
    /// `None` where only root may listen.
    igmp: Option<IgmpListener>,
    query: Option<IgmpQuery>,
}

/// Listens until every line was tried or the time is over.
pub(in crate::doctor) fn listen(options: &ListenOptions) -> Result<Paths, Outcome> {
    let interrupt = Interrupt::new().map_err(|error| Outcome::failed(&error))?;
    let open = |(line, group)| Listener::open(&options.lines, line, group);
    let mut listeners = options.lines.each().map(open).collect::<Result<Vec<_>, _>>()?;
    let started = Clock::now();
    let limit = Limit::new(None, Some(options.time));
    let mut progress = Progress::new();
    progress.say(|| "listening; now `seqcast doctor send` on the other host".to_owned());
    let (mut beacon, mut end) = (started, Nanos::MAX);
    while let Some(timeout) = limit.wait().filter(|_| !interrupt.is_raised()) {
        let fds: Vec<_> = listeners.iter().flat_map(Listener::fds).collect();
        // A socket that cannot be waited for can still be asked.
        if wait_readable(&fds, Some(timeout.min(BEACON))).is_err() {
            std::thread::yield_now();
        }
        listeners.iter_mut().for_each(Listener::take);
        let now = Clock::now();
        if now >= beacon {
            beacon = now + BEACON;
            listeners.iter_mut().for_each(Listener::show);
        }
        if end == Nanos::MAX && listeners.iter().all(Listener::has_ended) {
            end = now + LINGER;
        }
        if now >= end {
            break;
        }
    }
    progress.clear();
    let mut paths = Paths::default();
    for listener in &listeners {
        listener.conclude(Clock::now() - started, &mut paths);
    }
    Ok(paths)
}

impl<'a> Listener<'a> {
    fn open(lines: &Lines, line: Line, group: &'a MulticastAddress) -> Result<Self, Outcome> {
        let interface = lines.interface(line, group)?;
        let id = identity();
        let endpoint = Endpoint::open(group, &interface, 1, id, group.port());
        let endpoint = endpoint.map_err(|error| Outcome::option(options::line(line), &error))?;
        let igmp = IgmpListener::open(&interface).ok();
        Ok(Self { line, group, interface, id, endpoint, runs: Vec::new(), igmp, query: None })
    }

    fn fds(&self) -> Vec<i32> {
        self.endpoint.fds().into_iter().chain(self.igmp.as_ref().map(AsRawFd::as_raw_fd)).collect()
    }

    fn has_ended(&self) -> bool {
        !self.runs.is_empty() && self.runs.iter().all(|run| run.has_ended)
    }

    /// Takes everything that has arrived.
    fn take(&mut self) {
        while let Some(arrival) = self.endpoint.receive() {
            let Message::Probe(probe) = &arrival.message else { continue };
            let Some(index) = find(&mut self.runs, probe, arrival.sender) else { continue };
            let run = &mut self.runs[index];
            run.hear(probe, &arrival, self.id);
            if probe.stage != Stage::Burst && run.answers < MAX_ANSWERS {
                run.answers += 1;
                self.answer(index, &[Way::Multicast, Way::Unicast(self.runs[index].sender)]);
            }
        }
        while let Some(query) = self.igmp.as_ref().and_then(|igmp| igmp.recv().ok().flatten()) {
            self.query = Some(query);
        }
    }

    /// Says what was heard of a run.
    fn answer(&mut self, index: usize, ways: &[Way]) {
        let Run { id, mut tally, .. } = self.runs[index];
        tally.kernel_drops = self.endpoint.kernel_drops();
        self.report(Some(id), tally, ways);
    }

    fn report(&mut self, run: Option<u32>, tally: Tally, ways: &[Way]) {
        let report = Message::Report(Report { listener: self.id, port: self.endpoint.port(), run, tally });
        for &way in ways {
            self.endpoint.send(way, &report, 0);
        }
    }

    /// Shows itself on the group, whether or not anybody was heard.
    fn show(&mut self) {
        if self.runs.is_empty() {
            self.report(None, Tally::default(), &[Way::Multicast]);
        }
        for index in 0..self.runs.len() {
            self.answer(index, &[Way::Multicast]);
        }
    }

    fn conclude(&self, time: Nanos, paths: &mut Paths) {
        let mut findings = Vec::new();
        for run in &self.runs {
            let Run { ttl, full, burst, mut tally, multicast_back, unicast_back, .. } = *run;
            tally.kernel_drops = self.endpoint.kernel_drops();
            let (group, sender, listener) = (self.group.socket_address(), *run.sender.ip(), self.interface.address);
            let path = Path { group, sender, listener, tally, multicast_back, unicast_back, ttl, full, burst };
            findings.extend(path.findings());
            paths.json.push(path.json());
        }
        let title = title(self.line, self.group);
        if self.runs.is_empty() {
            let words = format!("{title}: no `doctor send` was heard in {}", times::in_words(time));
            paths.unheard.push(Condition::Unheard(words));
        }
        findings.extend(obstacles(&self.endpoint, self.group, &self.interface, true));
        if !self.interface.is_loopback {
            let heard = self.igmp.as_ref().map(|_| self.query);
            findings.push(querier(heard, time, self.group.socket_address(), &self.interface.name));
        }
        paths.sections.push(Section { title, findings });
    }
}

/// Where the run of a probe stands in `runs`; a new one is added while there is room.
fn find(runs: &mut Vec<Run>, probe: &Probe, sender: Ipv4Addr) -> Option<usize> {
    let sender = SocketAddrV4::new(sender, probe.port);
    if let Some(index) = runs.iter().position(|run| run.id == probe.run && run.sender == sender) {
        return Some(index);
    }
    if runs.len() >= MAX_PEERS {
        return None;
    }
    runs.push(Run {
        id: probe.run,
        sender,
        ttl: probe.ttl,
        full: 0,
        burst: 0,
        tally: Tally::default(),
        seen: Vec::new(),
        next: 0,
        multicast_back: false,
        unicast_back: false,
        answers: 0,
        has_ended: false,
    });
    Some(runs.len() - 1)
}

impl Run {
    fn hear(&mut self, probe: &Probe, arrival: &Arrival, listener: u32) {
        let tally = &mut self.tally;
        if let Some(heard) = probe.heard.iter().find(|heard| heard.listener == listener) {
            self.multicast_back |= heard.multicast;
            self.unicast_back |= heard.unicast;
        }
        self.burst = self.burst.max(probe.burst.min(MAX_BURST));
        match probe.stage {
            Stage::Burst => return self.hear_burst(probe.index),
            Stage::Size => self.full = probe.full,
            // What the kernel refused to send has not left.
            Stage::End => (self.burst, self.has_ended) = (probe.burst.min(MAX_BURST), true),
            Stage::Hello => {}
        }
        let (number, largest) = if arrival.is_multicast {
            tally.ttl = arrival.ttl.into_iter().chain(tally.ttl).min();
            (&mut tally.multicast, &mut tally.largest_multicast)
        } else {
            (&mut tally.unicast, &mut tally.largest_unicast)
        };
        *number += 1;
        *largest = arrival.bytes.max(*largest);
    }

    fn hear_burst(&mut self, index: u64) {
        if index >= self.burst {
            return;
        }
        let (word, bit) = ((index / 64) as usize, 1 << (index % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        if self.seen[word] & bit != 0 {
            self.tally.duplicates += 1;
            return;
        }
        self.seen[word] |= bit;
        self.tally.burst += 1;
        self.tally.reordered += u64::from(index < self.next);
        self.next = self.next.max(index + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(stage: Stage, index: u64) -> Probe {
        Probe { run: 7, stage, port: 9, ttl: 1, full: 1_472, burst: 100, index, heard: Vec::new() }
    }

    fn arrival(is_multicast: bool, bytes: usize, ttl: u8) -> Arrival {
        let message = Message::Probe(probe(Stage::Hello, 0));
        Arrival { message, sender: Ipv4Addr::LOCALHOST, is_multicast, bytes, ttl: Some(ttl) }
    }

    fn run() -> Run {
        let mut runs = Vec::new();
        find(&mut runs, &probe(Stage::Hello, 0), Ipv4Addr::LOCALHOST).unwrap();
        runs.remove(0)
    }

    #[test]
    fn a_burst_is_counted_once_and_what_is_late_or_twice_is_told() {
        let mut run = run();
        for index in [0, 1, 3, 2, 2, 99, 98, 100, u64::MAX] {
            run.hear(&probe(Stage::Burst, index), &arrival(true, 1_472, 1), 5);
        }
        let Tally { burst, duplicates, reordered, multicast, .. } = run.tally;
        assert_eq!((burst, duplicates, reordered, multicast, run.burst), (6, 1, 2, 0, 100));
    }

    #[test]
    fn each_way_is_counted_on_its_own_and_the_sender_tells_of_the_way_back() {
        let mut run = run();
        run.hear(&probe(Stage::Hello, 0), &arrival(true, 548, 3), 5);
        run.hear(&probe(Stage::Size, 0), &arrival(true, 1_400, 2), 5);
        let heard =
            [4, 5].map(|listener| super::super::probe::Heard { listener, multicast: listener == 5, unicast: false });
        let end = Probe { heard: heard.to_vec(), ..probe(Stage::End, 0) };
        run.hear(&end, &arrival(false, 548, 64), 5);
        let Tally { multicast, unicast, largest_multicast, largest_unicast, ttl, .. } = run.tally;
        assert_eq!((multicast, unicast, largest_multicast, largest_unicast, ttl), (2, 1, 1_400, 548, Some(2)));
        assert_eq!((run.multicast_back, run.unicast_back, run.has_ended, run.full), (true, false, true, 1_472));
    }

    #[test]
    fn strangers_beyond_the_limit_are_not_kept() {
        let mut runs = Vec::new();
        for id in 0..100 {
            find(&mut runs, &Probe { run: id, ..probe(Stage::Hello, 0) }, Ipv4Addr::LOCALHOST);
        }
        assert_eq!(runs.len(), MAX_PEERS);
    }
}
