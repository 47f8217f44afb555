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
            interrupt_calls(signal)?;
        }
        Ok(Self { count })
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

/// Lets `signal` end a system call that blocks, such as a write to a pipe that nobody reads, instead of resuming it.
#[expect(unsafe_code, reason = "the standard library does not set signal actions")]
fn interrupt_calls(signal: i32) -> io::Result<()> {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: the first pointer may be null, the second one is to memory for an action.
    if unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above has succeeded, so it has written the action.
    let mut action = unsafe { action.assume_init() };
    action.sa_flags &= !libc::SA_RESTART;
    // SAFETY: the action is the one in force, whose handler is sound, but for a flag; the second pointer may be null.
    if unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
