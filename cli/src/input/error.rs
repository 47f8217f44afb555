//! Why an input cannot be read on.

use std::borrow::Cow;
use std::{error, fmt, io};

/// What is wrong with which input.
#[derive(Debug)]
pub struct InputError {
    input: String,
    problem: Problem,
}

impl InputError {
    pub(super) fn new(input: &str, problem: Problem) -> Self {
        Self { input: input.to_owned(), problem }
    }

    /// What is wrong.
    #[must_use]
    pub const fn problem(&self) -> &Problem {
        &self.problem
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.input, self.problem)
    }
}

impl error::Error for InputError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match &self.problem {
            Problem::Open(error) | Problem::Read { error, .. } => Some(error),
            Problem::Unrecognised | Problem::Damaged { .. } => None,
        }
    }
}

/// What is wrong with an input.
#[derive(Debug)]
pub enum Problem {
    /// The file cannot be opened.
    Open(io::Error),
    /// The operating system cannot read on.
    Read {
        /// How many bytes had been read.
        offset: u64,
        /// What the operating system says.
        error: io::Error,
    },
    /// The first bytes show no format.
    Unrecognised,
    /// The bytes are not what the format asks for.
    Damaged {
        /// Where the damaged record begins.
        offset: u64,
        /// Whether the offset counts decompressed bytes.
        decompressed: bool,
        /// What is wrong there.
        what: Cow<'static, str>,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => write!(f, "cannot be opened: {error}"),
            Self::Read { offset, error } => write!(f, "cannot be read on at byte {offset}: {error}"),
            Self::Unrecognised => {
                f.write_str("its first bytes show no format; say which it is with --format blocks, lines or pcap")
            }
            Self::Damaged { offset, decompressed, what } => {
                let of = if *decompressed { " of the decompressed data" } else { "" };
                write!(f, "damaged at byte {offset}{of}: {what}")
            }
        }
    }
}
