//! One line of a publisher: where its packets go.

use crate::OpenError;
use crate::stats::LineStats;
use seqcast_recovery::{Line, Network, Run};
use seqcast_transport::{
    AddressError, BufferGrant, Interface, LineAddress, MulticastSender, UnicastSender, can_segment,
};
use std::os::fd::{AsRawFd, RawFd};
use std::{fmt, io, str::FromStr};

/// Where a line's packets go: `GROUP:PORT[@INTERFACE]`, or where there is no multicast, a list of unicast destinations
/// `ADDRESS:PORT[,ADDRESS:PORT]...[@INTERFACE]`.
///
/// Without an interface it is the builder's, which is loopback unless set otherwise. A list has at most 32 destinations,
/// each of which gets a copy of every packet, heartbeat and end of session; whether anybody listens there makes no difference,
/// and what is too long for the way to one of them counts as refused. The copies leave with the interface's address; the
/// kernel's routes choose their way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LineDestination(LineAddress);

impl FromStr for LineDestination {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for LineDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many packets leave with one system call where each is a message of its own: what the transport takes at once.
const SINGLE_PACKETS: usize = 8;

/// What one line has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineCounters {
    /// Packets that the kernel took; a unicast line counts a copy for each destination.
    pub packets: u64,
    /// Their bytes, headers included.
    pub bytes: u64,
    /// Packets that it refused, counted likewise: a full buffer, a link that is down, a firewall, a way to one of several
    /// destinations that carries less. They are retained and will be asked for.
    pub refused: u64,
    /// System calls that tried to send.
    pub system_calls: u64,
    /// Runs of packets that the kernel, or the interface, did not cut into datagrams, so that they were sent one by one: from
    /// the first on, that is how the line goes on.
    pub segmentation_refused: u64,
}

/// What became of what was handed to the lines.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) sent: u64,
    pub(crate) refused: u64,
    /// The line, and the length, of a packet that will never pass.
    pub(crate) too_long: Option<(Line, usize)>,
}

/// A line that is open.
#[derive(Debug)]
pub(crate) struct LineSender {
    pub(crate) line: Line,
    pub(crate) is_loopback: bool,
    /// Where those are who hear it: on its interface's network, or at one of its unicast destinations.
    pub(crate) networks: Vec<Network>,
    pub(crate) counters: LineCounters,
    /// What others see of them.
    pub(crate) stats: Option<LineStats>,
    sender: Sender,
    /// Whether the kernel cuts runs into datagrams.
    segments: bool,
}

#[derive(Debug)]
enum Sender {
    Multicast(MulticastSender),
    Unicast(UnicastSender),
}

impl LineSender {
    /// Opens the line, for packets of at most `max_datagram` bytes.
    pub(crate) fn open(line: Line, destination: &LineDestination, settings: &LineSettings) -> Result<Self, OpenError> {
        let LineDestination(address) = destination;
        let interface = address.interface(&settings.interface).map_err(|error| OpenError::Interface(line, error))?;
        check_mtu(line, &interface, settings.max_datagram)?;
        let sender = match address {
            LineAddress::Multicast(group) => {
                let ttl = settings.ttl.unwrap_or(1);
                MulticastSender::open(group, &interface, ttl, settings.send_buffer_bytes).map(Sender::Multicast)
            }
            LineAddress::Unicast(addresses) => {
                UnicastSender::open(addresses, &interface, settings.ttl, settings.send_buffer_bytes)
                    .map(Sender::Unicast)
            }
        };
        let sender = sender.map_err(|error| OpenError::Line(line, error))?;
        let mut networks = vec![(interface.address, interface.prefix_length)];
        if let Sender::Unicast(sender) = &sender {
            networks.extend(sender.destinations().iter().map(|destination| (*destination.ip(), 32)));
        }
        let network = |(address, length)| Network::new(address, length).expect("a prefix is at most 32 bits");
        let networks = networks.into_iter().map(network).collect();
        let segments = settings.segmentation && can_segment(sender.fd());
        let counters = LineCounters::default();
        Ok(Self { line, is_loopback: interface.is_loopback, networks, counters, stats: None, sender, segments })
    }

