//! Impairment of a path on purpose: seeded loss in bursts, duplication, reordering and delay of datagrams.
//!
//! It is the `--impair` option of the command and the network of the simulation. [`ImpairmentConfig`] says what is to
//! happen, one [`Impairment`] does it to one path (a line, or the retransmissions). Which datagrams are hit depends on
//! nothing but the seed, the path's stream and how many datagrams came before: every datagram takes the same number of
//! draws, whatever the settings and whatever happens to it.
//!
//! **How to drive it.** Hand every datagram to [`Impairment::push`] and use it at once when that says
//! [`Verdict::Deliver`]; then take what [`Impairment::pop`] hands out until it has nothing; pop again at
//! [`Impairment::next_due`].
//!
//! ```
//! use seqcast_recovery::{Impairment, ImpairmentConfig, Nanos, Verdict};
//! let config: ImpairmentConfig = "loss=2%,burst=4,reorder=1%,delay=100us..2ms,seed=7".parse()?;
//! let mut path = Impairment::new(&config, 0);
//! let mut deliver = |_datagram: &[u8]| {};
//! let (now, datagram) = (Nanos::ZERO, b"datagram".as_slice());
//! if path.push(now, datagram) == Verdict::Deliver {
//!     deliver(datagram);
//! }
//! while let Some(datagram) = path.pop(now) {
//!     deliver(datagram);
//! }
//! # Ok::<(), seqcast_recovery::ImpairmentError>(())
//! ```
//!
//! It refuses to alter bytes: UDP's checksum turns an altered datagram into a lost one.

mod config;
#[cfg(test)]
mod tests;

pub use config::{ImpairmentConfig, ImpairmentError};

use crate::{Nanos, Random};
use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;

/// How many later datagrams can overtake a reordered one. Arbitrary: a switch that spreads over links swaps neighbours.
const FURTHEST_REORDER: u64 = 4;

/// The longest that a reordered datagram waits to be overtaken, so that the last one of a session comes through.
const REORDER_WAIT: Nanos = Nanos::from_millis(1);

/// The most copies that wait to be overtaken: two of each of the newest [`FURTHEST_REORDER`] + 1 datagrams, for older
/// ones have been overtaken that often.
const WAITING_LIMIT: usize = 2 * (FURTHEST_REORDER as usize + 1);

/// How many random numbers a datagram takes besides that of its loss: one for a second copy, three for each of the two.
const DRAWS_BEHIND_LOSS: u64 = 7;

/// The room in each buffer that is made at the start, in bytes: the datagram of a standard Ethernet frame, rounded up.
const FIRST_BUFFER_BYTES: usize = 2048;

/// What became of a datagram that was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It comes through now: the caller uses its own buffer, nothing was copied for it.
    Deliver,
    /// It was copied, and [`Impairment::pop`] hands it out when its time has come.
    Held,
    /// It is lost.
    Dropped,
}

/// What a path has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImpairmentCounters {
    /// Datagrams that were pushed.
    pub datagrams: u64,
    /// Datagrams that were lost.
    pub dropped: u64,
    /// Datagrams that came twice.
    pub duplicated: u64,
    /// Copies that waited to be overtaken.
    pub reordered: u64,
    /// Copies that were delayed by more than nothing.
    pub delayed: u64,
    /// Copies that came before their time, because [`Impairment::HELD_LIMIT`] was passed.
    pub early: u64,
}

/// A copy that waits to be overtaken.
#[derive(Debug)]
struct Waiting {
    /// How many later datagrams have yet to arrive, `1..=FURTHEST_REORDER`.
    overtakers: u64,
    /// When it would have come through.
    earliest: Nanos,
    /// When it comes through even if nothing has overtaken it.
    latest: Nanos,
    order: u64,
    buffer: usize,
}

