//! How settings are written, for command lines and configurations: each is written as it is read.

use crate::{Budget, GapPolicy, Nanos, RewindPolicy, SessionChoice, Start, parse_duration};
use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

/// Text is not a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError {
    text: String,
    /// What it should be, in words.
    form: &'static str,
}

impl SettingError {
    fn new(text: &str, form: &'static str) -> Self {
        Self { text: text.to_owned(), form }
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not {}", self.text, self.form)
    }
}

impl core::error::Error for SettingError {}

/// A number of bytes, from 1 on: `64MiB`, `1GB`, `4096`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ByteSize(pub usize);

/// The units that a size can have, the largest first; the first of equal ones is written.
const BYTE_UNITS: [(&str, usize); 10] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

impl FromStr for ByteSize {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let (number, unit) =
            BYTE_UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit))).unwrap_or((text, 1));
        number
            .trim_end()
            .parse::<usize>()
            .ok()
            .and_then(|number| number.checked_mul(unit))
            .filter(|&bytes| bytes > 0)
            .map(Self)
            .ok_or_else(|| SettingError::new(text, "a size in bytes such as 64MiB, 1GB or 4096"))
    }
}

/// In the largest unit of which it is a whole number; bytes without one.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes) = *self;
        let is_whole = |&&(_, unit): &&(&str, usize)| unit > 1 && bytes >= unit && bytes.is_multiple_of(unit);
        match BYTE_UNITS.iter().find(is_whole) {
            Some((name, unit)) => write!(f, "{}{name}", bytes / unit),
            None => write!(f, "{bytes}"),
        }
    }
}

/// `RATE/s` or `RATE/s,burst=SIZE`; the burst is a tenth of a second's unless given.
impl FromStr for Budget {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let wrong = || SettingError::new(text, "a budget such as 10MB/s or 10MB/s,burst=1MB");
        let (rate, burst) = match text.split_once(',') {
            Some((rate, burst)) => (rate, Some(burst.strip_prefix("burst=").ok_or_else(wrong)?)),
            None => (text, None),
        };
        let ByteSize(bytes_per_s) = rate.strip_suffix("/s").ok_or_else(wrong)?.parse()?;
        let burst_bytes = burst.map(str::parse).transpose()?.map_or(bytes_per_s / 10, |ByteSize(bytes)| bytes);
        Ok(Self { bytes_per_s: bytes_per_s as u64, burst_bytes: burst_bytes as u64 })
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [rate, burst] = [self.bytes_per_s, self.burst_bytes].map(|bytes| ByteSize(bytes as usize));
        write!(f, "{rate}/s")?;
        if self.burst_bytes == self.bytes_per_s / 10 { Ok(()) } else { write!(f, ",burst={burst}") }
    }
}

/// `oldest`, `live`, or a number from 1 on.
impl FromStr for Start {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        match text {
            "oldest" => Ok(Self::Oldest),
            "live" => Ok(Self::Live),
            number => match number.parse() {
                Ok(number) if number > 0 => Ok(Self::At(number)),
                _ => Err(SettingError::new(text, "oldest, live, or a number from 1 on")),
            },
        }
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oldest => f.write_str("oldest"),
            Self::Live => f.write_str("live"),
            Self::At(number) => number.fmt(f),
        }
    }
}

/// `wait`, `wait:DURATION`, `skip` or `stop`.
impl FromStr for GapPolicy {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let wrong = || SettingError::new(text, "wait, wait:DURATION such as wait:10s, skip or stop");
        match text.split_once(':') {
            Some(("wait", give_up)) => {
                parse_duration(give_up).map(|give_up| Self::Wait { give_up }).map_err(|_| wrong())
            }
            None if text == "wait" => Ok(Self::default()),
            None if text == "skip" => Ok(Self::Skip),
            None if text == "stop" => Ok(Self::Stop),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for GapPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wait { give_up } => write!(f, "wait:{give_up}"),
            Self::Skip => f.write_str("skip"),
            Self::Stop => f.write_str("stop"),
        }
    }
}

/// `follow` or `stop`.
impl FromStr for RewindPolicy {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        match text {
            "follow" => Ok(Self::StartOver),
            "stop" => Ok(Self::Stop),
            _ => Err(SettingError::new(text, "follow or stop")),
        }
    }
}

impl fmt::Display for RewindPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StartOver => "follow",
            Self::Stop => "stop",
        })
    }
}

/// Written as it is read.
impl fmt::Display for SessionChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Only(session) => session.fmt(f),
        }
    }
}

/// As [`parse_duration`].
impl FromStr for Nanos {
    type Err = crate::DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_duration(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::fmt::{Debug, Display};
    use std::string::ToString;

    /// Reads what is right, writes it back, and refuses what is wrong with a word on it.
    fn check<T: FromStr<Err: Display> + Display + PartialEq + Debug>(right: &[(&str, T)], wrong: &[&str]) {
        for (text, value) in right {
            let read: T = text.parse().map_err(|error: T::Err| error.to_string()).unwrap();
            assert_eq!(read, *value, "{text}");
            let written: T = value.to_string().parse().map_err(|error: T::Err| error.to_string()).unwrap();
            assert_eq!(written, *value, "{value}");
        }
        for text in wrong {
            let error = text.parse::<T>().map_err(|error| error.to_string()).unwrap_err();
            assert!(error.contains("is not"), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_have_units() {
        let right = [("64MiB", ByteSize(64 << 20)), ("4096", ByteSize(4_096)), ("2 GB", ByteSize(2_000_000_000))];
        check(&right, &["", "MiB", "-1", "1.5MiB", "64mib", "0", "99999999999GiB"]);
        assert_eq!([64 << 20, 3_000, 1_472].map(|bytes| ByteSize(bytes).to_string()), ["64MiB", "3kB", "1472"]);
    }

    #[test]
    fn a_budget_has_a_rate_and_a_burst() {
        let right = [
            ("10MB/s", Budget { bytes_per_s: 10_000_000, burst_bytes: 1_000_000 }),
            ("1MiB/s,burst=4096", Budget { bytes_per_s: 1 << 20, burst_bytes: 4_096 }),
        ];
        check(&right, &["", "10MB", "/s", "10MB/s,", "10MB/s,4096", "10MB/s,burst=", "0/s"]);
    }

    #[test]
    fn starts_and_policies_are_written_as_they_are_read() {
        check(&[("oldest", Start::Oldest), ("live", Start::Live), ("7", Start::At(7))], &["0", "newest", ""]);
        let wait = |seconds| GapPolicy::Wait { give_up: Nanos::from_secs(seconds) };
        let gaps = [("wait", wait(10)), ("wait:60s", wait(60)), ("skip", GapPolicy::Skip), ("stop", GapPolicy::Stop)];
        check(&gaps, &["", "wait:", "wait:5", "skip:1s"]);
        check(&[("follow", RewindPolicy::StartOver), ("stop", RewindPolicy::Stop)], &["", "Stop"]);
        let only = SessionChoice::Only("EQ".parse().unwrap());
        check(&[("any", SessionChoice::Any), ("EQ", only)], &[]);
        check(&[("1.5ms", Nanos::from_micros(1_500)), ("2m", Nanos::from_secs(120)), ("0s", Nanos::ZERO)], &[]);
    }
}
