//! The near end: calls, tries sizes, sends a burst, and asks what of it arrived.

use super::endpoint::{Arrival, Endpoint, Way};
use super::probe::{Heard, MAX_BURST, Message, Probe, ROOM_BYTES, Report, Stage, Tally};
use super::verdict::Path;
use super::{Lines, MAX_PEERS, Paths, identity, obstacles, title};
use crate::doctor::finding::Section;
use crate::doctor::max_datagram;
use crate::interrupt::Interrupt;
use crate::options;
use crate::outcome::{Condition, Outcome};
use crate::pace::{Pace, Schedule, wait_until};
use crate::progress::Progress;
use seqcast_recovery::{Line, Nanos};
use seqcast_transport::{Clock, Interface, MulticastAddress, wait_readable};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// From one call to the next.
const CALL: Nanos = Nanos::from_millis(100);

/// From one word of the end to the next; together they take half of what a listener lingers.
const FAREWELL: Nanos = Nanos::from_millis(50);

/// How long every way has to pass after the first answer: twenty calls, of which a network that loses half of them
/// loses all once in a million times.
const SETTLE: Nanos = Nanos::from_millis(2_000);

/// How often a size is tried, and the result of a burst asked for, before it is given up. Arbitrary: at a loss of 10 %, all of
/// them are lost once in a hundred thousand times.
const TRIES: usize = 5;

/// Packets of a burst between two looks at what has arrived, so that the receive buffer has room for answers.
const BETWEEN_LOOKS: u64 = 64;

/// Send probes to `doctor listen` on another host, and tell what became of them
///
/// Examples:
///   seqcast doctor send --line-a 239.1.1.1:30001@eth1
///   seqcast doctor send --line-a 239.1.1.1:30001@eth1 --to 10.1.0.9 --max-datagram 8972 --ttl 8
///   seqcast doctor send --line-a 239.1.1.1:30001@eth1 --count 100000 --pace 50000/s --json
///
/// It ends by itself, after some seconds. Probes are valid MoldUDP64 packets of sessions whose names
/// begin with DOCTOR. Subscribers that have a session count them as foreign; one with --session any
/// that has none yet, or whose own is silent, would take this one.
#[derive(Clone, Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(in crate::doctor) struct SendOptions {
    #[command(flatten)]
    lines: Lines,
    /// The address of the listener, to be told whether unicast passes where no multicast does
    #[arg(long, value_name = "ADDRESS")]
    to: Option<Ipv4Addr>,
    /// How long to call before nobody is there
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = options::positive_duration)]
    wait: Duration,
    /// How many networks a probe may cross
    #[arg(long, value_name = "N", default_value_t = 1)]
    ttl: u8,
    /// The longest packet that should pass, 548 to 65507 bytes, without IP and UDP headers
    #[arg(long, value_name = "BYTES", default_value = "1472", value_parser = max_datagram)]
    max_datagram: usize,
    /// How many packets the burst has, 1000000 at the most
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=MAX_BURST))]
    count: u64,
    /// How fast the burst leaves: N/s, or max
    #[arg(long, value_name = "PACE", default_value = "10000/s", value_parser = pace)]
    pace: Pace,
    /// Print what was found as JSON
    #[arg(long)]
    pub(in crate::doctor) json: bool,
}

/// Reads a pace that needs no recording.
fn pace(text: &str) -> Result<Pace, String> {
    text.parse().and_then(|pace| match pace {
        Pace::Recorded(_) => Err(format!("'{text}': nothing is recorded here; N/s such as 10000/s, or max")),
        pace => Ok(pace),
    })
}

/// A listener that was heard.
#[derive(Debug)]
struct Peer {
    id: u32,
    address: SocketAddrV4,
    multicast_back: bool,
    unicast_back: bool,
    tally: Tally,
}

struct Sender<'a> {
    options: &'a SendOptions,
    interrupt: &'a Interrupt,
    line: Line,
    group: &'a MulticastAddress,
    interface: Interface,
    run: u32,
    endpoint: Endpoint,
    peers: Vec<Peer>,
    /// Packets of the burst that left.
    burst: u64,
    /// Whether sizes were tried.
    has_sized: bool,
}

