//! What `doctor send` and `doctor listen` tell each other: MoldUDP64 packets of sessions of their own, each with one message
//! in JSON, which blanks make as long as is asked for.
//!
//! Subscribers that are bound to a session count them as foreign.

use seqcast_protocol::{HEADER_BYTES, LENGTH_BYTES, Packet, PacketWriter, SessionId};
use serde::{Deserialize, Serialize};

/// What the sessions of the doctor begin with; four characters follow.
const SESSION: &str = "DOCTOR";

/// The most packets of a burst: a bit for each is kept.
pub(super) const MAX_BURST: u64 = 1_000_000;

/// The shortest packet that has room for any message: no host may lack room for an IP packet of 576 bytes (RFC 791).
pub(super) const ROOM_BYTES: usize = 576 - 28;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Message {
    Probe(Probe),
    Report(Report),
}

/// From the sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Probe {
    /// Names this run.
    pub(super) run: u32,
    pub(super) stage: Stage,
    /// Where the sender hears unicast answers.
    pub(super) port: u16,
    /// The TTL that it left with.
    pub(super) ttl: u8,
    /// The size that packets should have.
    pub(super) full: usize,
    /// How many packets the burst has, 0 before it.
    pub(super) burst: u64,
    /// Which of them this is.
    pub(super) index: u64,
    /// Which listeners were heard, and how.
    pub(super) heard: Vec<Heard>,
}

/// A listener that was heard; the names are short so that all of them have room in [`ROOM_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Heard {
    #[serde(rename = "l")]
    pub(super) listener: u32,
    #[serde(rename = "m")]
    pub(super) multicast: bool,
    #[serde(rename = "u")]
    pub(super) unicast: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stage {
    Hello,
    Size,
    Burst,
    End,
}

/// From a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    /// Names the listener.
    pub(super) listener: u32,
    /// Where it hears unicast.
    pub(super) port: u16,
    /// The run that it has heard, and what of it.
    pub(super) run: Option<u32>,
    pub(super) tally: Tally,
}

/// What a listener has heard of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    /// Probes by multicast, without the burst.
    pub(super) multicast: u64,
    /// Probes by unicast.
    pub(super) unicast: u64,
    /// The longest by multicast, and by unicast.
    pub(super) largest_multicast: usize,
    pub(super) largest_unicast: usize,
    /// The TTL that they arrived with, the least of all.
    pub(super) ttl: Option<u8>,
    /// Of the burst: different packets, those that came twice, those that came behind a later one.
    pub(super) burst: u64,
    pub(super) duplicates: u64,
    pub(super) reordered: u64,
    /// What the kernel of the listener has dropped for want of receive buffer.
    pub(super) kernel_drops: u64,
}

impl Tally {
    /// Grows with everything that is heard: of two tallies the later one has more.
    pub(super) const fn total(&self) -> u64 {
        self.multicast + self.unicast + self.burst + self.duplicates + self.kernel_drops
    }
}

/// The session of whoever has this number.
pub(super) fn session(id: u32) -> SessionId {
    let name = SessionId::from_number(id.into());
    let mut bytes = *name.as_bytes();
    bytes[..SESSION.len()].copy_from_slice(SESSION.as_bytes());
    SessionId::from_bytes(bytes)
}

/// Writes a packet of `bytes`, or longer if the message needs it, which it does not beyond [`ROOM_BYTES`].
pub(super) fn encode(session: SessionId, number: u64, message: &Message, bytes: usize) -> Vec<u8> {
    let mut text = serde_json::to_vec(message).expect("there are no maps in it");
    text.resize(text.len().max(bytes.saturating_sub(HEADER_BYTES + LENGTH_BYTES)), b' ');
    let mut buffer = vec![0; HEADER_BYTES + LENGTH_BYTES + text.len()];
    let mut writer = PacketWriter::new(&mut buffer, session, number);
    writer.push(&text).expect("there is room for a datagram");
    writer.finish().to_vec()
}

/// Reads a packet; `None` if it is none of the doctor's.
pub(super) fn decode(datagram: &[u8]) -> Option<Message> {
    let packet = Packet::parse(datagram).ok()?;
    if !packet.session().as_bytes().starts_with(SESSION.as_bytes()) {
        return None;
    }
    serde_json::from_slice(packet.messages().next()?).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn probe() -> Message {
        let heard = Heard { listener: u32::MAX, multicast: false, unicast: false };
        Message::Probe(Probe {
            run: u32::MAX,
            stage: Stage::Hello,
            port: u16::MAX,
            ttl: 255,
            full: 65_507,
            burst: MAX_BURST,
            index: MAX_BURST,
            heard: vec![heard; super::super::MAX_PEERS],
        })
    }

    fn report() -> Message {
        let most = u64::MAX;
        let tally = Tally {
            multicast: most,
            unicast: most,
            largest_multicast: 65_507,
            largest_unicast: 65_507,
            ttl: Some(255),
            burst: most,
            duplicates: most,
            reordered: most,
            kernel_drops: most,
        };
        Message::Report(Report { listener: u32::MAX, port: u16::MAX, run: Some(u32::MAX), tally })
    }

    #[test]
    fn messages_are_read_as_they_were_written_at_any_size() {
        for message in [probe(), report()] {
            for bytes in [ROOM_BYTES, 1_472, 65_507] {
                let packet = encode(session(7), 3, &message, bytes);
                assert_eq!((packet.len(), decode(&packet)), (bytes, Some(message.clone())));
            }
        }
    }

    #[test]
    fn packets_are_valid_ones_of_a_session_of_their_own() {
        let packet = encode(session(u32::MAX), 9, &report(), 0);
        let packet = Packet::parse(&packet).unwrap();
        assert_eq!((packet.sequence(), packet.message_count()), (9, 1));
        assert_eq!(session(36).to_string(), "DOCTOR0010");
        assert!(packet.session().to_string().starts_with("DOCTOR"));
    }

    #[test]
    fn what_others_send_is_nothing() {
        let foreign = encode("EQ20261121".parse().unwrap(), 1, &probe(), 0);
        let mut other = [0; 64];
        let mut writer = PacketWriter::new(&mut other, session(1), 1);
        writer.push(b"{\"Probe\": 5}").unwrap();
        let other = writer.finish();
        for datagram in [&foreign[..], other, b"", b"DOCTOR"] {
            assert_eq!(decode(datagram), None);
        }
    }
}
