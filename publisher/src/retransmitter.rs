//! Answers requests, sends heartbeats and announces the end of session, reading the retained ring: the publishing thread
//! has no part in it.

use crate::alarm::Alarm;
use crate::line::{LineSender, Outcome};
use crate::outbox::Outbox;
use crate::refusals::Refusals;
use crate::stats::{Cycle, ServingStats};
use crate::warm::Warmer;
use crate::watch::Watch;
use seqcast_protocol::SessionId;
use seqcast_recovery::{
    ClientReport, Headroom, Heartbeat, HeartbeatConfig, Nanos, Rate, Responder, ResponderCounters, Run,
};
use seqcast_transport::{Clock, Inbox, Mapping, Ticker, UnicastSocket};
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

/// The most work of one duty cycle.
#[derive(Clone, Copy, Debug)]
struct Limits {
    requests: usize,
    answers: usize,
}

/// Seen on loopback: 0.8 µs to take a request, 4 µs for an answer of 1,022 bytes that leaves alone. A full cycle takes less than
/// 0.4 ms, so that heartbeats leave on time. More is taken than answered, so that what is too much is refused to whom it is due,
/// not dropped by the kernel.
const ON_ITS_OWN: Limits = Limits { requests: 256, answers: 88 };

/// About 20 µs: so long the next flush waits at the most.
const INLINE: Limits = Limits { requests: 8, answers: 4 };

/// The longest wait while data is sent, because nothing wakes it when data was: a ticker does at this distance. Data may have been
/// sent right behind the last look, from which the 1 ms to the first heartbeat is counted, so that it is early by up to so much
/// and late only by timer slack and scheduling. 2,500 wake-ups a second take some per cent of a core.
const BUSY_WAIT: Nanos = Nanos::from_micros(400);

/// When nothing was sent for so long, it dozes until its next heartbeat is due. Each doze costs the publishing thread a
/// system call: one a second at the most. Arbitrary.
const DOZE_AFTER: Nanos = Nanos::from_secs(1);

/// What a retransmitter has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetransmitterCounters {
    /// Requests and answers.
    pub responder: ResponderCounters,
    /// Heartbeats sent, on all lines together; a unicast line counts a copy for each destination.
    pub heartbeats: u64,
    /// End-of-session packets sent, counted likewise.
    pub ends_of_session: u64,
    /// Answers, heartbeats and ends of session that the kernel refused.
    pub refused_sends: u64,
}

/// The serving half of a publisher. It has its own sockets and only reads the ring.
///
/// A publisher runs it on a thread of its own unless told otherwise. Whoever does that instead
/// ([`PublisherBuilder::open_split`](crate::PublisherBuilder::open_split)) calls [`Self::do_work`] until
/// [`Self::is_finished`]: at once again while it does anything, then as soon as one of [`Self::fds`] is readable, at the latest
/// after [`Self::timeout`]. Or always at once, on a core that is free for it.
///
/// One that serves the ring file of another process
/// ([`PublisherBuilder::open_retransmitter`](crate::PublisherBuilder::open_retransmitter)) is run likewise, and never
/// finished. It sends heartbeats only while nobody writes the file, and never an end of session.
#[derive(Debug)]
pub struct Retransmitter {
    pub(crate) responder: Responder<Mapping>,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) socket: Option<UnicastSocket>,
    /// What the socket receives into.
    pub(crate) inbox: Inbox,
    pub(crate) outbox: Outbox,
    pub(crate) warmer: Option<Warmer>,
    pub(crate) lines: Vec<LineSender>,
    pub(crate) counters: RetransmitterCounters,
    /// `None` when the publishing thread does this work.
    pub(crate) alarm: Option<Arc<Alarm>>,
    /// Ticks while data is sent, if the publisher is another thread.
    pub(crate) ticker: Option<Ticker>,
    /// Whether a doze was announced since the last duty cycle.
    pub(crate) has_dozed: bool,
    /// Whether the publisher wakes it, and that has not been taken.
    pub(crate) awaits_wake: bool,
    /// The file of the ring, when its publisher is another process.
    pub(crate) watch: Option<Watch>,
    pub(crate) heartbeat_config: HeartbeatConfig,
    pub(crate) rate: Rate,
    /// What others see of it.
    pub(crate) stats: Option<Box<ServingStats>>,
    pub(crate) refusals: Refusals,
}

