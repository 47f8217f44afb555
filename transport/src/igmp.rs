//! Hearing who asks a network which groups it wants: the IGMP querier, without which switches that snoop forget groups.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use socket2::{Domain, Protocol, Socket, Type};

use crate::interface::Interface;
use crate::unicast::received_from;

/// IGMP's number among the protocols of IP (RFC 3376, section 4).
const IGMP: i32 = 2;

/// The type of a membership query (RFC 3376, section 4).
const QUERY: u8 = 0x11;

/// The shortest query of version 3; those before it have 8 bytes (RFC 3376, section 7.1).
const VERSION_3_BYTES: usize = 12;

/// A query that came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IgmpQuery {
    /// Who asks.
    pub querier: Ipv4Addr,
    /// In which version of IGMP, 1..=3.
    pub version: u8,
}

/// A non-blocking raw socket that hears the IGMP messages on one interface.
#[derive(Debug)]
pub struct IgmpListener {
    socket: UdpSocket,
}

impl IgmpListener {
    /// Listens on `interface`.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error: `PermissionDenied` without root or CAP_NET_RAW.
    pub fn open(interface: &Interface) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::RAW.nonblocking(), Some(Protocol::from(IGMP)))?;
        socket.bind_device(Some(interface.name.as_bytes()))?;
        Ok(Self { socket: socket.into() })
    }

    /// The next query, or `None` when there is none.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn recv(&self) -> io::Result<Option<IgmpQuery>> {
        let mut packet = [0; 2_048];
        while let Some((length, sender)) = received_from(&self.socket, &mut packet)? {
            if let Some(query) = query(&packet[..length], sender) {
                return Ok(Some(query));
            }
        }
        Ok(None)
    }
}

impl AsRawFd for IgmpListener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// The query in an IP packet, if it is one.
fn query(packet: &[u8], sender: SocketAddrV4) -> Option<IgmpQuery> {
    // The header's length is in words of 4 bytes.
    let header_bytes = usize::from(packet.first()? & 0x0f) * 4;
    let message = packet.get(header_bytes..)?;
    let &[QUERY, response_time, ..] = message else { return None };
    let version = match (message.len(), response_time) {
        (VERSION_3_BYTES.., _) => 3,
        (8, 0) => 1,
        (8, _) => 2,
        _ => return None,
    };
    Some(IgmpQuery { querier: *sender.ip(), version })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(message: &[u8]) -> Option<u8> {
        // With a router alert option, as IGMP has.
        let packet = [&[0x46][..], &[0; 23], message].concat();
        query(&packet, SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).map(|query| query.version)
    }

    #[test]
    fn queries_tell_their_version_and_reports_are_none() {
        assert_eq!(version(&[&[QUERY, 100][..], &[0; 10]].concat()), Some(3));
        assert_eq!(version(&[QUERY, 100, 0, 0, 0, 0, 0, 0]), Some(2));
        assert_eq!(version(&[QUERY, 0, 0, 0, 0, 0, 0, 0]), Some(1));
        assert_eq!(version(&[0x22, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0]), None);
        for wrong in [&[][..], &[QUERY], &[QUERY, 100, 0]] {
            assert_eq!(version(wrong), None);
        }
        assert_eq!(query(&[], SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)), None);
    }

    #[test]
    fn listening_is_permitted_or_told_not_to_be() {
        match IgmpListener::open(&Interface::resolve("127.0.0.1").unwrap()) {
            Ok(listener) => assert_eq!(listener.recv().unwrap(), None),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
        }
    }
}
