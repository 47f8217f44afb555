//! pcapng: sections of blocks, each block with its length before and after its body.

use super::link::Link;
use super::record::{ByteOrder, Record};
use crate::input::error::Problem;
use crate::input::source::Source;
use seqcast_recovery::Nanos;

const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const INTERFACE: u32 = 1;
const OLD_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// Type and length before the body, length after it.
const FRAME_BYTES: usize = 12;
const BODY_AT: usize = 8;

/// As Wireshark has it; a longer block is not one.
const MAX_BLOCK_BYTES: usize = 16 << 20;

/// Arbitrary; keeps a hostile file from growing our memory with its own length.
const MAX_INTERFACES: usize = 4_096;

/// Reads the blocks of a pcapng capture.
#[derive(Debug)]
pub(in crate::input) struct Pcapng {
    order: ByteOrder,
    interfaces: Vec<Interface>,
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    link_number: u16,
    snap_bytes: usize,
    clock: Clock,
}

/// What the time stamps of an interface count: `1/units_per_second`, from `offset_seconds` on.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// 0 when the unit is too small for any number to say.
    units_per_second: u128,
    offset_seconds: i64,
}

impl Clock {
    fn time(self, units: u64) -> Option<Nanos> {
        let ns = (u128::from(units) * 1_000_000_000).checked_div(self.units_per_second)?;
        let ns = i128::try_from(ns).ok()? + i128::from(self.offset_seconds) * 1_000_000_000;
        Some(Nanos(u64::try_from(ns.max(0)).unwrap_or(u64::MAX)))
    }
}

impl Pcapng {
    /// Begins where the input does, if that looks like a section.
    pub(super) fn begin(source: &Source) -> Option<Self> {
        source
            .window()
            .starts_with(&SECTION_HEADER.to_be_bytes())
            .then_some(Self { order: ByteOrder::Little, interfaces: Vec::new() })
    }

