//! The gaps that a subscriber remembers: those that are settled, those that are open, and what was lost.

use super::host::{Process, total};
use crate::progress::count;
use crate::subscribe::cause_name;
use crate::subscribe::health::{gap_in_words, source_in_words};
use crate::times;
use seqcast_protocol::{PacketKind, SequenceRange, SessionId};
use seqcast_recovery::{GapOrigin, GapRecord, Line, LossCause, Nanos, Source};
use seqcast_stats::{Row, TableEntry};

/// Numbers that were given up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lost {
    pub(super) session: SessionId,
    pub(super) range: SequenceRange,
    pub(super) cause: LossCause,
    pub(super) at: Nanos,
}

/// A gap that is open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) range: SequenceRange,
    pub(super) opened_at: Nanos,
    pub(super) requests: u64,
}

/// The rows of a table that say what they should, the latest last.
fn rows<T>(process: &Process, table: &str, read: impl Fn(&TableEntry, &Row) -> Option<T>) -> Vec<T> {
    let Some(table) = process.now.table(table) else { return Vec::new() };
    table.rows.iter().filter_map(|row| read(table, row)).collect()
}

fn range(table: &TableEntry, row: &Row) -> Option<SequenceRange> {
    let range = SequenceRange::new(table.value(row, "first")?, table.value(row, "end")?);
    Some(range).filter(|range| !range.is_empty())
}

fn time(table: &TableEntry, row: &Row, field: &str) -> Option<Nanos> {
    table.value(row, field).map(Nanos)
}

fn loss_cause(word: &str) -> Option<LossCause> {
    let causes = [LossCause::Overwritten, LossCause::NoAnswer, LossCause::Skipped, LossCause::Ended];
    causes.into_iter().find(|cause| cause_name(*cause) == word)
}

/// The latest gaps that were raised and are settled.
pub(super) fn settled(process: &Process) -> Vec<GapRecord> {
    rows(process, "gaps", |table, row| {
        let value = |field| table.value(row, field);
        let origin = match table.word(row, "origin")? {
            "kernel_drop" => GapOrigin::KernelDrop(u32::try_from(value("kernel_drops")?).unwrap_or(u32::MAX)),
            "late_join" => GapOrigin::LateJoin,
            "deferred" => GapOrigin::Deferred,
            _ => GapOrigin::Unknown,
        };
        let opened_by = match table.word(row, "opened_by")? {
            "line_a" => Source::Line(Line::A),
            "line_b" => Source::Line(Line::B),
            _ => Source::RequestTarget(0),
        };
        Some(GapRecord {
            session: table.session(row, "session")?,
            range: range(table, row)?,
            origin,
            opened_by,
            opening_kind: if value("opened_by_heartbeat")? == 1 { PacketKind::Heartbeat } else { PacketKind::Data },
            opened_at: time(table, row, "opened_at")?,
            asked_after: if value("asked")? == 1 { time(table, row, "asked_after") } else { None },
            requests: u32::try_from(value("requests")?).unwrap_or(u32::MAX),
            by_lines: [value("by_line_a")?, value("by_line_b")?],
            by_answers: value("by_answers")?,
            lost: loss_cause(table.word(row, "lost")?),
            elapsed: time(table, row, "elapsed")?,
        })
    })
}

/// The first gaps that are open.
pub(super) fn open(process: &Process) -> Vec<Open> {
    rows(process, "open_gaps", |table, row| {
        Some(Open {
            range: range(table, row)?,
            opened_at: time(table, row, "opened_at")?,
            requests: table.value(row, "requests")?,
        })
    })
}

/// What was lost last; what follows each other for one cause is one.
pub(super) fn lost(process: &Process) -> Vec<Lost> {
    let rows = rows(process, "losses", |table, row| {
        Some(Lost {
            session: table.session(row, "session")?,
            range: range(table, row)?,
            cause: loss_cause(table.word(row, "cause")?)?,
            at: time(table, row, "at")?,
        })
    });
    let mut merged: Vec<Lost> = Vec::new();
    for loss in rows {
        match merged.last_mut() {
            Some(last)
                if (last.session, last.cause, last.range.end()) == (loss.session, loss.cause, loss.range.start()) =>
            {
                last.range = SequenceRange::new(last.range.start(), loss.range.end());
                last.at = loss.at;
            }
            _ => merged.push(loss),
        }
    }
    merged
}

/// How many messages ranges hold together.
pub(super) fn messages(ranges: impl IntoIterator<Item = SequenceRange>) -> u64 {
    total(ranges.into_iter().map(SequenceRange::count))
}

/// The latest of some gaps in one line, and when it was.
pub(super) fn latest(process: &Process, gaps: &[GapRecord]) -> Option<String> {
    let gap = gaps.last()?;
    Some(format!("the latest, {} ago: {}", ago(process, gap.opened_at), gap_in_words(gap).trim_start()))
}

/// How long before the reading a moment was, in words.
pub(super) fn ago(process: &Process, at: Nanos) -> String {
    times::in_words(process.since(at))
}

/// The whole life of a gap, line by line.
pub(super) fn life(process: &Process, gap: &GapRecord) -> Vec<String> {
    let packet = match gap.opening_kind {
        PacketKind::Data => "a packet",
        PacketKind::Heartbeat | PacketKind::EndOfSession => "a heartbeat or the end of the session",
    };
    let missing = match gap.origin {
        GapOrigin::Unknown => "they were lost or late on the way; the kernel here had dropped nothing".to_owned(),
        GapOrigin::KernelDrop(dropped) => {
            format!("the kernel dropped {} here: the receive buffer was full", count(u64::from(dropped), "datagram"))
        }
        GapOrigin::LateJoin => "they were published before it began".to_owned(),
        GapOrigin::Deferred => "they had arrived, and the reorder window had no room for them".to_owned(),
    };
    let asked = match gap.asked_after {
        None => "nothing was asked for".to_owned(),
        Some(Nanos::ZERO) => format!("asked for at once, with {}", count(u64::from(gap.requests), "request")),
        Some(after) => format!(
            "{} {}, then asked for with {}",
            if process.lines().count() > 1 { "waited for the other line for" } else { "left alone for" },
            times::in_words(after),
            count(u64::from(gap.requests), "request")
        ),
    };
    let sources = [(gap.by_lines[0], "line A"), (gap.by_lines[1], "line B"), (gap.by_answers, "answers")];
    let filled: Vec<_> = sources
        .iter()
        .filter(|(by, _)| *by > 0)
        .map(|(by, source)| format!("{} from {source}", count(*by, "message")))
        .collect();
    let filled = if filled.is_empty() { "nothing came".to_owned() } else { filled.join(", ") };
    let end = match gap.lost {
        None => format!("recovered after {}", times::in_words(gap.elapsed)),
        Some(cause) => format!("some or all lost after {}: {}", times::in_words(gap.elapsed), cause_name(cause)),
    };
    vec![
        format!(
            "opened {} ago by {packet} of {} that showed a number beyond",
            ago(process, gap.opened_at),
            source_in_words(gap.opened_by)
        ),
        missing,
        asked,
        filled,
        end,
    ]
}
