//! A window that slides over the bytes of an input.

use super::error::Problem;
use flate2::bufread::MultiGzDecoder;
use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufReader, Cursor, ErrorKind, Read};

/// What is asked of the operating system at once; arbitrary, larger than any message or classic record.
const BUFFER_BYTES: usize = 512 << 10;

/// Reads ahead into one buffer; the decoders look at the window and give back what they are done with.
///
/// Invariants: `start <= end <= buffer.len()`; `record <= end - start`.
pub(super) struct Source {
    reader: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// The first bytes of the window that the message handed out last lies in.
    record: usize,
    /// The offset of `buffer[start]` in the input.
    offset: u64,
    is_ended: bool,
    is_gzip: bool,
    is_cut_gzip: bool,
    cut_record: Option<u64>,
}

impl Source {
    pub(super) fn new(reader: impl Read + Send + 'static) -> Self {
        Self {
            reader: Box::new(reader),
            buffer: vec![0; BUFFER_BYTES],
            start: 0,
            end: 0,
            record: 0,
            offset: 0,
            is_ended: false,
            is_gzip: false,
            is_cut_gzip: false,
            cut_record: None,
        }
    }

    /// The same input from its first byte on, decompressed. To be called before anything is consumed.
    pub(super) fn decompressed(self) -> Self {
        let Self { reader, buffer, start, end, .. } = self;
        let compressed = Cursor::new(buffer[start..end].to_vec()).chain(reader);
        let mut source = Self::new(MultiGzDecoder::new(BufReader::with_capacity(64 << 10, compressed)));
        source.is_gzip = true;
        source
    }

    /// Where the window begins in the input.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// What has been read and not been given back.
    pub(super) fn window(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Whether the compressed data ended too early.
    pub(super) const fn is_cut_gzip(&self) -> bool {
        self.is_cut_gzip
    }

    /// Where the record begins that the end of the input cut off.
    pub(super) const fn cut_record(&self) -> Option<u64> {
        self.cut_record
    }

    /// Makes the window at least `length` bytes long; `false` when the input ends before.
    pub(super) fn fill(&mut self, length: usize) -> Result<bool, Problem> {
        while self.end - self.start < length {
            if self.is_ended {
                return Ok(false);
            }
            self.read_more(length)?;
        }
        Ok(true)
    }

    /// As [`Source::fill`]; when the input ends within these bytes, they are remembered as the record cut off.
    pub(super) fn fill_record(&mut self, length: usize) -> Result<bool, Problem> {
        let is_whole = self.fill(length)?;
        if !is_whole && self.start < self.end {
            self.cut_record = Some(self.offset);
        }
        Ok(is_whole)
    }

    /// The first `length` bytes of the window are to go with the next [`Source::advance`].
    pub(super) fn set_record(&mut self, length: usize) {
        assert!(length <= self.end - self.start, "a record lies within the window");
        self.record = length;
    }

    /// Gives the current record back.
    pub(super) fn advance(&mut self) {
        self.start += self.record;
        self.offset += self.record as u64;
        self.record = 0;
    }

    /// The error that the record at the beginning of the window is not what it should be.
    pub(super) fn damaged(&self, what: impl Into<Cow<'static, str>>) -> Problem {
        Problem::Damaged { offset: self.offset, decompressed: self.is_gzip, what: what.into() }
    }

    fn read_more(&mut self, length: usize) -> Result<(), Problem> {
        if self.start + length > self.buffer.len() || self.start == self.end {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if length > self.buffer.len() {
                self.buffer.resize(length, 0);
            }
        }
        match self.reader.read(&mut self.buffer[self.end..]) {
            Ok(0) => self.is_ended = true,
            Ok(count) => self.end += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return self.stop_at(error),
        }
        Ok(())
    }

    fn stop_at(&mut self, error: io::Error) -> Result<(), Problem> {
        let offset = self.offset + (self.end - self.start) as u64;
        match error.kind() {
            ErrorKind::UnexpectedEof if self.is_gzip => {
                self.is_ended = true;
                self.is_cut_gzip = true;
                Ok(())
            }
            ErrorKind::InvalidInput | ErrorKind::InvalidData if self.is_gzip => Err(Problem::Damaged {
                offset,
                decompressed: true,
                what: format!("the compressed data are corrupt ({error})").into(),
            }),
            _ => Err(Problem::Read { offset, error }),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("offset", &self.offset)
            .field("window", &(self.end - self.start))
            .field("is_ended", &self.is_ended)
            .finish_non_exhaustive()
    }
}
