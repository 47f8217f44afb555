//! The gaps that opened and closed last, of all subscribers, from the tables of their files.

use super::screen::Style;
use crate::progress::{count, thousands};
use crate::stats::{Process, Reading};
use crate::times;
use seqcast_recovery::Nanos;
use seqcast_stats::{Row, TableEntry};

/// A gap that is open or was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// When that was, on the monotonic clock.
    at: Nanos,
    pub(super) text: String,
    pub(super) style: Style,
}

/// The latest of these processes, newest first.
pub(super) fn latest<'a>(
    processes: impl IntoIterator<Item = &'a Process>,
    reading: &Reading,
    most: usize,
) -> Vec<Event> {
    let mut events: Vec<_> = processes.into_iter().flat_map(|process| of(process, reading)).collect();
    events.sort_by_key(|event| std::cmp::Reverse(event.at));
    events.truncate(most);
    events
}

fn of(process: &Process, reading: &Reading) -> Vec<Event> {
    let snapshot = &process.snapshot;
    let event = |table: &TableEntry, row: &Row, tell: Tell| {
        let (at, words, style) = tell(table, row, reading.at)?;
        let time = times::utc(reading.unix_of(at));
        let session = table.session(row, "session").map_or_else(|| process.feed().to_owned(), |it| it.to_string());
        // The time of day, to the millisecond.
        let text = format!("{} {session} {}: {words}", time.get(11..23).unwrap_or_default(), snapshot.process);
        Some(Event { at, text, style })
    };
    let tables: [(&str, Tell); 2] = [("open_gaps", open), ("gaps", closed)];
    let tables = tables.into_iter().filter_map(|(name, tell)| Some((snapshot.table(name)?, tell)));
    tables.flat_map(|(table, tell)| table.rows.iter().filter_map(move |row| event(table, row, tell))).collect()
}

/// When something happened, what, and how it looks; `now` is the moment of the reading.
type Tell = fn(&TableEntry, &Row, Nanos) -> Option<(Nanos, String, Style)>;

fn open(table: &TableEntry, row: &Row, now: Nanos) -> Option<(Nanos, String, Style)> {
    let at = Nanos(table.value(row, "opened_at")?);
    let since = times::in_words(now - at);
    let requests = count(table.value(row, "requests").unwrap_or(0), "request");
    Some((at, format!("gap {} open for {since}, {requests}", range(table, row)?), Style::BOLD))
}

fn closed(table: &TableEntry, row: &Row, _: Nanos) -> Option<(Nanos, String, Style)> {
    let elapsed = Nanos(table.value(row, "elapsed")?);
    let at = Nanos(table.value(row, "opened_at")?) + elapsed;
    let by = [("by_line_a", "by line a"), ("by_line_b", "by line b"), ("by_answers", "by answers")];
    let by = by.into_iter().filter_map(|(field, words)| Some((table.value(row, field)?, words)));
    let mut parts: Vec<_> =
        by.filter(|(count, _)| *count > 0).map(|(count, words)| format!("{} {words}", thousands(count))).collect();
    let origin = table.word(row, "origin").filter(|origin| *origin != "unknown");
    parts.extend(origin.map(|origin| origin.replace('_', " ")));
    let lost = table.word(row, "lost").filter(|cause| *cause != "no");
    let (end, style) = match lost {
        Some(cause) => (format!("LOST: {}", cause.replace('_', " ")), Style::ALARM),
        None => ("filled".to_owned(), Style::PLAIN),
    };
    let words = std::iter::once(format!("gap {} {end} after {}", range(table, row)?, times::in_words(elapsed)));
    Some((at, words.chain(parts).collect::<Vec<_>>().join(", "), style))
}

/// `1,204..1,220`, the end not included.
fn range(table: &TableEntry, row: &Row) -> Option<String> {
    let [first, end] = ["first", "end"].map(|field| table.value(row, field));
    Some(format!("{}..{}", thousands(first?), thousands(end?)))
}
