//! Aeron as a system under test.
//!
//! Each side has a media driver and a client of its own, and no thread besides the one that the harness pins: the driver is in
//! INVOKER mode, and its duty cycle is part of the side's own, so that both spin. That is Aeron's setting for two cores: its
//! default, four threads a driver and one a client, has ten threads share them.
//!
//! An offer costs no system call. Messages leave in the duty cycle of the driver, as many datagrams at once as it takes, which is
//! done whenever so many are full, and at a flush.

use crate::media::{
    self, BUFFER_BYTES, DATAGRAMS_PER_CALL, Driver, HEADER_BYTES, Naks, Settings, TERM_BYTES, WINDOW_BYTES,
};
use crate::streams::{self, Publication, Shared, Side, Subscription};
use seqcast_bench::system::{End, Receiver, Sender, Setup, System};
use std::ffi::{CStr, CString};
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex};

/// The interface of the line.
const INTERFACE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Its group: the last byte is odd, the next group carries what receivers say.
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 77, 91);

/// Streams of one channel, there and back.
const STREAMS: [i32; 2] = [1, 2];

/// The longest datagram that Aeron sends, and what the length of the longest must be a multiple of.
const MTU_BYTES: (usize, usize) = (65_504, 32);

/// A driver that carries nothing over a network keeps the books once in so many cycles. Arbitrary.
const IPC_RESTS: u32 = 256;

/// Aeron, by the ways that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aeron {
    /// UDP multicast on loopback; what is lost is asked for as Aeron has it.
    Multicast,
    /// The same, but what is lost is asked for sooner.
    MulticastTuned,
    /// Shared memory: one driver, which only keeps the books.
    Ipc,
}

impl Aeron {
    fn naks(self) -> Naks {
        if self == Self::MulticastTuned { Naks::Tuned } else { Naks::Default }
    }

    /// A side with a driver.
    fn side(self, setup: &Setup, loses: bool) -> Result<Shared, String> {
        let driver = Driver::open(Settings { mtu_bytes: mtu(setup), naks: self.naks(), loses })?;
        let rests = if self == Self::Ipc { IPC_RESTS } else { 1 };
        Ok(shared(Side::new(driver, rests)?))
    }

    /// A side that receives from `other`.
    fn side_beside(self, setup: &Setup, other: &Shared) -> Result<Shared, String> {
        match self {
            Self::Ipc => streams::another(other).map(shared),
            _ => self.side(setup, setup.loss > 0.0),
        }
    }

    fn channel(self) -> Result<CString, String> {
        let channel = match self {
            Self::Ipc => "aeron:ipc".to_owned(),
            _ => {
                let socket = UdpSocket::bind((INTERFACE, 0)).map_err(|error| error.to_string())?;
                let port = socket.local_addr().map_err(|error| error.to_string())?.port();
                format!("aeron:udp?endpoint={GROUP}:{port}|interface={INTERFACE}")
            }
        };
        CString::new(channel).map_err(|error| error.to_string())
    }
}

fn shared(side: Side) -> Shared {
    Arc::new(Mutex::new(side))
}

fn mtu(setup: &Setup) -> usize {
    let (most, multiple) = MTU_BYTES;
    setup.datagram_bytes.min(most) / multiple * multiple
}

impl System for Aeron {
    type Sender = Offering;
    type Receiver = Hearing;

