//! What was really published, which the oracle compares with.

use seqcast_protocol::{Packet, SequenceNumber, SessionId};

/// One numbering of a session: its messages, by the numbers from 1 on. A session has another one each time that its publisher
/// begins again without the ring.
#[derive(Debug)]
pub(crate) struct Truth {
    pub(crate) session: SessionId,
    /// Message `n` is at `n - 1`.
    pub(crate) messages: Vec<Box<[u8]>>,
    /// One past the highest number that any publisher has retained.
    pub(crate) retained: SequenceNumber,
    /// The lowest number that each publisher still retains.
    pub(crate) retained_from: Vec<SequenceNumber>,
    pub(crate) has_begun: bool,
    /// Whether the end was announced.
    pub(crate) is_ended: bool,
    /// Whether nothing of it will ever be sent again.
    pub(crate) is_over: bool,
}

impl Truth {
    pub(crate) fn new(session: SessionId, publishers: usize) -> Self {
        Self {
            session,
            messages: vec![],
            retained: 1,
            retained_from: vec![1; publishers],
            has_begun: false,
            is_ended: false,
            is_over: false,
        }
    }

    /// The lowest number that is still retained by any of the publishers that can be asked at so many addresses.
    pub(crate) fn oldest(&self, targets: usize) -> SequenceNumber {
        self.retained_from.iter().take(targets.max(1)).copied().min().expect("there is a publisher")
    }

    /// Whether these are the bytes of a message that is part of the session.
    pub(crate) fn has(&self, number: SequenceNumber, payload: &[u8]) -> bool {
        number < self.retained && *self.messages[number as usize - 1] == *payload
    }

    /// Whether all messages of a packet are its own.
    pub(crate) fn has_all(&self, packet: &Packet<'_>) -> bool {
        let range = packet.range();
        (range.start()..range.end()).zip(packet.messages()).all(|(number, payload)| self.has(number, payload))
    }

    /// Whether it begins with all the messages of `other`, and cannot be told from it as far as that goes.
    pub(crate) fn repeats(&self, other: &Self) -> bool {
        self.session == other.session && self.messages.starts_with(&other.messages)
    }
}
