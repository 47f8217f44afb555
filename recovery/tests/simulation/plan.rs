//! What a scenario consists of: who publishes what and when, who listens from when on, over which paths.

use seqcast_protocol::{SequenceNumber, SessionId};
use seqcast_recovery::{
    HeartbeatConfig, ImpairmentConfig, Line, Nanos, RequestConfig, ResponderConfig, Start, SubscriptionConfig,
};
use std::ops::Range;

/// Everything that happens in one run; the same scenario always runs the same.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    /// In the order of their beginnings.
    pub(crate) sessions: Vec<SessionPlan>,
    pub(crate) clients: Vec<ClientPlan>,
    pub(crate) floods: Vec<FloodPlan>,
    /// From here on nothing is impaired and no path is black.
    pub(crate) clean_from: Nanos,
    /// When everybody must have what there is.
    pub(crate) deadline: Nanos,
    /// Whether requests are answered for as long as anybody asks, so that nobody may give up for want of an answer.
    pub(crate) is_answered: bool,
}

/// One session of the publisher. The next one may have the same name: then it is the same session, whose numbers begin again.
#[derive(Clone, Debug)]
pub(crate) struct SessionPlan {
    pub(crate) session: SessionId,
    pub(crate) begins: Nanos,
    pub(crate) steps: Vec<Step>,
    /// From this seed the bytes of the messages are drawn.
    pub(crate) input: u64,
    pub(crate) ending: Ending,
    pub(crate) ring_bytes: usize,
    pub(crate) max_datagram: usize,
    pub(crate) heartbeat: HeartbeatConfig,
    /// Whether line B carries the messages in packets of its own, which overlap.
    pub(crate) recuts_b: bool,
    pub(crate) responder: ResponderConfig,
    /// How long the responder takes for an answer.
    pub(crate) service: Nanos,
    /// Whether the retransmitter is a process of its own, which lives on when the publisher is killed.
    pub(crate) retransmitter_of_its_own: bool,
    /// Whether two publishers of the same input send it, one on each line. Each has a responder: the request addresses are
    /// theirs in turn.
    pub(crate) is_pair: bool,
    /// How much later than the first the second of a pair has its input.
    pub(crate) skew: Nanos,
    pub(crate) crashes: Vec<Crash>,
}

/// A publisher is killed, and goes on later with its ring, and with what its input has given meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crash {
    /// 1 for the second of a pair.
    pub(crate) publisher: usize,
    /// The index of the step at which it is killed.
    pub(crate) step: usize,
    pub(crate) cut: Cut,
    pub(crate) down: Nanos,
}

/// Where in its flush a publisher is killed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    /// When so many of the messages are retained, and none is sent.
    Retaining {
        messages: u64,
        /// How many of the two marks behind the last packet are not stored.
        torn_marks: usize,
    },
    /// When everything is retained and so many datagrams are sent; behind the flush if it has no more.
    Sending { datagrams: usize },
}

/// Messages of these sizes are committed at this time, then flushed together.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) at: Nanos,
    pub(crate) sizes: Vec<usize>,
}

/// How a session goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Its end is announced, and requests are answered through the linger.
    End(Nanos),
    /// Its process is killed, the responder with it.
    Die(Nanos),
}

/// One subscriber.
#[derive(Clone, Debug)]
pub(crate) struct ClientPlan {
    pub(crate) joins: Nanos,
    pub(crate) config: SubscriptionConfig,
    /// By `Line::index`: one path, or two. A line that was set and has no path is never heard.
    pub(crate) lines: Vec<PathPlan>,
    /// There and back, for each request address.
    pub(crate) targets: Vec<(PathPlan, PathPlan)>,
    /// How many events a poll takes before its callback breaks.
    pub(crate) limit: usize,
    /// How long the application is away after a poll that its limit ended.
    pub(crate) pause: Nanos,
    /// How many datagrams a duty cycle takes from one socket.
    pub(crate) datagrams_per_cycle: usize,
    /// How many datagrams the receive buffer of a line holds; more are dropped by the kernel.
    pub(crate) receive_buffer: usize,
    /// When the application is stopped.
    pub(crate) stalls: Vec<Range<Nanos>>,
    /// This line is the publisher's ring, on the same host; its path is not used. The first request address is the ring, then,
    /// and those of `targets` come behind it.
    pub(crate) ring: Option<Line>,
    /// How long after a flush it looks at the ring.
    pub(crate) ring_lag: Nanos,
    /// When the process is killed, in the order of the lives.
    pub(crate) deaths: Vec<Death>,
}

/// A subscriber is killed, and goes on later from its stored offset.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Death {
    /// Behind so many events of its life.
    pub(crate) events: usize,
    pub(crate) down: Nanos,
}

