//! Waiting for sockets with a time-out in nanoseconds.

use std::io;
use std::os::fd::RawFd;

use libc::pollfd;
use seqcast_recovery::Nanos;

use crate::sys;

/// How many sockets [`wait_readable`] takes at once. Two lines, the requests and something to wake by make four; the
/// rest is room, arbitrary.
pub const WAIT_LIMIT: usize = 16;

/// Sleeps until one of `fds` has a datagram or an error to fetch, or `timeout` has passed; `None` waits for ever.
///
/// Returns whether there is something to fetch. A signal ends the wait early with `false`, so that the caller can look
/// whether it was told to stop. The kernel may be late by its timer slack, 50 µs unless the thread set another.
///
/// # Errors
///
/// Returns `InvalidInput` for more than [`WAIT_LIMIT`] sockets, `EBADF` when one of them is not open, and else the
/// kernel's error.
pub fn wait_readable(fds: &[RawFd], timeout: Option<Nanos>) -> io::Result<bool> {
    let mut set = [pollfd { fd: -1, events: libc::POLLIN, revents: 0 }; WAIT_LIMIT];
    let Some(set) = set.get_mut(..fds.len()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "more sockets than one wait takes"));
    };
    for (entry, fd) in set.iter_mut().zip(fds) {
        entry.fd = *fd;
    }
    match sys::poll(set, timeout) {
        Ok(_) if set.iter().any(|entry| entry.revents & libc::POLLNVAL != 0) => {
            Err(io::Error::from_raw_os_error(libc::EBADF))
        }
        Ok(ready_count) => Ok(ready_count > 0),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::Clock;

    fn pair() -> (UdpSocket, UdpSocket) {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        (sender, receiver)
    }

    #[test]
    fn any_of_the_sockets_ends_the_wait() {
        let (_quiet, quiet_receiver) = pair();
        let (sender, receiver) = pair();
        sender.send(b"tick").unwrap();
        let fds = [quiet_receiver.as_raw_fd(), receiver.as_raw_fd()];
        assert!(wait_readable(&fds, None).unwrap());
    }

    #[test]
    fn silence_ends_after_the_timeout_and_not_before() {
        let (_sender, receiver) = pair();
        for timeout in [Nanos::ZERO, Nanos::from_micros(200), Nanos::from_millis(3)] {
            let start = Clock::now();
            assert!(!wait_readable(&[receiver.as_raw_fd()], Some(timeout)).unwrap());
            assert!(Clock::now() - start >= timeout);
        }
    }

    #[test]
    fn wait_of_less_than_a_millisecond_is_not_rounded_up_to_one() {
        let (_sender, receiver) = pair();
        let waits = (0..50).map(|_| {
            let start = Clock::now();
            wait_readable(&[receiver.as_raw_fd()], Some(Nanos::from_micros(20))).unwrap();
            Clock::now() - start
        });
        assert!(waits.min().unwrap() < Nanos::from_millis(1));
    }

    #[test]
    fn closed_and_too_many_sockets_are_errors() {
        let (_sender, receiver) = pair();
        let error = wait_readable(&[receiver.as_raw_fd(), i32::MAX], Some(Nanos::ZERO)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        let error = wait_readable(&[receiver.as_raw_fd(); WAIT_LIMIT + 1], Some(Nanos::ZERO)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
