//! Ctrl-C and TERM, counted: the first asks for an orderly end, the second for a quick one.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::register;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the requests to stop; clones count together.
#[derive(Clone, Debug)]
pub struct Interrupt {
    count: Arc<AtomicUsize>,
}

impl Interrupt {
    /// Begins to count instead of being killed.
    ///
    /// # Errors
    ///
    /// When the signal handlers cannot be set.
    pub fn new() -> io::Result<Self> {
        let count = Arc::new(AtomicUsize::new(0));
        for signal in [SIGINT, SIGTERM] {
            let count = Arc::clone(&count);
            register_counter(signal, count)?;
        }
        Ok(Self { count })
    }

    /// As if `count` had come.
    #[cfg(test)]
    pub(crate) fn counted(count: usize) -> Self {
        Self { count: Arc::new(AtomicUsize::new(count)) }
    }

    /// As if one more had come.
    #[cfg(test)]
    pub(crate) fn raise(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// How many have come.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether one has come.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.count() > 0
    }
}

#[expect(unsafe_code, reason = "signal handlers are unsafe to set")]
fn register_counter(signal: i32, count: Arc<AtomicUsize>) -> io::Result<()> {
    let handler = move || {
        count.fetch_add(1, Ordering::Relaxed);
    };
    // SAFETY: the handler does nothing but an atomic addition, which is async-signal-safe.
    unsafe { register(signal, handler) }.map(|_| ())
}
