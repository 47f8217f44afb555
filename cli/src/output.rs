//! Messages to a file or to standard output, as a subscriber delivers them.
//!
//! | format | a message becomes |
//! |---|---|
//! | [`OutputFormat::Blocks`] | its length, 2 bytes, big-endian, and its bytes: what `blocks` input takes |
//! | [`OutputFormat::Lines`] | its bytes and `\n`; a message with a `\n` in it is an error |
//! | [`OutputFormat::Json`] | `{"sequence":N,"session":"S","text":"…"}` and `\n`; instead of `text`, `hex` with lower-case digits where the bytes are not UTF-8 |
//! | [`OutputFormat::None`] | nothing |

use crate::interrupt::Interrupt;
use crate::output_times::OutputTimes;
use seqcast_protocol::MAX_MESSAGE_BYTES;
use seqcast_recovery::Nanos;
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::str;
use std::{error, fmt};

/// How much is handed to the operating system at once; arbitrary, the capacity of a pipe on Linux.
const BUFFER_BYTES: usize = 64 << 10;

/// How long a reader that takes nothing may hold up a write after an interrupt: long enough for one on a busy machine.
const STALL_MILLIS: i32 = 500;

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputFormat {
    /// Each message behind its length, 2 bytes, big-endian.
    Blocks,
    /// Each message on a line of its own.
    Lines,
    /// Each message as a JSON object on a line of its own.
    Json,
    /// Messages are not written.
    None,
}

impl fmt::Display for OutputFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blocks => "blocks",
            Self::Lines => "lines",
            Self::Json => "json",
            Self::None => "none",
        })
    }
}

/// Writes messages through a buffer; what is not flushed may not have arrived.
pub struct Output {
    writer: BufWriter<Counted>,
    format: OutputFormat,
}

impl Output {
    /// Creates the file at `path`, or takes standard output for `-`. With [`OutputFormat::None`] nothing is created.
    ///
    /// After an `interrupt`, a write that the reader of the output has stalled fails, and so does every later one.
    ///
    /// # Errors
    ///
    /// When the file cannot be created.
    pub fn open(path: &Path, format: OutputFormat, interrupt: &Interrupt) -> io::Result<Self> {
        Self::open_at(path, format, interrupt, None)
    }

    /// As [`Self::open`]; but a file that is there is cut to `position` bytes, if given, and written on from there.
    ///
    /// # Errors
    ///
    /// When the file cannot be created, or is shorter. Standard output cannot be cut.
    pub fn open_at(
        path: &Path,
        format: OutputFormat,
        interrupt: &Interrupt,
        position: Option<u64>,
    ) -> io::Result<Self> {
        if format == OutputFormat::None {
            return Ok(Self::new(Box::new(io::sink()), format));
        }
        let file = if let Some(position) = position.filter(|_| path.as_os_str() != "-") {
            let mut file = match File::options().write(true).open(path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let words = format!("it is not there, and the stored offset is at byte {position}");
                    return Err(io::Error::new(ErrorKind::NotFound, words));
                }
                file => file?,
            };
            let length = file.metadata()?.len();
            if length < position {
                let words = format!("it has {length} bytes, and the stored offset is at byte {position}");
                return Err(io::Error::new(ErrorKind::InvalidData, words));
            }
            file.set_len(position)?;
            file.seek(SeekFrom::End(0))?;
            file
        } else if path.as_os_str() == "-" {
            standard_output()?
        } else {
            File::create(path)?
        };
        let mut output = Self::new(Box::new(InterruptibleFile::new(file, interrupt)?), format);
        output.writer.get_mut().position = position.unwrap_or(0);
        Ok(output)
    }

    /// Writes to `writer`.
    #[must_use]
    pub fn new(writer: Box<dyn Write + Send>, format: OutputFormat) -> Self {
        let counted = Counted { writer, position: 0, times: None };
        Self { writer: BufWriter::with_capacity(BUFFER_BYTES, counted), format }
    }

    /// Measures from here on how long each write takes, if there is somewhere to keep it.
    pub fn measure(&mut self, times: Option<OutputTimes>) {
        self.writer.get_mut().times = times;
    }

    /// How many bytes the operating system has taken, with those that were there before.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.writer.get_ref().position
    }

    /// The format it writes.
    #[must_use]
    pub const fn format(&self) -> OutputFormat {
        self.format
    }

    /// Writes message `number` of `session`; JSON has the time at which it was received, if there is one.
    ///
    /// # Errors
    ///
    /// When the writer refuses, or the message cannot be said in this format: nothing of it is written then.
    pub fn message(
        &mut self,
        session: &str,
        number: u64,
        payload: &[u8],
        received_at: Option<Nanos>,
    ) -> Result<(), OutputError> {
        match self.format {
            OutputFormat::Blocks => {
                let length = u16::try_from(payload.len()).map_err(|_| OutputError::TooLong { number })?;
                self.writer.write_all(&length.to_be_bytes())?;
                self.writer.write_all(payload)?;
            }
            OutputFormat::Lines => {
                if payload.contains(&b'\n') {
                    return Err(OutputError::NewlineInMessage { number });
                }
                self.writer.write_all(payload)?;
                self.writer.write_all(b"\n")?;
            }
            OutputFormat::Json => self.json(session, number, payload, received_at)?,
            OutputFormat::None => {}
        }
        Ok(())
    }

    /// Hands everything written so far to the operating system.
    ///
    /// # Errors
    ///
    /// When the writer refuses.
    pub fn flush(&mut self) -> Result<(), OutputError> {
        Ok(self.writer.flush()?)
    }

    fn json(&mut self, session: &str, number: u64, payload: &[u8], received_at: Option<Nanos>) -> io::Result<()> {
        let writer = &mut self.writer;
        write!(writer, "{{\"sequence\":{number},\"session\":")?;
        serde_json::to_writer(&mut *writer, session)?;
        if let Some(Nanos(nanos)) = received_at {
            write!(writer, ",\"received_ns\":{nanos}")?;
        }
        if let Ok(text) = str::from_utf8(payload) {
            writer.write_all(b",\"text\":")?;
            serde_json::to_writer(&mut *writer, text)?;
        } else {
            writer.write_all(b",\"hex\":\"")?;
            for &byte in payload {
                let digits = b"0123456789abcdef";
                writer.write_all(&[digits[usize::from(byte >> 4)], digits[usize::from(byte & 0xF)]])?;
            }
            writer.write_all(b"\"")?;
        }
        writer.write_all(b"}\n")
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("format", &self.format).finish_non_exhaustive()
    }
}

