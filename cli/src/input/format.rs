//! The formats of an input, and how its first bytes tell them apart.

use super::error::Problem;
use super::source::Source;
use seqcast_protocol::LENGTH_BYTES;
use std::fmt;
use std::str;

/// How an input holds its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Each message behind its length, 2 bytes, big-endian.
    Blocks,
    /// Each line is a message.
    Lines,
    /// A capture of IEX-TP or MoldUDP64 packets, classic pcap or pcapng.
    Pcap,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blocks => "blocks",
            Self::Lines => "lines",
            Self::Pcap => "pcap",
        })
    }
}

/// RFC 1952, with the only compression method there is.
const GZIP: [u8; 3] = [0x1F, 0x8B, 8];

/// The first four bytes of captures: classic in µs and ns, little- and big-endian, and pcapng.
const CAPTURES: [[u8; 4]; 5] = [
    [0xD4, 0xC3, 0xB2, 0xA1],
    [0xA1, 0xB2, 0xC3, 0xD4],
    [0x4D, 0x3C, 0xB2, 0xA1],
    [0xA1, 0xB2, 0x3C, 0x4D],
    [0x0A, 0x0D, 0x0D, 0x0A],
];

/// How much text convinces without its last character; arbitrary.
const PLENTY_BYTES: usize = 4_096;

/// Whether the input begins as gzip does.
pub(super) fn is_gzip(source: &mut Source) -> Result<bool, Problem> {
    begins_with(source, &GZIP)
}

/// Recognises the format; nothing is consumed.
///
/// Lines are recognised from what one read brought, so that a pipe is not waited for longer than needed. Before blocks
/// are, their first block has to be whole, and without it nothing could be published anyway.
pub(super) fn detect(source: &mut Source) -> Result<Format, Problem> {
    for magic in &CAPTURES {
        if begins_with(source, magic)? {
            return Ok(Format::Pcap);
        }
    }
    if is_text(source)? {
        return Ok(Format::Lines);
    }
    if source.fill(LENGTH_BYTES)? {
        let length = usize::from(u16::from_be_bytes([source.window()[0], source.window()[1]]));
        if source.fill(LENGTH_BYTES + length)? {
            return Ok(Format::Blocks);
        }
    }
    Err(Problem::Unrecognised)
}

/// Reads only as long as what is there could still become `magic`.
fn begins_with(source: &mut Source, magic: &[u8]) -> Result<bool, Problem> {
    source.fill(1)?;
    loop {
        let window = source.window();
        let known = window.len().min(magic.len());
        if window[..known] != magic[..known] {
            return Ok(false);
        }
        if known == magic.len() {
            return Ok(true);
        }
        if !source.fill(known + 1)? {
            return Ok(false);
        }
    }
}

/// Whether what is there is UTF-8 without NUL. A character cut by its end is waited for, or, when plenty is there,
/// forgiven.
fn is_text(source: &mut Source) -> Result<bool, Problem> {
    loop {
        let prefix = source.window();
        let length = prefix.len();
        if prefix.contains(&0) {
            return Ok(false);
        }
        match str::from_utf8(prefix) {
            Ok(_) => return Ok(true),
            Err(error) if error.error_len().is_some() => return Ok(false),
            Err(_) if length >= PLENTY_BYTES => return Ok(true),
            Err(_) => {}
        }
        if !source.fill(length + 1)? {
            return Ok(false);
        }
    }
}
