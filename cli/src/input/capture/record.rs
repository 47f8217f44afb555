//! What both kinds of capture file are made of.

use super::link::Link;
use seqcast_recovery::Nanos;
use std::ops::Range;

/// One captured frame, the current record of the source.
#[derive(Clone, Debug)]
pub(in crate::input) struct Record {
    pub(in crate::input) link: Link,
    /// Where the frame lies in the window of the source.
    pub(in crate::input) frame: Range<usize>,
    /// When it was captured, since 1970.
    pub(in crate::input) time: Option<Nanos>,
}

/// When a message came, and in which frame.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::input) struct Stamp {
    /// When its frame was captured, since 1970.
    pub(in crate::input) time: Option<Nanos>,
    /// The number of the frame, from 1 on; 0 where there are none.
    pub(in crate::input) frame: u64,
}

/// How the machine that captured wrote its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    /// The number at `bytes[at..at + 2]`.
    pub(super) fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let field = [bytes[at], bytes[at + 1]];
        match self {
            Self::Little => u16::from_le_bytes(field),
            Self::Big => u16::from_be_bytes(field),
        }
    }

    /// The number at `bytes[at..at + 4]`.
    pub(super) fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let (first, second) = (u32::from(self.u16(bytes, at)), u32::from(self.u16(bytes, at + 2)));
        match self {
            Self::Little => second << 16 | first,
            Self::Big => first << 16 | second,
        }
    }

    /// The number at `bytes[at..at + 8]`.
    pub(super) fn u64(self, bytes: &[u8], at: usize) -> u64 {
        let (first, second) = (u64::from(self.u32(bytes, at)), u64::from(self.u32(bytes, at + 4)));
        match self {
            Self::Little => second << 32 | first,
            Self::Big => first << 32 | second,
        }
    }
}
