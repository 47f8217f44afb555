//! Text: each line without its `\n` is a message; a `\r` before it stays.

use super::Found;
use super::error::Problem;
use super::source::Source;
use seqcast_protocol::MAX_MESSAGE_BYTES;
use std::io::BufRead;

/// Makes the next line the current record.
pub(super) fn find(source: &mut Source) -> Result<Option<Found>, Problem> {
    source.advance();
    let mut searched = 0;
    loop {
        let mut rest = &source.window()[searched..];
        let more = rest.skip_until(b'\n').expect("memory can be read");
        let (length, is_whole) = match source.window()[..searched + more].split_last() {
            Some((b'\n', line)) if more > 0 => (line.len(), true),
            _ => (searched + more, false),
        };
        if length > MAX_MESSAGE_BYTES {
            return Err(source.damaged(format!("the line is longer than the {MAX_MESSAGE_BYTES} bytes of a message")));
        }
        searched = length;
        if is_whole {
            source.set_record(length + 1);
            return Ok(Some(Found::Window { at: 0, length }));
        }
        if !source.fill(length + 1)? {
            source.set_record(length);
            return Ok((length > 0).then_some(Found::Window { at: 0, length }));
        }
    }
}
