//! Who is asked for what, and when again: several requests in flight, each about a packet, retried after a time-out that
//! follows the measured round trip.
//!
//! The time-out is RFC 6298's estimate, `SRTT + 4 × RTTVAR`, sampled only from requests that were sent once (Karn), with
//! a floor and a ceiling of its own, doubled per attempt and lengthened by up to a quarter at random so that subscribers
//! that lost the same packet do not ask in step. A time-out halves the number of requests in flight, an answer adds one, as
//! TCP's slow start does (RFC 5681): a responder that cannot keep up, or is gone, is not hammered.

use crate::{GapSet, Nanos, Random};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use seqcast_protocol::{SequenceNumber, SequenceRange};

/// The limits of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestConfig {
    /// How long a gap waits in any case, for packets that were overtaken on their own line. 0: not at all.
    pub delay: Nanos,
    /// The longest that a gap waits for a line that has yet to pass it; the wait itself is learned from how far the lines
    /// run apart. A line that lags for longer is not waited for. 10 ms: what the slowest request takes at first. 0: no line
    /// is waited for.
    pub max_line_wait: Nanos,
    /// The most requests in flight, `1..`; the first are 32, or fewer if this is less, and each answer adds one. 256 packets of
    /// 1,472 bytes are 377 kB: the pipe of a 10 Gbit/s path of 300 µs, which is what a responder takes that has to be woken on a
    /// busy core. A responder of ours remembers twice as many.
    pub in_flight: usize,
    /// The first time-out, before a round trip has been measured. 10 ms is above any path inside a data centre.
    pub initial_timeout: Nanos,
    /// The shortest time-out. 300 µs: scheduling noise of a blocking retransmitter thread on a busy host.
    pub min_timeout: Nanos,
    /// The longest time-out, and so the longest distance between two attempts. 20 ms: with the one request in flight that
    /// time-outs leave, a dead responder is asked 50 times a second.
    pub max_timeout: Nanos,
}

impl Default for RequestConfig {
    fn default() -> Self {
        Self {
            delay: Nanos::ZERO,
            max_line_wait: Nanos::from_millis(10),
            in_flight: 256,
            initial_timeout: Nanos::from_millis(10),
            min_timeout: Nanos::from_micros(300),
            max_timeout: Nanos::from_millis(20),
        }
    }
}

/// The most requests in flight before any was answered. 32 packets of 1,472 bytes are 47 kB, a quarter of the smallest receive
/// buffer in use.
const FIRST_IN_FLIGHT: usize = 32;

const NO_NUMBERS: SequenceRange = SequenceRange::new(0, 0);

/// One request that has not been answered.
#[derive(Clone, Copy, Debug)]
struct Outstanding {
    range: SequenceRange,
    target: usize,
    attempts: u32,
    sent_at: Nanos,
    retry_at: Nanos,
}

/// What to ask for, and whom: an index into the list of request addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) target: usize,
    pub(crate) range: SequenceRange,
    pub(crate) is_retry: bool,
}

/// Chooses what to ask for from what is missing.
///
/// Invariants: outstanding requests are sorted by their first number and disjoint, at most `config.in_flight` of them; what is
/// missing below `unasked_from` is covered by them, lies in `answered`, or is not retained by anybody.
#[derive(Clone, Debug)]
pub(crate) struct Requester {
    config: RequestConfig,
    outstanding: VecDeque<Outstanding>,
    unasked_from: SequenceNumber,
    /// From the lowest to the highest number of the requests that ended since something was asked for.
    answered: SequenceRange,
    /// For each target, the number below which it retains nothing any more, as far as it has said.
    oldest: Vec<SequenceNumber>,
    in_flight_limit: usize,
    /// An answer that begins below this number may be one to a request that is over, dropped or answered before: no measure
    /// of what was asked for in its place.
    ambiguous_below: SequenceNumber,
    /// When the limit may be halved again: one burst of time-outs counts once.
    halve_at: Nanos,
    round_trip: Option<RoundTrip>,
    /// Nothing is to be asked for again before.
    retry_due: Nanos,
    /// How much of what was missing had arrived when requests were last looked through for those that nothing is missing of.
    filled: u64,
    random: Random,
}

/// RFC 6298's estimator, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct RoundTrip {
    smoothed: u64,
    variation: u64,
}

/// From the lower first to the higher last number of two ranges, of which the first may be empty.
fn span(one: SequenceRange, other: SequenceRange) -> SequenceRange {
    match one.is_empty() {
        true => other,
        false => SequenceRange::new(one.start().min(other.start()), one.end().max(other.end())),
    }
}