/// Tries one line after the other.
pub(in crate::doctor) fn send(options: &SendOptions) -> Result<Paths, Outcome> {
    let interrupt = Interrupt::new().map_err(|error| Outcome::failed(&error))?;
    let mut paths = Paths::default();
    for (line, group) in options.lines.each() {
        let mut sender = Sender::open(options, &interrupt, line, group)?;
        sender.run();
        sender.conclude(&mut paths);
    }
    Ok(paths)
}

impl<'a> Sender<'a> {
    fn open(
        options: &'a SendOptions,
        interrupt: &'a Interrupt,
        line: Line,
        group: &'a MulticastAddress,
    ) -> Result<Self, Outcome> {
        let interface = options.lines.interface(line, group)?;
        let run = identity();
        let endpoint = Endpoint::open(group, &interface, options.ttl, run, 0);
        let endpoint = endpoint.map_err(|error| Outcome::option(options::line(line), &error))?;
        let peers = Vec::new();
        Ok(Self { options, interrupt, line, group, interface, run, endpoint, peers, burst: 0, has_sized: false })
    }

    fn run(&mut self) {
        let mut progress = Progress::new();
        let name = title(self.line, self.group);
        progress.say(|| format!("{name}: calling"));
        self.meet();
        if self.peers.iter().any(|peer| peer.tally.multicast > 0) {
            progress.say(|| format!("{name}: trying sizes"));
            let bytes = self.largest();
            progress.say(|| format!("{name}: {} packets of {bytes} bytes", self.options.count));
            self.send_burst(bytes);
        }
        for _ in 0..TRIES {
            if !self.peers.is_empty() {
                self.call(Stage::End, ROOM_BYTES);
                self.hear(Clock::now() + FAREWELL, |_| false);
            }
        }
        progress.clear();
    }

    /// Calls until every way to every listener is known to pass, or has had its time.
    fn meet(&mut self) {
        let mut end = Clock::now() + self.options.wait.into();
        let mut is_first = true;
        while Clock::now() < end && !self.interrupt.is_raised() {
            self.call(Stage::Hello, ROOM_BYTES);
            let is_known = |peer: &Peer| {
                let Tally { multicast, unicast, .. } = peer.tally;
                multicast > 0 && unicast > 0 && peer.multicast_back && peer.unicast_back
            };
            let all = self.hear(Clock::now() + CALL, |peers| !peers.is_empty() && peers.iter().all(is_known));
            if all {
                break;
            }
            if is_first && !self.peers.is_empty() {
                is_first = false;
                end = Clock::now() + SETTLE;
            }
        }
    }

    /// Sends a probe to the group, and to whoever is known by address.
    fn call(&mut self, stage: Stage, bytes: usize) {
        let probe = self.probe(stage, 0);
        self.endpoint.send(Way::Multicast, &probe, bytes);
        let mut addresses: Vec<_> = self.peers.iter().map(|peer| peer.address).collect();
        let is_known = |ip: &Ipv4Addr| addresses.iter().any(|address| address.ip() == ip);
        addresses.extend(self.options.to.filter(|ip| !is_known(ip)).map(|ip| SocketAddrV4::new(ip, self.group.port())));
        for address in addresses {
            self.endpoint.send(Way::Unicast(address), &probe, bytes);
        }
    }

    fn probe(&self, stage: Stage, index: u64) -> Message {
        let heard =
            |peer: &Peer| Heard { listener: peer.id, multicast: peer.multicast_back, unicast: peer.unicast_back };
        Message::Probe(Probe {
            run: self.run,
            stage,
            port: self.endpoint.port(),
            ttl: self.options.ttl,
            full: self.options.max_datagram,
            burst: self.burst,
            index,
            heard: self.peers.iter().map(heard).collect(),
        })
    }

    /// Hears answers until `is_enough` or a time; returns whether it was enough.
    fn hear(&mut self, until: Nanos, is_enough: impl Fn(&[Peer]) -> bool) -> bool {
        loop {
            while let Some(arrival) = self.endpoint.receive() {
                self.note(&arrival);
            }
            if is_enough(&self.peers) {
                return true;
            }
            let now = Clock::now();
            if now >= until || self.interrupt.is_raised() {
                return false;
            }
            // A socket that cannot be waited for can still be asked.
            if wait_readable(&self.endpoint.fds(), Some(until - now)).is_err() {
                std::thread::yield_now();
            }
        }
    }

