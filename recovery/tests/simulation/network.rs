//! What carries datagrams: a queue of happenings in time, and paths that lose, double, reorder, delay and black out.

use crate::plan::PathPlan;
use seqcast_protocol::{HEADER_BYTES, LENGTH_BYTES, Packet, SequenceNumber, SequenceRange};
use seqcast_recovery::{Impairment, Nanos, Verdict};
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeSet, BinaryHeap};

/// What is to happen, by time; at the same time, in the order in which it was scheduled.
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<Scheduled<T>>>,
    order: u64,
}

struct Scheduled<T> {
    at: Nanos,
    order: u64,
    what: T,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), order: 0 }
    }

    pub(crate) fn schedule(&mut self, at: Nanos, what: T) {
        self.order += 1;
        self.heap.push(Reverse(Scheduled { at, order: self.order, what }));
    }

    pub(crate) fn pop(&mut self) -> Option<(Nanos, T)> {
        self.heap.pop().map(|Reverse(Scheduled { at, what, .. })| (at, what))
    }
}

impl<T> Ord for Scheduled<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl<T> PartialOrd for Scheduled<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Scheduled<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Scheduled<T> {}

/// One path: what goes in comes out after its latency, or not.
pub(crate) struct Path {
    plan: PathPlan,
    impairment: Impairment,
    clean_from: Nanos,
    loses: Vec<SequenceNumber>,
    flips: Option<SequenceNumber>,
    /// Whether message `n` came through in any packet, at `n`.
    carried: Vec<bool>,
    /// When it is to be popped next, as far as that was scheduled.
    release_at: Option<Nanos>,
}

impl Path {
    /// Each `stream` has random numbers of its own.
    pub(crate) fn new(plan: &PathPlan, stream: u64, clean_from: Nanos) -> Self {
        Self {
            impairment: Impairment::new(&plan.impairment, stream),
            loses: plan.loses.clone(),
            flips: plan.flips,
            carried: vec![],
            plan: plan.clone(),
            clean_from,
            release_at: None,
        }
    }

    pub(crate) fn latency(&self) -> Nanos {
        self.plan.latency
    }

    /// Takes one datagram; `through` gets what leaves the impairment now, to arrive after the latency.
    pub(crate) fn push(&mut self, now: Nanos, datagram: &[u8], mut through: impl FnMut(&[u8])) {
        let altered = self.altered(datagram);
        let datagram = altered.as_deref().unwrap_or(datagram);
        let is_black = self.plan.blackouts.iter().any(|black| black.contains(&now));
        let verdict = match () {
            () if self.loses_on_purpose(datagram) => Verdict::Dropped,
            () if now >= self.clean_from => Verdict::Deliver,
            () if is_black => Verdict::Dropped,
            () => self.impairment.push(now, datagram),
        };
        if verdict != Verdict::Dropped
            && let Ok(packet) = Packet::parse(datagram)
        {
            let (start, end) = (packet.range().start() as usize, packet.range().end() as usize);
            self.carried.resize(self.carried.len().max(end), false);
            self.carried[start..end].fill(true);
        }
        if verdict == Verdict::Deliver {
            through(datagram);
        }
        self.pop(now, through);
    }

    /// Hands `through` what the impairment has held until now.
    pub(crate) fn pop(&mut self, now: Nanos, mut through: impl FnMut(&[u8])) {
        if self.release_at.is_some_and(|at| at <= now) {
            self.release_at = None;
        }
        while let Some(datagram) = self.impairment.pop(now) {
            through(datagram);
        }
    }

    /// When to pop next, if that has not been scheduled yet.
    pub(crate) fn next_release(&mut self) -> Option<Nanos> {
        let due = self.impairment.next_due()?;
        if self.release_at.is_some_and(|at| at <= due) {
            return None;
        }
        self.release_at = Some(due);
        Some(due)
    }

    /// The numbers of `range` that no packet brought through.
    pub(crate) fn lost(&self, range: SequenceRange) -> BTreeSet<SequenceNumber> {
        let is_carried = |number: &SequenceNumber| self.carried.get(*number as usize).is_some_and(|&carried| carried);
        (range.start()..range.end()).filter(|number| !is_carried(number)).collect()
    }

    fn loses_on_purpose(&mut self, datagram: &[u8]) -> bool {
        if self.loses.is_empty() {
            return false;
        }
        let Ok(packet) = Packet::parse(datagram) else { return false };
        let before = self.loses.len();
        self.loses.retain(|&number| !packet.range().contains(number));
        self.loses.len() < before
    }

    fn altered(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        let number = self.flips?;
        let packet = Packet::parse(datagram).ok().filter(|packet| packet.range().contains(number))?;
        let until = (number + 1 - packet.sequence()) as usize;
        let bytes: usize = packet.messages().take(until).map(|message| LENGTH_BYTES + message.len()).sum();
        let mut altered = datagram.to_vec();
        altered[HEADER_BYTES + bytes - 1] ^= 1;
        self.flips = None;
        Some(altered)
    }
}
