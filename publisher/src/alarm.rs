//! What wakes a retransmitter that dozes: one system call of the publishing thread for each doze, none otherwise.

use seqcast_recovery::Doze;
use seqcast_transport::Waker;
use std::io;

/// Shared by a publisher and its retransmitter when they run on different threads.
#[derive(Debug)]
pub(crate) struct Alarm {
    pub(crate) doze: Doze,
    pub(crate) waker: Waker,
}

impl Alarm {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { doze: Doze::default(), waker: Waker::new()? })
    }

    /// Wakes the retransmitter if it dozes. What it is to notice stands in the ring.
    #[inline]
    pub(crate) fn sound(&self) {
        if self.doze.interrupt() {
            self.waker.wake();
        }
    }
}
