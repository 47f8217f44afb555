//! Repair: those who lost the same are served in turn, and who comes late catches up.

use super::{messages, micros, millis, troubles};
use crate::oracle::Told;
use crate::plan::{ClientPlan, Ending, FloodPlan, Scenario, SessionPlan};
use crate::world::World;
use seqcast_recovery::Nanos;
use std::collections::BTreeSet;

/// How many lose the burst.
const CLIENTS: usize = 100;

/// A burst of 500 messages of 100 bytes, lost by everybody at once; an answer takes 10 µs.
fn burst(floods: Vec<FloodPlan>) -> World {
    let mut session = SessionPlan::steady("BURST", Nanos::ZERO, 2_000, micros(10), 100);
    session.ending = Ending::End(millis(200));
    session.service = micros(10);
    let mut client = ClientPlan::clean(1);
    client.config.gap_capacity = 2_000;
    client.lines[0].blackouts = vec![millis(5)..millis(10)];
    let world = World::run(&Scenario { floods, ..Scenario::new(session, vec![client; CLIENTS]) });
    for client in &world.clients {
        let counters = client.subscription.counters();
        assert_eq!((counters.messages, counters.lost), (2_000, 0));
    }
    world
}

/// When the last client had everything.
fn recovered_at(world: &World) -> Nanos {
    let recovered = (0..CLIENTS).flat_map(|client| world.told(client));
    let recovered = recovered.filter(|(_, told)| matches!(told, Told::Recovered(..)));
    recovered.map(|(at, _)| *at).max().expect("everybody lost the burst")
}

#[test]
fn those_who_lost_the_same_burst_are_served_in_turn() {
    let world = burst(vec![]);
    // Whoever asks first is answered before anybody else has asked.
    let rounds = world.served[1..].chunks(CLIENTS);
    assert!(rounds.len() > 10, "{} answers", world.served.len());
    for round in rounds {
        assert_eq!(round.iter().collect::<BTreeSet<_>>().len(), round.len(), "somebody was served twice: {round:?}");
    }
}

#[test]
fn greed_does_not_pay() {
    let without = recovered_at(&burst(vec![])) - millis(10);
    let flood = FloodPlan { during: millis(5)..millis(100), interval: micros(20) };
    let world = burst(vec![flood]);
    let with = recovered_at(&world) - millis(10);
    assert!(with < without + without, "{with:?}, and {without:?} without a flood");
    // While everybody waits, the flood has one turn in a round.
    let is_flood = |client: &usize| *client == CLIENTS;
    let first = world.served.iter().position(|client| !is_flood(client)).expect("answers");
    let rounds = world.served[first..].chunks_exact(CLIENTS + 1).take(10);
    for round in rounds {
        assert!(round.iter().filter(|client| is_flood(client)).count() <= 2, "{round:?}");
    }
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
    assert!(world.sources[0].truth.oldest > 15_000, "the ring went round");
}