impl Requester {
    pub(crate) fn new(config: RequestConfig, targets: usize, seed: u64) -> Self {
        let in_flight = config.in_flight.max(1);
        Self {
            config,
            outstanding: VecDeque::with_capacity(in_flight),
            unasked_from: 0,
            answered: NO_NUMBERS,
            oldest: alloc::vec![0; targets],
            in_flight_limit: in_flight.min(FIRST_IN_FLIGHT),
            ambiguous_below: 0,
            halve_at: Nanos::ZERO,
            round_trip: None,
            retry_due: Nanos::ZERO,
            filled: u64::MAX,
            random: Random::new(seed),
        }
    }

    pub(crate) fn has_targets(&self) -> bool {
        !self.oldest.is_empty()
    }

    /// The smoothed round trip, once one has been measured.
    pub(crate) fn round_trip(&self) -> Option<Nanos> {
        self.round_trip.map(|round_trip| Nanos(round_trip.smoothed))
    }

    /// Forgets all requests and what the targets retain; a new session begins.
    pub(crate) fn reset(&mut self) {
        self.outstanding.clear();
        (self.unasked_from, self.answered) = (0, NO_NUMBERS);
        self.oldest.fill(0);
        self.ambiguous_below = 0;
    }

    /// The next request that should leave now. `end` bounds what is worth asking for, `chunk` (at least 1) is the number
    /// of messages that about fit into a packet.
    pub(crate) fn poll(&mut self, now: Nanos, gaps: &GapSet, end: SequenceNumber, chunk: u64) -> Option<Ask> {
        self.retry(now, gaps, end, chunk).or_else(|| self.ask_anew(now, gaps, end, chunk))
    }

    /// Takes the answer `range` of `target`: ends the request that it answers and measures its round trip.
    pub(crate) fn handle_answer(&mut self, now: Nanos, target: usize, range: SequenceRange) {
        let index = self.first_above(range.start());
        let Some(request) = self.outstanding.get(index).copied().filter(|it| it.range.contains(range.start())) else {
            return;
        };
        self.end(index);
        self.in_flight_limit = (self.in_flight_limit + 1).min(self.config.in_flight.max(1));
        let is_fresh = request.attempts == 1 && request.range.start() >= self.ambiguous_below;
        if is_fresh && request.target == target && request.range.start() == range.start() {
            self.sample((now - request.sent_at).0);
        }
        self.ambiguous_below = self.ambiguous_below.max(range.start().saturating_add(1));
    }

    /// Takes the word of `target` that it retains nothing below `oldest`; returns whether it is to be believed: it answers
    /// an outstanding request that began below.
    pub(crate) fn handle_oldest(&mut self, target: usize, oldest: SequenceNumber) -> bool {
        let is_answer = |request: &Outstanding| request.target == target && request.range.start() < oldest;
        let ended = self.outstanding.iter().filter(|request| is_answer(request)).map(|request| request.range);
        let Some(ended) = ended.reduce(span) else { return false };
        // They may have been asked of other targets before, whose answers are no measure of what is asked in their place.
        self.ambiguous_below = self.ambiguous_below.max(ended.end());
        self.outstanding.retain(|request| !is_answer(request));
        self.answered = span(self.answered, ended);
        self.oldest[target] = self.oldest[target].max(oldest);
        true
    }

    /// The number below which no target retains anything any more; 0 as long as one has not said.
    pub(crate) fn oldest(&self) -> SequenceNumber {
        self.oldest.iter().copied().min().unwrap_or(0)
    }

    /// When the next retry is due.
    pub(crate) fn next_retry(&self) -> Option<Nanos> {
        self.outstanding.iter().map(|request| request.retry_at).min()
    }

