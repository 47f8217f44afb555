//! UDP sockets alone: what the kernel itself can do with the datagrams that seqcast would send.
//!
//! A datagram holds what a packet of seqcast holds, so that both have the same lengths: a header of 20 bytes, here the number
//! of the first message, then each message behind its length. Nothing is retained, nothing repaired.

use crate::stage::{INTERFACE, Stage, words};
use crate::system::{Receiver, Sender, Setup, System};
use seqcast_protocol::{HEADER_BYTES, LENGTH_BYTES};
use seqcast_transport::{
    ConnectedSocket, DATAGRAM_BUFFER_BYTES, Interface, MulticastReceiver, MulticastSender, UnicastSocket,
};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

/// The receive buffer to ask for: as much as a subscriber does.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// The send buffer to ask for: as much as a publisher does.
const SEND_BUFFER_BYTES: usize = 1 << 20;

/// How many datagrams are taken at once, as many as a subscriber takes in a duty cycle.
const DATAGRAMS_PER_POLL: usize = 256;

/// Plain UDP sockets on loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BareUdp {
    /// From one to all that have joined a group.
    Multicast,
    /// From one to one.
    Unicast,
}

impl BareUdp {
    /// What a datagram with one message has besides it.
    pub(crate) const FRAMING_BYTES: usize = HEADER_BYTES + LENGTH_BYTES;
}

impl System for BareUdp {
    type Sender = BareSender;
    type Receiver = BareReceiver;

    fn name(&self) -> &'static str {
        match self {
            Self::Multicast => "bare-multicast",
            Self::Unicast => "bare-unicast",
        }
    }

    fn describe(&self, setup: &Setup) -> String {
        let way = if *self == Self::Multicast { "multicast" } else { "unicast" };
        format!(
            "UDP {way} sockets on loopback, {} B datagrams, UDP_SEGMENT and UDP_GRO off; nothing retained, nothing repaired",
            setup.datagram_bytes
        )
    }

    fn refusal(&self, setup: &Setup) -> Option<String> {
        if setup.loss > 0.0 {
            return Some("nothing repairs what is lost".to_owned());
        }
        setup.segmented.then(|| "it has no segmented send".to_owned())
    }

    fn repairs_loss(&self) -> bool {
        false
    }

    fn open(&self, setup: &Setup, receivers: usize) -> Result<(BareSender, Vec<BareReceiver>), String> {
        let receive_bytes = Some(RECEIVE_BUFFER_BYTES);
        let (out, sockets): (_, Vec<_>) = match self {
            Self::Multicast => {
                let (line, interface) = (Stage::new()?.line(), Interface::resolve(INTERFACE).map_err(words)?);
                let join = |_| MulticastReceiver::open(&line, &interface, receive_bytes).map(In::Multicast);
                let sockets = (0..receivers).map(join).collect::<Result<_, _>>().map_err(words)?;
                let out = MulticastSender::open(&line, &interface, 1, Some(SEND_BUFFER_BYTES)).map_err(words)?;
                (Out::Multicast(out), sockets)
            }
            Self::Unicast if receivers > 1 => return Err("unicast has one receiver".to_owned()),
            Self::Unicast => {
                let any_port = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
                let socket = UnicastSocket::open(any_port, receive_bytes).map_err(words)?;
                let out = ConnectedSocket::open(Ipv4Addr::LOCALHOST, socket.local_address(), None).map_err(words)?;
                (Out::Unicast(out), vec![In::Unicast(socket)])
            }
        };
        Ok((BareSender::new(out, setup.datagram_bytes), sockets.into_iter().map(BareReceiver::new).collect()))
    }
}

#[derive(Debug)]
enum Out {
    Multicast(MulticastSender),
    Unicast(ConnectedSocket),
}

/// Fills datagrams and sends them.
#[derive(Debug)]
pub struct BareSender {
    socket: Out,
    datagram: Box<[u8]>,
    filled: usize,
    /// The number of the next message.
    next: u64,
}

impl BareSender {
    fn new(socket: Out, datagram_bytes: usize) -> Self {
        Self { socket, datagram: vec![0; datagram_bytes].into_boxed_slice(), filled: 0, next: 1 }
    }

    fn send(&mut self) -> Result<(), String> {
        let datagram = &self.datagram[..self.filled];
        self.filled = 0;
        loop {
            let sent = match &self.socket {
                Out::Multicast(socket) => socket.send(datagram),
                Out::Unicast(socket) => socket.send(datagram),
            };
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return sent.map_err(words),
            }
        }
    }
}

impl Sender for BareSender {
    #[inline]
    fn offer(&mut self, message: &[u8]) -> Result<bool, String> {
        let bytes = LENGTH_BYTES + message.len();
        if self.filled + bytes > self.datagram.len() && self.filled > 0 {
            self.send()?;
        }
        if self.filled == 0 {
            self.datagram[..size_of::<u64>()].copy_from_slice(&self.next.to_be_bytes());
            self.filled = HEADER_BYTES;
        }
        let room = self.datagram.get_mut(self.filled..self.filled + bytes).ok_or("a message longer than a datagram")?;
        let (length, payload) = room.split_at_mut(LENGTH_BYTES);
        length.copy_from_slice(&(message.len() as u16).to_be_bytes());
        payload.copy_from_slice(message);
        self.filled += bytes;
        self.next += 1;
        Ok(true)
    }

    #[inline]
    fn flush(&mut self) -> Result<(), String> {
        if self.filled > 0 { self.send() } else { Ok(()) }
    }
}

#[derive(Debug)]
enum In {
    Multicast(MulticastReceiver),
    Unicast(UnicastSocket),
}

/// Takes datagrams apart.
#[derive(Debug)]
pub struct BareReceiver {
    socket: In,
    buffer: Box<[u8]>,
    /// The number that is expected next.
    next: u64,
    lost: u64,
}

impl BareReceiver {
    fn new(socket: In) -> Self {
        Self { socket, buffer: vec![0; DATAGRAM_BUFFER_BYTES].into_boxed_slice(), next: 1, lost: 0 }
    }
}

impl Receiver for BareReceiver {
    #[inline]
    fn poll(&mut self, on_message: &mut impl FnMut(u64, &[u8])) -> Result<usize, String> {
        let mut count = 0;
        for _ in 0..DATAGRAMS_PER_POLL {
            let received = match &self.socket {
                In::Multicast(socket) => socket.recv(&mut self.buffer),
                In::Unicast(socket) => socket.recv(&mut self.buffer),
            };
            let Some(length) = received.map_err(words)? else { break };
            let (header, mut rest) =
                self.buffer[..length].split_at_checked(HEADER_BYTES).ok_or("a datagram without its header")?;
            let mut number = u64::from_be_bytes(*header.first_chunk().ok_or("a datagram without its header")?);
            self.lost += number.saturating_sub(self.next);
            while let Some((&bytes, behind)) = rest.split_first_chunk() {
                let (payload, behind) = behind
                    .split_at_checked(usize::from(u16::from_be_bytes(bytes)))
                    .ok_or("a message longer than its datagram")?;
                on_message(number, payload);
                (number, rest) = (number + 1, behind);
                count += 1;
            }
            self.next = number;
        }
        Ok(count)
    }

    fn lost(&self) -> u64 {
        self.lost
    }
}
