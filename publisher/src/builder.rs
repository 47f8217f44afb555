//! The settings of a publisher.

use crate::OpenError;
use crate::alarm::Alarm;
use crate::line::{LineDestination, LineSender, LineSettings};
use crate::outbox::Outbox;
use crate::publisher::{Publisher, Service};
use crate::refusals::Refusals;
use crate::retransmitter::{Retransmitter, RetransmitterCounters};
use crate::ring::{self, Ring};
use crate::stats::{self, Kept, StatsSettings};
use crate::thread::RetransmitterThread;
use crate::warm::Warmer;
use crate::watch::Watch;
use seqcast_protocol::{HEADER_BYTES, SessionId};
use seqcast_recovery::{
    Budget, Heartbeat, HeartbeatConfig, Line, MAX_DATAGRAM_BYTES, MIN_DATAGRAM_BYTES, Network, Publication, Rate,
    Responder, ResponderConfig, RingReader, RingSize,
};
use seqcast_stats::Unit;
use seqcast_transport::{
    BufferGrant, Clock, Inbox, Interface, Mapping, UnicastSocket, pin_to_core, set_coalescing, set_fifo_priority,
};
use std::error::Error;
use std::net::SocketAddrV4;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Sets a publisher up; every setting but the lines has a default.
#[derive(Clone, Debug)]
pub struct PublisherBuilder {
    session: SessionId,
    lines: [Option<LineDestination>; 2],
    line_settings: LineSettings,
    requests: Option<SocketAddrV4>,
    requests_inline: bool,
    responder: ResponderConfig,
    retain_bytes: usize,
    ring: Option<PathBuf>,
    heartbeat: HeartbeatConfig,
    request_buffer_bytes: Option<usize>,
    retransmitter_core: Option<usize>,
    retransmitter_priority: Option<u8>,
    keep_warm: Option<Duration>,
    stats: StatsSettings,
}

impl PublisherBuilder {
    pub(crate) fn new(session: SessionId) -> Self {
        Self {
            session,
            lines: [None, None],
            line_settings: LineSettings {
                interface: "127.0.0.1".to_owned(),
                ttl: None,
                max_datagram: 1_472,
                send_buffer_bytes: Some(1 << 20),
                segmentation: true,
            },
            requests: None,
            requests_inline: false,
            responder: ResponderConfig::default(),
            retain_bytes: 64 << 20,
            ring: None,
            heartbeat: HeartbeatConfig::default(),
            request_buffer_bytes: Some(1 << 20),
            retransmitter_core: None,
            retransmitter_priority: None,
            keep_warm: None,
            stats: StatsSettings::default(),
        }
    }

    /// Sends on this line; at least one is needed, unless there is a ring file to be followed.
    #[must_use]
    pub fn line(mut self, line: Line, destination: LineDestination) -> Self {
        self.lines[line.index()] = Some(destination);
        self
    }

    /// The interface of lines that name none: a name or an IPv4 address. 127.0.0.1 unless set.
    #[must_use]
    pub fn interface(mut self, interface: &str) -> Self {
        interface.clone_into(&mut self.line_settings.interface);
        self
    }

