//! The judge of one subscriber's requests: nothing is asked for that is there, on its way, or not yet due.

use crate::oracle::Oracle;
use crate::plan::ClientPlan;
use seqcast_protocol::{Packet, PacketKind, SequenceNumber, SequenceRange, SessionId};
use seqcast_recovery::{GapPolicy, Nanos, OutgoingRequest, Start, Subscription};
use std::collections::BTreeMap;

/// What was asked for.
#[derive(Debug, Default)]
pub(crate) struct Economy {
    /// Requests without an answer that are younger than any time-out.
    in_flight: Vec<(Nanos, usize, SequenceRange)>,
    /// For numbers that an answer brought in vain, the next number to deliver at that time.
    in_vain: BTreeMap<SequenceNumber, SequenceNumber>,
    has_asked_unheard: bool,
    pub(crate) requests: u64,
}

impl Economy {
    /// A new session begins.
    pub(crate) fn reset(&mut self) {
        self.in_flight.clear();
        self.in_vain.clear();
    }

    /// Notes an answer of `target` that was handed in.
    pub(crate) fn answered(&mut self, target: usize, datagram: &[u8], subscription: &Subscription) {
        let packet = Packet::parse(datagram).expect("only packets are sent");
        if subscription.session() != Some(packet.session()) {
            return;
        }
        match packet.kind() {
            PacketKind::Heartbeat => {
                self.in_flight.retain(|(_, asked, range)| *asked != target || range.start() >= packet.sequence());
            }
            _ => self.in_flight.retain(|(_, _, range)| !range.contains(packet.sequence())),
        }
        if let Some(next) = subscription.next() {
            self.in_vain.extend((packet.range().start()..packet.range().end()).map(|number| (number, next)));
        }
    }

    /// Judges one request.
    pub(crate) fn request(
        &mut self,
        now: Nanos,
        request: &OutgoingRequest,
        subscription: &Subscription,
        oracle: &Oracle,
        plan: &ClientPlan,
    ) {
        let config = &plan.config;
        self.requests += 1;
        let (target, asked) = (request.target, request.request.range());
        assert!(target < config.request_targets, "target {target} does not exist");
        let (Some(next), Some(highest)) = (subscription.next(), subscription.highest()) else {
            assert!(!self.has_asked_unheard, "asked twice without having heard anything");
            assert!(config.start != Start::Live, "asked for a start that is not known");
            assert_eq!(request.request.session(), subscription.session().unwrap_or(SessionId::UNKNOWN));
            self.has_asked_unheard = true;
            return;
        };
        let view = oracle.view.as_ref().expect("a session comes before its requests");
        assert_eq!(request.request.session(), view.session, "asked for another session");
        assert!(asked.start() >= next && asked.end() <= highest, "asked for {asked}, missing are {next}..{highest}");
        assert!(subscription.open_gaps() > 0, "asked for {asked}, and nothing is missing");
        let is_open =
            |range: &SequenceRange| (range.start().max(next)..range.end()).any(|number| !view.has_arrived(number));
        let young = config.request.min_timeout;
        self.in_flight.retain(|(sent_at, _, range)| now < *sent_at + young && is_open(range));
        for (_, _, range) in &self.in_flight {
            assert!(range.intersection(asked).is_empty(), "asked for {asked}, and {range} is in flight");
        }
        self.in_flight.push((now, target, asked));
        let limit = config.request.in_flight.max(1);
        assert!(self.in_flight.len() <= limit, "{} requests in flight", self.in_flight.len());
        for number in asked.start()..asked.end() {
            assert!(!oracle.is_roomy || !view.has_arrived(number), "asked for {number}, which has arrived");
            let in_vain = self.in_vain.remove(&number);
            assert_ne!(in_vain, Some(next), "asked again for {number}, and there is no more room than before");
        }
        if view.is_caught_up && oracle.is_roomy {
            assert!(config.gap_policy != GapPolicy::Skip, "asked for {asked}, which is skipped");
        }
        let is_late_join = view.first_heard.is_none_or(|first| asked.start() < first);
        if !is_late_join && oracle.is_roomy {
            let known_at = view.known_at(asked.start()).expect("what is asked for is known");
            assert!(now >= known_at + config.request.delay, "asked for {asked} before the delay");
        }
    }
}
