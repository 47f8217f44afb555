//! The requirements, one scenario each: here those of one line and one subscriber that is there from the beginning.

mod joining;
mod lines;
mod pairs;
mod repair;
mod restarts;
mod rewinds;
mod rings;

use crate::oracle::Told;
use crate::plan::{ClientPlan, Ending, PathPlan, Scenario, SessionPlan, Step};
use crate::world::World;
use seqcast_protocol::SequenceRange;
use seqcast_recovery::{GapOrigin, GapPolicy, ImpairmentConfig, LossCause, Nanos, SessionChoice, Status};

fn range(start: u64, end: u64) -> SequenceRange {
    SequenceRange::new(start, end)
}

fn micros(micros: u64) -> Nanos {
    Nanos::from_micros(micros)
}

fn millis(millis: u64) -> Nanos {
    Nanos::from_millis(millis)
}

fn impaired(text: &str) -> PathPlan {
    PathPlan { impairment: text.parse().expect("an impairment"), ..PathPlan::clean(micros(20)) }
}

/// The numbers that the first client asked for, in the order of the requests.
fn asked(world: &World) -> Vec<u64> {
    let ranges = world.clients[0].economy.asked.iter().map(|asked| asked.range);
    ranges.flat_map(|range| range.start()..range.end()).collect()
}

/// 1,000 messages of 40 bytes, one each 10 µs, and an end.
fn thousand() -> SessionPlan {
    SessionPlan::steady("THOUSAND", Nanos::ZERO, 1_000, micros(10), 40)
}

/// The events that change the data, but for messages and recoveries.
fn troubles(world: &World) -> Vec<Told> {
    let is_trouble = |told: &Told| matches!(told, Told::Gap(..) | Told::Lost(..));
    world.told(0).iter().map(|(_, told)| *told).filter(is_trouble).collect()
}

fn messages(world: &World) -> Vec<u64> {
    let number = |(_, told): &(Nanos, Told)| if let Told::Message(number) = told { Some(*number) } else { None };
    world.told(0).iter().filter_map(number).collect()
}

fn told_at(world: &World, what: &Told) -> Nanos {
    let found = world.told(0).iter().find(|(_, told)| told == what);
    found.unwrap_or_else(|| panic!("{what:?} was not told")).0
}

fn lost(world: &World) -> u64 {
    world.clients[0].subscription.counters().lost
}

#[test]
fn a_lost_last_message_is_repaired_within_three_milliseconds() {
    let mut session = SessionPlan::steady("ONE", Nanos::ZERO, 100, micros(10), 40);
    session.ending = Ending::End(Nanos::from_secs(1));
    let mut client = ClientPlan::clean(1);
    client.lines[0].loses = vec![100];
    let world = World::run(&Scenario::new(session, vec![client]));
    assert!(told_at(&world, &Told::Message(100)) <= micros(990) + millis(3));
    assert_eq!(world.clients[0].economy.requests, 1);
}

#[test]
fn ten_percent_loss_in_bursts_loses_nothing() {
    let mut client = ClientPlan::clean(1);
    client.lines = vec![impaired("loss=10%,burst=5,seed=3")];
    client.targets = vec![(impaired("loss=10%,burst=5,seed=4"), impaired("loss=10%,burst=5,seed=5"))];
    let world = World::run(&Scenario::new(thousand(), vec![client]));
    assert_eq!(messages(&world), (1..=1_000).collect::<Vec<_>>());
    assert!(world.clients[0].subscription.counters().recovered > 50);
}

#[test]
fn a_clean_line_needs_no_request() {
    let world = World::run(&Scenario::new(thousand(), vec![ClientPlan::clean(1)]));
    assert_eq!((world.clients[0].economy.requests, troubles(&world)), (0, vec![]));
}

