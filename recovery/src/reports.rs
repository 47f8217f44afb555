//! The open gaps as the application knows them: when each was found and why, whether it has been raised, when it was
//! filled. Every missing number belongs to exactly one report.

use crate::lines::Wait;
use crate::{GapOrigin, GapRecord, LossCause, Nanos, Recovered, Source};
use alloc::collections::VecDeque;
use seqcast_protocol::{PacketKind, SequenceNumber, SequenceRange, SessionId};

/// One open gap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    pub(crate) range: SequenceRange,
    pub(crate) origin: GapOrigin,
    pub(crate) opening: Opening,
    /// Whether the application has been told.
    pub(crate) raised: bool,
    /// Whether its missing numbers are to be reported lost when their turn comes.
    pub(crate) given_up: Option<LossCause>,
    /// Why some of it has been reported lost, if it has.
    pub(crate) lost: Option<LossCause>,
    first_request_at: Option<Nanos>,
    requests: u32,
    by_lines: [u64; 2],
    by_answers: u64,
    filled_at: Option<Nanos>,
}

/// What showed that numbers are missing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    pub(crate) at: Nanos,
    pub(crate) source: Source,
    pub(crate) kind: PacketKind,
}

impl Report {
    fn new(range: SequenceRange, origin: GapOrigin, opening: Opening) -> Self {
        Self {
            range,
            origin,
            opening,
            raised: false,
            given_up: None,
            lost: None,
            first_request_at: None,
            requests: 0,
            by_lines: [0; 2],
            by_answers: 0,
            filled_at: None,
        }
    }

    /// Whether the application hears of it: what a late joiner still has to fetch is no gap.
    pub(crate) fn is_gap(&self) -> bool {
        self.origin != GapOrigin::LateJoin
    }

    fn is_continued_by(&self, range: SequenceRange, now: Nanos) -> bool {
        self.range.end() == range.start() && (self.opening.at == now || !self.is_gap())
    }

    /// Whether it may still come to cover more: nothing has been said of it.
    fn can_grow(&self, origin: GapOrigin) -> bool {
        self.origin == origin && !self.raised && self.given_up.is_none()
    }

    /// What the application is told when the report is settled, if anything.
    pub(crate) fn recovered(&self) -> Option<Recovered> {
        (self.raised && self.lost.is_none()).then(|| Recovered {
            range: self.range,
            origin: self.origin,
            elapsed: self.filled_at.unwrap_or(self.opening.at) - self.opening.at,
        })
    }

    /// What is remembered of a gap that was raised, and settled at `now`.
    pub(crate) fn record(&self, session: SessionId, now: Nanos) -> GapRecord {
        let Opening { at, source, kind } = self.opening;
        let closed_at = if self.lost.is_none() { self.filled_at.unwrap_or(now) } else { now };
        GapRecord {
            session,
            range: self.range,
            origin: self.origin,
            opened_by: source,
            opening_kind: kind,
            opened_at: at,
            asked_after: self.first_request_at.map(|asked_at| asked_at - at),
            requests: self.requests,
            by_lines: self.by_lines,
            by_answers: self.by_answers,
            lost: self.lost,
            elapsed: closed_at - at,
        }
    }
}

/// When gaps may be raised and asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    pub(crate) now: Nanos,
    /// How long each waits in any case.
    pub(crate) delay: Nanos,
    /// What they wait for beyond that.
    pub(crate) wait: Wait,
}

impl Due {
    fn has_waited(&self, report: &Report) -> bool {
        self.now >= report.opening.at + self.delay
    }

    fn has_waited_for_lines(&self, report: &Report) -> bool {
        self.now >= self.wait.ends(report.opening.at)
    }

    /// Whether a gap of which `missing` are the first missing numbers is to be raised.
    pub(crate) fn may_raise(&self, report: &Report, missing: SequenceRange) -> bool {
        self.has_waited(report) && (missing.start() < self.wait.passed || self.has_waited_for_lines(report))
    }
}

/// The reports in the order of their numbers, at most a fixed number of them.
///
/// Invariants: sorted, disjoint, and in the order of their openings; raised ones come before those that are not, among those
/// that are gaps; what ends at or below `looked_through` has been raised, or filled, or is no gap.
#[derive(Clone, Debug)]
pub(crate) struct Reports {
    reports: VecDeque<Report>,
    capacity: usize,
    pub(crate) looked_through: SequenceNumber,
}

impl Reports {
    pub(crate) fn new(capacity: usize) -> Self {
        let opening = Opening { at: Nanos::MAX, source: Source::RequestTarget(usize::MAX), kind: PacketKind::Data };
        let mut reports = VecDeque::new();
        reports.resize(capacity, Report::new(SequenceRange::new(1, 1), GapOrigin::Unknown, opening));
        reports.clear();
        Self { reports, capacity, looked_through: 0 }
    }

    /// Whether a report of such a gap can be added: there is room, or the last one takes it.
    pub(crate) fn has_room(&self, origin: GapOrigin) -> bool {
        self.reports.len() < self.capacity || self.reports.back().is_some_and(|last| last.can_grow(origin))
    }

    /// Adds a report above all others, for which there is room. What cannot have one of its own, or continues one of the
    /// same time or a late join, extends the last.
    pub(crate) fn open(&mut self, range: SequenceRange, origin: GapOrigin, opening: Opening) {
        let is_full = self.reports.len() == self.capacity;
        match self.reports.back_mut() {
            Some(last) if last.can_grow(origin) && (is_full || last.is_continued_by(range, opening.at)) => {
                last.range = SequenceRange::new(last.range.start(), range.end());
                last.filled_at = None;
            }
            _ => self.reports.push_back(Report::new(range, origin, opening)),
        }
    }

