//! A publisher that publishes message by message; if so told, through a relay on the publishing thread, which loses on purpose
//! what it is told to.
//!
//! With the relay a chosen packet can be lost, the same for every subscriber. It costs the publishing thread a receive and a send behind each packet. It is done before
//! a subscriber can have found a gap and asked for it, so that it stands in the way of no answer.

use crate::messages::Messages;
use crate::stage::{Gate, INTERFACE, Stage, words};
use seqcast_protocol::{Packet, PacketKind, SequenceRange};
use seqcast_publisher::Publisher;
use seqcast_recovery::Nanos;
use seqcast_transport::{Clock, DATAGRAM_BUFFER_BYTES, Interface, MulticastReceiver, MulticastSender, wait_readable};
use std::os::fd::AsRawFd;

/// The relay's buffers, in bytes: some thousands of small packets, for the time of a stall.
const BUFFER_BYTES: usize = 4 << 20;

/// Carries datagrams from the publisher's line to the subscribers'.
#[derive(Debug)]
struct Relay {
    from: MulticastReceiver,
    to: MulticastSender,
    buffer: Box<[u8]>,
}

impl Relay {
    fn open(stage: &Stage) -> Result<Self, String> {
        let interface = Interface::resolve(INTERFACE).map_err(words)?;
        Ok(Self {
            from: MulticastReceiver::open(&stage.line(), &interface, Some(BUFFER_BYTES)).map_err(words)?,
            to: MulticastSender::open(&stage.relayed_line(), &interface, 1, Some(BUFFER_BYTES)).map_err(words)?,
            buffer: vec![1; DATAGRAM_BUFFER_BYTES].into_boxed_slice(),
        })
    }

    /// Carries everything that has arrived, but for the packets with messages of which `is_lost` says so. Returns how many
    /// packets with messages there were.
    fn carry(&mut self, mut is_lost: impl FnMut(SequenceRange) -> bool) -> Result<usize, String> {
        let mut count = 0;
        while let Some(length) = self.from.recv(&mut self.buffer).map_err(words)? {
            let datagram = &self.buffer[..length];
            let packet = Packet::parse(datagram).map_err(words)?;
            let is_data = packet.kind() == PacketKind::Data;
            count += usize::from(is_data);
            if !(is_data && is_lost(packet.range())) {
                self.to.send(datagram).map_err(words)?;
            }
        }
        Ok(count)
    }
}

/// Publishes messages one by one, each in a packet of its own.
#[derive(Debug)]
pub(crate) struct Feed<'m> {
    publisher: Publisher,
    relay: Option<Relay>,
    messages: &'m Messages,
    published: usize,
}

/// When a packet left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// Before the flush.
    pub(crate) from: Nanos,
    /// When the flush had returned.
    pub(crate) until: Nanos,
}

impl<'m> Feed<'m> {
    /// Begins with the first of `messages`, without a relay.
    pub(crate) fn direct(publisher: Publisher, messages: &'m Messages) -> Self {
        Self { publisher, relay: None, messages, published: 0 }
    }

    /// Begins with the first of `messages`, through a relay.
    pub(crate) fn relayed(stage: &Stage, publisher: Publisher, messages: &'m Messages) -> Result<Self, String> {
        Ok(Self { publisher, relay: Some(Relay::open(stage)?), messages, published: 0 })
    }

    /// The publisher.
    pub(crate) fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// How many messages have been published.
    pub(crate) fn published(&self) -> usize {
        self.published
    }

    /// Publishes the next message. A relay carries it on, unless `is_lost` says that this packet is to be lost.
    pub(crate) fn send(&mut self, gate: &Gate, mut is_lost: impl FnMut(SequenceRange) -> bool) -> Result<Sent, String> {
        self.publisher.publish(self.messages.get(self.published)).map_err(words)?;
        self.published += 1;
        let from = Clock::now();
        let flushed = self.publisher.flush().map_err(words)?;
        let until = Clock::now();
        if flushed.refused > 0 {
            return Err("the kernel refused a packet".to_owned());
        }
        // Loopback hands it over within the send, but for rare moments.
        if let Some(relay) = &mut self.relay {
            while relay.carry(&mut is_lost)? == 0 {
                gate.check(Clock::now())?;
            }
        }
        Ok(Sent { from, until })
    }

    /// Answers requests, if that is this thread's work.
    pub(crate) fn answer(&mut self) {
        self.publisher.do_work();
    }

    /// Answers requests, if that is this thread's work, and carries heartbeats on.
    pub(crate) fn tend(&mut self) -> Result<(), String> {
        self.publisher.do_work();
        self.relay.as_mut().map_or(Ok(0), |relay| relay.carry(|_| false)).map(|_| ())
    }

    /// Tends until `due`, spinning or asleep between what there is to do.
    pub(crate) fn tend_until(&mut self, due: Nanos, spins: bool, gate: &Gate) -> Result<(), String> {
        loop {
            self.tend()?;
            let now = Clock::now();
            gate.check(now)?;
            if now >= due {
                return Ok(());
            }
            if !spins {
                let fds: Vec<_> = self.relay.iter().map(|relay| relay.from.as_raw_fd()).collect();
                wait_readable(&fds, Some(due - now)).map_err(words)?;
            }
        }
    }
}
