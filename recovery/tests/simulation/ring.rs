//! The publisher's ring on the same host, as a subscriber has it: a line that follows it, and whom to ask.

use crate::publisher::Memory;
use seqcast_protocol::{HEADER_BYTES, Header, Request, SequenceNumber, SessionId};
use seqcast_recovery::{Followed, Nanos, RingFollower, RingReadError, RingReader, Start};
use std::collections::VecDeque;

/// How often a ring line that has nothing to deliver looks for the end of the session, and at the file.
pub(crate) const LOOK_FOR_END: Nanos = Nanos::from_millis(1);
const LOOK_AT_FILE: Nanos = Nanos::from_millis(100);

/// Longer than any packet of a scenario.
const BUFFER_BYTES: usize = 1 << 16;

/// The file in which the newest publisher has its ring.
pub(crate) struct RingFile<'a> {
    /// By the session's index.
    pub(crate) index: usize,
    pub(crate) memory: &'a Memory,
    /// Whether the publisher of a session is alive, by its index.
    pub(crate) has_writer: &'a dyn Fn(usize) -> bool,
}

/// What there is to receive.
pub(crate) enum Arrival {
    Datagram(Vec<u8>),
    /// Something that is not handed on.
    Withheld,
    Nothing,
}

/// A line that follows the ring, and the ring as a request address.
pub(crate) struct Ring {
    start: Start,
    resume: Option<(SessionId, SequenceNumber)>,
    open: Option<(usize, RingFollower<Memory>)>,
    look_for_end_at: Nanos,
    look_at_file_at: Nanos,
    reader: Option<(usize, RingReader<Memory>)>,
    asked: VecDeque<Request>,
    buffer: Vec<u8>,
}

impl Ring {
    pub(crate) fn new(start: Start, resume: Option<(SessionId, SequenceNumber)>) -> Self {
        Self {
            start,
            resume,
            open: None,
            look_for_end_at: Nanos::ZERO,
            look_at_file_at: Nanos::ZERO,
            reader: None,
            asked: VecDeque::new(),
            buffer: vec![0; BUFFER_BYTES],
        }
    }

    fn find(&mut self, file: &RingFile<'_>) {
        let reader = RingReader::open(file.memory.clone()).expect("a publisher's ring");
        let first = match (self.resume, self.start) {
            (Some((resumed, number)), _) if resumed == reader.session() => number,
            (_, Start::Oldest) => 0,
            (_, Start::Live) => SequenceNumber::MAX,
            (_, Start::At(number)) => number,
        };
        self.open = Some((file.index, RingFollower::new(reader, first).expect("a whole ring")));
        if let Start::At(_) = self.start {
            self.start = Start::Oldest;
        }
    }

    /// Whether a packet can be taken at once.
    pub(crate) fn has_more(&self) -> bool {
        self.open.as_ref().is_some_and(|(_, follower)| follower.next() < follower.reader().next())
    }

    /// When to look at the latest when nothing comes.
    pub(crate) fn look_at(&self) -> Nanos {
        self.look_at_file_at.max(self.look_for_end_at)
    }

    /// The next packet of the line.
    pub(crate) fn receive(&mut self, now: Nanos, file: Option<&RingFile<'_>>) -> Arrival {
        if let Some((_, follower)) = &mut self.open {
            match follower.poll(&mut self.buffer).expect("a whole ring") {
                Followed::Packet { range, bytes } => {
                    let session = follower.reader().session();
                    let mut datagram = Header::new(session, range.start(), range.count() as u16).to_bytes().to_vec();
                    datagram.extend(&self.buffer[..bytes]);
                    return Arrival::Datagram(datagram);
                }
                Followed::Overtaken { .. } => return Arrival::Withheld,
                Followed::Nothing => {}
            }
        }
        if now < self.look_for_end_at { Arrival::Nothing } else { self.idle(now, file) }
    }

    /// Says whether the publisher lives, or has ended, or has been replaced.
    fn idle(&mut self, now: Nanos, file: Option<&RingFile<'_>>) -> Arrival {
        let look_at_file = now >= self.look_at_file_at;
        self.look_for_end_at = now + LOOK_FOR_END;
        if look_at_file {
            self.look_at_file_at = now + LOOK_AT_FILE;
        }
        let (Some(file), look_at_file) = (file, look_at_file) else { return Arrival::Nothing };
        let Some((index, follower)) = &self.open else {
            if look_at_file {
                self.find(file);
            }
            return Arrival::Nothing;
        };
        let (ring, next) = (follower.reader(), follower.next());
        let has_writer = (file.has_writer)(*index);
        if look_at_file && !has_writer && *index != file.index {
            self.find(file);
            return Arrival::Nothing;
        }
        if ring.is_ended() && ring.next() == next {
            self.look_for_end_at = self.look_at_file_at;
            return Arrival::Datagram(Header::end_of_session(ring.session(), next).to_bytes().to_vec());
        }
        if look_at_file && has_writer {
            return Arrival::Datagram(Header::heartbeat(ring.session(), next).to_bytes().to_vec());
        }
        Arrival::Nothing
    }

    pub(crate) fn ask(&mut self, request: Request) {
        self.asked.push_back(request);
    }

    /// How many answers can be taken.
    pub(crate) fn answers(&self) -> usize {
        self.asked.len()
    }

    /// The next answer, read from the ring of the session that was asked for.
    pub(crate) fn answer(&mut self, file: Option<&RingFile<'_>>) -> Arrival {
        let Some(request) = self.asked.pop_front() else { return Arrival::Nothing };
        let Some(file) = file else { return Arrival::Withheld };
        if self.reader.as_ref().is_none_or(|(index, _)| *index != file.index) {
            let reader = RingReader::open(file.memory.clone()).expect("a publisher's ring");
            self.reader = Some((file.index, reader));
        }
        let (_, reader) = self.reader.as_mut().expect("it was found just now");
        let session = reader.session();
        if !request.session().is_blank() && request.session() != session {
            return Arrival::Withheld;
        }
        let (header, blocks) = self.buffer.split_at_mut(HEADER_BYTES);
        match reader.read(request.range(), blocks) {
            Ok(read) => {
                header.copy_from_slice(&Header::new(session, read.range.start(), read.range.count() as u16).to_bytes());
                Arrival::Datagram(self.buffer[..HEADER_BYTES + read.bytes].to_vec())
            }
            Err(RingReadError::Overwritten { oldest }) => {
                Arrival::Datagram(Header::heartbeat(session, oldest).to_bytes().to_vec())
            }
            Err(RingReadError::NotYet { .. }) => Arrival::Withheld,
            Err(error @ (RingReadError::NoRoom { .. } | RingReadError::Damaged)) => panic!("{error}"),
        }
    }
}
