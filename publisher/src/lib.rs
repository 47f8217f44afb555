//! Publishes one session of numbered messages over UDP multicast, and answers requests for what a subscriber missed.
//!
//! ```no_run
//! use seqcast_publisher::{Line, Publisher};
//!
//! let mut publisher = Publisher::builder("EQ20261121".parse()?)
//!     .line(Line::A, "239.255.77.1:30001@127.0.0.1".parse()?)
//!     .requests("127.0.0.1:30100".parse()?)
//!     .retain_bytes(256 << 20)
//!     .open()?;
//! let mut claim = publisher.claim(5)?; // zeroed space in the packet being filled
//! claim.copy_from_slice(b"hello");
//! claim.commit(); // numbered
//! publisher.flush()?; // retained, then on every line
//! publisher.close()?; // announced, then answered until nobody asks any more
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! * The publishing thread never waits: not for a subscriber, not for a full socket, not for a request. What the kernel
//!   refuses is retained and counted ([`Flushed`]), and subscribers ask for it.
//! * Requests, heartbeats and the end of session are a [`Retransmitter`]'s work, by default on a thread of its own that
//!   sleeps between its duty cycles.
//! * Clients that ask are served in turn, one answer each: whoever asks for more holds nobody up
//!   ([`Publisher::clients`]).
//! * A message is part of the session once flushed. A publisher that is dropped falls silent, as one that crashed.
//! * With the feature `serde` a builder takes its settings as a structure, `PublisherConfig`, with the names and texts of the
//!   command's options.
//! * Others on the host see what it does in a file of counters, if one is asked for ([`PublisherBuilder::stats`]).
//! * What is opened, closed or refused is logged with `tracing`, at `info`; nothing per message.
//! * Nothing leaves on an interface other than loopback unless a line, the builder or the request address names it.

mod alarm;
mod builder;
#[cfg(feature = "serde")]
mod config;
mod error;
mod line;
mod outbox;
mod publisher;
mod refusals;
mod retransmitter;
mod ring;
mod stats;
mod thread;
mod typed_claim;
mod warm;
mod watch;

pub use builder::PublisherBuilder;
#[cfg(feature = "serde")]
pub use config::PublisherConfig;
pub use error::{OpenError, PublishError};
pub use line::{LineCounters, LineDestination};
pub use publisher::{Claim, Closed, Flushed, Publisher, PublisherCounters};
pub use retransmitter::{Retransmitter, RetransmitterCounters};
pub use ring::{RingFileError, ring_session};
pub use seqcast_protocol::{SequenceNumber, SequenceRange, SessionId};
pub use seqcast_recovery::{
    Budget, ClaimError, ClientReport, Headroom, Line, Nanos, Network, NetworkError, Refusal, ResponderCounters,
};
pub use seqcast_stats::{Cell, DEFAULT_DIRECTORY, Histogram, Unit};
pub use typed_claim::TypedClaim;
