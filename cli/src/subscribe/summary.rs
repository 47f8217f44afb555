//! What a subscriber did, in words and as JSON.

use super::health;
use super::listener::Listener;
use crate::headroom;
use crate::log::Words;
use crate::progress::{count, impairment_in_words, thousands};
use crate::times;
use seqcast_recovery::Nanos;
use seqcast_subscriber::{Line, LossCause, SequenceRange, Subscriber, SubscriberCounters};
use serde_json::json;
use std::io::Write;

/// A cause as the summary says it.
pub(super) fn cause_in_words(cause: LossCause) -> &'static str {
    match cause {
        LossCause::Overwritten => "overwritten: nobody retains it any more",
        LossCause::NoAnswer => "no answer: nobody could fill it in time",
        LossCause::Skipped => "skipped: --gap skip",
        LossCause::Ended => "ended: its session was left",
    }
}

/// A cause as one stable word.
pub(crate) fn cause_name(cause: LossCause) -> &'static str {
    match cause {
        LossCause::Overwritten => "overwritten",
        LossCause::NoAnswer => "no_answer",
        LossCause::Skipped => "skipped",
        LossCause::Ended => "ended",
    }
}

/// What a subscriber did.
pub(super) struct Summary<'a> {
    pub(super) listener: &'a Listener,
    pub(super) subscriber: &'a Subscriber,
    pub(super) has_line_b: bool,
    pub(super) elapsed: Nanos,
}

impl Summary<'_> {
    pub(super) fn print(&self) {
        let SubscriberCounters {
            subscription,
            kernel_drops,
            other_sources,
            requests_refused,
            socket_errors,
            impairment,
        } = self.subscriber.counters();
        let next = self.subscriber.next();
        let elapsed_s = self.elapsed.as_duration().as_secs_f64();
        let session = self.subscriber.session().map(|session| session.to_string());
        let mut stderr = Words::default();
        // There is nobody to tell when standard error or output is gone.
        let _ = writeln!(
            stderr,
            "session {}: {} ({}) in all in {elapsed_s:.3} s, numbers {}..{}",
            session.as_deref().unwrap_or("none heard"),
            count(subscription.messages, "message"),
            count(subscription.bytes, "byte"),
            self.listener.first.or(next).map_or_else(|| "-".to_owned(), |number| number.to_string()),
            next.map_or_else(|| "-".to_owned(), |number| number.to_string()),
        );
        let _ = writeln!(
            stderr,
            "{}, {} recovered by {}, {} lost, {} duplicate, {} malformed, {} foreign, {} dropped by the kernel",
            count(subscription.gaps, "gap"),
            count(subscription.recovered, "message"),
            count(subscription.requests, "request"),
            thousands(subscription.lost),
            thousands(subscription.duplicates),
            thousands(subscription.malformed_total()),
            thousands(subscription.foreign),
            thousands(kernel_drops),
        );
        if other_sources > 0 {
            let _ = writeln!(stderr, "{} from another source dropped", count(other_sources, "datagram"));
        }
        if requests_refused + socket_errors > 0 {
            let _ = writeln!(
                stderr,
                "{} that nobody listens at a request address, {} of sockets",
                count(requests_refused, "answer"),
                count(socket_errors, "other error"),
            );
        }
        if impairment.datagrams > 0 {
            let _ = writeln!(
                stderr,
                "impaired on purpose: {} of {}",
                impairment_in_words(&impairment),
                count(impairment.datagrams, "datagram"),
            );
        }
        if let Some(headroom) = &self.listener.headroom {
            let _ = writeln!(stderr, "headroom to what is overwritten: {}", headroom::in_words(headroom));
        }
        for words in health::in_words(self.subscriber) {
            let _ = writeln!(stderr, "{words}");
        }
    }

    pub(super) fn json(&self, exit_code: u8) -> serde_json::Value {
        let counters = self.subscriber.counters();
        let subscription = counters.subscription;
        let next = self.subscriber.next();
        json!({
            "session": self.subscriber.session().map(|session| session.to_string()),
            "first": self.listener.first.or(next),
            "next": next,
            "messages": subscription.messages,
            "bytes": subscription.bytes,
            "gaps": subscription.gaps,
            "recovered": subscription.recovered,
            "lost": subscription.lost,
            "lost_ranges": self.lost_ranges(),
            "lost_range_count": self.listener.loss_count,
            "duplicates": subscription.duplicates,
            "deferred": subscription.deferred,
            "requests": subscription.requests,
            "retries": subscription.retries,
            "retransmissions": subscription.retransmissions,
            "malformed": subscription.malformed_total(),
            "foreign": subscription.foreign,
            "kernel_drops": counters.kernel_drops,
            "other_sources": counters.other_sources,
            "requests_refused": counters.requests_refused,
            "socket_errors": counters.socket_errors,
            "headroom": headroom::json(self.listener.headroom.as_ref()),
            "differing": subscription.differing,
            "recovery": times::json(&self.subscriber.histograms().recovery),
            "gap_log": health::gap_log(self.subscriber),
            "elapsed_s": self.elapsed.as_duration().as_secs_f64(),
            "exit_code": exit_code,
            "lines": {
                "a": health::line(self.subscriber, Line::A),
                "b": self.has_line_b.then(|| health::line(self.subscriber, Line::B)),
            },
        })
    }

    fn lost_ranges(&self) -> Vec<serde_json::Value> {
        let range = |(range, cause): &(SequenceRange, LossCause)| json!({ "first": range.start(), "next": range.end(), "cause": cause_name(*cause) });
        self.listener.losses.iter().map(range).collect()
    }
}
