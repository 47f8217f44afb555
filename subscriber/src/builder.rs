//! The settings of a subscriber.

use crate::OpenError;
use crate::hold::Hold;
use crate::impaired::{ImpairedPath, PathImpairment};
use crate::line::{self, DropCount, LineSettings, LineSource};
use crate::offset::Offset;
use crate::path::{Path, Receive};
use crate::ring::{Beginning, RingTarget};
use crate::stats::{Own, StatsSettings};
use crate::subscriber::{LinePath, Subscriber};
use crate::target::{Address, TargetSocket};
use crate::warm::Warmer;
use seqcast_recovery::{
    GapPolicy, Impairment, ImpairmentConfig, Line, Nanos, RequestConfig, RewindPolicy, SessionChoice, Start,
    Subscription, SubscriptionConfig,
};
use seqcast_stats::{CreateError, Unit};
use seqcast_transport::{Clock, ConnectedSocket, Inbox, Interface, WAIT_LIMIT};
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

/// The most request addresses: what can be waited for at once, less the lines.
const MAX_TARGETS: usize = WAIT_LIMIT - Line::ALL.len();

/// What is asked for as the receive buffer of each socket unless something else is set: 16 MiB, the messages of some 5 ms at 30
/// million of 100 bytes a second, so that a stall of a virtual machine's core (1 to 4 ms, several a second) overruns nothing. The
/// kernel takes the memory for it only while datagrams wait there.
pub const RECEIVE_BUFFER_BYTES: usize = 16 << 20;

/// What an answer takes of a receive buffer, twice: the kernel charges 2,304 bytes for a datagram of 1,472, of twice what was
/// granted, and half of it stays free.
const ANSWER_BYTES: usize = 2_304;

/// Sets a subscriber up; every setting but the lines has a default.
#[derive(Clone, Debug)]
pub struct SubscriberBuilder {
    lines: [Option<LineSource>; 2],
    line_settings: LineSettings,
    recover_from: Vec<SocketAddrV4>,
    keep_warm: Option<Duration>,
    /// By `Line::index`, and behind them that of the request addresses.
    impairments: [Option<ImpairmentConfig>; 3],
    config: SubscriptionConfig,
    stats: StatsSettings,
}

impl SubscriberBuilder {
    pub(crate) fn new(session: SessionChoice) -> Self {
        Self {
            lines: [None, None],
            line_settings: LineSettings {
                interface: "127.0.0.1".to_owned(),
                receive_buffer_bytes: Some(RECEIVE_BUFFER_BYTES),
                coalescing: true,
                busy_poll: None,
                receive_times: false,
            },
            recover_from: Vec::new(),
            keep_warm: None,
            impairments: [None; 3],
            config: SubscriptionConfig { session, ..SubscriptionConfig::default() },
            stats: StatsSettings::default(),
        }
    }

    /// Receives this line; at least one is needed. Of each number the first copy wins.
    #[must_use]
    pub fn line(mut self, line: Line, source: LineSource) -> Self {
        self.lines[line.index()] = Some(source);
        self
    }

    /// The interface of lines that name none: a name or an IPv4 address. 127.0.0.1 unless set.
    #[must_use]
    pub fn interface(mut self, interface: &str) -> Self {
        interface.clone_into(&mut self.line_settings.interface);
        self
    }

    /// Asks this address for what is missing; may be called up to 14 times. Without it nothing is asked for.
    ///
    /// Requests leave from the address of the first line's interface.
    #[must_use]
    pub fn recover_from(mut self, address: SocketAddrV4) -> Self {
        self.recover_from.push(address);
        self
    }

    /// Where to begin. At the oldest retained message unless set.
    #[must_use]
    pub fn start(mut self, start: Start) -> Self {
        self.config.start = start;
        self
    }

    /// Goes on where a stored offset says, if the session is its own; of any other session, where [`Self::start`] says.
    #[must_use]
    pub fn resume(mut self, offset: Option<Offset>) -> Self {
        self.config.resume = offset.map(|offset| (offset.session, offset.next));
        self
    }

    /// What to do about a gap. Unless set, it is waited for until nothing has been filled for 10 s.
    #[must_use]
    pub fn gap_policy(mut self, policy: GapPolicy) -> Self {
        self.config.gap_policy = policy;
        self
    }

