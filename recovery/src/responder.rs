//! Answers requests from the retained ring: the four rules.
//!
//! 1. One request gets at most one packet, of whole messages that fit, never past the requested range.
//! 2. A session that is blank is taken for ours; another one is answered only if so set.
//! 3. What is overwritten is answered by one heartbeat whose number is the oldest still retained.
//! 4. Everything else gets silence, and a reason under which it is counted.

use crate::ring::sync::AtomicU64;
use crate::{RingReadError, RingReader};
use alloc::{boxed::Box, vec};
use seqcast_protocol::{HEADER_BYTES, Header, Request, SequenceRange};

/// Why a request gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// It is no request.
    Malformed,
    /// It asks for another session.
    Foreign,
    /// It asks for numbers that have not been sent yet.
    NotYet,
}

impl Refusal {
    /// Every reason, in the order of their discriminants.
    pub const ALL: [Self; 3] = [Self::Malformed, Self::Foreign, Self::NotYet];

    /// The reason as one stable word, for counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Foreign => "foreign",
            Self::NotYet => "not_yet",
        }
    }
}

/// What a responder has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponderCounters {
    /// Datagrams that came to the request address.
    pub requests: u64,
    /// Packets with messages handed out.
    pub retransmissions: u64,
    /// Messages in them.
    pub messages: u64,
    /// Answers that older numbers are overwritten.
    pub overwritten: u64,
    /// Requests without an answer, by reason ([`Refusal::ALL`]).
    pub refused: [u64; Refusal::ALL.len()],
}

/// The state machine behind a request address.
#[derive(Debug)]
pub struct Responder<M> {
    ring: RingReader<M>,
    answers_foreign: bool,
    packet: Box<[u8]>,
    counters: ResponderCounters,
}

impl<M: AsRef<[AtomicU64]>> Responder<M> {
    /// Answers from `ring` in packets of at most `max_datagram` bytes; `answers_foreign` answers requests for other
    /// sessions as if they were for ours, for clients that name a wrong one.
    #[must_use]
    pub fn new(ring: RingReader<M>, max_datagram: usize, answers_foreign: bool) -> Self {
        let bytes = max_datagram.clamp(crate::MIN_DATAGRAM_BYTES, crate::MAX_DATAGRAM_BYTES);
        Self {
            ring,
            answers_foreign,
            packet: vec![1; bytes].into_boxed_slice(),
            counters: ResponderCounters::default(),
        }
    }

    /// The ring that it answers from.
    #[must_use]
    pub fn ring(&self) -> &RingReader<M> {
        &self.ring
    }

    /// What it has done so far.
    #[must_use]
    pub fn counters(&self) -> &ResponderCounters {
        &self.counters
    }

    /// The answer to one datagram, to be sent to where it came from.
    ///
    /// # Errors
    ///
    /// When there is none to be given; the reason has been counted.
    pub fn answer(&mut self, datagram: &[u8]) -> Result<&[u8], Refusal> {
        self.counters.requests += 1;
        match self.packet_for(datagram) {
            Ok(bytes) => Ok(&self.packet[..bytes]),
            Err(refusal) => {
                self.counters.refused[refusal as usize] += 1;
                Err(refusal)
            }
        }
    }

    /// Lays the answer down in `packet` and returns its length.
    fn packet_for(&mut self, datagram: &[u8]) -> Result<usize, Refusal> {
        let request = Request::parse(datagram).map_err(|_| Refusal::Malformed)?;
        let session = self.ring.session();
        if request.session() != session && !request.session().is_blank() && !self.answers_foreign {
            return Err(Refusal::Foreign);
        }
        // Nobody is told of numbers that the lines have not carried.
        let range = request.range().intersection(SequenceRange::new(0, self.ring.sent()));
        if range.is_empty() {
            return Err(Refusal::NotYet);
        }
        let (header, blocks) = self.packet.split_at_mut(HEADER_BYTES);
        match self.ring.read(range, blocks) {
            Ok(read) => {
                self.counters.retransmissions += 1;
                self.counters.messages += read.range.count();
                let count = read.range.count() as u16;
                header.copy_from_slice(&Header::new(session, read.range.start(), count).to_bytes());
                Ok(HEADER_BYTES + read.bytes)
            }
            Err(RingReadError::Overwritten { oldest }) => {
                self.counters.overwritten += 1;
                header.copy_from_slice(&Header::heartbeat(session, oldest).to_bytes());
                Ok(HEADER_BYTES)
            }
            Err(_) => Err(Refusal::NotYet),
        }
    }
}
