//! The judge of one subscriber: compares every event with what was published, and panics at the first that is wrong.
//!
//! Delivered or told: each number exactly once, in order, unaltered, or within exactly one `Lost`. A gap is raised before
//! anything is said about it, and settled in its own words.

use crate::economy;
use crate::lines::Lines;
use crate::plan::ClientPlan;
use crate::source::Truth;
use crate::view::{Known, View};
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
    /// Whether every request can be answered.
    pub(crate) is_answered: bool,
    /// Whether window and gap set are too large to be filled: then nothing that arrived may be lost.
    pub(crate) is_roomy: bool,
    pub(crate) view: Option<View>,
    pub(crate) lines: Lines,
    left: Vec<SessionId>,
    /// What was handed in last, when, and where it came from.
    incoming: Option<(Nanos, Source, Vec<u8>)>,
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
            lines: Lines::new(&plan.config),
            left: vec![],
            incoming: None,
            is_silent: false,
            is_stopped: false,
            told: vec![],
            counted: Counted::default(),
        }
    }

    /// Notes what is about to be handed in.
    pub(crate) fn before_datagram(&mut self, now: Nanos, source: Source, datagram: &[u8]) {
        self.incoming = Some((now, source, datagram.to_vec()));
        self.lines.lead = None;
        self.note_incoming();
    }

    /// Notes what is handed in, if it belongs to the present session.
    fn note_incoming(&mut self) {
        let Some((now, source, datagram)) = &self.incoming else { return };
        let packet = Packet::parse(datagram).expect("only packets are sent");
        let Some(view) = self.view.as_mut().filter(|view| view.session == packet.session() && !self.is_stopped) else {
            return;
        };
        if matches!(source, Source::Line(_)) || packet.kind() == PacketKind::Data {
            view.first_heard.get_or_insert(packet.sequence());
        }
        view.arrive(*now, *source, packet.range());
        if let Source::Line(line) = source {
            self.lines.note(*now, *line, &packet, datagram.len());
        }
    }

    /// Notes what has been known to exist since the last datagram.
    pub(crate) fn after_datagram(&mut self, subscription: &Subscription) {
        if let (Some((at, by, datagram)), Some(view), Some(highest)) =
            (&self.incoming, &mut self.view, subscription.highest())
        {
            let kind = Packet::parse(datagram).expect("only packets are sent").kind();
            let known = Known { at: *at, by: *by, kind };
            view.known.resize(view.known.len().max(highest as usize), known);
        }
    }

    /// Judges one event.
    pub(crate) fn event(&mut self, now: Nanos, event: &Event<'_>, truths: &[&Truth]) {
        assert!(!self.is_stopped || matches!(event, Event::Status(_)), "{event:?} after the subscription stopped");
        let told = match *event {
            Event::NewSession(new) => self.new_session(&new, truths),
            Event::Status(status) => self.status(now, status),
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
                    Event::Recovered(recovered) => view.recovered(recovered, self.is_roomy),
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
        match self.plan.start(view.session, view.is_first) {
            Start::At(first) => assert_eq!(number, first, "a wrong start"),
            start if start == oldest && ask => {
                assert!(is_retained_start, "starts at {number}, and {} is retained", truth.oldest);
            }
            Start::Oldest | Start::Live => assert_eq!(number, first_heard, "a wrong start"),
        }
    }

    fn gap(&mut self, now: Nanos, gap: Gap, truth: &Truth) -> Told {
        self.counted.gaps += 1;
        let view = self.view.as_ref().expect("a session comes before its events");
        let range = gap.range;
        assert!(!range.is_empty() && range.end() <= truth.sent, "{gap:?} beyond what was sent, {}", truth.sent);
        assert!(range.start() >= view.raised_end, "{gap:?} was raised before, up to {}", view.raised_end);
        assert!(view.next.is_none_or(|next| next < range.end()), "{gap:?} has been passed");
        assert_ne!(gap.origin, GapOrigin::LateJoin, "what a late joiner fetches is no gap");
        if self.is_roomy {
            let missing = (range.start()..range.end()).find(|&number| !view.has_arrived(number));
            let missing = missing.unwrap_or_else(|| panic!("{gap:?} is filled"));
            let wait = economy::wait(missing, self, &self.plan).expect("what is no late join waits");
            assert!(now >= wait.earliest, "{gap:?} was raised before {wait:?} was over");
        }
        let view = self.view_mut();
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
                let known_at = view.known[range.start() as usize].at;
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
        let (_, _, incoming) = self.incoming.as_ref().expect("a session is heard before it is told");
        let incoming = Packet::parse(incoming).expect("only packets are sent");
        assert_eq!(incoming.session(), new.session, "a session that was not heard");
        let previous = self.view.take();
        assert_eq!(previous.as_ref().map(|view| view.session), new.previous.map(|previous| previous.session));
        if let Some(view) = &previous {
            assert!(view.is_ended || self.is_silent, "{} was left while it was live", view.session);
            assert!(view.raised.is_empty(), "{:?} was never settled", view.raised);
            assert!(new.previous.is_some_and(|previous| previous.ended || !view.is_ended));
            self.left.push(view.session);
        }
        self.view = Some(View::new(new.session, previous.is_none()));
        self.lines.renew();
        self.note_incoming();
        Told::NewSession(new.session)
    }

    fn status(&mut self, now: Nanos, status: Status) -> Told {
        self.lines.status(now, status);
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
            Status::CopiesDiffer { number, source } => {
                let Source::Line(line) = source else { panic!("{status:?}, and no answer was altered") };
                assert_eq!(self.plan.lines[line.index()].flips, Some(number), "{status:?}");
            }
            _ => {}
        }
        Told::Status(status)
    }

    /// Judges the state between two calls.
    pub(crate) fn state(&self, subscription: &Subscription, is_interrupted: bool) {
        let config = &self.plan.config;
        assert!(subscription.open_gaps() <= config.gap_capacity, "{} gaps", subscription.open_gaps());
        let window = config.window_messages.next_power_of_two();
        assert!(subscription.window_messages() <= window, "{} in the window", subscription.window_messages());
        let counters = subscription.counters();
        let (messages, bytes, gaps, lost) = (counters.messages, counters.bytes, counters.gaps, counters.lost);
        assert_eq!(self.counted, Counted { messages, bytes, gaps, lost }, "the counters say something else");
        let (Some(view), Some(next), Some(highest)) = (&self.view, subscription.next(), subscription.highest()) else {
            return;
        };
        assert!(next <= highest, "{next} is beyond {highest}");
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
