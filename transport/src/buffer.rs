//! Socket buffers: what was asked for and what the kernel granted.

use std::io;
use std::os::fd::RawFd;

use libc::c_int;

use crate::sys;

/// The outcome of asking for a socket buffer. The kernel caps a request silently, so the size is read back.
///
/// Sizes are as one asks for them: the kernel books twice as much for its own overhead and reports that double.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferGrant {
    /// The bytes asked for; `None` leaves the kernel's default.
    pub asked_bytes: Option<usize>,
    /// The bytes there are.
    pub granted_bytes: usize,
}

impl BufferGrant {
    /// Whether as much was granted as was asked for.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.asked_bytes.is_none_or(|asked| self.granted_bytes >= asked)
    }
}

/// Which of a socket's two buffers.
#[derive(Clone, Copy)]
pub(crate) enum Buffer {
    Receive,
    Send,
}

impl Buffer {
    /// The option that is capped by `net.core.rmem_max` or `wmem_max`, and the one that CAP_NET_ADMIN lifts over it.
    const fn options(self) -> (c_int, c_int) {
        match self {
            Self::Receive => (libc::SO_RCVBUF, libc::SO_RCVBUFFORCE),
            Self::Send => (libc::SO_SNDBUF, libc::SO_SNDBUFFORCE),
        }
    }

    /// Asks for the buffer, beyond the system's cap where that is permitted, and reads back what there is.
    pub(crate) fn grant(self, fd: RawFd, asked_bytes: Option<usize>) -> io::Result<BufferGrant> {
        let (capped, forced) = self.options();
        if let Some(asked) = asked_bytes {
            // The kernel doubles the number, so half of the largest is the largest that means anything.
            let asked = c_int::try_from(asked).unwrap_or(c_int::MAX).min(c_int::MAX / 2);
            if sys::set_option(fd, libc::SOL_SOCKET, forced, asked).is_err() {
                sys::set_option(fd, libc::SOL_SOCKET, capped, asked)?;
            }
        }
        let doubled = usize::try_from(sys::option(fd, libc::SOL_SOCKET, capped)?).unwrap_or(0);
        Ok(BufferGrant { asked_bytes, granted_bytes: doubled / 2 })
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn grant_is_read_back_in_the_unit_it_was_asked_in() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for buffer in [Buffer::Receive, Buffer::Send] {
            let grant = buffer.grant(socket.as_raw_fd(), Some(65_536)).unwrap();
            assert_eq!(grant, BufferGrant { asked_bytes: Some(65_536), granted_bytes: 65_536 });
            assert!(grant.is_full());
        }
    }

    #[test]
    fn more_than_the_kernel_can_count_is_told_as_a_partial_grant() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let grant = Buffer::Receive.grant(socket.as_raw_fd(), Some(usize::MAX)).unwrap();
        assert!(!grant.is_full() && grant.granted_bytes > 0);
    }

    #[test]
    fn default_counts_as_full() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let grant = Buffer::Send.grant(socket.as_raw_fd(), None).unwrap();
        assert!(grant.is_full() && grant.granted_bytes > 0);
    }
}
