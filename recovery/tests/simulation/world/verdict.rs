//! What must hold when everything has come to rest.

use super::World;
use crate::client::Client;
use seqcast_recovery::{GapPolicy, RewindPolicy, SessionChoice, Start};

impl World {
    /// Once links are clean, everybody has everything: delivered, or told.
    pub(super) fn check_the_end(&self) {
        self.clients.iter().enumerate().for_each(|(index, client)| self.check(index, client));
    }

    fn check(&self, index: usize, client: &Client) {
        let (subscription, oracle, config) = (&client.subscription, &client.oracle, &client.plan.config);
        if oracle.is_stopped {
            assert!(config.gap_policy == GapPolicy::Stop || config.rewind_policy == RewindPolicy::Stop);
            return;
        }
        let last = match config.session {
            SessionChoice::Any => self.sources.len().checked_sub(1),
            SessionChoice::Only(session) => self.sources.iter().rposition(|source| source.truth.session == session),
        };
        let last = last.expect("there is a session");
        let truth = &self.sources[last].truth;
        let Some(view) = &oracle.view else { panic!("client {index} has never heard anything") };
        assert_eq!(view.session, truth.session, "client {index} is not in the last session");
        if view.is_excused {
            return;
        }
        assert_eq!(oracle.begins_at, None, "client {index} was never told that the numbers begin again");
        let counters = subscription.counters();
        let first = counters.lines[0].first + counters.lines[1].first;
        assert_eq!(first + counters.recovered, counters.messages, "client {index}: {counters:?}");
        assert!(client.records.judged == counters.gaps || counters.gaps > 128, "client {index} forgot a gap");
        assert_eq!(subscription.open_gaps(), 0, "client {index} waits for ever");
        assert_eq!(subscription.window_messages(), 0, "client {index} holds something back");
        assert_eq!(subscription.next(), subscription.highest(), "client {index} is behind");
        if view.numbering != Some(last) {
            return;
        }
        let is_last = last == self.sources.len() - 1;
        assert!(!is_last || view.is_ended == truth.is_ended, "client {index} missed the end");
        if is_last && (truth.is_ended || !truth.is_over) {
            let next = match client.plan.start(view.session, view.is_first) {
                Start::At(first) if !view.is_rewound => truth.retained.max(first),
                _ => truth.retained,
            };
            assert_eq!(subscription.next(), Some(next), "client {index} has not reached the end");
        }
    }
}
