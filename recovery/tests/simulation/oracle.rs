//! The judge of one subscriber: compares every event with what was published, and panics at the first that is wrong.
//!
//! Delivered or told: each number exactly once, in order, unaltered, or within exactly one `Lost`. A gap is raised before
//! anything is said about it, and settled in its own words.

use crate::plan::ClientPlan;
use crate::source::Truth;
use crate::view::View;
use seqcast_protocol::{Packet, PacketKind, SequenceNumber, SequenceRange, SessionId};
use seqcast_recovery::{
    Event, Gap, GapOrigin, GapPolicy, Loss, LossCause, Nanos, NewSession, SessionChoice, Source, Start, Status,
    Subscription,
};

/// An event as it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Message(SequenceNumber),
    Gap(SequenceRange, GapOrigin),
    Recovered(SequenceRange, Nanos),
    Lost(SequenceRange, LossCause),
    NewSession(SessionId),
    EndOfSession(SequenceNumber),
    Status(Status),
}

/// What a subscriber was told, and what it may be told next.
#[derive(Debug)]
pub(crate) struct Oracle {
    plan: ClientPlan,
    is_answered: bool,
    /// Whether window and gap set are too large to be filled: then nothing that arrived may be lost.
    pub(crate) is_roomy: bool,
    pub(crate) view: Option<View>,
    left: Vec<SessionId>,
    incoming: Option<(SessionId, Option<SequenceNumber>)>,
    is_silent: bool,
    pub(crate) is_stopped: bool,
    pub(crate) told: Vec<(Nanos, Told)>,
    counted: Counted,
}

/// What the subscription's own counters must say.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    messages: u64,
    bytes: u64,
    gaps: u64,
    lost: u64,
}

impl Oracle {
    pub(crate) fn new(plan: &ClientPlan, is_answered: bool, is_roomy: bool) -> Self {
        let view = match plan.config.session {
            SessionChoice::Any => None,
            SessionChoice::Only(session) => Some(View::new(session, true)),
        };
        Self {
            plan: plan.clone(),
            is_answered,
            is_roomy,
            view,
            left: vec![],
            incoming: None,
            is_silent: false,
            is_stopped: false,
            told: vec![],
            counted: Counted::default(),
        }
    }

    /// Notes what is about to be handed in.
    pub(crate) fn before_datagram(&mut self, source: Source, datagram: &[u8]) {
        let packet = Packet::parse(datagram).expect("only packets are sent");
        let starts = matches!(source, Source::Line(_)) || packet.kind() == PacketKind::Data;
        self.incoming = Some((packet.session(), starts.then_some(packet.sequence())));
        self.note_first_heard();
    }

    fn note_first_heard(&mut self) {
        if let (Some((session, Some(sequence))), Some(view)) = (self.incoming, &mut self.view)
            && view.session == session
        {
            view.first_heard.get_or_insert(sequence);
        }
    }

    /// Notes what was handed in, if it was taken.
    pub(crate) fn after_datagram(&mut self, datagram: &[u8]) {
        let packet = Packet::parse(datagram).expect("only packets are sent");
        let Some(view) = self.view.as_mut().filter(|view| view.session == packet.session()) else { return };
        for number in packet.range().start()..packet.range().end() {
            let index = number as usize;
            view.arrived.resize(view.arrived.len().max(index + 1), false);
            view.arrived[index] = true;
        }
    }

    /// Judges one event.
    pub(crate) fn event(&mut self, now: Nanos, event: &Event<'_>, truths: &[&Truth]) {
        assert!(!self.is_stopped || matches!(event, Event::Status(_)), "{event:?} after the subscription stopped");
        let told = match *event {
            Event::NewSession(new) => self.new_session(&new, truths),
            Event::Status(status) => self.status(status),
            Event::Rewound(rewound) => panic!("{rewound:?}, and no numbers begin again"),
            _ => {
                let view = self.view.as_mut().expect("a session comes before its events");
                assert!(!view.is_ended, "{event:?} after the end of the session");
                let truth = truths.iter().find(|truth| truth.session == view.session).expect("a real session");
                match *event {
                    Event::Message(message) => {
                        self.counted.messages += 1;
                        self.counted.bytes += message.payload.len() as u64;
                        assert!(message.number < truth.sent, "message {} was not sent", message.number);
                        let published = &truth.messages[message.number as usize - 1];
                        assert_eq!(message.payload, &published[..], "message {} is altered", message.number);
                        self.reach(message.number, truth);
                        self.view_mut().pass(message.number + 1, false);
                        Told::Message(message.number)
                    }
                    Event::Gap(gap) => self.gap(now, gap, truth),
                    Event::Recovered(recovered) => view.recovered(now, recovered, self.is_roomy),
                    Event::Lost(loss) => self.lost(now, loss, truths),
                    Event::EndOfSession(end) => {
                        assert!(truth.is_ended, "the session did not end");
                        assert_eq!((end.session, end.next), (truth.session, truth.sent), "a wrong end");
                        assert!(view.next.is_none_or(|next| next == end.next), "{:?} before the end", view.next);
                        assert!(view.raised.is_empty(), "{:?} is open at the end", view.raised);
                        view.is_ended = true;
                        Told::EndOfSession(end.next)
                    }
                    Event::NewSession(_) | Event::Rewound(_) | Event::Status(_) => unreachable!("judged above"),
                }
            }
        };
        self.told.push((now, told));
    }

