//! The settings of a responder.

use super::Budget;
use crate::{Nanos, Network};
use alloc::vec::Vec;

/// Whom a responder answers, and how much. The defaults answer everybody, in turn, without a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponderConfig {
    /// Whether requests for other sessions are answered as if they were for ours, for clients that name a wrong one. Off.
    pub answers_foreign: bool,
    /// Where requests may come from; none means anywhere. Each request is compared with all of them.
    pub networks: Vec<Network>,
    /// What may leave for all clients together. While it is used up, turns wait for it, and with them those whose turn it is:
    /// silence would give all of it to whoever asks most often.
    pub budget: Option<Budget>,
    /// What may leave for each client. While it is used up, that client's turns pass in silence.
    pub client_budget: Option<Budget>,
    /// How long a client that was answered is not answered again for the same first number. 200 µs: below 300 µs, the
    /// shortest time-out of our subscribers, so that they get another answer when one was lost; whoever asks again without
    /// waiting gets 5,000 answers a second for a number.
    pub linger: Nanos,
    /// How many clients are remembered, `1..`. Beyond it the one that has been idle for longest is forgotten; its counts
    /// remain in those of the responder, its budget and linger begin anew. 1,024, arbitrary: more than ask on one network.
    pub client_limit: usize,
    /// How many requests of a client are remembered, those that wait first, `1..`. 512: the 256 that our subscribers have in
    /// flight at the most unless told otherwise, and the latest 256 that were answered, for the linger. Each takes 24 bytes, in
    /// all 12 MiB.
    pub requests_per_client: usize,
}

impl Default for ResponderConfig {
    fn default() -> Self {
        Self {
            answers_foreign: false,
            networks: Vec::new(),
            budget: None,
            client_budget: None,
            linger: Nanos::from_micros(200),
            client_limit: 1_024,
            requests_per_client: 512,
        }
    }
}
