//! A capture file of either kind.

use super::classic::Classic;
use super::pcapng::Pcapng;
use super::record::Record;
use crate::input::error::Problem;
use crate::input::source::Source;

/// Reads a capture file frame by frame.
#[derive(Debug)]
pub(in crate::input) enum CaptureFile {
    Classic(Classic),
    Pcapng(Pcapng),
}

impl CaptureFile {
    /// Reads the header of the capture file.
    pub(in crate::input) fn begin(source: &mut Source) -> Result<Self, Problem> {
        source.fill(4)?;
        if let Some(classic) = Classic::begin(source)? {
            return Ok(Self::Classic(classic));
        }
        match Pcapng::begin(source) {
            Some(pcapng) => Ok(Self::Pcapng(pcapng)),
            None if source.window().is_empty() => Err(source.damaged("empty")),
            None => Err(source.damaged("neither pcap nor pcapng begins like this")),
        }
    }

    /// Makes the next frame the current record.
    pub(in crate::input) fn next(&mut self, source: &mut Source) -> Result<Option<Record>, Problem> {
        match self {
            Self::Classic(classic) => classic.next(source),
            Self::Pcapng(pcapng) => pcapng.next(source),
        }
    }
}
