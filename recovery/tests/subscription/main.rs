//! The exact events of one subscription, one cause at a time.

mod driven;
mod lines;
mod rewind;

use driven::{
    Driven, EndOfSession, Gap, LINE, Lost, Message, NewSession, Recovered, TARGET, Told, UNKNOWN, config, end,
    heartbeat, note, packet, session,
};
use seqcast_protocol::SequenceRange;
use seqcast_recovery::{
    Event, GapOrigin, GapPolicy, Line, LossCause, Nanos, RequestConfig, SessionChoice, Source, Start, Status,
    Subscription, SubscriptionConfig,
};
use std::ops::ControlFlow::Continue;

#[test]
fn a_gap_is_raised_filled_and_recovered_in_order() {
    let mut driven = Driven::new(config());
    assert_eq!(driven.take(LINE, &packet("ONE", 1, 2)), [Message(1)]);
    assert_eq!(driven.take(LINE, &packet("ONE", 4, 6)), [Gap(2, 4, UNKNOWN)]);
    assert_eq!(driven.asks(), [(2, 4)]);
    let filled = [Message(2), Message(3), Recovered(2, 4, UNKNOWN), Message(4), Message(5)];
    assert_eq!(driven.take(TARGET, &packet("ONE", 2, 4)), filled);
    assert_eq!(driven.asks(), []);
}

#[test]
fn what_partly_overlaps_is_delivered_once() {
    let mut driven = Driven::new(config());
    assert_eq!(driven.take(LINE, &packet("ONE", 1, 4)), [Message(1), Message(2), Message(3)]);
    assert_eq!(driven.take(LINE, &packet("ONE", 2, 6)), [Message(4), Message(5)]);
    assert_eq!(driven.take(LINE, &packet("ONE", 8, 9)), [Gap(6, 8, UNKNOWN)]);
    let rest = [Message(6), Message(7), Recovered(6, 8, UNKNOWN), Message(8), Message(9)];
    assert_eq!(driven.take(LINE, &packet("ONE", 3, 10)), rest);
    assert_eq!(driven.subscription.counters().duplicates, 2 + 4);
}

#[test]
fn a_break_at_every_event_repeats_and_leaves_out_nothing() {
    let mut driven = Driven::new(config());
    driven.limit = 1;
    let mut told = driven.take(LINE, &packet("ONE", 1, 4));
    told.extend(driven.take(LINE, &packet("ONE", 6, 8)));
    told.extend(driven.take(LINE, &packet("ONE", 9, 10)));
    told.extend(driven.take(TARGET, &packet("ONE", 4, 9)));
    let start = [Message(1), Message(2), Message(3), Gap(4, 6, UNKNOWN), Gap(8, 9, UNKNOWN), Message(4), Message(5)];
    let rest = [Recovered(4, 6, UNKNOWN), Message(6), Message(7), Message(8), Recovered(8, 9, UNKNOWN), Message(9)];
    assert_eq!(told, [&start[..], &rest].concat());
}

#[test]
fn the_oldest_number_of_the_publisher_ends_a_gap_at_once_and_exactly() {
    let mut driven = Driven::new(config());
    driven.take(LINE, &packet("ONE", 1, 2));
    assert_eq!(driven.take(LINE, &packet("ONE", 9, 10)), [Gap(2, 9, UNKNOWN)]);
    assert_eq!(driven.take(TARGET, &heartbeat("ONE", 5)), [], "nobody asked");
    assert_eq!(driven.asks(), [(2, 9)]);
    assert_eq!(driven.take(TARGET, &heartbeat("ONE", 11)), [], "more than is known");
    assert_eq!(driven.take(TARGET, &heartbeat("ONE", 5)), [Lost(2, 5, LossCause::Overwritten)]);
    assert_eq!(driven.asks(), [(5, 9)]);
    let rest: Vec<Told> = (5..10).map(Message).collect();
    assert_eq!(driven.take(TARGET, &packet("ONE", 5, 9)), rest, "a gap with a loss is not recovered");
}

#[test]
fn a_late_joiner_that_is_told_the_oldest_number_starts_there_without_a_loss() {
    let mut driven = Driven::new(config());
    assert_eq!(driven.take(LINE, &packet("ONE", 20, 21)), []);
    assert_eq!(driven.asks(), [(1, 20)].map(|(first, end): (u64, u64)| (first, end)));
    assert_eq!(driven.take(TARGET, &heartbeat("ONE", 18)), []);
    assert_eq!(driven.asks(), [(18, 20)]);
    assert_eq!(driven.take(TARGET, &packet("ONE", 18, 20)), [Message(18), Message(19), Message(20)]);
    assert_eq!(driven.subscription.counters().lost, 0);
}

