//! Publishers that are killed and go on with their ring, and subscribers that are killed and go on from their stored offset.

use super::{asked, impaired, messages, micros, millis, range, thousand, told_at, troubles};
use crate::oracle::Told;
use crate::plan::{ClientPlan, Crash, Cut, Death, Ending, PathPlan, Scenario, SessionPlan, Step};
use crate::world::World;
use seqcast_recovery::{GapOrigin, Line, LossCause, Nanos, SessionChoice, Start, Status};
use std::collections::BTreeSet;

/// A publisher that is killed at this step.
fn crash(step: usize, cut: Cut, down: Nanos) -> Crash {
    Crash { publisher: 0, step, cut, down }
}

/// 40 steps of 5 messages, which are 3 packets on each of two lines.
fn batches() -> SessionPlan {
    let mut session = SessionPlan::steady("BATCHES", Nanos::ZERO, 0, Nanos::ZERO, 0);
    session.steps = (1..=40).map(|index| Step { at: micros(100 * index), sizes: vec![60; 5] }).collect();
    (session.max_datagram, session.ending) = (150, Ending::End(millis(50)));
    session
}

#[test]
fn a_publisher_that_is_killed_anywhere_in_a_flush_goes_on_in_the_same_session() {
    let torn = [0, 1, 2].into_iter().flat_map(|torn_marks| (0..=5).map(move |messages| (messages, torn_marks)));
    let retaining = torn.map(|(messages, torn_marks)| Cut::Retaining { messages, torn_marks });
    for cut in retaining.chain((0..=7).map(|datagrams| Cut::Sending { datagrams })) {
        for retransmitter_of_its_own in [false, true] {
            let mut session = batches();
            session.retransmitter_of_its_own = retransmitter_of_its_own;
            session.crashes = (0..40).step_by(4).map(|step| crash(step, cut, micros(130))).collect();
            let path = PathPlan::clean(micros(20));
            let one = ClientPlan::clean(1);
            let two = one.clone().with_lines(path.clone(), path);
            let ring = two.clone().on_ring(Line::B);
            let world = World::run(&Scenario::new(session, vec![one, two, ring]));
            for client in &world.clients {
                let counters = client.subscription.counters();
                assert_eq!((counters.messages, counters.lost), (200, 0), "{cut:?}");
            }
        }
    }
}

#[test]
fn what_was_retained_and_not_sent_is_announced_and_fetched() {
    let mut session = batches();
    let cut = Cut::Retaining { messages: 5, torn_marks: 0 };
    session.crashes = vec![crash(10, cut, millis(20))];
    // Nothing is published behind it: a heartbeat shows it.
    session.steps.truncate(11);
    let world = World::run(&Scenario::new(session, vec![ClientPlan::clean(1)]));
    assert_eq!(messages(&world), (1..=55).collect::<Vec<_>>());
    assert_eq!(BTreeSet::from_iter(asked(&world)), (51..=55).collect());
    assert_eq!(troubles(&world), [Told::Gap(range(51, 56), GapOrigin::Unknown)]);
    let back_at = micros(1_100) + millis(20);
    assert!(told_at(&world, &Told::Message(51)) < back_at + millis(2), "the first heartbeat tells of it");
}

#[test]
fn a_retransmitter_of_its_own_tells_of_all_that_a_dead_publisher_retained() {
    let mut session = batches();
    session.retransmitter_of_its_own = true;
    session.crashes = vec![crash(10, Cut::Retaining { messages: 5, torn_marks: 0 }, Nanos::from_secs(90))];
    session.ending = Ending::Die(millis(50));
    let late = ClientPlan { joins: millis(400), ..ClientPlan::clean(1) };
    let mut scenario = Scenario::new(session, vec![ClientPlan::clean(1), late]);
    scenario.deadline = Nanos::from_secs(5);
    let world = World::run(&scenario);
    for client in 0..2 {
        let numbers = world.told(client).iter().filter(|(_, told)| matches!(told, Told::Message(_)));
        assert_eq!(numbers.count(), 55);
    }
    let seen_at = told_at(&world, &Told::Message(51));
    assert!((millis(1)..millis(103)).contains(&seen_at), "it looks every 100 ms, not {seen_at:?}");
    let ends = world.told(0).iter().filter(|(_, told)| matches!(told, Told::EndOfSession(_)));
    assert_eq!(ends.count(), 0, "it cannot know of an end");
}

#[test]
fn a_publisher_that_is_killed_a_hundred_times_under_load_loses_nothing() {
    let mut session = SessionPlan::steady("KILLED", Nanos::ZERO, 10_000, micros(10), 40);
    session.ending = Ending::End(millis(500));
    session.retransmitter_of_its_own = true;
    session.crashes = (0..100)
        .map(|kill| {
            let messages = kill % 2;
            let cut = match kill % 4 {
                0 | 1 => Cut::Retaining { messages, torn_marks: (kill % 3) as usize },
                _ => Cut::Sending { datagrams: (kill % 3) as usize },
            };
            crash(100 * kill as usize + 50, cut, micros(100 + 30 * kill))
        })
        .collect();
    let path = || impaired("loss=1%,seed=5");
    let far = ClientPlan { lines: vec![path()], ..ClientPlan::clean(1) };
    let ring = ClientPlan::clean(1).with_lines(path(), path()).on_ring(Line::A);
    let world = World::run(&Scenario::new(session, vec![far, ring]));
    for client in 0..2 {
        assert_eq!(world.clients[client].output().collect::<Vec<_>>(), (1..=10_000).collect::<Vec<_>>());
        assert_eq!(world.clients[client].subscription.counters().lost, 0);
    }
}

