//! Runs the rounds of a measurement, and hands on what they showed: a table, and if so told, JSON, HdrHistogram logs and a
//! page with plots.
//!
//! A round that fails leaves no figure: what is written says FAIL, and why.

use crate::figures::{Figure, Spread};
use crate::machine::Machine;
use crate::page;
use crate::plots::{self, Bar, Chart, Curve};
use crate::stage::{Common, words};
use crate::stalls::Pauses;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use seqcast_recovery::Nanos;
use seqcast_transport::Clock;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Write;
use std::path::Path;

/// What a round showed.
#[derive(Debug, Default)]
pub(crate) struct Round {
    pub(crate) figures: Vec<Figure>,
    pub(crate) curves: Vec<Curve>,
    pub(crate) bars: Vec<Bar>,
    pub(crate) pauses: Vec<Pauses>,
}

impl Round {
    /// Adds what the machine did meanwhile.
    pub(crate) fn beside(mut self, pauses: [Pauses; 2]) -> Self {
        self.figures.extend(pauses.iter().flat_map(Pauses::figures));
        self.pauses = pauses.into();
        self
    }
}

impl From<Vec<Figure>> for Round {
    fn from(figures: Vec<Figure>) -> Self {
        Self { figures, ..Self::default() }
    }
}

/// A system that was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Described {
    pub(crate) name: String,
    pub(crate) description: String,
}

/// What is measured.
#[derive(Clone, Debug)]
pub(crate) struct Measurement {
    /// The subcommand.
    pub(crate) command: &'static str,
    /// In a paragraph.
    pub(crate) what: String,
    pub(crate) systems: Vec<Described>,
}

impl Measurement {
    /// Of seqcast alone.
    pub(crate) fn new(command: &'static str, what: String) -> Self {
        Self { command, what, systems: Vec::new() }
    }
}

/// Everything about one measurement, as it is written to a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) command: String,
    pub(crate) arguments: String,
    pub(crate) what: String,
    /// Why there are no figures, if there are none.
    pub(crate) failure: Option<String>,
    pub(crate) machine: Machine,
    pub(crate) systems: Vec<Described>,
    pub(crate) medians: Vec<Spread>,
    pub(crate) rounds: Vec<Vec<Figure>>,
    pub(crate) charts: Vec<Chart>,
}

/// Says what machine this is and what is measured, runs the rounds, then prints the figures of each and their spread, and
/// writes them where the options say.
///
/// # Errors
///
/// The first that a round returned; there are no figures then.
pub(crate) fn measure<R: Into<Round>>(
    common: &Common,
    measurement: &Measurement,
    round: impl FnMut() -> Result<R, String>,
) -> Result<(), String> {
    let machine = Machine::read();
    say(&machine.describe())?;
    say(&format!("{}: {}", measurement.command, measurement.what))?;
    for Described { name, description } in &measurement.systems {
        say(&format!("  {name}: {description}"))?;
    }
    for doubt in machine.doubts() {
        note(&format!("doubtful: {doubt}"));
    }
    conduct(common, measurement, machine, round)?.table().iter().try_for_each(|line| say(line))
}

/// Runs the rounds and writes what they showed, or why they showed nothing.
fn conduct<R: Into<Round>>(
    common: &Common,
    measurement: &Measurement,
    machine: Machine,
    mut round: impl FnMut() -> Result<R, String>,
) -> Result<Report, String> {
    let started = Clock::unix_micros();
    let rounds = run_rounds(common.rounds, || round().map(Into::into));
    let (report, result) = match &rounds {
        Ok(rounds) => (Report::new(measurement, machine, rounds), Ok(())),
        Err(error) => (Report::failed(measurement, machine, error), Err(error.clone())),
    };
    if let Some(directory) = &common.out {
        write(directory, &report, started, rounds.as_deref().unwrap_or_default())
            .map_err(|error| format!("--out {}: {error}", directory.display()))?;
        note(&format!("written: {}", directory.join(PAGE).display()));
    }
    result.map(|()| report)
}

fn say(words: &str) -> Result<(), String> {
    writeln!(std::io::stdout().lock(), "{words}").map_err(|error| error.to_string())
}

/// For who waits; nothing depends on it.
fn note(words: &str) {
    let _ = writeln!(std::io::stderr(), "{words}");
}

fn run_rounds(count: u16, mut round: impl FnMut() -> Result<Round, String>) -> Result<Vec<Round>, String> {
    let run = |number| {
        note(&format!("round {number} of {count}"));
        round()
    };
    (1..=count).map(run).collect()
}

