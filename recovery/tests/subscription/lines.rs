//! Two lines: who is waited for, and what is told of them.

use crate::driven::{Driven, Gap, LINE, Message, Recovered, TARGET, Told, UNKNOWN, config, heartbeat, packet, session};
use seqcast_protocol::{PacketKind, SequenceRange};
use seqcast_recovery::{Event, GapRecord, Line, LossCause, Nanos, Source, Status, Subscription, SubscriptionConfig};
use std::ops::ControlFlow::Continue;

const B: Source = Source::Line(Line::B);

/// The shortest wait for a line.
const MIN_WAIT: u64 = 300;

fn micros(micros: u64) -> Nanos {
    Nanos::from_micros(micros)
}

fn two_lines() -> SubscriptionConfig {
    SubscriptionConfig { lines: [true, true], ..config() }
}

/// Both lines have carried messages `1..=count`, one each 100 µs, B so much later; message 1 was at 0.
fn driven(count: u64, lag: Nanos) -> Driven {
    let mut driven = Driven::new(two_lines());
    let mut arrivals: Vec<_> = (1..=count)
        .flat_map(|number| {
            let at = micros(100 * (number - 1));
            [(at, LINE, number), (at + lag, B, number)]
        })
        .collect();
    arrivals.sort_by_key(|(at, ..)| *at);
    for (at, source, number) in arrivals {
        driven.now = at;
        driven.take(source, &packet("ONE", number, number + 1));
    }
    driven
}

#[test]
fn a_gap_waits_for_the_line_that_has_yet_to_pass_it() {
    let mut driven = driven(4, micros(50));
    driven.now = micros(500);
    assert_eq!(driven.take(LINE, &packet("ONE", 6, 7)), []);
    assert_eq!((driven.asks(), driven.subscription.timeout()), (vec![], Some(micros(500 + MIN_WAIT))));
    driven.now = micros(550);
    assert_eq!(driven.take(B, &packet("ONE", 5, 6)), [Message(5), Message(6)]);
    assert_eq!(driven.at(micros(5_000)), []);
    assert_eq!((driven.asks(), driven.subscription.counters().gaps), (vec![], 0));
}

#[test]
fn a_gap_that_both_lines_have_passed_is_asked_for_at_once() {
    for shown in [packet("ONE", 6, 7), heartbeat("ONE", 7)] {
        let mut driven = driven(4, micros(50));
        assert_eq!(driven.take(LINE, &packet("ONE", 6, 7)), []);
        assert_eq!(driven.take(B, &shown), [Gap(5, 6, UNKNOWN)]);
        assert_eq!(driven.asks(), [(5, 6)]);
    }
}

#[test]
fn only_what_both_lines_have_passed_is_asked_for() {
    let mut driven = driven(4, micros(50));
    assert_eq!(driven.take(LINE, &packet("ONE", 20, 21)), []);
    assert_eq!(driven.take(B, &packet("ONE", 7, 9)), [Gap(5, 20, UNKNOWN)]);
    assert_eq!(driven.asks(), [(5, 7)], "B may still bring 9 to 19");
    let wait_ends = driven.now + micros(MIN_WAIT);
    assert_eq!(driven.subscription.timeout(), Some(wait_ends));
    driven.at(wait_ends);
    assert_eq!(driven.asks(), [(9, 20)]);
}

#[test]
fn a_line_that_stays_away_is_not_waited_for_any_longer() {
    let mut driven = driven(4, micros(50));
    let mut waited = vec![];
    for number in 0..200 {
        // A carries every second message, B nothing any more.
        driven.now = driven.now + micros(100);
        let (missing, found_at) = (5 + 2 * number, driven.now);
        driven.take(LINE, &packet("ONE", missing + 1, missing + 2));
        let mut asked = driven.asks();
        while asked.is_empty() {
            driven.at(driven.subscription.timeout().expect("something is due"));
            asked = driven.asks();
        }
        assert_eq!(asked, [(missing, missing + 1)]);
        waited.push(driven.now - found_at);
        driven.take(TARGET, &packet("ONE", missing, missing + 1));
    }
    assert_eq!(waited[0], micros(MIN_WAIT));
    assert!(waited.iter().sum_nanos() <= Nanos::from_millis(10), "{waited:?}");
    assert_eq!(waited[199], Nanos::ZERO);
}

trait SumNanos {
    fn sum_nanos(self) -> Nanos;
}

impl<'a, I: Iterator<Item = &'a Nanos>> SumNanos for I {
    fn sum_nanos(self) -> Nanos {
        self.fold(Nanos::ZERO, |sum, nanos| sum + *nanos)
    }
}