    fn name(&self) -> &'static str {
        match self {
            Self::Multicast => "aeron",
            Self::MulticastTuned => "aeron-tuned",
            Self::Ipc => "aeron-ipc",
        }
    }

    fn describe(&self, setup: &Setup) -> String {
        let (version, mtu, terms) = (media::version(), mtu(setup), TERM_BYTES >> 20);
        let naks = match self.naks() {
            Naks::Default => "NAKs after up to 10 ms for a group of 10",
            Naks::Tuned => "NAKs after up to 200 us for a group of 1",
        };
        match self {
            Self::Ipc => format!(
                "Aeron {version} IPC, embedded C driver invoked by the sending thread, {terms} MiB terms; no socket, no system \
                 call per message"
            ),
            _ => format!(
                "Aeron {version} UDP multicast on loopback, {mtu} B datagrams, up to {DATAGRAMS_PER_CALL} a system call, a C \
                 driver embedded in each side and invoked by its thread, {terms} MiB terms, {} MiB window, {} MiB socket \
                 buffers; {naks}",
                WINDOW_BYTES >> 20,
                BUFFER_BYTES >> 20
            ),
        }
    }

    fn refusal(&self, setup: &Setup) -> Option<String> {
        let most = mtu(setup) - HEADER_BYTES;
        if setup.segmented {
            return Some("it neither cuts nor joins datagrams".to_owned());
        }
        if *self == Self::Ipc && setup.loss > 0.0 {
            return Some("nothing is lost on the way".to_owned());
        }
        let is_too_long = setup.message_bytes > most;
        is_too_long.then(|| format!("a message has {most} B at the most in a datagram of {} B", setup.datagram_bytes))
    }

    fn repairs_loss(&self) -> bool {
        true
    }

    fn open(&self, setup: &Setup, receivers: usize) -> Result<(Offering, Vec<Hearing>), String> {
        if setup.loss > 0.0 && receivers > 1 {
            return Err("Aeron has one generator of loss, for one receiver".to_owned());
        }
        let from = self.side(setup, false)?;
        let to = (0..receivers).map(|_| self.side_beside(setup, &from)).collect::<Result<Vec<_>, _>>()?;
        let (publication, subscriptions) = streams::open(&from, &to, &self.channel()?, STREAMS[0])?;
        // Not before the generator has initialised itself, and not while the stream is being opened.
        media::lose(setup.loss, setup.seed);
        let sender = Offering::new(*self, setup, publication, true);
        Ok((sender, subscriptions.into_iter().map(Hearing).collect()))
    }

    fn open_both_ways(&self, setup: &Setup) -> Result<[End<Self>; 2], String> {
        let here = self.side(setup, setup.loss > 0.0)?;
        let there = self.side_beside(setup, &here)?;
        let sides = [&here, &there];
        let one = |from: &Shared, to: &Shared, channel: &CStr, stream| {
            let (publication, mut subscriptions) = streams::open(from, std::slice::from_ref(to), channel, stream)?;
            let subscription = subscriptions.pop().ok_or("Aeron opened no subscription")?;
            Ok::<_, String>((Offering::new(*self, setup, publication, false), Hearing(subscription)))
        };
        let (sender, heard_there) = one(sides[0], sides[1], &self.channel()?, STREAMS[0])?;
        let (answerer, heard_here) = one(sides[1], sides[0], &self.channel()?, STREAMS[1])?;
        Ok([End { sender, receiver: heard_here }, End { sender: answerer, receiver: heard_there }])
    }
}

/// The sending side.
#[derive(Debug)]
pub(crate) struct Offering {
    publication: Publication,
    /// How much is offered before the driver has its turn: what it sends at once. All that there is room for, if it sends nothing.
    at_once_bytes: u64,
    /// How long the stream was when it last had its turn.
    worked_at: u64,
    flushes: bool,
    /// Whether nobody else lets the side work.
    tends: bool,
}

impl Offering {
    fn new(aeron: Aeron, setup: &Setup, publication: Publication, tends: bool) -> Self {
        let flushes = aeron != Aeron::Ipc;
        let at_once_bytes = if flushes { mtu(setup) as u64 * u64::from(DATAGRAMS_PER_CALL) } else { u64::MAX };
        Self { publication, at_once_bytes, worked_at: 0, flushes, tends }
    }
}