    /// What to do when the numbers of a session begin again. Unless set, they are followed from the new number.
    #[must_use]
    pub fn rewind_policy(mut self, policy: RewindPolicy) -> Self {
        self.config.rewind_policy = policy;
        self
    }

    /// The limits of asking. No more is in flight than half of the receive buffer holds that the kernel grants for answers.
    #[must_use]
    pub fn request_limits(mut self, limits: RequestConfig) -> Self {
        self.config.request = limits;
        self
    }

    /// Whether a heartbeat from a request address means "nothing below this is retained". On unless set; off for servers
    /// that unicast ordinary heartbeats.
    #[must_use]
    pub fn trust_oldest(mut self, trust: bool) -> Self {
        self.config.trust_oldest = trust;
        self
    }

    /// After how long without a packet of the session on any line it counts as silent. 3 s unless set.
    #[must_use]
    pub fn silent_after(mut self, duration: Duration) -> Self {
        self.config.silent_after = duration.into();
        self
    }

    /// How much can be kept beyond a gap: messages, rounded up to a power of two, and bytes. 262,144 and 32 MiB unless set.
    #[must_use]
    pub fn reorder_window(mut self, messages: usize, bytes: usize) -> Self {
        self.config.window_messages = messages;
        self.config.window_bytes = bytes;
        self
    }

    /// Compares the bytes of each message with those of its other copies: see [`Status::CopiesDiffer`](crate::Status::CopiesDiffer). Off unless set; takes
    /// as much memory as the reorder window again, and a pass over each message.
    #[must_use]
    pub fn compare_copies(mut self, compare: bool) -> Self {
        self.config.compare_copies = compare;
        self
    }

    /// After how long a line that has not carried what the other one has counts as behind, or as silent. 100 ms unless set.
    #[must_use]
    pub fn line_behind_after(mut self, duration: Duration) -> Self {
        self.config.line_behind_after = duration.into();
        self
    }

    /// The receive buffer to ask the kernel for, per socket; `None` leaves its default. [`RECEIVE_BUFFER_BYTES`] unless
    /// set.
    #[must_use]
    pub fn receive_buffer_bytes(mut self, bytes: Option<usize>) -> Self {
        self.line_settings.receive_buffer_bytes = bytes;
        self
    }

    /// Lets the kernel hand over as one buffer what was sent with one system call, while datagrams come faster than one at a time
    /// (`UDP_GRO`); a kernel before 5.0 does not. What is received one by one is not concerned. On unless set.
    #[must_use]
    pub fn coalescing(mut self, coalescing: bool) -> Self {
        self.line_settings.coalescing = coalescing;
        self
    }

    /// Keeps the sending of requests warm: at this interval, whenever there is nothing else to do, a datagram is sent to this
    /// subscriber itself, by a socket of its own, so that the first request behind a pause leaves about as fast as one among
    /// many. 50 µs to 1 ms is of use; each time takes some microseconds. Off unless set.
    #[must_use]
    pub fn keep_warm(mut self, interval: Duration) -> Self {
        self.keep_warm = Some(interval);
        self
    }

    /// Lets the kernel look into the card's receive queue for so long whenever a line has nothing (`SO_BUSY_POLL`), instead of
    /// waiting for its interrupt: for whoever polls one socket without a pause. [`Subscriber::is_busy_polled`] says whether the
    /// driver can be polled. Off unless set.
    #[must_use]
    pub fn busy_poll(mut self, time: Duration) -> Self {
        self.line_settings.busy_poll = Some(time);
        self
    }

    /// Lets messages tell when the kernel took in the datagram that brought them ([`Message::received_at`](crate::Message)),
    /// before it waited in the receive buffer; what comes from a ring tells nothing. It makes each receive a little slower, and
    /// takes 16 bytes for each message of the reorder window. Off unless set.
    #[must_use]
    pub fn receive_times(mut self, receive_times: bool) -> Self {
        self.line_settings.receive_times = receive_times;
        self.config.receive_times = receive_times;
        self
    }

    /// Impairs every datagram that is received, on purpose: each line and each request address by random numbers of its
    /// own, so that the same seed hits the same datagrams again.
    #[must_use]
    pub fn impair(mut self, impairment: ImpairmentConfig) -> Self {
        self.impairments = [Some(impairment); 3];
        self
    }

