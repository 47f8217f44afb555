//! How a subscription stands, for whoever watches it from outside.

use super::Subscription;
use crate::event::Line;
use crate::{GapRecord, Nanos};
use seqcast_protocol::SessionId;

impl Subscription {
    /// How many gaps that were raised are settled; the latest of them are [`Self::records`].
    #[must_use]
    pub fn settled_gaps(&self) -> u64 {
        self.records.count()
    }

    /// What was found missing and still is, in part at least, in order, each as it stands: raised or not, gap or late join.
    pub fn missing(&self) -> impl Iterator<Item = GapRecord> {
        let session = self.session.unwrap_or(SessionId::UNKNOWN);
        let reports = self.reports.iter().filter(|report| self.gaps.first_within(report.range).is_some());
        reports.map(move |report| report.record(session, self.now))
    }

    /// Since when the first number is missing that keeps others from being delivered; none while nothing does.
    #[must_use]
    pub fn held_up_since(&self) -> Option<Nanos> {
        self.reports.front().filter(|_| self.is_behind()).map(|report| report.opening.at)
    }

    /// When a line was heard last; none before it is heard.
    #[must_use]
    pub fn line_heard_at(&self, line: Line) -> Option<Nanos> {
        self.lines.heard_at(line)
    }

    /// Whether it was told of a line that it is silent, and not since that it is back.
    #[must_use]
    pub fn is_line_silent(&self, line: Line) -> bool {
        self.lines.is_silent(line)
    }
}
