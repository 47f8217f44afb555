//! How requests are answered: the options of whoever answers, and who asked.

use crate::options;
use crate::outcome::Outcome;
use crate::progress::{count, thousands};
use seqcast_publisher::{Budget, ClientReport, Network, PublisherBuilder, Refusal, ResponderCounters};
use seqcast_transport::{pin_to_core, set_fifo_priority};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// How many clients the summary tells of, those that asked most. Arbitrary.
const LISTED_CLIENTS: usize = 16;

/// The options of whoever answers requests.
#[derive(Clone, Debug, clap::Args)]
pub struct RepairOptions {
    /// Whose requests are answered: those from this network; may be repeated. Unless given, from the networks of the lines'
    /// interfaces; 0.0.0.0/0 is everybody
    #[arg(long, value_name = "ADDRESS/PREFIX")]
    allow_requests: Vec<Network>,
    /// The most that all answers together take, such as 10MB/s or 10MB/s,burst=1MB; the burst is a tenth of a second's unless
    /// given. No limit unless given
    #[arg(long, value_name = "BYTES/s[,burst=BYTES]")]
    repair_budget: Option<Budget>,
    /// The most that the answers to one client take
    #[arg(long, value_name = "BYTES/s[,burst=BYTES]")]
    client_budget: Option<Budget>,
    /// How long a client that was answered is not answered again for the same number
    #[arg(long, value_name = "DURATION", default_value = "200us", value_parser = options::duration)]
    answer_linger: Duration,
    /// How many clients are remembered
    #[arg(long, value_name = "N", default_value_t = 1_024, value_parser = client_limit)]
    client_limit: usize,
    /// Pin the thread that answers to this core
    #[arg(long, value_name = "N")]
    answer_core: Option<usize>,
    /// Give the thread that answers this real-time priority (SCHED_FIFO)
    #[arg(long, value_name = "1..99", value_parser = clap::value_parser!(u8).range(1..=99))]
    answer_priority: Option<u8>,
    /// Keep the way from a request to its answer warm: go through it at this interval, 50us to 1ms, when there is no request
    #[arg(long, value_name = "DURATION", value_parser = options::positive_duration)]
    keep_warm: Option<Duration>,
}

impl RepairOptions {
    /// Sets the publisher up as told.
    #[must_use]
    pub fn apply(&self, mut builder: PublisherBuilder) -> PublisherBuilder {
        builder = builder.answer_linger(self.answer_linger).client_limit(self.client_limit);
        for network in &self.allow_requests {
            builder = builder.allow_requests(*network);
        }
        if let Some(budget) = self.repair_budget {
            builder = builder.repair_budget(budget);
        }
        if let Some(interval) = self.keep_warm {
            builder = builder.keep_warm(interval);
        }
        if let Some(budget) = self.client_budget {
            builder = builder.client_budget(budget);
        }
        builder
    }

    /// Sets the thread of the publisher up that answers.
    #[must_use]
    pub fn apply_to_thread(&self, mut builder: PublisherBuilder) -> PublisherBuilder {
        if let Some(core) = self.answer_core {
            builder = builder.retransmitter_core(core);
        }
        if let Some(priority) = self.answer_priority {
            builder = builder.retransmitter_priority(priority);
        }
        builder
    }

    /// Sets this thread up to answer.
    ///
    /// # Errors
    ///
    /// Names the option that cannot be had.
    pub fn prepare_thread(&self) -> Result<(), Outcome> {
        self.answer_core.map_or(Ok(()), pin_to_core).map_err(|error| Outcome::option("--answer-core", &error))?;
        let priority = self.answer_priority.map_or(Ok(()), set_fifo_priority);
        priority.map_err(|error| Outcome::option("--answer-priority", &error))
    }
}

fn client_limit(text: &str) -> Result<usize, String> {
    // 2 kB each: 128 MiB.
    const MOST: usize = 1 << 16;
    text.parse()
        .ok()
        .filter(|limit| (1..=MOST).contains(limit))
        .ok_or_else(|| format!("'{text}' is not within 1..={MOST}"))
}

/// Who asked, in words; nothing when nobody did.
#[must_use]
pub fn clients_in_words(clients: &[ClientReport]) -> Vec<String> {
    let mut words = Vec::new();
    if clients.is_empty() {
        return words;
    }
    words.push(format!("{} asked:", count(clients.len() as u64, "client")));
    for ClientReport { address, counters, .. } in most(clients) {
        let refused = Refusal::ALL.iter().map(|refusal| (refusal, counters.refused[*refusal as usize]));
        let refused: Vec<_> = refused
            .filter(|(_, count)| *count > 0)
            .map(|(refusal, count)| format!(", {} refused: {}", thousands(count), refusal.name()))
            .collect();
        words.push(format!(
            "  {address}: {}, {} ({}){}",
            count(counters.requests, "request"),
            count(counters.retransmissions + counters.overwritten, "answer"),
            count(counters.bytes, "byte"),
            refused.concat(),
        ));
    }
    if clients.len() > LISTED_CLIENTS {
        words.push(format!("  and {} that asked for less", thousands((clients.len() - LISTED_CLIENTS) as u64)));
    }
    words
}

/// Who asked most.
#[must_use]
pub fn clients_json(clients: &[ClientReport]) -> Vec<Value> {
    let client = |ClientReport { address, counters, .. }: &ClientReport| {
        json!({
            "address": address.to_string(),
            "requests": counters.requests,
            "retransmissions": counters.retransmissions,
            "retransmitted_messages": counters.messages,
            "bytes": counters.bytes,
            "overwritten": counters.overwritten,
            "requests_refused": refusals_json(counters),
        })
    };
    most(clients).into_iter().map(client).collect()
}

/// Requests without an answer, by reason.
#[must_use]
pub fn refusals_json(counters: &ResponderCounters) -> Value {
    let reasons = Refusal::ALL.iter();
    let reasons = reasons.map(|refusal| (refusal.name().to_owned(), json!(counters.refused[*refusal as usize])));
    Value::Object(reasons.collect::<Map<_, _>>())
}

/// Those that asked most, at most [`LISTED_CLIENTS`].
fn most(clients: &[ClientReport]) -> Vec<&ClientReport> {
    let mut most: Vec<_> = clients.iter().collect();
    most.sort_by_key(|client| std::cmp::Reverse(client.counters.requests));
    most.truncate(LISTED_CLIENTS);
    most
}