    fn note(&mut self, arrival: &Arrival) {
        let Message::Report(Report { listener, port, run, tally }) = arrival.message else { return };
        let index = match self.peers.iter().position(|peer| peer.id == listener) {
            Some(index) => index,
            None if self.peers.len() >= MAX_PEERS => return,
            None => {
                let address = SocketAddrV4::new(arrival.sender, port);
                let (id, tally) = (listener, Tally::default());
                self.peers.push(Peer { id, address, multicast_back: false, unicast_back: false, tally });
                self.peers.len() - 1
            }
        };
        let peer = &mut self.peers[index];
        peer.multicast_back |= arrival.is_multicast;
        peer.unicast_back |= !arrival.is_multicast;
        if run == Some(self.run) && tally.total() >= peer.tally.total() {
            peer.tally = tally;
        }
    }

    /// The largest size that passes to every listener which hears the group, up to what should pass.
    fn largest(&mut self) -> usize {
        self.has_sized = true;
        let full = self.options.max_datagram;
        if self.passes(full) {
            return full;
        }
        // Passes, and does not.
        let (mut low, mut high) = (ROOM_BYTES, full);
        while high - low > 1 && !self.interrupt.is_raised() {
            let middle = low.midpoint(high);
            *(if self.passes(middle) { &mut low } else { &mut high }) = middle;
        }
        low
    }

    fn passes(&mut self, bytes: usize) -> bool {
        let has = |peer: &Peer| {
            let Tally { multicast, unicast, largest_multicast, largest_unicast, .. } = peer.tally;
            (multicast == 0 || largest_multicast >= bytes, unicast == 0 || largest_unicast >= bytes)
        };
        for _ in 0..TRIES {
            self.call(Stage::Size, bytes);
            if self.hear(Clock::now() + CALL, |peers| peers.iter().map(has).all(|has| has == (true, true))) {
                return true;
            }
        }
        // Unicast alone may fail.
        self.peers.iter().all(|peer| has(peer).0)
    }

    fn send_burst(&mut self, bytes: usize) {
        let count = self.options.count;
        // Every packet tells how many there are, of which those that the kernel refuses never leave.
        self.burst = count;
        let mut schedule = Schedule::new(self.options.pace, Clock::now());
        let mut refused = 0;
        for index in 0..count {
            wait_until(schedule.next_due(None), false, || !self.interrupt.is_raised());
            if self.interrupt.is_raised() {
                self.burst = index;
                break;
            }
            let probe = self.probe(Stage::Burst, index);
            refused += u64::from(!self.endpoint.send(Way::Multicast, &probe, bytes));
            if index % BETWEEN_LOOKS == 0 {
                self.hear(Nanos::ZERO, |_| false);
            }
        }
        let left = self.burst - refused;
        for _ in 0..TRIES {
            self.call(Stage::Hello, ROOM_BYTES);
            let all = |peer: &Peer| peer.tally.multicast == 0 || peer.tally.burst >= left;
            if self.hear(Clock::now() + CALL, |peers| peers.iter().all(all)) {
                break;
            }
        }
        self.burst = left;
    }

    fn conclude(&self, paths: &mut Paths) {
        let mut findings = Vec::new();
        let (group, sender, ttl) = (self.group.socket_address(), self.interface.address, self.options.ttl);
        for peer in &self.peers {
            let Peer { address, multicast_back, unicast_back, tally, .. } = *peer;
            let is_heard = tally.multicast > 0;
            let full = if self.has_sized && is_heard { self.options.max_datagram } else { 0 };
            let burst = if is_heard { self.burst } else { 0 };
            let path =
                Path { group, sender, listener: *address.ip(), tally, multicast_back, unicast_back, ttl, full, burst };
            findings.extend(path.findings());
            paths.json.push(path.json());
        }
        let title = title(self.line, self.group);
        if self.peers.is_empty() {
            let to = match self.options.to {
                Some(address) => format!(", neither on the group nor by unicast at {address}"),
                None => "; whether unicast passes is told with --to ADDRESS".to_owned(),
            };
            let words = format!("{title}: no `doctor listen` was heard{to}; what it has heard itself, it tells");
            paths.unheard.push(Condition::Unheard(words));
        }
        findings.extend(obstacles(&self.endpoint, self.group, &self.interface, false));
        paths.sections.push(Section { title, findings });
    }
}