/// One path, impaired.
///
/// A datagram that is not lost makes one copy, or two. A copy comes through after its delay; one that is reordered comes
/// right behind the last of those datagrams that overtake it, by their delay, at most 1 ms after its own delay. A second
/// copy draws a delay and a reordering of its own; without either it comes right behind the first. Copies that come
/// through at the same time do so in the order in which they arrived.
///
/// Losses follow the model of Gilbert (*Capacity of a burst-noise channel*, Bell System Technical Journal, 1960) with a
/// good state that loses nothing and a bad one that loses everything: it leaves the bad state with probability
/// `1 / burst` and enters it with `loss / (burst * (1 - loss))` per datagram, so that a share `loss` of them is lost, in
/// bursts of the mean length `burst`.
///
/// Memory is bounded by [`Impairment::HELD_LIMIT`] datagrams. Buffers are used again, so nothing is allocated once as
/// many and as long datagrams have been held as ever are; without a delay that is from the start, for datagrams of up to
/// 2048 bytes.
#[derive(Debug)]
pub struct Impairment {
    config: ImpairmentConfig,
    random: Random,
    /// Whether the last datagram was lost, and the probabilities with which the next one alters that.
    bad: bool,
    enter_bad: f64,
    leave_bad: f64,
    /// How many copies were given an order, which decides among those of the same time.
    order: u64,
    /// Copies whose time is known: that, their order, their buffer.
    timed: BinaryHeap<Reverse<(Nanos, u64, usize)>>,
    waiting: Vec<Waiting>,
    buffers: Vec<Vec<u8>>,
    free: Vec<usize>,
    counters: ImpairmentCounters,
}

impl Impairment {
    /// How many datagrams are held at most: what a line of 10 Gbit/s brings in 20 ms in datagrams of 1472 bytes, or
    /// 100,000 datagrams a second in 160 ms; then 24 MiB. Beyond it the earliest of them come before their time.
    pub const HELD_LIMIT: usize = 16_384;

    /// A path on which nothing has happened yet.
    ///
    /// Each `stream` of a seed has random numbers of its own; the same seed and stream hit the same datagrams again.
    ///
    /// # Panics
    ///
    /// When a value of `config` is outside of its interval ([`ImpairmentConfig::is_valid`]); parsed ones never are.
    #[must_use]
    pub fn new(config: &ImpairmentConfig, stream: u64) -> Self {
        assert!(config.is_valid(), "an impairment is outside of its interval: {config:?}");
        // Hashed twice, so that neither the streams of a seed nor neighbouring seeds share a stretch of numbers.
        let mut random = Random::new(Random::new(config.seed).next_u64().wrapping_add(stream));
        let mut random = Random::new(random.next_u64());
        let leave_bad = (1.0 / config.burst).min(1.0 - config.loss);
        let enter_bad = if config.loss < 1.0 { leave_bad * config.loss / (1.0 - config.loss) } else { 1.0 };
        let buffers = if config.is_none() { 0 } else { WAITING_LIMIT };
        Self {
            config: *config,
            // The state before the first datagram is drawn, too: the share of losses is right from the start.
            bad: random.unit() < config.loss,
            random,
            enter_bad,
            leave_bad,
            order: 0,
            timed: BinaryHeap::with_capacity(buffers),
            waiting: Vec::with_capacity(WAITING_LIMIT),
            buffers: (0..buffers).map(|_| Vec::with_capacity(FIRST_BUFFER_BYTES)).collect(),
            free: (0..buffers).collect(),
            counters: ImpairmentCounters::default(),
        }
    }

    /// Takes a datagram that arrived at `now`.
    ///
    /// The caller uses it at once on [`Verdict::Deliver`], and pops until there is nothing after every push: while more
    /// than [`Impairment::HELD_LIMIT`] are held, datagrams come through as if nothing were impaired.
    pub fn push(&mut self, now: Nanos, datagram: &[u8]) -> Verdict {
        let fate = self.draw();
        self.counters.datagrams += 1;
        if self.bad {
            self.counters.dropped += 1;
            return Verdict::Dropped;
        }
        if self.held() > Self::HELD_LIMIT {
            self.counters.early += 1;
            return Verdict::Deliver;
        }
        for waiting in &mut self.waiting {
            waiting.overtakers -= 1;
        }
        let [first, second] = fate.copies;
        let is_due = self.next_due().is_some_and(|due| due <= now);
        let verdict = if is_due || first.overtakers > 0 || first.delay > Nanos::ZERO {
            self.hold(now, datagram, first);
            Verdict::Held
        } else {
            Verdict::Deliver
        };
        if fate.duplicate {
            self.counters.duplicated += 1;
            self.hold(now, datagram, second);
        }
        self.release(now + first.delay);
        verdict
    }

