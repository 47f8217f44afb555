//! A retained ring on this host: a line, and whom to ask for what was missed, without a socket.
//!
//! A ring line delivers what is retained, which is earlier than the network. Its publisher may come and go: the file is
//! looked for while it is not there, and looked at again when it was replaced.

use crate::path::Arrival;
use seqcast_protocol::{HEADER_BYTES, Header, Request, SequenceNumber, SessionId};
use seqcast_recovery::{Followed, Headroom, Nanos, Rate, RingError, RingFollower, RingReadError, RingReader, Start};
use seqcast_transport::{DATAGRAM_BUFFER_BYTES, Mapping, SharedFile};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::{error, fmt, io};

/// How often a ring is looked at in a duty cycle that finds nothing there. A look is two loads from the own cache, so that these
/// take about as long as the rest of the cycle, which is reading the clock above all: most of what comes is seen at once.
const LOOKS: usize = 32;

/// How often a ring line that has nothing to deliver looks for the end of the session: an atomic load that takes a cache line
/// from the writer. Arbitrary.
const LOOK_FOR_END: Nanos = Nanos::from_millis(1);

/// How often it looks at the file: whether somebody writes it, whether it is still there. Two system calls; as often as an
/// idle publisher sends a heartbeat.
const LOOK_AT_FILE: Nanos = Nanos::from_millis(100);

/// The shortest wait between two looks, to which the kernel adds its timer slack of as much.
const SHORTEST_WAIT: Nanos = Nanos::from_micros(50);

/// The longest one, after 40 ms without a packet: 200 looks a second. Arbitrary.
const LONGEST_WAIT: Nanos = Nanos::from_millis(5);

/// Why a file cannot be followed as a ring.
#[derive(Debug)]
pub enum RingFileError {
    /// It cannot be opened for reading and writing, or mapped.
    Io(io::Error),
    /// It does not hold a ring.
    Ring(RingError),
}

impl fmt::Display for RingFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Ring(error) => error.fmt(f),
        }
    }
}

impl error::Error for RingFileError {}

/// A ring file that is open.
#[derive(Debug)]
struct Open {
    file: SharedFile,
    follower: RingFollower<Mapping>,
}

/// Where to begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beginning {
    pub(crate) start: Start,
    pub(crate) resume: Option<(SessionId, SequenceNumber)>,
}

impl Beginning {
    /// The number to follow a ring of this session from.
    fn first(self, session: SessionId) -> SequenceNumber {
        match (self.resume, self.start) {
            (Some((resumed, number)), _) if resumed == session => number,
            (_, Start::Oldest) => 0,
            (_, Start::Live) => SequenceNumber::MAX,
            (_, Start::At(number)) => number,
        }
    }
}

/// A line that follows a ring.
#[derive(Debug)]
pub(crate) struct RingLine {
    path: PathBuf,
    /// Where to begin in the ring that is found next.
    beginning: Beginning,
    open: Option<Open>,
    look_for_end_at: Nanos,
    look_at_file_at: Nanos,
    /// When the last packet came, and when it was looked last.
    came_at: Nanos,
    looked_at: Nanos,
    rate: Option<Rate>,
}

impl RingLine {
    /// Opens the ring, if there is one yet.
    pub(crate) fn open(path: &Path, beginning: Beginning) -> Result<Self, RingFileError> {
        let mut line = Self {
            path: path.to_owned(),
            beginning,
            open: None,
            look_for_end_at: Nanos::ZERO,
            look_at_file_at: Nanos::ZERO,
            came_at: Nanos::ZERO,
            looked_at: Nanos::ZERO,
            rate: None,
        };
        line.find()?;
        Ok(line)
    }

    /// When to look again, if nothing had come at the last look.
    ///
    /// It waits an eighth of the time for which nothing has come, within bounds, so that what then comes is late by hardly
    /// more. A futex would wake sooner, but cannot be waited for together with sockets, and needs a fence in every flush lest
    /// a wake-up is missed.
    pub(crate) fn look_at(&self) -> Nanos {
        let silence = self.looked_at - self.came_at;
        self.looked_at + Nanos(silence.0 / 8).clamp(SHORTEST_WAIT, LONGEST_WAIT)
    }

    /// How much more may pass until `needed` is overwritten.
    pub(crate) fn headroom(&mut self, now: Nanos, session: SessionId, needed: SequenceNumber) -> Option<Headroom> {
        let ring = self.open.as_ref()?.follower.reader();
        if ring.session() != session {
            return None;
        }
        let (next, span) = (ring.next(), ring.headroom(needed)?);
        Some(self.rate.get_or_insert(Rate::new(now, next)).headroom(now, next, span))
    }

