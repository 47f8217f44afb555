//! The open gaps as the application knows them: when each was found and why, whether it has been raised, when it was
//! filled. Every missing number belongs to exactly one report.

use crate::{GapOrigin, Nanos, Recovered};
use alloc::collections::VecDeque;
use seqcast_protocol::{SequenceNumber, SequenceRange};

/// One open gap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    pub(crate) range: SequenceRange,
    pub(crate) origin: GapOrigin,
    pub(crate) opened_at: Nanos,
    /// Whether the application has been told.
    pub(crate) raised: bool,
    /// Whether its missing numbers are to be reported lost when their turn comes.
    pub(crate) given_up: Option<crate::LossCause>,
    /// Whether some of it has been reported lost.
    pub(crate) lossy: bool,
    filled_at: Option<Nanos>,
}

impl Report {
    /// Whether the application hears of it: what a late joiner still has to fetch is no gap.
    pub(crate) fn is_gap(&self) -> bool {
        self.origin != GapOrigin::LateJoin
    }

    fn is_continued_by(&self, range: SequenceRange, now: Nanos) -> bool {
        self.range.end() == range.start() && (self.opened_at == now || !self.is_gap())
    }

    /// Whether it may still come to cover more: nothing has been said of it.
    fn can_grow(&self, origin: GapOrigin) -> bool {
        self.origin == origin && !self.raised && self.given_up.is_none()
    }
}

/// The reports in the order of their numbers, at most a fixed number of them.
///
/// Invariant: sorted, disjoint; raised ones come before those that are not, among those that are gaps.
#[derive(Clone, Debug)]
pub(crate) struct Reports {
    reports: VecDeque<Report>,
    capacity: usize,
}

impl Reports {
    pub(crate) fn new(capacity: usize) -> Self {
        let filler = Report {
            range: SequenceRange::new(1, 1),
            origin: GapOrigin::Unknown,
            opened_at: Nanos::MAX,
            raised: false,
            given_up: None,
            lossy: false,
            filled_at: None,
        };
        let mut reports = VecDeque::new();
        reports.resize(capacity, filler);
        reports.clear();
        Self { reports, capacity }
    }

    /// Whether a report of such a gap can be added: there is room, or the last one takes it.
    pub(crate) fn has_room(&self, origin: GapOrigin) -> bool {
        self.reports.len() < self.capacity || self.reports.back().is_some_and(|last| last.can_grow(origin))
    }

    /// Adds a report above all others, for which there is room. What cannot have one of its own, or continues one of the
    /// same time or a late join, extends the last.
    pub(crate) fn open(&mut self, range: SequenceRange, origin: GapOrigin, now: Nanos) {
        let is_full = self.reports.len() == self.capacity;
        match self.reports.back_mut() {
            Some(last) if last.can_grow(origin) && (is_full || last.is_continued_by(range, now)) => {
                last.range = SequenceRange::new(last.range.start(), range.end());
                last.filled_at = None;
            }
            _ => self.reports.push_back(Report {
                range,
                origin,
                opened_at: now,
                raised: false,
                given_up: None,
                lossy: false,
                filled_at: None,
            }),
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

    /// One past the highest number that is worth asking for: what lies beyond is given up, or still waits for another line.
    /// `waits` says whether the gap policy waits for gaps to be filled.
    pub(crate) fn askable_end(&self, now: Nanos, delay: Nanos, waits: bool) -> SequenceNumber {
        let is_due = |report: &Report| match report.origin {
            GapOrigin::LateJoin => true,
            GapOrigin::Deferred => now >= report.opened_at + delay,
            GapOrigin::Unknown | GapOrigin::KernelDrop(_) => waits && now >= report.opened_at + delay,
        };
        let may_ask = |report: &Report| report.given_up.is_none() && is_due(report);
        self.iter().find(|report| !may_ask(report)).map_or(SequenceNumber::MAX, |report| report.range.start())
    }

    /// When the first of the gaps that have yet to be raised was found.
    pub(crate) fn oldest_unraised(&self) -> Option<Nanos> {
        let unraised = |report: &&Report| report.is_gap() && !report.raised && report.filled_at.is_none();
        self.iter().find(unraised).map(|report| report.opened_at)
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

    /// Notes that numbers of `range` have arrived; `is_missing` says whether any of a range still is.
    pub(crate) fn note_filled(&mut self, range: SequenceRange, now: Nanos, is_missing: impl Fn(SequenceRange) -> bool) {
        let first = self.reports.partition_point(|report| report.range.end() <= range.start());
        for report in self.reports.range_mut(first..) {
            if report.range.start() >= range.end() {
                break;
            }
            if report.filled_at.is_none() && !is_missing(report.range) {
                report.filled_at = Some(now);
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.reports.clear();
    }
}

impl Report {
    /// What the application is told when the report is settled, if anything.
    pub(crate) fn recovered(&self) -> Option<Recovered> {
        (self.raised && !self.lossy).then(|| Recovered {
            range: self.range,
            origin: self.origin,
            elapsed: self.filled_at.unwrap_or(self.opened_at) - self.opened_at,
        })
    }
}