#[test]
fn what_was_raised_is_told_as_a_loss_even_before_the_first_delivery() {
    let mut driven = Driven::new(config());
    driven.take(LINE, &heartbeat("ONE", 3));
    assert_eq!(driven.take(LINE, &packet("ONE", 6, 7)), [Gap(3, 6, UNKNOWN)]);
    driven.asks();
    assert_eq!(driven.take(TARGET, &heartbeat("ONE", 5)), [Lost(3, 5, LossCause::Overwritten)]);
}

#[test]
fn what_was_told_as_a_loss_is_a_beginning() {
    let mut driven = Driven::new(SubscriptionConfig { window_bytes: 0, ..config() });
    driven.take(LINE, &heartbeat("ONE", 3));
    driven.take(LINE, &heartbeat("ONE", 6));
    driven.asks();
    driven.take(TARGET, &heartbeat("ONE", 4));
    driven.asks();
    assert_eq!(driven.take(TARGET, &heartbeat("ONE", 6)), [Lost(4, 6, LossCause::Overwritten)]);
    driven.take(LINE, &heartbeat("ONE", 9));
    driven.asks();
    assert_eq!(driven.take(TARGET, &heartbeat("ONE", 8)), [Lost(6, 8, LossCause::Overwritten)]);
}

#[test]
fn a_gap_waits_for_its_delay_and_each_has_its_own() {
    let request = RequestConfig { delay: Nanos::from_millis(1), ..RequestConfig::default() };
    let mut driven = Driven::new(SubscriptionConfig { request, ..config() });
    driven.take(LINE, &packet("ONE", 1, 2));
    assert_eq!(driven.take(LINE, &packet("ONE", 3, 4)), []);
    driven.now = Nanos::from_micros(400);
    assert_eq!(driven.take(LINE, &packet("ONE", 5, 6)), []);
    assert_eq!((driven.asks(), driven.subscription.timeout()), (vec![], Some(Nanos::from_millis(1))));
    assert_eq!(driven.at(Nanos::from_millis(1)), [Gap(2, 3, UNKNOWN)]);
    assert_eq!((driven.asks(), driven.subscription.timeout()), (vec![(2, 3)], Some(Nanos::from_micros(1_400))));
    assert_eq!(driven.at(Nanos::from_micros(1_400)), [Gap(4, 5, UNKNOWN)]);
    assert_eq!(driven.asks(), [(4, 5)]);
}

#[test]
fn a_gap_that_is_filled_within_the_delay_is_never_mentioned() {
    let request = RequestConfig { delay: Nanos::from_millis(1), ..RequestConfig::default() };
    let mut driven = Driven::new(SubscriptionConfig { request, ..config() });
    driven.take(LINE, &packet("ONE", 1, 2));
    assert_eq!(driven.take(LINE, &packet("ONE", 3, 4)), []);
    assert_eq!(driven.take(Source::Line(Line::B), &packet("ONE", 2, 3)), [Message(2), Message(3)]);
    assert_eq!(driven.at(Nanos::from_millis(2)), []);
    assert_eq!(driven.asks(), []);
}

#[test]
fn what_cannot_be_kept_is_not_asked_for_until_there_is_room() {
    let mut driven = Driven::new(SubscriptionConfig { window_bytes: 16, ..config() });
    driven.take(LINE, &packet("ONE", 1, 2));
    assert_eq!(driven.take(LINE, &heartbeat("ONE", 10)), [Gap(2, 10, UNKNOWN)]);
    assert_eq!(driven.asks(), [(2, 10)]);
    assert_eq!(driven.take(TARGET, &packet("ONE", 4, 10)), [], "24 bytes do not fit");
    let counters = driven.subscription.counters();
    assert_eq!((counters.deferred, counters.duplicates), (6, 0));
    assert_eq!(driven.asks(), [(2, 4)]);
    assert_eq!(driven.take(TARGET, &packet("ONE", 2, 4)), [Message(2), Message(3)]);
    assert_eq!(driven.asks(), [(4, 10)]);
}

