//! When to break the silence: the first heartbeat soon after the last data, then at doubling distances up to a ceiling;
//! the end of session by the same rule, until its linger is over.

use crate::Nanos;
use seqcast_protocol::{Header, SequenceNumber, SessionId};

/// The distances of heartbeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeartbeatConfig {
    /// From the last data to the first heartbeat, at the most; half of it at the least. 1 ms: soon enough that the loss of the last packet before a pause is
    /// repaired within milliseconds, late enough that a busy line carries none.
    pub first: Nanos,
    /// The longest distance between two heartbeats. 100 ms: what others send at all times.
    pub ceiling: Nanos,
    /// How long the end of session is repeated, and requests are answered, after the last message.
    pub linger: Nanos,
    /// The linger ends early when nobody has asked for so long.
    pub linger_quiet: Nanos,
}

impl Default for HeartbeatConfig {
    fn default() -> Self {
        Self {
            first: Nanos::from_millis(1),
            ceiling: Nanos::from_millis(100),
            linger: Nanos::from_secs(5),
            linger_quiet: Nanos::from_secs(1),
        }
    }
}

/// Decides when a heartbeat or an end of session leaves, from what the publisher has sent.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    config: HeartbeatConfig,
    session: SessionId,
    sent: SequenceNumber,
    interval: Nanos,
    due: Nanos,
    /// When data was last seen to have been sent.
    active_at: Nanos,
    /// When it was last looked.
    looked_at: Nanos,
    ended_at: Option<Nanos>,
    last_request: Nanos,
}

impl Heartbeat {
    /// Starts at `now`, when nothing has been sent.
    #[must_use]
    pub fn new(config: HeartbeatConfig, session: SessionId, now: Nanos) -> Self {
        Self {
            config,
            session,
            sent: 0,
            interval: config.first,
            due: now + config.first,
            active_at: now,
            looked_at: now,
            ended_at: None,
            last_request: Nanos::ZERO,
        }
    }

    /// Notes that somebody has asked for messages.
    pub fn handle_request(&mut self, now: Nanos) {
        self.last_request = now;
    }

    /// What to send on every line now, if anything: `sent` is the number up to which the lines have carried the session,
    /// `ended` whether it is complete.
    pub fn poll(&mut self, now: Nanos, sent: SequenceNumber, ended: bool) -> Option<Header> {
        if sent != self.sent {
            self.sent = sent;
            self.active_at = now;
            // It may have been sent right behind the last look: whoever looks seldom is early rather than late.
            let unseen = (now - self.looked_at).min(Nanos(self.config.first.0 / 2));
            self.restart(now, self.config.first - unseen);
        }
        self.looked_at = now;
        if ended && self.ended_at.is_none() {
            self.ended_at = Some(now);
            self.restart(now, Nanos::ZERO);
        }
        if now < self.due {
            return None;
        }
        self.due = now + self.interval;
        self.interval = (self.interval + self.interval).min(self.config.ceiling);
        Some(if ended { Header::end_of_session(self.session, sent) } else { Header::heartbeat(self.session, sent) })
    }

    /// Whether [`Self::poll`] has been told of all this: `sent`, and whether the session has `ended`.
    #[must_use]
    pub fn knows(&self, sent: SequenceNumber, ended: bool) -> bool {
        sent == self.sent && ended == self.ended_at.is_some()
    }

    /// When the next one leaves if nothing is sent before.
    #[must_use]
    pub const fn due(&self) -> Nanos {
        self.due
    }

    /// How long nothing has been sent.
    #[must_use]
    pub fn idle_for(&self, now: Nanos) -> Nanos {
        now - self.active_at
    }

    /// Whether the end of session has been announced for long enough.
    #[must_use]
    pub fn is_finished(&self, now: Nanos) -> bool {
        self.ended_at.is_some_and(|ended_at| {
            let quiet = now - self.last_request.max(ended_at);
            now - ended_at >= self.config.linger || quiet >= self.config.linger_quiet
        })
    }

    fn restart(&mut self, now: Nanos, first: Nanos) {
        self.due = now + first;
        self.interval = self.config.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn times(heartbeat: &mut Heartbeat, until_ms: u64, sent: u64, ended: bool) -> Vec<u64> {
        (0..=until_ms * 10)
            .map(|tick| tick * 100)
            .filter(|&micros| heartbeat.poll(Nanos::from_micros(micros), sent, ended).is_some())
            .collect()
    }

    #[test]
    fn silence_is_broken_at_doubling_distances_up_to_the_ceiling() {
        let mut heartbeat = Heartbeat::new(HeartbeatConfig::default(), SessionId::UNKNOWN, Nanos::ZERO);
        let times = times(&mut heartbeat, 400, 1, false);
        assert_eq!(times, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 228_000, 328_000]);
    }

    #[test]
    fn new_data_puts_the_next_heartbeat_off() {
        let mut heartbeat = Heartbeat::new(HeartbeatConfig::default(), SessionId::UNKNOWN, Nanos::ZERO);
        for micros in 0..5_000 {
            assert_eq!(heartbeat.poll(Nanos::from_micros(micros), micros + 1, false), None);
        }
        assert!(heartbeat.poll(Nanos::from_micros(5_998), 5_000, false).is_some());
    }

    #[test]
    fn whoever_looks_seldom_is_early_rather_than_late() {
        for (looked_at, due) in [(600, 1_600), (1, 1_500)] {
            let mut heartbeat = Heartbeat::new(HeartbeatConfig::default(), SessionId::UNKNOWN, Nanos::ZERO);
            assert_eq!(heartbeat.poll(Nanos::from_micros(looked_at), 0, false), None);
            assert_eq!(heartbeat.poll(Nanos::from_micros(1_000), 1, false), None);
            assert_eq!(heartbeat.due(), Nanos::from_micros(due));
        }
    }

    #[test]
    fn the_end_is_announced_at_once_and_until_nobody_asks() {
        let mut heartbeat = Heartbeat::new(HeartbeatConfig::default(), SessionId::UNKNOWN, Nanos::ZERO);
        let end = Header::end_of_session(SessionId::UNKNOWN, 9);
        assert_eq!(heartbeat.poll(Nanos::ZERO, 9, true), Some(end));
        assert!(!heartbeat.is_finished(Nanos::from_millis(999)));
        heartbeat.handle_request(Nanos::from_millis(500));
        assert!(!heartbeat.is_finished(Nanos::from_millis(1_499)));
        assert!(heartbeat.is_finished(Nanos::from_millis(1_500)));
        heartbeat.handle_request(Nanos::from_millis(4_999));
        assert!(heartbeat.is_finished(Nanos::from_millis(5_000)));
    }
}