#[test]
fn the_wait_follows_how_far_the_lines_run_apart() {
    let mut driven = driven(60, Nanos::from_millis(2));
    let found_at = driven.now;
    driven.take(LINE, &packet("ONE", 62, 63));
    assert_eq!(driven.subscription.timeout(), Some(found_at + Nanos::from_millis(3)), "half as much again");
    assert_eq!(driven.at(found_at + micros(2_999)), []);
    assert_eq!(driven.at(found_at + Nanos::from_millis(3)), [Gap(61, 62, UNKNOWN)]);
    assert_eq!(driven.asks(), [(61, 62)]);
}

#[test]
fn a_line_that_lags_too_far_is_not_waited_for() {
    let mut driven = driven(300, Nanos::from_millis(15));
    driven.take(LINE, &packet("ONE", 301, 302));
    driven.now = driven.now + Nanos::from_millis(14);
    driven.take(B, &packet("ONE", 290, 291));
    assert_eq!(driven.take(LINE, &packet("ONE", 303, 304)), [Gap(302, 303, UNKNOWN)]);
    assert_eq!(driven.asks(), [(302, 303)]);
}

#[test]
fn each_line_is_counted_for_what_it_brought_and_missed() {
    let mut driven = driven(4, micros(50));
    let lead = driven.subscription.take_lead();
    assert_eq!(lead, Some((Line::A, micros(50))), "B came second");
    assert_eq!(driven.subscription.take_lead(), None);
    driven.take(LINE, &packet("ONE", 8, 9));
    driven.take(B, &packet("ONE", 5, 7));
    driven.take(LINE, &packet("ONE", 6, 7));
    driven.take(B, &packet("ONE", 9, 10));
    let [a, b] = driven.subscription.counters().lines;
    assert_eq!((a.packets, a.first, a.missed, a.late), (6, 5, 3, 1), "5, 6, 7 were missed, 6 came late");
    assert_eq!((b.packets, b.first, b.missed, b.late), (6, 3, 2, 0), "5, 6, 9 came first, 7 and 8 were missed");
}

/// The states of the lines that are told between a packet and the next one, with the times.
fn statuses(subscription: &mut Subscription, packets: &[(u64, Source, Vec<u8>)]) -> Vec<(u64, Status)> {
    let mut told = vec![];
    for (millis, source, packet) in packets {
        let until = Nanos::from_millis(*millis);
        let mut now = subscription.timeout();
        while let Some(at) = now.filter(|at| *at < until) {
            let _ = subscription.advance(at, &mut |event: Event<'_>| {
                told.extend(status(&event).map(|status| (at.0 / 1_000_000, status)));
                Continue(())
            });
            while subscription.poll_request(at).is_some() {}
            now = subscription.timeout().filter(|next| *next > at);
        }
        let mut sink = |event: Event<'_>| {
            told.extend(status(&event).map(|status| (*millis, status)));
            Continue(())
        };
        let _ = subscription.handle_datagram(until, *source, packet, &mut sink);
        let _ = subscription.advance(until, &mut sink);
    }
    told
}

fn status(event: &Event<'_>) -> Option<Status> {
    match event {
        Event::Status(Status::Heard { .. } | Status::CaughtUp { .. }) => None,
        Event::Status(status) => Some(*status),
        _ => None,
    }
}

#[test]
fn a_line_that_falls_silent_or_behind_is_told_of_once_and_when_it_is_back() {
    let (line, other) = (Line::B, Line::A);
    let one = |number| packet("ONE", number, number + 1);
    let mut subscription = Subscription::new(two_lines(), Nanos::ZERO);
    let mut packets = vec![(0, LINE, one(1)), (0, B, one(1))];
    packets.extend((2..=100).map(|number| (10 * (number - 1), LINE, one(number))));
    // B comes back, and is soon behind.
    packets.extend([(1_000, B, one(100)), (1_001, LINE, one(101)), (1_050, LINE, one(102)), (1_060, B, one(101))]);
    packets.extend([(1_120, B, heartbeat("ONE", 102)), (1_210, B, one(102))]);
    // A is gone for good, and nothing is published.
    packets.extend((13..=50).map(|tenth| (tenth * 100, B, heartbeat("ONE", 103))));
    let millis = Nanos::from_millis;
    let expected = [
        (110, Status::LineSilent { line, elapsed: millis(110) }),
        (1_000, Status::LineCaughtUp { line }),
        (1_150, Status::LineBehind { line, messages: 1, elapsed: millis(100) }),
        (1_210, Status::LineCaughtUp { line }),
        (4_100, Status::LineSilent { line: other, elapsed: millis(3_050) }),
    ];
    assert_eq!(statuses(&mut subscription, &packets), expected);
    let heard = |line| (subscription.is_line_silent(line), subscription.line_heard_at(line));
    assert_eq!(Line::ALL.map(heard), [(true, Some(millis(1_050))), (false, Some(millis(5_000)))]);
}