/// Standard output, written through a buffer; after an `interrupt`, a write that its reader has stalled fails.
pub(crate) fn buffered_standard_output(interrupt: &Interrupt) -> io::Result<BufWriter<impl Write>> {
    Ok(BufWriter::with_capacity(BUFFER_BYTES, InterruptibleFile::new(standard_output()?, interrupt)?))
}

/// Standard output past the standard library's own buffer, which looks for the ends of lines.
fn standard_output() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

/// Counts what is taken, and how long that takes if there is somewhere to keep it.
struct Counted {
    writer: Box<dyn Write + Send>,
    position: u64,
    times: Option<OutputTimes>,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.times {
            Some(times) => times.measure(|| self.writer.write(bytes))?,
            None => self.writer.write(bytes)?,
        };
        self.position += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// A file whose reader cannot hold up the end of the process.
struct InterruptibleFile {
    file: File,
    interrupt: Interrupt,
    /// Whether a write may block: a regular file has no reader to wait for.
    may_block: bool,
    /// Whether the reader took nothing after an interrupt; it is not waited for again.
    is_stalled: bool,
}

impl InterruptibleFile {
    fn new(file: File, interrupt: &Interrupt) -> io::Result<Self> {
        let may_block = !file.metadata()?.is_file();
        Ok(Self { file, interrupt: interrupt.clone(), may_block, is_stalled: false })
    }

    /// Waits until something can be written, or is refused at once.
    fn wait(&mut self) -> io::Result<()> {
        while !self.is_stalled {
            let was_interrupted = self.interrupt.is_raised();
            self.is_stalled = match wait_writable(&self.file) {
                Ok(true) => return Ok(()),
                Ok(false) => was_interrupted,
                Err(error) if error.kind() == ErrorKind::Interrupted => self.interrupt.count() > 1,
                Err(error) => return Err(error),
            };
        }
        Err(io::Error::other("interrupted while the reader of the output stalled"))
    }
}

impl Write for InterruptibleFile {
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<usize> {
        if self.may_block {
            self.wait()?;
            // There is room for so much in a pipe that can be written; a longer write may wait for its reader.
            bytes = &bytes[..bytes.len().min(libc::PIPE_BUF)];
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Waits until `file` can be written or has an error to fetch; returns whether, within [`STALL_MILLIS`].
#[expect(unsafe_code, reason = "the standard library does not poll")]
fn wait_writable(file: &File) -> io::Result<bool> {
    let mut entry = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: the pointer is to one entry, which outlives the call.
    match unsafe { libc::poll(&raw mut entry, 1, STALL_MILLIS) } {
        -1 => Err(io::Error::last_os_error()),
        ready_count => Ok(ready_count > 0),
    }
}

/// Why a message was not written.
#[derive(Debug)]
pub enum OutputError {
    /// A line cannot hold the message.
    NewlineInMessage {
        /// The message's number.
        number: u64,
    },
    /// A block cannot hold the message.
    TooLong {
        /// The message's number.
        number: u64,
    },
    /// The operating system refuses.
    Write(io::Error),
}

impl OutputError {
    /// Whether the reader has gone away, as `head` does: a reason to end, not to complain.
    #[must_use]
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Write(error) if error.kind() == ErrorKind::BrokenPipe)
    }
}

impl From<io::Error> for OutputError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewlineInMessage { number } => {
                write!(f, "message {number} has a newline in it, which a line cannot hold; use --format blocks")
            }
            Self::TooLong { number } => {
                write!(f, "message {number} is longer than the {MAX_MESSAGE_BYTES} bytes of a block")
            }
            Self::Write(error) => write!(f, "cannot be written: {error}"),
        }
    }
}

