//! # What seqcast decides, without sockets, clocks or threads
//!
//! [`Publication`] and [`Subscription`] are pure state machines: bytes and times go in, packets, requests and events come
//! out. `seqcast-publisher` and `seqcast-subscriber` put sockets around them; an application with a network stack of its
//! own does the same, and the simulation drives both ends under one invented clock.
//!
//! ## The life of a gap
//!
//! 1. A packet or heartbeat shows a number beyond the expected one. The missing range enters the [`GapSet`]; the messages
//!    beyond it are kept in the [`ReorderWindow`].
//! 2. It may be filled by the other line. As long as that one has yet to pass it, and was not far behind lately, the gap
//!    waits for it, by a time learned from how far the lines run apart. When both have shown a number beyond the gap, nobody
//!    will fill it, and the wait is over at once.
//! 3. [`Event::Gap`] is raised, with its origin, and requests leave: several in flight, each for about a packet.
//! 4. Answers fill it. Retries follow the measured round trip; a partial answer is completed at once.
//! 5. Delivery goes on; behind the last of the missing messages comes [`Event::Recovered`]. Or, when nobody retains them
//!    any more, when nothing was filled for the give-up time ([`GapPolicy::Wait`]), or when the policy says so,
//!    [`Event::Lost`] stands in their place, with its cause.
//!
//! A full window or gap set loses nothing: what has no room is forgotten and asked for later. A late join is the same
//! life, but for the first and last step: what was published before is no gap, and its end is [`Status::CaughtUp`].
//!
//! ## Delivered or told
//!
//! Let `E` be the sequence of ranges in `Message` (one number) and `Lost` events of one session. Then `E` is gapless and
//! ascending: each range begins where the one before it ends. Every number is delivered once, with the bytes that were
//! published, or reported lost once.
//!
//! ## The driving contract of a subscription
//!
//! **One duty cycle is: [`Subscription::handle_datagram`] for whatever has arrived, [`Subscription::advance`], then
//! [`Subscription::poll_request`] until it has nothing, all with one reading of a clock that never goes back. The next
//! duty cycle comes when something arrives, at [`Subscription::timeout`], or at once if this one did anything. When a call
//! returns `Break` because the sink did, the datagram that was being delivered goes to [`Subscription::resume`] before any
//! other call but `poll_request`.** Whoever leaves datagrams unread says so by [`Subscription::note_backlog`], and
//! throws unread answers away when [`Subscription::take_stale_answers`] says that they are of numbers that have begun again.
//!
//! ## The driving contract of a publication
//!
//! **Claim and commit messages, then [`Publication::flush`], which retains them and hands out packets for every line. A
//! [`Responder`] takes requests and hands out answers, in turn, from a reader of the ring, and a [`Heartbeat`] says when to
//! break the silence; both run wherever the caller likes.**
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

#[cfg(feature = "serde")]
pub mod as_text;
mod config;
mod copies;
mod counters;
mod doze;
mod duration;
mod event;
mod fingerprints;
mod gaps;
mod heartbeat;
mod impairment;
mod lines;
mod liveness;
mod network;
mod packing;
mod publication;
mod random;
mod rate;
mod record;
mod reports;
mod requester;
mod responder;
mod rewind;
mod ring;
mod run;
mod subscription;
mod text;
mod throttle;
mod time;
mod window;

pub use config::{GapPolicy, RewindPolicy, SessionChoice, Start, SubscriptionConfig};
pub use counters::{Counters, LineCounters};
pub use doze::Doze;
pub use duration::{DurationError, parse_duration};
pub use event::{
    EndOfSession, Event, Gap, GapOrigin, Line, Loss, LossCause, Message, NewSession, PreviousSession, Recovered,
    Rewound, Source, Status,
};
pub use gaps::GapSet;
pub use heartbeat::{Heartbeat, HeartbeatConfig};
pub use impairment::{Impairment, ImpairmentConfig, ImpairmentCounters, ImpairmentError, Verdict};
pub use network::{Network, NetworkError};
pub use publication::{Claim, ClaimError, MAX_DATAGRAM_BYTES, MIN_DATAGRAM_BYTES, Publication};
pub use random::Random;
pub use rate::{Headroom, Rate};
pub use record::GapRecord;
pub use requester::RequestConfig;
pub use responder::{Budget, ClientReport, Refusal, Responder, ResponderConfig, ResponderCounters};
pub use ring::{
    Followed, MAX_BLOCKS_BYTES, RetainError, RingError, RingFollower, RingRead, RingReadError, RingReader, RingSize,
    RingSpan, RingWriter,
};
pub use run::{MAX_RUN_BYTES, MAX_RUN_PACKETS, Run};
pub use subscription::{OutgoingRequest, Subscription};
pub use text::{ByteSize, SettingError};
pub use throttle::Throttle;
pub use time::Nanos;
pub use window::ReorderWindow;
