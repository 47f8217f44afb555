//! What a duty cycle does when it found no work.

use std::error::Error;
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::str::FromStr;
use std::thread;

use seqcast_recovery::Nanos;

use crate::wait::wait_readable;

/// Idle duty cycles that only spin before a backing-off thread yields; arbitrary, about 10 µs and the
/// duty cycles themselves.
const SPIN_COUNT: u32 = 100;

/// Idle duty cycles that yield before a backing-off thread sleeps; arbitrary, some tens of microseconds
/// where no other thread is ready.
const YIELD_COUNT: u32 = 50;

/// The first sleep. The kernel adds its timer slack, 50 µs unless the thread set another.
const SHORTEST_SLEEP: Nanos = Nanos::from_micros(1);

/// The longest sleep, and so the most that a backing-off thread adds to a datagram's latency but for that slack.
const LONGEST_SLEEP: Nanos = Nanos::from_millis(1);

/// How a thread passes the time in which there is nothing to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum IdleStrategy {
    /// Spins 100 times, yields 50 times, then sleeps 1 µs, doubling to 1 ms; begins anew after any work.
    #[default]
    Backoff,
    /// Spins for ever: the lowest latency, for the price of a core.
    Spin,
    /// Yields for ever: gives the core to others that are ready, for the price of what they leave.
    Yield,
    /// Sleeps in the kernel until a socket has something: no core used, some tens of microseconds to wake.
    Block,
}

impl IdleStrategy {
    /// Every strategy, the default first.
    pub const ALL: [Self; 4] = [Self::Backoff, Self::Spin, Self::Yield, Self::Block];

    const fn name(self) -> &'static str {
        match self {
            Self::Backoff => "backoff",
            Self::Spin => "spin",
            Self::Yield => "yield",
            Self::Block => "block",
        }
    }
}

impl fmt::Display for IdleStrategy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

/// A text that names no [`IdleStrategy`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownIdleStrategy {
    /// The text.
    pub text: String,
}

impl fmt::Display for UnknownIdleStrategy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = IdleStrategy::ALL.map(IdleStrategy::name).join(", ");
        write!(out, "`{}` is no idle strategy; there are: {names}", self.text)
    }
}

impl Error for UnknownIdleStrategy {}

impl FromStr for IdleStrategy {
    type Err = UnknownIdleStrategy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownIdleStrategy { text: text.to_owned() };
        Self::ALL.into_iter().find(|strategy| strategy.name() == text).ok_or_else(unknown)
    }
}

/// One thread's idling: called after each duty cycle with the work that it did.
#[derive(Clone, Debug)]
pub struct Idle {
    strategy: IdleStrategy,
    idle_count: u32,
    sleep: Nanos,
}

/// What the next idle moment is spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Spin,
    Yield,
    Sleep(Nanos),
}

impl Idle {
    /// Begins as if work had just been done.
    #[must_use]
    pub const fn new(strategy: IdleStrategy) -> Self {
        Self { strategy, idle_count: 0, sleep: SHORTEST_SLEEP }
    }

    /// The strategy.
    #[must_use]
    pub const fn strategy(&self) -> IdleStrategy {
        self.strategy
    }

    /// Idles once if the duty cycle did no work, and returns at once if it did.
    ///
    /// [`Block`](IdleStrategy::Block) has no socket to wait for here and backs off; see
    /// [`idle_until_readable`](Self::idle_until_readable).
    #[inline]
    pub fn idle(&mut self, work_count: usize) {
        if work_count > 0 {
            self.reset();
        } else {
            let rest = self.next_rest();
            pass(rest, None);
        }
    }

    /// Idles once if the duty cycle did no work, at most until `timeout` has passed, where the state machine wants to
    /// be called again; `None` sets no bound. [`Block`](IdleStrategy::Block) sleeps until one of `fds` has something,
    /// the time-out or a signal.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`wait_readable`], with [`Block`](IdleStrategy::Block) only.
    #[inline]
    pub fn idle_until_readable(&mut self, work_count: usize, fds: &[RawFd], timeout: Option<Nanos>) -> io::Result<()> {
        if work_count > 0 {
            self.reset();
        } else if self.strategy == IdleStrategy::Block {
            wait_readable(fds, timeout)?;
        } else {
            let rest = self.next_rest();
            pass(rest, timeout);
        }
        Ok(())
    }