    /// Whether an answer may still come.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.outstanding.is_empty()
    }

    fn retry(&mut self, now: Nanos, gaps: &GapSet, end: SequenceNumber, chunk: u64) -> Option<Ask> {
        if now < self.retry_due {
            return None;
        }
        let mut index = 0;
        while let Some(&request) = self.outstanding.get(index) {
            if request.retry_at > now {
                index += 1;
                continue;
            }
            let wanted = request.range.intersection(SequenceRange::new(0, end));
            let missing = gaps.first_within(wanted);
            if missing.is_some() && now >= self.halve_at {
                self.in_flight_limit = (self.in_flight_limit / 2).max(1);
                self.halve_at = now + self.timeout(1);
            }
            // What is above the limit is dropped here and asked for anew when there is room.
            let Some(missing) = missing.filter(|_| self.outstanding.len() <= self.in_flight_limit) else {
                self.ambiguous_below = self.ambiguous_below.max(request.range.end());
                self.end(index);
                continue;
            };
            let range = SequenceRange::with_count(missing.start(), missing.count().min(chunk));
            let attempts = request.attempts.saturating_add(1);
            let target = self.target_for(range.start(), request.target + 1);
            let retry_at = now + self.timeout(attempts);
            self.outstanding[index] = Outstanding { range, target, attempts, sent_at: now, retry_at };
            self.answered = span(self.answered, request.range);
            return Some(Ask { target, range, is_retry: true });
        }
        self.retry_due = self.next_retry().unwrap_or(Nanos::ZERO);
        None
    }

    fn ask_anew(&mut self, now: Nanos, gaps: &GapSet, end: SequenceNumber, chunk: u64) -> Option<Ask> {
        if !self.has_targets() || gaps.is_empty() {
            return None;
        }
        if self.outstanding.len() >= self.in_flight_limit {
            if self.filled == gaps.filled() {
                return None;
            }
            self.filled = gaps.filled();
            self.outstanding.retain(|request| gaps.first_within(request.range).is_some());
            if self.outstanding.len() >= self.in_flight_limit {
                return None;
            }
        }
        if let Some(missing) = gaps.first_within(core::mem::replace(&mut self.answered, NO_NUMBERS)) {
            self.unasked_from = self.unasked_from.min(missing.start());
        }
        let (index, range) = self.first_unasked(gaps, end)?;
        let range = SequenceRange::with_count(range.start(), range.count().min(chunk));
        self.unasked_from = range.end();
        let target = self.target_for(range.start(), 0);
        let retry_at = now + self.timeout(1);
        self.outstanding.insert(index, Outstanding { range, target, attempts: 1, sent_at: now, retry_at });
        self.retry_due = self.retry_due.min(retry_at);
        Some(Ask { target, range, is_retry: false })
    }

    /// The lowest missing numbers below `end` that somebody may retain and no outstanding request covers, and where such a
    /// request belongs.
    fn first_unasked(&self, gaps: &GapSet, end: SequenceNumber) -> Option<(usize, SequenceRange)> {
        let mut index = self.first_above(self.unasked_from);
        let oldest = self.oldest();
        for missing in gaps.above(self.unasked_from) {
            let mut start = missing.start().max(oldest).max(self.unasked_from);
            while start < missing.end().min(end) {
                match self.outstanding.get(index) {
                    Some(request) if request.range.end() <= start => index += 1,
                    Some(request) if request.range.start() <= start => start = request.range.end(),
                    next => {
                        let bound = next.map_or(end, |request| request.range.start().min(end));
                        return Some((index, SequenceRange::new(start, missing.end().min(bound))));
                    }
                }
            }
            if missing.end() >= end {
                break;
            }
        }
        None
    }

    /// Ends a request, whatever became of it.
    fn end(&mut self, index: usize) {
        if let Some(Outstanding { range, .. }) = self.outstanding.remove(index) {
            self.answered = span(self.answered, range);
        }
    }

    /// The index of the first request that ends above `number`.
    fn first_above(&self, number: SequenceNumber) -> usize {
        self.outstanding.partition_point(|request| request.range.end() <= number)
    }

    /// The first target from `preferred` on, around the circle, that may still retain `number`.
    fn target_for(&self, number: SequenceNumber, preferred: usize) -> usize {
        let targets = self.oldest.len();
        (preferred..preferred + targets)
            .map(|target| target % targets)
            .find(|&target| self.oldest[target] <= number)
            .unwrap_or(preferred % targets)
    }

    fn timeout(&mut self, attempts: u32) -> Nanos {
        let base = self.round_trip.map_or(self.config.initial_timeout.0, |round_trip| {
            round_trip.smoothed.saturating_add(round_trip.variation.saturating_mul(4))
        });
        let doubled = base.max(self.config.min_timeout.0).saturating_mul(1 << (attempts - 1).min(20));
        let timeout = doubled.min(self.config.max_timeout.0);
        Nanos(timeout + self.random.below(timeout / 4 + 1))
    }

    fn sample(&mut self, nanos: u64) {
        self.round_trip = Some(match self.round_trip {
            None => RoundTrip { smoothed: nanos, variation: nanos / 2 },
            Some(RoundTrip { smoothed, variation }) => RoundTrip {
                variation: variation - variation / 4 + smoothed.abs_diff(nanos) / 4,
                smoothed: smoothed - smoothed / 8 + nanos / 8,
            },
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> SequenceRange {
        SequenceRange::new(start, end)
    }

    fn missing(ranges: &[(u64, u64)]) -> GapSet {
        let mut gaps = GapSet::new(64);
        for &(start, end) in ranges {
            assert!(gaps.open(range(start, end)));
        }
        gaps
    }

    fn asks(requester: &mut Requester, now: Nanos, gaps: &GapSet, chunk: u64) -> Vec<(u64, u64)> {
        core::iter::from_fn(|| requester.poll(now, gaps, u64::MAX, chunk))
            .map(|ask| (ask.range.start(), ask.range.end()))
            .collect()
    }

    #[test]
    fn a_large_gap_is_asked_for_in_pieces_that_are_in_flight_at_once() {
        let mut requester = Requester::new(RequestConfig { in_flight: 3, ..RequestConfig::default() }, 1, 1);
        let gaps = missing(&[(1, 5), (7, 30)]);
        assert_eq!(asks(&mut requester, Nanos::ZERO, &gaps, 10), [(1, 5), (7, 17), (17, 27)]);
        requester.handle_answer(Nanos::from_micros(50), 0, range(7, 17));
        assert_eq!(requester.round_trip(), Some(Nanos::from_micros(50)));
    }

    #[test]
    fn a_partial_answer_is_completed_at_once() {
        let mut requester = Requester::new(RequestConfig::default(), 1, 1);
        let mut gaps = missing(&[(1, 9)]);
        assert_eq!(asks(&mut requester, Nanos::ZERO, &gaps, 100), [(1, 9)]);
        requester.handle_answer(Nanos::from_micros(50), 0, range(1, 4));
        gaps.fill(range(1, 4), |_| true);
        assert_eq!(asks(&mut requester, Nanos::from_micros(51), &gaps, 100), [(4, 9)]);
    }

    #[test]
    fn retries_wait_longer_each_time_and_go_round_the_targets() {
        let mut requester = Requester::new(RequestConfig::default(), 2, 1);
        let gaps = missing(&[(1, 2)]);
        let first = requester.poll(Nanos::ZERO, &gaps, u64::MAX, 1).unwrap();
        assert_eq!((first.target, first.is_retry), (0, false));
        let again = requester.next_retry().unwrap();
        assert!((10_000_000..=12_500_000).contains(&again.0), "{again:?}");
        assert_eq!(requester.poll(Nanos(again.0 - 1), &gaps, u64::MAX, 1), None);
        let second = requester.poll(again, &gaps, u64::MAX, 1).unwrap();
        assert_eq!((second.target, second.is_retry), (1, true));
        let wait = requester.next_retry().unwrap() - again;
        assert!((20_000_000..=25_000_000).contains(&wait.0), "{wait:?}");
    }

    #[test]
    fn a_target_that_no_longer_retains_a_number_is_not_asked_for_it() {
        let mut requester = Requester::new(RequestConfig::default(), 2, 1);
        let gaps = missing(&[(1, 2)]);
        assert!(!requester.handle_oldest(0, 50), "nobody asked");
        requester.poll(Nanos::ZERO, &gaps, u64::MAX, 1).unwrap();
        assert!(!requester.handle_oldest(1, 50), "somebody else was asked");
        assert!(!requester.handle_oldest(0, 1), "not above what was asked for");
        assert!(requester.handle_oldest(0, 50));
        assert_eq!(requester.oldest(), 0, "the other one may have it");
        assert_eq!(requester.poll(Nanos(1), &gaps, u64::MAX, 1).unwrap().target, 1);
        assert!(requester.handle_oldest(1, 40));
        assert_eq!(requester.oldest(), 40);
    }

    #[test]
    fn an_answer_to_a_request_that_another_target_ended_is_no_measure() {
        let mut requester = Requester::new(RequestConfig::default(), 2, 1);
        let gaps = missing(&[(1, 2)]);
        // Asked of 0, then of 1, then of 0 again, which does not retain it any more: so it is asked of 1 anew.
        for target in [0, 1, 0] {
            let at = requester.next_retry().unwrap_or(Nanos::ZERO);
            assert_eq!(requester.poll(at, &gaps, u64::MAX, 1).unwrap().target, target);
        }
        assert!(requester.handle_oldest(0, 50));
        let anew = requester.poll(Nanos::from_secs(1), &gaps, u64::MAX, 1).unwrap();
        assert_eq!((anew.target, anew.is_retry), (1, false));
        requester.handle_answer(Nanos::from_secs(1), 1, range(1, 2));
        assert_eq!(requester.round_trip(), None, "it may answer what 1 was asked before");
    }

    #[test]
    fn time_outs_halve_what_is_in_flight() {
        let mut requester = Requester::new(RequestConfig { in_flight: 32, ..RequestConfig::default() }, 1, 1);
        let gaps = missing(&[(1, 1_000)]);
        assert_eq!(asks(&mut requester, Nanos::ZERO, &gaps, 1).len(), 32);
        let again = asks(&mut requester, Nanos::from_secs(1), &gaps, 1);
        assert_eq!(again.len(), 16, "a burst of time-outs counts once, and what is above the limit waits");
        for number in 985..=1_000 {
            requester.handle_answer(Nanos::from_secs(1), 0, range(number, number + 1));
        }
        assert_eq!(requester.in_flight_limit, 16, "what was not asked for is no answer");
    }
}
