//! The systems that come with the harness: seqcast, and what the machine itself can do.

mod bare;
mod memory;
mod seqcast;

pub use bare::BareUdp;
pub use memory::BareMemory;
pub use seqcast::{SeqcastRing, SeqcastUdp};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::{End, Receiver, Sender, Setup, System};

    /// Sends the messages from one to the other and returns what arrived.
    fn carry(sender: &mut impl Sender, receiver: &mut impl Receiver, messages: &[Vec<u8>]) -> Vec<(u64, Vec<u8>)> {
        let mut arrived = Vec::new();
        for message in messages {
            while !sender.offer(message).unwrap() {}
        }
        sender.flush().unwrap();
        for _ in 0..1_000_000 {
            receiver.poll(&mut |number, message: &[u8]| arrived.push((number, message.to_vec()))).unwrap();
            if arrived.len() >= messages.len() {
                break;
            }
        }
        arrived
    }

    /// Messages of every length up to 40 bytes.
    fn messages() -> Vec<Vec<u8>> {
        (0..40).map(|length| (0..length).collect()).collect()
    }

    fn every_message_arrives_both_ways(system: &impl System) {
        every_message_arrives_both_ways_with(system, &Setup { datagram_bytes: 100, ..Setup::new(64) });
    }

    fn every_message_arrives_both_ways_with(system: &impl System, setup: &Setup) {
        assert_eq!(system.refusal(setup), None);
        let numbered: Vec<_> = (1..).zip(messages()).collect();
        let [End { sender: mut here, receiver: mut heard_here }, End { sender: mut there, receiver: mut heard_there }] =
            system.open_both_ways(setup).unwrap();
        assert_eq!(carry(&mut here, &mut heard_there, &messages()), numbered);
        assert_eq!(carry(&mut there, &mut heard_here, &messages()), numbered);
        assert_eq!((heard_here.lost(), heard_here.requests()), (0, 0));
    }

    #[test]
    fn every_message_arrives_both_ways_by_seqcast() {
        every_message_arrives_both_ways(&SeqcastUdp);
        every_message_arrives_both_ways(&SeqcastRing);
    }

    #[test]
    fn every_message_arrives_both_ways_by_the_bare_ones() {
        every_message_arrives_both_ways(&BareUdp::Multicast);
        every_message_arrives_both_ways(&BareUdp::Unicast);
        every_message_arrives_both_ways(&BareMemory);
    }

    #[test]
    fn every_message_arrives_both_ways_when_the_kernel_cuts_and_joins() {
        let setup = Setup { datagram_bytes: 100, segmented: true, ..Setup::new(64) };
        every_message_arrives_both_ways_with(&SeqcastUdp, &setup);
        every_message_arrives_both_ways_with(&BareUdp::Multicast, &setup);
    }

    #[test]
    fn several_receivers_get_everything() {
        let numbered: Vec<_> = (1..).zip(messages()).collect();
        let (mut sender, receivers) = BareUdp::Multicast.open(&Setup::new(64), 3).unwrap();
        let arrived = carry(&mut sender, &mut { receivers }.remove(0), &messages());
        assert_eq!(arrived, numbered);
        let (mut sender, mut receivers) = SeqcastUdp.open(&Setup::new(64), 2).unwrap();
        assert_eq!(carry(&mut sender, &mut receivers[0], &messages()), numbered);
        assert_eq!(carry(&mut sender, &mut receivers[1], &[]), numbered);
    }

    #[test]
    fn loss_on_purpose_is_repaired_and_shows_as_requests() {
        let setup = Setup { datagram_bytes: 100, loss: 0.3, ..Setup::new(64) };
        let (mut sender, mut receivers) = SeqcastUdp.open(&setup, 1).unwrap();
        let arrived = carry(&mut sender, &mut receivers[0], &messages());
        assert_eq!(arrived, (1..).zip(messages()).collect::<Vec<_>>());
        assert_eq!(receivers[0].lost(), 0);
        assert!(receivers[0].requests() > 0);
    }
}
