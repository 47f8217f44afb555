//! UDP sockets alone: what the kernel itself can do with the datagrams that seqcast would send.
//!
//! A datagram holds what a packet of seqcast holds, so that both have the same lengths: a header of 20 bytes, here the number
//! of the first message, then each message behind its length. Nothing is retained, nothing repaired.

use crate::stage::{INTERFACE, Stage, words};
use crate::system::{Receiver, Sender, Setup, System, offloads};
use seqcast_protocol::{HEADER_BYTES, LENGTH_BYTES};
use seqcast_recovery::{MAX_RUN_PACKETS, Run};
use seqcast_transport::{
    ConnectedSocket, DATAGRAM_BUFFER_BYTES, Inbox, Interface, MulticastReceiver, MulticastSender, UnicastSocket,
    set_coalescing,
};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};

/// The send buffer to ask for: as much as a publisher does.
const SEND_BUFFER_BYTES: usize = 1 << 20;

/// The most bytes that one send takes, cut or not: an IPv4 UDP payload.
const SEGMENTED_BYTES: usize = 65_507;

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
            "UDP {way} sockets on loopback, {} B datagrams, {}, {} MiB receive buffers; nothing retained, nothing repaired",
            setup.datagram_bytes,
            offloads(setup.segmented),
            setup.receive_buffer_bytes >> 20
        )
    }

    fn refusal(&self, setup: &Setup) -> Option<String> {
        if setup.loss > 0.0 {
            return Some("nothing repairs what is lost".to_owned());
        }
        (setup.segmented && *self == Self::Unicast).then(|| "its sends are not cut".to_owned())
    }

    fn repairs_loss(&self) -> bool {
        false
    }

    fn open(&self, setup: &Setup, receivers: usize) -> Result<(BareSender, Vec<BareReceiver>), String> {
        let receive_bytes = Some(setup.receive_buffer_bytes);
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
        let receivers = sockets.into_iter().map(|socket| BareReceiver::new(socket, setup.segmented));
        Ok((BareSender::new(out, setup), receivers.collect::<Result<_, _>>()?))
    }
}

#[derive(Debug)]
enum Out {
    Multicast(MulticastSender),
    Unicast(ConnectedSocket),
}

/// Fills datagrams and sends them: each at once, or as many as one call takes that the kernel cuts.
#[derive(Debug)]
pub struct BareSender {
    socket: Out,
    segmented: bool,
    datagram_bytes: usize,
    /// Datagrams that are full, then the one that is being filled.
    staged: Box<[u8]>,
    full: Vec<usize>,
    /// Where the datagram that is being filled begins and ends.
    open: Range<usize>,
    /// The number of the next message.
    next: u64,
}

impl BareSender {
    fn new(socket: Out, setup: &Setup) -> Self {
        let &Setup { datagram_bytes, segmented, .. } = setup;
        let staged = vec![0; if segmented { SEGMENTED_BYTES } else { datagram_bytes }].into_boxed_slice();
        let full = Vec::with_capacity(MAX_RUN_PACKETS);
        Self { socket, segmented, datagram_bytes, staged, full, open: 0..0, next: 1 }
    }

    /// Closes the datagram that is being filled, and sends if there is no room for another.
    fn close(&mut self) -> Result<(), String> {
        self.full.push(self.open.len());
        self.open.start = self.open.end;
        let has_room = self.open.end + self.datagram_bytes <= self.staged.len() && self.full.len() < MAX_RUN_PACKETS;
        if self.segmented && has_room { Ok(()) } else { self.send() }
    }

    fn send(&mut self) -> Result<(), String> {
        let (mut rest, mut lengths) = (&self.staged[..self.open.end], &self.full[..]);
        while let Some(&first) = lengths.first() {
            // All of one length but the last, which may be shorter.
            let equal = lengths.iter().take_while(|&&length| length == first).count();
            let count = equal + usize::from(lengths.get(equal).is_some_and(|&length| length < first));
            let (run, behind) = rest.split_at(lengths[..count].iter().sum());
            self.send_run(Run::new(run, first))?;
            (rest, lengths) = (behind, &lengths[count..]);
        }
        self.full.clear();
        self.open = 0..0;
        Ok(())
    }