    /// As [`Self::impair`], for what it names.
    #[must_use]
    pub fn impair_path(self, PathImpairment { path, impairment }: PathImpairment) -> Self {
        match path {
            ImpairedPath::All => self.impair(impairment),
            ImpairedPath::Line(line) => self.impair_line(line, impairment),
            ImpairedPath::Answers => self.impair_answers(impairment),
        }
    }

    /// As [`Self::impair`], for one line.
    #[must_use]
    pub fn impair_line(mut self, line: Line, impairment: ImpairmentConfig) -> Self {
        self.impairments[line.index()] = Some(impairment);
        self
    }

    /// As [`Self::impair`], for the answers to requests.
    #[must_use]
    pub fn impair_answers(mut self, impairment: ImpairmentConfig) -> Self {
        self.impairments[Line::ALL.len()] = Some(impairment);
        self
    }

    /// Keeps counters in a file of its own in this directory, for others on this host to read while it runs
    /// ([`seqcast_stats`]), such as [`DEFAULT_DIRECTORY`](crate::DEFAULT_DIRECTORY); it goes with the subscriber. The thread that
    /// polls writes it, without a system call; [`Subscriber::timeout`] is then a second at the most, so that it is seen to live.
    /// A directory that cannot be written is warned of, and nothing else is lost. Off unless set.
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
    /// joined by underscores. [`Subscriber::stats_cell`] hands it out.
    #[must_use]
    pub fn stats_counter(self, name: &str, unit: Unit) -> Self {
        self.stats_own(name, unit, true)
    }

    /// As [`Self::stats_counter`], for a number that goes up and down.
    #[must_use]
    pub fn stats_gauge(self, name: &str, unit: Unit) -> Self {
        self.stats_own(name, unit, false)
    }

    fn stats_own(mut self, name: &str, unit: Unit, is_counter: bool) -> Self {
        self.stats.own.push(Own { name: name.to_owned(), unit, is_counter });
        self
    }