#[test]
fn a_blackout_longer_than_the_ring_loses_exactly_what_was_overwritten() {
    let mut session = thousand();
    session.ring_bytes = 1;
    let mut client = ClientPlan::clean(1);
    client.lines[0].blackouts = vec![millis(2)..millis(8)];
    let world = World::run(&Scenario::new(session, vec![client]));
    let causes = troubles(&world).into_iter().filter_map(|told| match told {
        Told::Lost(range, cause) => Some((range, cause)),
        _ => None,
    });
    let next = causes.fold(201, |next, (range, cause)| {
        assert_eq!((range.start(), cause), (next, LossCause::Overwritten));
        range.end()
    });
    assert_eq!(messages(&world), (1..201).chain(next..=1_000).collect::<Vec<_>>());
    assert!(world.clients[0].subscription.counters().recovered > 0, "the rest of the gap was still retained");
}

#[test]
fn skip_delivers_on_at_once() {
    let mut client = ClientPlan::clean(1);
    client.lines[0].loses = vec![10, 11, 20];
    client.config.gap_policy = GapPolicy::Skip;
    let world = World::run(&Scenario::new(thousand(), vec![client]));
    let gap = |start, end| Told::Gap(range(start, end), GapOrigin::Unknown);
    let skipped = |start, end| Told::Lost(range(start, end), LossCause::Skipped);
    assert_eq!(troubles(&world), [gap(10, 12), skipped(10, 12), gap(20, 21), skipped(20, 21)]);
    assert_eq!(told_at(&world, &Told::Message(12)), micros(110 + 20));
    assert_eq!(world.clients[0].economy.requests, 0);
}

#[test]
fn stop_delivers_nothing_beyond_the_gap() {
    let mut client = ClientPlan::clean(1);
    client.lines[0].loses = vec![10];
    client.config.gap_policy = GapPolicy::Stop;
    let world = World::run(&Scenario::new(thousand(), vec![client]));
    assert_eq!(messages(&world), (1..10).collect::<Vec<_>>());
    assert_eq!(world.told(0).last().map(|(_, told)| *told), Some(Told::Status(Status::Stopped { next: 10 })));
    assert_eq!(world.clients[0].economy.requests, 0);
}

/// Two sessions, the second 19 ms behind the end of the first, with a client that follows.
fn restart(ending: Ending) -> World {
    let mut first = SessionPlan::steady("FIRST", Nanos::ZERO, 100, micros(10), 40);
    first.ending = ending;
    let mut client = ClientPlan::clean(1);
    client.config.session = SessionChoice::Any;
    client.config.silent_after = millis(200);
    // What is left of the first session arrives when the second one is long there.
    client.lines[0].impairment = ImpairmentConfig { duplicate: 0.2, ..ImpairmentConfig::default() };
    client.lines[0].impairment.delay = (Nanos::ZERO, millis(40));
    let mut scenario = Scenario::new(first, vec![client]);
    scenario.sessions.push(SessionPlan::steady("SECOND", millis(20), 20_000, micros(20), 40));
    scenario.clean_from = Nanos::from_secs(1);
    World::run(&scenario)
}

#[test]
fn a_following_subscriber_switches_only_after_end_or_silence_and_never_back() {
    let told = |world: &World| -> Vec<Told> {
        let is_news = |told: &Told| matches!(told, Told::NewSession(_) | Told::EndOfSession(_));
        world.told(0).iter().map(|(_, told)| *told).filter(is_news).collect()
    };
    let [first, second] = ["FIRST", "SECOND"].map(|name| Told::NewSession(name.parse().expect("a name")));
    let world = restart(Ending::End(millis(1)));
    assert_eq!(told(&world), [first, Told::EndOfSession(101), second, Told::EndOfSession(20_001)]);
    let world = restart(Ending::Die(millis(1)));
    assert_eq!(told(&world), [first, second, Told::EndOfSession(20_001)]);
    assert!(told_at(&world, &second) >= millis(200), "not before it was silent");
}

