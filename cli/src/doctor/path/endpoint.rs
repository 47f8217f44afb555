//! One end of a path: the group, joined and sent to, and a unicast address beside it.

use super::probe::{self, Message};
use seqcast_protocol::SessionId;
use seqcast_subscriber::RECEIVE_BUFFER_BYTES;
use seqcast_transport::{
    DATAGRAM_BUFFER_BYTES, Interface, MulticastAddress, MulticastReceiver, MulticastSender, SocketError,
    StampedReceiver, UnicastSocket, kernel_drops,
};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, RawFd};

/// Which way something goes or has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Multicast,
    /// To or from this address.
    Unicast(SocketAddrV4),
}

/// Something that has arrived.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) message: Message,
    pub(super) sender: Ipv4Addr,
    pub(super) is_multicast: bool,
    pub(super) bytes: usize,
    pub(super) ttl: Option<u8>,
}

#[derive(Debug)]
pub(super) struct Endpoint {
    receiver: StampedReceiver<MulticastReceiver>,
    sender: MulticastSender,
    unicast: UnicastSocket,
    session: SessionId,
    next: u64,
    buffer: Vec<u8>,
    /// Packets that the kernel refused to send, and why the last one.
    pub(super) refused: u64,
    pub(super) refusal: Option<io::Error>,
}

impl Endpoint {
    /// Opens it; `port` is that for unicast, if it is free.
    pub(super) fn open(
        group: &MulticastAddress,
        interface: &Interface,
        ttl: u8,
        id: u32,
        port: u16,
    ) -> Result<Self, SocketError> {
        let receiver = MulticastReceiver::open(group, interface, Some(RECEIVE_BUFFER_BYTES))?;
        let stamped = StampedReceiver::new(receiver).and_then(|receiver| receiver.tell_ttl().map(|()| receiver));
        // Both options are older than any kernel that runs this.
        let receiver = stamped.expect("a kernel tells times and TTL");
        let at = |port| UnicastSocket::open(SocketAddrV4::new(interface.address, port), Some(RECEIVE_BUFFER_BYTES));
        Ok(Self {
            receiver,
            sender: MulticastSender::open(group, interface, ttl, None)?,
            unicast: at(port).or_else(|_| at(0))?,
            session: probe::session(id),
            next: 1,
            buffer: vec![0; DATAGRAM_BUFFER_BYTES],
            refused: 0,
            refusal: None,
        })
    }

    /// Where it hears unicast.
    pub(super) const fn port(&self) -> u16 {
        self.unicast.local_address().port()
    }

    /// Sends a message in a packet of `bytes` at least; returns whether the kernel took it.
    pub(super) fn send(&mut self, way: Way, message: &Message, bytes: usize) -> bool {
        let packet = probe::encode(self.session, self.next, message, bytes);
        self.next += 1;
        let sent = match way {
            Way::Multicast => self.sender.send(&packet),
            Way::Unicast(address) => self.unicast.send_to(&packet, address),
        };
        if let Err(error) = sent {
            self.refused += 1;
            self.refusal = Some(error);
            return false;
        }
        true
    }

    /// The next message of a doctor, without what else is on the line; `None` when there is none.
    pub(super) fn receive(&mut self) -> Option<Arrival> {
        loop {
            // What a socket has to complain about concerns an earlier packet.
            if let Some(arrival) = self.receiver.recv(&mut self.buffer).ok().flatten() {
                if let Some(message) = probe::decode(&self.buffer[..arrival.length]) {
                    let (sender, bytes, ttl) = (*arrival.sender.ip(), arrival.length, arrival.ttl);
                    return Some(Arrival { message, sender, is_multicast: true, bytes, ttl });
                }
            } else if let Some((bytes, sender)) = self.unicast.recv_from(&mut self.buffer).ok().flatten() {
                if let Some(message) = probe::decode(&self.buffer[..bytes]) {
                    return Some(Arrival { message, sender: *sender.ip(), is_multicast: false, bytes, ttl: None });
                }
            } else {
                return None;
            }
        }
    }

    /// What the kernel has dropped of the group for want of receive buffer.
    pub(super) fn kernel_drops(&self) -> u64 {
        kernel_drops(self.receiver.as_raw_fd()).unwrap_or(0).into()
    }

    /// The sockets to wait for.
    pub(super) fn fds(&self) -> [RawFd; 2] {
        [self.receiver.as_raw_fd(), self.unicast.as_raw_fd()]
    }
}
