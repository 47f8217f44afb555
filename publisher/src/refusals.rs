//! Tells in the log who is refused an answer: each client once for each reason.

use seqcast_recovery::{Nanos, Refusal, Responder, Throttle};
use seqcast_transport::Mapping;
use std::net::SocketAddrV4;

/// A client that makes up addresses does not fill the log. Arbitrary.
const TOLD_PER_SECOND: u32 = 10;

/// What was told.
#[derive(Debug)]
pub(crate) struct Refusals {
    throttle: Throttle,
}

impl Refusals {
    pub(crate) const fn new() -> Self {
        Self { throttle: Throttle::new(TOLD_PER_SECOND) }
    }

    /// Tells of a refusal, if it is the first of its kind. Asking ahead and asking again are not worth a word.
    #[cold]
    pub(crate) fn tell(&mut self, now: Nanos, responder: &Responder<Mapping>, client: SocketAddrV4, refusal: Refusal) {
        if !tracing::enabled!(tracing::Level::INFO) || matches!(refusal, Refusal::NotYet | Refusal::Linger) {
            return;
        }
        let is_first = responder.client(client).is_none_or(|known| known.counters.refused[refusal as usize] == 1);
        if !is_first || !self.throttle.admits(now) {
            return;
        }
        let cause = refusal.name();
        match self.throttle.take_held(now) {
            0 => tracing::info!(%client, cause, "{client} is refused: {cause}"),
            untold => {
                tracing::info!(%client, cause, untold, "{client} is refused: {cause}; before, {untold} others were");
            }
        }
    }
}