#[test]
fn a_line_that_dies_under_load_is_told_of_once_and_not_waited_for() {
    // 100,000 packets/s: more in a moment than there are marks.
    let mut driven = driven(4, micros(50));
    let mut told = vec![];
    for number in 5..50_000 {
        driven.now = driven.now + micros(10);
        let now = driven.now;
        let mut sink = |event: Event<'_>| {
            told.extend(status(&event));
            Continue(())
        };
        let _ = driven.subscription.handle_datagram(now, LINE, &packet("ONE", number, number + 1), &mut sink);
        let _ = driven.subscription.advance(now, &mut sink);
    }
    assert!(matches!(told[..], [Status::LineSilent { line: Line::B, .. }]), "{told:?}");
    assert_eq!(driven.subscription.line_behind(Line::B), 50_000 - 5);
    assert_eq!(driven.take(LINE, &packet("ONE", 50_001, 50_002)), [Gap(50_000, 50_001, UNKNOWN)]);
}

#[test]
fn a_line_that_is_never_heard_is_told_of() {
    let mut subscription = Subscription::new(two_lines(), Nanos::ZERO);
    let packets: Vec<_> = (1..=50).map(|number| (100 * number, B, packet("ONE", number, number + 1))).collect();
    let silent = Status::LineSilent { line: Line::A, elapsed: Nanos::from_secs(3) };
    assert_eq!(statuses(&mut subscription, &packets), [(3_100, silent)]);
    assert_eq!((subscription.is_line_silent(Line::A), subscription.line_heard_at(Line::A)), (true, None));
}

#[test]
fn copies_with_other_bytes_are_told_of_and_counted() {
    for compare_copies in [true, false] {
        let mut subscription = Subscription::new(SubscriptionConfig { compare_copies, ..two_lines() }, Nanos::ZERO);
        let mut planted = packet("ONE", 1, 4);
        *planted.last_mut().expect("it has bytes") ^= 1;
        let packets = [(0, LINE, packet("ONE", 1, 4)), (1, B, packet("ONE", 1, 4)), (2, B, planted)];
        let told = statuses(&mut subscription, &packets);
        assert_eq!(subscription.counters().differing, u64::from(compare_copies));
        let differ = Status::CopiesDiffer { number: 3, source: B };
        assert_eq!(told, if compare_copies { vec![(2, differ)] } else { vec![] });
    }
}

#[test]
fn the_life_of_a_gap_is_remembered() {
    let mut driven = driven(4, micros(50));
    driven.take(LINE, &packet("ONE", 8, 9));
    driven.now = driven.now + micros(20);
    assert_eq!(driven.take(B, &packet("ONE", 6, 7)), [Gap(5, 8, UNKNOWN)]);
    assert_eq!(driven.asks(), [(5, 6)]);
    driven.now = driven.now + micros(7);
    driven.take(TARGET, &packet("ONE", 5, 6));
    assert_eq!(driven.subscription.records().len(), 0, "it is open");
    let open: Vec<_> = driven.subscription.missing().map(|gap| (gap.range, gap.requests, gap.elapsed)).collect();
    assert_eq!(open, [(SequenceRange::new(5, 8), 1, micros(27))]);
    assert_eq!((driven.subscription.held_up_since(), driven.subscription.settled_gaps()), (Some(micros(350)), 0));
    driven.now = driven.now + micros(3);
    assert_eq!(driven.take(B, &packet("ONE", 7, 8)), [Message(7), Recovered(5, 8, UNKNOWN), Message(8)]);
    let record = GapRecord {
        session: session("ONE"),
        range: SequenceRange::new(5, 8),
        origin: UNKNOWN,
        opened_by: LINE,
        opening_kind: PacketKind::Data,
        opened_at: micros(350),
        asked_after: Some(micros(20)),
        requests: 1,
        by_lines: [0, 2],
        by_answers: 1,
        lost: None,
        elapsed: micros(30),
    };
    assert_eq!(driven.subscription.records().collect::<Vec<_>>(), [&record]);
    assert_eq!((driven.subscription.held_up_since(), driven.subscription.settled_gaps()), (None, 1));
    assert_eq!(driven.subscription.missing().count(), 0);

    let found_at = driven.now;
    driven.take(LINE, &heartbeat("ONE", 10));
    driven.take(B, &heartbeat("ONE", 10));
    assert_eq!(driven.asks(), [(9, 10)]);
    let given_up = driven.at(found_at + Nanos::from_secs(10));
    assert_eq!(given_up, [Told::Lost(9, 10, LossCause::NoAnswer)]);
    let last = *driven.subscription.records().next_back().expect("two gaps");
    assert_eq!(
        (last.lost, last.elapsed, last.opening_kind),
        (Some(LossCause::NoAnswer), Nanos::from_secs(10), PacketKind::Heartbeat)
    );
}
