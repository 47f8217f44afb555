//! A publisher: claims, commits, flushes.

use crate::alarm::Alarm;
use crate::builder::PublisherBuilder;
use crate::line::{LineCounters, LineSender, Outcome};
use crate::retransmitter::{Retransmitter, RetransmitterCounters};
use crate::stats::Kept;
use crate::thread::RetransmitterThread;
use crate::{PublishError, TypedClaim};
use seqcast_protocol::{SequenceNumber, SequenceRange, SessionId};
use seqcast_recovery::{ClaimError, ClientReport, Headroom, Nanos, Publication, Rate};
use seqcast_stats::{Cell, Histogram};
use seqcast_transport::{Clock, Mapping, SharedFile, wait_readable};
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// How often a closing publisher looks whether it should go on lingering.
const LINGER_TICK: Duration = Duration::from_millis(5);

/// Space for one message in the packet being filled; see [`Publisher::claim`].
pub type Claim<'a> = seqcast_recovery::Claim<'a, Mapping>;

/// What one flush did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what the kernel refused will have to be asked for"]
pub struct Flushed {
    /// The numbers that are part of the session since; they are retained.
    pub range: SequenceRange,
    /// Packets that the kernel took, on all lines together; a unicast line counts a copy for each destination.
    pub sent: u64,
    /// Packets that the kernel refused, counted likewise; subscribers will ask for them.
    pub refused: u64,
}

/// What a publisher has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublisherCounters {
    /// Messages flushed.
    pub messages: u64,
    /// What each line did, by [`Line::index`](crate::Line::index).
    pub lines: [LineCounters; 2],
    /// What the retransmitter has done; not counted here when it runs elsewhere ([`PublisherBuilder::open_split`]).
    pub retransmitter: RetransmitterCounters,
}

/// What a publisher did until it was closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// What it did in all.
    pub counters: PublisherCounters,
    /// What is known of each client, as [`Publisher::clients`].
    pub clients: Vec<ClientReport>,
}

/// Who does the retransmitter's work.
#[derive(Debug)]
pub(crate) enum Service {
    Thread(RetransmitterThread),
    Inline(Box<Retransmitter>),
    Elsewhere,
}

/// Publishes one session.
///
/// Messages are claimed and committed into a packet in a staging buffer; [`Self::flush`] retains them and sends them. A
/// publisher that is dropped falls silent, as one that crashed; [`Self::close`] announces the end.
#[derive(Debug)]
pub struct Publisher {
    publication: Publication<Mapping>,
    /// The file that the ring is in; it keeps the writer's lock.
    _ring_file: Option<SharedFile>,
    lines: Vec<LineSender>,
    request_address: Option<SocketAddrV4>,
    /// `None` when the retransmitter runs on this thread.
    alarm: Option<Arc<Alarm>>,
    service: Service,
    messages: u64,
    rate: Rate,
    stats: Option<Kept>,
}

impl Publisher {
    /// Begins to set up the publisher of `session`.
    #[must_use]
    pub fn builder(session: SessionId) -> PublisherBuilder {
        PublisherBuilder::new(session)
    }

    pub(crate) fn new(
        publication: Publication<Mapping>,
        ring_file: Option<SharedFile>,
        lines: Vec<LineSender>,
        request_address: Option<SocketAddrV4>,
        alarm: Option<Arc<Alarm>>,
        stats: Option<Kept>,
    ) -> Self {
        let service = Service::Elsewhere;
        let rate = Rate::new(Clock::now(), publication.ring().next());
        Self { publication, _ring_file: ring_file, lines, request_address, alarm, service, messages: 0, rate, stats }
    }

    pub(crate) fn set_service(&mut self, service: Service) {
        self.service = service;
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.publication.session()
    }

    /// The number that the next committed message will have.
    #[must_use]
    pub fn next(&self) -> SequenceNumber {
        self.publication.next()
    }

    /// The oldest number that is retained.
    #[must_use]
    pub fn oldest(&self) -> SequenceNumber {
        self.publication.ring().oldest()
    }