#[test]
fn a_dead_responder_is_given_up_after_the_deadline_and_counted_from_the_last_progress() {
    // 10 is lost, and no request arrives anywhere.
    let mut session = thousand();
    session.ending = Ending::End(Nanos::from_secs(20));
    let mut client = ClientPlan::clean(1);
    client.lines[0].loses = vec![10];
    client.targets[0].0.blackouts = vec![Nanos::ZERO..Nanos::from_secs(60)];
    client.config.gap_policy = GapPolicy::Wait { give_up: Nanos::from_secs(2) };
    let mut scenario = Scenario::new(session.clone(), vec![client.clone()]);
    scenario.is_answered = false;
    scenario.clean_from = Nanos::from_secs(60);
    scenario.deadline = Nanos::from_secs(61);
    let world = World::run(&scenario);
    let found = told_at(&world, &Told::Gap(range(10, 11), GapOrigin::Unknown));
    assert_eq!(told_at(&world, &Told::Lost(range(10, 11), LossCause::NoAnswer)), found + Nanos::from_secs(2));

    // A second line, late, fills one of two gaps. The deadline of what comes after it counts from there, as it would from an
    // answer; that of what comes before it does not, or a line that now and then fills something would put it off for ever.
    client.lines[0].loses = vec![10, 500];
    let lost_at = |missing: u64| {
        let late = PathPlan { loses: vec![missing], ..PathPlan::clean(millis(1_500)) };
        let client = ClientPlan { lines: vec![client.lines[0].clone(), late], ..client.clone() };
        let mut scenario = Scenario::new(session.clone(), vec![client]);
        scenario.is_answered = false;
        scenario.clean_from = Nanos::from_secs(60);
        scenario.deadline = Nanos::from_secs(61);
        told_at(&World::run(&scenario), &Told::Lost(range(missing, missing + 1), LossCause::NoAnswer))
    };
    let ten_filled = micros(90) + millis(1_500);
    assert_eq!(lost_at(500), ten_filled + Nanos::from_secs(2));
    assert_eq!(lost_at(10), found + Nanos::from_secs(2));
}

#[test]
fn duplicated_and_reordered_packets_change_nothing() {
    let mut client = ClientPlan::clean(1);
    client.lines = vec![impaired("duplicate=30%,reorder=30%,seed=9")];
    client.config.request.delay = millis(2);
    let world = World::run(&Scenario::new(thousand(), vec![client]));
    assert_eq!(messages(&world), (1..=1_000).collect::<Vec<_>>());
    assert_eq!(world.clients[0].economy.requests, 0, "whoever waits for what is late need not ask");
    assert!(world.clients[0].subscription.counters().duplicates > 200);
}

#[test]
fn a_full_window_loses_nothing() {
    let mut client = ClientPlan::clean(1);
    client.lines = vec![impaired("loss=5%,seed=1")];
    client.targets[0].0.latency = millis(1);
    (client.config.window_messages, client.config.window_bytes) = (16, 300);
    let world = World::run(&Scenario::new(thousand(), vec![client]));
    assert_eq!(messages(&world), (1..=1_000).collect::<Vec<_>>());
    assert!(world.clients[0].subscription.counters().deferred > 100);
}

#[test]
fn a_full_gap_set_loses_nothing() {
    let mut client = ClientPlan::clean(1);
    client.lines = vec![impaired("loss=30%,seed=1")];
    client.targets[0].0.latency = millis(1);
    client.config.gap_capacity = 2;
    let world = World::run(&Scenario::new(thousand(), vec![client]));
    assert_eq!(messages(&world), (1..=1_000).collect::<Vec<_>>());
    assert!(world.clients[0].subscription.counters().deferred > 100);
}

