//! The loop of a subscriber: handles events, writes messages, remembers what the summary says.

use super::Options;
use super::news::News;
use crate::headroom;
use crate::interrupt::Interrupt;
use crate::outcome::{Condition, Outcome};
use crate::output::{Output, OutputError};
use crate::progress::{Progress, count, thousands};
use seqcast_recovery::Nanos;
use seqcast_subscriber::{
    Cell, Event, Headroom, Idle, LossCause, SequenceRange, Start, Status, StoredOffset, Subscriber,
};
use seqcast_transport::Clock;
use std::ops::ControlFlow;

/// How many messages are handled between two looks at signals and progress. Arbitrary.
const MESSAGES_PER_POLL: usize = 1_024;

/// The longest wait, so that progress is shown and signals that came just before it are seen.
const LONGEST_WAIT: Nanos = Nanos::from_millis(100);

/// How often the headroom is looked at. Arbitrary.
const LOOK_INTERVAL: Nanos = Nanos::from_millis(250);

/// How many lost ranges the summary lists. Arbitrary.
pub(super) const LISTED_LOSSES: usize = 16;

/// What the file of counters calls the first number of a session.
pub(super) const FIRST: &str = "first";

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Interrupted,
    Session,
    Silent,
    Stopped,
    Output,
}

/// Handles events: writes messages, remembers what the summary says.
pub(super) struct Listener {
    output: Output,
    offset: Option<StoredOffset>,
    pub(super) failure: Option<OutputError>,
    session: String,
    pub(super) first: Option<u64>,
    /// The same, in the file of counters; 0 for none.
    kept_first: Option<Cell>,
    pub(super) losses: Vec<(SequenceRange, LossCause)>,
    pub(super) loss_count: u64,
    has_ended: bool,
    is_silent: bool,
    start: Start,
    pub(super) headroom: Option<Headroom>,
    news: News,
}

impl Listener {
    pub(super) fn new(output: Output, offset: Option<StoredOffset>, start: Start, kept_first: Option<Cell>) -> Self {
        Self {
            output,
            offset,
            failure: None,
            session: String::new(),
            first: None,
            kept_first,
            losses: Vec::new(),
            loss_count: 0,
            has_ended: false,
            is_silent: false,
            start,
            headroom: None,
            news: News::new(),
        }
    }

    pub(super) fn run(&mut self, subscriber: &mut Subscriber, options: &Options, interrupt: &Interrupt) -> End {
        let mut idle = Idle::new(options.idle);
        let mut progress = Progress::new();
        let mut look_at = Nanos::ZERO;
        let end = loop {
            let work = subscriber.try_poll(|event| self.handle(event), MESSAGES_PER_POLL);
            if work == 0 || self.offset.is_some() {
                self.flush(subscriber);
            }
            if let Some(end) = self.end(subscriber, options, interrupt) {
                break end;
            }
            let now = Clock::now();
            self.news.tell_untold_losses(now);
            if now >= look_at {
                // Looked at now and then, so that it knows the present rate.
                self.headroom = subscriber.headroom();
                look_at = now + LOOK_INTERVAL;
            }
            self.show(now, &mut progress, subscriber);
            let timeout = subscriber.timeout().map_or(LONGEST_WAIT, |timeout| LONGEST_WAIT.min(timeout.into()));
            // A socket that cannot be waited for can still be polled.
            if idle.idle_until_readable(work, subscriber.fds(), Some(timeout)).is_err() {
                std::thread::yield_now();
            }
        };
        progress.clear();
        self.news.tell_untold_losses(Nanos::MAX);
        self.headroom = subscriber.headroom();
        self.flush(subscriber);
        end
    }

    /// Hands what was written to the operating system, and only then remembers it.
    fn flush(&mut self, subscriber: &Subscriber) {
        if self.failure.is_some() {
            return;
        }
        self.failure = self.output.flush().err();
        let (Some(offset), None) = (&mut self.offset, &self.failure) else { return };
        let reached = subscriber.offset(self.output.position());
        if let Some(reached) = reached.filter(|_| offset.get() != reached) {
            offset.store(reached);
        }
    }

