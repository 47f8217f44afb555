//! Inputs from memory: what they give, and what is wrong with them.

use flate2::{Compression, write::GzEncoder};
use seqcast::input::{CaptureCounters, Format, Input, InputError, Problem, Warning};
use seqcast_recovery::Nanos;
use std::io::{Cursor, Write};

/// Everything that an input gives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Whole {
    pub(crate) messages: Vec<Vec<u8>>,
    pub(crate) times: Vec<Option<u64>>,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) counters: CaptureCounters,
}

/// Reads an input to its end.
pub(crate) fn drain(mut input: Input) -> Result<Whole, InputError> {
    let (mut messages, mut times) = (Vec::new(), Vec::new());
    while let Some(message) = input.next()? {
        messages.push(message.payload.to_vec());
        times.push(message.time.map(|Nanos(time_ns)| time_ns));
    }
    assert!(input.next()?.is_none(), "the end stays the end");
    let counters = input.capture().copied().unwrap_or_default();
    Ok(Whole { messages, times, warnings: input.warnings(), counters })
}

/// What bytes give in a format, or in the one that is recognised.
pub(crate) fn read_as(bytes: &[u8], format: Option<Format>) -> Result<Whole, InputError> {
    drain(Input::from_reader("test", Cursor::new(bytes.to_vec()), format)?)
}

/// What bytes give that are as they should be.
pub(crate) fn read(bytes: &[u8]) -> Whole {
    read_as(bytes, None).unwrap()
}

/// The format that is recognised, if any.
pub(crate) fn format_of(bytes: &[u8]) -> Option<Format> {
    Input::from_reader("test", Cursor::new(bytes.to_vec()), None).ok().map(|input| input.format())
}

/// Where bytes are damaged, and how.
pub(crate) fn damage(bytes: &[u8], format: Option<Format>) -> (u64, String) {
    match read_as(bytes, format).unwrap_err().problem() {
        Problem::Damaged { offset, what, .. } => (*offset, what.to_string()),
        other => panic!("{other:?}"),
    }
}

/// Bytes, compressed.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A file of blocks.
pub(crate) fn blocks(messages: &[&[u8]]) -> Vec<u8> {
    messages.iter().flat_map(|message| [&(message.len() as u16).to_be_bytes(), *message].concat()).collect()
}
