//! One receiver of a load: what it hears, held against what was sent.

use crate::messages::Check;
use crate::stream::Load;
use crate::system::Receiver;
use seqcast_recovery::Nanos;
use seqcast_transport::Clock;

/// After so long without a message nothing comes any more from what repairs nothing. Arbitrary, beyond most stalls.
pub(crate) const QUIET: Nanos = Nanos::from_millis(50);

/// What a receiver saw.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) lost: u64,
    pub(crate) requests: u64,
    pub(crate) last_at: Nanos,
    pub(crate) arrivals: Vec<Nanos>,
}

/// A receiver and what it heard.
#[derive(Debug)]
pub(crate) struct Listener<'m, R> {
    receiver: R,
    check: Check<'m>,
    count: usize,
    repairs_loss: bool,
    keeps_times: bool,
    arrivals: Vec<Nanos>,
    last_at: Nanos,
    /// Whether everything that will come has come.
    pub(crate) is_complete: bool,
}

impl<'m, R: Receiver> Listener<'m, R> {
    /// Expects everything that the load has.
    pub(crate) fn new(receiver: R, load: &Load<'m>, repairs_loss: bool) -> Self {
        Self {
            receiver,
            check: Check::new(load.messages),
            count: load.count,
            repairs_loss,
            keeps_times: load.keeps_times,
            arrivals: vec![Nanos::ZERO; if load.keeps_times { load.count } else { 0 }],
            last_at: Nanos::ZERO,
            is_complete: false,
        }
    }

    /// Takes what has arrived; returns whether anything had.
    #[inline]
    pub(crate) fn poll(&mut self) -> Result<bool, String> {
        let Self { receiver, check, keeps_times, arrivals, .. } = self;
        let count = if *keeps_times {
            receiver.poll(&mut |number, payload: &[u8]| {
                let now = Clock::now();
                check.take(number, payload);
                if let Some(arrival) = arrivals.get_mut(number as usize - 1) {
                    *arrival = now;
                }
            })?
        } else {
            receiver.poll(&mut |number, payload: &[u8]| check.take(number, payload))?
        };
        if count > 0 {
            self.check.so_far()?;
            self.last_at = Clock::now();
            self.is_complete = self.accounted() >= self.count;
        }
        Ok(count > 0)
    }

    /// How far the messages were delivered.
    pub(crate) fn delivered(&self) -> usize {
        self.check.accounted()
    }

    /// What was delivered, and what was told lost with nothing behind it as yet.
    fn accounted(&self) -> usize {
        self.check.accounted() + self.receiver.lost().saturating_sub(self.check.skipped()) as usize
    }

    /// Whether nothing more will come of what was sent.
    pub(crate) fn is_over(&self, now: Nanos) -> bool {
        self.accounted() >= self.count || (!self.repairs_loss && now > self.last_at + QUIET)
    }

    /// What it heard.
    ///
    /// # Errors
    ///
    /// Any violation.
    pub(crate) fn finish(mut self) -> Result<Heard, String> {
        // What comes once too often comes late.
        self.poll()?;
        self.check.so_far()?;
        let missing = self.count.saturating_sub(self.check.accounted()) as u64;
        let (lost, told) = (self.check.skipped() + missing, self.receiver.lost());
        if self.check.accounted() > self.count {
            return Err(format!("{} messages arrived of {}", self.check.accounted(), self.count));
        }
        if self.repairs_loss && lost != told {
            return Err(format!("{lost} of {} messages did not arrive, {told} were told lost", self.count));
        }
        let requests = self.receiver.requests();
        Ok(Heard { lost, requests, last_at: self.last_at, arrivals: self.arrivals })
    }
}
