//! A file of counters, as those see it who read it. Any file may be there; nothing in it can do harm.

use crate::cells::{BUCKETS, HISTOGRAM_HEAD_WORDS, HISTOGRAM_WORDS, bucket_end, checksum as row_checksum};
use crate::description::ROW_HEAD_WORDS;
use crate::file::{CHECKSUM_WORD, EXTENSION, HEADER_WORDS, LAYOUT_VERSION, MAGIC, WRITTEN_WORD, checksum};
use crate::unit::is_name;
use crate::{STALLED_AFTER, Unit};
use seqcast_protocol::SessionId;
use seqcast_recovery::Nanos;
use seqcast_transport::{Clock, SharedFile};
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::{error, fmt};

/// The longest file that is read: a hundred times what any of ours has.
const MOST_BYTES: u64 = 16 << 20;

/// The most files of a directory that are read: more processes than a host runs. Arbitrary.
const MOST_FILES: usize = 4_096;

/// Whether a counter or a gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// A counter or a gauge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which of both.
    pub kind: Kind,
    /// What it is called.
    pub name: String,
    /// What it counts.
    pub unit: Unit,
    /// What it is about, such as `line`, `a`.
    pub labels: Vec<(String, String)>,
    /// How much.
    pub value: u64,
}

/// A histogram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistogramEntry {
    /// What it is called.
    pub name: String,
    /// What it measures.
    pub unit: Unit,
    /// What it is about.
    pub labels: Vec<(String, String)>,
    /// How many values there are.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
    /// The largest.
    pub largest: u64,
    /// How many are in each bucket ([`bucket_end`]).
    pub buckets: Vec<u64>,
}

impl HistogramEntry {
    /// The value that `share` of all are not above, `0.0..=1.0`, a sixteenth too large at the most; `None` when there are none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let total: u64 = self.buckets.iter().fold(0, |sum, &count| sum.saturating_add(count));
        let rank = ((total as f64 * share).ceil() as u64).clamp(1, total.max(1));
        let mut below = 0u64;
        let bucket = self.buckets.iter().position(|&count| {
            below = below.saturating_add(count);
            below >= rank
        })?;
        Some(if bucket + 1 < BUCKETS { (bucket_end(bucket) - 1).min(self.largest) } else { self.largest })
    }
}

/// A row of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// How many rows had been written with it: the largest is the latest.
    pub number: u64,
    words: Vec<u64>,
}

/// A table: its rows that are not empty, in the order of their writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableEntry {
    /// What it is called.
    pub name: String,
    /// Names and units of the fields.
    pub fields: Vec<(String, Unit)>,
    /// The rows.
    pub rows: Vec<Row>,
}

impl TableEntry {
    fn words<'a>(&self, row: &'a Row, field: &str) -> Option<&'a [u64]> {
        let index = self.fields.iter().position(|(name, _)| name == field)?;
        let at: usize = self.fields[..index].iter().map(|(_, unit)| unit.words()).sum();
        row.words.get(at..at + self.fields[index].1.words())
    }

    /// The number in a field of a row; `None` when there is no such field.
    #[must_use]
    pub fn value(&self, row: &Row, field: &str) -> Option<u64> {
        self.words(row, field)?.first().copied()
    }

    /// The word in a field of a row that holds one of several.
    #[must_use]
    pub fn word(&self, row: &Row, field: &str) -> Option<&str> {
        let unit = &self.fields.iter().find(|(name, _)| name == field)?.1;
        let Unit::OneOf(words) = unit else { return None };
        words.get(usize::try_from(self.value(row, field)?).ok()?).map(String::as_str)
    }

    /// The session in a field of a row.
    #[must_use]
    pub fn session(&self, row: &Row, field: &str) -> Option<SessionId> {
        self.words(row, field)?.try_into().ok().map(Unit::session)
    }

    /// The address in a field of a row; `None` also when there is none in it.
    #[must_use]
    pub fn address(&self, row: &Row, field: &str) -> Option<SocketAddrV4> {
        self.value(row, field).and_then(Unit::address)
    }
}

/// What has become of the process that wrote a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Live,
    /// It is there, and has not written for so long: it was stopped, or is kept from its core.
    Stalled(Nanos),
    /// It ended without removing its file: it was killed.
    Dead,
}

/// What was in a file.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The file.
    pub path: PathBuf,
    /// What its process does: publisher, retransmitter, subscriber.
    pub role: String,
    /// Its process.
    pub process: u32,
    /// What has become of that.
    pub state: State,
    /// When the file was made, in nanoseconds since 1970.
    pub made_at_unix_ns: u64,
    /// When it was last written, on the monotonic clock.
    pub written_at: Nanos,
    /// When this was read, on the monotonic clock.
    pub read_at: Nanos,
    /// What does not change, by name.
    pub facts: Vec<(String, String)>,
    /// Counters and gauges, in the order of their description.
    pub entries: Vec<Entry>,
    /// Histograms.
    pub histograms: Vec<HistogramEntry>,
    /// Tables.
    pub tables: Vec<TableEntry>,
}