    /// How many networks a packet may cross, `0..=255`: 0, for a group only, stays on the host, 1 in the network. Unless set,
    /// 1 for a group, and the system's default for unicast destinations.
    #[must_use]
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.line_settings.ttl = Some(ttl);
        self
    }

    /// The longest packet, `64..=65507` bytes, no more than the MTU of each line's interface less 28. 1,472 unless set.
    #[must_use]
    pub fn max_datagram(mut self, bytes: usize) -> Self {
        self.line_settings.max_datagram = bytes;
        self
    }

    /// Lets the kernel cut runs of packets of one length into datagrams, so that up to 64 leave with one system call
    /// (`UDP_SEGMENT`), and fills packets so that they fit into runs. A kernel or an interface that does not is found out and
    /// counted ([`LineCounters::segmentation_refused`](crate::LineCounters)). Packets that leave alone are not concerned. On
    /// unless set.
    #[must_use]
    pub fn segmentation(mut self, segmentation: bool) -> Self {
        self.line_settings.segmentation = segmentation;
        self
    }

    /// The send buffer to ask the kernel for, per line; `None` leaves its default. 1 MiB unless set.
    #[must_use]
    pub fn send_buffer_bytes(mut self, bytes: Option<usize>) -> Self {
        self.line_settings.send_buffer_bytes = bytes;
        self
    }

    /// Answers requests at this address and port, 0 for any free one; without it nobody is answered.
    #[must_use]
    pub fn requests(mut self, address: SocketAddrV4) -> Self {
        self.requests = Some(address);
        self
    }

    /// Does the retransmitter's work in [`Publisher::do_work`] instead of on a thread of its own: for those who own their
    /// threads, and for machines of two cores.
    #[must_use]
    pub fn requests_inline(mut self, inline: bool) -> Self {
        self.requests_inline = inline;
        self
    }

    /// Answers requests for other sessions as if they were for this one. Off unless set; a blank session is always taken
    /// for this one.
    #[must_use]
    pub fn answer_foreign(mut self, answer: bool) -> Self {
        self.responder.answers_foreign = answer;
        self
    }

    /// Answers requests that come from this network; all networks that are set count. Unless one is set, those of the
    /// lines' interfaces and the lines' unicast destinations; `0.0.0.0/0` is everybody.
    #[must_use]
    pub fn allow_requests(mut self, network: Network) -> Self {
        self.responder.networks.push(network);
        self
    }

    /// What answers may take in all. While it is used up, clients wait for it in turn, and what they ask for beyond their
    /// queues is refused. No limit unless set: the turns alone make it fair.
    #[must_use]
    pub fn repair_budget(mut self, budget: Budget) -> Self {
        self.responder.budget = Some(budget);
        self
    }

    /// What answers may take for each client, of which there is one for each address and port that asks. While it is used
    /// up, its requests get silence. No limit unless set.
    #[must_use]
    pub fn client_budget(mut self, budget: Budget) -> Self {
        self.responder.client_budget = Some(budget);
        self
    }

    /// How long a client that was answered is not answered again for the same first number. 200 µs unless set.
    #[must_use]
    pub fn answer_linger(mut self, linger: Duration) -> Self {
        self.responder.linger = linger.into();
        self
    }

    /// How many clients are remembered, `1..`, at about 2 kB each; beyond it the one that has been idle for longest is
    /// forgotten. 1,024 unless set.
    #[must_use]
    pub fn client_limit(mut self, clients: usize) -> Self {
        self.responder.client_limit = clients;
        self
    }

    /// The room for messages that are retained, rounded up to a power of two. Each message takes 2 bytes of framing, each
    /// packet 8 to 15 more; room is made an eighth at a time, so that right behind such a step seven eighths are in use.
    /// There is an index entry per 64 bytes, a quarter more of memory. 64 MiB unless set.
    #[must_use]
    pub fn retain_bytes(mut self, bytes: usize) -> Self {
        self.retain_bytes = bytes;
        self
    }

    /// Retains messages in this file, which outlives the publisher; best in memory, as in /dev/shm. A publisher that was killed
    /// and is opened again with the same file goes on in the same session at the next number; what it had retained and not
    /// sent is announced by the first heartbeat, to be asked for. Others may read the file meanwhile: a
    /// [`Retransmitter`](crate::Retransmitter) in a process of its own, and subscribers on the same host. A file keeps the
    /// size that it was made with. Memory of this process unless set.
    ///
    /// A file that holds something else, that another publisher is writing, or whose session is not the one of this builder
    /// and has not ended, is an error: nothing is ever overwritten unasked. One whose session has ended is replaced by that
    /// of a new one; its readers keep the old one.
    #[must_use]
    pub fn ring(mut self, file: impl Into<PathBuf>) -> Self {
        self.ring = Some(file.into());
        self
    }

    /// How long [`Publisher::close`] answers requests at the most. 5 s unless set.
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.heartbeat.linger = linger.into();
        self
    }

    /// The longest distance between heartbeats; the first follows the last data by 0.5 to 1.1 ms. 100 ms
    /// unless set.
    #[must_use]
    pub fn heartbeat_ceiling(mut self, ceiling: Duration) -> Self {
        self.heartbeat.ceiling = ceiling.into();
        self.heartbeat.first = self.heartbeat.first.min(self.heartbeat.ceiling);
        self
    }

    /// The receive buffer to ask the kernel for at the request address; `None` leaves its default. 1 MiB unless set.
    #[must_use]
    pub fn request_buffer_bytes(mut self, bytes: Option<usize>) -> Self {
        self.request_buffer_bytes = bytes;
        self
    }

    /// Pins the retransmitter's thread to a core.
    #[must_use]
    pub fn retransmitter_core(mut self, core: usize) -> Self {
        self.retransmitter_core = Some(core);
        self
    }

    /// Gives the retransmitter's thread a real-time priority, `1..=99` under SCHED_FIFO: it then runs ahead of everything
    /// ordinary on its core, and answers when that is busy, too.
    #[must_use]
    pub fn retransmitter_priority(mut self, priority: u8) -> Self {
        self.retransmitter_priority = Some(priority);
        self
    }

    /// Keeps the way from a request to its answer warm: whoever does the retransmitter's work goes through it at this interval
    /// when there is no request, with a datagram to itself, so that the first request behind a pause is answered about as fast
    /// as one among many. 50 µs to 1 ms is of use; each time takes some microseconds of its core, also of a publisher that
    /// is idle. Off unless set.
    #[must_use]
    pub fn keep_warm(mut self, interval: Duration) -> Self {
        self.keep_warm = Some(interval);
        self
    }

    /// Keeps counters in a file of its own in this directory, for others on this host to read while it runs ([`seqcast_stats`]),
    /// such as [`DEFAULT_DIRECTORY`](crate::DEFAULT_DIRECTORY); it goes with the publisher and its retransmitter, and both write
    /// it without a system call. [`Retransmitter::timeout`] is then a second at the most, so that they are seen to live. A
    /// directory that cannot be written is warned of, and nothing else is lost. Off unless set.
    #[must_use]
    pub fn stats(mut self, directory: impl Into<PathBuf>) -> Self {
        self.stats.directory = Some(directory.into());
        self
    }

    /// Says in that file something that does not change, by a name of its own: lower-case words joined by underscores.
    #[must_use]
    pub fn stats_fact(mut self, name: &str, text: &str) -> Self {
        self.stats.facts.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Makes room in that file for a number of the application's own that only grows, by a name of its own: lower-case words
    /// joined by underscores. [`Publisher::stats_cell`] hands it out.
    #[must_use]
    pub fn stats_counter(mut self, name: &str, unit: Unit) -> Self {
        self.stats.counters.push((name.to_owned(), unit));
        self
    }

    /// As [`Self::stats_counter`], for how a number is distributed. [`Publisher::stats_histogram`] hands it out.
    #[must_use]
    pub fn stats_histogram(mut self, name: &str, unit: Unit) -> Self {
        self.stats.histograms.push((name.to_owned(), unit));
        self
    }

    /// Opens the publisher: reserves and touches all memory, opens all sockets, starts the retransmitter.
    ///
    /// # Errors
    ///
    /// Names the setting that cannot be had, and the mend.
    ///
    /// # Panics
    ///
    /// When the name of a fact or number for the file of counters is none.
    pub fn open(mut self) -> Result<Publisher, OpenError> {
        if self.requests_inline {
            let (mut publisher, retransmitter) = self.open_halves(None)?;
            publisher.set_service(Service::Inline(Box::new(retransmitter)));
            return Ok(publisher);
        }
        let (core, priority) = (self.retransmitter_core.take(), self.retransmitter_priority.take());
        let client_limit = self.responder.client_limit;
        let alarm = Arc::new(Alarm::new().map_err(OpenError::Thread)?);
        let (mut publisher, retransmitter) = self.open_halves(Some(Arc::clone(&alarm)))?;
        let prepare = move || {
            core.map_or(Ok(()), pin_to_core).map_err(OpenError::Pin)?;
            priority.map_or(Ok(()), set_fifo_priority).map_err(OpenError::Priority)?;
            if let Some(core) = core {
                tracing::info!(core, "requests are answered on core {core}");
            }
            if let Some(priority) = priority {
                tracing::info!(priority, "requests are answered with real-time priority {priority}");
            }
            Ok(())
        };
        let thread = RetransmitterThread::spawn(retransmitter, alarm, client_limit, prepare);
        publisher.set_service(Service::Thread(thread.map_err(OpenError::Thread)??));
        Ok(publisher)
    }

    /// Opens the publisher and hands its retransmitter to the caller, who runs it on a thread of their own until it is
    /// finished.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    ///
    /// # Panics
    ///
    /// As [`Self::open`].
    pub fn open_split(self) -> Result<(Publisher, Retransmitter), OpenError> {
        let alarm = Alarm::new().map_err(OpenError::Thread)?;
        self.open_halves(Some(Arc::new(alarm)))
    }

    /// Opens a retransmitter alone, for the ring file of a publisher in another process, dead or alive: it answers requests,
    /// and sends heartbeats on the lines that are set while nobody writes the file. Whatever session the file holds is
    /// served, also that of a file which takes its place; the session of this builder counts for nothing.
    ///
    /// # Errors
    ///
    /// As [`Self::open`]; a ring file that is not there, or none set, is an error, too.
    ///
    /// # Panics
    ///
    /// As [`Self::open`].
    pub fn open_retransmitter(self) -> Result<Retransmitter, OpenError> {
        self.check()?;
        let Some(path) = self.ring.clone() else { return Err(OpenError::NoRing) };
        let (file, reader) = ring::serve(&path)?;
        let alarm = Alarm::new().map_err(OpenError::Thread)?;
        let mut retransmitter = self.open_serving(reader, Some(Arc::new(alarm)))?;
        let request_address = retransmitter.request_address();
        let (session, ring) = (retransmitter.session(), path.display());
        tracing::info!(
            %session,
            %ring,
            requests = request_address.map(tracing::field::display),
            "the ring {ring} is open: session {session}, requests {}",
            request_address.map_or_else(|| "not answered".to_owned(), |address| format!("at {address}")),
        );
        retransmitter.lines.iter().for_each(LineSender::tell);
        retransmitter.watch = Some(Watch::new(path, file));
        self.keep_stats(&mut retransmitter, None);
        Ok(retransmitter)
    }

    /// Opens both halves; without an alarm they run on one thread.
    fn open_halves(self, alarm: Option<Arc<Alarm>>) -> Result<(Publisher, Retransmitter), OpenError> {
        self.check()?;
        let mut lines = self.open_lines()?;
        if lines.is_empty() && self.ring.is_none() {
            return Err(OpenError::NoLine);
        }
        lines.iter().for_each(LineSender::tell);
        let max_datagram = self.line_settings.max_datagram;
        let size = RingSize::for_bytes(self.retain_bytes, max_datagram - HEADER_BYTES);
        let Ring { writer, file } = match &self.ring {
            Some(path) => ring::open(path, size, self.session)?,
            None => ring::reserve(size, self.session, self.retain_bytes)?,
        };
        let mut retransmitter = self.open_serving(writer.reader(), alarm.clone())?;
        let stats = self.keep_stats(&mut retransmitter, Some(&mut lines));
        let request_address = retransmitter.request_address();
        let (session, first, retain_bytes) = (writer.session(), writer.next(), size.data_words * size_of::<u64>());
        tracing::info!(
            %session,
            first,
            retain_bytes,
            max_datagram,
            requests = request_address.map(tracing::field::display),
            "session {session} is open at {first}: {retain_bytes} bytes retained, requests {}",
            request_address.map_or_else(|| "not answered".to_owned(), |address| format!("at {address}")),
        );
        let mut publication = Publication::new(writer, max_datagram);
        if !lines.iter().any(LineSender::segments) {
            publication.set_run_packets(1);
        }
        let request_address = retransmitter.request_address();
        Ok((Publisher::new(publication, file, lines, request_address, alarm, stats), retransmitter))
    }

    /// Checks what can be checked before anything is opened; what runs on a thread of its own has none here.
    fn check(&self) -> Result<(), OpenError> {
        let max_datagram = self.line_settings.max_datagram;
        if !(MIN_DATAGRAM_BYTES..=MAX_DATAGRAM_BYTES).contains(&max_datagram) {
            return Err(OpenError::MaxDatagram(max_datagram));
        }
        if self.retransmitter_core.is_some() || self.retransmitter_priority.is_some() {
            return Err(OpenError::NoThread);
        }
        Ok(())
    }

    /// Opens the half that serves.
    fn open_serving(&self, ring: RingReader<Mapping>, alarm: Option<Arc<Alarm>>) -> Result<Retransmitter, OpenError> {
        // Sockets of its own: neither thread waits for the other's.
        let lines = self.open_lines()?;
        let socket = self.requests.map(|address| self.open_requests(address)).transpose()?;
        if let Some(address) = self.requests.filter(|address| address.ip().is_loopback())
            && lines.iter().any(|line| !line.interface.is_loopback)
        {
            tracing::warn!("requests are answered at {address}, which other hosts that hear the lines cannot reach");
        }
        let mut responder = self.responder.clone();
        if responder.networks.is_empty() {
            responder.networks = lines.iter().flat_map(|line| line.networks.iter().copied()).collect();
        }
        // Without a line, the network of the request address itself.
        if responder.networks.is_empty()
            && let Some(address) = self.requests
        {
            let interface = Interface::resolve(&address.ip().to_string()).map_err(OpenError::RequestInterface)?;
            responder.networks.extend(Network::new(interface.address, interface.prefix_length));
        }
        self.warn_if_secluded(&responder.networks);
        let max_datagram = self.line_settings.max_datagram;
        let outbox = Outbox::new(socket.as_ref(), self.line_settings.segmentation);
        let warmer = self.keep_warm.zip(socket.as_ref());
        let warmer = warmer.map(|(interval, socket)| Warmer::new(ring.clone(), max_datagram, socket, interval));
        let now = Clock::now();
        let (session, rate) = (ring.session(), Rate::new(now, ring.next()));
        Ok(Retransmitter {
            responder: Responder::new(ring, max_datagram, responder),
            heartbeat: Heartbeat::new(self.heartbeat, session, now),
            socket,
            inbox: Inbox::several(),
            outbox,
            warmer,
            lines,
            counters: RetransmitterCounters::default(),
            alarm,
            has_dozed: false,
            awaits_wake: false,
            watch: None,
            heartbeat_config: self.heartbeat,
            rate,
            stats: None,
            refusals: Refusals::new(),
        })
    }

    /// Makes the file of counters, if it is wanted, for a retransmitter and, given its lines, its publisher.
    fn keep_stats(&self, retransmitter: &mut Retransmitter, lines: Option<&mut [LineSender]>) -> Option<Kept> {
        let directory = self.stats.directory.as_deref()?;
        match stats::keep(directory, &self.facts(retransmitter), &self.stats, lines, retransmitter) {
            Ok(kept) => {
                retransmitter.write_stats(Clock::now());
                Some(kept)
            }
            Err(error) => {
                let why = error.source().map(ToString::to_string).unwrap_or_default();
                tracing::warn!("{error}: {why}");
                None
            }
        }
    }

    /// What others are told of the settings.
    fn facts(&self, retransmitter: &Retransmitter) -> Vec<(String, String)> {
        let budget = |budget: Budget| format!("{}B/s,burst={}B", budget.bytes_per_s, budget.burst_bytes);
        let [line_a, line_b] = self.lines.each_ref().map(|line| line.as_ref().map(LineDestination::to_string));
        let ring = self.ring.as_ref().map(|ring| std::path::absolute(ring).unwrap_or_else(|_| ring.clone()));
        let facts = [
            ("line_a", line_a),
            ("line_b", line_b),
            ("requests", retransmitter.request_address().map(|address| address.to_string())),
            ("ring", ring.map(|ring| ring.display().to_string())),
            ("max_datagram", Some(self.line_settings.max_datagram.to_string())),
            ("retain", Some(stats::ring_bytes(retransmitter.responder.ring()).to_string())),
            ("client_limit", Some(self.responder.client_limit.to_string())),
            ("repair_budget", self.responder.budget.map(budget)),
            ("client_budget", self.responder.client_budget.map(budget)),
        ];
        let facts = facts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?)));
        facts.chain(self.stats.facts.iter().cloned()).collect()
    }

    /// Says when requests are answered where hardly anybody is allowed to ask.
    fn warn_if_secluded(&self, networks: &[Network]) {
        if let Some(address) = self.requests
            && !networks.iter().any(|network| network.contains(*address.ip()))
        {
            let networks: Vec<_> = networks.iter().map(Network::to_string).collect();
            tracing::warn!(
                "requests are answered at {address}, and only from {}, which it is not in; to allow more: allow_requests",
                networks.join(", ")
            );
        }
    }

    fn open_lines(&self) -> Result<Vec<LineSender>, OpenError> {
        let open = |line: Line| {
            let destination = self.lines[line.index()].as_ref()?;
            Some(LineSender::open(line, destination, &self.line_settings))
        };
        Line::ALL.into_iter().filter_map(open).collect()
    }

    fn open_requests(&self, address: SocketAddrV4) -> Result<UnicastSocket, OpenError> {
        if address.ip().is_unspecified() {
            return Err(OpenError::UnspecifiedRequests(address));
        }
        let socket = UnicastSocket::open(address, self.request_buffer_bytes).map_err(OpenError::Requests)?;
        let BufferGrant { asked_bytes, granted_bytes } = socket.buffer();
        if let Some(asked_bytes) = asked_bytes.filter(|&asked_bytes| asked_bytes > granted_bytes) {
            tracing::warn!(
                "requests: the receive buffer has {granted_bytes} bytes instead of {asked_bytes}; to allow more: \
                 sysctl -w net.core.rmem_max={asked_bytes}"
            );
        }
        if self.line_settings.segmentation {
            // Requests that left together come together; a kernel that does not join them hands them over one by one.
            let _ = set_coalescing(socket.as_raw_fd(), true);
        }
        Ok(socket)
    }
}