    fn send_run(&self, run: Run<'_>) -> Result<(), String> {
        loop {
            let sent = match &self.socket {
                Out::Multicast(socket) if run.count() > 1 => socket.send_runs(&[run]).map(|_| ()),
                Out::Multicast(socket) => socket.send(run.bytes()),
                Out::Unicast(socket) => socket.send(run.bytes()),
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
        if !self.open.is_empty() && self.open.len() + bytes > self.datagram_bytes {
            self.close()?;
        }
        if self.open.is_empty() {
            self.staged[self.open.start..][..size_of::<u64>()].copy_from_slice(&self.next.to_be_bytes());
            self.open.end += HEADER_BYTES;
        }
        let room = self.staged.get_mut(self.open.end..self.open.end + bytes);
        let (length, payload) = room.ok_or("a message longer than a datagram")?.split_at_mut(LENGTH_BYTES);
        length.copy_from_slice(&(message.len() as u16).to_be_bytes());
        payload.copy_from_slice(message);
        self.open.end += bytes;
        self.next += 1;
        Ok(true)
    }

    #[inline]
    fn flush(&mut self) -> Result<(), String> {
        if !self.open.is_empty() {
            self.close()?;
        }
        if self.full.is_empty() { Ok(()) } else { self.send() }
    }
}

#[derive(Debug)]
enum In {
    Multicast(MulticastReceiver),
    Unicast(UnicastSocket),
}

impl In {
    fn fd(&self) -> RawFd {
        match self {
            Self::Multicast(socket) => socket.as_raw_fd(),
            Self::Unicast(socket) => socket.as_raw_fd(),
        }
    }
}

/// Takes datagrams apart.
#[derive(Debug)]
pub struct BareReceiver {
    socket: In,
    /// Where the kernel puts what it has joined, if it is to.
    joined: Option<Inbox>,
    buffer: Box<[u8]>,
    count: Count,
}

/// The number that is expected next, and how many were left out before it.
#[derive(Clone, Copy, Debug)]
struct Count {
    next: u64,
    lost: u64,
}

impl BareReceiver {
    fn new(socket: In, segmented: bool) -> Result<Self, String> {
        if segmented {
            set_coalescing(socket.fd(), true).map_err(words)?;
        }
        let joined = segmented.then(Inbox::several);
        let buffer = vec![0; DATAGRAM_BUFFER_BYTES].into_boxed_slice();
        Ok(Self { socket, joined, buffer, count: Count { next: 1, lost: 0 } })
    }
}

impl Receiver for BareReceiver {
    #[inline]
    fn poll(&mut self, on_message: &mut impl FnMut(u64, &[u8])) -> Result<usize, String> {
        let mut count = 0;
        for _ in 0..DATAGRAMS_PER_POLL {
            if let Some(inbox) = &mut self.joined {
                if inbox.is_empty() && !inbox.fill(self.socket.fd()).map_err(words)? {
                    break;
                }
                let Some(place) = inbox.pop() else { break };
                count += self.count.take(inbox.datagram(place), on_message)?;
                continue;
            }
            let received = match &self.socket {
                In::Multicast(socket) => socket.recv(&mut self.buffer),
                In::Unicast(socket) => socket.recv(&mut self.buffer),
            };
            let Some(length) = received.map_err(words)? else { break };
            count += self.count.take(&self.buffer[..length], on_message)?;
        }
        Ok(count)
    }

    fn lost(&self) -> u64 {
        self.count.lost
    }
}

impl Count {
    /// Takes a datagram apart; returns how many messages were in it.
    #[inline]
    fn take(&mut self, datagram: &[u8], on_message: &mut impl FnMut(u64, &[u8])) -> Result<usize, String> {
        let (header, mut rest) = datagram.split_at_checked(HEADER_BYTES).ok_or("a datagram without its header")?;
        let first = u64::from_be_bytes(*header.first_chunk().ok_or("a datagram without its header")?);
        self.lost += first.saturating_sub(self.next);
        self.next = first;
        while let Some((&bytes, behind)) = rest.split_first_chunk() {
            let message = behind.split_at_checked(usize::from(u16::from_be_bytes(bytes)));
            let (payload, behind) = message.ok_or("a message longer than its datagram")?;
            on_message(self.next, payload);
            self.next += 1;
            rest = behind;
        }
        Ok((self.next - first) as usize)
    }
}
