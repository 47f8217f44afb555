//! What one subscriber has seen of each of its lines, and the judge of what it is told and counts of them.

use seqcast_protocol::{Packet, SequenceNumber};
use seqcast_recovery::{Counters, GapPolicy, Line, LineCounters, Nanos, Status, SubscriptionConfig};
use std::collections::{BTreeSet, VecDeque};

/// The shortest wait for the other line.
const SHORTEST_WAIT: Nanos = Nanos::from_micros(300);

/// How many separate ranges that a line has missed are remembered.
const MISSING_RANGES: usize = 256;

/// For how many of the latest packets a lag is surely remembered, nearly as long as it was.
const REMEMBERED_LAGS: usize = 100;

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
    /// When it showed a number beyond `n`, and how far it was then, at `n`; none if there was only one line.
    passed: Vec<Option<(Nanos, SequenceNumber)>>,
    /// What it went past and has not carried.
    missing: BTreeSet<SequenceNumber>,
    /// Whether that was ever more than is surely remembered.
    has_missed_much: bool,
    /// How far it lagged lately, the newest first, and the most that it ever did: measured where it brought the last
    /// message of a packet that had been on the other line before.
    lags: VecDeque<Nanos>,
    longest_lag: Option<Nanos>,
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
    /// How far the packet that was handed in last lagged behind the other line.
    pub(crate) lead: Option<(Line, Nanos)>,
}

impl Lines {
    pub(crate) fn new(config: &SubscriptionConfig) -> Self {
        Self { config: *config, seen: config.lines.map(Seen::nothing), heard_from: None, lead: None }
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

    /// Notes a packet of numbers that have begun again, which is all that is seen of it.
    pub(crate) fn hear(&mut self, now: Nanos, line: Line) {
        self.seen[line.index()].heard_at = Some(now);
    }

    /// Which lines were heard lately.
    pub(crate) fn live(&self, now: Nanos) -> [bool; 2] {
        [0, 1].map(|line| self.seen[line].heard_at.is_some_and(|at| now - at < self.config.line_behind_after))
    }

    /// One past the highest number that a line has shown; none before it was heard.
    pub(crate) fn shown(&self, line: Line) -> Option<SequenceNumber> {
        let seen = &self.seen[line.index()];
        seen.heard_at.map(|_| seen.next)
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
        let passed = other.exists.then_some((now, seen.next));
        seen.passed.resize(seen.next as usize, passed);
        for number in range.start().max(before)..range.end() {
            if let Some((at, end)) = other.passed(number)
                && end == number + 1
            {
                self.lead = Some((Line::ALL[1 - line.index()], now - at));
            }
        }
        if let Some((_, lag)) = self.lead {
            seen.lags.truncate(REMEMBERED_LAGS - 1);
            seen.lags.push_front(lag);
            seen.longest_lag = seen.longest_lag.max(Some(lag));
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
            // Before anything has been learned, as long as ever.
            let wait = |lag: Option<Nanos>| lag.unwrap_or(longest).clamp(shortest, longest);
            let half_more = |lag: Nanos| lag + Nanos(lag.0 / 2);
            let end = |wait| (found_at + wait).min(behind_since + longest);
            Some(Wait {
                earliest: end(wait(seen.lags.iter().copied().max())),
                latest: end(wait(seen.longest_lag.map(half_more))),
            })
        })
    }

    /// When the other line showed a number that this one, which is heard, has yet to show.
    fn behind_since(&self, line: Line) -> Option<Nanos> {
        let (seen, other) = (&self.seen[line.index()], &self.seen[1 - line.index()]);
        seen.heard_at?;
        other.passed.iter().skip(seen.next as usize).flatten().next().map(|(at, _)| *at)
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
            passed: vec![],
            missing: BTreeSet::new(),
            has_missed_much: false,
            lags: VecDeque::new(),
            longest_lag: None,
            condition: Condition::Fine,
            counters: LineCounters::default(),
        }
    }

    fn passed(&self, number: SequenceNumber) -> Option<(Nanos, SequenceNumber)> {
        self.passed.get(number as usize).copied().flatten()
    }
}