impl Report {
    fn new(measurement: &Measurement, machine: Machine, rounds: &[Round]) -> Self {
        let figures: Vec<_> = rounds.iter().map(|round| round.figures.clone()).collect();
        Self {
            command: measurement.command.to_owned(),
            arguments: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
            what: measurement.what.clone(),
            failure: None,
            machine,
            systems: measurement.systems.clone(),
            medians: Spread::of(&figures),
            rounds: figures,
            charts: plots::of(rounds),
        }
    }

    fn failed(measurement: &Measurement, machine: Machine, error: &str) -> Self {
        Self { failure: Some(error.to_owned()), ..Self::new(measurement, machine, &[]) }
    }

    /// The figures of each round, and their spread.
    fn table(&self) -> Vec<String> {
        let row = |name: &str, values: &str| format!("  {name:<58} {values}").trim_end().to_owned();
        let mut lines = Vec::new();
        for (number, round) in (1..).zip(&self.rounds) {
            lines.push(format!("round {number}"));
            lines.extend(round.iter().map(Figure::words).map(|(name, values)| row(&name, &values)));
        }
        lines.push(format!("median of {} (lowest to highest)", self.rounds.len()));
        lines.extend(self.medians.iter().map(|spread| row(&spread.name, &spread.words())));
        lines
    }
}

/// The page for all that a directory holds.
const PAGE: &str = "index.html";

fn write(directory: &Path, report: &Report, started_micros: u64, rounds: &[Round]) -> Result<(), String> {
    fs::create_dir_all(directory).map_err(words)?;
    let file = |ending: &str| directory.join(format!("{}.{ending}", report.command));
    fs::write(file("json"), serde_json::to_vec_pretty(report).map_err(words)?).map_err(words)?;
    fs::write(file("hlog"), histogram_log(started_micros, rounds)?).map_err(words)?;
    fs::write(directory.join(PAGE), page::render(&read_all(directory)?)).map_err(words)
}

/// All reports of a directory, by name.
fn read_all(directory: &Path) -> Result<Vec<Report>, String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(words)? {
        let path = entry.map_err(words)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
    let read = |path: &std::path::PathBuf| {
        let bytes = fs::read(path).map_err(words)?;
        serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", path.display()))
    };
    files.iter().map(read).collect()
}

