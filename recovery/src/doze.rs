//! How a retransmitter can sleep for long and still be woken by the first data: at no cost while it is awake.
//!
//! Whoever serves looks by itself, now and then, whether data was sent. When nothing was for long, it announces that it
//! dozes, looks once more, and sleeps. Whoever publishes marks what it has sent, then looks whether somebody dozes, and
//! wakes it. In order, with a fence on either side:
//!
//! ```text
//! serving:      store dozes   fence   load sent     news: do not sleep
//! publishing:   store sent    fence   load dozes    dozes: wake
//! ```
//!
//! Both fences are sequentially consistent, so one comes first. If the serving side's does, the publishing side's load
//! comes behind it and sees the doze; if the publishing side's does, the serving side's load sees what was sent. So it
//! never happens that nobody notices. That both do is possible and harmless: the sleep ends at once.

use crate::ring::sync::{AtomicU64, Ordering, fence};

/// Whether somebody dozes; shared by who serves and who publishes.
#[derive(Debug, Default)]
pub struct Doze {
    /// 1 while it does.
    dozes: AtomicU64,
}

impl Doze {
    /// Announces a doze. The caller then looks again for what would keep it awake, and only if there is nothing sleeps
    /// until it is woken.
    pub fn begin(&self) {
        self.dozes.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Takes the announcement back; returns whether a wake-up has come, or is on its way.
    pub fn end(&self) -> bool {
        self.dozes.swap(0, Ordering::Relaxed) == 0
    }

    /// Whether the caller, who has changed what would keep the other side awake, has to wake it; once in a doze.
    #[must_use]
    #[inline]
    pub fn interrupt(&self) -> bool {
        fence(Ordering::SeqCst);
        self.dozes.load(Ordering::Relaxed) == 1 && self.dozes.swap(0, Ordering::Relaxed) == 1
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_doze_is_interrupted_once() {
        let doze = Doze::default();
        assert!(!doze.interrupt());
        doze.begin();
        assert!(doze.interrupt() && !doze.interrupt());
        assert!(doze.end(), "it was interrupted");
        doze.begin();
        assert!(!doze.end());
        assert!(!doze.interrupt());
    }
}
