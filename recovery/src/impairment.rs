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

use crate::{Nanos, Random};
use alloc::borrow::ToOwned;
use alloc::collections::BinaryHeap;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::fmt;
use core::ops::RangeInclusive;
use core::str::FromStr;

/// The longest delay that can be set. Arbitrary: twice around the world takes less than a second.
const LONGEST_DELAY: Nanos = Nanos::from_secs(60);

/// The longest mean burst that can be set, in datagrams. Arbitrary: at 100,000 datagrams a second it is ten seconds.
const LONGEST_BURST: f64 = 1e6;

/// How many later datagrams can overtake a reordered one. Arbitrary: a switch that spreads over links swaps neighbours.
const FURTHEST_REORDER: u64 = 4;

/// The longest that a reordered datagram waits to be overtaken, so that the last one of a session comes through.
const REORDER_WAIT: Nanos = Nanos::from_millis(1);

/// The most copies that wait to be overtaken: two of each of the newest [`FURTHEST_REORDER`] + 1 datagrams, for older
/// ones have been overtaken that often.
const WAITING_LIMIT: usize = 2 * (FURTHEST_REORDER as usize + 1);

/// The room in each buffer that is made at the start, in bytes: the datagram of a standard Ethernet frame, rounded up.
const FIRST_BUFFER_BYTES: usize = 2048;

/// What happens to the datagrams of a path; by default nothing.
///
/// As text it is `loss=2%,burst=4,duplicate=1%,reorder=1%,delay=100us..2ms,seed=7`: any of these keys, each at most
/// once, in any order, or `none`. A probability is a percentage or a plain fraction, a delay a time or a range of times
/// (see [`parse_duration`]). `Display` writes the same form back, without the keys that are at their default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImpairmentConfig {
    /// The share of datagrams that are lost, `0..=1`.
    pub loss: f64,
    /// The mean length of a burst of losses, in datagrams, `1..=1000000`.
    ///
    /// A value below `1 / (1 - loss)`, the mean that independent losses have, stands for independent losses; so does the
    /// default of 1.
    pub burst: f64,
    /// The probability that a datagram comes twice, `0..=1`.
    pub duplicate: f64,
    /// The probability that a copy waits until 1 to 4 later datagrams have arrived, or for 1 ms, `0..=1`.
    pub reorder: f64,
    /// The least and the most by which a copy is delayed, each copy by a draw of its own (so that a range reorders, too);
    /// `0 <= least <= most <= 60 s`.
    pub delay: (Nanos, Nanos),
    /// Where the random numbers start; every seed is as good as any other.
    pub seed: u64,
}

impl Default for ImpairmentConfig {
    fn default() -> Self {
        Self { loss: 0.0, burst: 1.0, duplicate: 0.0, reorder: 0.0, delay: (Nanos::ZERO, Nanos::ZERO), seed: 0 }
    }
}

impl ImpairmentConfig {
    /// Whether every datagram comes through as it is, whatever the seed.
    #[must_use]
    pub fn is_none(&self) -> bool {
        let Self { loss, burst: _, duplicate, reorder, delay, seed: _ } = *self;
        loss == 0.0 && duplicate == 0.0 && reorder == 0.0 && delay.1 == Nanos::ZERO
    }

    /// Whether every value is in the interval that its field names.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let Self { loss, burst, duplicate, reorder, delay, seed: _ } = *self;
        [loss, duplicate, reorder].iter().all(|probability| (0.0..=1.0).contains(probability))
            && (1.0..=LONGEST_BURST).contains(&burst)
            && delay.0 <= delay.1
            && delay.1 <= LONGEST_DELAY
    }
}

/// The settings by name, as text gives them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Loss,
    Burst,
    Duplicate,
    Reorder,
    Delay,
    Seed,
}

impl Key {
    const ALL: [Self; 6] = [Self::Loss, Self::Burst, Self::Duplicate, Self::Reorder, Self::Delay, Self::Seed];

    const fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Burst => "burst",
            Self::Duplicate => "duplicate",
            Self::Reorder => "reorder",
            Self::Delay => "delay",
            Self::Seed => "seed",
        }
    }

    const fn allowed(self) -> &'static str {
        match self {
            Self::Loss | Self::Duplicate | Self::Reorder => "0% to 100%, or a fraction from 0 to 1",
            Self::Burst => "a mean number of datagrams from 1 to 1000000",
            Self::Delay => "a time such as 100us or a range such as 100us..2ms, up to 60s",
            Self::Seed => "a whole number from 0 to 18446744073709551615",
        }
    }
}

