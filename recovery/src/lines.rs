//! The two lines of a session against each other: how far each has come, how far apart they run, which of them a gap
//! should wait for, what each has missed, whether one has fallen behind or silent.
//!
//! Whenever a line shows a number that no line has shown before, that is marked with the time. When the other line comes
//! by the mark, the distance in time is how far it lags. A gap waits for a line only while that line has yet to pass it,
//! and no longer than half as much again as it has lagged lately.

use crate::{GapSet, Line, LineCounters, Nanos, Status};
use alloc::collections::VecDeque;
use seqcast_protocol::{SequenceNumber, SequenceRange};

/// How many marks are kept: those of 40 ms at 100,000 packets/s. When a line is further behind, these are the first that it
/// has not come by, and the latest.
const MARKS: usize = 4_096;

/// How many separate ranges that one line has missed are remembered, so that what comes late is told from what comes
/// twice. Arbitrary.
const MISSING_RANGES: usize = 256;

/// The shortest wait for the other line: the scheduling noise of a busy host, as for time-outs of requests.
const MIN_WAIT: Nanos = Nanos::from_micros(300);

/// By what share of the distance the lag that is remembered sinks toward a smaller one with each sample: a peak is
/// forgotten within some tens of milliseconds of a busy feed. Arbitrary.
const LAG_DECAY: u64 = 4_096;

/// When a line counts as behind or silent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LineLimits {
    /// The longest wait for the other line.
    pub(crate) max_wait: Nanos,
    pub(crate) behind_after: Nanos,
    pub(crate) silent_after: Nanos,
}

/// One line shows numbers that no line has shown before.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// One past the highest of them.
    end: SequenceNumber,
    at: Nanos,
    line: Line,
}

/// What the application has been told of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Fine,
    Behind,
    /// Told when it had been heard last at this time.
    Silent(Nanos),
}

#[derive(Clone, Debug)]
struct State {
    /// Whether there is such a line.
    exists: bool,
    /// When it was heard last; before that, when the session was first heard on any line.
    heard_at: Nanos,
    has_heard: bool,
    /// One past the highest number that it has shown.
    next: SequenceNumber,
    /// The first mark that it has not come by, counted from the first of the session.
    cursor: u64,
    /// The lowest number that it showed since its numbers began again, if they did.
    rewound_to: Option<SequenceNumber>,
    /// What it went past and has not carried.
    missing: GapSet,
    /// The most that it has lagged lately; none before the first time.
    lag: Option<Nanos>,
    condition: Condition,
}

/// What a gap waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    /// All lines that may fill a gap have shown every number below this one.
    pub(crate) passed: SequenceNumber,
    /// How long to wait for a number that is not below it.
    pub(crate) delay: Nanos,
    /// When to wait for none at the latest.
    pub(crate) until: Nanos,
}

impl Wait {
    /// When the wait for a number that is not below `passed` ends, if it was found missing at `opened_at`.
    pub(crate) fn ends(&self, opened_at: Nanos) -> Nanos {
        (opened_at + self.delay).min(self.until)
    }
}

/// Watches both lines.
///
/// Invariants: marks ascend in number and time; `state.next <= shown`; every mark below a line's cursor is at or below its
/// `next`.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    limits: LineLimits,
    states: [State; 2],
    marks: VecDeque<Mark>,
    /// How many marks both lines have come by: the count of the first that is kept.
    first_mark: u64,
    /// One past the highest number that any line has shown.
    shown: SequenceNumber,
    has_heard: bool,
    /// How far the line that was heard last lagged, behind which one, if it did.
    lead: Option<(Line, Nanos)>,
}

impl Lines {
    /// `exist` says which lines there are, by `Line::index`.
    pub(crate) fn new(limits: LineLimits, exist: [bool; 2]) -> Self {
        let mut marks = VecDeque::new();
        marks.resize(MARKS, Mark { end: 1, at: Nanos::MAX, line: Line::A });
        marks.clear();
        let state = |exists| State {
            exists,
            heard_at: Nanos::ZERO,
            has_heard: false,
            next: 0,
            cursor: 0,
            rewound_to: None,
            missing: GapSet::new(MISSING_RANGES),
            lag: None,
            condition: Condition::Fine,
        };
        Self { limits, states: exist.map(state), marks, first_mark: 0, shown: 0, has_heard: false, lead: None }
    }