    const fn reset(&mut self) {
        self.idle_count = 0;
        self.sleep = SHORTEST_SLEEP;
    }

    fn next_rest(&mut self) -> Rest {
        match self.strategy {
            IdleStrategy::Spin => Rest::Spin,
            IdleStrategy::Yield => Rest::Yield,
            IdleStrategy::Backoff | IdleStrategy::Block => {
                if self.idle_count >= SPIN_COUNT + YIELD_COUNT {
                    let sleep = self.sleep;
                    self.sleep = LONGEST_SLEEP.min(sleep + sleep);
                    return Rest::Sleep(sleep);
                }
                self.idle_count += 1;
                if self.idle_count <= SPIN_COUNT { Rest::Spin } else { Rest::Yield }
            }
        }
    }
}

fn pass(rest: Rest, bound: Option<Nanos>) {
    match rest {
        Rest::Spin => std::hint::spin_loop(),
        Rest::Yield => thread::yield_now(),
        Rest::Sleep(sleep) => thread::park_timeout(bound.map_or(sleep, |bound| bound.min(sleep)).as_duration()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::Clock;

    #[test]
    fn every_strategy_is_read_as_it_is_written() {
        for strategy in IdleStrategy::ALL {
            assert_eq!(strategy.to_string().parse(), Ok(strategy));
        }
        assert_eq!(IdleStrategy::default(), IdleStrategy::Backoff);
        let error = "nap".parse::<IdleStrategy>().unwrap_err();
        assert_eq!(error.to_string(), "`nap` is no idle strategy; there are: backoff, spin, yield, block");
    }

    #[test]
    fn backoff_spins_then_yields_then_sleeps_twice_as_long_each_time() {
        let mut idle = Idle::new(IdleStrategy::Backoff);
        let rests: Vec<Rest> = (0..163).map(|_| idle.next_rest()).collect();
        assert!(rests[..100].iter().all(|rest| *rest == Rest::Spin));
        assert!(rests[100..150].iter().all(|rest| *rest == Rest::Yield));
        let sleeps = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_000, 1_000, 1_000];
        assert_eq!(rests[150..], sleeps.map(|micros| Rest::Sleep(Nanos::from_micros(micros))));
    }

    #[test]
    fn work_begins_the_backoff_anew() {
        let mut idle = Idle::new(IdleStrategy::Backoff);
        for _ in 0..155 {
            idle.next_rest();
        }
        idle.idle(1);
        assert_eq!(idle.next_rest(), Rest::Spin);
        assert_eq!(idle.sleep, SHORTEST_SLEEP);
    }

    #[test]
    fn spin_and_yield_never_sleep() {
        let mut spin = Idle::new(IdleStrategy::Spin);
        let mut yielding = Idle::new(IdleStrategy::Yield);
        for _ in 0..1_000 {
            assert_eq!((spin.next_rest(), yielding.next_rest()), (Rest::Spin, Rest::Yield));
        }
    }

    #[test]
    fn block_wakes_by_a_datagram_or_by_the_timeout() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut idle = Idle::new(IdleStrategy::Block);
        let start = Clock::now();
        idle.idle_until_readable(0, &[receiver.as_raw_fd()], Some(Nanos::from_millis(2))).unwrap();
        assert!(Clock::now() - start >= Nanos::from_millis(2));
        receiver.send_to(b"tick", receiver.local_addr().unwrap()).unwrap();
        idle.idle_until_readable(0, &[receiver.as_raw_fd()], None).unwrap();
    }

    #[test]
    fn blocked_thread_returns_at_once_after_work() {
        let mut idle = Idle::new(IdleStrategy::Block);
        idle.idle_until_readable(1, &[], None).unwrap();
    }
}
