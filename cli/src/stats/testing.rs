//! What tests of the three commands that read files of counters share.

use super::Reading;
use seqcast_recovery::Nanos;
use std::fs;
use std::path::PathBuf;

/// A directory of one test, removed at its end.
pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    pub(crate) fn new(name: &str) -> Self {
        let place = std::env::temp_dir().join(format!("seqcast-view-{name}-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        Self(place)
    }

    /// Reads the files as if it were so late on the monotonic clock, 7:59 of a day, and the processes had the ids 1001, 1002 ..
    pub(crate) fn read_at(&self, at: Nanos) -> Reading {
        let mut reading = Reading::take(&self.0).unwrap();
        reading.at = at;
        reading.unix = Nanos::from_secs(1_795_247_940);
        for (process, id) in reading.processes.iter_mut().zip(1_001..) {
            process.snapshot.process = id;
            process.snapshot.read_at = at;
            process.snapshot.written_at = at;
            process.snapshot.made_at_unix_ns = reading.unix.0 - 12_000_000_000;
        }
        reading
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