impl Snapshot {
    /// Reads a file. It need not be writable.
    ///
    /// # Errors
    ///
    /// Says why it is none of ours, or damaged.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        let (words, is_held) = read_words(path)?;
        let mut snapshot = Self::parse(&words)?;
        snapshot.path = path.to_owned();
        let quiet = snapshot.read_at - snapshot.written_at;
        snapshot.state = match is_held {
            false => State::Dead,
            true if quiet > STALLED_AFTER => State::Stalled(quiet),
            true => State::Live,
        };
        Ok(snapshot)
    }

    /// Reads the words of a file; its process is taken for dead.
    ///
    /// # Errors
    ///
    /// Says what is wrong with them. No words panic.
    pub fn parse(words: &[u64]) -> Result<Self, ReadError> {
        let Some((header, rest)) = words.split_first_chunk::<HEADER_WORDS>() else { return Err(ReadError::Foreign) };
        if header[0] != MAGIC {
            return Err(ReadError::Foreign);
        }
        if header[1] != LAYOUT_VERSION {
            return Err(ReadError::Version(header[1]));
        }
        if header[2] > words.len() as u64 {
            return Err(ReadError::Truncated);
        }
        let text_bytes = usize::try_from(header[6]).unwrap_or(usize::MAX);
        let text_words = rest.get(..text_bytes.div_ceil(size_of::<u64>())).ok_or(ReadError::Damaged)?;
        let mut text: Vec<u8> = text_words.iter().flat_map(|word| word.to_le_bytes()).collect();
        text.truncate(text_bytes);
        let fixed: [u64; 7] = header[..7].try_into().expect("the header has eight words");
        if checksum(&fixed, &text) != header[CHECKSUM_WORD] {
            return Err(ReadError::Damaged);
        }
        let text = String::from_utf8(text).map_err(|_| ReadError::Damaged)?;
        let mut snapshot = Self {
            path: PathBuf::new(),
            role: String::new(),
            process: u32::try_from(header[3]).map_err(|_| ReadError::Damaged)?,
            state: State::Dead,
            made_at_unix_ns: header[4],
            written_at: Nanos(header[WRITTEN_WORD]),
            read_at: Clock::now(),
            facts: Vec::new(),
            entries: Vec::new(),
            histograms: Vec::new(),
            tables: Vec::new(),
        };
        let values = &rest[text_words.len()..];
        // Entries have words of their own, so that all of them are no more than the file.
        let mut left = values.len();
        text.lines().try_for_each(|line| snapshot.add(line, values, &mut left)).ok_or(ReadError::Damaged)?;
        if snapshot.role.is_empty() { Err(ReadError::Damaged) } else { Ok(snapshot) }
    }

    /// Adds what a line of the description says.
    fn add(&mut self, line: &str, values: &[u64], left: &mut usize) -> Option<()> {
        let mut slice = |at: &str, count: usize| {
            *left = left.checked_sub(count)?;
            values.get(at.parse::<usize>().ok()?..)?.get(..count)
        };
        let parts: Vec<_> = line.split('\t').collect();
        match parts[..] {
            ["role", role] if is_name(role) => role.clone_into(&mut self.role),
            ["fact", name, text] => self.facts.push((name.to_owned(), text.to_owned())),
            [kind @ ("counter" | "gauge"), name, unit, labels, at] => {
                let kind = if kind == "counter" { Kind::Counter } else { Kind::Gauge };
                let (unit, labels, value) = (Unit::parse(unit)?, parse_labels(labels)?, slice(at, 1)?[0]);
                self.entries.push(Entry { kind, name: named(name)?, unit, labels, value });
            }
            ["histogram", name, unit, labels, at] => {
                let (unit, labels) = (Unit::parse(unit)?, parse_labels(labels)?);
                let (head, buckets) = slice(at, HISTOGRAM_WORDS)?.split_at(HISTOGRAM_HEAD_WORDS);
                let buckets = buckets.to_vec();
                let [count, sum, largest] = head.try_into().ok()?;
                self.histograms.push(HistogramEntry { name: named(name)?, unit, labels, count, sum, largest, buckets });
            }
            ["table", name, rows, at, ref fields @ ..] => {
                let field = |text: &str| {
                    let (name, unit) = text.split_once(':')?;
                    Some((named(name)?, Unit::parse(unit)?))
                };
                let fields = fields.iter().copied().map(field).collect::<Option<Vec<_>>>()?;
                let width = ROW_HEAD_WORDS + fields.iter().map(|(_, unit)| unit.words()).sum::<usize>();
                let words = slice(at, rows.parse::<usize>().ok()?.checked_mul(width)?)?;
                let mut rows: Vec<_> = words.chunks_exact(width).filter_map(whole_row).collect();
                rows.sort_by_key(|row| row.number);
                self.tables.push(TableEntry { name: named(name)?, fields, rows });
            }
            _ => return None,
        }
        Some(())
    }

    /// What does not change.
    #[must_use]
    pub fn fact(&self, name: &str) -> Option<&str> {
        self.facts.iter().find(|(fact, _)| fact == name).map(|(_, text)| text.as_str())
    }

    /// The counter or gauge with just these labels.
    #[must_use]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<u64> {
        let entry = self.entries.iter().find(|entry| entry.name == name && has_labels(&entry.labels, labels))?;
        Some(entry.value)
    }

    /// All counters or gauges of a name, added up.
    #[must_use]
    pub fn sum(&self, name: &str) -> u64 {
        let values = self.entries.iter().filter(|entry| entry.name == name).map(|entry| entry.value);
        values.fold(0, u64::saturating_add)
    }

    /// The gauge of an address with just these labels; `None` also when it holds none.
    #[must_use]
    pub fn address(&self, name: &str, labels: &[(&str, &str)]) -> Option<SocketAddrV4> {
        self.value(name, labels).and_then(Unit::address)
    }

    /// The histogram with just these labels.
    #[must_use]
    pub fn histogram(&self, name: &str, labels: &[(&str, &str)]) -> Option<&HistogramEntry> {
        self.histograms.iter().find(|entry| entry.name == name && has_labels(&entry.labels, labels))
    }

    /// The table of this name.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&TableEntry> {
        self.tables.iter().find(|table| table.name == name)
    }
}