    pub(crate) fn front(&self) -> Option<&Report> {
        self.reports.front()
    }

    pub(crate) fn front_mut(&mut self) -> Option<&mut Report> {
        self.reports.front_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Report> {
        self.reports.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Report> {
        self.reports.iter_mut()
    }

    /// The reports that have not been looked through, in order.
    pub(crate) fn not_looked_through(&mut self) -> impl Iterator<Item = &mut Report> {
        let first = self.first_above(self.looked_through);
        self.reports.range_mut(first..)
    }

    /// One past the highest number that is worth asking for: what lies beyond is given up, or still waits for another line.
    /// `waits` says whether the gap policy waits for gaps to be filled.
    pub(crate) fn askable_end(&self, due: &Due, waits: bool) -> SequenceNumber {
        let is_excluded = |report: &Report| {
            let is_wanted = waits || matches!(report.origin, GapOrigin::LateJoin | GapOrigin::Deferred);
            report.given_up.is_some() || !is_wanted
        };
        let start = |index: usize| self.reports.get(index).map_or(SequenceNumber::MAX, |report| report.range.start());
        // What is given up is at the front: its turn to be told comes at once.
        let is_plain = waits && self.front().is_none_or(|front| front.given_up.is_none());
        let excluded =
            if is_plain { self.reports.len() } else { self.iter().take_while(|it| !is_excluded(it)).count() };
        let waiting = self.first_gap_not(|report| due.has_waited(report));
        let behind = self.first_gap_not(|report| due.has_waited_for_lines(report));
        start(excluded.min(waiting)).min(start(behind).max(due.wait.passed))
    }

    /// When the next of the waits that are not over ends, if that is known.
    pub(crate) fn next_due(&self, due: &Due) -> Option<Nanos> {
        let waiting = self.first_gap_not(|report| due.has_waited(report));
        let behind = self.first_gap_not(|report| due.has_waited_for_lines(report));
        let waiting = self.reports.get(waiting).map(|report| report.opening.at + due.delay);
        let behind = self.reports.get(behind).map(|report| due.wait.ends(report.opening.at));
        waiting.into_iter().chain(behind).min()
    }

    /// Whether there is a gap that has yet to be raised and is not filled.
    pub(crate) fn has_unraised(&self) -> bool {
        let first = self.first_above(self.looked_through);
        self.reports.range(first..).any(|report| report.is_gap() && !report.raised && report.filled_at.is_none())
    }

    /// Whether the application has been told of a gap that is not settled.
    pub(crate) fn has_raised(&self) -> bool {
        self.raised_start() != SequenceNumber::MAX
    }

    /// The first number that the application has been told is missing.
    pub(crate) fn raised_start(&self) -> SequenceNumber {
        self.iter().find(|report| report.raised).map_or(SequenceNumber::MAX, |report| report.range.start())
    }

    /// The number at which the first report is settled.
    pub(crate) fn next_settled(&self) -> SequenceNumber {
        self.reports.front().map_or(SequenceNumber::MAX, |report| report.range.end())
    }

    /// Notes that a request left for numbers from `number` on.
    pub(crate) fn note_request(&mut self, now: Nanos, number: SequenceNumber) {
        let index = self.first_above(number);
        if let Some(report) = self.reports.get_mut(index) {
            report.requests = report.requests.saturating_add(1);
            report.first_request_at.get_or_insert(now);
        }
    }

    /// Takes the first report off when every number below `expected` has been delivered or given up.
    pub(crate) fn settle(&mut self, expected: SequenceNumber) -> Option<Report> {
        if self.next_settled() > expected { None } else { self.reports.pop_front() }
    }

    /// Forgets everything below `number`, of which the application has not been told.
    pub(crate) fn forget_below(&mut self, number: SequenceNumber) {
        while self.settle(number).is_some() {}
        if let Some(first) = self.reports.front_mut() {
            first.range = SequenceRange::new(first.range.start().max(number), first.range.end());
        }
    }

    /// Notes that the numbers of `piece`, which were missing, came from `source`.
    pub(crate) fn note_piece(&mut self, piece: SequenceRange, source: Source) {
        for report in self.overlapping(piece) {
            let count = report.range.intersection(piece).count();
            match source {
                Source::Line(line) => report.by_lines[line.index()] += count,
                Source::RequestTarget(_) => report.by_answers += count,
            }
        }
    }

    /// Notes that numbers of `range` have arrived; `is_missing` says whether any of a range still is.
    pub(crate) fn note_filled(&mut self, range: SequenceRange, now: Nanos, is_missing: impl Fn(SequenceRange) -> bool) {
        for report in self.overlapping(range) {
            if report.filled_at.is_none() && !is_missing(report.range) {
                report.filled_at = Some(now);
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.reports.clear();
        self.looked_through = 0;
    }

    fn overlapping(&mut self, range: SequenceRange) -> impl Iterator<Item = &mut Report> {
        let first = self.first_above(range.start());
        self.reports.range_mut(first..).take_while(move |report| report.range.start() < range.end())
    }

    /// The index of the first gap of which `is_over` does not hold; it holds of a report if it does of a later one.
    fn first_gap_not(&self, is_over: impl Fn(&Report) -> bool) -> usize {
        let first = self.reports.partition_point(is_over);
        first + self.reports.range(first..).take_while(|report| !report.is_gap()).count()
    }

    /// The index of the first report that ends above `number`.
    fn first_above(&self, number: SequenceNumber) -> usize {
        self.reports.partition_point(|report| report.range.end() <= number)
    }
}
