//! Times as people and programs read them.

use hdrhistogram::Histogram;
use seqcast_recovery::Nanos;
use serde_json::{Map, Value, json};

/// The quantiles that are shown, by the share of samples beyond them, one of so many; with their names.
const QUANTILES: [(u64, &str, &str); 5] = [
    (2, "median", "p50_ns"),
    (10, "p90", "p90_ns"),
    (100, "p99", "p99_ns"),
    (1_000, "p99.9", "p99_9_ns"),
    (10_000, "p99.99", "p99_99_ns"),
];

/// A quantile beyond the median is shown only if so many samples lie beyond it.
const SAMPLES_BEYOND: u64 = 10;

/// A time with three digits or more, in the unit that fits: `417 ns`, `41.2 µs`, `1.73 ms`, `12.0 s`.
#[must_use]
pub fn in_words(time: Nanos) -> String {
    let (divisor, unit) = match time.0 {
        0..1_000 => return format!("{} ns", time.0),
        1_000..1_000_000 => (1e3, "µs"),
        1_000_000..1_000_000_000 => (1e6, "ms"),
        _ => (1e9, "s"),
    };
    let value = time.0 as f64 / divisor;
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.decimals$} {unit}")
}

/// A time since 1970 as a date and time of day (RFC 3339, UTC): `2026-11-21T14:30:00.123456789Z`.
#[must_use]
pub fn utc(time: Nanos) -> String {
    const DAY_S: u64 = 86_400;
    let (seconds, ns) = (time.0 / 1_000_000_000, time.0 % 1_000_000_000);
    let (days, second) = (seconds / DAY_S, seconds % DAY_S);
    // Years begin in March, so that the day that some lack is the last; 719,468 days lie before 1970. The calendar repeats
    // after 146,097 days, 400 years.
    let day = days + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // From March on, five months have 153 days.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    let [hour, minute, second] = [second / 3_600, second / 60 % 60, second % 60];
    format!("{:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ns:09}Z", year + era * 400)
}

/// The distribution in words: `median 41.2 µs, p99 367 µs, most 1.21 ms`; `none` without samples.
#[must_use]
pub fn distribution(histogram: &Histogram<u64>) -> String {
    if histogram.is_empty() {
        return "none".to_owned();
    }
    let shown = shown(histogram).map(|(value, name, _)| format!("{name} {}", in_words(Nanos(value))));
    let most = format!("most {}", in_words(Nanos(histogram.max())));
    shown.chain([most]).collect::<Vec<_>>().join(", ")
}

/// The distribution as an object: `count`, `max_ns`, and the quantiles that have samples beyond them, in nanoseconds.
#[must_use]
pub fn json(histogram: &Histogram<u64>) -> Value {
    let mut object = Map::new();
    object.insert("count".to_owned(), json!(histogram.len()));
    for (value, _, name) in shown(histogram) {
        object.insert(name.to_owned(), json!(value));
    }
    object.insert("max_ns".to_owned(), if histogram.is_empty() { Value::Null } else { json!(histogram.max()) });
    Value::Object(object)
}

/// The values of the quantiles that are shown.
fn shown(histogram: &Histogram<u64>) -> impl Iterator<Item = (u64, &'static str, &'static str)> {
    let count = histogram.len();
    let is_shown = move |of: u64| count > 0 && (of == 2 || count / of >= SAMPLES_BEYOND);
    let value = |of: u64| histogram.value_at_quantile(1.0 - 1.0 / of as f64);
    QUANTILES.into_iter().filter(move |(of, ..)| is_shown(*of)).map(move |(of, words, name)| (value(of), words, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_that_fits() {
        let words =
            [0, 999, 1_000, 41_249, 367_000, 1_734_000, 99_960_000, 12_000_000_000].map(|ns| in_words(Nanos(ns)));
        assert_eq!(words, ["0 ns", "999 ns", "1.00 µs", "41.2 µs", "367 µs", "1.73 ms", "100.0 ms", "12.0 s"]);
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        let dates = [0, 951_782_399, 951_782_400, 1_709_164_800, 1_735_689_599, 4_107_542_400, 18_446_744_073]
            .map(|seconds| utc(Nanos::from_secs(seconds) + Nanos(5)));
        let expected = [
            "1970-01-01T00:00:00.000000005Z",
            "2000-02-28T23:59:59.000000005Z",
            "2000-02-29T00:00:00.000000005Z",
            "2024-02-29T00:00:00.000000005Z",
            "2024-12-31T23:59:59.000000005Z",
            "2100-03-01T00:00:00.000000005Z",
            "2554-07-21T23:34:33.000000005Z",
        ];
        assert_eq!(dates, expected);
    }

    #[test]
    fn quantiles_are_shown_as_far_as_samples_lie_beyond_them() {
        let mut histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are in order");
        assert_eq!(distribution(&histogram), "none");
        assert_eq!(json(&histogram), json!({ "count": 0, "max_ns": null }));
        for _ in 0..100 {
            histogram.record(1_000).expect("it is within the bounds");
        }
        assert_eq!(distribution(&histogram), "median 1.00 µs, p90 1.00 µs, most 1.00 µs");
        let expected = json!({ "count": 100, "p50_ns": 1_000, "p90_ns": 1_000, "max_ns": 1_000 });
        assert_eq!(json(&histogram), expected);
    }
}
