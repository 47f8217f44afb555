//! Two lines: a loss on one costs no request, and what is told of them is true.

use super::{asked, messages, micros, millis, range, told_at};
use crate::oracle::Told;
use crate::plan::{ClientPlan, Ending, PathPlan, Scenario, SessionPlan};
use crate::world::World;
use seqcast_recovery::{ImpairmentConfig, Line, Nanos, SessionChoice, Source, Status};

/// So many messages of 40 bytes, one each 10 µs, and an end half a second later.
fn busy(count: u64) -> SessionPlan {
    let session = SessionPlan::steady("BUSY", Nanos::ZERO, count, micros(10), 40);
    SessionPlan { ending: Ending::End(Nanos(10_000 * count) + millis(500)), ring_bytes: 4 << 20, ..session }
}

/// Two lines of these latencies that lose these shares of the datagrams, to a client with room for everything.
fn two_lines(latencies: [Nanos; 2], losses: [f64; 2]) -> ClientPlan {
    let path = |line: Line| {
        let (loss, seed) = (losses[line.index()], line.index() as u64);
        let impairment = ImpairmentConfig { loss, seed, ..ImpairmentConfig::default() };
        PathPlan { impairment, ..PathPlan::clean(latencies[line.index()]) }
    };
    let mut client = ClientPlan::clean(1).with_lines(path(Line::A), path(Line::B));
    (client.config.window_messages, client.config.window_bytes) = (1 << 16, 4 << 20);
    client.config.gap_capacity = 1 << 16;
    client
}

/// What was told of the lines, with the times.
fn of_lines(world: &World) -> Vec<(Nanos, Status)> {
    let of_lines = world.told(0).iter().filter_map(|(at, told)| match told {
        Told::Status(Status::Heard { .. } | Status::CaughtUp { .. } | Status::Silent { .. }) => None,
        Told::Status(status) => Some((*at, *status)),
        _ => None,
    });
    of_lines.collect()
}

fn is_complete(world: &World) -> bool {
    messages(world) == (1..world.sources[0].truth.retained).collect::<Vec<_>>()
}

#[test]
fn a_second_line_fills_the_gap_before_any_request() {
    let mut client = two_lines([micros(20), micros(80)], [0.0; 2]);
    client.lines[0].loses = (8..=990).step_by(7).collect();
    let world = World::run(&Scenario::new(busy(1_000), vec![client]));
    assert!(is_complete(&world));
    assert_eq!((asked(&world), world.clients[0].subscription.counters().gaps), (vec![], 0));
}

#[test]
fn only_what_both_lines_lost_is_asked_for_and_all_of_it_once() {
    let world = World::run(&Scenario::new(busy(20_000), vec![two_lines([micros(20), micros(220)], [0.02; 2])]));
    let lost = Line::ALL.map(|line| world.lost(0, line));
    let both: Vec<u64> = lost[0].intersection(&lost[1]).copied().collect();
    assert!(both.len() >= 4, "{both:?}");
    assert_eq!(asked(&world), both);
    assert!(is_complete(&world));
    let counters = world.clients[0].subscription.counters();
    assert_eq!(counters.recovered, both.len() as u64);
    for line in Line::ALL {
        let of_line = counters.lines[line.index()];
        assert_eq!((of_line.missed, of_line.late), (lost[line.index()].len() as u64, 0), "{line:?}");
    }
    let only_by_b = lost[0].difference(&lost[1]).count() as u64;
    assert_eq!(counters.lines.map(|line| line.first), [20_000 - lost[0].len() as u64, only_by_b]);
    assert_eq!(world.clients[0].records.judged, counters.gaps);
}

#[test]
fn a_line_that_dies_costs_no_request_and_is_told_of() {
    for dead in Line::ALL {
        let mut client = two_lines([micros(20), micros(220)], [0.0; 2]);
        client.lines[dead.index()].blackouts = vec![millis(200)..Nanos::MAX];
        let mut scenario = Scenario::new(busy(40_000), vec![client]);
        scenario.clean_from = Nanos::MAX;
        let world = World::run(&scenario);
        assert!(is_complete(&world));
        assert_eq!(asked(&world), []);
        let told = of_lines(&world);
        let Some((told_at, Status::LineSilent { line, .. })) = told.last().copied() else { panic!("{told:?}") };
        assert_eq!(line, dead);
        assert!(told_at <= millis(350), "told at {told_at:?}");
    }
}

#[test]
fn a_line_that_is_far_ahead_and_loses_costs_no_request() {
    // Both lines are heard before the first message; it is lost.
    let mut session = busy(20_000);
    session.steps.iter_mut().for_each(|step| step.at = step.at + millis(50));
    session.ending = Ending::End(millis(1_000));
    for (latencies, losses) in [([20, 3_020], [0.05, 0.0]), ([3_020, 20], [0.0, 0.05])] {
        let mut client = two_lines(latencies.map(micros), losses);
        client.lines.iter_mut().min_by_key(|path| path.latency).expect("two lines").loses = vec![1];
        let world = World::run(&Scenario::new(session.clone(), vec![client]));
        assert!(is_complete(&world));
        assert_eq!((asked(&world), world.clients[0].subscription.counters().gaps), (vec![], 0));
        assert_eq!(of_lines(&world), []);
    }
}

