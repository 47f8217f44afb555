//! The settings of an impairment, and how they are written.

use crate::{Nanos, parse_duration};
use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use core::ops::RangeInclusive;
use core::str::FromStr;

/// The longest delay that can be set. Arbitrary: twice around the world takes less than a second.
const LONGEST_DELAY: Nanos = Nanos::from_secs(60);

/// The longest mean burst that can be set, in datagrams. Arbitrary: at 100,000 datagrams a second it is ten seconds.
const LONGEST_BURST: f64 = 1e6;

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

/// Writes a range of times, or the one time that it consists of.
struct Times((Nanos, Nanos));

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self((least, most)) = *self;
        if least == most { least.fmt(f) } else { write!(f, "{least}..{most}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;
    use std::string::ToString;

    fn config(text: &str) -> ImpairmentConfig {
        text.parse().unwrap()
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
}
