//! Fair repair: those who lost the same are served in turn, and greed does not pay.

use super::{micros, millis, range};
use crate::oracle::Told;
use crate::plan::{ClientPlan, Ending, FloodPlan, Scenario, SessionPlan};
use crate::world::World;
use seqcast_protocol::{Request, SessionId};
use seqcast_recovery::{Nanos, Refusal, Responder, ResponderConfig, RingSize, RingWriter};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

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
fn nobody_is_told_of_numbers_that_the_lines_have_not_carried() {
    let size = RingSize::for_bytes(1, 64);
    let memory: Arc<[AtomicU64]> = (0..size.words()).map(|_| AtomicU64::new(0)).collect();
    let mut ring = RingWriter::create(memory, size, SessionId::UNKNOWN).expect("a valid ring");
    let mut responder = Responder::new(ring.reader(), 1_472, ResponderConfig::default());
    let client = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);
    let request = Request::new(SessionId::UNKNOWN, range(1, 9)).expect("a request").to_bytes();
    ring.retain(1, &[0, 0]).expect("it fits");
    assert_eq!(responder.handle_request(Nanos::ZERO, client, &request), Err(Refusal::NotYet));
    ring.mark_sent(2);
    ring.retain(1, &[0, 0]).expect("it fits");
    assert_eq!(responder.handle_request(Nanos::ZERO, client, &request), Ok(()));
    assert_eq!(responder.poll_answer(Nanos::ZERO).map(|(_, answer)| answer.len()), Some(22), "number 1 alone");
}
