//! The file of one process, as it writes it.

use crate::cells::{Cell, Cells, Histogram, Table, mix};
use crate::{Described, Description};
use seqcast_recovery::Nanos;
use seqcast_transport::{Clock, Mapping, SharedFile};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::{error, fmt, fs, io};

pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"sq-stat\x01");
/// Grows with every change of the layout.
pub(crate) const LAYOUT_VERSION: u64 = 1;

pub(crate) const HEADER_WORDS: usize = 8;
pub(crate) const WRITTEN_WORD: usize = 5;
pub(crate) const CHECKSUM_WORD: usize = 7;

/// How the names of the files end.
pub(crate) const EXTENSION: &str = "stats";

/// How many processes with one id may keep files of one role side by side: several parts of one process, and processes that have the
/// same id in different namespaces. Arbitrary.
const MOST_PER_PROCESS: u32 = 1_000;

/// A file of counters, being written; clones write the same one. The last one that is dropped removes it.
#[derive(Clone, Debug)]
pub struct StatsFile {
    owner: Arc<Owner>,
    values: Mapping,
}

#[derive(Debug)]
struct Owner {
    file: SharedFile,
    path: PathBuf,
}

impl Drop for Owner {
    fn drop(&mut self) {
        if self.file.is_in_place().unwrap_or(false) {
            // If it cannot be removed it is shown as one of a process that has ended.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl StatsFile {
    /// Makes a file in `directory`, which is made if it is not there: for all users of the host then. What a process that was killed
    /// has left is in nobody's way.
    ///
    /// # Errors
    ///
    /// When the directory cannot be made or written, or there is no room.
    pub fn create(directory: &Path, description: Description) -> Result<Self, CreateError> {
        let failed = |error| CreateError { directory: directory.to_owned(), error };
        open_directory(directory).map_err(failed)?;
        let process = std::process::id();
        let role = description.role().to_owned();
        let (text, value_words) = description.finish();
        let values = HEADER_WORDS + text.len().div_ceil(size_of::<u64>());
        let made_at = Clock::unix_micros().saturating_mul(1_000);
        for number in 0..MOST_PER_PROCESS {
            let path = directory.join(format!("{role}-{process}-{number}.{EXTENSION}"));
            let fill = |mapping: &Mapping| {
                let words = mapping.as_ref();
                let count = words.len() as u64;
                let header = [MAGIC, LAYOUT_VERSION, count, u64::from(process), made_at, 0, text.len() as u64];
                words.iter().zip(header).for_each(|(word, value)| word.store(value, Ordering::Relaxed));
                words[CHECKSUM_WORD].store(checksum(&header, text.as_bytes()), Ordering::Relaxed);
                words[WRITTEN_WORD].store(Clock::now().0, Ordering::Relaxed);
                for (word, value) in words[HEADER_WORDS..].iter().zip(text_words(text.as_bytes())) {
                    word.store(value, Ordering::Relaxed);
                }
                Ok(())
            };
            // A file that nobody holds was left by a process that had this id before.
            let left = SharedFile::open(&path).ok().filter(|file| file.lock().unwrap_or(false));
            match SharedFile::create(&path, left.as_ref(), values + value_words, fill) {
                Ok(file) => {
                    let values = file.mapping().part(values..values + value_words);
                    return Ok(Self { owner: Arc::new(Owner { file, path }), values });
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::WouldBlock) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(failed(io::ErrorKind::AlreadyExists.into()))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.owner.path
    }

    /// The word of a counter or a gauge of the description that this was made from.
    #[must_use]
    pub fn cell(&self, described: Described) -> Cell {
        Cell::new(&self.values, described)
    }

    /// The words of counters and gauges that were described one behind the other, in this order.
    ///
    /// # Panics
    ///
    /// When they were not, or there are none.
    #[must_use]
    pub fn cells<const N: usize>(&self, described: [Described; N]) -> Cells<N> {
        Cells::new(&self.values, described)
    }

    /// The words of a histogram of the description that this was made from.
    #[must_use]
    pub fn histogram(&self, described: Described) -> Histogram {
        Histogram::new(&self.values, described)
    }

    /// The words of a table of the description that this was made from.
    #[must_use]
    pub fn table(&self, described: Described) -> Table {
        Table::new(&self.values, described)
    }

    /// Notes that what has changed was written: to be called at least every [`LONGEST_PAUSE`](crate::LONGEST_PAUSE), so that it is
    /// known that the process runs.
    pub fn note_written(&self, now: Nanos) {
        self.owner.file.mapping().as_ref()[WRITTEN_WORD].store(now.0, Ordering::Relaxed);
    }
}

/// Makes the directory if it is not there, and lets everybody add files to it and remove their own.
fn open_directory(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    match fs::create_dir(directory) {
        Ok(()) => fs::set_permissions(directory, fs::Permissions::from_mode(0o1777)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir_all(directory),
        Err(error) => Err(error),
    }
}

/// The text as words, zeros behind it.
pub(crate) fn text_words(text: &[u8]) -> impl Iterator<Item = u64> {
    text.chunks(size_of::<u64>()).map(|chunk| {
        let mut word = [0; size_of::<u64>()];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    })
}

/// Of what does not change: the header, but for the time of the last writing, and the text.
pub(crate) fn checksum(header: &[u64; 7], text: &[u8]) -> u64 {
    let header = header.iter().enumerate().filter(|&(index, _)| index != WRITTEN_WORD).map(|(_, &word)| word);
    header.chain(text_words(text)).fold(0, |hash, word| mix(hash ^ word).wrapping_add(1))
}

/// Why counters cannot be kept: others cannot see them, and nothing else is lost.
#[derive(Debug)]
pub struct CreateError {
    directory: PathBuf,
    error: io::Error,
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "counters cannot be kept in {}", self.directory.display())
    }
}

impl error::Error for CreateError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.error)
    }
}
