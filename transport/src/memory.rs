//! Memory that stays where it is.

use std::error::Error;
use std::fmt;
use std::io;

use crate::sys;

/// Why the memory of the process could not be locked.
#[derive(Debug)]
#[non_exhaustive]
pub enum LockError {
    /// The process may lock less than it has.
    NotPermitted,
    /// The kernel refused for another reason.
    Refused(io::Error),
}

impl fmt::Display for LockError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPermitted => out.write_str(
                "this process may not lock so much memory; permit it: `ulimit -l unlimited`, LimitMEMLOCK=infinity in its \
                 systemd unit, or `setcap cap_ipc_lock=eip PROGRAM`",
            ),
            Self::Refused(_) => out.write_str("the kernel refuses to lock the memory of this process"),
        }
    }
}

impl Error for LockError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused(source) => Some(source),
            Self::NotPermitted => None,
        }
    }
}

/// Keeps all memory of the process, present and future, from being paged out (mlockall(2)): also what it maps of files, and the
/// stacks of threads started later, in full. What the limits do not permit later on is an error where it is asked for.
///
/// # Errors
///
/// Says what would permit it; nothing is locked then.
pub fn lock_memory() -> Result<(), LockError> {
    sys::lock_memory().map_err(|error| match error.raw_os_error() {
        Some(libc::EPERM | libc::ENOMEM | libc::EAGAIN) => LockError::NotPermitted,
        _ => LockError::Refused(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The locked memory of this process in KiB, as proc_pid_status(5) has it.
    fn locked_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn memory_is_locked_or_it_is_told_what_would_permit_it() {
        match lock_memory() {
            Ok(()) => {
                assert!(locked_kib() > 0);
                sys::unlock_memory().unwrap();
                assert_eq!(locked_kib(), 0);
            }
            Err(error) => assert!(error.to_string().contains("ulimit -l"), "{error}"),
        }
    }
}
