//! Classic pcap: a header of 24 bytes, then records of 16 bytes and the captured bytes.

use super::link::Link;
use super::record::{ByteOrder, Record};
use crate::input::error::Problem;
use crate::input::source::Source;
use seqcast_recovery::Nanos;

const FILE_HEADER_BYTES: usize = 24;
const RECORD_HEADER_BYTES: usize = 16;

/// libpcap's MAXIMUM_SNAPLEN; a longer record is not one.
const MAX_CAPTURED_BYTES: usize = 256 << 10;

/// Reads the records of a classic capture.
#[derive(Debug)]
pub(in crate::input) struct Classic {
    order: ByteOrder,
    link: Link,
    /// How many nanoseconds one unit of a record's fraction of a second is: 1 or 1,000.
    unit_ns: u64,
}

impl Classic {
    /// Reads the file header, if there is one; its bytes are the current record then.
    pub(super) fn begin(source: &mut Source) -> Result<Option<Self>, Problem> {
        let magic = source.window().first_chunk::<4>().copied().unwrap_or_default();
        let (order, unit_ns) = match magic {
            [0xD4, 0xC3, 0xB2, 0xA1] => (ByteOrder::Little, 1_000),
            [0xA1, 0xB2, 0xC3, 0xD4] => (ByteOrder::Big, 1_000),
            [0x4D, 0x3C, 0xB2, 0xA1] => (ByteOrder::Little, 1),
            [0xA1, 0xB2, 0x3C, 0x4D] => (ByteOrder::Big, 1),
            _ => return Ok(None),
        };
        if !source.fill(FILE_HEADER_BYTES)? {
            return Err(source.damaged("the header of the capture is not whole"));
        }
        let header = source.window();
        let major = order.u16(header, 4);
        if major != 2 {
            return Err(source.damaged(format!("version {major} of the capture format is unknown")));
        }
        // The upper half holds flags.
        let number = order.u32(header, 20) as u16;
        let link = Link::new(number).ok_or_else(|| source.damaged(Link::unknown(number)))?;
        source.set_record(FILE_HEADER_BYTES);
        Ok(Some(Self { order, link, unit_ns }))
    }

    /// Makes the next record the current one.
    pub(super) fn next(&mut self, source: &mut Source) -> Result<Option<Record>, Problem> {
        source.advance();
        if !source.fill_record(RECORD_HEADER_BYTES)? {
            return Ok(None);
        }
        let header = source.window();
        let [seconds, fraction, captured, original] = [0, 4, 8, 12].map(|at| self.order.u32(header, at));
        let captured = captured as usize;
        if captured > MAX_CAPTURED_BYTES {
            return Err(source.damaged(format!("a record cannot hold {captured} captured bytes")));
        }
        if captured > original as usize {
            return Err(source.damaged(format!("{captured} bytes captured of a packet of {original}")));
        }
        let fraction_ns = u64::from(fraction) * self.unit_ns;
        if fraction_ns >= 1_000_000_000 {
            return Err(source.damaged("the time of the record has a fraction of more than a second"));
        }
        let end = RECORD_HEADER_BYTES + captured;
        if !source.fill_record(end)? {
            return Ok(None);
        }
        source.set_record(end);
        let time = Nanos::from_secs(u64::from(seconds)) + Nanos(fraction_ns);
        Ok(Some(Record { link: self.link, frame: RECORD_HEADER_BYTES..end, time: Some(time) }))
    }
}