impl Retransmitter {
    /// One duty cycle: takes the requests that have arrived, answers clients in turn, and sends a heartbeat or an end of
    /// session when it is due. Returns how many datagrams it took and sent.
    pub fn do_work(&mut self) -> usize {
        if let Some(alarm) = &self.alarm {
            if std::mem::take(&mut self.has_dozed) {
                self.awaits_wake |= alarm.doze.end();
            }
            // The wake-up may come a moment after its announcement was seen.
            self.awaits_wake = self.awaits_wake && !alarm.waker.drain();
        }
        let now = Clock::now();
        self.look_at_file(now);
        let limits = if self.alarm.is_some() { ON_ITS_OWN } else { INLINE };
        let requests = self.take_requests(now, limits.requests);
        let answers = self.answer(now, limits.answers);
        let work = requests + answers + self.send_heartbeat(now);
        if work == 0 {
            if let (Some(warmer), Some(socket)) = (&mut self.warmer, &self.socket) {
                warmer.warm(now, socket);
            }
            if let Some(ticker) = &self.ticker {
                ticker.drain();
            }
        }
        if let Some(stats) = &mut self.stats {
            if work > 0 {
                stats.note_cycle(Cycle { at: now, duration: Clock::now() - now, requests, answers });
            }
            if stats.may_write(now) {
                self.write_stats(now);
            }
        }
        work
    }

    /// Tells others how it stands, if it does.
    pub(crate) fn write_stats(&mut self, now: Nanos) {
        let counters = self.counters();
        if let Some(stats) = &mut self.stats {
            stats.write(now, counters, &self.responder, &mut self.rate);
        }
    }

    /// How long to wait for the next duty cycle. While nothing is sent for more than a second that is until the next heartbeat is
    /// due, and then the publisher's first flush wakes whoever waits for [`Self::fds`], all of them.
    pub fn timeout(&mut self) -> Nanos {
        if !self.inbox.is_empty() {
            return Nanos::ZERO;
        }
        let now = Clock::now();
        let heartbeat = match &self.watch {
            Some(watch) if watch.has_writer() => watch.look_at(),
            Some(watch) => watch.look_at().min(self.heartbeat.due()),
            None => self.heartbeat.due(),
        };
        let due = self.responder.next_answer_at().map_or(heartbeat, |at| at.min(heartbeat));
        let due = self.warmer.as_ref().map_or(due, |warmer| warmer.due().min(due));
        let due = self.stats.as_ref().map_or(due, |stats| stats.due().min(due));
        let (Some(alarm), Some(ticker)) = (&self.alarm, &mut self.ticker) else { return due - now };
        if self.heartbeat.idle_for(now) < DOZE_AFTER {
            ticker.start(BUSY_WAIT);
            let is_soon = due - now < BUSY_WAIT || !ticker.is_started();
            return if is_soon { (due - now).min(BUSY_WAIT) } else { DOZE_AFTER };
        }
        ticker.stop();
        alarm.doze.begin();
        self.has_dozed = true;
        let ring = self.responder.ring();
        // What was sent before the publisher could see the doze.
        if self.heartbeat.knows(ring.sent(), ring.is_ended()) { due - now } else { Nanos::ZERO }
    }

    /// What to wait for: the request socket, if requests are answered, what the publisher wakes it by, and the timer that does
    /// while data is sent. They never change.
    #[must_use]
    pub fn fds(&self) -> Vec<RawFd> {
        let socket = self.socket.as_ref().map(AsRawFd::as_raw_fd);
        let alarm = self.alarm.as_ref().map(|alarm| alarm.waker.as_raw_fd());
        [socket, alarm, self.ticker.as_ref().map(AsRawFd::as_raw_fd)].into_iter().flatten().collect()
    }

