//! The real-time priority of a thread.

use std::error::Error;
use std::fmt;
use std::io;
use std::ops::RangeInclusive;

use crate::sys;
use seqcast_recovery::Nanos;

/// The priorities of `SCHED_FIFO` on Linux (sched(7)).
const PRIORITIES: RangeInclusive<u8> = 1..=99;

/// Why a thread could not be given a real-time priority.
#[derive(Debug)]
#[non_exhaustive]
pub enum PriorityError {
    /// The priority is not in 1..=99.
    OutOfRange {
        /// The priority asked for.
        priority: u8,
    },
    /// The process may not use so high a priority.
    NotPermitted {
        /// The priority asked for.
        priority: u8,
    },
    /// The kernel refused for another reason.
    Refused {
        /// The priority asked for.
        priority: u8,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The kernel accepted, and the thread is scheduled otherwise all the same.
    Ignored {
        /// The priority asked for.
        priority: u8,
    },
}

impl fmt::Display for PriorityError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { priority } => write!(out, "{priority} is no real-time priority; they are 1 to 99"),
            Self::NotPermitted { priority } => write!(
                out,
                "this process may not use real-time priority {priority}; permit it: `ulimit -r {priority}`, \
                 LimitRTPRIO={priority} in its systemd unit, or `setcap cap_sys_nice=eip PROGRAM`"
            ),
            Self::Refused { priority, .. } => write!(out, "the kernel refuses real-time priority {priority}"),
            Self::Ignored { priority } => write!(out, "setting real-time priority {priority} had no effect"),
        }
    }
}

impl Error for PriorityError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Schedules the calling thread as `SCHED_FIFO` with `priority` ∈ 1..=99, and reads both back.
///
/// It then runs before every ordinary thread of its core until it waits: one that spins leaves the others only the share
/// that `kernel.sched_rt_runtime_us` keeps for them. Threads started later inherit it.
///
/// # Errors
///
/// Returns a [`PriorityError`] that says what would permit it; the thread is then scheduled as before.
pub fn set_fifo_priority(priority: u8) -> Result<(), PriorityError> {
    if !PRIORITIES.contains(&priority) {
        return Err(PriorityError::OutOfRange { priority });
    }
    let set = (libc::SCHED_FIFO, i32::from(priority));
    let found = sys::set_scheduling(set.0, set.1).and_then(|()| sys::scheduling()).map_err(|source| {
        if source.raw_os_error() == Some(libc::EPERM) {
            PriorityError::NotPermitted { priority }
        } else {
            PriorityError::Refused { priority, source }
        }
    })?;
    if found == set { Ok(()) } else { Err(PriorityError::Ignored { priority }) }
}

/// The shortest slice that the kernel gives (sched(7)).
const SHORT_SLICE: Nanos = Nanos::from_micros(100);

/// Asks for short slices for the calling thread, which otherwise shares its core with others as before: a thread that mostly
/// sleeps then runs as soon as it wakes, instead of when the one that spins there has used up its slice of some milliseconds. It
/// takes no permission; Linux 6.12 and later. Threads started later inherit it.
///
/// # Errors
///
/// Returns the kernel's reason; the thread is then scheduled as before.
pub fn set_short_slice() -> io::Result<()> {
    sys::set_slice(SHORT_SLICE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The real-time priority and policy of this thread: fields 40 and 41 of proc_pid_stat(5), where field 3 is the first
    /// behind the name in parentheses.
    fn scheduled() -> (i32, i32) {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        (fields[40 - 3].parse().unwrap(), fields[41 - 3].parse().unwrap())
    }

    #[test]
    fn a_thread_with_short_slices_is_an_ordinary_one_still() {
        let before = sys::scheduling().unwrap();
        std::thread::spawn(move || {
            set_short_slice().unwrap();
            assert_eq!(sys::scheduling().unwrap(), before);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn thread_has_the_priority_or_is_told_what_would_permit_it() {
        let test = || {
            let before = scheduled();
            match set_fifo_priority(1) {
                Ok(()) => assert_eq!(scheduled(), (1, libc::SCHED_FIFO)),
                Err(error) => {
                    assert!(matches!(error, PriorityError::NotPermitted { priority: 1 }), "{error}");
                    assert_eq!(scheduled(), before);
                }
            }
        };
        std::thread::spawn(test).join().unwrap();
    }

    #[test]
    fn what_is_no_priority_is_refused_and_nothing_changes() {
        let before = scheduled();
        for priority in [0, 100, 255] {
            assert!(matches!(set_fifo_priority(priority), Err(PriorityError::OutOfRange { .. })));
        }
        assert_eq!(scheduled(), before);
    }

    #[test]
    fn missing_permission_is_told_with_each_mend() {
        let text = PriorityError::NotPermitted { priority: 7 }.to_string();
        for mend in ["`ulimit -r 7`", "LimitRTPRIO=7", "`setcap cap_sys_nice=eip PROGRAM`"] {
            assert!(text.contains(mend), "{text}");
        }
    }
}
