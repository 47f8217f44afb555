//! Waiting until a subscriber is live.

use crate::{Event, Idle, Nanos, Subscriber};
use seqcast_transport::Clock;
use std::time::Duration;

/// The most messages between two looks at the clock. Arbitrary.
const MESSAGES_PER_POLL: usize = 1_024;

/// How [`Subscriber::wait_until_caught_up`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a subscriber that is not live has more to come"]
pub enum CatchUp {
    /// Everything that is known to exist has been handed to the callback: the subscriber is live.
    Live,
    /// The session has ended, and so has what there was of it.
    Ended,
    /// The policy for gaps, or for numbers that begin again, has stopped the subscriber.
    Stopped,
    /// The time is over.
    TimedOut,
}

impl Subscriber {
    /// Whether the session has been caught up with, and everything that is known to exist is delivered or reported lost as of
    /// the last [`Self::poll`]: false again while a gap is open.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.subscription().is_caught_up()
    }

    /// Polls, and idles as `idle` does, until [`Self::is_caught_up`], or until nothing more will come, or for `timeout`; at
    /// least once. Every event goes to `on_event`, as from [`Self::poll`]; the one that the wait ends with, such as
    /// [`Status::CaughtUp`](crate::Status::CaughtUp), among them.
    pub fn wait_until_caught_up(
        &mut self,
        idle: &mut Idle,
        timeout: Duration,
        mut on_event: impl FnMut(Event<'_>),
    ) -> CatchUp {
        let deadline = Clock::now() + timeout.into();
        loop {
            let work = self.poll(&mut on_event, MESSAGES_PER_POLL);
            let subscription = self.subscription();
            if subscription.has_ended() {
                return CatchUp::Ended;
            }
            if subscription.is_stopped() {
                return CatchUp::Stopped;
            }
            if subscription.is_caught_up() {
                return CatchUp::Live;
            }
            let left = deadline - Clock::now();
            if left == Nanos::ZERO {
                return CatchUp::TimedOut;
            }
            let wait = self.timeout().map_or(left, |timeout| left.min(timeout.into()));
            // A socket that cannot be waited for can still be polled.
            if idle.idle_until_readable(work, self.fds(), Some(wait)).is_err() {
                std::thread::yield_now();
            }
        }
    }
}
