//! The judge of one subscriber: compares every event with what was published, and panics at the first that is wrong.
//!
//! Delivered or told: each number exactly once, in order, unaltered, or within exactly one `Lost`. A gap is raised before
//! anything is said about it, and settled in its own words. Between two events that void what was built, everything is of one
//! numbering of the session, but for what nobody can know: numbers that begin again where no line shows it ([`Rewinds`]), and
//! what arrives of those that were left.

use crate::client::Terms;
use crate::economy;
use crate::lines::Lines;
use crate::plan::ClientPlan;
use crate::rewinds::Rewinds;
use crate::truth::Truth;
use crate::view::{Known, View};
use seqcast_protocol::{Packet, PacketKind, SequenceNumber, SequenceRange, SessionId};
use seqcast_recovery::{
    Event, Gap, GapOrigin, GapPolicy, Loss, LossCause, Nanos, NewSession, RewindPolicy, Rewound, SessionChoice, Source,
    Start, Status, Subscription,
};

/// An event as it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Message(SequenceNumber),
    Gap(SequenceRange, GapOrigin),
    Recovered(SequenceRange, Nanos),
    Lost(SequenceRange, LossCause),
    NewSession(SessionId),
    /// The expected number, and the one from which it goes on.
    Rewound(SequenceNumber, SequenceNumber),
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
    rewinds: Rewinds,
    /// From which number on the session has begun again, as long as that has not been told.
    pub(crate) begins_at: Option<SequenceNumber>,
    /// Whether a session with several numberings was heard: their messages differ.
    has_begun_again: bool,
    /// Whether that is to be told now: nothing is owed from before.
    must_tell: bool,
    /// Of which numbering the offset is from which it was started.
    resumed: Option<usize>,
    left: Vec<SessionId>,
    /// What was handed in last, when, and where it came from; and which number was expected then.
    incoming: Option<(Nanos, Source, Vec<u8>)>,
    expected: Option<SequenceNumber>,
    is_silent: bool,
    pub(crate) is_stopped: bool,
    /// In all lives of the subscriber's process; this one began at the index `born`.
    pub(crate) told: Vec<(Nanos, Told)>,
    pub(crate) born: usize,
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
    /// `told` is what was told in the lives before; `resumed` is the numbering of the offset from which it is started, if from any.
    pub(crate) fn new(plan: &ClientPlan, terms: Terms, told: Vec<(Nanos, Told)>, resumed: Option<usize>) -> Self {
        let view = match plan.config.session {
            SessionChoice::Any => None,
            SessionChoice::Only(session) => Some(View::new(session, true)),
        };
        Self {
            plan: plan.clone(),
            is_answered: terms.is_answered,
            is_roomy: terms.is_roomy,
            view,
            lines: Lines::new(&plan.config),
            rewinds: Rewinds::default(),
            begins_at: None,
            has_begun_again: false,
            must_tell: false,
            resumed,
            left: vec![],
            incoming: None,
            expected: None,
            is_silent: false,
            is_stopped: false,
            born: told.len(),
            told,
            counted: Counted::default(),
        }
    }

    /// Notes what is about to be handed in.
    pub(crate) fn before_datagram(
        &mut self,
        now: Nanos,
        source: Source,
        datagram: &[u8],
        subscription: &Subscription,
        truths: &[&Truth],
    ) {
        self.incoming = Some((now, source, datagram.to_vec()));
        self.expected = subscription.next();
        self.lines.lead = None;
        self.has_begun_again |= truths.windows(2).any(|two| two[1].has_begun && two[0].session == two[1].session);
        let packet = Packet::parse(datagram).expect("only packets are sent");
        let is_mine = self.view.as_ref().is_some_and(|view| view.session == packet.session()) && !self.is_stopped;
        if let Source::Line(line) = source
            && is_mine
            && self.rewinds.note(line, datagram, self.expected, self.lines.shown(line))
        {
            self.lines.hear(now, line);
            self.begins_at = self.rewinds.begins_at(self.lines.live(now));
            self.must_tell = self.begins_at.is_some() && subscription.next() == subscription.highest();
        } else {
            self.note_incoming(truths);
        }
    }

    /// Notes what is handed in, if it belongs to the present session.
    fn note_incoming(&mut self, truths: &[&Truth]) {
        let Some((now, source, datagram)) = &self.incoming else { return };
        let packet = Packet::parse(datagram).expect("only packets are sent");
        let Some(view) = self.view.as_mut().filter(|view| view.session == packet.session() && !self.is_stopped) else {
            return;
        };
        if matches!(source, Source::Line(_)) || packet.kind() == PacketKind::Data {
            view.first_heard.get_or_insert(packet.sequence());
        }
        view.arrive(*now, *source, packet.range());
        if !view.follow(*source, &packet, self.resumed.take(), self.expected, truths) {
            (view.is_excused, self.is_answered, self.is_roomy) = (true, false, false);
        }
        if let Source::Line(line) = source {
            self.lines.note(*now, *line, &packet, datagram.len());
        }
    }

    /// Notes what has been known to exist since the last datagram.
    pub(crate) fn after_datagram(&mut self, subscription: &Subscription) {
        assert!(!self.must_tell, "the numbers have begun again at {:?}, and nobody is told", self.begins_at);
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
            Event::Rewound(rewound) => self.rewound(&rewound, truths),
            _ => {
                let view = self.view.as_mut().expect("a session comes before its events");
                assert!(!view.is_ended, "{event:?} after the end of the session");
                let truth = truths[view.numbering.expect("a session is heard before its events")];
                match *event {
                    Event::Message(message) => {
                        self.counted.messages += 1;
                        self.counted.bytes += message.payload.len() as u64;
                        let is_mine = |truth: &&&Truth| truth.session == view.session && view.is_excused;
                        let mut numberings = truths.iter().filter(is_mine).chain([&truth]);
                        let is_whole = numberings.any(|truth| truth.has(message.number, message.payload));
                        assert!(is_whole, "message {} is altered, or was not retained", message.number);
                        self.reach(message.number, truth, truths);
                        self.view_mut().pass(message.number + 1, false);
                        Told::Message(message.number)
                    }
                    Event::Gap(gap) => self.gap(now, gap, truth),
                    Event::Recovered(recovered) => view.recovered(recovered, self.is_roomy),
                    Event::Lost(loss) => self.lost(now, loss, truths),
                    Event::EndOfSession(end) => {
                        assert!(truth.is_ended || view.is_excused, "the session did not end");
                        assert_eq!(end.session, truth.session);
                        assert!(end.next == truth.retained || view.is_excused, "{end:?}, and not {}", truth.retained);
                        let is_last = view.next.is_none_or(|next| next == end.next);
                        assert!(is_last || view.is_excused, "{:?} before the end", view.next);
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
    fn reach(&mut self, number: SequenceNumber, truth: &Truth, truths: &[&Truth]) {
        let view = self.view.as_ref().expect("a session comes before its events");
        if let Some(next) = view.next {
            assert_eq!(number, next, "out of order");
            return;
        }
        let first_heard = view.first_heard.expect("something was heard").max(1);
        let oldest = truth.oldest(self.plan.config.request_targets);
        // Whoever publishes numbers that have begun again says it of them.
        let targets = self.plan.config.request_targets;
        let mut begun_again = truths.iter().filter(|other| view.is_excused && other.session == truth.session);
        let is_retained_start =
            number == 1 || oldest >= number || begun_again.any(|other| other.oldest(targets) >= number);
        let ask = self.plan.config.request_targets > 0;
        match self.plan.start(view.session, view.is_first) {
            Start::At(first) => assert_eq!(number, first, "a wrong start"),
            Start::Oldest if ask => {
                assert!(is_retained_start, "starts at {number}, and {oldest} is retained");
            }
            Start::Oldest | Start::Live => assert_eq!(number, first_heard, "a wrong start"),
        }
    }

    fn gap(&mut self, now: Nanos, gap: Gap, truth: &Truth) -> Told {
        self.counted.gaps += 1;
        let view = self.view.as_ref().expect("a session comes before its events");
        let range = gap.range;
        assert!(!range.is_empty() && (range.end() <= truth.retained || view.is_excused), "{gap:?} does not exist");
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
        let truth = truths[view.numbering.expect("a session is heard before its losses")];
        assert!(!range.is_empty() && (range.end() <= truth.retained || view.is_excused), "{loss:?} does not exist");
        self.reach(range.start(), truth, truths);
        let view = self.view.as_ref().expect("a session comes before its events");
        match loss.cause {
            LossCause::Overwritten => {
                let oldest = truth.oldest(self.plan.config.request_targets);
                assert!(range.end() <= oldest || view.is_excused, "{loss:?}, oldest is {oldest}");
            }
            LossCause::Ended if self.begins_at.is_some() => {}
            LossCause::Ended => {
                let (session, left) = (view.session, &self.left);
                let mut others = truths.iter().filter(|truth| truth.session != session);
                assert!(self.is_silent && others.any(|truth| !left.contains(&truth.session)), "{loss:?}");
            }
            LossCause::Skipped => {
                assert_eq!(self.plan.config.gap_policy, GapPolicy::Skip, "{loss:?}");
                assert!(view.is_within_raised(range), "{loss:?} was not raised");
            }
            LossCause::NoAnswer if view.is_excused => {}
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
        let (_, source, incoming) = self.incoming.clone().expect("a session is heard before it is told");
        let packet = Packet::parse(&incoming).expect("only packets are sent");
        assert_eq!(packet.session(), new.session, "a session that was not heard");
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
        (self.rewinds, self.begins_at) = (Rewinds::default(), None);
        // It is the first of the session.
        if let (Source::Line(line), true) = (source, packet.kind() == PacketKind::Data) {
            self.rewinds.note(line, &incoming, None, None);
        }
        self.expected = None;
        self.note_incoming(truths);
        Told::NewSession(new.session)
    }

    fn rewound(&mut self, rewound: &Rewound, truths: &[&Truth]) -> Told {
        let (Some(sequence), true) = (self.begins_at.take(), self.must_tell) else {
            panic!("{rewound:?}, and no numbers begin again, or something is owed")
        };
        let view = self.view.take().expect("a session comes before its events");
        assert!(view.raised.is_empty(), "{:?} was never settled", view.raised);
        assert_eq!((rewound.session, rewound.sequence), (view.session, sequence));
        assert_eq!(Some(rewound.expected), view.next.or(self.expected));
        let (now, source, incoming) = self.incoming.as_ref().expect("numbers are seen to begin again");
        let (now, source, incoming) = (*now, *source, Packet::parse(incoming).expect("only packets are sent"));
        let mut next = View::new(view.session, view.is_first);
        (next.is_rewound, next.is_caught_up) = (true, view.is_caught_up);
        (next.next, next.first_heard) = (Some(sequence), Some(sequence));
        let held = self.rewinds.start_over(&incoming);
        let held = held.as_ref().map(|held| Packet::parse(held).expect("only packets are sent"));
        if let Some(held) = held.filter(|held| held.sequence() == sequence) {
            next.arrive(now, source, held.range());
            // It may be of other numbers than what follows it.
            let numbering = truths.iter().rposition(|truth| truth.session == next.session && truth.has_all(&incoming));
            next.is_excused = !numbering.is_some_and(|numbering| truths[numbering].has_all(&held));
        }
        self.lines.renew();
        self.lines.heard_from = Some((now, sequence));
        self.must_tell = false;
        self.is_stopped = self.plan.config.rewind_policy == RewindPolicy::Stop;
        self.expected = Some(sequence);
        self.view = Some(next);
        self.note_incoming(truths);
        let numbering = self.view_mut().numbering;
        if self.view_mut().is_excused {
            (self.is_answered, self.is_roomy) = (false, false);
        }
        assert!(
            self.is_stopped || view.is_excused || numbering > view.numbering,
            "from {:?} to {numbering:?}",
            view.numbering
        );
        Told::Rewound(rewound.expected, sequence)
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
                let is_rewound = matches!(self.told.last(), Some((_, Told::Rewound(..))));
                let stops = if is_rewound { self.is_stopped } else { self.plan.config.gap_policy == GapPolicy::Stop };
                assert!(stops && is_rewound == self.is_stopped, "{status:?}");
                self.is_stopped = true;
            }
            Status::CopiesDiffer { number, source } => {
                let is_altered = match source {
                    Source::Line(line) => self.plan.lines[line.index()].flips == Some(number),
                    Source::RequestTarget(_) => false,
                };
                assert!(is_altered || self.has_begun_again, "{status:?}, and nothing was altered");
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
