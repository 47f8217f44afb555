//! What the kernel does for several datagrams at once, and what it tells of one.

use std::error::Error;
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use crate::sys;

/// Why a socket is not polled at the driver.
#[derive(Debug)]
#[non_exhaustive]
pub enum BusyPollError {
    /// The process may not.
    NotPermitted,
    /// The kernel cannot, or kept another value.
    Refused(io::Error),
}

impl fmt::Display for BusyPollError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPermitted => out.write_str(
                "this process may not have the kernel busy-poll; permit it: `setcap cap_net_admin=eip PROGRAM`, or for all \
                 sockets `sysctl -w net.core.busy_read=50`",
            ),
            Self::Refused(_) => out.write_str("the kernel refuses to busy-poll"),
        }
    }
}

impl Error for BusyPollError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused(source) => Some(source),
            Self::NotPermitted => None,
        }
    }
}

/// Whether the kernel cuts runs into datagrams (`UDP_SEGMENT`, Linux 4.18); an interface may still refuse it.
#[must_use]
pub fn can_segment(fd: RawFd) -> bool {
    // 0 is what it is at: each send is a datagram, but for those that bring a length of their own.
    sys::set_option(fd, libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok()
}

/// Lets the kernel hand over datagrams that arrived together as one buffer (`UDP_GRO`, Linux 5.0), or no more. What waits in
/// the socket is not changed: after switching it off, [`Inbox::fill`](crate::Inbox::fill) is needed until nothing comes.
///
/// # Errors
///
/// Returns the kernel's error: it does not do this.
pub fn set_coalescing(fd: RawFd, coalesces: bool) -> io::Result<()> {
    sys::set_option(fd, libc::SOL_UDP, libc::UDP_GRO, coalesces.into())
}

/// Lets the kernel tell when it took a datagram in, in software (`SO_TIMESTAMPNS`), to who asks with
/// [`Inbox::fill`](crate::Inbox::fill).
///
/// # Errors
///
/// Returns the kernel's error.
pub fn set_timestamps(fd: RawFd, tells: bool) -> io::Result<()> {
    sys::set_option(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, tells.into())
}

/// Lets each receive that finds nothing look into the receive queue of the card for so long (`SO_BUSY_POLL`), instead of waiting
/// for its interrupt; rounded down to whole microseconds. Whether the driver is one that can be polled is told by
/// [`is_busy_polled`] once something has arrived.
///
/// # Errors
///
/// Says what would permit it.
pub fn set_busy_poll(fd: RawFd, time: Duration) -> Result<(), BusyPollError> {
    let micros = i32::try_from(time.as_micros()).unwrap_or(i32::MAX);
    let refused = |error: io::Error| match error.raw_os_error() {
        Some(libc::EPERM) => BusyPollError::NotPermitted,
        _ => BusyPollError::Refused(error),
    };
    sys::set_option(fd, libc::SOL_SOCKET, libc::SO_BUSY_POLL, micros).map_err(refused)?;
    let found = sys::option(fd, libc::SOL_SOCKET, libc::SO_BUSY_POLL).map_err(refused)?;
    if found == micros {
        return Ok(());
    }
    let text = format!("the kernel accepted {micros} us and kept {found}");
    Err(BusyPollError::Refused(io::Error::new(io::ErrorKind::Unsupported, text)))
}

/// Whether what arrived last came from a driver that can be polled (`SO_INCOMING_NAPI_ID`); loopback is none. `false` before
/// anything has arrived.
#[must_use]
pub fn is_busy_polled(fd: RawFd) -> bool {
    sys::option(fd, libc::SOL_SOCKET, libc::SO_INCOMING_NAPI_ID).is_ok_and(|id| id != 0)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::testing::{group, loopback, next_datagram};
    use crate::{MulticastReceiver, MulticastSender};

    #[test]
    fn polling_loopback_is_accepted_or_explained_and_told_to_have_no_effect() {
        let address = group(81);
        let receiver = MulticastReceiver::open(&address, &loopback(), None).unwrap();
        let sender = MulticastSender::open(&address, &loopback(), 1, None).unwrap();
        match set_busy_poll(receiver.as_raw_fd(), Duration::from_micros(50)) {
            Ok(()) => {}
            Err(error) => assert!(error.to_string().contains("cap_net_admin"), "{error}"),
        }
        sender.send(b"tick").unwrap();
        next_datagram(&receiver).unwrap();
        assert!(!is_busy_polled(receiver.as_raw_fd()));
    }
}
