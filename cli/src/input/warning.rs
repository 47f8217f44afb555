//! What a user should know about an input that was read all the same.

use std::fmt;

/// Something about an input that made messages stay away without making the rest wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// The input ends within its last record, which was left out.
    Truncated {
        /// Where that record begins.
        offset: u64,
    },
    /// The compressed data end too early; everything before was read.
    TruncatedGzip,
    /// Numbers that no packet of the capture carries, `missing` in all.
    Missing {
        /// How many numbers.
        missing: u64,
        /// In how many gaps.
        gaps: u64,
    },
    /// Messages that came too late to be put in order and were left out; they count as missing, too.
    Late(u64),
    /// Messages under a number that had carried other bytes before, left out: the session was restarted, perhaps.
    Conflicting(u64),
    /// Messages of other sessions than the first one, left out.
    OtherSessions(u64),
    /// Packets that the capture holds only in part, left out.
    CutPackets(u64),
    /// UDP packets in IP fragments, left out.
    Fragments(u64),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { offset } => {
                write!(f, "the input ends within the record that begins at byte {offset}, which was left out")
            }
            Self::TruncatedGzip => f.write_str("the compressed data end too early; what follows is missing"),
            Self::Missing { missing, gaps } => {
                write!(f, "messages of the session that the capture lacks: {missing}, gaps: {gaps}")
            }
            Self::Late(count) => write!(f, "messages left out because they came too late to be put in order: {count}"),
            Self::Conflicting(count) => write!(
                f,
                "messages left out because their numbers had carried other bytes before (a restart within one \
                 session?): {count}"
            ),
            Self::OtherSessions(count) => {
                write!(f, "messages left out because they are of other sessions than the first: {count}")
            }
            Self::CutPackets(count) => {
                write!(f, "packets left out because only their first bytes were captured: {count}")
            }
            Self::Fragments(count) => write!(f, "fragments of IP packets, left out: {count}"),
        }
    }
}