#[test]
fn a_line_that_comes_back_is_told_of_and_fills_gaps_again() {
    let mut client = two_lines([micros(20), micros(220)], [0.0; 2]);
    client.lines[0].blackouts = vec![millis(100)..millis(300)];
    client.lines[1].loses = (31_000..39_000).step_by(7).collect();
    let world = World::run(&Scenario::new(busy(40_000), vec![client]));
    assert!(is_complete(&world));
    assert_eq!(asked(&world), []);
    let [(silent_at, Status::LineSilent { line, .. }), (back_at, back)] = of_lines(&world)[..] else {
        panic!("{:?}", of_lines(&world))
    };
    assert_eq!((line, back), (Line::A, Status::LineCaughtUp { line: Line::A }));
    assert!((millis(200)..millis(201)).contains(&silent_at), "{silent_at:?}");
    assert_eq!(back_at, millis(300) + micros(20), "its first packet");
}

#[test]
fn what_both_lines_have_passed_is_asked_for_in_the_same_duty_cycle() {
    let mut client = two_lines([micros(20), micros(220)], [0.0; 2]);
    (client.lines[0].loses, client.lines[1].loses) = (vec![500], vec![500]);
    let world = World::run(&Scenario::new(busy(1_000), vec![client]));
    let [request] = world.clients[0].economy.asked[..] else { panic!("not one request") };
    assert_eq!((request.range, request.at), (range(500, 501), micros(5_000 + 220)), "when B showed 501");
}

#[test]
fn a_line_that_stopped_is_waited_for_no_longer_than_it_lagged_lately() {
    for (lag, wait) in [(100, 300), (600, 900), (20_000, 0)] {
        let mut client = two_lines([micros(20), micros(20 + lag)], [0.0; 2]);
        client.lines[0].loses = vec![5_000];
        client.lines[1].blackouts = vec![micros(49_980)..Nanos::MAX];
        let mut scenario = Scenario::new(busy(10_000), vec![client]);
        scenario.clean_from = Nanos::MAX;
        let world = World::run(&scenario);
        let [request] = world.clients[0].economy.asked[..] else { panic!("not one request") };
        // 5,001 is published at 50 ms.
        assert_eq!((request.range, request.at), (range(5_000, 5_001), micros(50_020 + wait)), "behind by {lag} µs");
    }
}

#[test]
fn a_line_that_is_never_heard_is_not_waited_for_and_is_told_of() {
    let mut client = two_lines([micros(20); 2], [0.0; 2]);
    client.lines.truncate(1);
    client.lines[0].loses = vec![500];
    let mut session = busy(1_000);
    session.ending = Ending::End(millis(5_000));
    let world = World::run(&Scenario::new(session, vec![client]));
    let [request] = world.clients[0].economy.asked[..] else { panic!("not one request") };
    assert_eq!((request.range, request.at), (range(500, 501), micros(5_000 + 20)));
    let [(_, Status::LineSilent { line, .. })] = of_lines(&world)[..] else { panic!("{:?}", of_lines(&world)) };
    assert_eq!(line, Line::B);
}

#[test]
fn lines_that_carry_other_packets_are_one_session() {
    for losses in [[0.0; 2], [0.02; 2]] {
        let session = SessionPlan { recuts_b: true, ..busy(20_000) };
        let world = World::run(&Scenario::new(session, vec![two_lines([micros(20), micros(220)], losses)]));
        assert!(is_complete(&world));
        let lost = Line::ALL.map(|line| world.lost(0, line));
        let asked = asked(&world);
        assert!(lost[0].intersection(&lost[1]).all(|number| asked.contains(number)));
        // Nobody can know that B will repeat what it has passed.
        assert!(asked.iter().all(|number| lost[0].contains(number)));
        assert_eq!(losses[0] == 0.0, asked.is_empty(), "{asked:?}");
        assert!(world.clients[0].subscription.counters().duplicates > 25_000, "B repeats");
    }
}

#[test]
fn a_copy_with_another_byte_is_told_of_once_and_the_first_one_delivered() {
    let mut client = two_lines([micros(20), micros(220)], [0.0; 2]);
    client.lines[1].flips = Some(500);
    client.config.compare_copies = true;
    let world = World::run(&Scenario::new(busy(1_000), vec![client]));
    assert!(is_complete(&world));
    let differ = Status::CopiesDiffer { number: 500, source: Source::Line(Line::B) };
    assert_eq!(of_lines(&world).iter().map(|(_, status)| *status).collect::<Vec<_>>(), [differ]);
    assert_eq!(told_at(&world, &Told::Status(differ)), micros(4_990 + 220));
    assert_eq!(world.clients[0].subscription.counters().differing, 1);
}

#[test]
fn a_line_that_is_behind_when_a_session_ends_is_told_of_anew_in_the_next() {
    let mut client = two_lines([micros(20), millis(150)], [0.0; 2]);
    client.config.session = SessionChoice::Any;
    let first = SessionPlan::steady("FIRST", Nanos::ZERO, 3_000, micros(100), 40);
    let second = SessionPlan::steady("SECOND", millis(301), 3_000, micros(100), 40);
    let mut scenario = Scenario::new(first, vec![client]);
    scenario.sessions.push(second);
    let world = World::run(&scenario);
    let told: Vec<_> = of_lines(&world).into_iter().filter(|(at, _)| *at < millis(600)).collect();
    let [(_, Status::LineBehind { line: before, .. }), (at, Status::LineBehind { line, .. })] = told[..] else {
        panic!("{told:?}")
    };
    assert_eq!((before, line), (Line::B, Line::B));
    assert_eq!(at, millis(301 + 150), "the first packet of the second session on B");
}