    /// Hands out the next copy that is due at `now`, in the order of their times.
    pub fn pop(&mut self, now: Nanos) -> Option<&[u8]> {
        while let Some(index) = self.waiting.iter().position(|waiting| waiting.latest <= now) {
            let Waiting { latest, order, buffer, .. } = self.waiting.remove(index);
            self.timed.push(Reverse((latest, order, buffer)));
        }
        let &Reverse((due, _, buffer)) = self.timed.peek()?;
        if due > now {
            if self.held() <= Self::HELD_LIMIT {
                return None;
            }
            self.counters.early += 1;
        }
        self.timed.pop();
        self.free.push(buffer);
        Some(&self.buffers[buffer])
    }

    /// When [`Impairment::pop`] has something next, should nothing be pushed before; it may be in the past.
    #[must_use]
    pub fn next_due(&self) -> Option<Nanos> {
        if self.held() > Self::HELD_LIMIT {
            return Some(Nanos::ZERO);
        }
        let timed = self.timed.peek().map(|&Reverse((due, _, _))| due);
        self.waiting.iter().map(|waiting| waiting.latest).chain(timed).min()
    }

    /// How many copies are held, `0..=HELD_LIMIT + 2`; at most `HELD_LIMIT` after a caller has popped.
    #[must_use]
    pub fn held(&self) -> usize {
        self.timed.len() + self.waiting.len()
    }

    /// What has happened so far.
    #[must_use]
    pub const fn counters(&self) -> &ImpairmentCounters {
        &self.counters
    }

    /// Draws what becomes of the next datagram. Every call takes the same number of random numbers.
    fn draw(&mut self) -> Fate {
        let change = self.random.unit();
        self.bad = if self.bad { change >= self.leave_bad } else { change < self.enter_bad };
        let config = &self.config;
        if config.duplicate == 0.0 && config.reorder == 0.0 && config.delay == (Nanos::ZERO, Nanos::ZERO) {
            self.random.skip(DRAWS_BEHIND_LOSS);
            return Fate { duplicate: false, copies: [CopyFate { overtakers: 0, delay: Nanos::ZERO }; 2] };
        }
        let duplicate = self.random.unit() < self.config.duplicate;
        let (least, most) = self.config.delay;
        let copies = [(); 2].map(|()| {
            let is_reordered = self.random.unit() < self.config.reorder;
            let overtakers = 1 + self.random.below(FURTHEST_REORDER);
            let delay = least + Nanos(self.random.below((most - least).0 + 1));
            CopyFate { overtakers: if is_reordered { overtakers } else { 0 }, delay }
        });
        Fate { duplicate, copies }
    }

    fn hold(&mut self, now: Nanos, datagram: &[u8], fate: CopyFate) {
        let buffer = self.free.pop().unwrap_or_else(|| {
            self.buffers.push(Vec::with_capacity(datagram.len().max(FIRST_BUFFER_BYTES)));
            self.buffers.len() - 1
        });
        self.buffers[buffer].clear();
        self.buffers[buffer].extend_from_slice(datagram);
        self.order += 1;
        let (order, earliest) = (self.order, now + fate.delay);
        self.counters.delayed += u64::from(fate.delay > Nanos::ZERO);
        if fate.overtakers == 0 {
            self.timed.push(Reverse((earliest, order, buffer)));
        } else {
            self.counters.reordered += 1;
            let latest = earliest + REORDER_WAIT;
            self.waiting.push(Waiting { overtakers: fate.overtakers, earliest, latest, order, buffer });
        }
    }

    /// Gives a time to those that the newest datagram was the last to overtake: right behind it, where it comes through
    /// at `overtaken`.
    fn release(&mut self, overtaken: Nanos) {
        while let Some(index) = self.waiting.iter().position(|waiting| waiting.overtakers == 0) {
            let Waiting { earliest, latest, buffer, .. } = self.waiting.remove(index);
            self.order += 1;
            self.timed.push(Reverse((earliest.max(overtaken).min(latest), self.order, buffer)));
        }
    }
}

/// What becomes of a datagram, drawn as if it were not lost.
struct Fate {
    duplicate: bool,
    copies: [CopyFate; 2],
}

/// What becomes of one copy: how many datagrams overtake it, 0 for none, and its delay.
#[derive(Clone, Copy)]
struct CopyFate {
    overtakers: u64,
    delay: Nanos,
}