#[test]
fn what_cannot_be_kept_is_not_asked_for_again_when_its_time_is_over() {
    let mut driven = Driven::new(SubscriptionConfig { window_bytes: 16, ..config() });
    driven.take(LINE, &packet("ONE", 1, 2));
    driven.take(LINE, &packet("ONE", 4, 6));
    driven.take(LINE, &heartbeat("ONE", 12));
    assert_eq!(driven.asks(), [(2, 4), (6, 12)]);
    assert_eq!(driven.take(LINE, &packet("ONE", 6, 12)), [], "24 bytes do not fit");
    driven.at(Nanos::from_millis(20));
    assert_eq!(driven.asks(), [(2, 4)]);
}

#[test]
fn a_gap_that_a_moved_start_cuts_is_raised_from_the_start_on() {
    let request = RequestConfig { delay: Nanos::from_millis(1), ..RequestConfig::default() };
    let mut driven = Driven::new(SubscriptionConfig { request, ..config() });
    driven.take(LINE, &heartbeat("ONE", 3));
    assert_eq!(driven.take(LINE, &packet("ONE", 6, 7)), []);
    assert_eq!(driven.asks(), [(1, 3)]);
    assert_eq!(driven.take(TARGET, &heartbeat("ONE", 5)), []);
    assert_eq!(driven.at(Nanos::from_millis(1)), [Gap(5, 6, UNKNOWN)]);
}

#[test]
fn the_end_comes_behind_everything_and_once() {
    let mut driven = Driven::new(config());
    driven.take(LINE, &packet("ONE", 1, 2));
    assert_eq!(driven.take(LINE, &end("ONE", 3)), [Gap(2, 3, UNKNOWN)]);
    assert_eq!(driven.take(LINE, &end("ONE", 3)), []);
    let rest = [Message(2), Recovered(2, 3, UNKNOWN), EndOfSession(3)];
    assert_eq!(driven.take(TARGET, &packet("ONE", 2, 3)), rest);
    assert_eq!(driven.take(LINE, &end("ONE", 3)), []);
}

#[test]
fn a_session_is_left_after_its_end_and_what_is_left_of_it_is_foreign() {
    let mut driven = Driven::new(SubscriptionConfig { session: SessionChoice::Any, ..config() });
    assert_eq!(driven.take(LINE, &packet("ONE", 1, 2)), [NewSession("ONE"), Message(1)]);
    assert_eq!(driven.take(LINE, &packet("TWO", 1, 2)), []);
    assert_eq!(driven.take(LINE, &end("ONE", 2)), [EndOfSession(2)]);
    assert_eq!(driven.take(LINE, &packet("TWO", 1, 2)), [NewSession("TWO"), Message(1)]);
    assert_eq!(driven.take(LINE, &end("TWO", 2)), [EndOfSession(2)]);
    assert_eq!(driven.take(LINE, &packet("ONE", 2, 3)), []);
    assert_eq!(driven.subscription.counters().foreign, 2);
}

#[test]
fn a_silent_session_with_a_gap_is_settled_before_the_next_one_is_taken() {
    let mut driven = Driven::new(SubscriptionConfig { session: SessionChoice::Any, ..config() });
    driven.take(LINE, &packet("ONE", 1, 2));
    driven.take(LINE, &packet("ONE", 3, 4));
    assert_eq!(driven.at(Nanos::from_secs(3)), []);
    assert_eq!(driven.take(LINE, &packet("TWO", 1, 2)), [Lost(2, 3, LossCause::Ended), Message(3)]);
    assert_eq!(driven.take(LINE, &packet("TWO", 2, 3)), [NewSession("TWO")], "1 is asked for");
    assert_eq!(driven.asks(), [(1, 2)]);
}

#[test]
fn what_could_not_be_kept_is_not_delivered_by_a_resumption_either() {
    let mut driven = Driven::new(SubscriptionConfig { session: SessionChoice::Any, window_messages: 4, ..config() });
    driven.take(LINE, &packet("ONE", 1, 2));
    driven.take(LINE, &packet("ONE", 4, 5));
    driven.at(Nanos::from_secs(3));
    driven.limit = 1;
    assert_eq!(driven.hand_in(LINE, &packet("TWO", 1, 2)), [], "what ONE still owes is told first");
    // The first event is that ONE is heard again; 5 to 7 are beyond the window.
    let told = driven.hand_in(LINE, &packet("ONE", 3, 8));
    assert_eq!(told, [Lost(2, 3, LossCause::Ended), Message(3), Message(4)]);
    assert_eq!(driven.advance(), [Gap(5, 8, GapOrigin::Deferred)]);
    assert_eq!(driven.asks(), [(5, 8)]);
}

