//! Hot pairs: two publishers of the same input send one session, each on a line of its own.

use super::{asked, messages, micros, millis, troubles};
use crate::plan::{ClientPlan, Crash, Cut, Ending, PathPlan, Scenario, SessionPlan};
use crate::world::World;
use seqcast_recovery::{Line, Nanos};

/// A pair; the second has its input later.
fn pair(count: u64) -> SessionPlan {
    let mut session = SessionPlan::steady("PAIR", Nanos::ZERO, count, micros(100), 40);
    (session.is_pair, session.skew) = (true, micros(30));
    session.ending = Ending::End(Nanos(100_000 * count) + millis(500));
    session
}

fn client() -> ClientPlan {
    let path = PathPlan::clean(micros(20));
    ClientPlan::clean(2).with_lines(path.clone(), path)
}

#[test]
fn killing_either_of_a_pair_twenty_times_costs_no_request_and_no_message() {
    let mut session = pair(10_000);
    session.crashes = (0..20)
        .map(|kill| Crash {
            publisher: kill % 2,
            step: 500 * kill + 250,
            cut: match kill % 4 {
                0 | 1 => Cut::Retaining { messages: 1, torn_marks: kill % 3 },
                _ => Cut::Sending { datagrams: 0 },
            },
            down: millis(30),
        })
        .collect();
    let world = World::run(&Scenario::new(session, vec![client()]));
    assert_eq!(messages(&world), (1..=10_000).collect::<Vec<_>>());
    assert_eq!((asked(&world), troubles(&world)), (vec![], vec![]));
}

#[test]
fn one_of_a_pair_that_dies_for_good_is_not_missed() {
    for publisher in 0..2 {
        let mut session = pair(10_000);
        let down = Nanos::from_secs(90);
        session.crashes = vec![Crash { publisher, step: 5_000, cut: Cut::Sending { datagrams: 0 }, down }];
        let world = World::run(&Scenario::new(session, vec![client()]));
        assert_eq!(messages(&world), (1..=10_000).collect::<Vec<_>>());
        assert_eq!((asked(&world), troubles(&world)), (vec![], vec![]));
    }
}

#[test]
fn what_the_line_of_one_lost_while_the_other_was_dead_is_fetched_from_whoever_has_it() {
    let mut session = pair(10_000);
    session.crashes = vec![Crash { publisher: 0, step: 5_000, cut: Cut::Sending { datagrams: 0 }, down: millis(300) }];
    let mut client = client();
    client.lines[Line::B.index()].loses = vec![4_000, 6_000];
    let world = World::run(&Scenario::new(session, vec![client]));
    assert_eq!(messages(&world), (1..=10_000).collect::<Vec<_>>());
    assert!(asked(&world).iter().all(|number| *number == 6_000), "{:?}", asked(&world));
    assert!(!asked(&world).is_empty());
}
