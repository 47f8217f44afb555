//! A line heard as it is: every datagram with its sender and its time, whatever is in it.

use crate::input::Datagram;
use seqcast_recovery::Nanos;
use seqcast_subscriber::{LineSource, RECEIVE_BUFFER_BYTES};
use seqcast_transport::{
    Clock, Inbox, LineAddress, MulticastReceiver, UnicastSocket, kernel_drops, set_coalescing, set_timestamps,
};
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, RawFd};

/// How lines are written that can be heard like this.
pub const LIVE_FORM: &str = "GROUP:PORT[@INTERFACE][,source=ADDRESS]|ADDRESS:PORT[,source=ADDRESS]";

/// A line that is open, with a socket and a buffer of its own.
#[derive(Debug)]
pub struct LiveLine {
    socket: Socket,
    inbox: Inbox,
    destination: SocketAddrV4,
    source: Option<Ipv4Addr>,
    counters: LiveCounters,
}

/// What a line brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveCounters {
    /// Datagrams handed out.
    pub datagrams: u64,
    /// Datagrams from another sender than the one that was set.
    pub other_sources: u64,
    /// Datagrams without a time stamp of the kernel; their time is that at which they were taken.
    pub unstamped: u64,
    /// Errors of the socket, which goes on.
    pub errors: u64,
}

#[derive(Debug)]
enum Socket {
    Multicast(MulticastReceiver),
    Unicast(UnicastSocket),
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Multicast(socket) => socket.as_raw_fd(),
            Self::Unicast(socket) => socket.as_raw_fd(),
        }
    }
}

impl LiveLine {
    /// Joins the group of `line`, or listens at its address; `interface` is that of a group that names none.
    ///
    /// # Errors
    ///
    /// A line that is a ring holds no datagrams; else, what cannot be had.
    pub fn open(line: &LineSource, interface: &str) -> Result<Self, Box<dyn Error>> {
        let (address, source) = line.address().ok_or("a ring holds no datagrams, only messages")?;
        let room = Some(RECEIVE_BUFFER_BYTES);
        let (socket, buffer, destination) = match address {
            LineAddress::Multicast(group) => {
                let interface = address.interface(interface)?;
                let socket = match source.filter(|_| group.is_source_specific()) {
                    Some(source) => MulticastReceiver::open_source(group, source, &interface, room)?,
                    None => MulticastReceiver::open(group, &interface, room)?,
                };
                let buffer = socket.buffer();
                (Socket::Multicast(socket), buffer, group.socket_address())
            }
            LineAddress::Unicast(addresses) => {
                let socket = UnicastSocket::open(addresses.socket_addresses()[0], room)?;
                let (buffer, destination) = (socket.buffer(), socket.local_address());
                (Socket::Unicast(socket), buffer, destination)
            }
        };
        if !buffer.is_full() {
            let granted_bytes = buffer.granted_bytes;
            tracing::warn!(
                "{line}: the receive buffer has {granted_bytes} bytes instead of {RECEIVE_BUFFER_BYTES}; to allow more: \
                 sysctl -w net.core.rmem_max={RECEIVE_BUFFER_BYTES}"
            );
        }
        set_timestamps(socket.as_raw_fd(), true)?;
        // A kernel that does not join datagrams hands them over one by one.
        let _ = set_coalescing(socket.as_raw_fd(), true);
        Ok(Self { socket, inbox: Inbox::several(), destination, source, counters: LiveCounters::default() })
    }

    /// The next datagram and when it came, since 1970; `None` when there is none.
    pub fn receive(&mut self) -> Option<(Nanos, Datagram<'_>)> {
        let place = loop {
            match self.inbox.pop() {
                Some(_) if self.source.is_some_and(|source| source != *self.inbox.sender().ip()) => {
                    self.counters.other_sources += 1;
                }
                Some(place) => break place,
                None => match self.inbox.fill(self.socket.as_raw_fd()) {
                    Ok(true) => {}
                    Ok(false) => return None,
                    Err(_) => {
                        self.counters.errors += 1;
                        return None;
                    }
                },
            }
        };
        self.counters.datagrams += 1;
        let (time, source) = (self.inbox.received_at(), self.inbox.sender());
        self.counters.unstamped += u64::from(time.is_none());
        let time = time.unwrap_or_else(|| Nanos::from_micros(Clock::unix_micros()));
        Some((time, Datagram { source, destination: self.destination, payload: self.inbox.datagram(place) }))
    }

    /// Where its datagrams are sent to.
    #[must_use]
    pub const fn destination(&self) -> SocketAddrV4 {
        self.destination
    }

    /// What it brought so far.
    #[must_use]
    pub const fn counters(&self) -> LiveCounters {
        self.counters
    }

    /// How many datagrams the kernel has dropped since the line was opened, for want of receive buffer.
    #[must_use]
    pub fn kernel_drops(&self) -> u64 {
        kernel_drops(self.socket.as_raw_fd()).unwrap_or(0).into()
    }

    /// The socket to wait for.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// When a live line is not listened to any longer.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    count: u64,
    end: Nanos,
}

/// The longest wait for a datagram, so that signals that came just before it are seen.
pub const LONGEST_WAIT: Nanos = Nanos::from_millis(100);

impl Limit {
    /// After `count` datagrams, or `time` from now on, what comes first; neither if neither is given.
    #[must_use]
    pub fn new(count: Option<u64>, time: Option<std::time::Duration>) -> Self {
        let end = time.map_or(Nanos::MAX, |time| Clock::now() + time.into());
        Self { count: count.unwrap_or(u64::MAX), end }
    }

    /// Whether `count` datagrams are enough.
    #[must_use]
    pub const fn is_reached_by(&self, count: u64) -> bool {
        count >= self.count
    }

    /// How long to wait for the next datagram; `None` when the time is over.
    #[must_use]
    pub fn wait(&self) -> Option<Nanos> {
        let left = self.end - Clock::now();
        (left > Nanos::ZERO).then_some(left.min(LONGEST_WAIT))
    }
}
