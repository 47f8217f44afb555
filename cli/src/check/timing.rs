//! When packets come: how far apart, in what bursts, and how much receive buffer a burst needs.

use hdrhistogram::Histogram;
use seqcast_recovery::Nanos;

/// A burst is what comes within so much time.
const BURST: Nanos = Nanos::from_millis(1);

/// In how many steps that time moves on.
const STEPS: usize = 10;
const STEP: Nanos = Nanos(BURST.0 / STEPS as u64);

/// The longest distance that is told apart. Arbitrary, longer than a night.
const LONGEST: Nanos = Nanos::from_secs(100_000);

/// The most packets in a millisecond that are told apart: 64-byte frames on a line of 1 Tbit/s.
const MOST_PACKETS: u64 = 1_500_000;

/// `sk_buff`, aligned to a cache line (include/linux/skbuff.h).
const BUFFER_HEAD_BYTES: usize = 256;

/// `skb_shared_info`, aligned to a cache line; it stands behind the data.
const SHARED_INFO_BYTES: usize = 320;

/// The IPv4 and UDP headers, the link's, and what the sender of a datagram aligns them by (`hh_len + 15` of
/// `__ip_append_data`).
const HEADROOM_BYTES: usize = 20 + 8 + 16 + 15;

/// What the smallest data area has room for (`SKB_SMALL_HEAD_SIZE`).
const SMALL_BYTES: usize = 576;

/// What the kernel charges to a receive buffer for a datagram with a payload of so many bytes, its `truesize`.
///
/// That is `SKB_TRUESIZE` of `include/linux/skbuff.h`, with a data area as `__alloc_skb` gets it from the allocator: the
/// small one, or the next power of two. So it is on loopback up to 16 KiB of payload, and less beyond; the driver of a
/// network card may charge more.
pub(crate) const fn truesize(payload_bytes: usize) -> usize {
    const CACHE_LINE_BYTES: usize = 64;
    let area = (payload_bytes + HEADROOM_BYTES).next_multiple_of(CACHE_LINE_BYTES) + SHARED_INFO_BYTES;
    let area = if area <= SMALL_BYTES { SMALL_BYTES } else { area.next_power_of_two() };
    area + BUFFER_HEAD_BYTES
}

/// The receive buffer to ask for (`SO_RCVBUF`, `net.core.rmem_max`) so that it holds datagrams of this `truesize` in all:
/// half, as the kernel gives the double of what is asked (socket(7)).
pub(crate) const fn receive_buffer(truesize: u64) -> u64 {
    truesize.div_ceil(2)
}

/// What came within a millisecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Burst {
    pub(super) packets: u64,
    /// Their payload.
    pub(super) bytes: u64,
    /// What the kernel charges for them.
    pub(super) truesize: u64,
    /// The end of its last step.
    pub(super) end: Nanos,
}

/// Follows the times of one line.
#[derive(Debug)]
pub(super) struct Timing {
    last: Option<Nanos>,
    /// When the last packet came, if that was a heartbeat.
    last_heartbeat: Option<Nanos>,
    /// From one packet to the next.
    pub(super) distances: Histogram<u64>,
    /// From one heartbeat to the next, without a message between them.
    pub(super) heartbeats: Histogram<u64>,
    /// Packets in each millisecond that has any.
    pub(super) per_ms: Histogram<u64>,
    ms: u64,
    in_ms: u64,
    /// What came in step `n` at `n % STEPS`, for the last steps.
    steps: [Burst; STEPS],
    step: u64,
    /// The burst that needs the largest receive buffer.
    pub(super) largest: Burst,
}

impl Timing {
    pub(super) fn new() -> Self {
        let histogram = |most| Histogram::new_with_bounds(1, most, 3).expect("the bounds are in order");
        Self {
            last: None,
            last_heartbeat: None,
            distances: histogram(LONGEST.0),
            heartbeats: histogram(LONGEST.0),
            per_ms: histogram(MOST_PACKETS),
            ms: 0,
            in_ms: 0,
            steps: [Burst::default(); STEPS],
            step: 0,
            largest: Burst::default(),
        }
    }