#[test]
fn all_that_nobody_answers_for_is_given_up_at_the_deadline() {
    let mut driven = Driven::new(config());
    driven.take(LINE, &packet("ONE", 1, 2));
    driven.take(LINE, &packet("ONE", 3, 4));
    driven.take(LINE, &packet("ONE", 5, 6));
    assert_eq!(driven.at(Nanos(9_999_999_999)), []);
    let lost = [Lost(2, 3, LossCause::NoAnswer), Message(3), Lost(4, 5, LossCause::NoAnswer), Message(5)];
    assert_eq!(driven.at(Nanos::from_secs(10)), lost);
}

#[test]
fn a_live_start_that_hears_nothing_waits_only_for_silence() {
    let mut driven = Driven::new(SubscriptionConfig { start: Start::Live, ..config() });
    assert_eq!(driven.at(Nanos::from_secs(1)), []);
    assert_eq!((driven.asks(), driven.subscription.timeout()), (vec![], Some(Nanos::from_secs(3))));
}

#[test]
fn a_start_that_hears_nothing_asks_once() {
    let mut driven = Driven::new(config());
    assert_eq!(driven.subscription.timeout(), Some(Nanos::from_millis(200)));
    driven.at(Nanos::from_millis(200));
    assert_eq!(driven.asks(), [(1, 65_536)]);
    assert!(driven.subscription.awaits_answer());
    assert_eq!(driven.take(TARGET, &packet("ONE", 1, 3)), [Message(1), Message(2)]);
    assert_eq!(driven.asks(), []);
}

#[test]
fn what_was_published_before_a_line_was_heard_is_no_gap() {
    for gap_policy in [GapPolicy::default(), GapPolicy::Skip, GapPolicy::Stop] {
        let mut driven = Driven::new(SubscriptionConfig { gap_policy, ..config() });
        driven.now = Nanos::from_millis(200);
        assert!(driven.subscription.poll_request(driven.now).is_some(), "nobody is heard, so it asks");
        assert_eq!(driven.take(TARGET, &packet("ONE", 1, 3)), [Message(1), Message(2)]);
        assert!(!driven.subscription.is_caught_up(), "no line has shown what there is");
        assert_eq!(driven.take(LINE, &heartbeat("ONE", 6)), []);
        assert_eq!(driven.take(TARGET, &packet("ONE", 3, 6)), [Message(3), Message(4), Message(5)]);
        assert!(driven.subscription.is_caught_up());
        assert_eq!(driven.subscription.counters().gaps, 0);
    }
}

#[test]
fn caught_up_is_told_once_when_nothing_lies_unread_and_holds_while_nothing_is_missing() {
    let caught_up = |next| Told::Status(Status::CaughtUp { next });
    for (start, first) in [(Start::Live, 4), (Start::Oldest, 1), (Start::At(3), 3)] {
        let mut driven = Driven::new(SubscriptionConfig { start, ..config() });
        let mut told = vec![];
        let mut cycle = |driven: &mut Driven, source, datagram: &[u8], has_backlog| {
            told.clear();
            driven.subscription.note_backlog(has_backlog);
            let mut sink = |event: Event<'_>| {
                told.push(note(&event));
                Continue(())
            };
            let flow = driven.subscription.handle_datagram(driven.now, source, datagram, &mut sink);
            assert!(flow.is_continue() && driven.subscription.advance(driven.now, &mut sink).is_continue());
            told.retain(|told| !matches!(told, Message(_) | Told::Status(Status::Heard { .. })));
            (told.clone(), driven.subscription.is_caught_up())
        };
        assert_eq!(cycle(&mut driven, LINE, &packet("ONE", first, 6), true), (vec![], false));
        assert_eq!(cycle(&mut driven, LINE, &packet("ONE", 6, 7), false), (vec![caught_up(7)], true), "{start:?}");
        assert_eq!(cycle(&mut driven, LINE, &packet("ONE", 8, 9), false), (vec![Gap(7, 8, UNKNOWN)], false));
        let recovered = (vec![Recovered(7, 8, UNKNOWN)], true);
        assert_eq!(cycle(&mut driven, LINE, &packet("ONE", 7, 8), false), recovered, "not told again");
        assert_eq!(cycle(&mut driven, LINE, &packet("ONE", 9, 10), true), (vec![], false));
        assert_eq!(cycle(&mut driven, LINE, &end("ONE", 10), false), (vec![EndOfSession(10)], true));
        assert!(driven.subscription.has_ended());
    }
}