    /// Whether the end of session has been announced for as long as it should be.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.heartbeat.is_finished(Clock::now())
    }

    /// Where requests are answered, with the port that was found free if none was set.
    pub(crate) fn request_address(&self) -> Option<SocketAddrV4> {
        self.socket.as_ref().map(UnicastSocket::local_address)
    }

    /// The session whose ring it serves.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.responder.ring().session()
    }

    /// What is retained in the ring that it serves, as [`Publisher::retained`](crate::Publisher::retained); `None` when the
    /// ring is damaged.
    pub fn retained(&mut self) -> Option<Headroom> {
        let ring = self.responder.ring();
        let (next, span) = (ring.next(), ring.retained()?);
        Some(self.rate.headroom(Clock::now(), next, span))
    }

    /// What is known of each client, by address.
    pub fn clients(&self) -> impl ExactSizeIterator<Item = &ClientReport> {
        self.responder.clients()
    }

    /// What it has done so far.
    #[must_use]
    pub fn counters(&self) -> RetransmitterCounters {
        RetransmitterCounters { responder: *self.responder.counters(), ..self.counters }
    }

    fn take_requests(&mut self, now: Nanos, limit: usize) -> usize {
        let Some(socket) = &self.socket else { return 0 };
        let (mut count, mut is_last) = (0, false);
        while count < limit {
            let Some(place) = self.inbox.pop() else {
                // An error here is one that an earlier answer has met; the socket goes on.
                if is_last || !matches!(self.inbox.fill(socket.as_raw_fd()), Ok(true)) {
                    break;
                }
                is_last = !self.inbox.is_full();
                continue;
            };
            let client = self.inbox.sender();
            if self.warmer.is_some() && client == socket.local_address() {
                // Behind what was only to keep the way warm there may be a request.
                is_last = false;
                continue;
            }
            count += 1;
            if let Some(stats) = &mut self.stats {
                stats.note_request(now, client);
            }
            match self.responder.handle_request(now, client, self.inbox.datagram(place)) {
                Ok(()) => self.heartbeat.handle_request(now),
                Err(refusal) => self.refusals.tell(now, &self.responder, client, refusal),
            }
        }
        count
    }

    fn answer(&mut self, now: Nanos, limit: usize) -> usize {
        let Some(socket) = &self.socket else { return 0 };
        let mut count = 0;
        while count < limit
            && let Some((client, packet)) = self.responder.poll_answer(now)
        {
            self.outbox.push(client, packet, socket);
            count += 1;
        }
        self.outbox.send(socket);
        self.counters.refused_sends += std::mem::take(&mut self.outbox.refused);
        count
    }

    /// Finds out who writes the ring of another process. While nobody does, all that is retained is offered.
    fn look_at_file(&mut self, now: Nanos) {
        let Some(watch) = &mut self.watch else { return };
        if let Some(ring) = watch.look(now) {
            self.heartbeat = Heartbeat::new(self.heartbeat_config, ring.session(), now);
            if let Some(warmer) = &mut self.warmer {
                warmer.replace_ring(ring.clone());
            }
            self.responder.replace_ring(ring);
        }
        self.responder.offer_retained(!watch.has_writer());
    }

    fn send_heartbeat(&mut self, now: Nanos) -> usize {
        // The publisher of another process sends its own heartbeats, and it alone knows whether the session has ended.
        if self.watch.as_ref().is_some_and(Watch::has_writer) {
            return 0;
        }
        let ring = self.responder.ring();
        // The state first: once it says that the session has ended, `sent` is final.
        let ended = ring.is_ended() && self.watch.is_none();
        let Some(header) = self.heartbeat.poll(now, self.responder.offered(), ended) else { return 0 };
        let packet = header.to_bytes();
        let mut outcome = Outcome::default();
        self.lines.iter_mut().for_each(|line| line.send(&[Run::one(&packet)], &mut outcome));
        let counter = if ended { &mut self.counters.ends_of_session } else { &mut self.counters.heartbeats };
        *counter += outcome.sent;
        // Twenty bytes are too long for no way.
        self.counters.refused_sends += outcome.refused;
        (outcome.sent + outcome.refused) as usize
    }
}