fn has_labels(labels: &[(String, String)], wanted: &[(&str, &str)]) -> bool {
    labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(wanted.iter().copied())
}

fn named(text: &str) -> Option<String> {
    is_name(text).then(|| text.to_owned())
}

fn parse_labels(text: &str) -> Option<Vec<(String, String)>> {
    if text == "-" {
        return Some(Vec::new());
    }
    let label = |label: &str| {
        let (name, value) = label.split_once('=')?;
        Some((named(name)?, value.to_owned()))
    };
    text.split(',').map(label).collect()
}

/// A row that is not empty and not being written.
fn whole_row(words: &[u64]) -> Option<Row> {
    let (&[check, number], fields) = words.split_first_chunk::<ROW_HEAD_WORDS>()?;
    (number > 0 && check == row_checksum(number, fields)).then(|| Row { number, words: fields.to_vec() })
}

/// The words of a file, and whether its writer lives.
fn read_words(path: &Path) -> Result<(Vec<u64>, bool), ReadError> {
    // Before it is opened: a pipe would be waited for.
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_file() {
        return Err(ReadError::Foreign);
    }
    if metadata.len() > MOST_BYTES {
        return Err(ReadError::TooLong(metadata.len()));
    }
    let file = File::open(path)?;
    let mut bytes = Vec::new();
    (&file).take(MOST_BYTES).read_to_end(&mut bytes)?;
    let chunks = bytes.chunks_exact(size_of::<u64>());
    let words = chunks.map(|chunk| u64::from_ne_bytes(chunk.try_into().expect("chunks of a word"))).collect();
    Ok((words, SharedFile::is_held(&file)?))
}

/// The paths of the files of a directory, by name; none if it is not there.
fn paths(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let found = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        found => found?,
    };
    let mut paths = Vec::new();
    for entry in found.take(MOST_FILES) {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The files of a directory.
#[derive(Debug, Default)]
pub struct Found {
    /// Those that can be read, by name.
    pub snapshots: Vec<Snapshot>,
    /// Those that cannot, and why.
    pub others: Vec<(PathBuf, ReadError)>,
}

/// Reads every file of a directory; there are none if it is not there. Files that are not called as ours are left out without a
/// word.
///
/// # Errors
///
/// When the directory cannot be read.
pub fn read_directory(directory: &Path) -> io::Result<Found> {
    let mut found = Found::default();
    for path in paths(directory)? {
        match Snapshot::read(&path) {
            Ok(snapshot) => found.snapshots.push(snapshot),
            // Its process has just ended.
            Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => found.others.push((path, error)),
        }
    }
    Ok(found)
}

/// Removes the files of processes that were killed; says which. Files that are not ours, or are damaged, stay.
///
/// # Errors
///
/// When the directory cannot be read, or such a file cannot be removed.
pub fn clear(directory: &Path) -> io::Result<Vec<Snapshot>> {
    let snapshots = read_directory(directory)?.snapshots;
    let dead: Vec<_> = snapshots.into_iter().filter(|snapshot| snapshot.state == State::Dead).collect();
    for snapshot in &dead {
        fs::remove_file(&snapshot.path)?;
    }
    Ok(dead)
}

/// Why a file cannot be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The system's error.
    Io(io::Error),
    /// It is something else.
    Foreign,
    /// It has a layout that is not known here.
    Version(u64),
    /// It is longer than any of ours: so many bytes.
    TooLong(u64),
    /// Its end is missing.
    Truncated,
    /// What it says of itself is not what was written.
    Damaged,
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "it cannot be read: {error}"),
            Self::Foreign => f.write_str("it holds no counters"),
            Self::Version(version) => {
                write!(f, "it has layout version {version}, and this command knows {LAYOUT_VERSION}")
            }
            Self::TooLong(bytes) => write!(f, "it has {bytes} bytes, more than counters take"),
            Self::Truncated => f.write_str("its end is missing"),
            Self::Damaged => f.write_str("it is damaged"),
        }
    }
}

impl error::Error for ReadError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}