#[test]
fn a_join_is_caught_up_behind_what_was_published_before() {
    for start in [Start::Oldest, Start::At(1)] {
        let mut driven = Driven::new(SubscriptionConfig { start, ..config() });
        driven.take(LINE, &packet("ONE", 3, 4));
        assert!(!driven.subscription.is_caught_up());
        driven.take(TARGET, &packet("ONE", 1, 3));
        assert!(driven.subscription.is_caught_up(), "{start:?}");
    }
}

#[test]
fn an_end_below_what_is_known_to_exist_is_none() {
    let mut driven = Driven::new(config());
    assert_eq!(driven.take(LINE, &packet("ONE", 1, 5)), [1, 2, 3, 4].map(Message));
    assert_eq!(driven.take(LINE, &end("ONE", 0)), []);
    assert_eq!(driven.take(LINE, &end("ONE", 4)), []);
    assert_eq!(driven.take(LINE, &end("ONE", 5)), [EndOfSession(5)]);
}

#[test]
fn a_stopped_subscription_wants_nothing_any_more() {
    let mut driven = Driven::new(SubscriptionConfig { gap_policy: GapPolicy::Stop, ..config() });
    driven.take(LINE, &packet("ONE", 1, 2));
    assert_eq!(driven.take(LINE, &packet("ONE", 3, 4)), [Gap(2, 3, UNKNOWN)]);
    assert!(driven.subscription.is_stopped());
    assert_eq!((driven.asks(), driven.subscription.timeout()), (vec![], None));
    assert_eq!(driven.take(LINE, &packet("ONE", 2, 3)), []);
}

#[test]
fn a_policy_that_stops_does_not_pass_a_gap_because_it_is_overwritten() {
    let mut driven = Driven::new(SubscriptionConfig { gap_policy: GapPolicy::Stop, ..config() });
    driven.take(LINE, &heartbeat("ONE", 3));
    assert_eq!(driven.take(LINE, &packet("ONE", 6, 7)), [Gap(3, 6, UNKNOWN)]);
    assert_eq!(driven.asks(), [(1, 3)], "only what was before the start");
    assert_eq!(driven.take(TARGET, &heartbeat("ONE", 7)), []);
    assert!(driven.subscription.is_stopped());
}

#[test]
fn the_last_numbers_there_are_are_numbers_like_others() {
    let mut driven = Driven::new(SubscriptionConfig { start: Start::Live, ..config() });
    let last = u64::MAX;
    assert_eq!(driven.take(LINE, &packet("ONE", last - 3, last - 2)), [Message(last - 3)]);
    assert_eq!(driven.take(LINE, &packet("ONE", last - 1, last)), [Gap(last - 2, last - 1, UNKNOWN)]);
    assert_eq!(driven.take(LINE, &heartbeat("ONE", last)), []);
    let rest = [Message(last - 2), Recovered(last - 2, last - 1, UNKNOWN), Message(last - 1)];
    assert_eq!(driven.take(TARGET, &packet("ONE", last - 2, last - 1)), rest);
}

#[test]
fn a_start_is_heard_and_a_silence_is_told_once_each() {
    let mut subscription = Subscription::new(config(), Nanos::ZERO);
    let mut told = vec![];
    let mut sink = |event: Event<'_>| {
        told.push(note(&event));
        Continue(())
    };
    let (second, four) = (Nanos::from_secs(1), Nanos::from_secs(4));
    let _ = subscription.handle_datagram(second, LINE, &packet("ONE", 1, 2), &mut sink);
    for now in [second, Nanos(four.0 - 1), four, four + four] {
        let _ = subscription.advance(now, &mut sink);
    }
    let heard = Told::Status(Status::Heard { session: session("ONE") });
    let caught_up = Told::Status(Status::CaughtUp { next: 2 });
    let silent = Told::Status(Status::Silent { elapsed: Nanos::from_secs(3) });
    assert_eq!(told, [heard, Message(1), caught_up, silent]);
    assert_eq!(SequenceRange::new(1, 2).count(), subscription.counters().messages);
}
