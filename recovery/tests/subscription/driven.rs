//! A subscription driven by its contract, and what it tells.

use seqcast_protocol::{Header, PacketWriter, SessionId};
use seqcast_recovery::{
    Event, GapOrigin, Line, LossCause, Nanos, OutgoingRequest, SessionChoice, Source, Start, Status, Subscription,
    SubscriptionConfig,
};
use std::ops::ControlFlow::{self, Break, Continue};

/// An event without what it borrows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    Message(u64),
    Gap(u64, u64, GapOrigin),
    Recovered(u64, u64, GapOrigin),
    Lost(u64, u64, LossCause),
    NewSession(&'static str),
    Rewound(u64, u64),
    EndOfSession(u64),
    Status(Status),
}

pub(crate) use Told::{EndOfSession, Gap, Lost, Message, NewSession, Recovered};

pub(crate) const LINE: Source = Source::Line(Line::A);
pub(crate) const TARGET: Source = Source::RequestTarget(0);
pub(crate) const UNKNOWN: GapOrigin = GapOrigin::Unknown;

pub(crate) fn session(name: &str) -> SessionId {
    name.parse().expect("a session's name")
}

pub(crate) fn note(event: &Event<'_>) -> Told {
    match *event {
        Event::Message(message) => Message(message.number),
        Event::Gap(gap) => Gap(gap.range.start(), gap.range.end(), gap.origin),
        Event::Recovered(recovered) => Recovered(recovered.range.start(), recovered.range.end(), recovered.origin),
        Event::Lost(loss) => Lost(loss.range.start(), loss.range.end(), loss.cause),
        Event::NewSession(new) if new.session == session("ONE") => NewSession("ONE"),
        Event::NewSession(_) => NewSession("TWO"),
        Event::Rewound(rewound) => Told::Rewound(rewound.expected, rewound.sequence),
        Event::EndOfSession(end) => EndOfSession(end.next),
        Event::Status(status) => Told::Status(status),
    }
}

/// Messages `first..end` of `session`, each of two bytes.
pub(crate) fn packet(of: &str, first: u64, end: u64) -> Vec<u8> {
    packet_of(of, first, end, 0)
}

/// As [`packet`], with other bytes for each `life`.
pub(crate) fn packet_of(of: &str, first: u64, end: u64, life: u16) -> Vec<u8> {
    let mut buffer = [0; 1_472];
    let mut writer = PacketWriter::new(&mut buffer, session(of), first);
    for number in first..end {
        writer.push(&(number as u16 ^ life).to_be_bytes()).expect("it fits");
    }
    writer.finish().to_vec()
}

pub(crate) fn heartbeat(of: &str, next: u64) -> Vec<u8> {
    Header::heartbeat(session(of), next).to_bytes().to_vec()
}

pub(crate) fn end(of: &str, next: u64) -> Vec<u8> {
    Header::end_of_session(session(of), next).to_bytes().to_vec()
}

/// A subscription to `ONE` with one request address, driven by its contract.
pub(crate) struct Driven {
    pub(crate) subscription: Subscription,
    pub(crate) now: Nanos,
    pub(crate) limit: usize,
}

pub(crate) fn config() -> SubscriptionConfig {
    SubscriptionConfig {
        session: SessionChoice::Only(session("ONE")),
        start: Start::Oldest,
        request_targets: 1,
        window_messages: 64,
        window_bytes: 4_096,
        gap_capacity: 8,
        ..SubscriptionConfig::default()
    }
}

impl Driven {
    pub(crate) fn new(config: SubscriptionConfig) -> Self {
        Self { subscription: Subscription::new(config, Nanos::ZERO), now: Nanos::ZERO, limit: usize::MAX }
    }

    /// Hands in one datagram, then lets the time do its work; returns what changes the data.
    pub(crate) fn take(&mut self, source: Source, datagram: &[u8]) -> Vec<Told> {
        let mut told = self.hand_in(source, datagram);
        told.extend(self.advance());
        told
    }

    /// Hands in one datagram.
    pub(crate) fn hand_in(&mut self, source: Source, datagram: &[u8]) -> Vec<Told> {
        self.drive(
            |subscription, now, sink| {
                subscription.handle_datagram(now, source, datagram, &mut |event: Event<'_>| sink(event))
            },
            datagram,
        )
    }

    pub(crate) fn advance(&mut self) -> Vec<Told> {
        self.drive(|subscription, now, sink| subscription.advance(now, &mut |event: Event<'_>| sink(event)), &[])
    }

    pub(crate) fn at(&mut self, now: Nanos) -> Vec<Told> {
        self.now = now;
        self.advance()
    }

    fn drive(
        &mut self,
        call: impl Fn(&mut Subscription, Nanos, &mut dyn FnMut(Event<'_>) -> ControlFlow<()>) -> ControlFlow<()>,
        datagram: &[u8],
    ) -> Vec<Told> {
        let mut told = vec![];
        let (mut left, limit) = (self.limit, self.limit);
        let mut sink = |event: Event<'_>| {
            if !matches!(event, Event::Status(_)) {
                told.push(note(&event));
            }
            left -= 1;
            if left == 0 {
                left = limit;
                return Break(());
            }
            Continue(())
        };
        let mut flow = call(&mut self.subscription, self.now, &mut sink);
        while flow.is_break() {
            flow = if datagram.is_empty() {
                self.subscription.advance(self.now, &mut sink)
            } else {
                self.subscription.resume(datagram, &mut sink)
            };
        }
        told
    }

    pub(crate) fn asks(&mut self) -> Vec<(u64, u64)> {
        let ask = |OutgoingRequest { request, .. }| (request.range().start(), request.range().end());
        std::iter::from_fn(|| self.subscription.poll_request(self.now)).map(ask).collect()
    }
}
