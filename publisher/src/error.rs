//! What can go wrong when a publisher is opened, fed and flushed.

use crate::RingFileError;
use seqcast_recovery::{ClaimError, Line, MAX_DATAGRAM_BYTES, MIN_DATAGRAM_BYTES, RingError};
use seqcast_transport::{InterfaceError, PinError, PriorityError, SocketError};
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::{error, fmt, io};

/// Why a publisher could not be opened; names the setting and the mend.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// No line was set.
    NoLine,
    /// The interface of a line cannot be used.
    Interface(Line, InterfaceError),
    /// The socket of a line cannot be opened.
    Line(Line, SocketError),
    /// The request address names no interface.
    UnspecifiedRequests(SocketAddrV4),
    /// The interface of the request address cannot be used.
    RequestInterface(InterfaceError),
    /// The socket of the request address cannot be opened.
    Requests(SocketError),
    /// `max_datagram` is outside `64..=65507`.
    MaxDatagram(usize),
    /// `max_datagram` is more than the interface of a line carries without fragments.
    Mtu {
        /// The line.
        line: Line,
        /// The interface.
        interface: String,
        /// Its MTU, in bytes.
        mtu: u32,
        /// The limit that was set, in bytes.
        max_datagram: usize,
    },
    /// There is no memory for the retained ring.
    Memory {
        /// The bytes that were to be retained.
        retain_bytes: usize,
    },
    /// The retained ring cannot be made.
    Ring(RingError),
    /// A retransmitter of its own has no ring file to serve.
    NoRing,
    /// The file of the retained ring cannot be used.
    RingFile(PathBuf, RingFileError),
    /// The retransmitter's thread cannot be pinned.
    Pin(PinError),
    /// The retransmitter's thread cannot have its priority.
    Priority(PriorityError),
    /// The retransmitter's thread has a core or a priority, and there is none.
    NoThread,
    /// The retransmitter's thread, or what wakes it, cannot be had.
    Thread(io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLine => f.write_str("a publisher needs at least one line"),
            Self::Interface(line, error) => write!(f, "line {line:?}: {error}"),
            Self::Line(line, error) => write!(f, "line {line:?}: {error}"),
            Self::UnspecifiedRequests(address) => {
                write!(f, "{address} would answer on every interface; name the address of one")
            }
            Self::RequestInterface(error) => write!(f, "requests: {error}"),
            Self::Requests(error) => error.fmt(f),
            Self::MaxDatagram(bytes) => {
                write!(f, "{bytes} is not within {MIN_DATAGRAM_BYTES}..={MAX_DATAGRAM_BYTES} bytes (max_datagram)")
            }
            Self::Mtu { line, interface, mtu, max_datagram } => write!(
                f,
                "packets of {max_datagram} bytes (max_datagram) do not pass unfragmented on line {line:?}: the MTU of {interface} \
                 is {mtu}, so at most {} fit",
                mtu.saturating_sub(28)
            ),
            Self::Memory { retain_bytes } => {
                write!(f, "there is no memory for a ring of {retain_bytes} bytes; set a smaller one")
            }
            Self::Ring(error) => write!(f, "retained ring: {error}"),
            Self::NoRing => f.write_str("a retransmitter of its own needs the file of a ring (ring)"),
            Self::RingFile(file, error) => write!(f, "ring {}: {error}", file.display()),
            Self::Pin(error) => write!(f, "the retransmitter's thread: {error}"),
            Self::Priority(error) => write!(f, "the retransmitter's thread: {error}"),
            Self::NoThread => f.write_str(
                "a core or a priority is for the retransmitter's own thread (retransmitter_core, retransmitter_priority); \
                 with requests_inline or open_split it has none",
            ),
            Self::Thread(error) => write!(f, "the retransmitter's thread cannot be started: {error}"),
        }
    }
}

impl error::Error for OpenError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Interface(_, error) | Self::RequestInterface(error) => error.source(),
            Self::Line(_, error) | Self::Requests(error) => error.source(),
            Self::Ring(error) => error.source(),
            Self::RingFile(_, error) => error.source(),
            Self::Pin(error) => error.source(),
            Self::Priority(error) => error.source(),
            Self::Thread(error) => error.source(),
            _ => None,
        }
    }
}

/// Why messages cannot be published; the network is never a reason, unless it will not heal.
#[derive(Debug)]
#[non_exhaustive]
pub enum PublishError {
    /// There is no space for the message.
    Claim(ClaimError),
    /// A packet is longer than the path of a line carries: its MTU has shrunk since the publisher was opened. The packet
    /// is retained; the lines will carry none of its size.
    TooLongForPath {
        /// The line.
        line: Line,
        /// The packet's length in bytes.
        bytes: usize,
    },
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claim(error) => error.fmt(f),
            Self::TooLongForPath { line, bytes } => write!(
                f,
                "line {line:?} no longer carries packets of {bytes} bytes: its MTU has shrunk; open the publisher again \
                 with a smaller max_datagram"
            ),
        }
    }
}

impl error::Error for PublishError {}

impl From<ClaimError> for PublishError {
    fn from(error: ClaimError) -> Self {
        Self::Claim(error)
    }
}
