//! The Prometheus text format, version 0.0.4.
//!
//! | in a file | here |
//! |---|---|
//! | counter `messages` of a subscriber | `seqcast_subscriber_messages_total` |
//! | nanoseconds | `.._seconds`, as floats |
//! | a moment | `.._timestamp_seconds` since 1970, left out as long as it has not been |
//! | an address or a word | `.._info`, always 1, with what it is as the label `value` |
//! | a histogram | buckets at powers of two |
//! | a table whose first field is an address, `clients` | `.._client_requests_total` with the label `client` |
//!
//! Other tables are events, not metrics. Names and labels come from the files, which anybody may write: what would make the
//! text wrong (another type or the same labels for a name that is taken) is left out.

use super::help;
use crate::stats::{Process, Reading};
use seqcast_recovery::Nanos;
use seqcast_stats::{Entry, HistogramEntry, Kind, State, TableEntry, Unit, bucket_of};
use std::collections::BTreeMap;
use std::fmt::Write;

/// What the text is, in the words of HTTP.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The bounds of buckets, as powers of two: of nanoseconds, from 128 ns to 34 s. The last bucket of a file has no end, so that
/// 2^36 is none.
const BOUNDS: std::ops::RangeInclusive<u32> = 7..=35;

/// Labels that every sample has, or that the format keeps for itself; the same names in a file get [`EXPORTED`] before them, as Prometheus
/// does it.
const RESERVED: [&str; 5] = ["role", "session", "pid", "file", "le"];
const EXPORTED: &str = "exported_";

/// Everything that was read.
pub(super) fn text(reading: &Reading) -> String {
    let mut metrics = Metrics::default();
    let seconds = |time: Nanos| Value::Float(time.0 as f64 / 1e9);
    for process in &reading.processes {
        let snapshot = &process.snapshot;
        let labels = Labels::of(process);
        let is_up = Value::Integer(u64::from(snapshot.state == State::Live));
        metrics.add("seqcast_up", Type::Gauge, UP, labels.with("state", process.state()), is_up);
        let facts = snapshot.facts.iter().fold(labels.clone(), |labels, (name, text)| labels.with(name, text));
        metrics.add("seqcast_process_info", Type::Gauge, INFO, facts, Value::Integer(1));
        let started = seconds(Nanos(snapshot.made_at_unix_ns));
        metrics.add("seqcast_process_start_time_seconds", Type::Gauge, STARTED, labels.clone(), started);
        let written = seconds(reading.unix_of(snapshot.written_at));
        metrics.add("seqcast_process_written_timestamp_seconds", Type::Gauge, WRITTEN, labels.clone(), written);
        let unseen = Value::Integer(process.unseen.len() as u64);
        metrics.add("seqcast_process_unseen_sockets", Type::Gauge, UNSEEN, labels.clone(), unseen);
        let mut source = Source { metrics: &mut metrics, reading, role: &snapshot.role, labels };
        snapshot.entries.iter().for_each(|entry| source.entry(entry));
        snapshot.histograms.iter().for_each(|entry| source.histogram(entry));
        snapshot.tables.iter().for_each(|table| source.table(table));
    }
    let skipped = Value::Integer(reading.skipped.len() as u64);
    metrics.add("seqcast_skipped_files", Type::Gauge, SKIPPED, Labels::default(), skipped);
    metrics.text()
}

const UP: &str = "Whether the process runs and writes its counters.";
const INFO: &str = "What does not change about the process.";
const STARTED: &str = "When the process began to keep counters.";
const WRITTEN: &str = "When the process last wrote its counters.";
const UNSEEN: &str = "Sockets of the process whose queue the kernel did not show.";
const SKIPPED: &str = "Files among those of processes that cannot be read.";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Clone, Copy, Debug)]
enum Value {
    Integer(u64),
    Float(f64),
}

/// Labels by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Labels(Vec<(String, String)>);

impl Labels {
    /// Those of every sample of a process. Several parts of one process have a file each.
    fn of(process: &Process) -> Self {
        let snapshot = &process.snapshot;
        let file = snapshot.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let session = process.session.clone().unwrap_or_default();
        let values = [snapshot.role.clone(), session, snapshot.process.to_string(), file];
        Self(RESERVED.into_iter().map(str::to_owned).zip(values).collect())
    }