    fn find(&mut self) -> Result<(), RingFileError> {
        let Some((file, reader)) = open(&self.path)? else { return Ok(()) };
        let first = self.beginning.first(reader.session());
        let session = reader.session();
        let follower = RingFollower::new(reader, first).map_err(RingFileError::Ring)?;
        let ring = self.path.display();
        tracing::info!(%ring, %session, "the ring {ring} is open: session {session}");
        self.open = Some(Open { file, follower });
        if let Start::At(_) = self.beginning.start {
            self.beginning.start = Start::Oldest;
        }
        Ok(())
    }

    /// Nothing has come: says whether the publisher lives, or has ended, or has been replaced.
    #[cold]
    fn idle(&mut self, now: Nanos, buffer: &mut [u8]) -> io::Result<Arrival<usize>> {
        let look_at_file = now >= self.look_at_file_at;
        self.look_for_end_at = now + LOOK_FOR_END;
        if look_at_file {
            self.look_at_file_at = now + LOOK_AT_FILE;
        }
        let Some(Open { file, follower }) = &self.open else {
            if look_at_file {
                self.find().map_err(RingFileError::into_io)?;
            }
            return Ok(Arrival::Nothing);
        };
        let (ring, next) = (follower.reader(), follower.next());
        let (session, is_ended) = (ring.session(), ring.is_ended() && ring.next() == next);
        let has_writer = look_at_file && file.has_writer()?;
        if look_at_file && !has_writer && !file.is_in_place()? {
            let ring = self.path.display();
            tracing::info!(%ring, %session, "the ring {ring} of session {session} is gone or was replaced");
            self.open = None;
            self.find().map_err(RingFileError::into_io)?;
            return Ok(Arrival::Nothing);
        }
        if is_ended {
            // Told at once, and then again whenever the file is looked at.
            self.look_for_end_at = self.look_at_file_at;
            return Ok(lay_down(buffer, Header::end_of_session(session, next)));
        }
        if has_writer {
            return Ok(lay_down(buffer, Header::heartbeat(session, next)));
        }
        Ok(Arrival::Nothing)
    }

    /// Lays the next packet down.
    #[inline]
    pub(crate) fn receive(&mut self, now: Nanos, buffer: &mut [u8]) -> io::Result<Arrival<usize>> {
        if let Some(Open { follower, .. }) = &mut self.open {
            let (header, blocks) = buffer.split_at_mut(HEADER_BYTES);
            for _ in 0..2 {
                match follower.poll(blocks) {
                    Ok(Followed::Packet { range, bytes }) => {
                        self.came_at = now;
                        let session = follower.reader().session();
                        header.copy_from_slice(&Header::new(session, range.start(), range.count() as u16).to_bytes());
                        return Ok(Arrival::Datagram(HEADER_BYTES + bytes));
                    }
                    // What is missing shows when the next packet comes.
                    Ok(Followed::Overtaken { .. }) => return Ok(Arrival::Withheld),
                    Ok(Followed::Nothing) if follower.has_come(LOOKS) => {}
                    Ok(Followed::Nothing) => break,
                    Err(error) => {
                        self.open = None;
                        return Err(RingFileError::Ring(error).into_io());
                    }
                }
            }
        }
        self.looked_at = now;
        if now < self.look_for_end_at { Ok(Arrival::Nothing) } else { self.idle(now, buffer) }
    }
}

/// The ring of a line as a request address: answers are read from it at once.
#[derive(Debug)]
pub(crate) struct RingTarget {
    path: PathBuf,
    ring: Option<(SharedFile, RingReader<Mapping>)>,
    /// What was asked for and has not been answered.
    asked: VecDeque<Request>,
}

impl RingTarget {
    /// Takes up to `in_flight` requests at a time.
    pub(crate) fn new(path: &Path, in_flight: usize) -> Self {
        Self { path: path.to_owned(), ring: None, asked: VecDeque::with_capacity(in_flight) }
    }

    pub(crate) fn ask(&mut self, request: Request) {
        if self.asked.len() < self.asked.capacity() {
            self.asked.push_back(request);
        }
    }

    /// Looks for the ring of this session, unless it is open; one that was replaced may hold other messages under its numbers.
    fn find(&mut self, session: SessionId) -> Result<(), RingFileError> {
        let is_wanted = |(_, reader): &(_, RingReader<Mapping>)| session.is_blank() || reader.session() == session;
        self.ring = self.ring.take().filter(is_wanted);
        let is_in_place = self.ring.as_ref().map(|(file, _)| file.is_in_place()).transpose();
        if !is_in_place.map_err(RingFileError::Io)?.unwrap_or(false)
            && let Some(found) = open(&self.path)?
        {
            self.ring = Some(found).filter(is_wanted);
        }
        Ok(())
    }

