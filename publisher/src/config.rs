//! The settings of a publisher as a structure, for whoever keeps them in a file.

use crate::{LineDestination, OpenError, PublisherBuilder, ring_session};
use seqcast_protocol::SessionId;
use seqcast_recovery::{Budget, ByteSize, Line, Nanos, Network, as_text};
use seqcast_transport::Clock;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::net::SocketAddrV4;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// The settings of a publisher, with the names that they have as options of `seqcast publish`, and the same texts: `10ms`,
/// `64MiB`, `239.1.1.1:30001@eth1`, `none`.
///
/// What is left out is as [`PublisherBuilder`] has it, so that there is no line, and nobody is answered; the command has an
/// address on loopback for both. A table `command` within is skipped: there stands what only the command knows, such as its
/// input, when it reads the same settings. Any other name is an error.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct PublisherConfig {
    /// See [`Publisher::builder`](crate::Publisher::builder). Unless set, that of the ring to go on with, else the time in µs, in
    /// base 36.
    #[serde(with = "as_text::one")]
    pub session: Option<SessionId>,
    /// See [`PublisherBuilder::line`].
    #[serde(with = "as_text::one_or_none")]
    pub line_a: Option<LineDestination>,
    /// See [`PublisherBuilder::line`].
    #[serde(with = "as_text::one_or_none")]
    pub line_b: Option<LineDestination>,
    /// See [`PublisherBuilder::interface`].
    #[serde(with = "as_text::one")]
    pub interface: Option<String>,
    /// See [`PublisherBuilder::ttl`].
    #[serde(with = "as_text::one")]
    pub ttl: Option<u8>,
    /// See [`PublisherBuilder::requests`].
    #[serde(with = "as_text::one_or_none")]
    pub requests: Option<SocketAddrV4>,
    /// See [`PublisherBuilder::allow_requests`].
    #[serde(with = "as_text::several", skip_serializing_if = "Vec::is_empty")]
    pub allow_requests: Vec<Network>,
    /// See [`PublisherBuilder::repair_budget`].
    #[serde(with = "as_text::one")]
    pub repair_budget: Option<Budget>,
    /// See [`PublisherBuilder::client_budget`].
    #[serde(with = "as_text::one")]
    pub client_budget: Option<Budget>,
    /// See [`PublisherBuilder::answer_linger`].
    #[serde(with = "as_text::one")]
    pub answer_linger: Option<Nanos>,
    /// See [`PublisherBuilder::client_limit`].
    #[serde(with = "as_text::one")]
    pub client_limit: Option<NonZeroUsize>,
    /// See [`PublisherBuilder::retransmitter_core`].
    #[serde(with = "as_text::one")]
    pub answer_core: Option<usize>,
    /// See [`PublisherBuilder::retransmitter_priority`].
    #[serde(with = "as_text::one")]
    pub answer_priority: Option<u8>,
    /// See [`PublisherBuilder::keep_warm`].
    #[serde(with = "as_text::one")]
    pub keep_warm: Option<Nanos>,
    /// See [`PublisherBuilder::retain_bytes`].
    #[serde(with = "as_text::one")]
    pub retain: Option<ByteSize>,
    /// See [`PublisherBuilder::ring`].
    pub ring: Option<PathBuf>,
    /// See [`PublisherBuilder::max_datagram`].
    #[serde(with = "as_text::one")]
    pub max_datagram: Option<ByteSize>,
    /// The contrary of [`PublisherBuilder::segmentation`].
    pub no_segmentation: bool,
    /// See [`PublisherBuilder::linger`].
    #[serde(with = "as_text::one")]
    pub linger: Option<Nanos>,
    #[serde(skip_serializing)]
    command: IgnoredAny,
}

impl PublisherBuilder {
    /// Sets a publisher up as told; what is left out can still be set.
    ///
    /// # Errors
    ///
    /// When the session is to be that of a ring, and the file holds none.
    pub fn from_config(config: &PublisherConfig) -> Result<Self, OpenError> {
        let ring = config.ring.as_ref();
        let of_ring = |file: &PathBuf| ring_session(file).map_err(|error| OpenError::RingFile(file.clone(), error));
        let session = match config.session {
            Some(session) => Some(session),
            None => ring.map(of_ring).transpose()?.flatten(),
        };
        let mut builder = Self::new(session.unwrap_or_else(|| SessionId::from_number(Clock::unix_micros())));
        for (line, destination) in [(Line::A, &config.line_a), (Line::B, &config.line_b)] {
            builder = with(builder, destination.clone(), |builder, to| builder.line(line, to));
        }
        for network in &config.allow_requests {
            builder = builder.allow_requests(*network);
        }
        builder = with(builder, config.interface.as_deref(), Self::interface);
        builder = with(builder, config.ttl, Self::ttl);
        builder = with(builder, config.requests, Self::requests);
        builder = with(builder, config.repair_budget, Self::repair_budget);
        builder = with(builder, config.client_budget, Self::client_budget);
        builder = with(builder, config.answer_linger.map(Nanos::as_duration), Self::answer_linger);
        builder = with(builder, config.client_limit, |builder, limit| builder.client_limit(limit.get()));
        builder = with(builder, config.answer_core, Self::retransmitter_core);
        builder = with(builder, config.answer_priority, Self::retransmitter_priority);
        builder = with(builder, config.keep_warm.map(Nanos::as_duration), Self::keep_warm);
        builder = with(builder, config.retain, |builder, ByteSize(bytes)| builder.retain_bytes(bytes));
        builder = with(builder, ring, Self::ring);
        builder = with(builder, config.max_datagram, |builder, ByteSize(bytes)| builder.max_datagram(bytes));
        builder = with(builder, config.linger.map(Nanos::as_duration), Self::linger);
        Ok(builder.segmentation(!config.no_segmentation))
    }
}

/// Sets what is given.
fn with<B, T>(builder: B, value: Option<T>, set: impl FnOnce(B, T) -> B) -> B {
    match value {
        Some(value) => set(builder, value),
        None => builder,
    }
}