    /// Makes the block of the next packet the current record.
    pub(super) fn next(&mut self, source: &mut Source) -> Result<Option<Record>, Problem> {
        while let Some((kind, body_end)) = self.next_block(source)? {
            let body = &source.window()[BODY_AT..body_end];
            let found = match kind {
                SECTION_HEADER => self.begin_section(body),
                INTERFACE => self.add_interface(body),
                ENHANCED_PACKET if body.len() >= 20 => {
                    let interface = self.order.u32(body, 0);
                    self.timed_packet(body, interface).map(Some)
                }
                OLD_PACKET if body.len() >= 20 => {
                    let interface = u32::from(self.order.u16(body, 0));
                    self.timed_packet(body, interface).map(Some)
                }
                SIMPLE_PACKET if body.len() >= 4 => self.simple_packet(body).map(Some),
                ENHANCED_PACKET | OLD_PACKET | SIMPLE_PACKET => Err("the packet block is too short".into()),
                _ => Ok(None),
            };
            if let Some(record) = found.map_err(|what: String| source.damaged(what))? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Makes the next block the current record: its type, and where its body ends.
    fn next_block(&mut self, source: &mut Source) -> Result<Option<(u32, usize)>, Problem> {
        source.advance();
        if !source.fill_record(FRAME_BYTES)? {
            return Ok(None);
        }
        let head = source.window();
        if head.starts_with(&SECTION_HEADER.to_be_bytes()) {
            self.order = match head[8..12] {
                [0x4D, 0x3C, 0x2B, 0x1A] => ByteOrder::Little,
                [0x1A, 0x2B, 0x3C, 0x4D] => ByteOrder::Big,
                _ => return Err(source.damaged("the section has no byte order mark")),
            };
        }
        let kind = self.order.u32(head, 0);
        let length = self.order.u32(head, 4) as usize;
        let min_bytes = if kind == SECTION_HEADER { FRAME_BYTES + 16 } else { FRAME_BYTES };
        if !(min_bytes..=MAX_BLOCK_BYTES).contains(&length) || !length.is_multiple_of(4) {
            return Err(source.damaged(format!("a block cannot be {length} bytes long")));
        }
        if !source.fill_record(length)? {
            return Ok(None);
        }
        if self.order.u32(source.window(), length - 4) as usize != length {
            return Err(source.damaged("the two lengths of the block differ"));
        }
        source.set_record(length);
        Ok(Some((kind, length - 4)))
    }

    fn begin_section(&mut self, body: &[u8]) -> Result<Option<Record>, String> {
        match self.order.u16(body, 4) {
            1 => {
                self.interfaces.clear();
                Ok(None)
            }
            major => Err(format!("version {major} of pcapng is unknown")),
        }
    }

    fn add_interface(&mut self, body: &[u8]) -> Result<Option<Record>, String> {
        if body.len() < 8 {
            return Err("the interface block is too short".into());
        }
        if self.interfaces.len() == MAX_INTERFACES {
            return Err(format!("there are more than {MAX_INTERFACES} interfaces"));
        }
        self.interfaces.push(Interface {
            link_number: self.order.u16(body, 0),
            snap_bytes: match self.order.u32(body, 4) {
                0 => usize::MAX,
                limit => limit as usize,
            },
            clock: self.clock(&body[8..])?,
        });
        Ok(None)
    }

    /// What the options of an interface say about its time stamps: `if_tsresol` and `if_tsoffset`.
    fn clock(&self, mut options: &[u8]) -> Result<Clock, String> {
        let mut clock = Clock { units_per_second: 1_000_000, offset_seconds: 0 };
        while options.len() >= 4 {
            let (code, length) = (self.order.u16(options, 0), usize::from(self.order.u16(options, 2)));
            if code == 0 {
                break;
            }
            let value = options.get(4..4 + length).ok_or("an option reaches past its block")?;
            match (code, value) {
                (9, [exponent]) if exponent & 0x80 != 0 => clock.units_per_second = 1 << (exponent & 0x7F),
                (9, [exponent]) => {
                    clock.units_per_second = 10u128.checked_pow(u32::from(*exponent)).unwrap_or(0);
                }
                (14, [_, _, _, _, _, _, _, _]) => clock.offset_seconds = self.order.u64(value, 0).cast_signed(),
                _ => {}
            }
            options = options.get(4 + length.next_multiple_of(4)..).unwrap_or(&[]);
        }
        Ok(clock)
    }

    /// A packet with a time: after the interface the two halves of the time and the two lengths, then the frame.
    fn timed_packet(&self, body: &[u8], interface: u32) -> Result<Record, String> {
        let interface = self.interface(interface)?;
        let [high, low, captured, original] = [4, 8, 12, 16].map(|at| self.order.u32(body, at));
        if captured > original {
            return Err(format!("{captured} bytes captured of a packet of {original}"));
        }
        let time = interface.clock.time(u64::from(high) << 32 | u64::from(low));
        Self::record(body, interface, 20, captured as usize, time)
    }

    /// A packet of the first interface without a time: its original length, then the frame.
    fn simple_packet(&self, body: &[u8]) -> Result<Record, String> {
        let interface = self.interface(0)?;
        let captured = interface.snap_bytes.min(self.order.u32(body, 0) as usize);
        Self::record(body, interface, 4, captured, None)
    }

    fn interface(&self, index: u32) -> Result<Interface, String> {
        let interface = self.interfaces.get(index as usize).copied();
        interface.ok_or_else(|| format!("the packet's interface {index} is not described"))
    }

    fn record(
        body: &[u8],
        interface: Interface,
        at: usize,
        captured: usize,
        time: Option<Nanos>,
    ) -> Result<Record, String> {
        if captured > body.len() - at {
            return Err(format!("the block has no room for {captured} captured bytes"));
        }
        let link = Link::new(interface.link_number).ok_or_else(|| Link::unknown(interface.link_number))?;
        Ok(Record { link, frame: BODY_AT + at..BODY_AT + at + captured, time })
    }
}
