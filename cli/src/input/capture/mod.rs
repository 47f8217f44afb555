//! Messages out of a capture of a market data feed.
//!
//! From the frames to the messages: [`classic`] and [`pcapng`] read frames, [`link`] finds the UDP datagram in each,
//! [`crate::feed`] the packet in that, [`order`] the message that comes next.
//!
//! What is read is the first numbered stream in the capture: the first packet with messages that is valid to its last
//! byte, as IEX-TP or as MoldUDP64, decides on the format and on the session; messages of others are counted and left
//! out. Addresses and ports do not matter, so both lines of a feed, and the retransmissions beside them, complete each
//! other. Messages come out in the order of their numbers, each once, with the time at which its packet was captured;
//! what arrived early waits for a gap to be filled, up to one second of the capture's time or 4 MiB, then the gap counts
//! as missing and the replay goes on. So time stamps may step back where a gap was filled.
//!
//! A capture without frames is an empty input; one with frames but without any feed packet is an error.

mod classic;
mod counters;
mod file;
mod link;
mod order;
mod pcapng;
mod record;

pub use counters::CaptureCounters;
pub use link::{Datagram, Skipped};

pub(super) use file::CaptureFile;
pub(super) use record::Stamp;

use super::Found;
use super::error::Problem;
use super::source::Source;
use crate::feed::{FeedPacket, StreamId};
use order::Order;
use record::Record;
use seqcast_protocol::LENGTH_BYTES;

/// Reads a capture from its first frame to its last.
#[derive(Debug)]
pub(super) struct Capture {
    file: CaptureFile,
    followed: Option<Followed>,
    /// The first packet without messages before there is a stream to follow: where that one may have begun.
    heard: Option<FeedPacket>,
    rest: Rest,
    held: Vec<u8>,
    counters: CaptureCounters,
}

/// The stream whose messages are handed out.
#[derive(Debug)]
struct Followed {
    stream: StreamId,
    order: Order,
    /// The highest next number that a packet without messages has shown.
    announced: u64,
}

/// What is left of the current packet.
#[derive(Clone, Copy, Debug, Default)]
struct Rest {
    /// Where its next block begins in the window of the source.
    at: usize,
    number: u64,
    count: u16,
    stamp: Stamp,
}

impl Capture {
    /// Reads the header of the capture file.
    pub(super) fn begin(source: &mut Source) -> Result<Self, Problem> {
        Ok(Self {
            file: CaptureFile::begin(source)?,
            followed: None,
            heard: None,
            rest: Rest::default(),
            held: Vec::new(),
            counters: CaptureCounters::default(),
        })
    }

    /// The message that [`Found::Held`] stands for.
    pub(super) fn held(&self) -> &[u8] {
        &self.held
    }

    /// What has been counted so far.
    pub(super) const fn counters(&self) -> &CaptureCounters {
        &self.counters
    }

    /// Finds the next message in order.
    pub(super) fn find(&mut self, source: &mut Source) -> Result<Option<(Found, Stamp)>, Problem> {
        loop {
            if let Some(found) = self.next_in_order(source) {
                self.counters.messages += 1;
                return Ok(Some(found));
            }
            match self.file.next(source)? {
                Some(record) => self.handle_record(&record, source),
                None => {
                    if !self.followed.as_mut().is_some_and(|followed| followed.order.give_up(&mut self.counters)) {
                        return self.end(source);
                    }
                }
            }
        }
    }

    /// The next message out of the reorder window or the current packet.
    fn next_in_order(&mut self, source: &Source) -> Option<(Found, Stamp)> {
        let Followed { stream, order, .. } = self.followed.as_mut()?;
        loop {
            if let Some((payload, stamp)) = order.take_held() {
                self.held = payload;
                return Some((Found::Held, stamp));
            }
            let Rest { at, number, count, stamp } = self.rest;
            if count == 0 {
                return None;
            }
            let block = &source.window()[at..];
            let length = stream.length([block[0], block[1]]);
            let payload = &block[LENGTH_BYTES..LENGTH_BYTES + length];
            self.rest = Rest { at: at + LENGTH_BYTES + length, number: number + 1, count: count - 1, stamp };
            if order.is_next(number, payload, stamp, &mut self.counters) {
                return Some((Found::Window { at: at + LENGTH_BYTES, length }, stamp));
            }
            order.give_up_if_due(stamp.time, &mut self.counters);
        }
    }

    fn handle_record(&mut self, record: &Record, source: &Source) {
        self.counters.frames += 1;
        if let Some(followed) = &mut self.followed {
            followed.order.give_up_if_due(record.time, &mut self.counters);
        }
        let frame = &source.window()[record.frame.clone()];
        let payload = match record.link.datagram(frame) {
            Ok(datagram) => datagram.payload,
            Err(skipped) => return self.counters.skip(skipped),
        };
        let Ok(packet) = FeedPacket::parse(payload) else {
            self.counters.other_udp += 1;
            return;
        };
        if packet.count == 0 {
            self.handle_heartbeat(packet);
            return;
        }
        self.counters.packets += 1;
        let followed = self.followed.get_or_insert_with(|| {
            let heard = self.heard.filter(|heard| heard.stream == packet.stream);
            let first = heard.map_or(packet.first, |heard| heard.first.clamp(1, packet.first));
            Followed { stream: packet.stream, order: Order::new(first), announced: 0 }
        });
        if followed.stream == packet.stream {
            let payload_at = payload.as_ptr().addr() - source.window().as_ptr().addr();
            self.rest = Rest {
                at: payload_at + packet.stream.blocks_at(),
                number: packet.first,
                count: packet.count,
                stamp: Stamp { time: record.time, frame: self.counters.frames },
            };
        } else {
            self.counters.foreign += u64::from(packet.count);
        }
    }

    fn handle_heartbeat(&mut self, packet: FeedPacket) {
        match &mut self.followed {
            Some(followed) if followed.stream == packet.stream => {
                followed.announced = followed.announced.max(packet.first);
                self.counters.heartbeats += 1;
            }
            Some(followed) if followed.stream.format() != packet.stream.format() => self.counters.other_udp += 1,
            _ => {
                self.heard.get_or_insert(packet);
                self.counters.heartbeats += 1;
            }
        }
    }

    fn end(&mut self, source: &Source) -> Result<Option<(Found, Stamp)>, Problem> {
        match &mut self.followed {
            Some(followed) => followed.order.end(followed.announced, &mut self.counters),
            None if self.counters.frames > 0 && self.counters.heartbeats == 0 => {
                let frames = self.counters.frames;
                return Err(source.damaged(format!("none of the {frames} frames holds IEX-TP or MoldUDP64")));
            }
            None => {}
        }
        Ok(None)
    }
}
