//! What of a subscriber is copied into its file now and then.

use crate::{Subscriber, SubscriberCounters};
use seqcast_recovery::{Headroom, Line, Nanos};

/// How a subscriber stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub(crate) counters: SubscriberCounters,
    pub(crate) next: u64,
    pub(crate) highest: u64,
    /// For how long the first number has been missing that keeps others from being delivered.
    pub(crate) lag_time: Nanos,
    pub(crate) open_gaps: usize,
    pub(crate) is_caught_up: bool,
    pub(crate) is_heard: bool,
    pub(crate) has_ended: bool,
    pub(crate) headroom: Option<Headroom>,
    /// By `Line::index`.
    pub(crate) lines: [LineView; 2],
}

/// How one of its lines stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LineView {
    /// 0 before it is heard.
    pub(crate) heard_at: Nanos,
    pub(crate) is_silent: bool,
    pub(crate) behind: u64,
}

impl View {
    pub(crate) fn of(subscriber: &mut Subscriber, now: Nanos) -> Self {
        let headroom = subscriber.headroom_at(now);
        let subscription = &subscriber.subscription;
        let heard_at = Line::ALL.map(|line| subscription.line_heard_at(line));
        Self {
            counters: subscriber.counters(),
            next: subscription.next().unwrap_or(0),
            highest: subscription.highest().unwrap_or(0),
            lag_time: subscription.held_up_since().map_or(Nanos::ZERO, |since| now - since),
            open_gaps: subscription.open_gaps(),
            is_caught_up: subscription.is_caught_up(),
            is_heard: heard_at.iter().any(Option::is_some) && !subscription.is_silent(),
            has_ended: subscription.has_ended(),
            headroom,
            lines: Line::ALL.map(|line| LineView {
                heard_at: heard_at[line.index()].unwrap_or(Nanos::ZERO),
                is_silent: subscription.is_line_silent(line),
                behind: subscription.line_behind(line),
            }),
        }
    }
}