/// The log format of HdrHistogram: an interval for each curve of each round, with a tag, in nanoseconds.
fn histogram_log(started_micros: u64, rounds: &[Round]) -> Result<Vec<u8>, String> {
    let mut log = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let started = std::time::UNIX_EPOCH + Nanos::from_micros(started_micros).as_duration();
    let mut builder = IntervalLogWriterBuilder::new();
    builder.add_comment("nanoseconds; an interval for each round, which is its number in seconds");
    builder.with_start_time(started).with_base_time(started);
    let mut writer = builder.begin_log_with(&mut log, &mut serializer).map_err(words)?;
    for (number, round) in (0..).zip(rounds) {
        for curve in &round.curves {
            let tag = format!("{} {}", curve.chart, curve.name).replace([' ', ','], "-");
            let (begins, length) = (Nanos::from_secs(number).as_duration(), Nanos::from_secs(1).as_duration());
            writer
                .write_histogram(curve.samples.histogram(), begins, length, Tag::new(&tag))
                .map_err(|error| format!("{error:?}"))?;
        }
    }
    Ok(log)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Samples;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
    use std::path::PathBuf;

    /// A directory of this test's own, removed when the test is over.
    struct Directory(PathBuf);

    impl Directory {
        fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("seqcast-bench-{}-{test}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Self(path)
        }

        fn read(&self, file: &str) -> String {
            fs::read_to_string(self.0.join(file)).unwrap()
        }

        fn report(&self, file: &str) -> Report {
            serde_json::from_str(&self.read(file)).unwrap()
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn measurement() -> Measurement {
        let systems = vec![Described { name: "seqcast".to_owned(), description: "1 < 2 & \"so on\"".to_owned() }];
        Measurement { command: "latency", what: "trips of <64> B".to_owned(), systems }
    }

    fn round(count: u64) -> Round {
        let mut samples = Samples::new();
        (1..=count).for_each(|micros| samples.record(Nanos::from_micros(micros)));
        let mut pauses = crate::hiccup::pair(Clock::now());
        pauses[0].watch(Clock::now() + Nanos::from_millis(5));
        let bar = Bar { chart: "Medians".to_owned(), group: "64 B".to_owned(), name: "seqcast".to_owned(), value: 2.0 };
        Round {
            figures: vec![samples.figure("trip"), Figure::single("rate", 3.0, "million/s")],
            curves: vec![Curve { chart: "Trips, all".to_owned(), name: "seqcast".to_owned(), samples }],
            bars: vec![bar],
            ..Round::default()
        }
        .beside(pauses)
    }

    fn measured(directory: &Directory, result: impl Fn() -> Result<Round, String>) -> Result<(), String> {
        let common = Common { rounds: 2, publisher_core: 0, subscriber_core: 0, out: Some(directory.0.clone()) };
        conduct(&common, &measurement(), Machine::read(), result).map(|_| ())
    }

    #[test]
    fn a_round_that_fails_leaves_no_figure_of_any_round() {
        let directory = Directory::new("fail");
        measured(&directory, || Ok(round(100))).unwrap();
        let rounds = std::cell::Cell::new(0);
        let fails_in_the_second = || {
            rounds.set(rounds.get() + 1);
            if rounds.get() == 1 { Ok(round(100)) } else { Err("message 7 is not what was published".to_owned()) }
        };
        let error = measured(&directory, fails_in_the_second).unwrap_err();
        assert_eq!(error, "message 7 is not what was published");
        let report = directory.report("latency.json");
        assert_eq!(report.failure, Some(error));
        assert!(report.rounds.is_empty() && report.medians.is_empty() && report.charts.is_empty());
        let page = directory.read(PAGE);
        assert!(page.contains("FAIL: message 7") && !page.contains("<svg"), "{page}");
        assert!(histograms(directory.read("latency.hlog").as_bytes()).is_empty());
    }

    /// The tag of each interval, and how many samples it has.
    fn histograms(log: &[u8]) -> Vec<(String, u64)> {
        let mut deserializer = Deserializer::new();
        let entries = IntervalLogIterator::new(log).map(Result::unwrap);
        let histogram = |entry| {
            let LogEntry::Interval(interval) = entry else { return None };
            let bytes = decode_base64(interval.encoded_histogram());
            let histogram = deserializer.deserialize::<u64, _>(&mut bytes.as_slice()).unwrap();
            Some((interval.tag().unwrap().as_str().to_owned(), histogram.len()))
        };
        entries.filter_map(histogram).collect()
    }

    fn decode_base64(text: &str) -> Vec<u8> {
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let digits = text.bytes().filter_map(|byte| DIGITS.iter().position(|&digit| digit == byte));
        let bits: Vec<u8> = digits.flat_map(|digit| (0..6).rev().map(move |bit| (digit >> bit & 1) as u8)).collect();
        bits.chunks_exact(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | bit)).collect()
    }

    #[test]
    fn the_log_is_read_by_a_reader_of_its_format() {
        let directory = Directory::new("log");
        measured(&directory, || Ok(round(1_000))).unwrap();
        let read = histograms(directory.read("latency.hlog").as_bytes());
        assert_eq!(read, [("Trips--all-seqcast".to_owned(), 1_000), ("Trips--all-seqcast".to_owned(), 1_000)]);
    }

    #[test]
    fn what_is_written_as_json_has_the_medians_and_the_machine() {
        let directory = Directory::new("json");
        measured(&directory, || Ok(round(100))).unwrap();
        let report = directory.report("latency.json");
        assert_eq!((report.command.as_str(), report.failure.as_ref(), report.rounds.len()), ("latency", None, 2));
        assert_eq!(report.medians[1].values, [(String::new(), [3.0; 3])]);
        assert!(!report.machine.kernel.is_empty());
        let Some(Chart::Percentiles { curves, .. }) = &report.charts.get(1) else { panic!("{:?}", report.charts) };
        // Two hundred samples: ten lie beyond the quantile 0.95.
        let last = curves[0].points.last().unwrap().0;
        assert!((0.94..=0.95).contains(&last), "{last}");
    }

    #[test]
    fn the_page_is_well_formed_and_needs_nothing_else() {
        let directory = Directory::new("page");
        measured(&directory, || Ok(round(1_000))).unwrap();
        let page = directory.read(PAGE);
        for outside in ["http", "src=", "<link", "@import", "url(", "<script"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("trips of &lt;64&gt; B") && page.contains("1 &lt; 2 &amp; &quot;so on&quot;"));
        assert!(page.matches("<svg").count() >= 3, "bars, percentiles, stalls");
        assert_eq!(unclosed(&page), [""; 0]);
    }

    /// The tags that are open at the end, or are closed where another one is open.
    fn unclosed(page: &str) -> Vec<String> {
        let mut open: Vec<String> = Vec::new();
        for tag in page.split('<').skip(1).map(|rest| rest.split('>').next().unwrap_or_default()) {
            let name = tag.trim_start_matches('/').split([' ', '\n']).next().unwrap_or_default().to_owned();
            if tag.starts_with('!') || tag.ends_with('/') {
                continue;
            }
            match tag.starts_with('/') {
                false => open.push(name),
                true if open.last() == Some(&name) => drop(open.pop()),
                true => return vec![format!("{name} closed while {open:?} are open")],
            }
        }
        open
    }
}
