//! The memory of an anonymous retained ring: heap words that begin at a cache line.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// The bytes of a cache line; the ring's header keeps apart on lines what changes apart.
const CACHE_LINE_BYTES: usize = 64;

/// Shared words for a retained ring. Cloning shares them.
#[derive(Clone)]
pub struct RingMemory {
    words: Arc<Vec<AtomicU64>>,
    start: usize,
    count: usize,
}

impl RingMemory {
    /// Reserves `count` words; the ring touches them when it is made.
    ///
    /// # Errors
    ///
    /// When the system has not so much memory.
    pub(crate) fn reserve(count: usize) -> Result<Self, std::collections::TryReserveError> {
        let spare = CACHE_LINE_BYTES / size_of::<AtomicU64>() - 1;
        let total = count.saturating_add(spare);
        let mut words = Vec::new();
        words.try_reserve_exact(total)?;
        words.resize_with(total, AtomicU64::default);
        let start = words.as_ptr().align_offset(CACHE_LINE_BYTES).min(spare);
        Ok(Self { words: Arc::new(words), start, count })
    }
}

impl AsRef<[AtomicU64]> for RingMemory {
    fn as_ref(&self) -> &[AtomicU64] {
        &self.words[self.start..self.start + self.count]
    }
}

impl fmt::Debug for RingMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RingMemory({} words)", self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_begin_at_a_cache_line() {
        for count in [1, 8, 1_000_000] {
            let memory = RingMemory::reserve(count).unwrap();
            assert_eq!(memory.as_ref().len(), count);
            assert_eq!(memory.as_ref().as_ptr() as usize % CACHE_LINE_BYTES, 0);
        }
    }

    #[test]
    fn more_than_there_is_is_an_error() {
        RingMemory::reserve(usize::MAX / 8).unwrap_err();
    }
}
