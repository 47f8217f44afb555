//! A capture frame by frame, for those who look at packets rather than messages.

use super::capture::{CaptureFile, Datagram, Skipped};
use super::error::{InputError, Problem};
use super::source::Source;
use super::warning::Warning;
use super::{format, read_warnings};
use seqcast_recovery::Nanos;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Reads the frames of a capture, one after the other; memory is that of any [`Input`](super::Input), without the
/// reorder window.
#[derive(Debug)]
pub struct Frames {
    name: String,
    source: Source,
    /// `None` of an empty file.
    file: Option<CaptureFile>,
    /// How much of the file has been read, and how much there is.
    read_bytes: Arc<AtomicU64>,
    file_bytes: u64,
}

/// One captured frame; it borrows the buffer until the next one is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Where its record begins in the file; in the decompressed bytes, for gzip.
    pub offset: u64,
    /// When it was captured, since 1970; `None` where the file does not say.
    pub time: Option<Nanos>,
    /// The datagram in it, or why there is none for us.
    pub datagram: Result<Datagram<'a>, Skipped>,
    /// Where the payload of the datagram begins in the file; the record where there is none.
    pub payload_offset: u64,
}

impl Frames {
    /// Opens the capture at `path`, gzip-compressed or not.
    ///
    /// # Errors
    ///
    /// When it cannot be opened or read, or does not begin as a capture does.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, InputError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| InputError::new(&name, Problem::Open(error)))?;
        // A pipe has no length, and nothing that could be shown of it.
        let file_bytes = file.metadata().map_or(0, |metadata| metadata.len());
        let mut frames = Self::from_reader(&name, file)?;
        frames.file_bytes = file_bytes;
        Ok(frames)
    }

    /// Takes the bytes from `reader`; errors call it `name`.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn from_reader(name: &str, reader: impl Read + Send + 'static) -> Result<Self, InputError> {
        let read_bytes = Arc::new(AtomicU64::new(0));
        let metered = Metered { reader, read_bytes: Arc::clone(&read_bytes) };
        let begin = || {
            let mut source = Source::new(metered);
            if format::is_gzip(&mut source)? {
                source = source.decompressed();
            }
            let file = if source.fill(1)? { Some(CaptureFile::begin(&mut source)?) } else { None };
            Ok((source, file))
        };
        let (source, file) = begin().map_err(|problem| InputError::new(name, problem))?;
        Ok(Self { name: name.to_owned(), source, file, read_bytes, file_bytes: 0 })
    }

    /// The next frame; `None` at the end.
    ///
    /// # Errors
    ///
    /// When the file cannot be read on or is damaged.
    #[expect(clippy::should_implement_trait, reason = "a frame borrows the buffer, which an Iterator cannot say")]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, InputError> {
        let Some(file) = &mut self.file else { return Ok(None) };
        let record = file.next(&mut self.source).map_err(|problem| InputError::new(&self.name, problem))?;
        let Some(record) = record else { return Ok(None) };
        let (offset, window) = (self.source.offset(), self.source.window());
        let datagram = record.link.datagram(&window[record.frame]);
        let payload_at = datagram.map_or(0, |datagram| datagram.payload.as_ptr().addr() - window.as_ptr().addr());
        Ok(Some(Frame { offset, time: record.time, datagram, payload_offset: offset + payload_at as u64 }))
    }

    /// What the user should be told about the file; complete once [`Self::next`] has returned `None`.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        read_warnings(&self.source)
    }

    /// The name that errors call it by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How much of the file has been read, in percent, if it is known how long it is.
    #[must_use]
    pub fn percent_read(&self) -> Option<u64> {
        (self.read_bytes.load(Ordering::Relaxed) * 100).checked_div(self.file_bytes)
    }
}

/// Counts what is read.
struct Metered<R> {
    reader: R,
    read_bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.read_bytes.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
