//! Standard input as a publisher needs it: what has been read is published before more is waited for, and an interrupt
//! ends the wait.

use crate::input::{InputError, Problem};
use crate::interrupt::Interrupt;
use seqcast_recovery::Nanos;
use seqcast_transport::wait_readable;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The longest wait, so that signals that came just before it are seen.
const LONGEST_WAIT: Nanos = Nanos::from_millis(100);

/// Standard input, which an interrupt ends while its first bytes are waited for; once it is open, what is not there yet
/// is the error `WouldBlock`, and the reader is asked again later.
pub struct StandardInput {
    // Without the standard library's own buffer, whose bytes a wait for the descriptor would not see.
    file: File,
    interrupt: Interrupt,
    is_open: Arc<AtomicBool>,
}

impl StandardInput {
    /// Takes the process's standard input; it counts as open once `is_open` is set.
    ///
    /// # Errors
    ///
    /// When standard input is closed.
    pub fn new(interrupt: &Interrupt, is_open: &Arc<AtomicBool>) -> io::Result<Self> {
        let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        Ok(Self { file, interrupt: interrupt.clone(), is_open: Arc::clone(is_open) })
    }
}

impl Read for StandardInput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let is_open = self.is_open.load(Ordering::Relaxed);
        let timeout = if is_open { Nanos::ZERO } else { LONGEST_WAIT };
        while !wait_readable(&[self.file.as_raw_fd()], Some(timeout))? {
            if is_open {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            if self.interrupt.is_raised() {
                return Ok(0);
            }
        }
        self.file.read(buffer)
    }
}

/// Whether the input is to be asked again later.
#[must_use]
pub fn is_not_there_yet(error: &InputError) -> bool {
    matches!(error.problem(), Problem::Read { error, .. } if error.kind() == io::ErrorKind::WouldBlock)
}

/// Waits until standard input can be read, or long enough to look for an interrupt.
///
/// # Errors
///
/// The kernel's.
pub fn wait() -> io::Result<()> {
    wait_readable(&[io::stdin().as_raw_fd()], Some(LONGEST_WAIT)).map(|_| ())
}