impl Sender for Offering {
    #[inline]
    fn offer(&mut self, message: &[u8]) -> Result<bool, String> {
        let Some(position) = self.publication.offer(message)? else { return Ok(false) };
        if position - self.worked_at >= self.at_once_bytes {
            self.worked_at = position;
            streams::work(&self.publication.side)?;
        }
        Ok(true)
    }

    #[inline]
    fn flush(&mut self) -> Result<(), String> {
        if self.flushes { streams::work(&self.publication.side) } else { Ok(()) }
    }

    #[inline]
    fn tend(&mut self) -> Result<(), String> {
        if self.tends { streams::work(&self.publication.side) } else { Ok(()) }
    }
}

/// A receiving side.
#[derive(Debug)]
pub(crate) struct Hearing(Subscription);

impl Receiver for Hearing {
    #[inline]
    fn poll(&mut self, on_message: &mut impl FnMut(u64, &[u8])) -> Result<usize, String> {
        streams::work(&self.0.side)?;
        self.0.poll(on_message)
    }

    fn requests(&self) -> u64 {
        self.0.naks_sent()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seqcast_recovery::Nanos;
    use seqcast_transport::Clock;

    /// Sends messages of every length up to 40 bytes and returns what arrived.
    fn carry(sender: &mut Offering, receiver: &mut Hearing, rounds: usize) -> Vec<(u64, Vec<u8>)> {
        let (mut arrived, deadline) = (Vec::new(), Clock::now() + Nanos::from_secs(20));
        for message in messages(rounds) {
            while !sender.offer(&message).unwrap() {
                sender.tend().unwrap();
            }
            sender.flush().unwrap();
            receiver.poll(&mut |number, message: &[u8]| arrived.push((number, message.to_vec()))).unwrap();
        }
        while arrived.len() < 40 * rounds && Clock::now() < deadline {
            sender.tend().unwrap();
            receiver.poll(&mut |number, message: &[u8]| arrived.push((number, message.to_vec()))).unwrap();
        }
        arrived
    }

    fn messages(rounds: usize) -> impl Iterator<Item = Vec<u8>> {
        (0..rounds).flat_map(|_| (0..40).map(|length| (0..length).collect()))
    }

    #[test]
    fn every_message_arrives_both_ways() {
        let numbered: Vec<_> = (1..).zip(messages(1)).collect();
        for aeron in [Aeron::Multicast, Aeron::Ipc] {
            let setup = Setup { datagram_bytes: 1_408, ..Setup::new(64) };
            let [mut here, mut there] = aeron.open_both_ways(&setup).unwrap();
            assert_eq!(carry(&mut here.sender, &mut there.receiver, 1), numbered, "{aeron:?}");
            assert_eq!(carry(&mut there.sender, &mut here.receiver, 1), numbered, "{aeron:?}");
            assert_eq!(there.receiver.requests() + here.receiver.requests(), 0);
        }
    }

    #[test]
    fn loss_on_purpose_is_repaired_and_shows_as_requests() {
        let setup = Setup { datagram_bytes: 1_408, loss: 0.3, ..Setup::new(64) };
        let (mut sender, mut receivers) = Aeron::MulticastTuned.open(&setup, 1).unwrap();
        assert_eq!(carry(&mut sender, &mut receivers[0], 20), (1..).zip(messages(20)).collect::<Vec<_>>());
        assert!(receivers[0].requests() > 0);
    }

    #[test]
    fn datagrams_have_the_longest_length_that_aeron_allows() {
        let lengths = [1_408, 1_472, 8_192, 8_972, 65_507];
        let mtus = lengths.map(|datagram_bytes| mtu(&Setup { datagram_bytes, ..Setup::new(1) }));
        assert_eq!(mtus, [1_408, 1_472, 8_192, 8_960, 65_504]);
        let refusal =
            |message_bytes| Aeron::Multicast.refusal(&Setup { datagram_bytes: 1_408, ..Setup::new(message_bytes) });
        assert_eq!(refusal(1_376), None);
        assert!(refusal(1_377).is_some());
    }
}
