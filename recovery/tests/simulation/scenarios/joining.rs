//! Late joins, and starts at a number.

use super::{lost, messages, micros, millis, range, thousand, told_at, troubles};
use crate::oracle::Told;
use crate::plan::{ClientPlan, PathPlan, Scenario, SessionPlan};
use crate::world::World;
use seqcast_recovery::{GapOrigin, GapPolicy, LossCause, Nanos, Start, Status};

#[test]
fn a_late_joiner_takes_everything_that_is_retained() {
    let mut client = ClientPlan::clean(1);
    client.joins = millis(5);
    let world = World::run(&Scenario::new(thousand(), vec![client]));
    assert_eq!(messages(&world), (1..=1_000).collect::<Vec<_>>());
    assert_eq!(troubles(&world), [], "what was published before is no gap");
    let statuses = world.told(0).iter().filter(|(_, told)| matches!(told, Told::Status(Status::CaughtUp { .. })));
    assert_eq!(statuses.count(), 1);
}

#[test]
fn a_late_joiner_of_a_lapped_ring_starts_at_the_oldest_without_loss() {
    let mut session = thousand();
    session.ring_bytes = 1;
    let mut client = ClientPlan::clean(1);
    client.joins = millis(5);
    let world = World::run(&Scenario::new(session, vec![client]));
    let messages = messages(&world);
    assert!(messages[0] > 1 && messages[0] < 500, "started at {}", messages[0]);
    assert_eq!(messages, (messages[0]..=1_000).collect::<Vec<_>>());
    assert_eq!(troubles(&world), []);
}

#[test]
fn a_start_at_a_number_that_is_overwritten_is_told_as_a_loss() {
    let mut session = thousand();
    session.ring_bytes = 1;
    let mut client = ClientPlan::clean(1);
    client.joins = millis(5);
    client.config.start = Start::At(10);
    let world = World::run(&Scenario::new(session, vec![client]));
    let Some(Told::Lost(first, LossCause::Overwritten)) = troubles(&world).first().copied() else { panic!("no loss") };
    assert_eq!(first.start(), 10);
    assert_eq!(messages(&world).len() as u64 + lost(&world), 991);
}

#[test]
fn a_live_start_asks_for_nothing_that_went_before() {
    let mut client = ClientPlan::clean(1);
    client.joins = millis(5);
    client.config.start = Start::Live;
    let world = World::run(&Scenario::new(thousand(), vec![client]));
    assert_eq!(messages(&world), (501..=1_000).collect::<Vec<_>>());
    assert_eq!(world.clients[0].economy.requests, 0);
}

#[test]
fn a_gap_that_another_one_kept_from_being_raised_stops_at_once() {
    let mut session = thousand();
    session.ring_bytes = 1;
    let a = PathPlan { loses: vec![510, 520], ..PathPlan::clean(micros(20)) };
    let b = PathPlan { loses: vec![520], ..PathPlan::clean(micros(200)) };
    let mut client = ClientPlan::clean(1).with_lines(a, b);
    client.joins = millis(5);
    // The past is overwritten before anybody is asked for it.
    client.targets[0].0.latency = millis(4);
    client.config.start = Start::At(1);
    client.config.gap_policy = GapPolicy::Stop;
    client.config.request.max_line_wait = Nanos::ZERO;
    let world = World::run(&Scenario::new(session, vec![client]));
    let gap = |number| Told::Gap(range(number, number + 1), GapOrigin::Unknown);
    assert_eq!(troubles(&world), [gap(510), Told::Lost(range(1, 501), LossCause::Overwritten), gap(520)]);
    assert_eq!(told_at(&world, &gap(520)), told_at(&world, &Told::Message(519)));
    assert_eq!(world.told(0).last().map(|(_, told)| *told), Some(Told::Status(Status::Stopped { next: 520 })));
}

#[test]
fn a_late_joiner_that_makes_progress_is_never_lapped() {
    let mut session = SessionPlan::steady("PACE", Nanos::ZERO, 20_000, micros(10), 100);
    // About 3,000 messages: 30 ms.
    session.ring_bytes = 3_000 * 102;
    let mut client = ClientPlan::clean(1);
    client.joins = millis(20);
    // It gets 256 messages in a round trip, in which 100 are published.
    client.targets[0].0.latency = millis(1);
    client.config.window_messages = 256;
    let world = World::run(&Scenario::new(session, vec![client]));
    assert_eq!(messages(&world), (1..=20_000).collect::<Vec<_>>());
    assert_eq!(troubles(&world), []);
    assert!(world.sources[0].truth.oldest(1) > 15_000, "the ring went round");
}
