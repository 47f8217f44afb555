//! What can go wrong when a subscriber is set up and opened. Afterwards nothing can: the network is not the caller's
//! mistake.

use crate::ring::RingFileError;
use seqcast_recovery::Line;
use seqcast_transport::{AddressError, BusyPollError, InterfaceError, SocketError};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::{error, fmt};

/// What comes before the address of a line's source.
pub(crate) const SOURCE: &str = ",source=";

/// Why a text does not say where a line's packets come from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineSourceError {
    /// The address of the line is wrong.
    Address(AddressError),
    /// The source is not the IPv4 address of a host.
    InvalidSource {
        /// What follows `source=`.
        text: String,
    },
    /// A group in 232.0.0.0/8 has no source.
    NoSource {
        /// The group.
        group: Ipv4Addr,
    },
    /// Nothing follows `ring:`.
    NoFile,
    /// There are several unicast addresses to listen at.
    SeveralAddresses,
    /// A unicast address is followed by an interface.
    NeedlessInterface {
        /// The address and port to listen at.
        address: SocketAddrV4,
    },
}

impl fmt::Display for LineSourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(error) => error.fmt(f),
            Self::InvalidSource { text } => {
                write!(f, "`{text}` is no source, which is the IPv4 address of a host, such as source=10.1.0.5")
            }
            Self::NoSource { group } => write!(
                f,
                "{group} is in 232.0.0.0/8, whose groups are joined for one source only (RFC 4607); add \
                 `{SOURCE}ADDRESS` of the publisher"
            ),
            Self::NoFile => f.write_str("nothing follows `ring:`; name the file of a publisher's ring"),
            Self::SeveralAddresses => f.write_str("a subscriber listens at one unicast address for each line"),
            Self::NeedlessInterface { address } => {
                write!(f, "the address to listen at is that of an interface already; name {address} alone")
            }
        }
    }
}

impl error::Error for LineSourceError {}

/// Why a subscriber could not be opened; names the setting and the mend.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// No line was set.
    NoLine,
    /// The interface of a line cannot be used.
    Interface(Line, InterfaceError),
    /// The socket of a line cannot be opened.
    Line(Line, SocketError),
    /// The ring of a line cannot be followed.
    Ring(PathBuf, RingFileError),
    /// The socket toward a request address cannot be opened.
    RecoverFrom(SocketAddrV4, SocketError),
    /// The socket that keeps requests warm cannot be opened.
    KeepWarm(SocketError),
    /// The kernel does not busy-poll for a line.
    BusyPoll(Line, BusyPollError),
    /// More request addresses were set than can be waited for together with the lines.
    TooManyTargets {
        /// The most there can be.
        limit: usize,
    },
    /// The reorder window is larger than can be counted: 4 GiB, or 2^31 messages.
    WindowTooLarge,
    /// The start is number 0; the first number of a session is 1.
    StartZero,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLine => f.write_str("a subscriber needs at least one line"),
            Self::Interface(line, error) => write!(f, "line {line:?}: {error}"),
            Self::Line(line, error) => write!(f, "line {line:?}: {error}"),
            Self::Ring(file, error) => write!(f, "ring {}: {error}", file.display()),
            Self::RecoverFrom(address, error) => {
                error.fmt(f)?;
                if !address.ip().is_loopback() {
                    f.write_str("; requests leave on the interface of the first line")?;
                }
                Ok(())
            }
            Self::KeepWarm(error) => write!(f, "keep_warm: {error}"),
            Self::BusyPoll(line, error) => write!(f, "line {line:?}, busy_poll: {error}"),
            Self::TooManyTargets { limit } => write!(f, "there are more than {limit} request addresses (recover_from)"),
            Self::WindowTooLarge => f.write_str("the reorder window must be smaller than 4 GiB and 2^31 messages"),
            Self::StartZero => f.write_str("start: the first number of a session is 1"),
        }
    }
}

impl error::Error for OpenError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Interface(_, error) => error.source(),
            Self::Line(_, error) | Self::RecoverFrom(_, error) | Self::KeepWarm(error) => error.source(),
            Self::BusyPoll(_, error) => error.source(),
            Self::Ring(_, error) => Some(error),
            Self::NoLine | Self::TooManyTargets { .. } | Self::WindowTooLarge | Self::StartZero => None,
        }
    }
}
