//! Numbers that begin again within one session.

use crate::driven::{
    Driven, Gap, LINE, Lost, Message, Recovered, TARGET, Told, UNKNOWN, config, heartbeat, packet, packet_of,
};
use seqcast_recovery::{Line, LossCause, Nanos, RewindPolicy, Source, SubscriptionConfig};

const B: Source = Source::Line(Line::B);

fn messages(first: u64, end: u64) -> Vec<Told> {
    (first..end).map(Message).collect()
}

/// Ten messages were delivered.
fn driven(config: SubscriptionConfig) -> Driven {
    let mut driven = Driven::new(config);
    assert_eq!(driven.take(LINE, &packet("ONE", 1, 6)), messages(1, 6));
    assert_eq!(driven.take(LINE, &packet("ONE", 6, 11)), messages(6, 11));
    driven
}

#[test]
fn numbers_that_begin_again_are_told_and_followed_each_time() {
    let mut driven = driven(config());
    for life in 1..12 {
        assert_eq!(driven.take(LINE, &packet_of("ONE", 1, 4, life)), [], "it may be one damaged copy");
        let told = driven.take(LINE, &packet_of("ONE", 4, 8, life));
        assert_eq!(told, [vec![Told::Rewound(11, 1)], messages(1, 8)].concat());
        assert_eq!(driven.take(LINE, &packet_of("ONE", 8, 11, life)), messages(8, 11));
    }
    assert_eq!(driven.subscription.counters().messages, 12 * 10);
}

#[test]
fn copies_that_are_late_are_copies_whatever_comes_between() {
    let mut driven = driven(config());
    for _ in 0..3 {
        assert_eq!(driven.take(LINE, &packet("ONE", 1, 6)), []);
        assert_eq!(driven.take(LINE, &packet("ONE", 6, 11)), []);
    }
    assert_eq!(driven.take(LINE, &packet_of("ONE", 1, 6, 1)), [], "damaged");
    assert_eq!(driven.take(LINE, &packet("ONE", 11, 12)), messages(11, 12));
    assert_eq!(driven.take(LINE, &packet_of("ONE", 6, 11, 1)), []);
    assert_eq!(driven.take(LINE, &heartbeat("ONE", 3)), []);
}

#[test]
fn a_damaged_copy_does_not_stand_in_the_way_of_numbers_that_begin_again_later() {
    for between in [Some(packet("ONE", 11, 12)), None] {
        let mut driven = driven(config());
        driven.take(LINE, &packet_of("ONE", 1, 3, 2));
        let expected = 11 + u64::from(between.is_some());
        between.map(|packet| driven.take(LINE, &packet));
        assert_eq!(driven.take(LINE, &packet_of("ONE", 5, 7, 1)), []);
        let told = driven.take(LINE, &packet_of("ONE", 7, 9, 1));
        assert_eq!(told, [vec![Told::Rewound(expected, 5)], messages(5, 9)].concat());
    }
}

#[test]
fn numbers_that_fall_back_without_beginning_at_one_go_on_from_there() {
    let mut driven = driven(config());
    driven.take(LINE, &packet_of("ONE", 5, 7, 1));
    assert_eq!(driven.take(LINE, &packet_of("ONE", 7, 9, 1)), [vec![Told::Rewound(11, 5)], messages(5, 9)].concat());
    assert_eq!(driven.take(LINE, &packet_of("ONE", 10, 11, 1)), [Gap(9, 10, UNKNOWN)]);
    assert_eq!(driven.asks(), [(9, 10)]);
    let rest = [Message(9), Recovered(9, 10, UNKNOWN), Message(10)];
    assert_eq!(driven.take(TARGET, &packet_of("ONE", 9, 10, 1)), rest);
}

#[test]
fn what_is_owed_from_before_is_told_first() {
    let mut driven = driven(config());
    assert_eq!(driven.take(LINE, &packet("ONE", 12, 13)), [Gap(11, 12, UNKNOWN)]);
    assert_eq!(driven.take(LINE, &packet_of("ONE", 1, 3, 1)), []);
    assert_eq!(driven.take(LINE, &packet_of("ONE", 3, 5, 1)), [Lost(11, 12, LossCause::Ended), Message(12)]);
    // The packet of 3 and 4 came too early; whoever retains it is asked.
    let told = driven.take(LINE, &packet_of("ONE", 5, 7, 1));
    assert_eq!(told, [Told::Rewound(13, 1), Gap(3, 5, UNKNOWN), Message(1), Message(2)]);
}

#[test]
fn one_line_alone_does_not_begin_the_session_again() {
    let mut driven = Driven::new(SubscriptionConfig { lines: [true, true], ..config() });
    for (first, end) in [(1, 6), (6, 11)] {
        driven.take(LINE, &packet("ONE", first, end));
        driven.take(B, &packet("ONE", first, end));
    }
    assert_eq!(driven.take(LINE, &packet_of("ONE", 1, 4, 1)), []);
    assert_eq!(driven.take(LINE, &packet_of("ONE", 4, 6, 1)), []);
    assert_eq!(driven.take(B, &packet("ONE", 11, 12)), messages(11, 12), "B goes on");
    assert_eq!(driven.take(LINE, &packet_of("ONE", 6, 8, 1)), []);
    assert_eq!(driven.take(B, &packet_of("ONE", 1, 4, 1)), []);
    assert_eq!(driven.take(B, &packet_of("ONE", 4, 6, 1)), [vec![Told::Rewound(12, 1)], messages(1, 6)].concat());
}

#[test]
fn a_line_that_is_not_heard_any_more_does_not_hold_the_other_back() {
    let mut driven = Driven::new(SubscriptionConfig { lines: [true, true], ..config() });
    driven.take(LINE, &packet("ONE", 1, 6));
    driven.take(B, &packet("ONE", 1, 6));
    driven.now = Nanos::from_millis(200);
    driven.take(LINE, &packet_of("ONE", 1, 4, 1));
    assert_eq!(driven.take(LINE, &packet_of("ONE", 4, 6, 1)), [vec![Told::Rewound(6, 1)], messages(1, 6)].concat());
}

#[test]
fn a_policy_that_stops_delivers_nothing_of_the_new_numbers() {
    let mut driven = driven(SubscriptionConfig { rewind_policy: RewindPolicy::Stop, ..config() });
    driven.take(LINE, &packet_of("ONE", 1, 4, 1));
    assert_eq!(driven.take(LINE, &packet_of("ONE", 4, 8, 1)), [Told::Rewound(11, 1)]);
    assert!(driven.subscription.is_stopped());
    assert_eq!(driven.take(LINE, &packet_of("ONE", 8, 9, 1)), []);
}

#[test]
fn a_break_at_every_event_leaves_nothing_out() {
    let mut driven = driven(config());
    driven.limit = 1;
    driven.take(LINE, &packet_of("ONE", 1, 4, 1));
    let told = driven.take(LINE, &packet_of("ONE", 4, 8, 1));
    assert_eq!(told, [vec![Told::Rewound(11, 1)], messages(1, 8)].concat());
}
