//! What a subscriber delivers, as packets of its session: in order, each number once, repaired.

use super::lines::BUSY_WAIT;
use super::pcapng::MAX_PAYLOAD_BYTES;
use super::recorder::Recorder;
use crate::input::Datagram;
use crate::interrupt::Interrupt;
use crate::live::Limit;
use crate::progress::{Progress, count, thousands};
use crate::subscribe::news::News;
use seqcast_protocol::{HEADER_BYTES, Header, LENGTH_BYTES, MAX_MESSAGES, SessionId};
use seqcast_recovery::Nanos;
use seqcast_subscriber::{Event, Status, Subscriber};
use seqcast_transport::{Clock, wait_readable};
use std::net::SocketAddrV4;

/// The longest packet of several messages: 1500 bytes of Ethernet without IP and UDP headers. A message that is longer has
/// one of its own.
const PACKET_BYTES: usize = 1_472;

/// How many messages are taken between two looks at signals. Arbitrary.
const MESSAGES_PER_POLL: usize = 1_024;

/// Makes packets of messages.
///
/// Invariant: `packet` is empty, or a header's room and the blocks of `count` messages from number `first` on.
pub(super) struct Packets<'a> {
    recorder: &'a mut Recorder,
    source: SocketAddrV4,
    destination: SocketAddrV4,
    session: SessionId,
    packet: Vec<u8>,
    first: u64,
    count: u16,
    time: Nanos,
    has_ended: bool,
    news: News,
}

impl<'a> Packets<'a> {
    /// Hands packets to `recorder`, as if `source` had sent them to `destination`.
    pub(super) fn new(recorder: &'a mut Recorder, source: SocketAddrV4, destination: SocketAddrV4) -> Self {
        Self {
            recorder,
            source,
            destination,
            session: SessionId::UNKNOWN,
            packet: Vec::with_capacity(MAX_PAYLOAD_BYTES),
            first: 0,
            count: 0,
            time: Nanos::ZERO,
            has_ended: false,
            news: News::new(),
        }
    }

    /// Records until a limit is reached, the disk fails, the user interrupts, or, if so told, the session has ended.
    pub(super) fn record(
        &mut self,
        subscriber: &mut Subscriber,
        limit: Limit,
        is_until_end: bool,
        interrupt: &Interrupt,
    ) {
        let mut progress = Progress::new();
        while !interrupt.is_raised() && !self.recorder.has_failed() && !limit.is_reached_by(self.recorder.taken()) {
            let Some(timeout) = limit.wait() else { break };
            if is_until_end && self.has_ended {
                break;
            }
            self.time = Nanos::from_micros(Clock::unix_micros());
            let work = subscriber.poll(|event| self.handle(event), MESSAGES_PER_POLL);
            self.seal();
            if work == 0 {
                let timeout = subscriber.timeout().map_or(timeout, |due| timeout.min(due.into()));
                let timeout = if self.recorder.flush() { timeout } else { timeout.min(BUSY_WAIT) };
                // A socket that cannot be waited for can still be polled.
                if wait_readable(subscriber.fds(), Some(timeout)).is_err() {
                    std::thread::yield_now();
                }
            }
            let now = Clock::now();
            self.news.tell_untold_losses(now);
            let counters = subscriber.subscription().counters();
            progress.update(now, counters.messages, || {
                let lost = format!("{} lost", thousands(counters.lost));
                format!("{}, {lost}, {} left out", count(counters.messages, "message"), self.recorder.overrun())
            });
        }
        progress.clear();
        self.news.tell_untold_losses(Nanos::MAX);
    }

    fn handle(&mut self, event: Event<'_>) {
        let Event::Message(message) = event else { return self.handle_news(&event) };
        self.push(message.number, message.payload);
    }

    fn handle_news(&mut self, event: &Event<'_>) {
        self.news.tell(event);
        match event {
            Event::NewSession(new) => self.begin(new.session),
            Event::Status(Status::Heard { session }) => self.begin(*session),
            Event::EndOfSession(end) => {
                self.seal();
                self.has_ended = true;
                self.take(&Header::end_of_session(end.session, end.next).to_bytes());
            }
            // A packet ends where numbers do not go on, so what is lost or begins again shows.
            Event::Message(_)
            | Event::Gap(_)
            | Event::Recovered(_)
            | Event::Lost(_)
            | Event::Rewound(_)
            | Event::Status(_) => {}
        }
    }

    fn begin(&mut self, session: SessionId) {
        self.seal();
        self.session = session;
        self.has_ended = false;
    }

    fn push(&mut self, number: u64, message: &[u8]) {
        let goes_on = number == self.first + u64::from(self.count) && self.count < MAX_MESSAGES;
        if !goes_on || self.packet.len() + LENGTH_BYTES + message.len() > PACKET_BYTES {
            self.seal();
        }
        if self.packet.is_empty() {
            self.packet.resize(HEADER_BYTES, 0);
            self.first = number;
        }
        self.packet.extend((message.len() as u16).to_be_bytes());
        self.packet.extend(message);
        self.count += 1;
    }

    /// Hands over the packet that is being made, if there is one.
    fn seal(&mut self) {
        if self.packet.is_empty() {
            return;
        }
        let mut packet = std::mem::take(&mut self.packet);
        let header = Header::new(self.session, self.first, self.count).to_bytes();
        packet[..HEADER_BYTES].copy_from_slice(&header);
        self.take(&packet);
        packet.clear();
        self.packet = packet;
        self.count = 0;
    }

    fn take(&mut self, payload: &[u8]) {
        let datagram = Datagram { source: self.source, destination: self.destination, payload };
        self.recorder.take(0, self.time, &datagram);
    }
}