    /// Adds a label that a file names.
    fn with(&self, name: &str, value: &str) -> Self {
        let is_free = !RESERVED.contains(&name) && name.starts_with(|first: char| first.is_ascii_lowercase());
        let name = if is_free { name.to_owned() } else { format!("{EXPORTED}{name}") };
        let mut labels = self.clone();
        if labels.0.iter().all(|(other, _)| *other != name) {
            labels.0.push((name, value.to_owned()));
        }
        labels
    }

    /// `{name="value",..}`, with `le` behind the others, if given.
    fn text(&self, le: Option<&str>) -> String {
        let labels = self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let labels = labels.chain(le.map(|le| ("le", le)));
        let labels: Vec<_> = labels.map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
        if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) }
    }
}

/// Backslash, line feed and quotation mark, as the format has it.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

/// Metrics by name; `lines` are the samples, ready.
#[derive(Debug)]
struct Metric {
    kind: Type,
    help: String,
    samples: BTreeMap<Labels, String>,
}

#[derive(Debug, Default)]
struct Metrics(BTreeMap<String, Metric>);

impl Metrics {
    fn add(&mut self, name: &str, kind: Type, help: &str, labels: Labels, value: Value) {
        let text = labels.text(None);
        let sample = match value {
            Value::Integer(value) => format!("{name}{text} {value}\n"),
            Value::Float(value) => format!("{name}{text} {value}\n"),
        };
        self.add_sample(name, kind, help, labels, sample);
    }

    fn add_sample(&mut self, name: &str, kind: Type, help: &str, labels: Labels, sample: String) {
        // The samples of a histogram have names of their own, which nothing else may have.
        let is_taken = ["_bucket", "_sum", "_count"].iter().any(|suffix| {
            let is_histogram = |name: &str| self.0.get(name).is_some_and(|metric| metric.kind == Type::Histogram);
            name.strip_suffix(suffix).is_some_and(is_histogram)
                || kind == Type::Histogram && self.0.contains_key(&format!("{name}{suffix}"))
        });
        if is_taken {
            return;
        }
        let new = || Metric { kind, help: help.to_owned(), samples: BTreeMap::new() };
        let metric = self.0.entry(name.to_owned()).or_insert_with(new);
        if metric.kind == kind {
            metric.samples.entry(labels).or_insert(sample);
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (name, Metric { kind, help, samples }) in &self.0 {
            let kind = match kind {
                Type::Counter => "counter",
                Type::Gauge => "gauge",
                Type::Histogram => "histogram",
            };
            // Writing to a string does not fail.
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
            samples.values().for_each(|sample| text.push_str(sample));
        }
        text
    }
}

/// What one process adds.
struct Source<'a> {
    metrics: &'a mut Metrics,
    reading: &'a Reading,
    role: &'a str,
    labels: Labels,
}

