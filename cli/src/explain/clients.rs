//! The clients of whoever answers requests, and the limits that keep them from answers.

use super::host::{Process, total};
use crate::progress::{count, thousands};
use std::net::SocketAddrV4;

/// Reasons for refusing a request, and what permits it; in the order in which they are told.
const LIMITS: [(&str, &str); 6] = [
    ("client_budget", "the budget of each client: raise --client-budget at the publisher"),
    ("budget", "the budget of all answers: raise --repair-budget at the publisher"),
    (
        "queue",
        "as many requests of it waited as may: answer faster, --answer-core N and --answer-priority 50 at the publisher",
    ),
    ("clients", "as many clients waited as may: raise --client-limit at the publisher"),
    ("network", "requests from its network are not answered: --allow-requests at the publisher"),
    (
        "linger",
        "it asked again within the linger: shorten --answer-linger at the publisher, if that is more than its round trip",
    ),
];

/// A client as its responder knows it.
pub(super) struct Client {
    address: SocketAddrV4,
    requests: u64,
    answers: u64,
    refused: Vec<(&'static str, u64)>,
}

impl Client {
    pub(super) fn all(server: &Process) -> Vec<Self> {
        let Some(table) = server.now.table("clients") else { return Vec::new() };
        let client = |row| {
            let value = |field: &str| table.value(row, field);
            let refused = LIMITS.map(|(reason, _)| (reason, value(&format!("refused_{reason}")).unwrap_or(0)));
            Some(Self {
                address: table.address(row, "address")?,
                requests: value("requests")?,
                answers: value("retransmissions")?.saturating_add(value("overwritten")?),
                refused: refused.into_iter().filter(|(_, count)| *count > 0).collect(),
            })
        };
        table.rows.iter().filter_map(client).collect()
    }

    pub(super) fn of(server: &Process, address: SocketAddrV4) -> Option<Self> {
        Self::all(server).into_iter().find(|client| client.address == address)
    }

    pub(super) const fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Requests of it without an answer.
    pub(super) fn all_refused(&self) -> u64 {
        total(self.refused.iter().map(|(_, count)| *count))
    }

    /// Whether refusals keep it from what it misses: those within the linger do only if they are the rule.
    pub(super) fn is_limited(&self) -> bool {
        self.refused.iter().any(|&(reason, count)| reason != "linger" || count > self.answers)
    }

    pub(super) fn in_words(&self, server: &Process) -> String {
        let refused = self.refused.iter().map(|(reason, count)| format!(", {} refused: {reason}", thousands(*count)));
        format!(
            "{} of client {}: {}, {}{}",
            server.name(),
            self.address,
            count(self.requests, "request"),
            count(self.answers, "answer"),
            refused.collect::<String>()
        )
    }

    pub(super) fn mends(&self, server: &Process) -> Vec<String> {
        let is_refused = |reason: &str| self.refused.iter().any(|(refused, _)| *refused == reason);
        let mend = |(reason, mend): &(&str, &str)| {
            let now = match *reason {
                "client_budget" => server.now.fact("client_budget"),
                "budget" => server.now.fact("repair_budget"),
                "clients" => server.now.fact("client_limit"),
                _ => None,
            };
            format!("{mend}{}", now.map_or_else(String::new, |now| format!(" (now {now})")))
        };
        LIMITS.iter().filter(|(reason, _)| is_refused(reason)).map(mend).collect()
    }
}