    /// The seed of the jitter of retries. 0 unless set.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.config.seed = seed;
        self
    }

    /// Opens the subscriber: reserves and touches all memory, opens all sockets, joins the groups.
    ///
    /// # Errors
    ///
    /// Names the setting that cannot be had, and the mend.
    ///
    /// # Panics
    ///
    /// When a name for the file of counters is none, or the unit of a number there is [`Unit::Session`].
    pub fn open(mut self) -> Result<Subscriber, OpenError> {
        if self.config.start == Start::At(0) {
            return Err(OpenError::StartZero);
        }
        if self.config.window_bytes >= u32::MAX as usize || self.config.window_messages > 1 << 31 {
            return Err(OpenError::WindowTooLarge);
        }
        if self.recover_from.len() > MAX_TARGETS {
            return Err(OpenError::TooManyTargets { limit: MAX_TARGETS });
        }
        let beginning = Beginning { start: self.config.start, resume: self.config.resume };
        let mut lines = Vec::new();
        let mut interfaces: Vec<Interface> = Vec::new();
        for line in Line::ALL {
            let Some(source) = &self.lines[line.index()] else { continue };
            let (socket, interface) = line::open(line, source, &self.line_settings, beginning)?;
            let drops = DropCount::new(&socket);
            let inbox = if source.ring_file().is_some() { Inbox::single() } else { Inbox::several() };
            let path = Path::new(socket, inbox, self.impairment(line.index(), 0));
            lines.push(LinePath { line, path, drops, look_at: Nanos::ZERO });
            interfaces.extend(interface);
        }
        if lines.is_empty() {
            return Err(OpenError::NoLine);
        }
        // Rings first: they answer at once.
        let mut targets = Vec::new();
        for file in self.lines.iter().flatten().filter_map(LineSource::ring_file) {
            let ring = RingTarget::new(file, self.config.request.in_flight.max(1));
            targets.push(self.target(targets.len(), TargetSocket::Ring(Box::new(ring))));
        }
        for &address in &self.recover_from {
            let socket = self.open_target(self.own_address(&interfaces)?, address)?;
            let in_flight = &mut self.config.request.in_flight;
            *in_flight = (*in_flight).min((socket.buffer().granted_bytes / ANSWER_BYTES).max(1));
            let LineSettings { coalescing, receive_times, .. } = self.line_settings;
            let address = Address::open(socket, address, coalescing, receive_times).map_err(OpenError::ReceiveTimes)?;
            targets.push(self.target(targets.len(), TargetSocket::Address(Box::new(address))));
        }
        let warm = |interval| Warmer::open(self.own_address(&interfaces)?, interval);
        let warmer = self.keep_warm.map(warm).transpose()?;
        self.config.lines = self.lines.each_ref().map(Option::is_some);
        self.config.request_targets = targets.len();
        let SubscriptionConfig { session, start, window_messages, window_bytes, .. } = &self.config;
        let session = match session {
            SessionChoice::Any => "any".to_owned(),
            SessionChoice::Only(session) => session.to_string(),
        };
        tracing::info!(
            session,
            ?start,
            window_messages,
            window_bytes,
            "the subscriber of session {session} is open: {window_messages} messages fit beyond a gap",
        );
        let hold = Hold::new(self.config.request.in_flight);
        let mut subscriber =
            Subscriber::new(Subscription::new(self.config, Clock::now()), lines, targets, hold, warmer);
        subscriber.receive_times = self.config.receive_times;
        match self.stats.open(&subscriber, &self.facts()) {
            Ok(stats) => subscriber.recorder.keep(stats, self.config.receive_times),
            Err(error) => warn_of(&error),
        }
        subscriber.refresh_stats(Clock::now());
        Ok(subscriber)
    }

    /// What the file of counters says of the settings.
    fn facts(&self) -> Vec<(&'static str, String)> {
        let lines = ["line_a", "line_b"].into_iter().zip(&self.lines);
        let mut facts: Vec<_> = lines.filter_map(|(name, source)| Some((name, source.as_ref()?.to_string()))).collect();
        if !self.recover_from.is_empty() {
            let addresses: Vec<_> = self.recover_from.iter().map(ToString::to_string).collect();
            facts.push(("recover_from", addresses.join(",")));
        }
        facts.push(("interface", self.line_settings.interface.clone()));
        let gap_policy = match self.config.gap_policy {
            GapPolicy::Wait { give_up } => format!("wait:{:?}", give_up.as_duration()),
            GapPolicy::Skip => "skip".to_owned(),
            GapPolicy::Stop => "stop".to_owned(),
        };
        let rewind_policy = match self.config.rewind_policy {
            RewindPolicy::StartOver => "follow",
            RewindPolicy::Stop => "stop",
        };
        facts.extend([("gap_policy", gap_policy), ("rewind_policy", rewind_policy.to_owned())]);
        facts
    }

    /// Requests leave from the interface of the first line that has one, or else from the builder's.
    fn own_address(&self, interfaces: &[Interface]) -> Result<Ipv4Addr, OpenError> {
        if let Some(interface) = interfaces.first() {
            return Ok(interface.address);
        }
        let interface = Interface::resolve(&self.line_settings.interface);
        Ok(interface.map_err(|error| OpenError::Interface(Line::A, error))?.address)
    }

    fn open_target(&self, from: Ipv4Addr, address: SocketAddrV4) -> Result<ConnectedSocket, OpenError> {
        let socket = ConnectedSocket::open(from, address, self.line_settings.receive_buffer_bytes)
            .map_err(|error| OpenError::RecoverFrom(address, error))?;
        let receive_buffer_bytes = socket.buffer().granted_bytes;
        tracing::info!(%address, %from, receive_buffer_bytes, "what is missing is asked for at {address}, from {from}");
        line::warn_if_partial(&format_args!("recover_from {address}"), socket.buffer());
        Ok(socket)
    }

    fn target(&self, index: usize, socket: TargetSocket) -> Path<TargetSocket> {
        let inbox = if socket.fd().is_some() { Inbox::several() } else { Inbox::single() };
        Path::new(socket, inbox, self.impairment(Line::ALL.len(), index as u64))
    }

    /// The impairment of the path with this index among those of its kind.
    fn impairment(&self, kind: usize, index: u64) -> Option<Impairment> {
        let config = self.impairments[kind].filter(|config| !config.is_none())?;
        Some(Impairment::new(&config, kind as u64 + index))
    }
}

/// Says that there are no counters for others to read.
fn warn_of(error: &CreateError) {
    let why = error.source().map(ToString::to_string).unwrap_or_default();
    tracing::warn!("{error}: {why}");
}
