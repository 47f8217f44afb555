//! Pinning a thread to a core.

use std::error::Error;
use std::fmt;
use std::io;

use core_affinity::CoreId;

/// Cores that an affinity mask of the usual size can name: `CPU_SETSIZE` of the C library.
const CORE_LIMIT: usize = 1_024;

/// Why a thread could not be pinned.
#[derive(Debug)]
#[non_exhaustive]
pub enum PinError {
    /// The core's number is 1,024 or more, which no affinity mask can name.
    TooLarge {
        /// The core asked for.
        core: usize,
    },
    /// The machine has no such core online, or the process may not use it.
    NotAllowed {
        /// The core asked for.
        core: usize,
        /// The cores that the thread runs on at present.
        allowed: Vec<usize>,
    },
    /// The kernel refused for another reason.
    Refused {
        /// The core asked for.
        core: usize,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The kernel accepted and the thread is allowed elsewhere all the same.
    Ignored {
        /// The core asked for.
        core: usize,
        /// The cores that the thread runs on at present.
        allowed: Vec<usize>,
    },
}

impl fmt::Display for PinError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { core } => write!(out, "core {core} does not exist; cores are numbered 0 to 1023"),
            Self::NotAllowed { core, allowed } => {
                write!(out, "core {core} is not online or not allowed; this thread may use {}", list(allowed))
            }
            Self::Refused { core, .. } => write!(out, "the kernel refuses to pin this thread to core {core}"),
            Self::Ignored { core, allowed } => {
                write!(out, "pinning to core {core} had no effect; this thread still runs on {}", list(allowed))
            }
        }
    }
}

impl Error for PinError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused { source, .. } => Some(source),
            _ => None,
        }
    }
}

fn list(cores: &[usize]) -> String {
    let texts: Vec<String> = cores.iter().map(usize::to_string).collect();
    format!("{{{}}}", texts.join(", "))
}

/// The cores that this thread may run on, none if the kernel does not say.
fn allowed() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect()
}

/// Pins the calling thread to `core` ∈ 0..1024, and reads the affinity back.
///
/// The kernel judges: a core that is online and in the process's cpuset is allowed, even where the thread inherited a
/// narrower affinity from a thread that was pinned before. Threads started later inherit the pin.
///
/// # Errors
///
/// Returns a [`PinError`] that says whether the core does not exist, is not allowed, or was refused; the affinity is
/// then as before.
pub fn pin_to_core(core: usize) -> Result<(), PinError> {
    // `core_affinity` indexes its mask with the number and panics beyond it.
    if core >= CORE_LIMIT {
        return Err(PinError::TooLarge { core });
    }
    if !core_affinity::set_for_current(CoreId { id: core }) {
        let source = io::Error::last_os_error();
        return Err(match source.raw_os_error() {
            Some(libc::EINVAL) => PinError::NotAllowed { core, allowed: allowed() },
            _ => PinError::Refused { core, source },
        });
    }
    let allowed = allowed();
    if allowed == [core] { Ok(()) } else { Err(PinError::Ignored { core, allowed }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs on a thread of its own, whose affinity ends with it.
    fn on_a_thread(test: impl FnOnce() + Send + 'static) {
        std::thread::spawn(test).join().unwrap();
    }

    #[test]
    fn thread_is_pinned_to_the_core_and_to_no_other() {
        on_a_thread(|| {
            let core = allowed()[0];
            pin_to_core(core).unwrap();
            assert_eq!(allowed(), [core]);
        });
    }

    #[test]
    fn thread_started_by_a_pinned_thread_may_take_another_core() {
        on_a_thread(|| {
            let cores = allowed();
            pin_to_core(cores[0]).unwrap();
            let last = cores[cores.len() - 1];
            on_a_thread(move || pin_to_core(last).unwrap());
        });
    }

    #[test]
    fn number_that_no_mask_can_hold_is_refused_without_aborting() {
        for core in [1_024, usize::MAX] {
            assert!(matches!(pin_to_core(core), Err(PinError::TooLarge { .. })));
        }
    }

    #[test]
    fn core_that_is_not_there_is_refused_with_the_allowed_ones_and_nothing_changes() {
        on_a_thread(|| {
            let before = allowed();
            if before.contains(&1_023) {
                return;
            }
            let error = pin_to_core(1_023).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("core 1023 is not online or not allowed; this thread may use {}", list(&before))
            );
            assert_eq!(allowed(), before);
        });
    }
}
