//! Values of options that several subcommands share, and how they are written.

use seqcast_protocol::SessionId;
use seqcast_publisher::LineDestination;
use seqcast_recovery::{Line, Nanos, Start, parse_duration};
use std::net::SocketAddrV4;
use std::str::FromStr;
use std::time::Duration;

/// The line that publishers and subscribers use unless told otherwise.
pub const DEFAULT_LINE_A: &str = "239.255.77.1:30001";

/// How a line of a publisher is written.
pub const DESTINATION_FORM: &str = "GROUP:PORT[@INTERFACE]|ADDRESS:PORT,...[@INTERFACE]|none";

/// How a line of a subscriber is written.
pub const SOURCE_FORM: &str = "GROUP:PORT[@INTERFACE][,source=ADDRESS]|ADDRESS:PORT[,source=ADDRESS]|ring:FILE";

/// The address at which requests are answered unless told otherwise.
pub const DEFAULT_REQUESTS: &str = "127.0.0.1:30100";

/// The option that sets a line.
#[must_use]
pub const fn line(line: Line) -> &'static str {
    match line {
        Line::A => "--line-a",
        Line::B => "--line-b",
    }
}

/// The options that set the interface of a line.
#[must_use]
pub const fn interface_or_line(line: Line) -> &'static str {
    match line {
        Line::A => "--interface or --line-a",
        Line::B => "--interface or --line-b",
    }
}

/// An address, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionalAddress {
    /// This one.
    Address(SocketAddrV4),
    /// None at all.
    None,
}

impl OptionalAddress {
    /// The address, if there is one.
    #[must_use]
    pub const fn address(self) -> Option<SocketAddrV4> {
        match self {
            Self::Address(address) => Some(address),
            Self::None => None,
        }
    }
}

/// Reads `ADDRESS:PORT` or `none`.
///
/// # Errors
///
/// Says what was expected.
pub fn optional_address(text: &str) -> Result<OptionalAddress, String> {
    if text == "none" {
        return Ok(OptionalAddress::None);
    }
    text.parse()
        .ok()
        .filter(|address: &SocketAddrV4| address.port() != 0)
        .map(OptionalAddress::Address)
        .ok_or_else(|| format!("'{text}' is not an IPv4 address and port such as {DEFAULT_REQUESTS}, nor none"))
}

/// Where a line goes, or `none`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionalDestination(pub Option<LineDestination>);

impl FromStr for OptionalDestination {
    type Err = <LineDestination as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(if text == "none" { None } else { Some(text.parse()?) }))
    }
}

/// Reads a duration such as `10s`, `1.5ms`, `200us`.
///
/// # Errors
///
/// Says what was expected.
pub fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map(Nanos::as_duration).map_err(|error| format!("'{text}': {error}"))
}

/// Reads a duration that is not 0.
///
/// # Errors
///
/// Says what was expected.
pub fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err(format!("'{text}' is no time at all")),
        duration => Ok(duration),
    }
}

/// Reads a size in bytes such as `64MiB`, `1GB`, `4096`.
///
/// # Errors
///
/// Says what was expected.
pub fn bytes(text: &str) -> Result<usize, String> {
    const UNITS: [(&str, usize); 10] = [
        ("TiB", 1 << 40),
        ("TB", 1_000_000_000_000),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("kB", 1_000),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("B", 1),
    ];
    let (number, unit) =
        UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit))).unwrap_or((text, 1));
    number
        .trim_end()
        .parse::<usize>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .filter(|&bytes| bytes > 0)
        .ok_or_else(|| format!("'{text}' is not a size in bytes such as 64MiB, 1GB or 4096"))
}

/// Reads `oldest`, `live` or a number from 1 on.
///
/// # Errors
///
/// Says what was expected.
pub fn start(text: &str) -> Result<Start, String> {
    match text {
        "oldest" => Ok(Start::Oldest),
        "live" => Ok(Start::Live),
        number => match number.parse() {
            Ok(number) if number > 0 => Ok(Start::At(number)),
            _ => Err(format!("'{text}' is not oldest, live, or a number from 1 on")),
        },
    }
}

/// Reads the name of a session for a publisher.
///
/// # Errors
///
/// Says what is wrong with it.
pub fn session(text: &str) -> Result<SessionId, String> {
    text.parse().map_err(|error| format!("'{text}': {error}"))
}

/// What this process was told to do.
#[must_use]
pub fn command_line() -> String {
    let arguments: Vec<_> = std::env::args_os().skip(1).map(|it| it.to_string_lossy().into_owned()).collect();
    arguments.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes("64MiB"), Ok(64 << 20));
        assert_eq!(bytes("4096"), Ok(4_096));
        assert_eq!(bytes("2 GB"), Ok(2_000_000_000));
        for wrong in ["", "MiB", "-1", "1.5MiB", "64mib", "0", "99999999999GiB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn starts_and_addresses_are_read() {
        assert_eq!(start("oldest"), Ok(Start::Oldest));
        assert_eq!(start("7"), Ok(Start::At(7)));
        assert!(start("0").is_err() && start("newest").is_err());
        assert_eq!(optional_address("none"), Ok(OptionalAddress::None));
        assert!(optional_address("127.0.0.1").is_err() && optional_address("localhost:1").is_err());
    }
}
