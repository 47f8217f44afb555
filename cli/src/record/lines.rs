//! What lines bring, as it comes.

use super::recorder::Recorder;
use crate::interrupt::Interrupt;
use crate::live::{Limit, LiveLine};
use crate::progress::{Progress, count, thousands};
use seqcast_recovery::Nanos;
use seqcast_transport::{Clock, wait_readable};

/// The most datagrams taken from each line between two looks at signals. Arbitrary.
const DATAGRAMS_PER_CYCLE: usize = 256;

/// How long to wait for datagrams while the disk is busy and some wait for it. Arbitrary; few of them, each a chunk, would
/// use up the chunks.
pub(super) const BUSY_WAIT: Nanos = Nanos::from_millis(1);

/// Records until a limit is reached, the disk fails, or the user interrupts.
pub(super) fn record(lines: &mut [LiveLine], recorder: &mut Recorder, limit: Limit, interrupt: &Interrupt) {
    let fds: Vec<_> = lines.iter().map(LiveLine::fd).collect();
    let mut progress = Progress::of("datagrams");
    while !interrupt.is_raised() && !recorder.has_failed() && !limit.is_reached_by(recorder.taken()) {
        let Some(timeout) = limit.wait() else { break };
        if take(lines, recorder, limit) == 0 {
            let timeout = if recorder.flush() { timeout } else { timeout.min(BUSY_WAIT) };
            // A socket that cannot be waited for can still be asked.
            if wait_readable(&fds, Some(timeout)).is_err() {
                std::thread::yield_now();
            }
        }
        progress.update(Clock::now(), recorder.taken(), || {
            let drops = lines.iter().map(LiveLine::kernel_drops).sum();
            let dropped = format!("{} dropped by the kernel", thousands(drops));
            format!("{}, {dropped}, {} left out", count(recorder.taken(), "datagram"), thousands(recorder.overrun()))
        });
    }
    progress.clear();
}

/// Takes datagrams, from each line in turn so that they stay in order, and returns how many.
fn take(lines: &mut [LiveLine], recorder: &mut Recorder, limit: Limit) -> usize {
    let mut taken = 0;
    for _ in 0..DATAGRAMS_PER_CYCLE {
        let before = taken;
        for (interface, line) in (0..).zip(lines.iter_mut()) {
            if limit.is_reached_by(recorder.taken()) {
                return taken;
            }
            if let Some((time, datagram)) = line.receive() {
                recorder.take(interface, time, &datagram);
                taken += 1;
            }
        }
        if taken == before {
            break;
        }
    }
    taken
}
