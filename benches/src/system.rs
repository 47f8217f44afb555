//! What is measured: anything that carries numbered messages, in order, from one thread to others.
//!
//! A system is opened once for a run, for a stream on the sender's core, where threads that it starts stay. Its sender and each
//! of its receivers are then moved to threads of their own, pinned to their cores, and driven from there and from nowhere else. No
//! call waits: the harness spins.
//!
//! Messages have numbers that count from 1. The harness compares the bytes of each with what was offered under its number,
//! so a system whose messages carry no number counts them itself; what is lost in silence shows in the bytes of the next.

use seqcast_subscriber::RECEIVE_BUFFER_BYTES;

/// What a system is opened for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setup {
    /// The longest message, in bytes.
    pub message_bytes: usize,
    /// The longest UDP payload, `64..=65507` bytes.
    pub datagram_bytes: usize,
    /// Whether the kernel is to cut one send into datagrams (UDP_SEGMENT) and to hand over several as one (UDP_GRO), where
    /// several are ready.
    pub segmented: bool,
    /// The share of datagrams lost on purpose at each receiver, `0.0..1.0`; answers to requests are lost likewise.
    pub loss: f64,
    /// The seed of that loss.
    pub seed: u64,
    /// For how many bytes of messages the sender must be able to repair a loss.
    pub retain_bytes: usize,
    /// What is asked for as the receive buffer of each receiver's sockets.
    pub receive_buffer_bytes: usize,
}

impl Setup {
    /// Messages of `message_bytes`, everything else as a user has it who sets nothing: datagrams of 1,472 bytes, one send
    /// for each, no loss on purpose, 64 MiB retained, receive buffers of 16 MiB.
    #[must_use]
    pub const fn new(message_bytes: usize) -> Self {
        Self {
            message_bytes,
            datagram_bytes: 1_472,
            segmented: false,
            loss: 0.0,
            seed: 1,
            retain_bytes: 64 << 20,
            receive_buffer_bytes: RECEIVE_BUFFER_BYTES,
        }
    }
}

/// Says in a description whether the kernel cuts and joins datagrams.
#[must_use]
pub const fn offloads(segmented: bool) -> &'static str {
    if segmented { "UDP_SEGMENT and UDP_GRO on" } else { "UDP_SEGMENT and UDP_GRO off" }
}

/// One side of a system that carries messages both ways.
#[derive(Debug)]
pub struct End<S: System + ?Sized> {
    /// Sends to the other side.
    pub sender: S::Sender,
    /// Hears the other side.
    pub receiver: S::Receiver,
}

/// A system under test.
pub trait System: Send + Sync {
    /// Its sending side.
    type Sender: Sender;
    /// Its receiving side.
    type Receiver: Receiver;

    /// The name that it is chosen and shown by: lower case, no spaces.
    fn name(&self) -> &'static str;

    /// What exactly it is, in one line: what carries the messages, which threads and settings it has, whether the kernel cuts
    /// and joins datagrams.
    fn describe(&self, setup: &Setup) -> String;

    /// Why it cannot be measured so, if it cannot.
    fn refusal(&self, _setup: &Setup) -> Option<String> {
        None
    }

    /// Whether it repairs what is lost, so that a message which does not arrive is a violation.
    fn repairs_loss(&self) -> bool;

    /// Opens one sender, and receivers that each get every message. Returns when all of them are ready.
    ///
    /// # Errors
    ///
    /// In words, when it cannot be opened.
    fn open(&self, setup: &Setup, receivers: usize) -> Result<(Self::Sender, Vec<Self::Receiver>), String>;

    /// Opens two sides that send to each other: two of [`Self::open`] unless there is a better way.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    fn open_both_ways(&self, setup: &Setup) -> Result<[End<Self>; 2], String> {
        let one = || {
            let (sender, mut receivers) = self.open(setup, 1)?;
            let receiver = receivers.pop().ok_or("no receiver was opened")?;
            Ok::<_, String>((sender, receiver))
        };
        let (there, back) = (one()?, one()?);
        Ok([End { sender: there.0, receiver: back.1 }, End { sender: back.0, receiver: there.1 }])
    }
}

/// The sending side.
pub trait Sender: Send {
    /// Takes the next message, which leaves with the next flush at the latest. Returns false when there is no room now: it
    /// is offered again.
    ///
    /// # Errors
    ///
    /// In words, when nothing more can be sent.
    fn offer(&mut self, message: &[u8]) -> Result<bool, String>;

    /// Sends what was taken.
    ///
    /// # Errors
    ///
    /// As [`Self::offer`].
    fn flush(&mut self) -> Result<(), String>;

    /// Does what else a sender has to do on its thread; called while there is nothing to send, until the run is over.
    ///
    /// # Errors
    ///
    /// As [`Self::offer`].
    fn tend(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// A receiving side.
pub trait Receiver: Send {
    /// Hands over what has arrived, some thousand messages at the most: the number and the bytes of each. Returns how many.
    ///
    /// # Errors
    ///
    /// In words, when nothing more can be received.
    fn poll(&mut self, on_message: &mut impl FnMut(u64, &[u8])) -> Result<usize, String>;

    /// How many messages it has told to be lost so far: numbers that were skipped without it are a violation.
    fn lost(&self) -> u64 {
        0
    }

    /// How often it has asked for something again so far.
    fn requests(&self) -> u64 {
        0
    }
}