    /// Says when its send buffer is smaller than it should be.
    pub(crate) fn warn_if_partial(&self) {
        let BufferGrant { asked_bytes, granted_bytes } = match &self.sender {
            Sender::Multicast(sender) => sender.buffer(),
            Sender::Unicast(sender) => sender.buffer(),
        };
        if let Some(asked_bytes) = asked_bytes.filter(|&asked_bytes| asked_bytes > granted_bytes) {
            tracing::warn!(
                "line {:?}: the send buffer has {granted_bytes} bytes instead of {asked_bytes}; to allow more: \
                 sysctl -w net.core.wmem_max={asked_bytes}",
                self.line
            );
        }
    }

    /// Whether runs of packets leave with one system call each.
    pub(crate) fn segments(&self) -> bool {
        self.segments
    }

    /// Hands packets to the kernel, a copy for each destination (a group is one), with as few system calls as it takes.
    #[inline]
    pub(crate) fn send(&mut self, runs: &[Run<'_>], outcome: &mut Outcome) {
        if self.segments || runs.iter().all(|run| run.count() == 1) {
            self.send_copies(runs, outcome);
        } else {
            self.send_unsegmented(runs, outcome);
        }
        if let Some(stats) = &self.stats {
            stats.write_sent(&self.counters);
        }
    }

    fn send_unsegmented(&mut self, runs: &[Run<'_>], outcome: &mut Outcome) {
        let mut packets = runs.iter().flat_map(Run::packets);
        loop {
            let mut batch = [Run::one(&[]); SINGLE_PACKETS];
            let mut count = 0;
            for (single, packet) in batch.iter_mut().zip(&mut packets) {
                *single = Run::one(packet);
                count += 1;
            }
            if count == 0 {
                return;
            }
            self.send_copies(&batch[..count], outcome);
        }
    }

    /// Sends copy by copy, those of the first run first.
    #[inline]
    fn send_copies(&mut self, runs: &[Run<'_>], outcome: &mut Outcome) {
        let destinations = self.sender.destinations();
        let mut copy = 0;
        while copy < runs.len() * destinations {
            self.counters.system_calls += 1;
            match self.sender.send(runs, copy) {
                Ok(sent) => {
                    for copy in copy..copy + sent {
                        self.note_sent(&runs[copy / destinations], outcome);
                    }
                    copy += sent;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.handle_error(&error, &runs[copy / destinations], copy % destinations, outcome);
                    copy += 1;
                }
            }
        }
    }

    fn note_sent(&mut self, run: &Run<'_>, outcome: &mut Outcome) {
        let packets = run.count() as u64;
        outcome.sent += packets;
        self.counters.packets += packets;
        self.counters.bytes += run.bytes().len() as u64;
    }

    #[cold]
    fn handle_error(&mut self, error: &io::Error, run: &Run<'_>, destination: usize, outcome: &mut Outcome) {
        let is_full = matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS));
        if run.count() > 1 && !is_full {
            // It may be the run that is not taken, or its packets.
            return self.send_singly(run, destination, outcome);
        }
        match &self.sender {
            Sender::Multicast(_) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                outcome.too_long = Some((self.line, run.packet_bytes()));
            }
            // The network may narrow the way to one destination, which is no reason to stop for the others.
            Sender::Multicast(_) | Sender::Unicast(_) => {
                outcome.refused += run.count() as u64;
                self.counters.refused += run.count() as u64;
                self.stats.iter().for_each(|stats| stats.write_refused(&self.counters));
            }
        }
    }

