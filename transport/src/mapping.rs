//! Words of memory that threads and processes share.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Shared words, all touched, that begin at a page; cloning shares them.
///
/// Words of a file are the same for every process that maps it. The file must keep its length: a process that touches
/// words behind its end is killed (SIGBUS).
#[derive(Clone)]
pub struct Mapping {
    /// Invariant: `start..start + count` is part of the region.
    start: NonNull<AtomicU64>,
    count: usize,
    region: Arc<Region>,
}

// SAFETY: these words are part of a region, which may be sent.
unsafe impl Send for Mapping {}
// SAFETY: and may be shared.
unsafe impl Sync for Mapping {}

/// Invariant: `start..start + count` is mapped for reading and writing as long as this lives, and `count > 0`.
struct Region {
    start: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: a region is memory that nothing but atomic operations reaches, and unmapping it needs no certain thread.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Mapping {
    /// Reserves and touches so many words, all 0, that only this process has.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error when there is not so much memory, `InvalidInput` for none at all.
    pub fn anonymous(words: usize) -> io::Result<Self> {
        Self::map(words, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)
    }

    /// Maps all whole words of `file`, which is open for reading and writing.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error, `InvalidInput` for a file that is shorter than a word.
    pub fn of_file(file: &File) -> io::Result<Self> {
        let words = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX) / size_of::<AtomicU64>();
        Self::map(words, libc::MAP_SHARED, file.as_raw_fd())
    }

    fn map(count: usize, flags: libc::c_int, fd: libc::c_int) -> io::Result<Self> {
        let bytes =
            count.checked_mul(size_of::<AtomicU64>()).filter(|&bytes| bytes > 0 && bytes <= isize::MAX as usize);
        let bytes = bytes.ok_or(io::ErrorKind::InvalidInput)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses the place, so that no other memory is affected; the file, if any, is open.
        let start = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags | libc::MAP_POPULATE, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::Other)?;
        Ok(Self { start, count, region: Arc::new(Region { start, count }) })
    }

    /// Some of these words.
    ///
    /// # Panics
    ///
    /// When there are not so many.
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> Self {
        let words = &self.as_ref()[range];
        Self { start: NonNull::from(words).cast(), count: words.len(), region: Arc::clone(&self.region) }
    }
}

impl AsRef<[AtomicU64]> for Mapping {
    #[inline]
    fn as_ref(&self) -> &[AtomicU64] {
        // SAFETY: by the invariants the words are mapped for as long as the region lives; a page's beginning is aligned for
        // them, any bytes make a valid one, and whoever else maps them may change them at any time, as atomics allow.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.count) }
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mapping({} words)", self.count)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: start and length are those of a mapping that nobody can reach any more. It cannot fail with them.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.count * size_of::<AtomicU64>()) };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn anonymous_words_are_zero_and_shared_by_clones() {
        let mapping = Mapping::anonymous(1_000).unwrap();
        assert_eq!((mapping.as_ref().len(), mapping.as_ref().as_ptr() as usize % 4_096), (1_000, 0));
        assert!(mapping.as_ref().iter().all(|word| word.load(Ordering::Relaxed) == 0));
        let clone = mapping.clone();
        mapping.as_ref()[999].store(7, Ordering::Relaxed);
        drop(mapping);
        assert_eq!(clone.as_ref()[999].load(Ordering::Relaxed), 7);
    }

    #[test]
    fn a_part_is_the_same_words_and_keeps_them_mapped() {
        let mapping = Mapping::anonymous(1_000).unwrap();
        let part = mapping.part(500..510);
        mapping.as_ref()[509].store(7, Ordering::Relaxed);
        drop(mapping);
        assert_eq!((part.as_ref().len(), part.part(9..10).as_ref()[0].load(Ordering::Relaxed)), (10, 7));
        assert!(part.part(10..10).as_ref().is_empty());
        assert!(std::panic::catch_unwind(|| part.part(9..11)).is_err());
    }

    #[test]
    fn more_than_there_is_and_nothing_at_all_are_errors() {
        Mapping::anonymous(0).unwrap_err();
        Mapping::anonymous(usize::MAX).unwrap_err();
        Mapping::anonymous(usize::MAX / 32).unwrap_err();
    }
}