    /// Watches another session, of which nothing has been heard yet.
    pub(crate) fn renew(&mut self) {
        self.marks.clear();
        (self.first_mark, self.shown, self.has_heard, self.lead) = (0, 0, false, None);
        for state in &mut self.states {
            (state.has_heard, state.next, state.cursor, state.lag) = (false, 0, 0, None);
            state.rewound_to = None;
            state.missing.clear();
            if state.condition == Condition::Behind {
                state.condition = Condition::Fine;
            }
        }
    }

    /// Notes a packet on `line`: `range` is its messages, or empty at the number that comes next.
    #[inline]
    pub(crate) fn note(&mut self, now: Nanos, line: Line, range: SequenceRange, counters: &mut LineCounters) {
        let state = &mut self.states[line.index()];
        if !state.has_heard {
            self.hear_first(now, line, range.start());
        } else if range.start() > state.next {
            let missed = SequenceRange::new(state.next, range.start());
            counters.missed = counters.missed.saturating_add(missed.count());
            if !state.missing.open(missed) {
                let lowest = state.missing.first().map_or(0, SequenceRange::end);
                state.missing.forget_below(lowest);
                state.missing.open(missed);
            }
        } else if range.start() < state.next {
            counters.late = counters.late.saturating_add(state.missing.fill(range, |_| true));
        }
        let state = &mut self.states[line.index()];
        state.heard_at = now;
        state.next = state.next.max(range.end());
        let next = state.next;
        self.lead = None;
        if self.states.iter().all(|state| state.exists) {
            self.come_by(now, line, range);
            if next > self.shown {
                self.mark(now, line);
            }
        }
        self.shown = self.shown.max(next);
    }

    /// The session is heard on `line` for the first time; what went before is not missed.
    fn hear_first(&mut self, now: Nanos, line: Line, next: SequenceNumber) {
        if !self.has_heard {
            self.has_heard = true;
            self.states.iter_mut().for_each(|state| state.heard_at = now);
        }
        let state = &mut self.states[line.index()];
        (state.exists, state.has_heard, state.next, state.cursor) = (true, true, next, self.first_mark);
    }

    /// Comes by the marks that the line has passed. The last of them says how far it lags, if this packet carries what
    /// was marked.
    fn come_by(&mut self, now: Nanos, line: Line, range: SequenceRange) {
        let state = &mut self.states[line.index()];
        let mut last = None;
        while let Some(mark) = self.marks.get((state.cursor - self.first_mark) as usize) {
            if mark.end > state.next {
                break;
            }
            last = Some(*mark);
            state.cursor += 1;
        }
        let Some(mark) = last else { return };
        if mark.line != line && mark.end > range.start() {
            let lag = now - mark.at;
            self.lead = Some((mark.line, lag));
            // A line that lags for longer than anybody waits is not waited for.
            let lag = lag.min(self.limits.max_wait);
            let most = state.lag.unwrap_or(lag);
            state.lag = Some(if lag > most { lag } else { Nanos(most.0 - (most - lag).0.div_ceil(LAG_DECAY)) });
        }
        self.forget_passed();
    }

    /// The line is ahead of all that has been shown.
    fn mark(&mut self, now: Nanos, line: Line) {
        if self.marks.len() == MARKS {
            // The other line has not come by the first, which says since when it is behind.
            self.marks.remove(1);
        }
        let state = &mut self.states[line.index()];
        self.marks.push_back(Mark { end: state.next, at: now, line });
        state.cursor = self.first_mark + self.marks.len() as u64;
    }

    /// Forgets the marks that both lines have come by.
    fn forget_passed(&mut self) {
        let passed = self.states.iter().map(|state| state.cursor).min().unwrap_or_default();
        while self.first_mark < passed {
            self.marks.pop_front();
            self.first_mark += 1;
        }
    }

    /// How far the line of the last packet lagged behind the other, if it did: the other one, and the time; once.
    pub(crate) fn take_lead(&mut self) -> Option<(Line, Nanos)> {
        self.lead.take()
    }

    /// What gaps wait for now.
    pub(crate) fn wait(&self) -> Wait {
        let mut wait = Wait { passed: SequenceNumber::MAX, delay: Nanos::ZERO, until: Nanos::ZERO };
        for state in &self.states {
            let Some(since) = self.behind_since(state) else { continue };
            let until = since + self.limits.max_wait;
            if state.has_heard {
                let lag = state.lag.map_or(self.limits.max_wait, |lag| Nanos(lag.0 + lag.0 / 2));
                wait.passed = wait.passed.min(state.next);
                wait.delay = lag.clamp(MIN_WAIT.min(self.limits.max_wait), self.limits.max_wait);
                wait.until = until;
            }
        }
        wait
    }

