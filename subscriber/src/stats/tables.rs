//! The tables of a subscriber's file: what happened lately, row by row.

use super::Cycle;
use seqcast_protocol::{PacketKind, SessionId};
use seqcast_recovery::{GapOrigin, GapRecord, Loss, LossCause, Nanos, Source, Subscription};
use seqcast_stats::{Described, Description, StatsFile, Table, Unit};

/// How many settled gaps there is room for: as many as a subscription remembers.
const GAPS: usize = 128;

/// How many open gaps. Arbitrary: a screenful, of which the first holds the others up.
const OPEN_GAPS: usize = 16;

/// How many losses. Arbitrary: a session with more of them has other troubles.
const LOSSES: usize = 64;

/// How many slow duty cycles. Arbitrary.
const SLOW_CYCLES: usize = 32;

const CAUSES: [&str; 4] = ["overwritten", "no_answer", "skipped", "ended"];

/// Where the tables will be.
pub(super) struct DescribedTables {
    session: Described,
    gaps: Described,
    open_gaps: Described,
    losses: Described,
    slow_cycles: Described,
}

/// Adds the tables.
pub(super) fn describe(description: &mut Description) -> DescribedTables {
    let number = || Unit::Number;
    let messages = || Unit::count("messages");
    let requests = || Unit::count("requests");
    let datagrams = || Unit::count("datagrams");
    let not_lost = ["no"].into_iter().chain(CAUSES).collect::<Vec<_>>();
    DescribedTables {
        session: description.table("session", 1, &[("session", Unit::Session)]),
        gaps: description.table(
            "gaps",
            GAPS,
            &[
                ("session", Unit::Session),
                ("first", number()),
                ("end", number()),
                ("origin", Unit::one_of(&["unknown", "kernel_drop", "late_join", "deferred"])),
                ("kernel_drops", datagrams()),
                ("opened_by", Unit::one_of(&["line_a", "line_b", "answer"])),
                ("opened_by_heartbeat", Unit::Flag),
                ("opened_at", Unit::Time),
                ("asked_after", Unit::Nanoseconds),
                ("asked", Unit::Flag),
                ("requests", requests()),
                ("by_line_a", messages()),
                ("by_line_b", messages()),
                ("by_answers", messages()),
                ("lost", Unit::one_of(&not_lost)),
                ("elapsed", Unit::Nanoseconds),
            ],
        ),
        open_gaps: description.table(
            "open_gaps",
            OPEN_GAPS,
            &[
                ("session", Unit::Session),
                ("first", number()),
                ("end", number()),
                ("opened_at", Unit::Time),
                ("requests", requests()),
            ],
        ),
        losses: description.table(
            "losses",
            LOSSES,
            &[
                ("session", Unit::Session),
                ("first", number()),
                ("end", number()),
                ("cause", Unit::one_of(&CAUSES)),
                ("at", Unit::Time),
            ],
        ),
        slow_cycles: description.table(
            "slow_cycles",
            SLOW_CYCLES,
            &[
                ("at", Unit::Time),
                ("duration", Unit::Nanoseconds),
                ("messages", messages()),
                ("datagrams", datagrams()),
            ],
        ),
    }
}

/// The tables.
#[derive(Debug)]
pub(super) struct Tables {
    session: Table,
    gaps: Table,
    open_gaps: Table,
    losses: Table,
    slow_cycles: Table,
    /// The session that losses are of.
    present: [u64; 2],
    /// How many rows of open gaps are not empty.
    open_rows: usize,
}

impl Tables {
    pub(super) fn new(file: &StatsFile, described: &DescribedTables) -> Self {
        Self {
            session: file.table(described.session),
            gaps: file.table(described.gaps),
            open_gaps: file.table(described.open_gaps),
            losses: file.table(described.losses),
            slow_cycles: file.table(described.slow_cycles),
            present: Unit::session_words(SessionId::UNKNOWN),
            open_rows: 0,
        }
    }

    pub(super) fn write_session(&mut self, session: SessionId) {
        self.present = Unit::session_words(session);
        self.session.set(0, &self.present);
    }

    pub(super) fn write_gap(&mut self, record: &GapRecord) {
        let [first_half, second_half] = Unit::session_words(record.session);
        let (origin, kernel_drops) = match record.origin {
            GapOrigin::Unknown => (0, 0),
            GapOrigin::KernelDrop(count) => (1, u64::from(count)),
            GapOrigin::LateJoin => (2, 0),
            GapOrigin::Deferred => (3, 0),
        };
        let opened_by = match record.opened_by {
            Source::Line(line) => line.index() as u64,
            Source::RequestTarget(_) => 2,
        };
        let [by_line_a, by_line_b] = record.by_lines;
        self.gaps.push(&[
            first_half,
            second_half,
            record.range.start(),
            record.range.end(),
            origin,
            kernel_drops,
            opened_by,
            u64::from(record.opening_kind != PacketKind::Data),
            record.opened_at.0,
            record.asked_after.unwrap_or(Nanos::ZERO).0,
            u64::from(record.asked_after.is_some()),
            u64::from(record.requests),
            by_line_a,
            by_line_b,
            record.by_answers,
            record.lost.map_or(0, |cause| 1 + index(cause)),
            record.elapsed.0,
        ]);
    }

    pub(super) fn write_open_gaps(&mut self, subscription: &Subscription) {
        let mut rows = 0;
        for gap in subscription.missing().take(OPEN_GAPS) {
            let [first_half, second_half] = Unit::session_words(gap.session);
            let (first, end) = (gap.range.start(), gap.range.end());
            self.open_gaps.set(rows, &[first_half, second_half, first, end, gap.opened_at.0, u64::from(gap.requests)]);
            rows += 1;
        }
        (rows..self.open_rows).for_each(|row| self.open_gaps.clear(row));
        self.open_rows = rows;
    }

    pub(super) fn write_loss(&mut self, loss: &Loss, at: Nanos) {
        let [first_half, second_half] = self.present;
        self.losses.push(&[first_half, second_half, loss.range.start(), loss.range.end(), index(loss.cause), at.0]);
    }

    pub(super) fn write_slow_cycle(&mut self, cycle: &Cycle, duration: Nanos) {
        self.slow_cycles.push(&[cycle.at.0, duration.0, cycle.messages as u64, cycle.datagrams as u64]);
    }
}

/// The index of a cause in [`CAUSES`].
fn index(cause: LossCause) -> u64 {
    match cause {
        LossCause::Overwritten => 0,
        LossCause::NoAnswer => 1,
        LossCause::Skipped => 2,
        LossCause::Ended => 3,
    }
}