/// Why text does not say what is to happen to a path.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImpairmentError {
    /// There is no setting of this name.
    UnknownKey {
        /// The name.
        key: String,
    },
    /// The same setting is given twice.
    RepeatedKey {
        /// Its name.
        key: &'static str,
    },
    /// A setting has no value, or one that it cannot have.
    Value {
        /// The name of the setting.
        key: &'static str,
        /// The value; empty when there is none.
        value: String,
        /// The values that it can have, in words.
        allowed: &'static str,
    },
}

impl fmt::Display for ImpairmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey { key } => {
                write!(f, "'{key}' is not an impairment: give none, or any of")?;
                Key::ALL
                    .iter()
                    .enumerate()
                    .try_for_each(|(index, key)| write!(f, "{}{}=", if index == 0 { " " } else { ", " }, key.name()))
            }
            Self::RepeatedKey { key } => write!(f, "'{key}' is given more than once"),
            Self::Value { key, value, allowed } => write!(f, "'{key}' cannot be '{value}': it is {allowed}"),
        }
    }
}

impl core::error::Error for ImpairmentError {}

impl FromStr for ImpairmentConfig {
    type Err = ImpairmentError;

    /// Parses the form that [`ImpairmentConfig`] describes.
    ///
    /// # Errors
    ///
    /// Names the setting that is unknown, repeated, or has a value that it cannot have.
    fn from_str(text: &str) -> Result<Self, ImpairmentError> {
        let mut config = Self::default();
        if text == "none" {
            return Ok(config);
        }
        let mut given = [false; Key::ALL.len()];
        for setting in text.split(',') {
            let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
            let Some(key) = Key::ALL.into_iter().find(|key| key.name() == name) else {
                return Err(ImpairmentError::UnknownKey { key: name.to_owned() });
            };
            if core::mem::replace(&mut given[key as usize], true) {
                return Err(ImpairmentError::RepeatedKey { key: key.name() });
            }
            config.set(key, value).ok_or_else(|| ImpairmentError::Value {
                key: key.name(),
                value: value.to_owned(),
                allowed: key.allowed(),
            })?;
        }
        Ok(config)
    }
}

impl ImpairmentConfig {
    fn set(&mut self, key: Key, value: &str) -> Option<()> {
        match key {
            Key::Loss => self.loss = parse_probability(value)?,
            Key::Burst => self.burst = parse_within(value, 1.0..=LONGEST_BURST)?,
            Key::Duplicate => self.duplicate = parse_probability(value)?,
            Key::Reorder => self.reorder = parse_probability(value)?,
            Key::Delay => {
                let (least, most) = value.split_once("..").unwrap_or((value, value));
                self.delay = (parse_duration(least).ok()?, parse_duration(most).ok()?);
            }
            Key::Seed => self.seed = value.parse().ok()?,
        }
        self.is_valid().then_some(())
    }
}

fn parse_within(text: &str, allowed: RangeInclusive<f64>) -> Option<f64> {
    text.parse().ok().filter(|value| allowed.contains(value))
}

fn parse_probability(text: &str) -> Option<f64> {
    match text.strip_suffix('%') {
        Some(percent) => parse_within(percent, 0.0..=100.0).map(|percent| percent / 100.0),
        None => parse_within(text, 0.0..=1.0),
    }
}

impl fmt::Display for ImpairmentConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let default = Self::default();
        let settings: [(Key, bool, &dyn fmt::Display); 6] = [
            (Key::Loss, self.loss != default.loss, &Probability(self.loss)),
            (Key::Burst, self.burst != default.burst, &self.burst),
            (Key::Duplicate, self.duplicate != default.duplicate, &Probability(self.duplicate)),
            (Key::Reorder, self.reorder != default.reorder, &Probability(self.reorder)),
            (Key::Delay, self.delay != default.delay, &Times(self.delay)),
            (Key::Seed, self.seed != default.seed, &self.seed),
        ];
        let mut separator = "";
        for (key, _, value) in settings.into_iter().filter(|&(_, is_given, _)| is_given) {
            write!(f, "{separator}{}={value}", key.name())?;
            separator = ",";
        }
        if separator.is_empty() { f.write_str("none") } else { Ok(()) }
    }
}

