//! Sessions whose numbers begin again.

use super::{messages, micros, millis, range, troubles};
use crate::oracle::Told;
use crate::plan::{ClientPlan, Ending, PathPlan, Scenario, SessionPlan, Step};
use crate::world::World;
use seqcast_recovery::{GapOrigin, Line, LossCause, Nanos, RewindPolicy, Status};

/// A session that begins again so many times at 1, 30 ms apart: 200 messages each time, one each 20 µs.
fn lives(count: u64) -> Vec<SessionPlan> {
    let lives = (0..=count).map(|life| {
        let session = SessionPlan::steady("SAME", millis(30 * life), 200, micros(20), 40);
        let ending = if life < count { Ending::Die(millis(30 * life + 10)) } else { session.ending };
        SessionPlan { ending, ..session }
    });
    lives.collect()
}

fn run(sessions: Vec<SessionPlan>, clients: Vec<ClientPlan>) -> World {
    let last = sessions.last().expect("a session").clone();
    World::run(&Scenario { sessions, ..Scenario::new(last, clients) })
}

fn two_lines() -> ClientPlan {
    ClientPlan::clean(1).with_lines(PathPlan::clean(micros(20)), PathPlan::clean(micros(300)))
}

fn rewound(world: &World, client: usize) -> Vec<(u64, u64)> {
    let told = world.told(client).iter().filter_map(|(_, told)| match told {
        Told::Rewound(expected, sequence) => Some((*expected, *sequence)),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_session_that_begins_again_at_one_eleven_times_is_told_and_followed_each_time() {
    let mut small = ClientPlan::clean(1);
    (small.limit, small.config.window_messages, small.config.gap_capacity) = (1, 1, 1);
    let world = run(lives(11), vec![ClientPlan::clean(1), two_lines(), small, ClientPlan::clean(0)]);
    for client in 0..4 {
        assert_eq!(rewound(&world, client), [(201, 1); 11]);
        let all = (0..12).flat_map(|_| 1..=200).collect::<Vec<_>>();
        assert_eq!(world.clients[client].output().collect::<Vec<_>>(), all);
    }
    assert_eq!(troubles(&world), []);
}

#[test]
fn a_subscriber_that_stops_where_numbers_begin_again_delivers_nothing_of_them() {
    for limit in [1, 64] {
        let mut client = ClientPlan { limit, ..two_lines() };
        client.config.rewind_policy = RewindPolicy::Stop;
        let world = run(lives(3), vec![client]);
        assert_eq!((messages(&world), rewound(&world, 0)), ((1..=200).collect(), vec![(201, 1)]));
        assert_eq!(world.told(0).last().map(|(_, told)| *told), Some(Told::Status(Status::Stopped { next: 1 })));
    }
}

#[test]
fn numbers_that_begin_again_are_not_taken_until_what_is_owed_is_told() {
    let mut client = ClientPlan::clean(1);
    client.lines[0].loses = vec![150];
    client.targets[0].0.blackouts = vec![Nanos::ZERO..millis(32)];
    let mut scenario = Scenario::new(lives(1).remove(1), vec![client]);
    scenario.sessions = lives(1);
    let world = World::run(&scenario);
    assert_eq!(rewound(&world, 0), [(201, 1)]);
    let (gap, lost) = (Told::Gap(range(150, 151), GapOrigin::Unknown), Told::Lost(range(150, 151), LossCause::Ended));
    assert_eq!(troubles(&world)[..2], [gap, lost]);
    let all = (1..150).chain(151..=200).chain(1..=200).collect::<Vec<_>>();
    assert_eq!(world.clients[0].output().collect::<Vec<_>>(), all);
}

#[test]
fn numbers_that_begin_again_and_pause_are_told_by_the_next_heartbeat() {
    let mut client = ClientPlan::clean(1);
    client.lines[0].loses = vec![150];
    client.targets[0].0.blackouts = vec![Nanos::ZERO..millis(30)];
    let mut sessions = lives(1);
    // Two packets, of which the second finds that something is owed.
    sessions[1].steps.truncate(2);
    (sessions[0].steps[198].sizes, sessions[1].ending) = (vec![40], Ending::End(Nanos::from_secs(5)));
    let world = run(sessions, vec![client]);
    assert_eq!(rewound(&world, 0), [(201, 1)]);
    let last: Vec<u64> = messages(&world).into_iter().rev().take(2).collect();
    assert_eq!(last, [2, 1]);
}

#[test]
fn numbers_that_begin_again_on_one_line_wait_for_the_other() {
    let world = run(lives(1), vec![two_lines()]);
    let told = world.told(0).iter().find(|(_, told)| matches!(told, Told::Rewound(..)));
    // B shows the second packet 320 µs behind the beginning.
    assert_eq!(told.map(|(at, _)| *at), Some(millis(30) + micros(320)));
    let mut dead = two_lines();
    dead.config.line_behind_after = millis(5);
    dead.lines[Line::B.index()].blackouts = vec![millis(3)..Nanos::MAX];
    let mut scenario = Scenario::new(lives(1).remove(1), vec![dead]);
    (scenario.sessions, scenario.clean_from) = (lives(1), Nanos::MAX);
    let world = World::run(&scenario);
    let told = world.told(0).iter().find(|(_, told)| matches!(told, Told::Rewound(..)));
    assert_eq!(told.map(|(at, _)| *at), Some(millis(30) + micros(40)), "nobody waits for a line that is dead");
}

#[test]
fn what_was_missed_of_numbers_that_begin_again_is_fetched() {
    let mut client = ClientPlan::clean(1);
    client.lines[0].blackouts = vec![millis(25)..micros(30_400)];
    let world = run(lives(1), vec![client]);
    assert_eq!(rewound(&world, 0), [(201, 21)], "the first that is seen of them");
    assert_eq!(world.clients[0].output().collect::<Vec<_>>(), (1..=200).chain(21..=200).collect::<Vec<_>>());
}

#[test]
fn numbers_that_come_again_with_the_same_bytes_are_copies() {
    let mut sessions = lives(1);
    sessions[1].input = sessions[0].input;
    let begins = sessions[1].begins;
    sessions[1].steps.extend((0..50).map(|index| Step { at: begins + micros(5_000 + 20 * index), sizes: vec![40] }));
    sessions[1].ending = Ending::End(millis(40));
    let world = run(sessions, vec![ClientPlan::clean(1), two_lines()]);
    for client in 0..2 {
        assert_eq!(rewound(&world, client), []);
        assert_eq!(world.clients[client].output().count(), 250);
    }
    assert_eq!((messages(&world), troubles(&world)), ((1..=250).collect(), vec![]));
}

#[test]
fn copies_that_are_late_or_damaged_do_not_begin_the_session_again() {
    let mut client = two_lines();
    client.config.compare_copies = true;
    client.lines[1].flips = Some(100);
    client.lines[1].impairment = "duplicate=30%,reorder=30%,delay=0ms..5ms,seed=2".parse().expect("an impairment");
    let world = run(lives(0), vec![client]);
    assert_eq!((messages(&world), rewound(&world, 0)), ((1..=200).collect(), vec![]));
}