    fn view_mut(&mut self) -> &mut View {
        self.view.as_mut().expect("a session comes before its events")
    }

    /// The next number is `number`: it follows the last one, or begins where the settings say.
    fn reach(&mut self, number: SequenceNumber, truth: &Truth) {
        let view = self.view.as_ref().expect("a session comes before its events");
        if let Some(next) = view.next {
            assert_eq!(number, next, "out of order");
            return;
        }
        let first_heard = view.first_heard.expect("something was heard").max(1);
        let is_retained_start = number == 1 || truth.oldest >= number;
        let (oldest, ask) = (Start::Oldest, self.plan.config.request_targets > 0);
        match if view.is_first { self.plan.config.start } else { self.plan.config.start.of_later_session() } {
            Start::At(first) => assert_eq!(number, first, "a wrong start"),
            start if start == oldest && ask => {
                assert!(is_retained_start, "starts at {number}, and {} is retained", truth.oldest);
            }
            Start::Oldest | Start::Live => assert_eq!(number, first_heard, "a wrong start"),
        }
    }

    fn gap(&mut self, now: Nanos, gap: Gap, truth: &Truth) -> Told {
        let (delay, is_roomy) = (self.plan.config.request.delay, self.is_roomy);
        self.counted.gaps += 1;
        let view = self.view_mut();
        let range = gap.range;
        assert!(!range.is_empty() && range.end() <= truth.sent, "{gap:?} beyond what was sent, {}", truth.sent);
        assert!(range.start() >= view.raised_end, "{gap:?} was raised before, up to {}", view.raised_end);
        assert!(view.next.is_none_or(|next| next < range.end()), "{gap:?} has been passed");
        assert_ne!(gap.origin, GapOrigin::LateJoin, "what a late joiner fetches is no gap");
        if is_roomy {
            assert!((range.start()..range.end()).any(|number| !view.has_arrived(number)), "{gap:?} is filled");
            let known_at = (range.start()..range.end()).filter_map(|number| view.known_at(number)).min();
            assert!(known_at.is_some_and(|known_at| now >= known_at + delay), "{gap:?} was raised before the delay");
        }
        view.raised_end = range.end();
        view.raised.push_back((range, false));
        Told::Gap(range, gap.origin)
    }

    fn lost(&mut self, now: Nanos, loss: Loss, truths: &[&Truth]) -> Told {
        let range = loss.range;
        let view = self.view.as_ref().expect("a session comes before its events");
        let truth = truths.iter().find(|truth| truth.session == view.session).expect("a real session");
        assert!(!range.is_empty() && range.end() <= truth.sent, "{loss:?} beyond what was sent, {}", truth.sent);
        self.reach(range.start(), truth);
        let view = self.view.as_ref().expect("a session comes before its events");
        match loss.cause {
            LossCause::Overwritten => assert!(range.end() <= truth.oldest, "{loss:?}, oldest is {}", truth.oldest),
            LossCause::Ended => {
                let (session, left) = (view.session, &self.left);
                let mut others = truths.iter().filter(|truth| truth.session != session);
                assert!(self.is_silent && others.any(|truth| !left.contains(&truth.session)), "{loss:?}");
            }
            LossCause::Skipped => {
                assert_eq!(self.plan.config.gap_policy, GapPolicy::Skip, "{loss:?}");
                assert!(view.is_within_raised(range), "{loss:?} was not raised");
            }
            LossCause::NoAnswer => {
                let is_answered = self.is_answered && !truth.is_over && self.plan.config.request_targets > 0;
                assert!(!is_answered, "{loss:?}, and every request can be answered");
                let give_up = match self.plan.config.gap_policy {
                    GapPolicy::Wait { give_up } => give_up,
                    GapPolicy::Skip | GapPolicy::Stop => Nanos::from_secs(10),
                };
                // With a full gap set, or in a late join, what is found later shares the deadline of what was found before.
                let known_at = view.known_at[range.start() as usize];
                let is_exact = self.is_roomy && view.is_caught_up;
                assert!(!is_exact || now >= known_at + give_up, "{loss:?} too early");
            }
        }
        if view.is_caught_up && self.plan.config.request.delay == Nanos::ZERO {
            assert!(view.is_within_raised(range), "{loss:?} was not raised: {:?}", view.raised);
        }
        if self.is_roomy {
            assert!((range.start()..range.end()).all(|number| !view.has_arrived(number)), "{loss:?} had arrived");
        }
        let is_beyond_stop = self.plan.config.gap_policy == GapPolicy::Stop && view.is_within_raised(range);
        assert!(!is_beyond_stop, "{loss:?}, and the policy is to stop there");
        self.counted.lost += range.count();
        self.view_mut().pass(range.end(), true);
        Told::Lost(range, loss.cause)
    }