    fn send_singly(&mut self, run: &Run<'_>, destination: usize, outcome: &mut Outcome) {
        let before = self.counters.packets;
        for packet in run.packets().map(Run::one) {
            self.counters.system_calls += 1;
            match self.sender.send_to(packet.bytes(), destination) {
                Ok(()) => self.note_sent(&packet, outcome),
                Err(error) => self.handle_error(&error, &packet, destination, outcome),
            }
        }
        if self.counters.packets > before {
            self.counters.segmentation_refused += 1;
            self.stats.iter().for_each(|stats| stats.write_refused(&self.counters));
            self.segments = false;
        }
    }
}

impl Sender {
    fn destinations(&self) -> usize {
        match self {
            Self::Multicast(_) => 1,
            Self::Unicast(sender) => sender.destinations().len(),
        }
    }

    /// Sends some copies from this one on, and says how many.
    #[inline]
    fn send(&self, runs: &[Run<'_>], copy: usize) -> io::Result<usize> {
        let destinations = self.destinations();
        let (run, destination) = (runs[copy / destinations], copy % destinations);
        if runs.len() * destinations - copy == 1 && run.count() == 1 {
            return self.send_to(run.bytes(), destination).map(|()| 1);
        }
        match self {
            Self::Multicast(sender) => sender.send_runs(&runs[copy..]),
            Self::Unicast(sender) => sender.send_runs(runs, copy),
        }
    }

    #[inline]
    fn send_to(&self, packet: &[u8], destination: usize) -> io::Result<()> {
        match self {
            Self::Multicast(sender) => sender.send(packet),
            Self::Unicast(sender) => sender.send_to(packet, sender.destinations()[destination]),
        }
    }

    fn fd(&self) -> RawFd {
        match self {
            Self::Multicast(sender) => sender.as_raw_fd(),
            Self::Unicast(sender) => sender.as_raw_fd(),
        }
    }
}

/// What all lines of a publisher have in common.
#[derive(Clone, Debug)]
pub(crate) struct LineSettings {
    pub(crate) interface: String,
    /// `None`: 1 for a group, the system's default for unicast destinations.
    pub(crate) ttl: Option<u8>,
    pub(crate) max_datagram: usize,
    pub(crate) send_buffer_bytes: Option<usize>,
    /// Whether the kernel is to cut runs into datagrams, if it can.
    pub(crate) segmentation: bool,
}

fn check_mtu(line: Line, interface: &Interface, max_datagram: usize) -> Result<(), OpenError> {
    // 20 bytes of IPv4 header without options, 8 of UDP.
    if max_datagram + 28 > interface.mtu as usize {
        return Err(OpenError::Mtu { line, interface: interface.name.clone(), mtu: interface.mtu, max_datagram });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::testing::Place;
    use seqcast_stats::Description;

    fn open(destination: &str) -> LineSender {
        let settings = LineSettings {
            interface: "127.0.0.1".to_owned(),
            ttl: None,
            max_datagram: 1_472,
            send_buffer_bytes: Some(1 << 20),
            segmentation: true,
        };
        LineSender::open(Line::A, &destination.parse().unwrap(), &settings).unwrap()
    }

    fn sent(line: &mut LineSender, runs: &[Run<'_>]) -> Outcome {
        let mut outcome = Outcome::default();
        line.send(runs, &mut outcome);
        outcome
    }

    #[test]
    fn every_destination_gets_a_copy_with_one_system_call_for_all() {
        for (destination, copies) in [("239.255.78.102:9", 1), ("127.0.0.1:9,127.0.0.2:9,127.0.0.1:10", 3)] {
            let mut line = open(destination);
            assert_eq!(sent(&mut line, &[Run::one(b"packet")]).sent, copies);
            assert_eq!(
                line.counters,
                LineCounters { packets: copies, bytes: 6 * copies, system_calls: 1, ..LineCounters::default() }
            );
            sent(&mut line, &[Run::new(&[7; 1_000], 100)]);
            assert_eq!((line.counters.packets, line.counters.system_calls), (11 * copies, 2));
            sent(&mut line, &[Run::one(b"packet"), Run::new(&[7; 1_000], 500)]);
            assert_eq!((line.counters.packets, line.counters.system_calls), (14 * copies, 3));
        }
    }

    #[test]
    fn what_the_kernel_does_not_cut_is_sent_packet_by_packet_from_then_on() {
        let mut line = open("239.255.78.102:9");
        // More packets than any kernel cuts from one buffer.
        let bytes = [7; 2_000];
        let outcome = sent(&mut line, &[Run::new(&bytes, 1), Run::one(b"packet")]);
        assert_eq!((outcome.sent, outcome.refused, outcome.too_long), (2_001, 0, None));
        assert_eq!(line.counters.segmentation_refused, 1);
        assert!(!line.segments());
        let before = line.counters.system_calls;
        assert_eq!(sent(&mut line, &[Run::new(&bytes, 100), Run::one(b"packet")]).sent, 21);
        assert_eq!(line.counters.system_calls - before, 3, "8, 8, and 5");
        assert_eq!(line.counters.segmentation_refused, 1);
    }

    #[test]
    fn a_line_is_heard_on_its_interfaces_network_and_at_its_destinations() {
        let networks = |destination| open(destination).networks.iter().map(Network::to_string).collect::<Vec<_>>();
        assert_eq!(networks("239.255.78.106:9"), ["127.0.0.0/8"]);
        assert_eq!(networks("127.0.0.1:9,127.0.0.2:9"), ["127.0.0.0/8", "127.0.0.1/32", "127.0.0.2/32"]);
    }

    #[test]
    fn what_is_too_long_for_one_of_several_destinations_is_not_told_as_an_error_of_the_line() {
        // A byte more than any UDP datagram has.
        let packet = vec![0; 65_508];
        let outcome = sent(&mut open("239.255.78.102:9"), &[Run::one(&packet)]);
        assert_eq!((outcome.sent, outcome.refused, outcome.too_long), (0, 0, Some((Line::A, 65_508))));
        let outcome = sent(&mut open("127.0.0.1:9,127.0.0.2:9"), &[Run::one(&packet), Run::one(b"packet")]);
        assert_eq!((outcome.sent, outcome.refused, outcome.too_long), (2, 2, None));
    }

    #[test]
    fn others_see_what_the_line_counts() {
        let place = Place::new("line");
        let mut line = open("127.0.0.1:9,127.0.0.2:9");
        let mut description = Description::new("publisher");
        let stats = LineStats::describe(&mut description, Line::B);
        let file = place.file(description);
        line.stats = Some(stats(&file));
        let names = ["packets", "bytes", "refused", "system_calls", "segmentation_refused"];
        let is_told = |line: &LineSender| {
            let LineCounters { packets, bytes, refused, system_calls, segmentation_refused } = line.counters;
            let told = names.map(|name| place.snapshot().value(&format!("line_{name}"), &[("line", "b")]).unwrap());
            told == [packets, bytes, refused, system_calls, segmentation_refused]
        };
        sent(&mut line, &[Run::one(b"packet")]);
        assert!(is_told(&line) && line.counters.packets == 2, "{:?}", line.counters);
        // Longer than any UDP datagram; then more packets than any kernel cuts from one buffer.
        sent(&mut line, &[Run::one(&[0; 65_508])]);
        assert!(is_told(&line) && line.counters.refused == 2, "{:?}", line.counters);
        sent(&mut line, &[Run::new(&[7; 2_000], 1)]);
        assert!(is_told(&line) && line.counters.segmentation_refused > 0, "{:?}", line.counters);
    }

    #[test]
    fn packet_that_just_passes_the_interface_is_the_longest() {
        let interface = Interface { mtu: 1_500, ..Interface::resolve("127.0.0.1").unwrap() };
        check_mtu(Line::B, &interface, 1_472).unwrap();
        let error = check_mtu(Line::B, &interface, 1_473).unwrap_err().to_string();
        assert!(error.contains("line B") && error.ends_with("at most 1472 fit"), "{error}");
    }
}
