//! The ten bytes that name a session.

use crate::error::SessionIdError;
use core::{fmt, str::FromStr};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The length of a session on the wire, in bytes.
pub const SESSION_BYTES: usize = 10;

/// The name of one numbered stream of one publisher: any ten bytes, compared byte by byte.
///
/// Text shorter than ten characters is padded with spaces on the right, as most venues do.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(transparent)]
pub struct SessionId([u8; SESSION_BYTES]);

impl SessionId {
    /// The session that a request names when its sender knows none: ten zero bytes.
    pub const UNKNOWN: Self = Self([0; SESSION_BYTES]);

    /// Takes ten bytes as they stand on the wire.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; SESSION_BYTES]) -> Self {
        Self(bytes)
    }

    /// The ten bytes as they stand on the wire.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; SESSION_BYTES] {
        &self.0
    }

    /// Whether this names no session: all bytes zero, all `0`, or all spaces.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        [0, b'0', b' '].iter().any(|&blank| self.0.iter().all(|&byte| byte == blank))
    }

    /// Names a session by a number, as ten base-36 digits (`0`–`9`, `A`–`Z`), left-padded with zeros.
    ///
    /// A start time in microseconds since 1970 fits until the year 2085; larger numbers lose their leading digits.
    #[must_use]
    pub fn from_number(mut number: u64) -> Self {
        let mut bytes = [b'0'; SESSION_BYTES];
        for byte in bytes.iter_mut().rev() {
            *byte = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[(number % 36) as usize];
            number /= 36;
        }
        Self(bytes)
    }
}

impl FromStr for SessionId {
    type Err = SessionIdError;

    /// Parses the name that a publisher gives to its session: 1 to 10 printable ASCII characters.
    ///
    /// # Errors
    ///
    /// What the peers would take for something else is refused: all zeros, all spaces, and `any`.
    fn from_str(text: &str) -> Result<Self, SessionIdError> {
        if text.is_empty() || text.len() > SESSION_BYTES {
            return Err(SessionIdError::Length);
        }
        if !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(SessionIdError::NotPrintable);
        }
        let name = text.trim_matches(' ');
        if name.bytes().all(|byte| byte == b'0') {
            return Err(SessionIdError::Blank);
        }
        if name.eq_ignore_ascii_case("any") {
            return Err(SessionIdError::Reserved);
        }
        let mut bytes = [b' '; SESSION_BYTES];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self(bytes))
    }
}

/// Writes the name without its padding; bytes that are not printable ASCII are escaped as `\xNN`.
impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let padding = self.0.iter().rev().take_while(|&&byte| byte == b' ').count();
        write!(f, "{}", self.0[..SESSION_BYTES - padding].escape_ascii())
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::string::ToString;

    #[test]
    fn short_names_are_padded_on_the_right() {
        let session: SessionId = "EQ2026".parse().unwrap();
        assert_eq!(session.as_bytes(), b"EQ2026    ");
        assert_eq!(session.to_string(), "EQ2026");
    }

    #[test]
    fn names_that_peers_would_misread_are_refused() {
        for (text, error) in [
            ("", SessionIdError::Length),
            ("ABCDEFGHIJK", SessionIdError::Length),
            ("a\tb", SessionIdError::NotPrintable),
            ("é", SessionIdError::NotPrintable),
            ("0", SessionIdError::Blank),
            ("0000000000", SessionIdError::Blank),
            ("   ", SessionIdError::Blank),
            ("any", SessionIdError::Reserved),
            ("ANY", SessionIdError::Reserved),
        ] {
            assert_eq!(text.parse::<SessionId>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn blank_sessions_are_recognised() {
        for bytes in [[0; 10], [b'0'; 10], [b' '; 10]] {
            assert!(SessionId::from_bytes(bytes).is_blank());
        }
        assert!(!SessionId::from_bytes(*b"0000000001").is_blank());
    }

    #[test]
    fn numbers_become_ten_digits_of_base_36() {
        assert_eq!(SessionId::from_number(35).as_bytes(), b"000000000Z");
        assert_eq!(SessionId::from_number(1_763_700_000_000_000).as_bytes(), b"HD6GLEM5MO");
        let back = SessionId::from_number(1_763_700_000_000_000)
            .as_bytes()
            .iter()
            .fold(0u64, |sum, &digit| sum * 36 + u64::from((digit as char).to_digit(36).unwrap()));
        assert_eq!(back, 1_763_700_000_000_000);
    }
}
