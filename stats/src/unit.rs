//! What a number counts or measures.

use seqcast_protocol::{SESSION_BYTES, SessionId};
use std::fmt;
use std::net::SocketAddrV4;

/// The unit of a value. In a description it stands as its [`Display`](fmt::Display), and is read back from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things of this name in the plural: messages, packets, datagrams, requests.
    Count(String),
    /// Bytes.
    Bytes,
    /// A span of time in nanoseconds.
    Nanoseconds,
    /// A moment, in nanoseconds of the monotonic clock ([`Clock::now`](seqcast_transport::Clock::now)).
    Time,
    /// A sequence number, 0 for none.
    Number,
    /// 1 for yes, 0 for no.
    Flag,
    /// An IPv4 address and a port: `address << 16 | port`; 0 for none.
    Address,
    /// One of these words, by index.
    OneOf(Vec<String>),
    /// A session, in two words; only a field of a table has this unit.
    Session,
}

impl Unit {
    /// Things of this name, in the plural.
    #[must_use]
    pub fn count(things: &str) -> Self {
        Self::Count(things.to_owned())
    }

    /// One of these words.
    #[must_use]
    pub fn one_of(words: &[&str]) -> Self {
        Self::OneOf(words.iter().map(|&word| word.to_owned()).collect())
    }

    /// How many words a value takes.
    #[must_use]
    pub const fn words(&self) -> usize {
        if matches!(self, Self::Session) { 2 } else { 1 }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "bytes" => Self::Bytes,
            "ns" => Self::Nanoseconds,
            "time" => Self::Time,
            "number" => Self::Number,
            "flag" => Self::Flag,
            "address" => Self::Address,
            "session" => Self::Session,
            _ => match text.split_once('=') {
                Some(("one_of", words)) => Self::OneOf(words.split('|').map(str::to_owned).collect()),
                None if is_name(text) => Self::count(text),
                _ => return None,
            },
        })
    }

    /// A value of this unit as the two words that a session takes.
    #[must_use]
    pub fn session_words(session: SessionId) -> [u64; 2] {
        let mut bytes = [0; 16];
        bytes[..SESSION_BYTES].copy_from_slice(session.as_bytes());
        let (first, second) = bytes.split_at(8);
        [first, second].map(|half| u64::from_le_bytes(half.try_into().expect("half of sixteen bytes")))
    }

    /// The session of two words.
    #[must_use]
    pub fn session(words: [u64; 2]) -> SessionId {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).take(SESSION_BYTES).collect();
        SessionId::from_bytes(bytes.try_into().expect("ten bytes were taken"))
    }

    /// An address as a word.
    #[must_use]
    pub fn address_word(address: SocketAddrV4) -> u64 {
        u64::from(u32::from(*address.ip())) << 16 | u64::from(address.port())
    }

    /// The address in a word; `None` when there is none in it.
    #[must_use]
    pub fn address(word: u64) -> Option<SocketAddrV4> {
        let ip = u32::try_from(word >> 16).ok()?;
        (word != 0).then(|| SocketAddrV4::new(ip.into(), word as u16))
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(things) => f.write_str(things),
            Self::Bytes => f.write_str("bytes"),
            Self::Nanoseconds => f.write_str("ns"),
            Self::Time => f.write_str("time"),
            Self::Number => f.write_str("number"),
            Self::Flag => f.write_str("flag"),
            Self::Address => f.write_str("address"),
            Self::OneOf(words) => write!(f, "one_of={}", words.join("|")),
            Self::Session => f.write_str("session"),
        }
    }
}

/// Whether a text can stand as the name of something: lower-case words joined by underscores.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_reads_back_what_it_writes() {
        let words = Unit::one_of(&["unknown", "kernel_drops"]);
        let units = [Unit::count("messages"), Unit::Bytes, Unit::Nanoseconds, Unit::Time, Unit::Number, Unit::Flag];
        for unit in units.into_iter().chain([Unit::Address, words, Unit::Session]) {
            assert_eq!(Unit::parse(&unit.to_string()), Some(unit));
        }
        for text in ["", "Messages", "a b", "a=b"] {
            assert_eq!(Unit::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_session_is_two_words() {
        let session: SessionId = "EQ20261121".parse().unwrap();
        assert_eq!(Unit::session(Unit::session_words(session)), session);
    }
}
