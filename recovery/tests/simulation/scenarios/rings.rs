//! Lines that are the publisher's ring on the same host.

use super::{asked, impaired, messages, micros, millis, range, thousand, told_at, troubles};
use crate::oracle::Told;
use crate::plan::{ClientPlan, Ending, PathPlan, Scenario, SessionPlan, Step};
use crate::world::World;
use seqcast_recovery::{GapOrigin, Line, LossCause, Nanos, SessionChoice};

/// The ring as line A, beside a line that loses much.
fn beside() -> ClientPlan {
    ClientPlan::clean(1).with_lines(PathPlan::clean(Nanos::ZERO), impaired("loss=30%,seed=3")).on_ring(Line::A)
}

#[test]
fn a_ring_beside_a_line_that_loses_costs_no_request() {
    let world = World::run(&Scenario::new(thousand(), vec![beside()]));
    assert_eq!((messages(&world), asked(&world)), ((1..=1_000).collect(), vec![]));
    assert_eq!(troubles(&world), []);
    let first = world.clients[0].subscription.counters().lines.map(|line| line.first);
    assert_eq!(first, [1_000, 0], "the ring is earlier");
    assert_eq!(told_at(&world, &Told::Message(500)), micros(4_990), "when it is retained");
}

#[test]
fn a_ring_that_is_looked_at_late_fills_what_the_other_line_lost() {
    let (a, b) = (impaired("loss=30%,seed=3"), PathPlan::clean(Nanos::ZERO));
    let client = ClientPlan { ring_lag: micros(200), ..ClientPlan::clean(1).with_lines(a, b).on_ring(Line::B) };
    let world = World::run(&Scenario::new(thousand(), vec![client]));
    assert_eq!((messages(&world), asked(&world)), ((1..=1_000).collect(), vec![]));
    assert_eq!(troubles(&world), []);
    let first = world.clients[0].subscription.counters().lines.map(|line| line.first);
    assert!(first[0] > 0, "each of the two is first at times: {first:?}");
}

#[test]
fn a_ring_that_overtakes_is_told_exactly() {
    let mut session = thousand();
    session.ring_bytes = 1;
    let mut client = ClientPlan::clean(0).on_ring(Line::A);
    client.stalls = vec![millis(2)..millis(8)];
    let world = World::run(&Scenario::new(session, vec![client]));
    let [Told::Gap(gap, GapOrigin::Unknown), Told::Lost(lost, LossCause::Overwritten)] = troubles(&world)[..] else {
        panic!("{:?}", troubles(&world))
    };
    assert_eq!((gap, lost.start()), (lost, 201));
    assert_eq!(messages(&world), (1..lost.start()).chain(lost.end()..=1_000).collect::<Vec<_>>());
}

#[test]
fn a_subscriber_that_joins_on_a_ring_takes_what_is_retained_from_it() {
    let mut client = ClientPlan::clean(0).on_ring(Line::A);
    client.joins = millis(5);
    let world = World::run(&Scenario::new(thousand(), vec![client]));
    assert_eq!(messages(&world), (1..=1_000).collect::<Vec<_>>());
    assert_eq!((troubles(&world), asked(&world)), (vec![], vec![]));
}

#[test]
fn a_ring_that_is_replaced_is_followed_into_the_next_session() {
    let first = SessionPlan::steady("FIRST", Nanos::ZERO, 100, micros(10), 40);
    let mut client = ClientPlan::clean(0).on_ring(Line::A);
    client.config.session = SessionChoice::Any;
    let mut scenario = Scenario::new(first, vec![client]);
    scenario.sessions.push(SessionPlan::steady("SECOND", millis(20), 100, millis(2), 40));
    let world = World::run(&scenario);
    let ends = world.told(0).iter().filter(|(_, told)| *told == Told::EndOfSession(101));
    assert_eq!((ends.count(), world.clients[0].output().count()), (2, 200));
    assert!(
        told_at(&world, &Told::NewSession("SECOND".parse().expect("a name"))) <= millis(120),
        "it looks every 100 ms"
    );
}

#[test]
fn what_is_on_the_ring_alone_is_delivered_before_it_was_sent() {
    // The process dies with a step retained and not sent.
    let mut session = SessionPlan::steady("AHEAD", Nanos::ZERO, 0, Nanos::ZERO, 0);
    session.steps = vec![Step { at: millis(1), sizes: vec![8; 3] }, Step { at: millis(2), sizes: vec![8; 3] }];
    session.ending = Ending::End(millis(40));
    let cut = crate::plan::Cut::Retaining { messages: 3, torn_marks: 2 };
    session.crashes = vec![crate::plan::Crash { publisher: 0, step: 1, cut, down: millis(10) }];
    let far = ClientPlan::clean(1);
    let world = World::run(&Scenario::new(session, vec![beside(), far]));
    assert_eq!(told_at(&world, &Told::Message(6)), millis(2), "it counts from its commit word on");
    let [Told::Gap(gap, _)] = world
        .told(1)
        .iter()
        .map(|(_, told)| *told)
        .filter(|told| matches!(told, Told::Gap(..)))
        .collect::<Vec<_>>()[..]
    else {
        panic!("one gap")
    };
    assert_eq!(gap, range(4, 7));
}
