//! The life of a gap, decided without sockets, clocks or threads.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod config;
mod counters;
mod event;
mod gaps;
mod heartbeat;
mod impairment;
mod liveness;
mod packing;
mod publication;
mod random;
mod reports;
mod requester;
mod responder;
mod ring;
mod subscription;
mod time;
mod window;

pub use config::{GapPolicy, SessionChoice, Start, SubscriptionConfig};
pub use counters::{Counters, LineCounters};
pub use event::{
    EndOfSession, Event, Gap, GapOrigin, Line, Loss, LossCause, Message, NewSession, PreviousSession, Recovered, Status,
};
pub use gaps::GapSet;
pub use heartbeat::{Heartbeat, HeartbeatConfig};
pub use impairment::*;
pub use publication::{Claim, ClaimError, MAX_DATAGRAM_BYTES, MIN_DATAGRAM_BYTES, Packets, Publication};
pub use random::Random;
pub use requester::RequestConfig;
pub use responder::{Refusal, Responder, ResponderCounters};
pub use ring::*;
pub use subscription::{OutgoingRequest, Source, Subscription};
pub use time::Nanos;
pub use window::ReorderWindow;