#[test]
fn a_dead_publisher_of_whom_all_is_retained_costs_a_silence_and_no_message() {
    let mut session = batches();
    session.crashes = vec![crash(20, Cut::Sending { datagrams: 0 }, millis(300))];
    let mut client = ClientPlan::clean(1);
    client.config.session = SessionChoice::Any;
    client.config.silent_after = millis(100);
    let world = World::run(&Scenario::new(session, vec![client]));
    assert_eq!(messages(&world), (1..=200).collect::<Vec<_>>());
    let sessions = world.told(0).iter().filter(|(_, told)| matches!(told, Told::NewSession(_)));
    assert_eq!(sessions.count(), 1, "it comes back as what it was");
    assert!(world.told(0).iter().any(|(_, told)| matches!(told, Told::Status(Status::Silent { .. }))));
}

#[test]
fn a_new_session_of_a_publisher_that_died_is_taken_when_the_old_one_has_told_what_it_owes() {
    let mut first = batches();
    (first.ending, first.retransmitter_of_its_own) = (Ending::Die(millis(5)), true);
    let mut client = ClientPlan::clean(1);
    client.config.session = SessionChoice::Any;
    client.config.silent_after = millis(200);
    // 198 is lost, and nobody is reached who has it.
    client.lines[0].loses = vec![198];
    client.targets[0].0.blackouts = vec![Nanos::ZERO..millis(40)];
    let mut scenario = Scenario::new(first, vec![client]);
    scenario.sessions.push(SessionPlan::steady("NEXT", millis(20), 1_000, millis(1), 40));
    scenario.clean_from = Nanos::from_secs(2);
    let world = World::run(&scenario);
    let lost: Vec<Told> = troubles(&world).into_iter().filter(|told| matches!(told, Told::Lost(..))).collect();
    assert_eq!(lost, [Told::Lost(range(198, 200), LossCause::Ended)], "its packet");
    assert_eq!(world.clients[0].output().count(), 198 + 1_000);
}

#[test]
fn a_subscriber_that_is_killed_at_every_event_goes_on_from_its_offset() {
    for limit in [1, 3, 64] {
        let mut client = ClientPlan::clean(1);
        client.lines = vec![impaired("loss=3%,duplicate=3%,seed=8")];
        client.limit = limit;
        client.deaths = (1..=50).map(|events| Death { events, down: millis(10) }).collect();
        let mut session = SessionPlan::steady("OFFSET", Nanos::ZERO, 10_000, micros(100), 40);
        session.ending = Ending::End(Nanos::from_secs(2));
        let world = World::run(&Scenario::new(session, vec![client]));
        let client = &world.clients[0];
        assert_eq!(client.life, 50);
        assert_eq!(client.output().collect::<Vec<_>>(), (1..=10_000).collect::<Vec<_>>());
        let again = messages(&world).len() - 10_000;
        assert!((1..=50 * limit).contains(&again), "{again}: what was given since the last poll comes again");
    }
}

#[test]
fn an_offset_that_was_overwritten_meanwhile_is_told_as_a_loss() {
    let mut session = thousand();
    session.ring_bytes = 1;
    let mut client = ClientPlan::clean(1);
    client.config.start = Start::Live;
    client.deaths = vec![Death { events: 100, down: millis(5) }];
    let world = World::run(&Scenario::new(session, vec![client]));
    let told = world.told(0).iter().map(|(_, told)| *told);
    let mut stored = 0;
    for told in told.take_while(|told| !matches!(told, Told::Lost(..))) {
        stored = if let Told::Message(number) = told { number } else { stored };
    }
    let [Told::Lost(lost, LossCause::Overwritten), ..] = troubles(&world)[..] else { panic!("{:?}", troubles(&world)) };
    assert!(lost.start() == stored || lost.start() == stored + 1, "{lost} behind {stored}");
    assert_eq!(world.clients[0].output().count() as u64 + super::lost(&world), 1_000);
}

#[test]
fn a_subscriber_on_the_ring_that_is_killed_goes_on_from_its_offset() {
    let path = PathPlan::clean(micros(20));
    let mut client = ClientPlan::clean(0).with_lines(path.clone(), path).on_ring(Line::A);
    client.lines[1].blackouts = vec![Nanos::ZERO..millis(20)];
    client.deaths = (1..=10).map(|life| Death { events: 7 * life, down: millis(10) }).collect();
    let mut scenario = Scenario::new(SessionPlan { ending: Ending::End(millis(300)), ..thousand() }, vec![client]);
    // Until then it may be killed.
    scenario.clean_from = millis(300);
    let world = World::run(&scenario);
    assert_eq!(world.clients[0].output().collect::<Vec<_>>(), (1..=1_000).collect::<Vec<_>>());
    assert_eq!(world.clients[0].life, 10);
}
