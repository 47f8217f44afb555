//! The judge of one subscriber's requests: nothing is asked for that is there, on its way, or not yet due; and what is due
//! is asked for in the same duty cycle.

use crate::lines::Wait;
use crate::oracle::Oracle;
use crate::plan::ClientPlan;
use crate::view::View;
use seqcast_protocol::{Packet, PacketKind, SequenceNumber, SequenceRange, SessionId};
use seqcast_recovery::{GapPolicy, Nanos, OutgoingRequest, Start, Subscription};
use std::collections::BTreeMap;

/// One request that left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) at: Nanos,
    /// Not before this time may it be given up and asked again.
    times_out_at: Nanos,
    pub(crate) session: SessionId,
    pub(crate) target: usize,
    pub(crate) range: SequenceRange,
}

/// What was asked for.
#[derive(Debug, Default)]
pub(crate) struct Economy {
    /// Every request, but for the one of a subscriber that has heard nothing.
    pub(crate) asked: Vec<Asked>,
    /// Requests without an answer that are younger than the longest time-out.
    in_flight: Vec<Asked>,
    /// Whether one of them may have come to its time-out, so that fewer of them are allowed from there on.
    may_have_timed_out: bool,
    /// Everything below is overwritten, as was said.
    oldest: SequenceNumber,
    /// For numbers that an answer brought in vain, the next number to deliver at that time.
    in_vain: BTreeMap<SequenceNumber, SequenceNumber>,
    /// Whether the session has been silent, so that its gaps may have been given up.
    has_been_silent: bool,
    has_asked_unheard: bool,
    pub(crate) requests: u64,
}

impl Economy {
    /// A new session begins.
    pub(crate) fn reset(&mut self) {
        self.in_flight.clear();
        self.in_vain.clear();
        (self.oldest, self.has_been_silent) = (0, false);
    }