impl error::Error for OutputError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Write(error) => Some(error),
            Self::NewlineInMessage { .. } | Self::TooLong { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::OwnedFd;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(format: OutputFormat, messages: &[&[u8]]) -> Result<Vec<u8>, OutputError> {
        let shared = Shared::default();
        let mut output = Output::new(Box::new(shared.clone()), format);
        for (number, message) in (1..).zip(messages) {
            output.message("S\"1", number, message, None)?;
        }
        output.flush()?;
        Ok(shared.0.lock().unwrap().clone())
    }

    #[test]
    fn blocks_carry_their_length_and_empty_messages() {
        assert_eq!(written(OutputFormat::Blocks, &[b"ab", b""]).unwrap(), b"\0\x02ab\0\0");
        assert!(matches!(written(OutputFormat::Blocks, &[&[0; 65_536]]), Err(OutputError::TooLong { number: 1 })));
    }

    #[test]
    fn a_newline_inside_a_message_is_an_error_that_suggests_blocks() {
        assert_eq!(written(OutputFormat::Lines, &[b"ab\r", b""]).unwrap(), b"ab\r\n\n");
        let error = written(OutputFormat::Lines, &[b"ok", b"a\nb"]).unwrap_err();
        assert!(matches!(error, OutputError::NewlineInMessage { number: 2 }));
        assert!(error.to_string().contains("--format blocks"));
        assert!(!error.is_broken_pipe());
    }

    #[test]
    fn json_says_when_it_was_received() {
        let file = std::env::temp_dir().join(format!("seqcast-received-{}", std::process::id()));
        let mut output = Output::new(Box::new(File::create(&file).unwrap()), OutputFormat::Json);
        output.message("S", 7, b"x", Some(Nanos(1_700_000_000_123_456_789))).unwrap();
        output.flush().unwrap();
        let written = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        let text = r#"{"sequence":7,"session":"S","received_ns":1700000000123456789,"text":"x"}"#;
        assert_eq!(written, format!("{text}\n"));
    }

    #[test]
    fn json_says_text_where_it_can_and_hex_where_it_must() {
        let json = written(OutputFormat::Json, &["é\n\"".as_bytes(), b"\xFF\x0A"]).unwrap();
        assert_eq!(
            String::from_utf8(json).unwrap(),
            concat!(
                r#"{"sequence":1,"session":"S\"1","text":"é\n\""}"#,
                "\n",
                r#"{"sequence":2,"session":"S\"1","hex":"ff0a"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn no_output_writes_nothing() {
        assert_eq!(written(OutputFormat::None, &[b"ab"]).unwrap(), b"");
    }

    fn interrupted(file: File, format: OutputFormat) -> Output {
        Output::new(Box::new(InterruptibleFile::new(file, &Interrupt::counted(1)).unwrap()), format)
    }

    #[test]
    fn after_an_interrupt_a_reader_gets_everything_as_long_as_it_reads() {
        let (reader, writer) = io::pipe().unwrap();
        let reading = std::thread::spawn(move || io::read_to_string(reader).unwrap().len());
        let mut output = interrupted(OwnedFd::from(writer).into(), OutputFormat::Lines);
        for number in 1..=100 {
            output.message("S", number, &[b'x'; 9_999], None).unwrap();
        }
        output.flush().unwrap();
        drop(output);
        assert_eq!(reading.join().unwrap(), 1_000_000);
    }

    #[test]
    fn after_an_interrupt_a_reader_that_stalls_is_not_waited_for_again() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut output = interrupted(OwnedFd::from(writer).into(), OutputFormat::Blocks);
        let error = (1..).find_map(|number| output.message("S", number, &[0; 10_000], None).err()).unwrap();
        assert!(error.to_string().contains("interrupted") && !error.is_broken_pipe(), "{error}");
        // Reading has begun again, which nobody looks for any more.
        reader.read_exact(&mut [0; 8_192]).unwrap();
        output.flush().unwrap_err();
        drop(output);
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert!(8_192 + rest.len() <= BUFFER_BYTES, "more than the pipe held: {}", rest.len());
    }

    #[test]
    fn a_reader_that_has_gone_away_is_told_apart() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let writer = File::from(OwnedFd::from(writer));
        for format in [OutputFormat::Blocks, OutputFormat::Lines, OutputFormat::Json] {
            let mut output = interrupted(writer.try_clone().unwrap(), format);
            let result = output.message("S", 1, b"message", None).and_then(|()| output.flush());
            assert!(result.unwrap_err().is_broken_pipe());
        }
        let mut output = interrupted(writer, OutputFormat::Json);
        let error = output.message("S", 1, &"long ".repeat(20_000).into_bytes(), None).unwrap_err();
        assert!(error.is_broken_pipe(), "serde_json keeps the kind of an error: {error:?}");
    }
}
