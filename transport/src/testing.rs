//! What the tests of real sockets share. Loopback only.

use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;

use seqcast_recovery::Nanos;

use crate::{DATAGRAM_BUFFER_BYTES, Interface, MulticastAddress, MulticastReceiver, wait_readable};

/// The loopback interface.
pub(crate) fn loopback() -> Interface {
    Interface::resolve("127.0.0.1").unwrap()
}

/// The largest payload in bytes: the MTU, or the limit of an IPv4 packet where the MTU is beyond it, less the headers.
pub(crate) fn largest_datagram(interface: &Interface) -> usize {
    interface.mtu.min(65_535) as usize - 28
}

/// Group 239.255.77.`last` on a port that was free a moment ago.
pub(crate) fn group(last: u8) -> MulticastAddress {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    MulticastAddress::new(Ipv4Addr::new(239, 255, 77, last), port, None).unwrap()
}

/// The next datagram, awaited for a while that loopback needs only on a very busy machine.
pub(crate) fn next_datagram(receiver: &MulticastReceiver) -> Option<Vec<u8>> {
    let mut buffer = vec![0; DATAGRAM_BUFFER_BYTES];
    wait_readable(&[receiver.as_raw_fd()], Some(Nanos::from_millis(300))).unwrap();
    let length = receiver.recv(&mut buffer).unwrap()?;
    buffer.truncate(length);
    Some(buffer)
}

/// Whether nothing arrives for a while.
pub(crate) fn drained(receiver: &MulticastReceiver) -> bool {
    !wait_readable(&[receiver.as_raw_fd()], Some(Nanos::from_millis(50))).unwrap()
}
