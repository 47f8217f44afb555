//! Another publisher in the same trouble: the control, which has nothing in common with the measured one but the machine.

use crate::feed::Feed;
use crate::stage::Gate;
use crate::trouble::Trouble;
use seqcast_recovery::Nanos;
use seqcast_transport::Clock;

/// How long it levels at the most behind each stretch of trouble, enough for hundreds of packets: while the measured publisher
/// makes up for a stall, the trouble goes on here, too.
const LEVELLING: Nanos = Nanos::from_millis(1);

/// A publisher that holds what the measured one has published, and one who makes trouble for it; both on the calling thread.
#[derive(Debug)]
pub(crate) struct Elsewhere<'m> {
    feed: Feed<'m>,
    trouble: Trouble<'m>,
}

impl<'m> Elsewhere<'m> {
    /// Has published nothing yet.
    pub(crate) const fn new(feed: Feed<'m>, trouble: Trouble<'m>) -> Self {
        Self { feed, trouble }
    }

    /// Publishes what it has not, in packets like those of the measured publisher, which has published so much.
    pub(crate) fn level(&mut self, published: usize, gate: &Gate) -> Result<(), String> {
        self.level_until(Nanos::MAX, published, gate)
    }

    fn level_until(&mut self, until: Nanos, published: usize, gate: &Gate) -> Result<(), String> {
        let mut now = Clock::now();
        while self.feed.published() < published && now < until {
            now = self.feed.send(gate, |_| false)?.until;
            gate.check(now)?;
        }
        Ok(())
    }

    /// Makes trouble, until `until` at the latest, and levels behind it, so that the trouble has all of that time.
    pub(crate) fn work(&mut self, until: Nanos, published: usize, gate: &Gate) -> Result<(), String> {
        if self.feed.published() > 0 {
            self.trouble.work(until, self.feed.published() as u64)?;
        }
        self.level_until(Clock::now() + LEVELLING, published, gate)
    }

    /// Is left alone until it works again.
    pub(crate) fn rest(&mut self) {
        self.trouble.rest();
    }

    /// How many answers with messages it has given.
    pub(crate) fn answers(&self) -> u64 {
        self.feed.publisher().counters().retransmitter.responder.retransmissions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Messages;
    use crate::stage::Stage;
    use crate::trouble::{Kind, Scene};

    #[test]
    fn publisher_elsewhere_answers_with_what_the_measured_one_has_published() {
        let (stage, messages) = (Stage::elsewhere().unwrap(), Messages::uniform(64, 1));
        let publisher = stage.publisher().open().unwrap();
        let requests = publisher.request_address().unwrap();
        let scene = Scene {
            stage,
            messages: &messages,
            requests,
            bytes: 64,
            packets_per_second: 1e4,
            requests_per_second: 1e4,
        };
        let trouble = Trouble::new(Kind::Storm, scene, 1).unwrap();
        let mut elsewhere = Elsewhere::new(Feed::direct(publisher, &messages), trouble);
        let gate = Gate::new(Nanos::from_secs(10));
        elsewhere.level(1_000, &gate).unwrap();
        assert_eq!(elsewhere.feed.published(), 1_000);
        while elsewhere.answers() == 0 || elsewhere.feed.published() < 1_001 {
            gate.check(Clock::now()).unwrap();
            elsewhere.work(Clock::now() + Nanos::from_millis(1), 1_001, &gate).unwrap();
        }
        assert_eq!(elsewhere.feed.published(), 1_001);
        elsewhere.level_until(Nanos::ZERO, 2_000, &gate).unwrap();
        assert_eq!(elsewhere.feed.published(), 1_001);
    }
}
