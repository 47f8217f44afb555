//! What one subscriber has seen of each of its lines, and the judge of what it is told and counts of them.

use seqcast_protocol::{Packet, SequenceNumber};
use seqcast_recovery::{Counters, GapPolicy, Line, LineCounters, Nanos, Status, SubscriptionConfig};
use std::collections::BTreeSet;

/// The shortest wait for the other line.
const SHORTEST_WAIT: Nanos = Nanos::from_micros(300);

/// How many separate ranges that a line has missed are remembered.
const MISSING_RANGES: usize = 256;

/// What was told of a line last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Fine,
    Behind,
    Silent,
}

/// One line, in the present session unless said otherwise.
#[derive(Debug)]
struct Seen {
    /// Whether it was set, or heard in any session.
    exists: bool,
    heard_at: Option<Nanos>,
    /// One past the highest number that it has shown.
    next: SequenceNumber,
    /// When it showed a number beyond `n`, at `n`, if there were two lines then.
    passed_at: Vec<Option<Nanos>>,
    /// What it went past and has not carried.
    missing: BTreeSet<SequenceNumber>,
    /// Whether that was ever more than is surely remembered.
    has_missed_much: bool,
    /// The longest time that it brought a number behind the other line.
    longest_lag: Nanos,
    /// Whether its lag was there to be measured: it brought the last message of a packet of the other line.
    is_measured: bool,
    condition: Condition,
    /// Of all sessions.
    counters: LineCounters,
}

/// When a missing number is no longer kept for a line that may bring it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    /// No sooner than this.
    pub(crate) earliest: Nanos,
    /// At this time whatever happens.
    pub(crate) latest: Nanos,
}

/// Both lines.
#[derive(Debug)]
pub(crate) struct Lines {
    config: SubscriptionConfig,
    seen: [Seen; 2],
    /// When the session was heard first, and one past what was published before.
    pub(crate) heard_from: Option<(Nanos, SequenceNumber)>,
    /// How far the packet that was handed in last lagged: what may be said of it, and whether something must be.
    pub(crate) leads: (Vec<Nanos>, bool),
}

impl Lines {
    pub(crate) fn new(config: &SubscriptionConfig) -> Self {
        Self { config: *config, seen: config.lines.map(Seen::nothing), heard_from: None, leads: (vec![], false) }
    }

    /// Another session is taken, of which nothing has been seen.
    pub(crate) fn renew(&mut self) {
        self.heard_from = None;
        for seen in &mut self.seen {
            let condition = if seen.condition == Condition::Silent { Condition::Silent } else { Condition::Fine };
            *seen = Seen {
                counters: seen.counters,
                condition,
                has_missed_much: seen.has_missed_much,
                ..Seen::nothing(seen.exists)
            };
        }
    }

    /// Notes a packet of the session on a line.
    pub(crate) fn note(&mut self, now: Nanos, line: Line, packet: &Packet<'_>, bytes: usize) {
        let range = packet.range();
        self.heard_from.get_or_insert((now, range.start()));
        let [a, b] = &mut self.seen;
        let (seen, other) = if line == Line::A { (a, b) } else { (b, a) };
        seen.counters.packets += 1;
        seen.counters.bytes += bytes as u64;
        seen.exists = true;
        let before = if seen.heard_at.is_some() { seen.next } else { range.start() };
        seen.counters.missed += range.start().saturating_sub(before);
        seen.missing.extend(before..range.start());
        seen.has_missed_much |= seen.missing.len() > MISSING_RANGES;
        seen.counters.late += (range.start()..range.end()).filter(|number| seen.missing.remove(number)).count() as u64;
        (seen.heard_at, seen.next) = (Some(now), before.max(range.end()));
        seen.passed_at.resize(seen.next as usize, other.exists.then_some(now));
        for number in range.start().max(before)..range.end() {
            let Some(passed_at) = other.passed_at(number) else { continue };
            let is_last = other.next == number + 1 || other.passed_at(number + 1) != Some(passed_at);
            seen.longest_lag = seen.longest_lag.max(now - passed_at);
            seen.is_measured |= is_last;
            self.leads.0.push(now - passed_at);
            self.leads.1 |= is_last;
        }
    }

    /// Judges what is said of the lag of the packet that was handed in last, which came on `line`.
    pub(crate) fn lead(&self, line: Line, lead: Option<(Line, Nanos)>) {
        let (lags, is_measured) = &self.leads;
        match lead {
            Some((other, lag)) => {
                assert!(other != line && lags.contains(&lag), "{line:?} behind {lead:?}, not {lags:?}");
            }
            None => assert!(!is_measured, "nothing is said of the lag of {line:?}, {lags:?}"),
        }
    }

