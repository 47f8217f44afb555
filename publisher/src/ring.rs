//! The retained ring of a publisher: memory of its own, or a file that outlives it.

use crate::OpenError;
use seqcast_protocol::{HEADER_BYTES, SessionId};
use seqcast_recovery::{RingError, RingReader, RingSize, RingWriter};
use seqcast_transport::{Mapping, SharedFile};
use std::path::Path;
use std::{error, fmt, io};

/// A ring to write, and the file that it is in; as long as that is kept, nobody else writes it.
#[derive(Debug)]
pub(crate) struct Ring {
    pub(crate) writer: RingWriter<Mapping>,
    pub(crate) file: Option<SharedFile>,
}

/// Why a file cannot be a publisher's ring.
#[derive(Debug)]
#[non_exhaustive]
pub enum RingFileError {
    /// It cannot be opened, made or mapped; a file system may be full.
    Io(io::Error),
    /// It holds no ring, a damaged one, or one of another version.
    Ring(RingError),
    /// Another publisher is writing it.
    Held,
    /// It holds another session, which has not ended.
    OtherSession(SessionId),
    /// Its session is the one that was to be published, and has ended.
    Ended(SessionId),
    /// It was made for packets that have fewer bytes of messages than those that are to be sent.
    SmallPackets {
        /// The most bytes of a packet, its header included.
        max_datagram: usize,
    },
}

impl fmt::Display for RingFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Ring(error) => write!(f, "{error}; nothing was changed, name another file or remove this one"),
            Self::Held => f.write_str("another publisher is writing it"),
            Self::OtherSession(session) => write!(
                f,
                "it holds session {session}, which has not ended; go on with that session, name another file, or remove \
                 this one and what it retains"
            ),
            Self::Ended(session) => {
                write!(f, "it holds session {session}, which has ended; name a new session to begin one in its place")
            }
            Self::SmallPackets { max_datagram } => {
                write!(f, "it was made for packets of at most {max_datagram} bytes (max_datagram)")
            }
        }
    }
}

impl error::Error for RingFileError {}

impl From<io::Error> for RingFileError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Makes a ring in memory of this process.
pub(crate) fn reserve(size: RingSize, session: SessionId, retain_bytes: usize) -> Result<Ring, OpenError> {
    let memory = Mapping::anonymous(size.words()).map_err(|_| OpenError::Memory { retain_bytes })?;
    let writer = RingWriter::create(memory, size, session).map_err(OpenError::Ring)?;
    Ok(Ring { writer, file: None })
}

/// Goes on with the ring in a file, or makes one there.
pub(crate) fn open(path: &Path, size: RingSize, session: SessionId) -> Result<Ring, OpenError> {
    let named = |error| OpenError::RingFile(path.to_owned(), error);
    loop {
        if let Some(ring) = try_open(path, size, session).map_err(named)? {
            return Ok(ring);
        }
    }
}

/// `None` when the file was replaced meanwhile.
fn try_open(path: &Path, size: RingSize, session: SessionId) -> Result<Option<Ring>, RingFileError> {
    let file = match SharedFile::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return create(path, None, size, session),
        Err(error) => return Err(error.into()),
    };
    if !file.lock()? {
        return Err(RingFileError::Held);
    }
    if !file.is_in_place()? {
        return Ok(None);
    }
    let found = RingReader::open(file.mapping().clone()).map_err(RingFileError::Ring)?;
    if found.session() != session {
        return if found.is_ended() {
            create(path, Some(&file), size, session)
        } else {
            Err(RingFileError::OtherSession(found.session()))
        };
    }
    let mut writer = match RingWriter::reopen(file.mapping().clone()) {
        Ok(writer) => writer,
        Err(RingError::Ended) => return Err(RingFileError::Ended(session)),
        Err(error) => return Err(RingFileError::Ring(error)),
    };
    let max_blocks_bytes = writer.size().max_blocks_bytes;
    if max_blocks_bytes < size.max_blocks_bytes {
        return Err(RingFileError::SmallPackets { max_datagram: max_blocks_bytes + HEADER_BYTES });
    }
    // What was retained and not sent is announced from now on, and asked for.
    writer.mark_sent(writer.next());
    Ok(Some(Ring { writer, file: Some(file) }))
}

/// `None` when somebody else was faster.
fn create(
    path: &Path,
    replaced: Option<&SharedFile>,
    size: RingSize,
    session: SessionId,
) -> Result<Option<Ring>, RingFileError> {
    let mut made = Err(RingError::Size);
    let file = SharedFile::create(path, replaced, size.words(), |memory| {
        made = RingWriter::create(memory.clone(), size, session);
        Ok(())
    });
    match file {
        Ok(file) => {
            let writer = made.map_err(RingFileError::Ring)?;
            Ok(Some(Ring { writer, file: Some(file) }))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(RingFileError::Held),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Opens the ring that another process writes, to serve it.
pub(crate) fn serve(path: &Path) -> Result<(SharedFile, RingReader<Mapping>), OpenError> {
    let named = |error| OpenError::RingFile(path.to_owned(), error);
    let file = SharedFile::open(path).map_err(|error| named(RingFileError::Io(error)))?;
    let reader = RingReader::open(file.mapping().clone()).map_err(|error| named(RingFileError::Ring(error)))?;
    Ok((file, reader))
}

/// The session of the ring in a file; `None` when nothing is there. To go on with whatever it holds.
///
/// # Errors
///
/// Says why the file is no ring.
pub fn ring_session(file: &Path) -> Result<Option<SessionId>, RingFileError> {
    match SharedFile::open(file) {
        Ok(file) => {
            let reader = RingReader::open(file.mapping().clone()).map_err(RingFileError::Ring)?;
            Ok(Some(reader.session()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}
