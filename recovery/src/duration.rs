//! Durations as text: `10s`, `1.5ms`, `200us`.

use crate::Nanos;
use core::fmt;

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

/// In the longest unit of which it is a whole number.
impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(time) = *self;
        let is_whole = |&(_, nanos): &(_, u64)| time >= nanos && time.is_multiple_of(nanos);
        let (unit, nanos) = UNITS.into_iter().find(is_whole).unwrap_or(("s", 1));
        write!(f, "{}{unit}", time / nanos)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

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
