//! Counters, gauges, histograms and tables that a process keeps in a small file in memory, for others to read while it runs
//! and after it died.
//!
//! **Writing.** Whoever asks for it ([`StatsFile::create`]) describes what it will keep ([`Description`]), gets a mapped file, and
//! from then on stores words into it: relaxed atomic stores, no system call, no lock, nothing allocated. The file is removed when
//! it is dropped; the file of a process that was killed stays, as the last thing known of it, until somebody clears it
//! ([`clear`]). It holds a lock that ends with the process, so that nobody has to guess whether it lives.
//!
//! **Reading.** A file says itself what is in it: kinds, names, units, labels. [`Snapshot::read`] copies it with ordinary reads, never
//! through a mapping, so that no damage to a file can harm its reader.
//!
//! # Layout
//!
//! Words of 8 bytes in the byte order of the machine:
//!
//! | word | what |
//! |---|---|
//! | 0 | magic |
//! | 1 | layout version |
//! | 2 | words of the file |
//! | 3 | process id |
//! | 4 | when it was made, in nanoseconds since 1970 |
//! | 5 | when it was last written, in nanoseconds of the monotonic clock |
//! | 6 | bytes of the description |
//! | 7 | checksum of the words 0 to 4, 6 and of the description |
//! | 8.. | the description, UTF-8, padded to a word |
//! | .. | the values, where the description says |
//!
//! The description has a line for each entry, its parts separated by tabs:
//!
//! | line | values |
//! |---|---|
//! | `role NAME` | none |
//! | `fact NAME TEXT` | none: what does not change |
//! | `counter NAME UNIT LABELS WORD` | a word that only grows |
//! | `gauge NAME UNIT LABELS WORD` | a word |
//! | `histogram NAME UNIT LABELS WORD` | how many, their sum, the largest, and a count for each bucket ([`BUCKETS`]) |
//! | `table NAME ROWS WORD FIELD:UNIT ..` | for each row a checksum, its number, and its fields, a word each (a session: two) |
//!
//! `LABELS` is `-` or `name=value,..`. A row's number is 0 as long as it is empty, else how many rows had been written with it. A row
//! whose checksum is wrong is being written.
//!
//! A word is written whole and read whole; two words need not be of the same moment, but for those of a row.

#![forbid(unsafe_code)]

mod cells;
mod description;
mod file;
mod mirror;
mod read;
mod unit;

pub use cells::{BUCKETS, Cell, Cells, Histogram, Table, bucket_end, bucket_of};
pub use description::{Described, Description};
pub use file::{CreateError, StatsFile};
pub use mirror::Mirror;
pub use read::{
    Entry, Found, HistogramEntry, Kind, ReadError, Row, Snapshot, State, TableEntry, clear, read_directory,
};
pub use unit::Unit;

use seqcast_recovery::Nanos;

/// Where the command keeps the files of all users of a host unless told otherwise: in memory.
pub const DEFAULT_DIRECTORY: &str = "/dev/shm/seqcast";

/// How often a process writes what has changed: ten times as often as a person looks.
pub const REFRESH: Nanos = Nanos::from_millis(10);

/// The longest time for which a process that has nothing to do leaves its file alone.
pub const LONGEST_PAUSE: Nanos = Nanos::from_secs(1);

/// For how long a living process must not have written its file to be called stalled: stopped, or kept from its core. Three times what
/// it leaves alone at the longest.
pub const STALLED_AFTER: Nanos = Nanos::from_secs(3);