    /// What is to be told of a line, if anything; call until there is nothing.
    pub(crate) fn poll(&mut self, now: Nanos) -> Option<Status> {
        Line::ALL.into_iter().find_map(|line| self.judge(now, line))
    }

    /// When there may be something to tell if nothing arrives before.
    pub(crate) fn due(&self) -> Option<Nanos> {
        let due = |state: &State| {
            let since = self.behind_since(state).filter(|_| state.has_heard)?;
            match state.condition {
                Condition::Fine => Some(since + self.limits.behind_after),
                Condition::Behind => Some(since.max(state.heard_at) + self.limits.behind_after),
                Condition::Silent(_) => None,
            }
        };
        self.states.iter().filter_map(due).min()
    }

    /// One past the highest number that a line has shown; none before it is heard.
    pub(crate) fn next(&self, line: Line) -> Option<SequenceNumber> {
        let state = &self.states[line.index()];
        state.has_heard.then_some(state.next)
    }

    /// When a line was heard last; none before it is heard.
    pub(crate) fn heard_at(&self, line: Line) -> Option<Nanos> {
        let state = &self.states[line.index()];
        state.has_heard.then_some(state.heard_at)
    }

    /// Whether it was told last of a line that it is silent.
    pub(crate) fn is_silent(&self, line: Line) -> bool {
        matches!(self.states[line.index()].condition, Condition::Silent(_))
    }

    /// Whether the numbers of a line have begun again.
    pub(crate) fn is_rewound(&self, line: Line) -> bool {
        self.states[line.index()].rewound_to.is_some()
    }

    /// Notes that the numbers of a line have begun again, and show `sequence`; returns the lowest number from which they go on,
    /// once they have begun again on every line that was heard lately.
    pub(crate) fn rewind(&mut self, now: Nanos, line: Line, sequence: SequenceNumber) -> Option<SequenceNumber> {
        let state = &mut self.states[line.index()];
        state.heard_at = now;
        state.rewound_to = Some(state.rewound_to.map_or(sequence, |lowest| lowest.min(sequence)));
        let is_live = |state: &&State| state.has_heard && now - state.heard_at < self.limits.behind_after;
        let mut live = self.states.iter().filter(is_live).map(|state| state.rewound_to);
        live.try_fold(SequenceNumber::MAX, |lowest, to| Some(lowest.min(to?)))
    }

    /// How many messages a line has yet to show that the other one has.
    pub(crate) fn behind(&self, line: Line) -> u64 {
        let state = &self.states[line.index()];
        if state.has_heard { self.shown - state.next.min(self.shown) } else { 0 }
    }

    /// Since when the other line has shown what this one has yet to; none for the line that is ahead.
    fn behind_since(&self, state: &State) -> Option<Nanos> {
        self.marks.get((state.cursor - self.first_mark) as usize).map(|mark| mark.at)
    }

    fn judge(&mut self, now: Nanos, line: Line) -> Option<Status> {
        let (state, other) = (&self.states[line.index()], &self.states[1 - line.index()]);
        if !state.exists || !self.has_heard {
            return None;
        }
        let limits = self.limits;
        let elapsed = now - state.heard_at;
        let lag = self.behind_since(state).filter(|_| state.has_heard).map_or(Nanos::ZERO, |since| now - since);
        let is_behind = lag >= limits.behind_after;
        let is_unheard = other.has_heard && other.heard_at - state.heard_at >= limits.silent_after;
        let is_silent = is_unheard || (is_behind && elapsed >= limits.behind_after);
        let behind = Status::LineBehind { line, messages: self.behind(line), elapsed: lag };
        let (condition, status) = match state.condition {
            Condition::Silent(heard_at) if is_silent || !state.has_heard || state.heard_at == heard_at => return None,
            _ if is_silent => (Condition::Silent(state.heard_at), Status::LineSilent { line, elapsed }),
            Condition::Fine if is_behind => (Condition::Behind, behind),
            Condition::Fine => return None,
            // Half of the limit, so that a line at the limit is not told of again and again.
            _ if lag.0 < limits.behind_after.0 / 2 => (Condition::Fine, Status::LineCaughtUp { line }),
            Condition::Silent(_) => (Condition::Behind, behind),
            Condition::Behind => return None,
        };
        self.states[line.index()].condition = condition;
        Some(status)
    }
}
