//! What a responder has done, and for whom.

use crate::Nanos;
use core::net::SocketAddrV4;

/// Why a request gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// It is no request.
    Malformed,
    /// It asks for another session.
    Foreign,
    /// It asks for numbers that have not been sent yet.
    NotYet,
    /// It comes from a network that is not allowed.
    Network,
    /// It begins with the same number as a request of the same client that waits, or was answered within the linger.
    Linger,
    /// As many requests of the client wait as may.
    Queue,
    /// The client is not known, and there is no room for another one: all that are known wait for answers.
    Clients,
    /// As [`Self::Queue`], while the overall budget is used up.
    Budget,
    /// The client's own budget is used up.
    ClientBudget,
}

impl Refusal {
    /// Every reason, in the order of their discriminants.
    pub const ALL: [Self; 9] = [
        Self::Malformed,
        Self::Foreign,
        Self::NotYet,
        Self::Network,
        Self::Linger,
        Self::Queue,
        Self::Clients,
        Self::Budget,
        Self::ClientBudget,
    ];

    /// The reason as one stable word, for counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Foreign => "foreign",
            Self::NotYet => "not_yet",
            Self::Network => "network",
            Self::Linger => "linger",
            Self::Queue => "queue",
            Self::Clients => "clients",
            Self::Budget => "budget",
            Self::ClientBudget => "client_budget",
        }
    }
}

/// What a responder has done, in all or for one client.
///
/// Invariant: `requests = retransmissions + overwritten + sum(refused) +` those that wait.
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
    /// Bytes of all answers, headers included.
    pub bytes: u64,
    /// Requests without an answer, by reason ([`Refusal::ALL`]).
    pub refused: [u64; Refusal::ALL.len()],
}

/// What is known of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientReport {
    /// Where its requests come from.
    pub address: SocketAddrV4,
    /// When the latest one came.
    pub last_heard: Nanos,
    /// What it asked for and got, since it has been known.
    pub counters: ResponderCounters,
}

impl ClientReport {
    pub(super) fn new(address: SocketAddrV4) -> Self {
        Self { address, last_heard: Nanos::ZERO, counters: ResponderCounters::default() }
    }
}
