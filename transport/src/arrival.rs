//! When the kernel took a datagram in.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

use libc::{cmsghdr, iovec, msghdr, sockaddr_in, timespec};
use seqcast_recovery::Nanos;

use crate::opening::received;
use crate::sys;

/// One datagram, with what the kernel says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// How many bytes it has.
    pub length: usize,
    /// Who sent it.
    pub sender: SocketAddrV4,
    /// When the kernel took it in, before it waited in the receive buffer: by the calendar clock, since 1970. `None` where
    /// the kernel does not say.
    pub time: Option<Nanos>,
}

/// A non-blocking IPv4 socket whose datagrams the kernel stamps with the time (`SO_TIMESTAMPNS`).
#[derive(Debug)]
pub struct StampedReceiver<S> {
    socket: S,
}

impl<S: AsRawFd> StampedReceiver<S> {
    /// Asks for the stamps. What is in the receive buffer already is stamped when it is taken out, and so may be what
    /// arrives in the first moments: the kernel begins to stamp in the background.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn new(socket: S) -> io::Result<Self> {
        sys::set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
        Ok(Self { socket })
    }

    /// Takes the next datagram into `buffer`, or returns `None` when there is none.
    ///
    /// A datagram longer than `buffer` would be cut without notice, so the caller passes
    /// [`DATAGRAM_BUFFER_BYTES`](crate::DATAGRAM_BUFFER_BYTES), which none exceeds.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error, such as `ENETDOWN` when the interface went down.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<Option<Arrival>> {
        received(|| receive(self.socket.as_raw_fd(), buffer))
    }
}

impl<S: AsRawFd> AsRawFd for StampedReceiver<S> {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Room for the one control message that was asked for, its header and a timespec, aligned as a header has to be.
type Control = [u64; 8];
const _: () = assert!(mem::size_of::<Control>() >= mem::size_of::<cmsghdr>() + mem::size_of::<timespec>() + 8);
const _: () = assert!(mem::align_of::<Control>() >= mem::align_of::<cmsghdr>());

fn receive(fd: RawFd, buffer: &mut [u8]) -> io::Result<Arrival> {
    // SAFETY: a sockaddr_in is plain numbers, for which zeros are valid.
    let mut sender: sockaddr_in = unsafe { mem::zeroed() };
    let mut control: Control = [0; 8];
    let mut data = iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: a msghdr is numbers and pointers, for which zeros are valid.
    let mut message: msghdr = unsafe { mem::zeroed() };
    message.msg_name = (&raw mut sender).cast();
    message.msg_namelen = mem::size_of::<sockaddr_in>() as libc::socklen_t;
    message.msg_iov = &raw mut data;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = mem::size_of::<Control>() as _;
    // SAFETY: every pointer in `message` is to memory that is live and writable for the length given beside it.
    let length = unsafe { libc::recvmsg(fd, &raw mut message, 0) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    let ip = Ipv4Addr::from(u32::from_be(sender.sin_addr.s_addr));
    let sender = SocketAddrV4::new(ip, u16::from_be(sender.sin_port));
    Ok(Arrival { length, sender, time: stamp(&message) })
}

/// The time stamp among the control messages that `recvmsg` left in `message`.
fn stamp(message: &msghdr) -> Option<Nanos> {
    // SAFETY: the kernel has set the pointer and the length of the control messages, which are live as `message` is.
    let mut header: *const cmsghdr = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: a header that is not null lies within the control messages, aligned.
        let cmsghdr { cmsg_level, cmsg_type, .. } = unsafe { *header };
        if (cmsg_level, cmsg_type) == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) {
            // SAFETY: the data of this kind of message, behind its header, is a timespec.
            let data = unsafe { libc::CMSG_DATA(header) };
            // SAFETY: as above; nothing is said about its alignment.
            let time: timespec = unsafe { ptr::read_unaligned(data.cast()) };
            let seconds = u64::try_from(time.tv_sec).ok()?;
            return Some(Nanos::from_secs(seconds) + Nanos(u64::try_from(time.tv_nsec).ok()?));
        }
        // SAFETY: `header` is one of the headers of `message`.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{group, loopback};
    use crate::{Clock, DATAGRAM_BUFFER_BYTES, MulticastReceiver, MulticastSender, wait_readable};

    #[test]
    fn datagrams_come_with_their_sender_and_the_time_of_arrival() {
        let address = group(81);
        let receiver = MulticastReceiver::open(&address, &loopback(), None).unwrap();
        let receiver = StampedReceiver::new(receiver).unwrap();
        let mut buffer = [0; DATAGRAM_BUFFER_BYTES];
        assert_eq!(receiver.recv(&mut buffer).unwrap(), None);
        let sender = MulticastSender::open(&address, &loopback(), 1, None).unwrap();
        // A microsecond of the calendar clock is cut off.
        let before = Nanos::from_micros(Clock::unix_micros());
        sender.send(b"tick").unwrap();
        wait_readable(&[receiver.as_raw_fd()], Some(Nanos::from_millis(20))).unwrap();
        let Arrival { length, sender: from, time } = receiver.recv(&mut buffer).unwrap().unwrap();
        assert_eq!((&buffer[..length], from), (&b"tick"[..], sender.local_address().unwrap()));
        let time = time.expect("the kernel stamps");
        let after = Nanos::from_micros(Clock::unix_micros() + 1);
        assert!(before <= time && time <= after, "{before:?} {time:?} {after:?}");
        assert_eq!(receiver.recv(&mut buffer).unwrap(), None);
    }
}
