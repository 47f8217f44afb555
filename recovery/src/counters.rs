//! What a subscription counts; every counter only grows.

use seqcast_protocol::PacketError;

/// Everything that happened to a subscription since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages delivered.
    pub messages: u64,
    /// Their payload, in bytes.
    pub bytes: u64,
    /// By line: valid packets of the session, and their bytes.
    pub lines: [LineCounters; 2],
    /// Gaps raised.
    pub gaps: u64,
    /// Messages that an answer to a request brought first.
    pub recovered: u64,
    /// Copies of messages whose bytes were not those of the first one; 0 unless copies are compared.
    pub differing: u64,
    /// Messages given up.
    pub lost: u64,
    /// Messages that arrived although they had arrived, or had been delivered or given up, before; or that lie below the
    /// start.
    pub duplicates: u64,
    /// Messages that arrived too far beyond a gap to be kept, and were asked for later.
    pub deferred: u64,
    /// Requests sent, retries included.
    pub requests: u64,
    /// Requests sent again because no answer came in time.
    pub retries: u64,
    /// Packets with messages that came from a request address.
    pub retransmissions: u64,
    /// Datagrams that are no packets, by reason ([`PacketError::ALL`]).
    pub malformed: [u64; PacketError::ALL.len()],
    /// Packets of another session, or of one whose numbers have begun again on this line and not yet on the other.
    pub foreign: u64,
}

impl Counters {
    /// Datagrams that are no packets, for whatever reason.
    #[must_use]
    pub fn malformed_total(&self) -> u64 {
        self.malformed.iter().sum()
    }
}

/// What arrived on one line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineCounters {
    /// Valid packets of the session, heartbeats included.
    pub packets: u64,
    /// Their bytes, headers included.
    pub bytes: u64,
    /// Messages that this line brought before anything else did.
    pub first: u64,
    /// Messages that the line went past without carrying them: those that were lost on it, and those that came late.
    pub missed: u64,
    /// Of these, the messages that it carried later. `missed - late` were lost on the line.
    pub late: u64,
}
