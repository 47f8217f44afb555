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
