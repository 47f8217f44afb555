//! Whether a session is heard: silence begins when no line has carried it for a given time.

use crate::Nanos;

/// Watches one session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Liveness {
    silent_after: Nanos,
    heard_at: Nanos,
    ever_heard: bool,
    is_silent: bool,
    /// Whether it was heard for the first time, or again, and nobody has been told.
    is_news: bool,
}

impl Liveness {
    pub(crate) fn new(silent_after: Nanos, now: Nanos) -> Self {
        Self { silent_after, heard_at: now, ever_heard: false, is_silent: false, is_news: false }
    }

    /// Watches another session, of which no line has carried anything yet.
    pub(crate) fn renew(&mut self) {
        (self.ever_heard, self.is_news) = (false, false);
    }

    /// Whether a line has ever carried the session.
    pub(crate) fn has_heard(&self) -> bool {
        self.ever_heard
    }

    /// Whether another packet would change nothing but the time, and nobody is owed news.
    pub(crate) fn is_as_before(&self) -> bool {
        self.ever_heard && !self.is_silent && !self.is_news
    }

    /// Notes a packet on a line.
    pub(crate) fn heard(&mut self, now: Nanos) {
        self.is_news |= self.is_silent || !self.ever_heard;
        self.heard_at = now;
        self.ever_heard = true;
        self.is_silent = false;
    }

    /// Returns, once, whether a packet was the first, or ended a silence.
    pub(crate) fn take_news(&mut self) -> bool {
        core::mem::take(&mut self.is_news)
    }

    /// Returns how long the silence is, once, when it has become one.
    pub(crate) fn poll(&mut self, now: Nanos) -> Option<Nanos> {
        let elapsed = now - self.heard_at;
        if self.is_silent || elapsed < self.silent_after {
            return None;
        }
        self.is_silent = true;
        Some(elapsed)
    }

    /// When the silence will begin.
    pub(crate) fn due(&self) -> Option<Nanos> {
        (!self.is_silent).then(|| self.heard_at + self.silent_after)
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.is_silent
    }
}