/// Writes a probability as a percentage where a millionth of a percent is fine enough to read it back unaltered, else
/// as a fraction.
struct Probability(f64);

impl fmt::Display for Probability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = (self.0 * 1e8 + 0.5) as u64 as f64 / 1e6;
        if percent / 100.0 == self.0 { write!(f, "{percent}%") } else { write!(f, "{}", self.0) }
    }
}

/// The units of time that text can have, in nanoseconds, the longest first; the first of equal ones is written.
const UNITS: [(&str, u64); 7] = [
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ns", 1),
];

/// Writes a time in the longest unit of which it is a whole number.
struct Time(Nanos);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Nanos(time)) = *self;
        let is_whole = |&(_, nanos): &(_, u64)| time >= nanos && time.is_multiple_of(nanos);
        let (unit, nanos) = UNITS.into_iter().find(is_whole).unwrap_or(("s", 1));
        write!(f, "{}{unit}", time / nanos)
    }
}

/// Writes a range of times, or the one time that it consists of.
struct Times((Nanos, Nanos));

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self((least, most)) = *self;
        if least == most { write!(f, "{}", Time(least)) } else { write!(f, "{}..{}", Time(least), Time(most)) }
    }
}

/// Why text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DurationError {
    /// It does not start with a decimal number.
    Number,
    /// The number is not followed by a unit, or by none that is known.
    Unit,
    /// It is not a whole number of nanoseconds.
    TooFine,
    /// It does not fit into 64 bits of nanoseconds, 584 years.
    TooLong,
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => "a duration is a decimal number and a unit, such as 1.5ms",
            Self::Unit => "a duration has one of the units ns, us, ms, s, m",
            Self::TooFine => "a duration is a whole number of nanoseconds",
            Self::TooLong => "a duration is at most 584 years",
        })
    }
}

impl core::error::Error for DurationError {}

