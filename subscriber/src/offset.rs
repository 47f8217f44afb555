//! How far an application has come, in a file: so that it goes on exactly there when it is started again.
//!
//! The file is mapped. Storing an offset is a dozen stores into memory and no system call; a process that is killed between
//! any two of them leaves the offset before or the new one, never a mixture: the new one is laid down beside the one that
//! counts, and then one word says that it counts. After a failure of the machine, which may leave any mixture of pages, a
//! checksum tells what is whole.
//!
//! **At least once.** An offset is stored after its messages were handled. An application that is killed between the two is
//! given these messages again. Exactly once takes a place that can be cut back: an application that writes a file stores the
//! file's length with the offset, and when it is started again cuts the file to it. `seqcast subscribe --offset` does so.

use seqcast_protocol::{SequenceNumber, SessionId};
use seqcast_transport::{Mapping, SharedFile};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{error, fmt, io};

/// Read as a number in the byte order of the machine.
const MAGIC: u64 = u64::from_le_bytes(*b"sq-offs\x02");

const MAGIC_WORD: usize = 0;
/// Which of the two records counts.
const COUNTS_WORD: usize = 1;
/// The first, the second; half of all bits differ between any two of these words, so that damage shows.
const COUNTS: [u64; 2] = [0x5555_5555_5555_5555, 0x3333_3333_3333_3333];
/// Neither yet.
const NEITHER: u64 = 0x0F0F_0F0F_0F0F_0F0F;
/// Two records, each on a cache line of its own.
const RECORD_WORDS: [usize; 2] = [8, 16];
const FILE_WORDS: usize = 24;

/// How far an application has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    /// The session.
    pub session: SessionId,
    /// The number after the last one that was handled.
    pub next: SequenceNumber,
    /// What the application stored with it, such as the length of the file that it writes.
    pub position: u64,
}

/// The file of an offset; as long as it is open, nobody else opens it.
#[derive(Debug)]
pub struct StoredOffset {
    file: SharedFile,
    offset: Option<Offset>,
}

/// Why an offset cannot be stored in a file.
#[derive(Debug)]
#[non_exhaustive]
pub enum OffsetError {
    /// The file cannot be opened, made or mapped.
    Io(io::Error),
    /// Another process stores its offset there.
    Held,
    /// The file is no offset, or was damaged.
    Damaged,
}

impl fmt::Display for OffsetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Held => f.write_str("another process stores its offset there"),
            Self::Damaged => f.write_str("it holds no offset, or a damaged one; remove it to begin anew"),
        }
    }
}

impl error::Error for OffsetError {}