    /// How long a number that was found missing at `found_at` may yet come on a line that is behind, if on any.
    pub(crate) fn wait(&self, number: SequenceNumber, found_at: Nanos) -> Option<Wait> {
        let longest = match self.config.gap_policy {
            GapPolicy::Wait { give_up } => self.config.request.max_line_wait.min(give_up),
            GapPolicy::Skip | GapPolicy::Stop => self.config.request.max_line_wait,
        };
        let shortest = SHORTEST_WAIT.min(longest);
        Line::ALL.into_iter().find_map(|line| {
            let seen = &self.seen[line.index()];
            let behind_since = self.behind_since(line).filter(|_| seen.next <= number)?;
            let learned = Nanos(seen.longest_lag.0 * 3 / 2).clamp(shortest, longest);
            let end = |wait| (found_at + wait).min(behind_since + longest);
            Some(Wait { earliest: end(shortest), latest: end(if seen.is_measured { learned } else { longest }) })
        })
    }

    /// When the other line showed a number that this one, which is heard, has yet to show.
    fn behind_since(&self, line: Line) -> Option<Nanos> {
        let (seen, other) = (&self.seen[line.index()], &self.seen[1 - line.index()]);
        seen.heard_at?;
        other.passed_at.iter().skip(seen.next as usize).flatten().next().copied()
    }

    /// Judges what is told of a line.
    pub(crate) fn status(&mut self, now: Nanos, status: Status) {
        let (line, told) = match status {
            Status::LineSilent { line, .. } => (line, Condition::Silent),
            Status::LineBehind { line, .. } => (line, Condition::Behind),
            Status::LineCaughtUp { line } => (line, Condition::Fine),
            _ => return,
        };
        let (seen, other) = (&self.seen[line.index()], &self.seen[1 - line.index()]);
        assert_ne!(seen.condition, told, "{status:?} is told again");
        assert_eq!(self.due_condition(now, line), Some(told), "{status:?} is not so: {seen:?}");
        match status {
            Status::LineSilent { elapsed, .. } => {
                assert_eq!(Some(elapsed), self.heard_at(line).map(|heard_at| now - heard_at), "{status:?}");
            }
            Status::LineBehind { messages, elapsed, .. } => {
                assert_eq!(messages, other.next - seen.next, "{status:?}");
                assert_eq!(Some(elapsed), self.behind_since(line).map(|since| now - since), "{status:?}");
            }
            _ => {}
        }
        self.seen[line.index()].condition = told;
    }

    /// Judges that nothing has been left unsaid or miscounted.
    pub(crate) fn at_rest(&self, now: Nanos, counters: &Counters) {
        for line in Line::ALL {
            let (seen, counted) = (&self.seen[line.index()], counters.lines[line.index()]);
            let late = if seen.has_missed_much { counted.late } else { seen.counters.late };
            assert_eq!(counted, LineCounters { first: counted.first, late, ..seen.counters }, "{line:?}");
            let due = self.due_condition(now, line).unwrap_or(seen.condition);
            assert_eq!(seen.condition, due, "nothing was said of {line:?} at {now:?}: {seen:?}");
        }
    }

    /// When there will be something to say of a line if nothing arrives before.
    pub(crate) fn due(&self) -> Option<Nanos> {
        let due = |line: Line| {
            let seen = &self.seen[line.index()];
            let since = match seen.condition {
                Condition::Fine => self.behind_since(line)?,
                Condition::Behind => self.behind_since(line)?.max(seen.heard_at?),
                Condition::Silent => return None,
            };
            Some(since + self.config.line_behind_after)
        };
        Line::ALL.into_iter().filter_map(due).min()
    }

    /// When a line was heard last; before the first time, when the session was heard on the other.
    fn heard_at(&self, line: Line) -> Option<Nanos> {
        self.seen[line.index()].heard_at.or(self.heard_from.map(|(at, _)| at))
    }

    /// What is to be told of a line, or has been: none where it may stay as it is.
    fn due_condition(&self, now: Nanos, line: Line) -> Option<Condition> {
        let (seen, other) = (&self.seen[line.index()], &self.seen[1 - line.index()]);
        let (config, heard_at) = (&self.config, self.heard_at(line).filter(|_| seen.exists)?);
        let lag = self.behind_since(line).map_or(Nanos::ZERO, |since| now - since);
        let is_behind = lag >= config.line_behind_after;
        let is_outlived = other.heard_at.is_some_and(|other| other - heard_at >= config.silent_after);
        if is_outlived || (is_behind && now - heard_at >= config.line_behind_after) {
            return Some(Condition::Silent);
        }
        let is_back = seen.condition != Condition::Silent || seen.heard_at.is_some();
        match seen.condition {
            _ if is_behind => Some(Condition::Behind),
            _ if is_back && lag.0 < config.line_behind_after.0 / 2 => Some(Condition::Fine),
            Condition::Silent if is_back => Some(Condition::Behind),
            _ => None,
        }
    }
}

impl Seen {
    fn nothing(exists: bool) -> Self {
        Self {
            exists,
            heard_at: None,
            next: 0,
            passed_at: vec![],
            missing: BTreeSet::new(),
            has_missed_much: false,
            longest_lag: Nanos::ZERO,
            is_measured: false,
            condition: Condition::Fine,
            counters: LineCounters::default(),
        }
    }

    fn passed_at(&self, number: SequenceNumber) -> Option<Nanos> {
        self.passed_at.get(number as usize).copied().flatten()
    }
}