    /// Where requests are answered, with the port that was found free if none was set.
    #[must_use]
    pub fn request_address(&self) -> Option<SocketAddrV4> {
        self.request_address
    }

    /// The longest message, in bytes: what `max_datagram` leaves.
    #[must_use]
    pub fn max_message_bytes(&self) -> usize {
        self.publication.max_message_bytes()
    }

    /// The room of the retained ring in bytes: what was set, rounded up to a power of two.
    #[must_use]
    pub fn retain_bytes(&self) -> usize {
        self.publication.ring().size().data_words * size_of::<u64>()
    }

    /// What is retained: how far a subscriber can be behind and still be answered. The time says how long ago the oldest
    /// message was published, if that was at the present rate.
    pub fn retained(&mut self) -> Headroom {
        let ring = self.publication.ring();
        let (now, next, span) = (Clock::now(), ring.next(), ring.retained());
        self.rate.headroom(now, next, span)
    }

    /// Hands out `bytes` of zeroed space for the next message, `0..=max_message_bytes()`; its alignment is 1.
    ///
    /// When the staging buffer is full, what was committed is flushed first. A claim that is dropped or forgotten
    /// consumes no number.
    ///
    /// # Errors
    ///
    /// When the message is too long, or that flush meets what cannot heal.
    #[inline]
    pub fn claim(&mut self, bytes: usize) -> Result<Claim<'_>, PublishError> {
        if !self.publication.has_room(bytes) && bytes <= self.max_message_bytes() {
            // What the kernel refuses is counted there.
            let _ = self.flush()?;
        }
        Ok(self.publication.claim(bytes)?)
    }

    /// As [`Self::claim`], as long as a `T` and seen as one: any type of zerocopy's that has no alignment and no padding.
    ///
    /// # Errors
    ///
    /// As [`Self::claim`].
    #[inline]
    pub fn claim_as<T>(&mut self) -> Result<TypedClaim<'_, T>, PublishError>
    where
        T: FromBytes + IntoBytes + KnownLayout + Immutable + Unaligned,
    {
        self.claim(size_of::<T>()).map(TypedClaim::new)
    }

    /// Commits a copy of `message`; it leaves with the next flush. Returns its number.
    ///
    /// # Errors
    ///
    /// As [`Self::claim`].
    #[inline]
    pub fn publish(&mut self, message: &[u8]) -> Result<SequenceNumber, PublishError> {
        match self.publication.publish(message) {
            Err(ClaimError::Full) => self.publish_behind_flush(message),
            published => Ok(published?),
        }
    }

    #[cold]
    fn publish_behind_flush(&mut self, message: &[u8]) -> Result<SequenceNumber, PublishError> {
        // What the kernel refuses is counted there.
        let _ = self.flush()?;
        Ok(self.publication.publish(message)?)
    }

    /// Retains everything committed so far, then sends it on every line.
    ///
    /// # Errors
    ///
    /// When a packet is longer than a line's path carries by now. It is retained, as all others are, and those that
    /// can be sent have been.
    #[inline]
    pub fn flush(&mut self) -> Result<Flushed, PublishError> {
        let lines = &mut self.lines;
        let mut outcome = Outcome::default();
        let range = self.publication.flush(|runs| lines.iter_mut().for_each(|line| line.send(runs, &mut outcome)));
        self.messages += range.count();
        if let Some(alarm) = self.alarm.as_ref().filter(|_| !range.is_empty()) {
            alarm.sound();
        }
        match outcome.too_long {
            Some((line, bytes)) => Err(PublishError::TooLongForPath { line, bytes }),
            None => Ok(Flushed { range, sent: outcome.sent, refused: outcome.refused }),
        }
    }

    /// Takes up to 8 requests, gives up to 4 answers, and sends a heartbeat if one is due, when the publisher was opened with
    /// `requests_inline`: about 20 µs. To be called at least every 500 µs, and at once again while it does anything. Returns
    /// how many datagrams it took and sent; 0 when a thread does this work.
    pub fn do_work(&mut self) -> usize {
        match &mut self.service {
            Service::Inline(retransmitter) => retransmitter.do_work(),
            Service::Thread(_) | Service::Elsewhere => 0,
        }
    }

    /// What it has done so far.
    #[must_use]
    pub fn counters(&self) -> PublisherCounters {
        let mut lines = [LineCounters::default(); 2];
        self.lines.iter().for_each(|line| lines[line.line.index()] = line.counters);
        PublisherCounters { messages: self.messages, lines, retransmitter: self.service.counters() }
    }

    /// What is known of each client that asks for messages, by address: as of 10 ms ago or less, unless requests are waiting,
    /// when a thread answers them. None when the retransmitter runs elsewhere, which has its own
    /// [`Retransmitter::clients`].
    #[must_use]
    pub fn clients(&self) -> Vec<ClientReport> {
        self.service.clients()
    }

    /// The word in its file of counters of a number of the application's own ([`PublisherBuilder::stats_counter`]); `None` when
    /// there is no such file or number.
    #[must_use]
    pub fn stats_cell(&self, name: &str) -> Option<Cell> {
        self.stats.as_ref()?.cell(name)
    }

    /// As [`Self::stats_cell`], for how a number is distributed ([`PublisherBuilder::stats_histogram`]).
    #[must_use]
    pub fn stats_histogram(&self, name: &str) -> Option<Histogram> {
        self.stats.as_ref()?.histogram(name)
    }

    /// Flushes, announces the end of session, and answers requests until the linger is over: it ends early when nobody has
    /// asked for a second. Returns what the publisher did in all. A retransmitter that runs elsewhere
    /// ([`PublisherBuilder::open_split`]) goes on there, and is not waited for.
    ///
    /// # Errors
    ///
    /// As [`Self::flush`]; the session has ended all the same.
    pub fn close(self) -> Result<PublisherCounters, PublishError> {
        self.close_while(|| true).map(|closed| closed.counters)
    }

    /// As [`Self::close`], but lingers no longer than `go_on` returns true; it is asked every few milliseconds. Says also who
    /// asked.
    ///
    /// # Errors
    ///
    /// As [`Self::flush`].
    pub fn close_while(mut self, mut go_on: impl FnMut() -> bool) -> Result<Closed, PublishError> {
        let flushed = self.flush();
        let counters = self.counters();
        let (session, end) = (self.session(), self.next());
        self.publication.end(|_| {});
        tracing::info!(%session, end, "session {session} ends at {end}");
        if let Some(alarm) = &self.alarm {
            alarm.sound();
        }
        let tick = Nanos::from(LINGER_TICK);
        loop {
            let (fds, wait) = match &mut self.service {
                Service::Thread(thread) if thread.is_finished() => break,
                Service::Inline(retransmitter) if retransmitter.is_finished() => break,
                Service::Elsewhere => break,
                Service::Thread(_) => (Vec::new(), tick),
                Service::Inline(retransmitter) => {
                    if retransmitter.do_work() > 0 {
                        continue;
                    }
                    (retransmitter.fds(), retransmitter.timeout().min(tick))
                }
            };
            // A signal ends the wait early.
            if !go_on() || wait_readable(&fds, Some(wait)).is_err() {
                break;
            }
        }
        let counters = PublisherCounters { retransmitter: self.service.counters(), ..counters };
        tracing::info!(%session, "session {session} is closed");
        let closed = Closed { counters, clients: self.service.clients() };
        flushed.map(|_| closed)
    }
}

impl Service {
    fn counters(&self) -> RetransmitterCounters {
        match self {
            Self::Thread(thread) => thread.counters(),
            Self::Inline(retransmitter) => retransmitter.counters(),
            Self::Elsewhere => RetransmitterCounters::default(),
        }
    }

    fn clients(&self) -> Vec<ClientReport> {
        match self {
            Self::Thread(thread) => thread.clients(),
            Self::Inline(retransmitter) => retransmitter.clients().copied().collect(),
            Self::Elsewhere => Vec::new(),
        }
    }
}
