//! A subscriber that checks every message, and times every repair.

use crate::messages::{Check, Messages};
use seqcast_protocol::SequenceRange;
use seqcast_recovery::Nanos;
use seqcast_subscriber::{Event, Subscriber};
use seqcast_transport::Clock;
use std::collections::VecDeque;

/// How many messages are delivered in one duty cycle. Arbitrary.
const MESSAGES_PER_POLL: usize = 4_096;

/// The room for gaps that are open, one for each that a subscription keeps.
const OPEN_GAPS: usize = 4_096;

/// A gap that was filled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repair {
    /// What had been missing.
    pub(crate) range: SequenceRange,
    /// When the duty cycle began that raised it.
    pub(crate) found: Nanos,
    /// When the last of it had been delivered.
    pub(crate) delivered: Nanos,
    /// What the library says that it took.
    pub(crate) elapsed: Nanos,
}

/// One subscriber, polled by whoever has it.
#[derive(Debug)]
pub(crate) struct Reception<'m> {
    subscriber: Subscriber,
    check: Check<'m>,
    found: VecDeque<Nanos>,
}

impl<'m> Reception<'m> {
    /// Expects `messages` from the first on.
    pub(crate) fn new(subscriber: Subscriber, messages: &'m Messages) -> Self {
        Self { subscriber, check: Check::new(messages), found: VecDeque::with_capacity(OPEN_GAPS) }
    }

    /// The subscriber.
    pub(crate) fn subscriber(&self) -> &Subscriber {
        &self.subscriber
    }

    /// What was delivered.
    pub(crate) fn check(&self) -> &Check<'m> {
        &self.check
    }

    /// One duty cycle, which begins `now`; returns its work.
    ///
    /// # Errors
    ///
    /// The first violation.
    #[inline]
    pub(crate) fn poll(&mut self, now: Nanos, on_repair: impl FnMut(Repair)) -> Result<usize, String> {
        self.poll_with(now, |_| {}, on_repair)
    }

    /// As [`Self::poll`], and hands every event on first.
    ///
    /// # Errors
    ///
    /// As [`Self::poll`].
    #[inline]
    pub(crate) fn poll_with(
        &mut self,
        now: Nanos,
        mut on_event: impl FnMut(&Event<'_>),
        mut on_repair: impl FnMut(Repair),
    ) -> Result<usize, String> {
        let (check, found) = (&mut self.check, &mut self.found);
        let work = self.subscriber.poll(
            |event| {
                on_event(&event);
                check.note(&event);
                match event {
                    // Gaps are raised in the order of their numbers, and settled in it.
                    Event::Gap(_) => found.push_back(now),
                    Event::Recovered(recovered) => {
                        let found = found.pop_front().unwrap_or(now);
                        let (range, elapsed) = (recovered.range, recovered.elapsed);
                        on_repair(Repair { range, found, delivered: Clock::now(), elapsed });
                    }
                    _ => {}
                }
            },
            MESSAGES_PER_POLL,
        );
        self.check.so_far()?;
        Ok(work)
    }
}