/// Somebody who asks for all that is retained, again and again, and listens to nothing.
#[derive(Clone, Debug)]
pub(crate) struct FloodPlan {
    pub(crate) during: Range<Nanos>,
    pub(crate) interval: Nanos,
}

/// A path of datagrams from one side to the other.
#[derive(Clone, Debug)]
pub(crate) struct PathPlan {
    pub(crate) latency: Nanos,
    pub(crate) impairment: ImpairmentConfig,
    /// While black, a path drops everything.
    pub(crate) blackouts: Vec<Range<Nanos>>,
    /// For each of these numbers the first packet that carries it is dropped.
    pub(crate) loses: Vec<SequenceNumber>,
    /// In the first packet that carries this number the last byte of its message is altered.
    pub(crate) flips: Option<SequenceNumber>,
}

impl PathPlan {
    /// A path that alters nothing.
    pub(crate) fn clean(latency: Nanos) -> Self {
        Self { latency, impairment: ImpairmentConfig::default(), blackouts: vec![], loses: vec![], flips: None }
    }
}

impl ClientPlan {
    /// A subscriber on clean paths of 20 µs that joins at the beginning, with this many request addresses.
    pub(crate) fn clean(targets: usize) -> Self {
        let path = PathPlan::clean(Nanos::from_micros(20));
        Self {
            joins: Nanos::ZERO,
            config: SubscriptionConfig {
                request_targets: targets,
                request: RequestConfig::default(),
                window_messages: 4_096,
                window_bytes: 1 << 20,
                gap_capacity: 512,
                ..SubscriptionConfig::default()
            },
            lines: vec![path.clone()],
            targets: vec![(path.clone(), path); targets],
            limit: usize::MAX,
            pause: Nanos::ZERO,
            datagrams_per_cycle: 256,
            receive_buffer: usize::MAX,
            stalls: vec![],
            ring: None,
            ring_lag: Nanos::ZERO,
            deaths: vec![],
        }
    }

    /// How many request addresses come before those of `targets`.
    pub(crate) fn ring_targets(&self) -> usize {
        usize::from(self.ring.is_some())
    }

    /// Where it begins in a session that is its first, or is followed later.
    pub(crate) fn start(&self, session: SessionId, is_first: bool) -> Start {
        match (self.config.resume, self.config.start) {
            (Some((resumed, number)), _) if resumed == session => Start::At(number),
            (_, Start::At(_)) if !is_first => Start::Oldest,
            (_, start) => start,
        }
    }

    /// The same with these two lines.
    pub(crate) fn with_lines(self, a: PathPlan, b: PathPlan) -> Self {
        Self { config: SubscriptionConfig { lines: [true, true], ..self.config }, lines: vec![a, b], ..self }
    }

    /// The same with the publisher's ring for this line.
    pub(crate) fn on_ring(self, line: Line) -> Self {
        let request_targets = self.targets.len() + 1;
        Self { config: SubscriptionConfig { request_targets, ..self.config }, ring: Some(line), ..self }
    }
}

impl SessionPlan {
    /// `count` messages of `bytes`, one each `interval` from the beginning on, then an announced end.
    pub(crate) fn steady(session: &str, begins: Nanos, count: u64, interval: Nanos, bytes: usize) -> Self {
        let at = |index: u64| begins + Nanos(interval.0 * index);
        Self {
            session: session.parse().expect("a session's name"),
            begins,
            steps: (0..count).map(|index| Step { at: at(index), sizes: vec![bytes] }).collect(),
            input: begins.0,
            ending: Ending::End(at(count)),
            ring_bytes: 1 << 20,
            max_datagram: 1_472,
            heartbeat: HeartbeatConfig::default(),
            recuts_b: false,
            responder: ResponderConfig::default(),
            service: Nanos::ZERO,
            retransmitter_of_its_own: false,
            is_pair: false,
            skew: Nanos::ZERO,
            crashes: vec![],
        }
    }
}

impl SessionPlan {
    /// The same input again, from `begins` on, to the end that it has then.
    pub(crate) fn again(&self, begins: Nanos) -> Self {
        let shift = begins - self.begins;
        let steps = self.steps.iter().map(|step| Step { at: step.at + shift, sizes: step.sizes.clone() });
        let (Ending::End(at) | Ending::Die(at)) = self.ending;
        Self { begins, steps: steps.collect(), ending: Ending::End(at + shift), crashes: vec![], ..self.clone() }
    }
}

impl Scenario {
    /// One session, these clients, clean from its last message on, over 30 s after its last message.
    pub(crate) fn new(session: SessionPlan, clients: Vec<ClientPlan>) -> Self {
        let last = session.steps.last().map_or(session.begins, |step| step.at);
        Self {
            seed: 1,
            sessions: vec![session],
            clients,
            floods: vec![],
            clean_from: last + Nanos(1),
            deadline: last + Nanos::from_secs(30),
            is_answered: true,
        }
    }
}