impl Source<'_> {
    fn entry(&mut self, entry: &Entry) {
        let labels = entry.labels.iter().fold(self.labels.clone(), |labels, (name, value)| labels.with(name, value));
        self.value(entry.kind, &entry.name, &entry.unit, labels, entry.value);
    }

    fn value(&mut self, kind: Kind, name: &str, unit: &Unit, labels: Labels, value: u64) {
        let one_of = |words: &[String]| usize::try_from(value).ok().and_then(|index| words.get(index).cloned());
        let (suffix, labels, value) = match unit {
            Unit::Nanoseconds => ("_seconds", labels, Value::Float(value as f64 / 1e9)),
            Unit::Time if value == 0 => return,
            Unit::Time => {
                let since_1970 = self.reading.unix_of(Nanos(value));
                ("_timestamp_seconds", labels, Value::Float(since_1970.0 as f64 / 1e9))
            }
            Unit::Address | Unit::OneOf(_) => {
                let word = if let Unit::OneOf(words) = unit { one_of(words) } else { address(value) };
                let Some(word) = word else { return };
                ("_info", labels.with("value", &word), Value::Integer(1))
            }
            Unit::Bytes => ("_bytes", labels, Value::Integer(value)),
            Unit::Flag => ("", labels, Value::Integer(u64::from(value != 0))),
            Unit::Count(_) | Unit::Number => ("", labels, Value::Integer(value)),
            Unit::Session => return,
        };
        let is_counter = kind == Kind::Counter && !matches!(suffix, "_timestamp_seconds" | "_info");
        let (kind, total) = if is_counter { (Type::Counter, "_total") } else { (Type::Gauge, "") };
        let metric = format!("{}{total}", metric_name(self.role, name, suffix));
        self.metrics.add(&metric, kind, &help::of(self.role, name), labels, value);
    }

    fn histogram(&mut self, entry: &HistogramEntry) {
        let is_time = entry.unit == Unit::Nanoseconds;
        let suffix = match entry.unit {
            Unit::Nanoseconds => "_seconds",
            Unit::Bytes => "_bytes",
            _ => "",
        };
        let name = metric_name(self.role, &entry.name, suffix);
        let scaled = |value: u64| if is_time { (value as f64 / 1e9).to_string() } else { value.to_string() };
        let labels = entry.labels.iter().fold(self.labels.clone(), |labels, (name, value)| labels.with(name, value));
        let below =
            |bucket: usize| entry.buckets[..bucket].iter().fold(0, |sum: u64, &count| sum.saturating_add(count));
        let bounds = BOUNDS.map(|power| (scaled(1 << power), below(bucket_of(1 << power))));
        // Not the count of the file, which may have been written between the buckets.
        let count = below(entry.buckets.len());
        let mut sample = String::new();
        for (le, below) in bounds.chain([("+Inf".to_owned(), count)]) {
            // Writing to a string does not fail.
            let _ = writeln!(sample, "{name}_bucket{} {below}", labels.text(Some(&le)));
        }
        let text = labels.text(None);
        let _ = write!(sample, "{name}_sum{text} {}\n{name}_count{text} {count}\n", scaled(entry.sum));
        self.metrics.add_sample(&name, Type::Histogram, &help::of(self.role, &entry.name), labels, sample);
    }

    /// A table about addresses holds counters of each.
    fn table(&mut self, table: &TableEntry) {
        let Some(((key, Unit::Address), fields)) = table.fields.split_first() else { return };
        let one = table.name.strip_suffix('s').unwrap_or(&table.name);
        for row in &table.rows {
            let Some(address) = table.address(row, key) else { continue };
            let labels = self.labels.with(one, &address.to_string());
            for (field, unit) in fields {
                if let Some(value) = table.value(row, field) {
                    self.value(Kind::Counter, &format!("{one}_{field}"), unit, labels.clone(), value);
                }
            }
        }
    }
}

fn address(word: u64) -> Option<String> {
    Unit::address(word).map(|address| address.to_string())
}

