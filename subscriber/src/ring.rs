//! A retained ring on this host: a line, and whom to ask for what was missed, without a socket.
//!
//! A ring line delivers what is retained, which is earlier than the network. Its publisher may come and go: the file is
//! looked for while it is not there, and looked at again when it was replaced.

use crate::path::Arrival;
use seqcast_protocol::{HEADER_BYTES, Header, Request, SequenceNumber, SessionId};
use seqcast_recovery::{Followed, Nanos, RingError, RingFollower, RingReadError, RingReader, Start};
use seqcast_transport::{DATAGRAM_BUFFER_BYTES, Mapping, SharedFile};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::{error, fmt, io};

/// How often a ring line that has nothing to deliver looks for the end of the session: an atomic load that takes a cache line
/// from the writer. Arbitrary.
const LOOK_FOR_END: Nanos = Nanos::from_millis(1);

/// How often it looks at the file: whether somebody writes it, whether it is still there. Two system calls; as often as an
/// idle publisher sends a heartbeat.
const LOOK_AT_FILE: Nanos = Nanos::from_millis(100);

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
        };
        line.find()?;
        Ok(line)
    }

    /// The longest that it may be left alone when nothing has come.
    pub(crate) const LONGEST_WAIT: Nanos = Nanos::from_micros(200);

    fn find(&mut self) -> Result<(), RingFileError> {
        let Some((file, reader)) = open(&self.path)? else { return Ok(()) };
        let first = self.beginning.first(reader.session());
        let follower = RingFollower::new(reader, first).map_err(RingFileError::Ring)?;
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
        if look_at_file && !file.has_writer()? && !file.is_in_place()? {
            self.open = None;
            self.find().map_err(RingFileError::into_io)?;
            return Ok(Arrival::Nothing);
        }
        if is_ended {
            // Told at once, and then again whenever the file is looked at.
            self.look_for_end_at = self.look_at_file_at;
            return Ok(lay_down(buffer, Header::end_of_session(session, next)));
        }
        if look_at_file && file.has_writer()? {
            return Ok(lay_down(buffer, Header::heartbeat(session, next)));
        }
        Ok(Arrival::Nothing)
    }

    /// Lays the next packet down.
    #[inline]
    pub(crate) fn receive(&mut self, now: Nanos, buffer: &mut [u8]) -> io::Result<Arrival<usize>> {
        if let Some(Open { follower, .. }) = &mut self.open {
            let (header, blocks) = buffer.split_at_mut(HEADER_BYTES);
            match follower.poll(blocks) {
                Ok(Followed::Packet { range, bytes }) => {
                    let session = follower.reader().session();
                    header.copy_from_slice(&Header::new(session, range.start(), range.count() as u16).to_bytes());
                    return Ok(Arrival::Datagram(HEADER_BYTES + bytes));
                }
                // What is missing shows when the next packet comes.
                Ok(Followed::Overtaken { .. }) => return Ok(Arrival::Withheld),
                Ok(Followed::Nothing) => {}
                Err(error) => {
                    self.open = None;
                    return Err(RingFileError::Ring(error).into_io());
                }
            }
        }
        if now < self.look_for_end_at { Ok(Arrival::Nothing) } else { self.idle(now, buffer) }
    }
}

/// The ring of a line as a request address: answers are read from it at once.
#[derive(Debug)]
pub(crate) struct RingTarget {
    path: PathBuf,
    reader: Option<RingReader<Mapping>>,
    /// What was asked for and has not been answered.
    asked: VecDeque<Request>,
}

impl RingTarget {
    /// Takes up to `in_flight` requests at a time.
    pub(crate) fn new(path: &Path, in_flight: usize) -> Self {
        Self { path: path.to_owned(), reader: None, asked: VecDeque::with_capacity(in_flight) }
    }

    pub(crate) fn ask(&mut self, request: Request) {
        if self.asked.len() < self.asked.capacity() {
            self.asked.push_back(request);
        }
    }

    /// Looks for the ring of this session, if it is another one than the one that is open.
    fn find(&mut self, session: SessionId) -> Result<(), RingFileError> {
        let is_wanted = |reader: &RingReader<Mapping>| session.is_blank() || reader.session() == session;
        if !self.reader.as_ref().is_some_and(is_wanted) {
            self.reader = open(&self.path)?.map(|(_, reader)| reader).filter(is_wanted);
        }
        Ok(())
    }

    /// Lays the next answer down.
    pub(crate) fn answer(&mut self, buffer: &mut [u8]) -> io::Result<Arrival<usize>> {
        let Some(request) = self.asked.pop_front() else { return Ok(Arrival::Nothing) };
        self.find(request.session()).map_err(RingFileError::into_io)?;
        let Some(reader) = &mut self.reader else { return Ok(Arrival::Withheld) };
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
    // A packet of it must fit into a receive buffer.
    if reader.size().max_blocks_bytes + HEADER_BYTES > DATAGRAM_BUFFER_BYTES {
        return Err(RingFileError::Ring(RingError::Size));
    }
    Ok(Some((file, reader)))
}

fn lay_down(buffer: &mut [u8], header: Header) -> Arrival<usize> {
    buffer[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
    Arrival::Datagram(HEADER_BYTES)
}
