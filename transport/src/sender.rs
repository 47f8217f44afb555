//! The sending end of a line.

use std::io;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use seqcast_recovery::Run;

use crate::address::MulticastAddress;
use crate::buffer::{Buffer, BufferGrant};
use crate::interface::Interface;
use crate::messages;
use crate::opening::Opening;
use crate::socket_error::SocketError;
use crate::sys;

/// A non-blocking socket that sends to one multicast group on one interface.
///
/// Receivers on the same host hear it too. A datagram whose payload exceeds the interface's MTU less 28 bytes is
/// refused, never fragmented.
#[derive(Debug)]
pub struct MulticastSender {
    socket: UdpSocket,
    buffer: BufferGrant,
}

impl MulticastSender {
    /// Opens a sender to `address` on `interface`; the interface that the address may name is the caller's to resolve.
    ///
    /// `ttl` is the number of networks a datagram may cross: 0 stays on the host, 1 on the local network.
    ///
    /// # Errors
    ///
    /// Returns a [`SocketError`] that names the step which the kernel refused.
    pub fn open(
        address: &MulticastAddress,
        interface: &Interface,
        ttl: u8,
        send_buffer_bytes: Option<usize>,
    ) -> Result<Self, SocketError> {
        let opening = Opening::new(&format_args!("{} on {interface}", address.socket_address()))?;
        opening.confirm("set IP_MULTICAST_IF", |socket| {
            sys::set_multicast_interface(socket.as_raw_fd(), interface.index, interface.address)?;
            Ok((interface.address, socket.multicast_if_v4()?))
        })?;
        opening.confirm("set IP_MULTICAST_TTL", |socket| {
            socket.set_multicast_ttl_v4(u32::from(ttl))?;
            Ok((u32::from(ttl), socket.multicast_ttl_v4()?))
        })?;
        opening.confirm("set IP_MULTICAST_LOOP", |socket| {
            socket.set_multicast_loop_v4(true)?;
            Ok((true, socket.multicast_loop_v4()?))
        })?;
        let buffer = opening.grant(Buffer::Send, send_buffer_bytes)?;
        opening.bind(SocketAddrV4::new(interface.address, 0))?;
        // After IP_MULTICAST_IF, which chooses the route that connecting looks up.
        opening.step("connect to the group", |socket| socket.connect(&address.socket_address().into()))?;
        Ok(Self { socket: opening.socket.into(), buffer })
    }

    /// Sends one datagram.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error: `WouldBlock` when the send buffer is full, `EMSGSIZE` for a datagram larger than
    /// the interface carries. Nothing was sent then.
    #[inline]
    pub fn send(&self, datagram: &[u8]) -> io::Result<()> {
        self.socket.send(datagram).map(|_| ())
    }

    /// Sends the first runs, 8 at the most, with one system call, each packet as a datagram of its own; returns how many runs
    /// left, at least one unless there are none.
    ///
    /// # Errors
    ///
    /// As [`Self::send`], of the first run, or because the kernel, or the interface, does not cut runs into datagrams.
    pub fn send_runs(&self, runs: &[Run<'_>]) -> io::Result<usize> {
        messages::send(self.socket.as_raw_fd(), runs.iter().map(|&run| (run, None)))
    }

    /// The send buffer that was granted.
    #[must_use]
    pub const fn buffer(&self) -> BufferGrant {
        self.buffer
    }

    /// The address and port that datagrams leave with.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn local_address(&self) -> io::Result<SocketAddrV4> {
        crate::unicast::ipv4(self.socket.local_addr()?)
    }
}

impl AsRawFd for MulticastSender {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{group, largest_datagram, loopback, next_datagram};
    use crate::{DATAGRAM_BUFFER_BYTES, MulticastReceiver};

    #[test]
    fn datagrams_leave_with_the_interfaces_address() {
        let sender = MulticastSender::open(&group(11), &loopback(), 1, None).unwrap();
        let address = sender.local_address().unwrap();
        assert_eq!(*address.ip(), loopback().address);
        assert_ne!(address.port(), 0);
    }

    #[test]
    fn largest_datagram_passes_and_one_byte_more_is_refused() {
        let address = group(12);
        let interface = loopback();
        let sender = MulticastSender::open(&address, &interface, 0, Some(1 << 20)).unwrap();
        let receiver = MulticastReceiver::open(&address, &interface, Some(1 << 20)).unwrap();
        let largest = largest_datagram(&interface);
        let datagram = vec![7; DATAGRAM_BUFFER_BYTES];
        let error = sender.send(&datagram[..=largest]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
        sender.send(&datagram[..largest]).unwrap();
        assert_eq!(next_datagram(&receiver).unwrap(), &datagram[..largest]);
    }

    #[test]
    fn a_run_that_does_not_pass_takes_nothing_else_with_it() {
        let address = group(15);
        let interface = loopback();
        let sender = MulticastSender::open(&address, &interface, 0, Some(1 << 20)).unwrap();
        let receiver = MulticastReceiver::open(&address, &interface, Some(1 << 20)).unwrap();
        let bytes = [7; 300];
        let (good, too_many) = (Run::new(&bytes, 100), Run::new(&bytes, 1));
        assert_eq!(sender.send_runs(&[good, Run::one(b"tick"), too_many, good]).unwrap(), 2);
        sender.send_runs(&[too_many, good]).unwrap_err();
        let heard: Vec<_> = (0..4).map(|_| next_datagram(&receiver).unwrap().len()).collect();
        assert_eq!(heard, [100, 100, 100, 4]);
        assert!(crate::testing::drained(&receiver));
        assert_eq!(sender.send_runs(&[]).unwrap(), 0);
    }

    #[test]
    fn every_time_to_live_is_accepted() {
        for ttl in [0, 1, 255] {
            MulticastSender::open(&group(13), &loopback(), ttl, None).unwrap();
        }
    }

    #[test]
    fn interface_that_is_not_there_is_refused() {
        let interface = Interface { index: i32::MAX as u32, ..loopback() };
        let error = MulticastSender::open(&group(14), &interface, 1, None).unwrap_err();
        assert_eq!(error.operation(), "set IP_MULTICAST_IF");
        assert!(error.mend().is_some());
    }
}
