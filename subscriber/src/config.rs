//! The settings of a subscriber as a structure, for whoever keeps them in a file.

use crate::{LineSource, PathImpairment, SubscriberBuilder};
use seqcast_recovery::{GapPolicy, Line, Nanos, RewindPolicy, SessionChoice, Start, as_text};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::net::SocketAddrV4;

/// The settings of a subscriber, with the names that they have as options of `seqcast subscribe`, and the same texts: `10ms`,
/// `wait:10s`, `239.1.1.1:30001@eth1`, `none`.
///
/// What is left out is as [`SubscriberBuilder`] has it, so that there is no line, and nobody is asked; the command has an
/// address on loopback for both. A table `command` within is skipped: there stands what only the command knows, such as its
/// output, when it reads the same settings. Any other name is an error.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct SubscriberConfig {
    /// See [`Subscriber::builder`](crate::Subscriber::builder). Any unless set.
    #[serde(with = "as_text::one")]
    pub session: Option<SessionChoice>,
    /// See [`SubscriberBuilder::line`].
    #[serde(with = "as_text::one")]
    pub line_a: Option<LineSource>,
    /// See [`SubscriberBuilder::line`].
    #[serde(with = "as_text::one")]
    pub line_b: Option<LineSource>,
    /// See [`SubscriberBuilder::interface`].
    #[serde(with = "as_text::one")]
    pub interface: Option<String>,
    /// See [`SubscriberBuilder::recover_from`].
    #[serde(with = "as_text::several_or_none", skip_serializing_if = "Vec::is_empty")]
    pub recover_from: Vec<SocketAddrV4>,
    /// See [`SubscriberBuilder::start`].
    #[serde(with = "as_text::one")]
    pub start: Option<Start>,
    /// See [`SubscriberBuilder::gap_policy`].
    #[serde(with = "as_text::one")]
    pub gap: Option<GapPolicy>,
    /// See [`SubscriberBuilder::rewind_policy`].
    #[serde(with = "as_text::one")]
    pub rewind: Option<RewindPolicy>,
    /// See [`SubscriberBuilder::silent_after`].
    #[serde(with = "as_text::one")]
    pub silent_after: Option<Nanos>,
    /// See [`SubscriberBuilder::keep_warm`].
    #[serde(with = "as_text::one")]
    pub keep_warm: Option<Nanos>,
    /// See [`SubscriberBuilder::busy_poll`].
    #[serde(with = "as_text::one")]
    pub busy_poll: Option<Nanos>,
    /// The contrary of [`SubscriberBuilder::coalescing`].
    pub no_coalescing: bool,
    /// See [`SubscriberBuilder::receive_times`].
    pub receive_times: bool,
    /// See [`SubscriberBuilder::compare_copies`].
    pub compare_copies: bool,
    /// See [`SubscriberBuilder::impair_path`]; of those for one path the last holds.
    #[serde(with = "as_text::several", skip_serializing_if = "Vec::is_empty")]
    pub impair: Vec<PathImpairment>,
    #[serde(skip_serializing)]
    command: IgnoredAny,
}

impl SubscriberBuilder {
    /// Sets a subscriber up as told; what is left out can still be set.
    #[must_use]
    pub fn from_config(config: &SubscriberConfig) -> Self {
        let mut builder = Self::new(config.session.unwrap_or_default());
        for (line, source) in [(Line::A, &config.line_a), (Line::B, &config.line_b)] {
            builder = with(builder, source.clone(), |builder, from| builder.line(line, from));
        }
        for address in &config.recover_from {
            builder = builder.recover_from(*address);
        }
        for impairment in &config.impair {
            builder = builder.impair_path(*impairment);
        }
        builder = with(builder, config.interface.as_deref(), Self::interface);
        builder = with(builder, config.start, Self::start);
        builder = with(builder, config.gap, Self::gap_policy);
        builder = with(builder, config.rewind, Self::rewind_policy);
        builder = with(builder, config.silent_after.map(Nanos::as_duration), Self::silent_after);
        builder = with(builder, config.keep_warm.map(Nanos::as_duration), Self::keep_warm);
        builder = with(builder, config.busy_poll.map(Nanos::as_duration), Self::busy_poll);
        let builder = builder.coalescing(!config.no_coalescing).receive_times(config.receive_times);
        builder.compare_copies(config.compare_copies)
    }
}

/// Sets what is given.
fn with<B, T>(builder: B, value: Option<T>, set: impl FnOnce(B, T) -> B) -> B {
    match value {
        Some(value) => set(builder, value),
        None => builder,
    }
}
