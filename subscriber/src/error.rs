//! What can go wrong when a subscriber is opened. Afterwards nothing can: the network is not the caller's mistake.

use seqcast_recovery::Line;
use seqcast_transport::{InterfaceError, SocketError};
use std::net::SocketAddrV4;
use std::{error, fmt};

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
    /// The socket toward a request address cannot be opened.
    RecoverFrom(SocketAddrV4, SocketError),
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
            Self::RecoverFrom(address, error) => {
                error.fmt(f)?;
                if !address.ip().is_loopback() {
                    f.write_str("; requests leave on the interface of the first line, name the one that reaches it")?;
                }
                Ok(())
            }
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
            Self::Line(_, error) | Self::RecoverFrom(_, error) => error.source(),
            Self::NoLine | Self::TooManyTargets { .. } | Self::WindowTooLarge | Self::StartZero => None,
        }
    }
}