/// Parses a duration: a decimal number, directly followed by `ns`, `us` (or `µs`), `ms`, `s` or `m` (minutes).
///
/// # Errors
///
/// Says what is wrong with `text`: its number, its unit, that it is finer than a nanosecond, or too long.
///
/// ```
/// use seqcast_recovery::{DurationError, Nanos, parse_duration};
/// assert_eq!(parse_duration("1.5ms"), Ok(Nanos::from_micros(1_500)));
/// assert_eq!(parse_duration("10"), Err(DurationError::Unit));
/// ```
pub fn parse_duration(text: &str) -> Result<Nanos, DurationError> {
    let number_bytes = text.bytes().take_while(|&byte| byte.is_ascii_digit() || byte == b'.').count();
    let (number, unit) = text.split_at(number_bytes);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return Err(DurationError::Number);
    }
    let (_, unit) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or(DurationError::Unit)?;
    let whole: u64 = whole.parse().map_err(|_| DurationError::TooLong)?;
    let fraction = fraction.trim_end_matches('0');
    // No unit has a nanosecond beyond the eleventh decimal; eighteen digits keep the products within 128 bits.
    if fraction.len() > 18 {
        return Err(DurationError::TooFine);
    }
    let numerator = fraction.bytes().fold(0, |sum, digit| sum * 10 + u128::from(digit - b'0')) * u128::from(unit);
    let denominator = 10u128.pow(fraction.len() as u32);
    if !numerator.is_multiple_of(denominator) {
        return Err(DurationError::TooFine);
    }
    let nanos = u128::from(whole) * u128::from(unit) + numerator / denominator;
    u64::try_from(nanos).map(Nanos).map_err(|_| DurationError::TooLong)
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;
    use std::{format, vec};

    fn config(text: &str) -> ImpairmentConfig {
        text.parse().unwrap()
    }

    /// Sends datagrams 0..count, one each `interval`, and returns what comes through, and when.
    fn run(path: &mut Impairment, count: u32, interval: Nanos) -> Vec<(Nanos, u32)> {
        let read = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
        let mut delivered = vec![];
        let mut now = Nanos::ZERO;
        for number in 0..count {
            while let Some(due) = path.next_due().filter(|&due| due < now) {
                delivered.push((due, read(path.pop(due).unwrap())));
            }
            if path.push(now, &number.to_be_bytes()) == Verdict::Deliver {
                delivered.push((now, number));
            }
            while let Some(bytes) = path.pop(now) {
                delivered.push((now, read(bytes)));
            }
            now = now + interval;
        }
        while let Some(due) = path.next_due() {
            delivered.push((due, read(path.pop(due).unwrap())));
        }
        delivered
    }

    fn numbers(delivered: &[(Nanos, u32)]) -> Vec<u32> {
        delivered.iter().map(|&(_, number)| number).collect()
    }

    /// The lengths of the runs of numbers below `count` that are missing.
    fn bursts(delivered: &[(Nanos, u32)], count: u32) -> Vec<u32> {
        let mut bursts = vec![];
        let mut next = 0;
        for number in delivered.iter().map(|&(_, number)| number).chain([count]) {
            if number > next {
                bursts.push(number - next);
            }
            next = number + 1;
        }
        bursts
    }

    #[test]
    fn losses_have_the_share_and_the_mean_burst_asked_for() {
        const COUNT: u32 = 200_000;
        for (loss, burst, expected_burst) in [
            (0.02, 4.0, 4.0),
            (0.10, 2.0, 2.0),
            (0.30, 10.0, 10.0),
            (0.01, 1.0, 1.0 / 0.99),
            (0.20, 1.0, 1.0 / 0.80),
            (0.60, 1.0, 1.0 / 0.40),
        ] {
            for seed in 0..4 {
                let config = ImpairmentConfig { loss, burst, seed, ..ImpairmentConfig::default() };
                let mut path = Impairment::new(&config, 1);
                let bursts = bursts(&run(&mut path, COUNT, Nanos(1)), COUNT);
                let lost: u32 = bursts.iter().sum();
                assert_eq!(u64::from(lost), path.counters().dropped);
                let share = f64::from(lost) / f64::from(COUNT);
                let mean = f64::from(lost) / bursts.len() as f64;
                assert!((share / loss - 1.0).abs() < 0.1, "{config}: lost {share}");
                assert!((mean / expected_burst - 1.0).abs() < 0.1, "{config}: mean burst {mean}");
            }
        }
    }

    #[test]
    fn the_first_datagram_is_as_likely_lost_as_any_other() {
        let is_lost = |seed| {
            let config = ImpairmentConfig { seed, ..config("loss=10%,burst=100") };
            Impairment::new(&config, 0).push(Nanos::ZERO, b"first") == Verdict::Dropped
        };
        let lost = (0..10_000).filter(|&seed| is_lost(seed)).count();
        assert!((900..1_100).contains(&lost), "{lost} of 10000");
    }

    #[test]
    fn everything_and_nothing_can_be_lost() {
        let mut path = Impairment::new(&config("loss=100%,burst=3"), 0);
        assert_eq!(run(&mut path, 1_000, Nanos(1)), []);
        let mut path = Impairment::new(&config("none"), 0);
        assert_eq!(numbers(&run(&mut path, 1_000, Nanos(1))), (0..1_000).collect::<Vec<_>>());
        assert_eq!(*path.counters(), ImpairmentCounters { datagrams: 1_000, ..ImpairmentCounters::default() });
    }

    #[test]
    fn the_same_seed_and_stream_do_the_same_again_and_others_do_not() {
        let text = "loss=10%,burst=2,duplicate=5%,reorder=5%,delay=1us..9us";
        let deliver = |seed: u64, stream| {
            let config = ImpairmentConfig { seed, ..config(text) };
            run(&mut Impairment::new(&config, stream), 2_000, Nanos::from_micros(1))
        };
        assert_eq!(deliver(7, 0), deliver(7, 0));
        assert_ne!(deliver(7, 0), deliver(7, 1));
        assert_ne!(deliver(7, 0), deliver(8, 0));
        assert_ne!(deliver(7, 7), deliver(8, 8));
    }

    #[test]
    fn a_datagram_is_lost_or_not_whatever_else_is_set_and_whenever_it_comes() {
        let lost = |text: &str, interval| {
            let mut path = Impairment::new(&config(text), 3);
            let delivered = numbers(&run(&mut path, 2_000, interval));
            (0..2_000).filter(|number| !delivered.contains(number)).collect::<Vec<_>>()
        };
        let alone = lost("loss=5%,seed=7", Nanos(1));
        assert!(!alone.is_empty());
        assert_eq!(lost("loss=5%,seed=7,duplicate=50%,reorder=50%,delay=1us..1ms", Nanos(1)), alone);
        assert_eq!(lost("loss=5%,seed=7,duplicate=50%,reorder=50%", Nanos::from_millis(1)), alone);
    }

    #[test]
    fn what_is_not_lost_comes_through_once_or_twice() {
        for text in [
            "duplicate=10%,reorder=20%",
            "duplicate=100%,reorder=100%",
            "duplicate=30%,reorder=30%,delay=0ns..3ms,seed=9",
            "loss=20%,burst=3,duplicate=30%,reorder=30%,delay=5us",
        ] {
            for interval in [Nanos::ZERO, Nanos::from_micros(3), Nanos::from_millis(2)] {
                let mut path = Impairment::new(&config(text), 0);
                let delivered = run(&mut path, 20_000, interval);
                let mut times = vec![0; 20_000];
                for &(_, number) in &delivered {
                    times[number as usize] += 1;
                }
                let of = |wanted| times.iter().filter(|&&times| times == wanted).count() as u64;
                let counters = *path.counters();
                assert_eq!((counters.dropped, counters.duplicated), (of(0), of(2)), "{text} {interval:?}");
                assert_eq!(of(0) + of(1) + of(2), 20_000);
                assert_eq!(path.held(), 0);
                assert!(delivered.is_sorted_by_key(|&(at, _)| at), "{text} {interval:?}");
            }
        }
    }

    #[test]
    fn a_second_copy_comes_right_behind_the_first() {
        let mut path = Impairment::new(&config("duplicate=100%"), 0);
        assert_eq!(numbers(&run(&mut path, 3, Nanos(1))), [0, 0, 1, 1, 2, 2]);
        let mut path = Impairment::new(&config("duplicate=100%,delay=1ms"), 0);
        assert_eq!(numbers(&run(&mut path, 3, Nanos(1))), [0, 0, 1, 1, 2, 2]);
    }

    #[test]
    fn a_reordered_datagram_is_overtaken_by_one_to_four_others() {
        for text in ["reorder=1%", "reorder=1%,delay=200us"] {
            let mut path = Impairment::new(&config(text), 0);
            let delivered = numbers(&run(&mut path, 100_000, Nanos::from_micros(1)));
            let mut overtaken = [0; 6];
            for (place, &number) in delivered.iter().enumerate() {
                let count = delivered[..place].iter().rev().take(9).filter(|&&earlier| earlier > number).count();
                overtaken[count] += 1;
            }
            // Two neighbours that are both reordered may keep their order: of 1 % of them, 2.5 others.
            let (count, reordered) = (overtaken.iter().skip(1).sum::<u64>(), path.counters().reordered);
            assert!((900..1_100).contains(&reordered), "{text}");
            assert!((reordered * 97 / 100..=reordered).contains(&count), "{text}: {count} of {reordered}");
            assert!(overtaken[1..=4].iter().all(|&count| count > 150), "{text}: {overtaken:?}");
            assert_eq!(overtaken[5], 0);
        }
    }

    #[test]
    fn a_reordered_datagram_that_nobody_overtakes_waits_a_millisecond() {
        let mut path = Impairment::new(&config("reorder=100%"), 0);
        assert_eq!(path.push(Nanos(5), b"last"), Verdict::Held);
        assert_eq!(path.next_due(), Some(Nanos(1_000_005)));
        assert_eq!(path.pop(Nanos(1_000_004)), None);
        assert_eq!(path.pop(Nanos(1_000_005)), Some(&b"last"[..]));
        assert_eq!(path.pop(Nanos::MAX), None);
        assert_eq!(path.next_due(), None);
    }

    #[test]
    fn a_reordered_datagram_is_at_most_a_millisecond_later_than_its_delay() {
        let times = |text: &str| {
            let mut delivered = run(&mut Impairment::new(&config(text), 0), 10_000, Nanos::from_micros(20));
            delivered.sort_by_key(|&(_, number)| number);
            delivered.into_iter().map(|(at, _)| at)
        };
        let later = times("delay=0s..9ms,reorder=50%").zip(times("delay=0s..9ms")).map(|(at, before)| {
            assert!(at >= before);
            at - before
        });
        assert_eq!(later.max(), Some(Nanos::from_millis(1)));
    }

    #[test]
    fn delays_stay_in_their_range_and_the_earliest_comes_first() {
        let mut path = Impairment::new(&config("delay=100us..2ms"), 0);
        let delivered = run(&mut path, 10_000, Nanos::from_micros(10));
        assert_eq!(path.counters().delayed, 10_000);
        let delays = || delivered.iter().map(|&(at, number)| at - Nanos::from_micros(10 * u64::from(number)));
        assert!(delays().all(|delay| (Nanos::from_micros(100)..=Nanos::from_millis(2)).contains(&delay)));
        assert!(delays().min() < Some(Nanos::from_micros(101)) && delays().max() > Some(Nanos::from_micros(1_999)));
    }

    #[test]
    fn equal_delays_keep_the_order() {
        let mut path = Impairment::new(&config("delay=1ms"), 0);
        let delivered = run(&mut path, 5_000, Nanos::from_micros(1));
        let expected = (0..5_000).map(|number| (Nanos::from_micros(1_000 + u64::from(number)), number));
        assert_eq!(delivered, expected.collect::<Vec<_>>());
    }

    #[test]
    fn nothing_overtakes_a_datagram_that_is_due() {
        let mut path = Impairment::new(&config("duplicate=100%"), 0);
        assert_eq!(path.push(Nanos(0), b"one"), Verdict::Deliver);
        assert_eq!(path.push(Nanos(0), b"two"), Verdict::Held, "the second copy of 'one' is due before it");
        let mut rest = vec![];
        while let Some(datagram) = path.pop(Nanos(0)) {
            rest.push(datagram.to_vec());
        }
        assert_eq!(rest, [b"one", b"two", b"two"]);
    }

    #[test]
    fn more_than_the_limit_comes_early_and_in_order() {
        let count = Impairment::HELD_LIMIT as u32 + 100;
        let mut path = Impairment::new(&config("delay=1s"), 0);
        let delivered = run(&mut path, count, Nanos(1));
        assert_eq!(numbers(&delivered), (0..count).collect::<Vec<_>>());
        assert_eq!(path.counters().early, 100);
        assert_eq!(delivered.iter().filter(|&&(at, _)| at < Nanos::from_secs(1)).count(), 100);
    }

    #[test]
    fn a_caller_that_never_pops_holds_no_more_than_the_limit() {
        let mut path = Impairment::new(&config("delay=1s,duplicate=100%"), 0);
        let verdicts = (0..Impairment::HELD_LIMIT).map(|_| path.push(Nanos::ZERO, b"datagram"));
        assert_eq!(verdicts.filter(|&verdict| verdict == Verdict::Deliver).count(), Impairment::HELD_LIMIT / 2 - 1);
        assert_eq!(path.held(), Impairment::HELD_LIMIT + 2);
    }

    #[test]
    fn buffers_are_used_again() {
        let mut path = Impairment::new(&config("duplicate=40%,reorder=40%"), 0);
        run(&mut path, 100_000, Nanos(1));
        assert_eq!((path.buffers.len(), path.free.len()), (WAITING_LIMIT, WAITING_LIMIT));
        assert!(path.buffers.iter().all(|buffer| buffer.capacity() == FIRST_BUFFER_BYTES));
    }

    #[test]
    #[should_panic(expected = "outside of its interval")]
    fn a_value_outside_of_its_interval_is_refused() {
        let _ = Impairment::new(&ImpairmentConfig { loss: f64::NAN, ..ImpairmentConfig::default() }, 0);
    }

    #[test]
    fn settings_are_read_from_text_and_written_back() {
        let all = ImpairmentConfig {
            loss: 0.02,
            burst: 4.0,
            duplicate: 0.01,
            reorder: 0.01,
            delay: (Nanos::from_micros(100), Nanos::from_millis(2)),
            seed: 7,
        };
        let text = "loss=2%,burst=4,duplicate=1%,reorder=1%,delay=100us..2ms,seed=7";
        assert_eq!((config(text), all.to_string().as_str()), (all, text));
        for (text, written) in [
            ("none", "none"),
            ("seed=0,loss=0", "none"),
            ("seed=18446744073709551615,loss=0.07", "loss=7%,seed=18446744073709551615"),
            ("loss=0.123456789012", "loss=0.123456789012"),
            ("loss=100%,burst=1.5", "loss=100%,burst=1.5"),
            ("delay=1.5ms", "delay=1500us"),
            ("delay=60s..1m", "delay=1m"),
            ("delay=0s..1ns", "delay=0s..1ns"),
        ] {
            assert_eq!(config(text).to_string(), written);
            assert_eq!(config(written), config(text));
        }
        let mut random = Random::new(1);
        for _ in 0..10_000 {
            let mut probability = || [random.unit(), random.below(1_001) as f64 / 1_000.0][random.below(2) as usize];
            let (loss, duplicate, reorder) = (probability(), probability(), probability());
            let burst = 1.0 + 10.0 * random.unit();
            let delay = (Nanos(random.below(9_999)), Nanos(10_000 + random.below(1 << 33)));
            let config = ImpairmentConfig { loss, burst, duplicate, reorder, delay, seed: random.next_u64() };
            assert_eq!(config.to_string().parse(), Ok(config));
        }
    }

    #[test]
    fn a_wrong_setting_is_named_with_what_it_can_be() {
        for (text, message) in [
            ("", "'' is not an impairment: give none, or any of loss=, burst=, duplicate=, reorder=, delay=, seed="),
            ("lost=1%", "'lost' is not an impairment: give none, or any of"),
            ("loss=1%,", "'' is not an impairment"),
            ("loss=1%,none", "'none' is not an impairment"),
            ("loss=1%,burst=2,loss=1%", "'loss' is given more than once"),
            ("loss", "'loss' cannot be '': it is 0% to 100%, or a fraction from 0 to 1"),
            ("loss=2", "'loss' cannot be '2': it is 0% to 100%, or a fraction from 0 to 1"),
            ("loss=101%", "'loss' cannot be '101%'"),
            ("duplicate=-1%", "'duplicate' cannot be '-1%'"),
            ("reorder=NaN", "'reorder' cannot be 'NaN'"),
            ("burst=0.5", "'burst' cannot be '0.5': it is a mean number of datagrams from 1 to 1000000"),
            ("burst=inf", "'burst' cannot be 'inf'"),
            ("delay=5", "'delay' cannot be '5': it is a time such as 100us or a range such as 100us..2ms, up to 60s"),
            ("delay=2ms..1ms", "'delay' cannot be '2ms..1ms'"),
            ("delay=1ms..", "'delay' cannot be '1ms..'"),
            ("delay=61s", "'delay' cannot be '61s'"),
            ("seed=-1", "'seed' cannot be '-1': it is a whole number from 0 to 18446744073709551615"),
        ] {
            let error = text.parse::<ImpairmentConfig>().unwrap_err().to_string();
            assert!(error.starts_with(message), "{text:?}: {error}");
        }
    }

    #[test]
    fn durations_are_read_to_the_nanosecond() {
        for (text, nanos) in [
            ("0s", 0),
            ("1ns", 1),
            ("2us", 2_000),
            ("2\u{b5}s", 2_000),
            ("2\u{3bc}s", 2_000),
            ("1.5ms", 1_500_000),
            ("0.000000001s", 1),
            ("1.000s", 1_000_000_000),
            ("0.5m", 30_000_000_000),
            ("0.00000000005m", 3),
            ("18446744073709551615ns", u64::MAX),
            ("18446744073.709551615s", u64::MAX),
        ] {
            assert_eq!(parse_duration(text), Ok(Nanos(nanos)), "{text}");
        }
        for (text, error) in [
            ("", DurationError::Number),
            ("s", DurationError::Number),
            ("-1s", DurationError::Number),
            (".5s", DurationError::Number),
            ("5.s", DurationError::Number),
            ("1.2.3s", DurationError::Number),
            ("1", DurationError::Unit),
            ("1 s", DurationError::Unit),
            ("1S", DurationError::Unit),
            ("1h", DurationError::Unit),
            ("1e3s", DurationError::Unit),
            ("0.5ns", DurationError::TooFine),
            ("0.0000000001s", DurationError::TooFine),
            ("0.0000000000000000001s", DurationError::TooFine),
            ("18446744073709551616ns", DurationError::TooLong),
            ("18446744073.709551616s", DurationError::TooLong),
            ("99999999999999999999999s", DurationError::TooLong),
        ] {
            assert_eq!(parse_duration(text), Err(error), "{text}");
            assert!(!format!("{error}").is_empty());
        }
    }
}
