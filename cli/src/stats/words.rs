//! Values as people read them, and a process as a block of lines.

use super::reading::{Process, Reading};
use crate::progress::thousands;
use crate::times;
use seqcast_recovery::Nanos;
use seqcast_stats::{HistogramEntry, Kind, State, Unit};

/// A value and its unit; a moment as the time since then, `at` being now.
pub(super) fn value(unit: &Unit, value: u64, at: Nanos) -> (String, String) {
    let time = |time: Nanos, more: &str| {
        let words = times::in_words(time);
        let (number, unit) = words.split_once(' ').unwrap_or((&words, ""));
        (number.to_owned(), format!("{unit}{more}"))
    };
    let word = |word: String| (word, String::new());
    match unit {
        Unit::Count(things) => (thousands(value), things.clone()),
        Unit::Bytes => (thousands(value), "bytes".to_owned()),
        Unit::Nanoseconds => time(Nanos(value), ""),
        Unit::Time if value == 0 => word("never".to_owned()),
        Unit::Time => time(at - Nanos(value), " ago"),
        Unit::Number => word(thousands(value)),
        Unit::Flag => word(if value == 0 { "no" } else { "yes" }.to_owned()),
        Unit::Address => word(Unit::address(value).map_or_else(|| "none".to_owned(), |address| address.to_string())),
        Unit::OneOf(words) => word(
            usize::try_from(value)
                .ok()
                .and_then(|index| words.get(index))
                .map_or_else(|| value.to_string(), Clone::clone),
        ),
        Unit::Session => word(value.to_string()),
    }
}

/// How long a process has run: `42 s`, `12 min`, `5 h 12 min`, `3 d 4 h`.
pub(super) fn age(time: Nanos) -> String {
    let seconds = time.0 / 1_000_000_000;
    let [minutes, hours, days] = [60, 3_600, 86_400].map(|unit| seconds / unit);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, ..) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// The first line of a process: who it is and how it is.
pub(crate) fn title(process: &Process, reading: &Reading) -> String {
    let snapshot = &process.snapshot;
    let state = match snapshot.state {
        State::Stalled(quiet) => format!("stalled for {}", times::in_words(quiet)),
        _ => process.state().to_owned(),
    };
    let age = age(reading.unix - Nanos(snapshot.made_at_unix_ns));
    format!("{} {}, process {}, {state}, since {age}", snapshot.role, process.feed(), snapshot.process)
}

/// A line of a table: name with labels, number, unit, rate.
type Row = [String; 4];

/// What does not change, then everything that is not 0, in columns; what rises has a rate if there is a reading before.
pub(crate) fn block(process: &Process, reading: &Reading, previous: Option<&Reading>) -> Vec<String> {
    let snapshot = &process.snapshot;
    let before = previous.and_then(|previous| previous.same(process));
    let mut rows: Vec<Row> = Vec::new();
    for (index, entry) in snapshot.entries.iter().enumerate().filter(|(_, entry)| entry.value > 0) {
        let (number, unit) = value(&entry.unit, entry.value, reading.at);
        // The kernel's entries may be missing in one of both.
        let same = before.and_then(|before| {
            let it = before.snapshot.entries.get(index)?;
            (it.name == entry.name && it.labels == entry.labels).then_some((it.value, before.snapshot.read_at))
        });
        let rate = match same {
            Some((value, at)) if entry.kind == Kind::Counter => {
                let seconds = (snapshot.read_at - at).as_duration().as_secs_f64();
                let grown = entry.value.saturating_sub(value) as f64;
                format!("+{}/s", thousands((grown / seconds.max(f64::MIN_POSITIVE)) as u64))
            }
            _ => String::new(),
        };
        rows.push([named(&entry.name, &entry.labels), number, unit, rate]);
    }
    for histogram in snapshot.histograms.iter().filter(|histogram| histogram.count > 0) {
        let name = named(&histogram.name, &histogram.labels);
        rows.push([name, thousands(histogram.count), distribution(histogram, reading.at), String::new()]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let [names, numbers] = [0, 1].map(width);
    // The words of a histogram are longer than any unit, and have no rate behind them.
    let units = rows.iter().filter(|row| !row[3].is_empty()).map(|row| row[2].chars().count()).max().unwrap_or(0);
    let facts = snapshot.facts.iter().map(|(name, text)| format!("  {name}: {text}"));
    let rows = rows.iter().map(|[name, number, unit, rate]| {
        format!("  {name:names$}  {number:>numbers$} {unit:units$}  {rate}").trim_end().to_owned()
    });
    let tables = snapshot.tables.iter().filter(|table| !table.rows.is_empty() && table.name != "session");
    let tables: Vec<_> =
        tables.map(|table| format!("{} of {}", thousands(table.rows.len() as u64), table.name)).collect();
    let tables = (!tables.is_empty()).then(|| format!("  rows that --json shows: {}", tables.join(", ")));
    let unseen = process.unseen.iter().map(|words| format!("  not seen: {words}"));
    facts.chain(rows).chain(tables).chain(unseen).collect()
}

/// `line_packets`, `line=a` is `line_packets a`.
fn named(name: &str, labels: &[(String, String)]) -> String {
    std::iter::once(name).chain(labels.iter().map(|(_, value)| value.as_str())).collect::<Vec<_>>().join(" ")
}

/// The quantiles of a histogram: `times, median 41.2 µs, p99 367 µs, most 1.21 ms`.
fn distribution(histogram: &HistogramEntry, at: Nanos) -> String {
    let words = |number: u64| {
        let (number, unit) = value(&histogram.unit, number, at);
        format!("{number} {unit}")
    };
    let quantiles = [(0.5, "median"), (0.99, "p99")].into_iter();
    let quantiles = quantiles.filter_map(|(share, name)| Some(format!("{name} {}", words(histogram.quantile(share)?))));
    let most = format!("most {}", words(histogram.largest));
    std::iter::once("times".to_owned()).chain(quantiles).chain([most]).collect::<Vec<_>>().join(", ")
}