impl StoredOffset {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    ///
    /// Says why the file cannot be used; it is not changed then.
    pub fn open(path: &Path) -> Result<Self, OffsetError> {
        loop {
            let file = match SharedFile::open(path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    match SharedFile::create(path, None, FILE_WORDS, format) {
                        Ok(file) => return Ok(Self { file, offset: None }),
                        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(OffsetError::Held),
                        Err(error) => return Err(OffsetError::Io(error)),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(OffsetError::Damaged),
                Err(error) => return Err(OffsetError::Io(error)),
            };
            if !file.lock().map_err(OffsetError::Io)? {
                return Err(OffsetError::Held);
            }
            if file.is_in_place().map_err(OffsetError::Io)? {
                let offset = load(file.mapping().as_ref()).ok_or(OffsetError::Damaged)?;
                return Ok(Self { file, offset });
            }
        }
    }

    /// The offset that was stored last; none in a new file.
    #[must_use]
    pub const fn get(&self) -> Option<Offset> {
        self.offset
    }

    /// Stores an offset; returns when it would survive the end of this process, whatever ends it.
    #[inline]
    pub fn store(&mut self, offset: Offset) {
        let words = self.file.mapping().as_ref();
        let record = usize::from(words[COUNTS_WORD].load(Ordering::Relaxed) == COUNTS[0]);
        let start = RECORD_WORDS[record];
        for (word, value) in words[start..].iter().zip(with_checksum(offset)) {
            word.store(value, Ordering::Relaxed);
        }
        words[COUNTS_WORD].store(COUNTS[record], Ordering::Release);
        self.offset = Some(offset);
    }
}

fn format(memory: &Mapping) -> io::Result<()> {
    let words = memory.as_ref();
    words[COUNTS_WORD].store(NEITHER, Ordering::Relaxed);
    words[MAGIC_WORD].store(MAGIC, Ordering::Release);
    Ok(())
}

/// What the words say; `None` when they are damaged.
#[expect(clippy::option_option, reason = "a whole file without an offset is not a damaged one")]
fn load(words: &[AtomicU64]) -> Option<Option<Offset>> {
    if words.len() < FILE_WORDS || words[MAGIC_WORD].load(Ordering::Relaxed) != MAGIC {
        return None;
    }
    let start = match words[COUNTS_WORD].load(Ordering::Acquire) {
        NEITHER => return Some(None),
        counts => RECORD_WORDS[COUNTS.iter().position(|&word| word == counts)?],
    };
    let mut record = [0; 5];
    for (value, word) in record.iter_mut().zip(&words[start..]) {
        *value = word.load(Ordering::Relaxed);
    }
    let mut session = [0; 16];
    session[..8].copy_from_slice(&record[0].to_ne_bytes());
    session[8..].copy_from_slice(&record[1].to_ne_bytes());
    let session = SessionId::from_bytes(*session.first_chunk()?);
    let offset = Offset { session, next: record[2], position: record[3] };
    (with_checksum(offset) == record).then_some(Some(offset))
}

/// The words of a record: the session in two, the number, the position, and a checksum of these: FNV-1a (Fowler, Noll and
/// Vo) over their bytes.
fn with_checksum(offset: Offset) -> [u64; 5] {
    let mut session = [0; 16];
    session[..10].copy_from_slice(offset.session.as_bytes());
    let [low, high] = [0, 8].map(|at| u64::from_ne_bytes(*session[at..].first_chunk().expect("two words")));
    let values = [low, high, offset.next, offset.position];
    let checksum = values
        .iter()
        .flat_map(|value| value.to_ne_bytes())
        .fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3));
    [low, high, offset.next, offset.position, checksum]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let place = std::env::temp_dir().join(format!("seqcast-offset-{name}-{}", std::process::id()));
            fs::create_dir_all(&place).unwrap();
            Self(place)
        }

        fn file(&self) -> PathBuf {
            self.0.join("offset")
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn offset(next: u64) -> Offset {
        Offset { session: "EQ20261121".parse().unwrap(), next, position: 3 * next }
    }

    #[test]
    fn what_was_stored_last_is_there_when_the_file_is_opened_again() {
        let place = Place::new("again");
        let mut stored = StoredOffset::open(&place.file()).unwrap();
        assert_eq!(stored.get(), None);
        drop(stored);
        for next in 1..10 {
            stored = StoredOffset::open(&place.file()).unwrap();
            assert_eq!(stored.get(), (next > 1).then(|| offset(next - 1)));
            stored.store(offset(1_000));
            stored.store(offset(next));
            assert_eq!(stored.get(), Some(offset(next)));
            drop(stored);
        }
    }

    #[test]
    fn a_store_that_was_cut_short_anywhere_leaves_the_offset_before() {
        let place = Place::new("short");
        let mut stored = StoredOffset::open(&place.file()).unwrap();
        stored.store(offset(7));
        let words = stored.file.mapping().clone();
        let spare = RECORD_WORDS[usize::from(words.as_ref()[COUNTS_WORD].load(Ordering::Relaxed) == COUNTS[0])];
        for (index, value) in with_checksum(offset(8)).into_iter().enumerate() {
            words.as_ref()[spare + index].store(value, Ordering::Relaxed);
            assert_eq!(load(words.as_ref()), Some(Some(offset(7))));
        }
    }

    #[test]
    fn one_process_at_a_time() {
        let place = Place::new("held");
        let stored = StoredOffset::open(&place.file()).unwrap();
        assert!(matches!(StoredOffset::open(&place.file()), Err(OffsetError::Held)));
        drop(stored);
        StoredOffset::open(&place.file()).unwrap();
    }

    #[test]
    fn any_flipped_bit_is_found_and_nothing_is_changed() {
        let place = Place::new("damaged");
        StoredOffset::open(&place.file()).unwrap().store(offset(7));
        let bytes = fs::read(place.file()).unwrap();
        let meant = [0..16, 64..104];
        for bit in meant.into_iter().flatten().flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut damaged = bytes.clone();
            damaged[bit.0] ^= 1 << bit.1;
            fs::write(place.file(), &damaged).unwrap();
            let opened = StoredOffset::open(&place.file()).map(|stored| stored.get());
            // Six bytes behind the ten of a session mean nothing, but are covered all the same.
            assert!(matches!(opened, Err(OffsetError::Damaged)), "byte {}, bit {}: {opened:?}", bit.0, bit.1);
            assert_eq!(fs::read(place.file()).unwrap(), damaged);
        }
        for length in [0, 7, 100] {
            fs::write(place.file(), &bytes[..length]).unwrap();
            assert!(matches!(StoredOffset::open(&place.file()), Err(OffsetError::Damaged)), "{length} bytes");
        }
    }
}
