//! Waking a thread that waits for sockets, at even distances.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};

use seqcast_recovery::Nanos;

use crate::sys;

/// Something that [`wait_readable`](crate::wait_readable) can wait for beside sockets: once started it becomes readable at each
/// interval, until it is drained.
///
/// It costs a waiting thread nothing when something else wakes it. A time-out of the wait itself would be set before each wait and
/// taken back at each waking, which takes a virtual machine some 6 µs each time, for its clock is the host's.
#[derive(Debug)]
pub struct Ticker {
    timer: File,
    is_started: bool,
}

impl Ticker {
    /// Makes a ticker that stands still.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error, such as too many open files.
    pub fn new() -> io::Result<Self> {
        Ok(Self { timer: File::from(sys::timer()?), is_started: false })
    }

    /// Ticks from now on, each `interval` of at least a nanosecond. One system call, none if it does so already.
    pub fn start(&mut self, interval: Nanos) {
        if !self.is_started {
            self.is_started = sys::set_timer(self.timer.as_raw_fd(), interval).is_ok();
        }
    }

    /// Ticks no more. One system call, none if it stands still already.
    pub fn stop(&mut self) {
        if self.is_started {
            self.is_started = sys::set_timer(self.timer.as_raw_fd(), Nanos::ZERO).is_err();
        }
    }

    /// Whether it ticks.
    #[must_use]
    pub const fn is_started(&self) -> bool {
        self.is_started
    }

    /// Takes all ticks so far, so that the next wait lasts until another one; returns whether there were any. One system call,
    /// none if it stands still.
    pub fn drain(&self) -> bool {
        // The one possible refusal is that there is nothing to take.
        self.is_started && (&self.timer).read(&mut [0; size_of::<u64>()]).is_ok()
    }
}

impl AsRawFd for Ticker {
    fn as_raw_fd(&self) -> RawFd {
        self.timer.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Clock, wait_readable};

    fn waits(ticker: &Ticker, longest: Nanos) -> bool {
        !wait_readable(&[ticker.as_raw_fd()], Some(longest)).unwrap()
    }

    #[test]
    fn it_ticks_from_its_start_until_it_is_stopped() {
        let mut ticker = Ticker::new().unwrap();
        assert!(waits(&ticker, Nanos::ZERO) && !ticker.drain());
        let started = Clock::now();
        ticker.start(Nanos::from_millis(5));
        for ticks in 1..=3 {
            assert!(!waits(&ticker, Nanos::from_secs(30)));
            assert!(Clock::now() - started >= Nanos::from_millis(5 * ticks));
            assert!(ticker.is_started() && ticker.drain());
        }
        ticker.stop();
        assert!(!ticker.is_started() && !ticker.drain());
        assert!(waits(&ticker, Nanos::from_millis(30)));
    }
}
