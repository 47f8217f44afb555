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
    /// When the duty cycle began that raised it, or, with [`Reception::finding_within_cycles`], when the last message before it in
    /// that cycle was handed over.
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
    finds_within_cycles: bool,
}

impl<'m> Reception<'m> {
    /// Expects `messages` from the first on.
    pub(crate) fn new(subscriber: Subscriber, messages: &'m Messages) -> Self {
        let found = VecDeque::with_capacity(OPEN_GAPS);
        Self { subscriber, check: Check::new(messages), found, finds_within_cycles: false }
    }

    /// Reads the clock for each message, so that a gap that is found late in a long duty cycle, behind a stall of the machine, is
    /// not taken for one that was found when that began.
    pub(crate) fn finding_within_cycles(self) -> Self {
        Self { finds_within_cycles: true, ..self }
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
        let (check, found, finds_within_cycles) = (&mut self.check, &mut self.found, self.finds_within_cycles);
        let mut before = now;
        let work = self.subscriber.poll(
            |event| {
                on_event(&event);
                check.note(&event);
                match event {
                    // Gaps are raised in the order of their numbers, and settled in it.
                    Event::Gap(_) => found.push_back(before),
                    Event::Message(_) if finds_within_cycles => before = Clock::now(),
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
