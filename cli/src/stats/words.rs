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
    format!("{} {}, process {}, {state}, started {age} ago", snapshot.role, process.feed(), snapshot.process)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keeper::Keeper;
    use crate::stats::testing::Place;
    use seqcast_transport::Clock;

    #[test]
    fn every_unit_has_its_words() {
        let at = Nanos::from_secs(100);
        let of = |unit: Unit, number: u64| {
            let (number, unit) = value(&unit, number, at);
            format!("{number} {unit}").trim_end().to_owned()
        };
        assert_eq!(of(Unit::count("packets"), 12_345), "12,345 packets");
        assert_eq!(of(Unit::Bytes, 1_000), "1,000 bytes");
        assert_eq!(of(Unit::Nanoseconds, 41_200), "41.2 µs");
        assert_eq!([of(Unit::Time, 97_700_000_000), of(Unit::Time, 0)], ["2.30 s ago", "never"]);
        assert_eq!(of(Unit::Time, u64::MAX), "0 ns ago", "a clock that is ahead");
        assert_eq!([of(Unit::Flag, 0), of(Unit::Flag, 7)], ["no", "yes"]);
        assert_eq!([of(Unit::Address, 0), of(Unit::Address, 0x7F00_0001_7594)], ["none", "127.0.0.1:30100"]);
        let policies = || Unit::one_of(&["wait", "skip"]);
        assert_eq!([of(policies(), 1), of(policies(), 2)], ["skip", "2"]);
    }

    #[test]
    fn ages_have_the_units_that_fit() {
        let ages = [59, 60, 3_599, 3_600, 19_000, 86_400, 300_000].map(|seconds| age(Nanos::from_secs(seconds)));
        assert_eq!(ages, ["59 s", "1 min", "59 min", "1 h 0 min", "5 h 16 min", "1 d 0 h", "3 d 11 h"]);
    }

    #[test]
    fn a_process_is_a_block_of_what_is_not_0_in_columns() {
        let place = Place::new("block");
        let start = Clock::now();
        let mut keeper = Keeper::subscriber(&place.0, "EQ20261121");
        keeper.write(&[("messages", 1_000)]);
        let previous = place.read_at(start);
        keeper.write(&[("messages", 13_345), ("line_packets a", 5), ("lag_time", 3_000_000), ("gap_policy", 1)]);
        keeper.histogram("recovery").record(41_200);
        keeper.close_gap(1_204, 1_220, start, false);
        let reading = place.read_at(start + Nanos::from_secs(1));
        let process = &reading.processes[0];
        assert_eq!(title(process, &reading), "subscriber EQ20261121, process 1001, live, started 12 s ago");
        let expected = [
            "  line_a: 239.1.1.1:30001@10.1.0.9",
            "  line_b: 239.1.2.1:30001@10.2.0.9",
            "  recover_from: 10.1.0.5:30100",
            "  messages        13,345 messages  +12,345/s",
            "  line_packets a       5 packets   +5/s",
            "  lag_time          3.00 ms",
            "  gap_policy        skip",
            "  recovery             1 times, median 41.2 µs, p99 41.2 µs, most 41.2 µs",
            "  rows that --json shows: 1 of gaps",
        ];
        assert_eq!(block(process, &reading, Some(&previous)), expected);
    }
}
