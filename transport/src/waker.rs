//! Waking a thread that waits for sockets, from another thread.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};

use crate::sys;

/// Something that [`wait_readable`](crate::wait_readable) can wait for beside sockets: readable from the first
/// [`wake`](Self::wake) until it is drained.
///
/// Any number of threads share it by reference. Wakes are not counted: many before a drain are one.
#[derive(Debug)]
pub struct Waker {
    event: File,
}

impl Waker {
    /// Makes a waker that is quiet.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error, such as too many open files.
    pub fn new() -> io::Result<Self> {
        Ok(Self { event: File::from(sys::event()?) })
    }

    /// Wakes whoever waits, or who waits next. Never waits itself; one system call.
    pub fn wake(&self) {
        // The one possible refusal is a counter that is full, and that wakes as well.
        let _ = (&self.event).write(&1u64.to_ne_bytes());
    }

    /// Takes all wakes so far, so that the next wait lasts until another one; returns whether there were any.
    pub fn drain(&self) -> bool {
        // The one possible refusal is that there is nothing to take.
        (&self.event).read(&mut [0; size_of::<u64>()]).is_ok()
    }
}

impl AsRawFd for Waker {
    fn as_raw_fd(&self) -> RawFd {
        self.event.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use seqcast_recovery::Nanos;

    use super::*;
    use crate::wait_readable;

    fn is_awake(waker: &Waker) -> bool {
        wait_readable(&[waker.as_raw_fd()], Some(Nanos::ZERO)).unwrap()
    }

    #[test]
    fn a_wake_ends_the_wait_of_another_thread() {
        let waker = Waker::new().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| wait_readable(&[waker.as_raw_fd()], Some(Nanos::from_secs(30))));
            waker.wake();
            assert!(waiting.join().unwrap().unwrap());
        });
    }

    #[test]
    fn many_wakes_are_drained_at_once_and_the_next_one_wakes_again() {
        let waker = Waker::new().unwrap();
        assert!(!is_awake(&waker));
        assert!(!waker.drain());
        for _ in 0..2 {
            waker.wake();
            waker.wake();
            assert!(is_awake(&waker));
            assert!(waker.drain());
            assert!(!is_awake(&waker));
        }
    }

    #[test]
    fn a_counter_that_is_full_still_wakes() {
        let waker = Waker::new().unwrap();
        // The highest that the counter holds: a further wake is refused.
        (&waker.event).write_all(&(u64::MAX - 1).to_ne_bytes()).unwrap();
        waker.wake();
        assert!(is_awake(&waker));
        waker.drain();
        assert!(!is_awake(&waker));
    }
}
