//! The settings of a publisher.

use crate::line::{LineDestination, LineSender, LineSettings};
use crate::publisher::{Publisher, Service};
use crate::retransmitter::{Retransmitter, RetransmitterCounters, RetransmitterThread};
use crate::{OpenError, RingMemory};
use seqcast_protocol::{HEADER_BYTES, SessionId};
use seqcast_recovery::{
    Heartbeat, HeartbeatConfig, Line, MAX_DATAGRAM_BYTES, MIN_DATAGRAM_BYTES, Publication, Responder, ResponderConfig,
    RingSize, RingWriter,
};
use seqcast_transport::{BufferGrant, Clock, UnicastSocket, pin_to_core};
use std::net::SocketAddrV4;
use std::time::Duration;

/// Sets a publisher up; every setting but the lines has a default.
#[derive(Clone, Debug)]
pub struct PublisherBuilder {
    session: SessionId,
    lines: [Option<LineDestination>; 2],
    line_settings: LineSettings,
    requests: Option<SocketAddrV4>,
    requests_inline: bool,
    answer_foreign: bool,
    retain_bytes: usize,
    heartbeat: HeartbeatConfig,
    request_buffer_bytes: Option<usize>,
    retransmitter_core: Option<usize>,
}

impl PublisherBuilder {
    pub(crate) fn new(session: SessionId) -> Self {
        Self {
            session,
            lines: [None, None],
            line_settings: LineSettings {
                interface: "127.0.0.1".to_owned(),
                ttl: 1,
                max_datagram: 1_472,
                send_buffer_bytes: Some(1 << 20),
            },
            requests: None,
            requests_inline: false,
            answer_foreign: false,
            retain_bytes: 64 << 20,
            heartbeat: HeartbeatConfig::default(),
            request_buffer_bytes: Some(1 << 20),
            retransmitter_core: None,
        }
    }

    /// Sends on this line; at least one is needed.
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

    /// How many routers a packet may pass, `0..=255`: 0 stays on the host, 1, the default, in the network.
    #[must_use]
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.line_settings.ttl = ttl;
        self
    }

    /// The longest packet, `64..=65507` bytes, no more than the MTU of each line's interface less 28. 1,472 unless set.
    #[must_use]
    pub fn max_datagram(mut self, bytes: usize) -> Self {
        self.line_settings.max_datagram = bytes;
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
        self.answer_foreign = answer;
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

    /// How long [`Publisher::close`] answers requests at the most. 5 s unless set.
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.heartbeat.linger = linger.into();
        self
    }

    /// The longest distance between heartbeats; the first follows the last data by 1 to 2 ms, by up to 6 ms when nothing had
    /// been sent for a second before. 100 ms unless set.
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

    /// Opens the publisher: reserves and touches all memory, opens all sockets, starts the retransmitter.
    ///
    /// # Errors
    ///
    /// Names the setting that cannot be had, and the mend.
    pub fn open(self) -> Result<Publisher, OpenError> {
        let (inline, core) = (self.requests_inline, self.retransmitter_core);
        let (mut publisher, retransmitter) = self.open_split()?;
        publisher.set_service(if inline {
            Service::Inline(Box::new(retransmitter))
        } else {
            let prepare = move || core.map_or(Ok(()), pin_to_core);
            let thread = RetransmitterThread::spawn(retransmitter, prepare).map_err(OpenError::Thread)?;
            Service::Thread(thread.map_err(OpenError::Pin)?)
        });
        Ok(publisher)
    }

    /// Opens the publisher and hands its retransmitter to the caller, who runs it on a thread of their own until it is
    /// finished.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn open_split(self) -> Result<(Publisher, Retransmitter), OpenError> {
        let max_datagram = self.line_settings.max_datagram;
        if !(MIN_DATAGRAM_BYTES..=MAX_DATAGRAM_BYTES).contains(&max_datagram) {
            return Err(OpenError::MaxDatagram(max_datagram));
        }
        let lines = self.open_lines()?;
        if lines.is_empty() {
            return Err(OpenError::NoLine);
        }
        let socket = self.requests.map(|address| self.open_requests(address)).transpose()?;
        lines.iter().for_each(LineSender::warn_if_partial);
        if let Some(address) = self.requests.filter(|address| address.ip().is_loopback())
            && lines.iter().any(|line| !line.is_loopback)
        {
            tracing::warn!("requests are answered at {address}, which other hosts that hear the lines cannot reach");
        }
        let request_address = socket.as_ref().map(UnicastSocket::local_address);
        let size = RingSize::for_bytes(self.retain_bytes, max_datagram - HEADER_BYTES);
        let memory =
            RingMemory::reserve(size.words()).map_err(|_| OpenError::Memory { retain_bytes: self.retain_bytes })?;
        let ring = RingWriter::create(memory, size, self.session).map_err(OpenError::Ring)?;
        let retransmitter = Retransmitter {
            responder: Responder::new(
                ring.reader(),
                max_datagram,
                ResponderConfig { answers_foreign: self.answer_foreign, ..ResponderConfig::default() },
            ),
            heartbeat: Heartbeat::new(self.heartbeat, self.session, Clock::now()),
            socket,
            // Sockets of its own: neither thread waits for the other's.
            lines: self.open_lines()?,
            counters: RetransmitterCounters::default(),
        };
        Ok((Publisher::new(Publication::new(ring, max_datagram), lines, request_address), retransmitter))
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
        Ok(socket)
    }
}
