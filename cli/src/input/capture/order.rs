//! Puts the messages of one session in order: what comes twice is dropped, what comes early waits for what is missing.

use super::counters::CaptureCounters;
use super::record::Stamp;
use crate::feed::hash;
use seqcast_recovery::Nanos;
use std::collections::BTreeMap;

/// How long, in the capture's own time, a gap may wait for the other line or a retransmission; well above the round
/// trip and the retries of any venue, and short for one who watches a live capture.
const MAX_WAIT: Nanos = Nanos::from_secs(1);

/// How much may wait behind a gap; 32 ms of a full line of 1 Gbit/s.
const MAX_HELD_BYTES: usize = 4 << 20;

/// What an entry of the map costs besides its payload, roughly.
const ENTRY_BYTES: usize = 128;

/// How many of the last numbers are remembered by a hash of their bytes; a power of two, otherwise arbitrary.
const REMEMBERED: usize = 1 << 16;

/// The messages of a session that is followed.
///
/// Invariants: every held number is above `next`; `held_bytes` is what they cost together, at most
/// `MAX_HELD_BYTES` and one message.
#[derive(Debug)]
pub(super) struct Order {
    first: u64,
    next: u64,
    held: BTreeMap<u64, (Vec<u8>, Stamp)>,
    held_bytes: usize,
    waiting_since: Option<Nanos>,
    /// The hash of message `n` at `n % REMEMBERED`, for the last ones below `next`; 0 where `n` was passed as missing.
    hashes: Vec<u64>,
}

impl Order {
    /// Starts with number `first`.
    pub(super) fn new(first: u64) -> Self {
        Self {
            first,
            next: first,
            held: BTreeMap::new(),
            held_bytes: 0,
            waiting_since: None,
            hashes: vec![0; REMEMBERED],
        }
    }

    /// Takes a message as it comes; `true` when it is the next one, and so to be handed out at once.
    pub(super) fn is_next(
        &mut self,
        number: u64,
        payload: &[u8],
        stamp: Stamp,
        counters: &mut CaptureCounters,
    ) -> bool {
        if number == self.next {
            self.pass(payload);
            return true;
        }
        if number < self.next {
            *self.why_passed(number, payload, counters) += 1;
        } else if self.held.contains_key(&number) {
            counters.duplicates += 1;
        } else {
            if self.held.is_empty() {
                self.waiting_since = stamp.time;
            }
            self.held_bytes += payload.len() + ENTRY_BYTES;
            self.held.insert(number, (payload.to_vec(), stamp));
        }
        false
    }

    /// Takes the next message out of those that waited.
    pub(super) fn take_held(&mut self) -> Option<(Vec<u8>, Stamp)> {
        let first = self.held.first_entry().filter(|entry| *entry.key() == self.next)?;
        let (payload, stamp) = first.remove();
        self.held_bytes -= payload.len() + ENTRY_BYTES;
        self.waiting_since = self.held.first_key_value().and_then(|(_, (_, stamp))| stamp.time);
        self.pass(&payload);
        Some((payload, stamp))
    }

    /// Gives up the gap before the messages that wait, if they have waited long enough or are too many.
    pub(super) fn give_up_if_due(&mut self, now: Option<Nanos>, counters: &mut CaptureCounters) {
        let is_due = match (self.waiting_since, now) {
            (Some(since), Some(now)) => now - since > MAX_WAIT,
            _ => false,
        };
        if is_due || self.held_bytes > MAX_HELD_BYTES {
            self.give_up(counters);
        }
    }

    /// Gives up the gap before the messages that wait; `false` when none does.
    pub(super) fn give_up(&mut self, counters: &mut CaptureCounters) -> bool {
        let Some((&number, _)) = self.held.first_key_value() else {
            return false;
        };
        self.miss(number, counters);
        true
    }

    /// At the end of the capture: everything below `announced` that has not come is missing.
    pub(super) fn end(&mut self, announced: u64, counters: &mut CaptureCounters) {
        if announced > self.next {
            self.miss(announced, counters);
        }
    }

    fn miss(&mut self, next: u64, counters: &mut CaptureCounters) {
        let missing = next - self.next;
        counters.gaps += 1;
        counters.missing = counters.missing.saturating_add(missing);
        for number in next.saturating_sub(missing.min(REMEMBERED as u64))..next {
            self.hashes[slot(number)] = 0;
        }
        self.next = next;
    }

    fn pass(&mut self, payload: &[u8]) {
        self.hashes[slot(self.next)] = hash(payload);
        self.next += 1;
    }

    fn why_passed<'a>(&self, number: u64, payload: &[u8], counters: &'a mut CaptureCounters) -> &'a mut u64 {
        if number < self.first {
            return &mut counters.late;
        }
        if self.next - number > REMEMBERED as u64 {
            return &mut counters.duplicates;
        }
        match self.hashes[slot(number)] {
            0 => &mut counters.late,
            known if known == hash(payload) => &mut counters.duplicates,
            _ => &mut counters.conflicting,
        }
    }
}

fn slot(number: u64) -> usize {
    number as usize % REMEMBERED
}
