//! The ring file that a retransmitter of its own serves: whether a publisher writes it, whether another has taken its place.

use seqcast_recovery::{Nanos, RingReader};
use seqcast_transport::{Mapping, SharedFile};
use std::path::PathBuf;

/// How often it looks: as long as a publisher that died is missed at the most. Two system calls. Arbitrary.
const INTERVAL: Nanos = Nanos::from_millis(100);

/// Watches one file.
#[derive(Debug)]
pub(crate) struct Watch {
    path: PathBuf,
    file: SharedFile,
    has_writer: bool,
    look_at: Nanos,
}

impl Watch {
    pub(crate) fn new(path: PathBuf, file: SharedFile) -> Self {
        Self { path, file, has_writer: true, look_at: Nanos::ZERO }
    }

    /// Whether a publisher held the file when it was looked at last.
    pub(crate) fn has_writer(&self) -> bool {
        self.has_writer
    }

    /// When to look again.
    pub(crate) fn look_at(&self) -> Nanos {
        self.look_at
    }

    /// Looks, if it is time to; returns the ring that has taken the place of the one that is served, if one has.
    pub(crate) fn look(&mut self, now: Nanos) -> Option<RingReader<Mapping>> {
        if now < self.look_at {
            return None;
        }
        self.look_at = now + INTERVAL;
        // What cannot be found out is as it was.
        let had_writer = self.has_writer;
        self.has_writer = self.file.has_writer().unwrap_or(had_writer);
        let ring = self.path.display();
        match (had_writer, self.has_writer) {
            (true, false) => {
                tracing::info!(%ring, "nobody writes the ring {ring} any more: heartbeats leave from here");
            }
            (false, true) => tracing::info!(%ring, "the ring {ring} is written again"),
            _ => {}
        }
        if self.has_writer || self.file.is_in_place().unwrap_or(true) {
            return None;
        }
        let file = SharedFile::open(&self.path).ok()?;
        let reader = RingReader::open(file.mapping().clone()).ok()?;
        self.has_writer = file.has_writer().unwrap_or(true);
        let session = reader.session();
        tracing::info!(%ring, %session, "another ring has taken the place of {ring}: session {session}");
        self.file = file;
        Some(reader)
    }
}
