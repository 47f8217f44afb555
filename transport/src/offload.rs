//! What the kernel does for several datagrams at once, and what it tells of one.

use std::io;
use std::os::fd::RawFd;

use crate::sys;

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