    fn end(&self, subscriber: &Subscriber, options: &Options, interrupt: &Interrupt) -> Option<End> {
        if self.failure.is_some() {
            Some(End::Output)
        } else if self.has_ended && options.until_end {
            Some(End::Session)
        } else if subscriber.subscription().is_stopped() {
            Some(End::Stopped)
        } else if self.is_silent && options.silent_after.is_some() {
            Some(End::Silent)
        } else if interrupt.is_raised() {
            Some(End::Interrupted)
        } else {
            None
        }
    }

    fn handle(&mut self, event: Event<'_>) -> ControlFlow<()> {
        let Event::Message(message) = event else { return self.handle_news(&event) };
        if self.first.is_none() {
            self.set_first(Some(message.number));
        }
        match self.output.message(&self.session, message.number, message.payload, message.received_at) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failure = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    fn set_first(&mut self, first: Option<u64>) {
        self.first = first;
        if let Some(kept) = &self.kept_first {
            kept.set(first.unwrap_or_default());
        }
    }

    fn handle_news(&mut self, event: &Event<'_>) -> ControlFlow<()> {
        self.news.tell(event);
        match event {
            Event::Lost(loss) => {
                self.set_first(self.first.or(Some(loss.range.start())));
                self.loss_count += 1;
                if self.losses.len() < LISTED_LOSSES {
                    self.losses.push((loss.range, loss.cause));
                }
            }
            Event::NewSession(_) => {
                self.set_first(None);
                self.has_ended = false;
            }
            Event::Rewound(_) => self.has_ended = false,
            Event::EndOfSession(end) => {
                self.has_ended = true;
                if let Start::At(number) = self.start
                    && number > end.next
                {
                    tracing::info!(session = %end.session, "it never came to {number} (--start)");
                }
                return ControlFlow::Break(());
            }
            Event::Status(Status::Heard { session }) => {
                self.session = session.to_string();
                self.is_silent = false;
            }
            Event::Status(Status::Silent { .. }) => self.is_silent = true,
            Event::Message(_) | Event::Gap(_) | Event::Recovered(_) | Event::Status(_) => {}
        }
        ControlFlow::Continue(())
    }

    /// What holds at the end.
    pub(super) fn judge(&self, subscriber: &Subscriber, end: End, options: &Options, outcome: &mut Outcome) {
        let counters = subscriber.counters().subscription;
        if end == End::Silent {
            let heard_for = options.silent_after.map_or(0.0, |duration| duration.as_secs_f64());
            outcome.add(Condition::Unheard(format!("nobody was heard for {heard_for} s (--silent-after)")));
        }
        if counters.lost > 0 {
            let words = format!("{} lost in {}", count(counters.lost, "message"), count(self.loss_count, "range"));
            outcome.add(Condition::Incomplete(words));
        }
        let open_gaps = subscriber.subscription().open_gaps() as u64;
        if open_gaps > 0 && end != End::Output {
            outcome.add(Condition::Incomplete(format!("{} open at the end", count(open_gaps, "gap"))));
        }
        // A gap that it stopped at is open.
        if open_gaps == 0 && end == End::Stopped {
            let words = "stopped where the numbers began again (--rewind stop)";
            outcome.add(Condition::Incomplete(words.to_owned()));
        }
    }

    fn show(&self, now: Nanos, progress: &mut Progress, subscriber: &Subscriber) {
        let subscription = subscriber.subscription();
        let counters = subscription.counters();
        progress.update(now, counters.messages, || {
            format!(
                "next {}, {} open, {} recovered, {} lost{}",
                subscription.next().map_or_else(|| "-".to_owned(), thousands),
                count(subscription.open_gaps() as u64, "gap"),
                thousands(counters.recovered),
                thousands(counters.lost),
                self.headroom.map_or_else(String::new, |left| format!(", {} headroom", headroom::in_brief(&left))),
            )
        });
    }
}
