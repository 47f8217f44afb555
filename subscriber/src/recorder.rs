//! What is noted of the events on their way to the application.

use crate::Histograms;
use crate::stats::Stats;
use seqcast_recovery::{Event, Line, Nanos};
use std::ops::ControlFlow;

/// Notes how long things took, and in the file of counters, if there is one, what happened.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) histograms: Histograms,
    stats: Option<Box<Stats>>,
    /// Whether the file tells how long the delivery of datagrams took.
    tells_delivery: bool,
    /// When the datagram was received of which a message was delivered last.
    received_at: Option<Nanos>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self { histograms: Histograms::new(), stats: None, tells_delivery: false, received_at: None }
    }

    /// `tells_delivery` says whether it is known when datagrams were received.
    pub(crate) fn keep(&mut self, stats: Option<Box<Stats>>, tells_delivery: bool) {
        self.tells_delivery = stats.is_some() && tells_delivery;
        self.stats = stats;
    }

    #[inline]
    pub(crate) fn stats(&self) -> Option<&Stats> {
        self.stats.as_deref()
    }

    #[inline]
    pub(crate) fn stats_mut(&mut self) -> Option<&mut Stats> {
        self.stats.as_deref_mut()
    }

    /// Hands every event on to `sink`.
    pub(crate) fn recording(
        &mut self,
        sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> impl FnMut(Event<'_>) -> ControlFlow<()> {
        |event| {
            match &event {
                Event::Message(message) if self.tells_delivery => self.note_delivery(message.received_at),
                Event::Message(_) => {}
                event => self.note(event),
            }
            sink(event)
        }
    }

    pub(crate) fn note_lead(&mut self, (line, lead): (Line, Nanos)) {
        self.histograms.leads[line.index()].saturating_record(lead.0);
        if let Some(stats) = &self.stats {
            stats.note_lead(line, lead);
        }
    }

    #[cold]
    fn note(&mut self, event: &Event<'_>) {
        if let Event::Recovered(recovered) = event {
            self.histograms.recovery.saturating_record(recovered.elapsed.0);
        }
        if let Some(stats) = &mut self.stats {
            stats.note(event);
        }
    }

    /// Notes the first message of each datagram.
    fn note_delivery(&mut self, received_at: Option<Nanos>) {
        if received_at == self.received_at {
            return;
        }
        self.received_at = received_at;
        if let (Some(received_at), Some(stats)) = (received_at, &self.stats) {
            stats.note_delivery(received_at);
        }
    }
}