    /// Notes an answer of `target` that was handed in.
    pub(crate) fn answered(&mut self, target: usize, datagram: &[u8], subscription: &Subscription) {
        let packet = Packet::parse(datagram).expect("only packets are sent");
        if subscription.session() != Some(packet.session()) {
            return;
        }
        let sequence = packet.sequence();
        match packet.kind() {
            PacketKind::Heartbeat if subscription.highest() < Some(sequence) => {}
            PacketKind::Heartbeat => {
                self.in_flight.retain(|asked| asked.target != target || asked.range.start() >= sequence);
                self.oldest = self.oldest.max(sequence);
            }
            _ => self.in_flight.retain(|asked| !asked.range.contains(sequence)),
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
        let (target, asked, session) = (request.target, request.request.range(), request.request.session());
        assert!(target < config.request_targets, "target {target} does not exist");
        let (Some(next), Some(highest)) = (subscription.next(), subscription.highest()) else {
            assert!(!self.has_asked_unheard, "asked twice without having heard anything");
            assert!(config.start != Start::Live || config.resume.is_some(), "asked for a start that is not known");
            assert_eq!(session, subscription.session().unwrap_or(SessionId::UNKNOWN));
            self.has_asked_unheard = true;
            return;
        };
        let view = oracle.view.as_ref().expect("a session comes before its requests");
        assert_eq!(session, view.session, "asked for another session");
        assert!(asked.start() >= next && asked.end() <= highest, "asked for {asked}, missing are {next}..{highest}");
        assert!(subscription.open_gaps() > 0, "asked for {asked}, and nothing is missing");
        self.forget_settled(now, next, view, plan);
        let young = |other: &Asked| now < other.times_out_at;
        let overlaps = |other: &Asked| !other.range.intersection(asked).is_empty();
        if let Some(other) = self.in_flight.iter().find(|other| young(other) && overlaps(other)) {
            panic!("asked for {asked}, and {other:?} is in flight");
        }
        self.in_flight.retain(|other| !overlaps(other));
        let limits = &config.request;
        let round_trip = subscription.round_trip().unwrap_or(limits.initial_timeout);
        let times_out_at = now + round_trip.max(limits.min_timeout).min(limits.max_timeout);
        let asked_now = Asked { at: now, times_out_at, session, target, range: asked };
        self.in_flight.push(asked_now);
        self.asked.push(asked_now);
        let (limit, young) =
            (config.request.in_flight.max(1), self.in_flight.iter().filter(|asked| young(asked)).count());
        assert!(young <= limit, "{young} requests in flight");
        for number in asked.start()..asked.end() {
            assert!(!oracle.is_roomy || !view.has_arrived(number), "asked for {number}, which has arrived");
            let in_vain = self.in_vain.remove(&number);
            assert_ne!(in_vain, Some(next), "asked again for {number}, and there is no more room than before");
            if let Some(Wait { earliest, .. }) = wait(number, oracle, plan).filter(|_| oracle.is_roomy) {
                assert!(now >= earliest, "asked for {number}, which may still come, until {earliest:?}");
            }
        }
        if view.is_caught_up && oracle.is_roomy {
            assert!(config.gap_policy != GapPolicy::Skip, "asked for {asked}, which is skipped");
        }
    }

    /// Judges that nothing that is due has been left unasked at the end of a duty cycle; returns when more will be due.
    pub(crate) fn at_rest(
        &mut self,
        now: Nanos,
        subscription: &Subscription,
        oracle: &Oracle,
        plan: &ClientPlan,
    ) -> Option<Nanos> {
        self.has_been_silent |= subscription.is_silent();
        let (Some(view), Some(next), Some(highest)) = (&oracle.view, subscription.next(), subscription.highest())
        else {
            return None;
        };
        let waits = matches!(plan.config.gap_policy, GapPolicy::Wait { .. }) && plan.config.request_targets > 0;
        let is_over = self.has_been_silent || oracle.begins_at.is_some();
        let is_judged = waits && oracle.is_roomy && oracle.is_answered && !is_over;
        if !is_judged || subscription.open_gaps() == 0 {
            return None;
        }
        self.forget_settled(now, next, view, plan);
        let limit = if self.may_have_timed_out { 1 } else { plan.config.request.in_flight.clamp(1, 32) };
        let is_unasked = |number: &SequenceNumber| {
            !view.has_arrived(*number) && !self.in_flight.iter().any(|asked| asked.range.contains(*number))
        };
        if self.in_flight.len() >= limit {
            return None;
        }
        let wait = wait((next.max(self.oldest)..highest).find(is_unasked)?, oracle, plan);
        let due = wait.map_or(now, |wait| wait.latest);
        assert!(due > now, "not all is asked for at {now:?}, and nothing holds it up");
        Some(due)
    }

    /// Judges that the application knows, at the end of a duty cycle that was not broken off, of every gap that was asked for
    /// in it.
    pub(crate) fn all_told(&self, now: Nanos, oracle: &Oracle) {
        let (Some(view), Some((_, first))) = (&oracle.view, oracle.lines.heard_from) else { return };
        let next = view.next.unwrap_or(first);
        let asked_now = self.asked.iter().rev().take_while(|asked| asked.at == now && asked.session == view.session);
        for asked in asked_now.filter(|_| oracle.is_roomy) {
            let mut missing = (asked.range.start().max(first).max(next)..asked.range.end())
                .filter(|&number| !view.has_arrived(number));
            let is_told = missing.all(|number| view.is_within_raised(SequenceRange::with_count(number, 1)));
            assert!(is_told, "{asked:?}, and nobody was told of the gap");
        }
    }

    /// Forgets requests for what has arrived, and what certainly came to its time-out.
    fn forget_settled(&mut self, now: Nanos, next: SequenceNumber, view: &View, plan: &ClientPlan) {
        let config = &plan.config.request;
        let is_open =
            |range: SequenceRange| (range.start().max(next)..range.end()).any(|number| !view.has_arrived(number));
        self.in_flight.retain(|asked| is_open(asked.range));
        self.may_have_timed_out |= self.in_flight.iter().any(|asked| now >= asked.times_out_at);
        // A quarter more than the longest time-out is the most that chance makes of it.
        let longest = Nanos(config.max_timeout.0.max(config.initial_timeout.0) * 5 / 4);
        self.in_flight.retain(|asked| now < asked.at + longest);
    }
}

/// How long a missing number waits in any case, and for lines; none for what was published before a line was heard.
pub(crate) fn wait(number: SequenceNumber, oracle: &Oracle, plan: &ClientPlan) -> Option<Wait> {
    let view = oracle.view.as_ref()?;
    if oracle.lines.heard_from.is_none_or(|(_, first)| number < first) {
        return None;
    }
    let found_at = view.known.get(number as usize)?.at;
    let delayed = found_at + plan.config.request.delay;
    let Wait { earliest, latest } =
        oracle.lines.wait(number, found_at).unwrap_or(Wait { earliest: found_at, latest: found_at });
    Some(Wait { earliest: earliest.max(delayed), latest: latest.max(delayed) })
}