    /// A packet has come.
    pub(super) fn handle(&mut self, time: Nanos, payload_bytes: usize, is_heartbeat: bool) {
        if let Some(last) = self.last.replace(time) {
            self.distances.saturating_record((time - last).0);
        }
        if is_heartbeat {
            if let Some(last) = self.last_heartbeat.replace(time) {
                self.heartbeats.saturating_record((time - last).0);
            }
        } else {
            self.last_heartbeat = None;
        }
        let ms = time.0 / BURST.0;
        if ms != self.ms {
            self.end_ms();
            self.ms = ms;
        }
        self.in_ms += 1;
        self.add_to_burst(time, payload_bytes);
    }

    /// Nothing more comes.
    pub(super) fn finish(&mut self) {
        self.end_ms();
    }

    fn end_ms(&mut self) {
        if self.in_ms > 0 {
            self.per_ms.saturating_record(self.in_ms);
            self.in_ms = 0;
        }
    }

    fn add_to_burst(&mut self, time: Nanos, payload_bytes: usize) {
        // Where time goes back, what comes belongs to the step that was the last.
        let step = (time.0 / STEP.0).max(self.step);
        for passed in (self.step + 1..=step).rev().take(STEPS) {
            self.steps[passed as usize % STEPS] = Burst::default();
        }
        self.step = step;
        let current = &mut self.steps[step as usize % STEPS];
        current.packets += 1;
        current.bytes += payload_bytes as u64;
        current.truesize += truesize(payload_bytes) as u64;
        let mut burst = Burst { end: Nanos(step.saturating_add(1).saturating_mul(STEP.0)), ..Burst::default() };
        for part in &self.steps {
            burst.packets += part.packets;
            burst.bytes += part.bytes;
            burst.truesize += part.truesize;
        }
        if burst.truesize > self.largest.truesize {
            self.largest = burst;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receive_buffer_of_4_mib_holds_what_the_kernel_lets_it_hold() {
        // Found by filling one: 3,640 datagrams of 1,400 bytes, 10,082 of 64.
        let held = |payload_bytes: usize| (2 * (4 << 20)) / truesize(payload_bytes);
        assert_eq!([held(1_400), held(64)], [3_640, 10_082]);
        // As SO_MEMINFO shows them on Linux 6.18.
        let charged = [0, 190, 200, 640, 700, 1_650, 2_000, 4_000, 9_000].map(truesize);
        assert_eq!(charged, [832, 832, 1_280, 1_280, 2_304, 2_304, 4_352, 8_448, 16_640]);
        assert_eq!(receive_buffer(2 * (4 << 20)), 4 << 20);
    }

    #[test]
    fn a_burst_is_found_wherever_a_millisecond_begins() {
        let mut timing = Timing::new();
        let start = Nanos::from_secs(1_700_000_000);
        // Alone, then three across the border of a millisecond, then alone.
        for micros in [0, 5_900, 6_000, 6_500, 9_000] {
            timing.handle(start + Nanos::from_micros(micros), 100, false);
        }
        timing.finish();
        let end = start + Nanos::from_micros(6_600);
        assert_eq!(timing.largest, Burst { packets: 3, bytes: 300, truesize: 3 * 832, end });
        assert_eq!((timing.per_ms.len(), timing.per_ms.max()), (4, 2));
        assert_eq!(timing.distances.len(), 4);
        assert!(timing.distances.equivalent(timing.distances.min(), 100_000));
    }

    #[test]
    fn heartbeats_are_timed_where_nothing_comes_between() {
        let mut timing = Timing::new();
        for (second, is_heartbeat) in [(1, true), (2, true), (3, false), (4, true), (6, true)] {
            timing.handle(Nanos::from_secs(second), 20, is_heartbeat);
        }
        assert_eq!(timing.heartbeats.len(), 2);
        assert!(timing.heartbeats.equivalent(timing.heartbeats.min(), 1_000_000_000));
    }

    #[test]
    fn time_that_goes_back_or_stands_at_its_end_does_no_harm() {
        let mut timing = Timing::new();
        for time in [Nanos::MAX, Nanos(5), Nanos::MAX, Nanos(0)] {
            timing.handle(time, 100, false);
        }
        timing.finish();
        assert_eq!(timing.largest.packets, 4);
    }
}
