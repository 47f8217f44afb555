//! Receives one session of numbered messages over UDP multicast: each delivered once, in order, as it was published, or
//! reported lost once, with its cause.
//!
//! ```no_run
//! use seqcast_subscriber::{Event, Idle, IdleStrategy, Line, Start, Subscriber};
//!
//! let mut subscriber = Subscriber::builder("EQ20261121".parse()?)
//!     .line(Line::A, "239.255.77.1:30001@127.0.0.1".parse()?)
//!     .recover_from("127.0.0.1:30100".parse()?)
//!     .start(Start::Oldest)
//!     .open()?;
//! let mut idle = Idle::new(IdleStrategy::Spin);
//! let mut open = true;
//! while open {
//!     let work = subscriber.poll(
//!         |event| match event {
//!             Event::Message(message) => println!("{}: {} bytes", message.number, message.payload.len()),
//!             Event::Gap(_) | Event::Recovered(_) => {} // stale, fresh again
//!             Event::Lost(loss) => eprintln!("{} lost: {:?}", loss.range, loss.cause),
//!             Event::NewSession(_) | Event::Rewound(_) => {} // what was built is void
//!             Event::EndOfSession(_) => open = false,
//!             Event::Status(status) => eprintln!("{status:?}"),
//!         },
//!         64,
//!     );
//!     idle.idle(work);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! * [`Subscriber::poll`] is one duty cycle on the caller's thread. Malformed and foreign datagrams are counted
//!   ([`SubscriberCounters`]), never errors.
//! * A subscriber that is too slow is overwritten, and told so exactly; it never slows the publisher or its neighbours.
//! * [`Subscriber::wait_until_caught_up`] returns when the subscriber is live; [`Subscriber::headroom`] says how far it may fall
//!   behind a ring on this host.
//! * [`SubscriberBuilder::stats`] lets others on this host see how it does: counters, gauges, histograms and the latest gaps in a
//!   small file in memory.
//! * To wait instead of spinning:
//!   `idle.idle_until_readable(work, subscriber.fds(), subscriber.timeout().map(Into::into))?` with
//!   [`IdleStrategy::Block`], or register the subscriber with mio.
//! * With the feature `serde` a builder takes its settings as a structure, `SubscriberConfig`, with the names and texts of the
//!   command's options.
//! * What is opened or comes back is logged with `tracing`, at `info`. What events tell is not: that is the callback's to log.
//! * Nothing leaves on an interface other than loopback unless a line or the builder names it.

mod builder;
mod catch_up;
#[cfg(feature = "serde")]
mod config;
mod error;
mod event_loop;
mod histograms;
mod hold;
mod impaired;
mod intake;
mod line;
mod offset;
mod path;
mod recorder;
mod ring;
mod stats;
mod subscriber;
mod target;
mod warm;

pub use builder::{RECEIVE_BUFFER_BYTES, SubscriberBuilder};
pub use catch_up::CatchUp;
#[cfg(feature = "serde")]
pub use config::SubscriberConfig;
pub use error::{LineSourceError, OpenError};
pub use histograms::Histograms;
pub use impaired::{ImpairedPath, PathImpairment, PathImpairmentError};
pub use line::LineSource;
pub use offset::{Offset, OffsetError, StoredOffset};
pub use ring::RingFileError;
pub use seqcast_protocol::{SequenceNumber, SequenceRange, SessionId};
pub use seqcast_recovery::{
    Counters, EndOfSession, Event, Gap, GapOrigin, GapPolicy, GapRecord, Headroom, ImpairmentConfig,
    ImpairmentCounters, Line, LineCounters, Loss, LossCause, Message, Nanos, NewSession, PreviousSession, Recovered,
    RequestConfig, RewindPolicy, Rewound, SessionChoice, Source, Start, Status, Subscription,
};
pub use seqcast_stats::{Cell, DEFAULT_DIRECTORY, Unit};
pub use seqcast_transport::{Idle, IdleStrategy, PinError, pin_to_core};
pub use subscriber::{Subscriber, SubscriberCounters};