/// A name that ends with its unit, once.
fn metric_name(role: &str, name: &str, suffix: &str) -> String {
    format!("seqcast_{role}_{}{suffix}", name.strip_suffix(suffix).unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keeper::{CLIENT, Keeper, litter};
    use crate::prometheus::Metrics;
    use crate::stats::testing::Place;
    use seqcast_stats::{Description, StatsFile};
    use seqcast_transport::Clock;

    #[test]
    fn names_units_and_labels_follow_the_conventions() {
        let place = Place::new("exposition");
        let start = Clock::now();
        let mut publisher = Keeper::publisher(&place.0, "EQ20261121");
        publisher.write(&[("messages", u64::MAX), ("requests_refused linger", 3), ("retained_time", 12_300_000_000)]);
        publisher.add_client();
        let subscriber = Keeper::subscriber(&place.0, "EQ20261121");
        let address = Unit::address_word(CLIENT);
        subscriber.write(&[("line_bytes b", 7), ("heard", 1), ("request_target 0", address), ("gap_policy", 1)]);
        subscriber.set("line_heard_at a", (start - Nanos::from_secs(2)).0);
        for value in [100, 200, 1 << 20, 1 << 36] {
            subscriber.histogram("recovery").record(value);
        }
        Keeper::subscriber(&place.0, "FX20261121").killed("subscriber-z.stats");
        let skipped = litter(&place.0);
        let reading = place.read_at(start);
        let metrics = Metrics::parse(&text(&reading));
        let publisher = &[("role", "publisher"), ("session", "EQ20261121"), ("pid", "1001")];
        assert_eq!(metrics.value("seqcast_publisher_messages_total", publisher), u64::MAX as f64);
        assert_eq!(metrics.value("seqcast_publisher_requests_refused_total", &[("reason", "linger")]), 3.0);
        assert_eq!(metrics.value("seqcast_publisher_retained_time_seconds", publisher), 12.3);
        let client = CLIENT.to_string();
        assert_eq!(metrics.value("seqcast_publisher_client_requests_total", &[("client", &client)]), 12.0);
        assert_eq!(metrics.value("seqcast_publisher_client_refused_linger_total", &[("client", &client)]), 2.0);
        assert!(metrics.has("seqcast_publisher_client_last_heard_timestamp_seconds"));
        let subscriber = [("role", "subscriber"), ("pid", "1002")];
        let with = |label: (&'static str, &'static str)| [subscriber[0], subscriber[1], label];
        assert_eq!(metrics.value("seqcast_subscriber_line_bytes_total", &with(("line", "b"))), 7.0);
        assert_eq!(metrics.value("seqcast_subscriber_heard", &subscriber), 1.0);
        assert_eq!(metrics.value("seqcast_subscriber_request_target_info", &[("value", &client)]), 1.0);
        assert_eq!(metrics.value("seqcast_subscriber_gap_policy_info", &with(("value", "skip"))), 1.0);
        let heard = metrics.value("seqcast_subscriber_line_heard_at_timestamp_seconds", &[("line", "a")]);
        assert_eq!(heard, (reading.unix.0 / 1_000_000_000 - 2) as f64);
        let recovery = |le| metrics.value("seqcast_subscriber_recovery_seconds_bucket", &with(("le", le)));
        let buckets = ["0.000000128", "0.000000256", "0.001048576", "0.002097152", "34.359738368", "+Inf"];
        assert_eq!(buckets.map(recovery), [1.0, 2.0, 2.0, 3.0, 3.0, 4.0]);
        assert_eq!(metrics.value("seqcast_subscriber_recovery_seconds_sum", &subscriber), 68.720_525_612);
        assert_eq!(
            metrics.metric("seqcast_subscriber_recovery_seconds").help,
            "From the opening of a gap to its filling."
        );
        assert_eq!(metrics.value("seqcast_up", &with(("state", "live"))), 1.0);
        assert_eq!(metrics.value("seqcast_up", &[("session", "FX20261121"), ("state", "dead")]), 0.0);
        assert_eq!(metrics.value("seqcast_skipped_files", &[]), skipped as f64);
    }

    #[test]
    fn nothing_that_a_file_says_makes_the_text_wrong() {
        let place = Place::new("foreign");
        let mut files = Vec::new();
        for (kind, fact) in [("counter", "a\"b\\c\u{85}"), ("gauge", "")] {
            let mut description = Description::new("odd");
            description.fact("role", fact);
            description.fact("0", "a digit");
            let labels = [("pid", "1"), ("le", "x\"\\"), ("__a", "y"), ("0", "z"), ("twice", "1"), ("twice", "2")];
            let count = Unit::count("things");
            if kind == "counter" {
                description.counter("same", &count, &labels);
                description.counter("same", &count, &labels);
                description.counter("state", &Unit::Flag, &[]);
                description.counter("moment", &Unit::Time, &[]);
                description.histogram("shape", &Unit::Bytes, &[]);
                description.histogram("shape", &Unit::Nanoseconds, &[]);
            } else {
                description.gauge("same_total", &count, &[]);
                description.gauge("same", &count, &[("le", "1")]);
                description.gauge("shape_bytes_sum", &count, &[]);
                description.gauge("shape_bytes_count", &Unit::Bytes, &[]);
                description.histogram("same", &count, &[]);
                description.histogram("shape_bytes_count", &count, &[]);
            }
            let keyed = [("a", Unit::Address), ("a", Unit::Address), ("b", Unit::Session), ("c", Unit::Flag)];
            let table = description.table("s", 2, &keyed);
            let file = StatsFile::create(&place.0, description).unwrap();
            file.table(table).push(&[7, 8, 9, 10, 11]);
            files.push(file);
        }
        let metrics = Metrics::parse(&text(&Reading::take(&place.0).unwrap()));
        assert_eq!(metrics.metric("seqcast_odd_same_total").samples.len(), 1);
        assert_eq!(metrics.metric("seqcast_odd_same").kind, "gauge");
        assert_eq!(metrics.metric("seqcast_odd_shape_bytes").kind, "histogram");
        assert!(!metrics.has("seqcast_odd_shape_bytes_sum"));
        assert_eq!(metrics.value("seqcast_process_info", &[("exported_role", "a\"b\\c")]), 1.0);
        let labels = [("exported_pid", "1"), ("exported_le", "x\"\\"), ("exported___a", "y"), ("twice", "1")];
        assert_eq!(metrics.value("seqcast_odd_same_total", &labels), 0.0);
    }

    #[test]
    fn an_empty_directory_is_a_page_too() {
        let place = Place::new("nothing");
        let metrics = Metrics::parse(&text(&place.read_at(Clock::now())));
        assert_eq!(metrics.value("seqcast_skipped_files", &[]), 0.0);
    }
}