    fn new_session(&mut self, new: &NewSession, truths: &[&Truth]) -> Told {
        assert_eq!(self.plan.config.session, SessionChoice::Any, "a bound subscription changes its session");
        assert!(truths.iter().any(|truth| truth.session == new.session), "{} is no session", new.session);
        assert!(!self.left.contains(&new.session), "{} was left before", new.session);
        assert_eq!(self.incoming.map(|(session, _)| session), Some(new.session), "a session that was not heard");
        let previous = self.view.take();
        assert_eq!(previous.as_ref().map(|view| view.session), new.previous.map(|previous| previous.session));
        if let Some(view) = &previous {
            assert!(view.is_ended || self.is_silent, "{} was left while it was live", view.session);
            assert!(view.raised.is_empty(), "{:?} was never settled", view.raised);
            assert!(new.previous.is_some_and(|previous| previous.ended || !view.is_ended));
            self.left.push(view.session);
        }
        self.view = Some(View::new(new.session, previous.is_none()));
        self.note_first_heard();
        Told::NewSession(new.session)
    }

    fn status(&mut self, status: Status) -> Told {
        match status {
            Status::Heard { .. } => self.is_silent = false,
            Status::Silent { elapsed } => {
                assert!(!self.is_silent && elapsed >= self.plan.config.silent_after, "{status:?}");
                self.is_silent = true;
            }
            Status::CaughtUp { next } => {
                let view = self.view_mut();
                assert!(!view.is_caught_up && view.next.is_none_or(|mine| mine == next), "{status:?}");
                view.is_caught_up = true;
            }
            Status::Stopped { .. } => {
                assert!(self.plan.config.gap_policy == GapPolicy::Stop && !self.is_stopped, "{status:?}");
                self.is_stopped = true;
            }
            _ => {}
        }
        Told::Status(status)
    }

    /// Judges the state between two calls.
    pub(crate) fn state(&mut self, now: Nanos, subscription: &Subscription, is_interrupted: bool) {
        let config = &self.plan.config;
        assert!(subscription.open_gaps() <= config.gap_capacity, "{} gaps", subscription.open_gaps());
        let window = config.window_messages.next_power_of_two();
        assert!(subscription.window_messages() <= window, "{} in the window", subscription.window_messages());
        let counters = subscription.counters();
        let (messages, bytes, gaps, lost) = (counters.messages, counters.bytes, counters.gaps, counters.lost);
        assert_eq!(self.counted, Counted { messages, bytes, gaps, lost }, "the counters say something else");
        let (Some(view), Some(next), Some(highest)) = (&mut self.view, subscription.next(), subscription.highest())
        else {
            return;
        };
        assert!(next <= highest, "{next} is beyond {highest}");
        if view.known_at.len() < highest as usize {
            view.known_at.resize(highest as usize, now);
        }
        if view.next.is_some() && !is_interrupted {
            assert_eq!(view.next, Some(next), "the next number is not the one after the last told");
        }
    }
}

/// How many of the last events a failed scenario prints. Arbitrary.
const LAST_EVENTS: usize = 12;

impl Drop for Oracle {
    #[expect(clippy::print_stderr, reason = "whoever replays a seed wants to see what led to its failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let last = self.told.len().saturating_sub(LAST_EVENTS);
            eprintln!("{:#?}\nlast told: {:?}", self.plan.config, &self.told[last..]);
        }
    }
}

/// What a start means for a session that is followed later.
trait OfLaterSession {
    fn of_later_session(self) -> Self;
}

impl OfLaterSession for Start {
    fn of_later_session(self) -> Self {
        if let Self::At(_) = self { Self::Oldest } else { self }
    }
}