#[test]
fn the_end_of_session_is_told_once_after_the_last_gap_is_filled() {
    let mut client = ClientPlan::clean(1);
    client.lines[0].loses = vec![999, 1_000];
    client.targets[0].0.latency = millis(30);
    let world = World::run(&Scenario::new(thousand(), vec![client]));
    let last: Vec<Told> = world.told(0).iter().rev().take(3).map(|(_, told)| *told).collect();
    assert!(matches!(last[0], Told::Status(Status::Silent { .. })), "{last:?}");
    assert_eq!(last[1], Told::EndOfSession(1_001));
    assert!(matches!(last[2], Told::Recovered(filled, _) if filled.end() == 1_001), "{last:?}");
}

#[test]
fn what_time_outs_take_of_the_requests_in_flight_answers_give_back() {
    let mut client = ClientPlan::clean(1);
    // One request comes to many time-outs, a hundred are answered, then sixty packets are lost.
    client.lines[0].loses = [10].into_iter().chain((10_000..10_300).step_by(3)).collect();
    client.lines[0].blackouts = vec![millis(150)..millis(170)];
    client.targets[0].0.blackouts = vec![Nanos::ZERO..millis(90)];
    (client.config.window_messages, client.config.window_bytes) = (1 << 15, 2 << 20);
    client.config.request.in_flight = 32;
    let session = SessionPlan::steady("LONG", Nanos::ZERO, 20_000, micros(10), 40);
    let world = World::run(&Scenario::new(session, vec![client]));
    assert_eq!(messages(&world), (1..=20_000).collect::<Vec<_>>());
    assert!(world.clients[0].subscription.counters().retries >= 5);
    let asked_at = |at: Nanos| world.clients[0].economy.asked.iter().filter(|asked| asked.at == at).count();
    assert_eq!(asked_at(told_at(&world, &Told::Gap(range(15_001, 17_001), GapOrigin::Unknown))), 32);
}

#[test]
fn two_request_addresses_stand_in_for_each_other() {
    let mut client = ClientPlan::clean(2);
    client.lines = vec![impaired("loss=5%,seed=2")];
    client.targets[0].0.blackouts = vec![Nanos::ZERO..Nanos::from_secs(60)];
    let mut scenario = Scenario::new(thousand(), vec![client]);
    scenario.clean_from = Nanos::from_secs(60);
    scenario.sessions[0].ending = Ending::End(Nanos::from_secs(10));
    let world = World::run(&scenario);
    assert_eq!(messages(&world), (1..=1_000).collect::<Vec<_>>());
}

#[test]
fn a_callback_that_breaks_at_every_event_gets_every_event_once() {
    let mut client = ClientPlan::clean(1);
    client.lines = vec![impaired("loss=10%,duplicate=5%,reorder=5%,seed=4")];
    client.limit = 1;
    let world = World::run(&Scenario::new(thousand(), vec![client]));
    assert_eq!(messages(&world), (1..=1_000).collect::<Vec<_>>());
}

#[test]
fn what_the_kernel_dropped_is_named_and_repaired() {
    let mut client = ClientPlan::clean(1);
    client.receive_buffer = 10;
    client.stalls = vec![millis(2)..millis(4)];
    let world = World::run(&Scenario::new(thousand(), vec![client]));
    assert_eq!(messages(&world), (1..=1_000).collect::<Vec<_>>());
    let [Told::Gap(gap, GapOrigin::KernelDrop(drops))] = troubles(&world)[..] else { panic!("{:?}", troubles(&world)) };
    assert_eq!(gap.count(), u64::from(drops));
}

#[test]
fn empty_messages_and_packets_of_many_are_messages_like_others() {
    let mut session = thousand();
    session.steps = vec![Step { at: micros(100), sizes: vec![0; 3_000] }, Step { at: millis(1), sizes: vec![0, 9, 0] }];
    let mut client = ClientPlan::clean(1);
    client.lines[0].loses = vec![1, 2_000];
    let world = World::run(&Scenario::new(session, vec![client]));
    assert_eq!(messages(&world), (1..=3_003).collect::<Vec<_>>());
}
