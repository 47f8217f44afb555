//! What has changed for a subscriber, logged as it happens: its words, and by name what they are about.

use super::health::source_in_words;
use super::summary::{cause_in_words, cause_name};
use crate::progress::count;
use crate::times::in_words;
use seqcast_recovery::{Nanos, Throttle};
use seqcast_subscriber::{Event, Loss, NewSession, Rewound, SessionId, Status};
use seqcast_transport::Clock;

/// The most lost ranges that are told one by one: with more, nobody reads them. Arbitrary.
const LOSSES_PER_SECOND: u32 = 10;

/// What is told of a subscriber.
#[derive(Debug)]
pub(crate) struct News {
    session: Option<SessionId>,
    has_ended: bool,
    losses: Throttle,
}

impl News {
    pub(crate) const fn new() -> Self {
        Self { session: None, has_ended: false, losses: Throttle::new(LOSSES_PER_SECOND) }
    }

    /// Tells of anything but a message.
    #[cold]
    pub(crate) fn tell(&mut self, event: &Event<'_>) {
        match event {
            Event::Message(_) => {}
            Event::Gap(gap) => {
                let (range, first, end) = (gap.range, gap.range.start(), gap.range.end());
                tracing::debug!(first, end, origin = ?gap.origin, "gap {range}");
            }
            Event::Recovered(recovered) => {
                let (range, elapsed) = (recovered.range, recovered.elapsed);
                let (first, end, elapsed_ns) = (range.start(), range.end(), elapsed.0);
                tracing::debug!(first, end, elapsed_ns, "recovered {range} after {}", in_words(elapsed));
            }
            Event::Lost(loss) => self.tell_loss(*loss),
            Event::NewSession(NewSession { session, previous }) => {
                self.has_ended = false;
                if let Some(previous) = previous {
                    let how = if previous.ended { "ended" } else { "fell silent" };
                    let previous = previous.session;
                    tracing::info!(%session, %previous, "session {previous} {how}, following {session}");
                }
            }
            Event::Rewound(Rewound { session, expected, sequence }) => {
                self.has_ended = false;
                tracing::info!(
                    %session,
                    first = sequence,
                    end = expected,
                    "session {session} has begun again at {sequence}, behind {expected}"
                );
            }
            Event::EndOfSession(end) => {
                self.has_ended = true;
                let (session, end) = (end.session, end.next);
                tracing::info!(%session, end, "session {session} has ended at {end}");
            }
            Event::Status(status) => self.tell_status(*status),
        }
    }

    fn tell_loss(&mut self, Loss { range, cause }: Loss) {
        if self.losses.admits(Clock::now()) {
            tracing::warn!(
                session = self.session.map(tracing::field::display),
                first = range.start(),
                end = range.end(),
                cause = cause_name(cause),
                "lost {range} ({})",
                cause_in_words(cause)
            );
        }
    }

    /// Tells how many losses were too many to be told, once it is time to.
    #[inline]
    pub(crate) fn tell_untold_losses(&mut self, now: Nanos) {
        let untold = self.losses.take_held(now);
        if untold > 0 {
            tracing::warn!(untold, "lost {} more, too many to be told one by one", count(untold, "range"));
        }
    }

    fn tell_status(&mut self, status: Status) {
        let session = self.session.map(tracing::field::display);
        match status {
            Status::Heard { session } => {
                self.session = Some(session);
                tracing::info!(%session, "session {session} is heard");
            }
            // After the end, silence is what is expected.
            Status::Silent { .. } if self.has_ended => {}
            Status::Silent { elapsed } => {
                let what = match self.session {
                    None => "nobody was heard".to_owned(),
                    Some(session) => format!("session {session} was not heard"),
                };
                let elapsed_s = elapsed.as_duration().as_secs_f64();
                tracing::info!(session, elapsed_ns = elapsed.0, "silent: {what} for {elapsed_s:.1} s");
            }
            Status::CaughtUp { next } => tracing::info!(session, next, "caught up at {next}"),
            Status::LineSilent { line, elapsed } => {
                let elapsed_ns = elapsed.0;
                tracing::info!(?line, elapsed_ns, "line {line:?} is silent: nothing for {}", in_words(elapsed));
            }
            Status::LineBehind { line, messages, elapsed } => {
                let (words, elapsed_ns) = (count(messages, "message"), elapsed.0);
                let elapsed = in_words(elapsed);
                tracing::info!(
                    ?line,
                    messages,
                    elapsed_ns,
                    "line {line:?} is behind: {words}, the first for {elapsed}"
                );
            }
            Status::LineCaughtUp { line } => tracing::info!(?line, "line {line:?} has caught up with the other"),
            Status::CopiesDiffer { number, source } => {
                let source = source_in_words(source);
                tracing::warn!(
                    session,
                    number,
                    source,
                    "copies of message {number} differ: {source} brought other bytes than were delivered"
                );
            }
            Status::Stopped { next } => tracing::info!(session, next, "stopped at {next} (--gap stop, --rewind stop)"),
            _ => {}
        }
    }
}
