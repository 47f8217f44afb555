//! Messages from a file or from standard input, for a publisher to publish.
//!
//! | format | what it is | a message is |
//! |---|---|---|
//! | [`Format::Blocks`] | 2-byte big-endian length and that many bytes, over and over | one block |
//! | [`Format::Lines`] | text | one line without its `\n`; a last line without one counts |
//! | [`Format::Pcap`] | a classic pcap or a pcapng of IEX-TP or MoldUDP64 | one message of the feed, see [`CaptureCounters`] |
//!
//! Any of them may be gzip-compressed (one layer): that is seen from the magic bytes, whatever format was asked for.
//! Without a format, magic bytes decide; else UTF-8 without NUL is lines; else bytes that begin with a whole block are
//! blocks; else the user is asked. An empty input is valid and holds no messages.
//!
//! Memory is constant whatever the size of the file: one buffer of 512 KiB, which only a larger pcapng block
//! makes grow, to 16 MiB at most; for captures also the reorder window of 4 MiB. No allocation per message.
//!
//! A record that is cut off by the end of the input is a [`Warning`], after everything that came before it; damaged
//! input is an [`InputError`] that names the offset (of the decompressed bytes, for gzip). Neither panics.
//!
//! Whoever looks at the packets of a capture rather than at its messages reads [`Frames`].

mod blocks;
mod capture;
mod error;
mod format;
mod frames;
mod lines;
mod source;
mod warning;

pub use capture::{CaptureCounters, Datagram, Skipped};
pub use error::{InputError, Problem};
pub use format::Format;
pub use frames::{Frame, Frames};
pub use warning::Warning;

use capture::{Capture, Stamp};
use seqcast_recovery::Nanos;
use source::Source;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// One message of an input; it borrows the input's buffer until the next one is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The bytes of the message, 0 to 65,535.
    pub payload: &'a [u8],
    /// When its packet was captured, since 1970; `None` where the format knows no times.
    pub time: Option<Nanos>,
    /// The number of that packet's frame in the capture, from 1 on; 0 where the format knows no packets.
    pub frame: u64,
}

/// Reads messages, one after the other, from a file, standard input, or any reader.
#[derive(Debug)]
pub struct Input {
    name: String,
    source: Source,
    format: Format,
    decoder: Decoder,
}

#[derive(Debug)]
enum Decoder {
    Blocks,
    Lines,
    Pcap(Box<Capture>),
}

/// Where a decoder left the message that it found.
#[derive(Clone, Copy, Debug)]
enum Found {
    /// In the source's window.
    Window { at: usize, length: usize },
    /// In the reorder window of a capture.
    Held,
}

impl Input {
    /// Opens the file at `path`, in the given format or the one that its first bytes show.
    ///
    /// # Errors
    ///
    /// When the input cannot be opened or read, is damaged at its very beginning, or has no recognisable format.
    pub fn open(path: impl AsRef<Path>, format: Option<Format>) -> Result<Self, InputError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => Self::from_reader(&name, file, format),
            Err(error) => Err(InputError::new(&name, Problem::Open(error))),
        }
    }

    /// Takes the bytes from `reader`; errors call it `name`.
    ///
    /// # Errors
    ///
    /// As [`Input::open`].
    pub fn from_reader(
        name: &str,
        reader: impl Read + Send + 'static,
        format: Option<Format>,
    ) -> Result<Self, InputError> {
        Self::begin(reader, format)
            .map(|(source, format, decoder)| Self { name: name.to_owned(), source, format, decoder })
            .map_err(|problem| InputError::new(name, problem))
    }

    fn begin(reader: impl Read + Send + 'static, format: Option<Format>) -> Result<(Source, Format, Decoder), Problem> {
        let mut source = Source::new(reader);
        if format::is_gzip(&mut source)? {
            source = source.decompressed();
        }
        let format = match format {
            Some(format) => format,
            None => format::detect(&mut source)?,
        };
        let decoder = match format {
            // Nothing is a valid input of every format, and the same in each.
            _ if !source.fill(1)? => Decoder::Lines,
            Format::Blocks => Decoder::Blocks,
            Format::Lines => Decoder::Lines,
            Format::Pcap => Decoder::Pcap(Box::new(Capture::begin(&mut source)?)),
        };
        Ok((source, format, decoder))
    }

    /// The format given or recognised.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// The next message; `None` at the end of the input, and from then on.
    ///
    /// # Errors
    ///
    /// When the input cannot be read or is damaged. The messages before the damage have been handed out by then; what
    /// follows an error is not specified, so the input is to be dropped; but for a reader's `WouldBlock`, behind which the
    /// same call may be made again.
    #[expect(clippy::should_implement_trait, reason = "a message borrows the buffer, which an Iterator cannot say")]
    pub fn next(&mut self) -> Result<Option<Message<'_>>, InputError> {
        let found = match &mut self.decoder {
            Decoder::Blocks => blocks::find(&mut self.source).map(|found| found.map(|found| (found, Stamp::default()))),
            Decoder::Lines => lines::find(&mut self.source).map(|found| found.map(|found| (found, Stamp::default()))),
            Decoder::Pcap(capture) => capture.find(&mut self.source),
        };
        let Some((found, Stamp { time, frame })) = found.map_err(|problem| InputError::new(&self.name, problem))?
        else {
            return Ok(None);
        };
        let payload = match (found, &self.decoder) {
            (Found::Held, Decoder::Pcap(capture)) => capture.held(),
            (Found::Held, _) => &[],
            (Found::Window { at, length }, _) => &self.source.window()[at..at + length],
        };
        Ok(Some(Message { payload, time, frame }))
    }

    /// What the user should be told about the input so far; complete once [`Input::next`] has returned `None`.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if let Decoder::Pcap(capture) = &self.decoder {
            capture.counters().warn(&mut warnings);
        }
        warnings.extend(read_warnings(&self.source));
        warnings
    }

    /// What a capture held so far besides its messages; `None` for other formats.
    #[must_use]
    pub fn capture(&self) -> Option<&CaptureCounters> {
        match &self.decoder {
            Decoder::Pcap(capture) => Some(capture.counters()),
            Decoder::Blocks | Decoder::Lines => None,
        }
    }
}

/// What the user should be told about how an input ended.
fn read_warnings(source: &Source) -> Vec<Warning> {
    let cut_record = source.cut_record().map(|offset| Warning::Truncated { offset });
    cut_record.into_iter().chain(source.is_cut_gzip().then_some(Warning::TruncatedGzip)).collect()
}
