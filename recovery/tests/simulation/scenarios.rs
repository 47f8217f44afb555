//! The requirements, one scenario each.

use crate::oracle::Told;
use crate::plan::{ClientPlan, Scenario, SessionPlan};
use crate::world::World;
use seqcast_protocol::SequenceRange;
use seqcast_recovery::Nanos;

#[test]
fn a_lost_last_message_is_repaired_within_three_milliseconds() {
    let mut session = SessionPlan::steady("ONE", Nanos::ZERO, 100, Nanos::from_micros(10), 40);
    session.ending = crate::plan::Ending::End(Nanos::from_secs(1));
    let mut client = ClientPlan::clean(1);
    client.lines[0].loses = vec![100];
    let world = World::run(&Scenario::new(session, vec![client]));
    let sent_at = Nanos::from_micros(990);
    let delivered_at = world.told(0).iter().find(|(_, told)| *told == Told::Message(100)).map(|(at, _)| *at);
    assert!(delivered_at.is_some_and(|at| at - sent_at <= Nanos::from_millis(3)), "{delivered_at:?}");
    assert!(
        world
            .told(0)
            .iter()
            .any(|(_, told)| matches!(told, Told::Recovered(range, _) if *range == SequenceRange::new(100, 101)))
    );
}
