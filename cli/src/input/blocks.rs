//! The format of Nasdaq's historical files, and of a packet's body: 2-byte big-endian length, message.

use super::Found;
use super::error::Problem;
use super::source::Source;
use seqcast_protocol::LENGTH_BYTES;

/// Makes the next block the current record.
pub(super) fn find(source: &mut Source) -> Result<Option<Found>, Problem> {
    source.advance();
    if !source.fill_record(LENGTH_BYTES)? {
        return Ok(None);
    }
    let length = usize::from(u16::from_be_bytes([source.window()[0], source.window()[1]]));
    if !source.fill_record(LENGTH_BYTES + length)? {
        return Ok(None);
    }
    source.set_record(LENGTH_BYTES + length);
    Ok(Some(Found::Window { at: LENGTH_BYTES, length }))
}
