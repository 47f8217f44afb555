//! What the application is told: messages in order, gaps raised, recovered, or lost.

use super::{JOIN_GIVE_UP, Subscription};
use crate::Nanos;
use crate::config::GapPolicy;
use crate::event::{Event, Gap, GapOrigin, Loss, LossCause, Message, Status};
use crate::reports::Due;
use core::ops::ControlFlow::{self, Continue};
use seqcast_protocol::{Packet, SequenceRange, SessionId};

impl Subscription {
    /// Delivers from the packet, which holds the next expected message or has held it, and then from the window.
    pub(super) fn deliver_packet(
        &mut self,
        packet: &Packet<'_>,
        sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let from = self.expected;
        let mut messages = packet.messages();
        if from > packet.sequence() {
            // It was delivered.
            messages.nth((from - packet.sequence()) as usize - 1);
        }
        let (mut number, mut bytes, mut flow) = (from, 0, Continue(()));
        let received_at = self.received_at;
        let mut next_settled = self.reports.next_settled();
        for payload in messages {
            if next_settled <= number {
                flow = self.settle(sink);
                if flow.is_break() {
                    break;
                }
                next_settled = self.reports.next_settled();
            }
            bytes += payload.len() as u64;
            self.expected = number + 1;
            flow = sink(Event::Message(Message { number, payload, received_at }));
            number = self.expected;
            if flow.is_break() {
                break;
            }
        }
        self.has_begun |= number > from;
        self.counters.messages += number - from;
        self.counters.bytes += bytes;
        self.window.release(from, number);
        flow?;
        if self.window.is_empty() && self.reports.next_settled() > self.expected {
            return Continue(());
        }
        self.drain(sink)
    }

    /// Delivers from the window, and reports lost what has been given up, as far as it goes.
    pub(super) fn drain(&mut self, sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        loop {
            self.settle(sink)?;
            let from = self.expected;
            // As far as numbers have slots of their own.
            let end = self.reports.next_settled().min(from.saturating_add(self.window.message_capacity()));
            let mut flow = Continue(());
            while flow.is_continue()
                && self.expected < end
                && let Some(held) = self.window.get(self.expected)
            {
                let first = self.expected;
                let mut bytes = 0;
                for (number, payload) in (first..end).zip(held.messages()) {
                    bytes += payload.len() as u64;
                    self.expected = number + 1;
                    flow = sink(Event::Message(Message { number, payload, received_at: held.received_at }));
                    if flow.is_break() {
                        break;
                    }
                }
                self.counters.messages += self.expected - first;
                self.counters.bytes += bytes;
                self.window.release(first, self.expected);
            }
            if self.expected > from {
                self.has_begun = true;
                flow?;
            } else if let Some(loss) = self.next_loss() {
                self.gaps.forget_below(loss.range.end());
                self.expected = loss.range.end();
                self.has_begun = true;
                self.window.release(loss.range.start(), self.expected);
                self.counters.lost = self.counters.lost.saturating_add(loss.range.count());
                sink(Event::Lost(loss))?;
            } else {
                return Continue(());
            }
        }
    }

    /// The next expected numbers, when they are missing and given up.
    fn next_loss(&mut self) -> Option<Loss> {
        let missing = self.gaps.first().filter(|missing| missing.start() == self.expected)?;
        let overwritten = self.requester.oldest();
        // A gap is raised before anything is done about it; and if the policy is to stop there, nothing is.
        let passes_gaps = self.config.gap_policy != GapPolicy::Stop;
        let report = self.reports.front_mut().filter(|report| (report.raised && passes_gaps) || !report.is_gap())?;
        let (end, cause) = match report.given_up {
            _ if overwritten > self.expected => (overwritten, LossCause::Overwritten),
            Some(cause) => (report.range.end(), cause),
            None => return None,
        };
        report.lost.get_or_insert(cause);
        // Cut at the report, so that each gap that was raised is settled by its own words.
        let end = end.min(missing.end()).min(report.range.end());
        Some(Loss { range: SequenceRange::new(self.expected, end), cause })
    }

    /// Tells of the gaps that have been passed.
    pub(super) fn settle(&mut self, sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        while let Some(report) = self.reports.settle(self.expected) {
            if report.raised {
                self.records.push(report.record(self.session.unwrap_or(SessionId::UNKNOWN), self.now));
            }
            if let Some(recovered) = report.recovered() {
                sink(Event::Recovered(recovered))?;
            }
        }
        Continue(())
    }

    /// Raises the gaps whose wait for another line is over, and applies the policy to them.
    pub(super) fn raise_gaps(&mut self, sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        let (due, policy) = (self.due(), self.config.gap_policy);
        if policy == GapPolicy::Stop && self.reports.has_raised() {
            return Continue(());
        }
        let has_targets = self.requester.has_targets();
        let mut looked_through = self.reports.looked_through;
        let mut flow = Continue(());
        for report in self.reports.not_looked_through() {
            if report.is_gap()
                && !report.raised
                && let Some(missing) = self.gaps.first_within(report.range)
            {
                if !due.may_raise(report, missing) {
                    break;
                }
                report.raised = true;
                self.counters.gaps += 1;
                if policy == GapPolicy::Skip && (report.origin != GapOrigin::Deferred || !has_targets) {
                    report.given_up = Some(LossCause::Skipped);
                }
                flow = sink(Event::Gap(Gap { range: report.range, origin: report.origin }));
            }
            looked_through = report.range.end();
            if flow.is_break() || (report.raised && policy == GapPolicy::Stop) {
                break;
            }
        }
        self.reports.looked_through = looked_through;
        flow
    }

    /// When gaps may be raised and asked for, as things stand.
    pub(super) fn due(&self) -> Due {
        Due { now: self.now, delay: self.config.request.delay, wait: self.lines.wait() }
    }

    /// Gives up the gaps whose time is over.
    pub(super) fn give_up(&mut self) {
        let (now, last_progress, give_up_after) = (self.now, self.last_progress, self.give_up_after());
        if now < last_progress + give_up_after {
            return;
        }
        for report in self.reports.iter_mut().take_while(|report| now >= report.opening.at + give_up_after) {
            report.given_up.get_or_insert(LossCause::NoAnswer);
        }
    }

    pub(super) fn give_up_after(&self) -> Nanos {
        match self.config.gap_policy {
            GapPolicy::Wait { give_up } => give_up,
            GapPolicy::Skip | GapPolicy::Stop => JOIN_GIVE_UP,
        }
    }

    pub(super) fn tell_heard(&mut self, sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        match self.session {
            Some(session) if self.liveness.take_news() => sink(Event::Status(Status::Heard { session })),
            _ => Continue(()),
        }
    }

    /// Tells what is new of the lines.
    pub(super) fn tell_of_lines(&mut self, sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        if let Some((number, source)) = self.differing.take() {
            sink(Event::Status(Status::CopiesDiffer { number, source }))?;
        }
        while let Some(status) = self.lines.poll(self.now) {
            sink(Event::Status(status))?;
        }
        Continue(())
    }
}