    /// Lays the next answer down.
    pub(crate) fn answer(&mut self, buffer: &mut [u8]) -> io::Result<Arrival<usize>> {
        let Some(request) = self.asked.pop_front() else { return Ok(Arrival::Nothing) };
        self.find(request.session()).map_err(RingFileError::into_io)?;
        let Some((_, reader)) = &mut self.ring else { return Ok(Arrival::Withheld) };
        let session = reader.session();
        let (header, blocks) = buffer.split_at_mut(HEADER_BYTES);
        Ok(match reader.read(request.range(), blocks) {
            Ok(read) => {
                header.copy_from_slice(&Header::new(session, read.range.start(), read.range.count() as u16).to_bytes());
                Arrival::Datagram(HEADER_BYTES + read.bytes)
            }
            Err(RingReadError::Overwritten { oldest }) => lay_down(buffer, Header::heartbeat(session, oldest)),
            Err(RingReadError::NotYet { .. }) => Arrival::Withheld,
            Err(error @ (RingReadError::NoRoom { .. } | RingReadError::Damaged)) => {
                return Err(io::Error::other(error));
            }
        })
    }
}

impl RingFileError {
    fn into_io(self) -> io::Error {
        match self {
            Self::Io(error) => error,
            Self::Ring(error) => io::Error::other(error),
        }
    }
}

/// Opens the ring at `path`, if something is there.
fn open(path: &Path) -> Result<Option<(SharedFile, RingReader<Mapping>)>, RingFileError> {
    let file = match SharedFile::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(RingFileError::Io(error)),
    };
    let reader = RingReader::open(file.mapping().clone()).map_err(RingFileError::Ring)?;
    // A packet of it must fit into a receive buffer, in whole words.
    if reader.size().max_blocks_bytes.next_multiple_of(size_of::<u64>()) + HEADER_BYTES > DATAGRAM_BUFFER_BYTES {
        return Err(RingFileError::Ring(RingError::Size));
    }
    Ok(Some((file, reader)))
}

fn lay_down(buffer: &mut [u8], header: Header) -> Arrival<usize> {
    buffer[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
    Arrival::Datagram(HEADER_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use seqcast_protocol::SequenceRange;
    use seqcast_recovery::{RingSize, RingWriter};

    /// A file of one test, removed at its end.
    struct Place(PathBuf);

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    /// Puts a ring of one message into the file.
    fn put(place: &Place, replaced: Option<&SharedFile>, message: u8) -> SharedFile {
        let size = RingSize::for_bytes(1 << 16, 64);
        let fill = |memory: &Mapping| {
            let mut writer = RingWriter::create(memory.clone(), size, SessionId::UNKNOWN).unwrap();
            writer.retain(1, &[0, 1, message]).unwrap();
            Ok(())
        };
        SharedFile::create(&place.0, replaced, size.words(), fill).unwrap()
    }

    #[test]
    fn a_ring_that_was_replaced_under_the_same_session_is_asked_in_the_place_of_the_old_one() {
        let place = Place(std::env::temp_dir().join(format!("seqcast-replaced-{}", std::process::id())));
        let mut target = RingTarget::new(&place.0, 1);
        let mut buffer = vec![0; DATAGRAM_BUFFER_BYTES];
        let mut answer = || {
            target.ask(Request::new(SessionId::UNKNOWN, SequenceRange::with_count(1, 1)).unwrap());
            (target.answer(&mut buffer).unwrap(), buffer[HEADER_BYTES + 2])
        };
        let answered = Arrival::Datagram(HEADER_BYTES + 3);
        let first = put(&place, None, 1);
        assert_eq!(answer(), (answered, 1));
        let _second = put(&place, Some(&first), 2);
        assert_eq!(answer(), (answered, 2));
        std::fs::remove_file(&place.0).unwrap();
        assert_eq!(answer(), (answered, 2), "what is gone and not replaced still holds what was published");
    }

    #[test]
    fn the_longer_nothing_comes_the_rarer_it_is_looked_at_until_something_does() {
        let place = Place(std::env::temp_dir().join(format!("seqcast-look-{}", std::process::id())));
        let size = RingSize::for_bytes(1 << 16, 64);
        let mut writer = None;
        let file = SharedFile::create(&place.0, None, size.words(), |memory| {
            writer = RingWriter::create(memory.clone(), size, SessionId::UNKNOWN).ok();
            Ok(())
        });
        let (_file, mut writer) = (file.unwrap(), writer.unwrap());
        let mut line = RingLine::open(&place.0, Beginning { start: Start::Oldest, resume: None }).unwrap();
        let mut buffer = vec![0; DATAGRAM_BUFFER_BYTES];
        let mut wait = |now: Nanos| {
            while line.receive(now, &mut buffer).unwrap() != Arrival::Nothing {}
            line.look_at() - now
        };
        for came_at in [1, 2].map(Nanos::from_secs) {
            writer.retain(1, &[0, 0]).unwrap();
            let waits = [0, 400, 8_000, 40_000, 900_000].map(|silence| wait(came_at + Nanos::from_micros(silence)));
            assert_eq!(waits, [50, 50, 1_000, 5_000, 5_000].map(Nanos::from_micros));
        }
    }
}
