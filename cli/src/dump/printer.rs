//! Packets as text or as JSON.

use crate::feed::{Content, FeedPacket, Malformed};
use crate::input::{Datagram, Frame};
use crate::progress::{count, thousands};
use crate::times::utc;
use seqcast_protocol::{PacketKind, Request};
use seqcast_recovery::Nanos;
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// What was shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames or datagrams, whatever is in them.
    pub frames: u64,
    /// Packets with messages.
    pub packets: u64,
    /// Their messages.
    pub messages: u64,
    /// Heartbeats.
    pub heartbeats: u64,
    /// Ends of sessions.
    pub ends: u64,
    /// Requests.
    pub requests: u64,
    /// Datagrams that are neither.
    pub malformed: u64,
    /// Frames without a UDP datagram.
    pub others: u64,
}

impl Counts {
    /// In words.
    pub(super) fn in_words(&self) -> String {
        format!(
            "{} with {}, {}, {} of session, {}, {} malformed, {} without UDP",
            count(self.packets, "packet"),
            count(self.messages, "message"),
            count(self.heartbeats, "heartbeat"),
            count(self.ends, "end"),
            count(self.requests, "request"),
            thousands(self.malformed),
            count(self.others, "frame"),
        )
    }
}

/// Writes packets as text or as JSON.
#[derive(Debug)]
pub struct Printer<W> {
    writer: W,
    is_json: bool,
    is_brief: bool,
    counts: Counts,
}

impl<W: Write> Printer<W> {
    /// Writes to `writer`: as JSON or as text, without the messages if `is_brief`.
    pub fn new(writer: W, is_json: bool, is_brief: bool) -> Self {
        Self { writer, is_json, is_brief, counts: Counts::default() }
    }

    /// What was shown so far.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Hands on what was written.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    /// Shows a frame of a capture.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn frame(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        let skipped = match &frame.datagram {
            Ok(datagram) => return self.datagram(frame.time, Some(frame.payload_offset), datagram),
            Err(skipped) => skipped,
        };
        self.counts.frames += 1;
        self.counts.others += 1;
        let offset = frame.offset;
        if self.is_json {
            let time_ns = frame.time.map(|time| time.0);
            let object = json!({
                "time_ns": time_ns, "offset": offset, "kind": "other", "reason": skipped.to_string(),
            });
            return writeln!(self.writer, "{object}");
        }
        writeln!(self.writer, "{} frame at byte {offset}: {skipped}", time_in_words(frame.time))
    }

    /// Shows a datagram; `offset` is where its payload begins in a file.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn datagram(&mut self, time: Option<Nanos>, offset: Option<u64>, datagram: &Datagram<'_>) -> io::Result<()> {
        self.counts.frames += 1;
        let content = Content::of(datagram.payload, *datagram.destination.ip());
        match content {
            Content::Packet(FeedPacket { kind, count, .. }) => {
                self.counts.messages += u64::from(count);
                *match kind {
                    PacketKind::Data => &mut self.counts.packets,
                    PacketKind::Heartbeat => &mut self.counts.heartbeats,
                    PacketKind::EndOfSession => &mut self.counts.ends,
                } += 1;
            }
            Content::Request(_) => self.counts.requests += 1,
            Content::Malformed(_) => self.counts.malformed += 1,
        }
        if self.is_json {
            let object = self.json(time, offset, datagram, content);
            return writeln!(self.writer, "{object}");
        }
        let Datagram { source, destination, payload } = datagram;
        write!(self.writer, "{} {source} > {destination} ", time_in_words(time))?;
        match content {
            Content::Packet(packet) => self.packet(&packet, payload),
            Content::Request(request) => {
                let (session, range) = (request.session(), request.range());
                writeln!(self.writer, "MoldUDP64 {session} request for {range}")
            }
            Content::Malformed(malformed) => {
                let Malformed { format, at, .. } = malformed;
                write!(self.writer, "malformed {format} of {} bytes: {malformed}, at byte {at}", payload.len())?;
                match offset {
                    Some(offset) => writeln!(self.writer, " (byte {} of the file)", offset + at as u64),
                    None => writeln!(self.writer),
                }
            }
        }
    }

    fn packet(&mut self, packet: &FeedPacket, payload: &[u8]) -> io::Result<()> {
        let FeedPacket { stream, kind, first, count: messages } = *packet;
        write!(self.writer, "{} {stream} ", stream.format())?;
        match kind {
            PacketKind::Data => {
                write!(self.writer, "{first}..{}: {}", packet.next(), count(messages.into(), "message"))?;
            }
            PacketKind::Heartbeat => write!(self.writer, "heartbeat, next {first}")?,
            PacketKind::EndOfSession => write!(self.writer, "end of session, next {first}")?,
        }
        match packet.send_time_ns(payload) {
            Some(time_ns) => writeln!(self.writer, ", sent {}", utc(Nanos(time_ns)))?,
            None => writeln!(self.writer)?,
        }
        if !self.is_brief {
            // The messages come first, so that no number is taken behind the last.
            for (message, number) in packet.messages(payload).zip(first..) {
                match text(message) {
                    Some(text) => writeln!(self.writer, "  {number}: {text}")?,
                    None => writeln!(self.writer, "  {number}: {} bytes {}", message.len(), hex(message))?,
                }
            }
        }
        Ok(())
    }

    fn json(&self, time: Option<Nanos>, offset: Option<u64>, datagram: &Datagram<'_>, content: Content) -> Value {
        let mut object = Map::new();
        let mut set = |name: &str, value: Value| object.insert(name.to_owned(), value);
        set("time_ns", json!(time.map(|time| time.0)));
        if let Some(offset) = offset {
            set("offset", json!(offset));
        }
        set("source", json!(datagram.source.to_string()));
        set("destination", json!(datagram.destination.to_string()));
        match content {
            Content::Packet(packet) => {
                set("format", json!(packet.stream.format().to_string()));
                set("session", json!(packet.stream.to_string()));
                set("kind", json!(kind_name(packet.kind)));
                set("first", json!(packet.first));
                set("count", json!(packet.count));
                if let Some(time_ns) = packet.send_time_ns(datagram.payload) {
                    set("send_time_ns", json!(time_ns));
                }
                if packet.kind == PacketKind::Data && !self.is_brief {
                    let messages = packet.messages(datagram.payload).map(|message| match text(message) {
                        Some(text) => json!({ "text": text }),
                        None => json!({ "hex": hex(message) }),
                    });
                    set("messages", messages.collect());
                }
            }
            Content::Request(request) => request_json(&request, set),
            Content::Malformed(Malformed { format, reason, at }) => {
                set("format", json!(format.to_string()));
                set("kind", json!("malformed"));
                set("reason", json!(reason.name()));
                set("at", json!(at));
                set("bytes", json!(datagram.payload.len()));
            }
        }
        Value::Object(object)
    }
}

fn request_json(request: &Request, mut set: impl FnMut(&str, Value) -> Option<Value>) {
    set("format", json!("MoldUDP64"));
    set("session", json!(request.session().to_string()));
    set("kind", json!("request"));
    set("first", json!(request.range().start()));
    set("count", json!(request.range().count()));
}

const fn kind_name(kind: PacketKind) -> &'static str {
    match kind {
        PacketKind::Data => "data",
        PacketKind::Heartbeat => "heartbeat",
        PacketKind::EndOfSession => "end_of_session",
    }
}

fn time_in_words(time: Option<Nanos>) -> String {
    time.map_or_else(|| "-".to_owned(), utc)
}

/// A message as text, if that is what it is: UTF-8 that would not move the cursor of a terminal.
fn text(message: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(message).ok()?;
    (!text.chars().any(char::is_control)).then_some(text)
}

fn hex(message: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    message.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xF)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use seqcast_protocol::{Header, PacketWriter, SequenceRange, SessionId};

    fn printed(is_json: bool, payload: &[u8], destination: &str) -> String {
        let mut printer = Printer::new(Vec::new(), is_json, false);
        let (source, destination) = ("10.1.0.5:40000".parse().unwrap(), destination.parse().unwrap());
        let datagram = Datagram { source, destination, payload };
        printer.datagram(Some(Nanos(5)), Some(100), &datagram).unwrap();
        String::from_utf8(printer.writer).unwrap()
    }

    fn packet(messages: &[&[u8]]) -> Vec<u8> {
        let mut buffer = [0; 100];
        let mut writer = PacketWriter::new(&mut buffer, "EQ".parse().unwrap(), 7);
        for message in messages {
            writer.push(message).unwrap();
        }
        writer.finish().to_vec()
    }

    const GROUP: &str = "239.1.1.1:30001";
    const BEFORE: &str = "1970-01-01T00:00:00.000000005Z 10.1.0.5:40000 > ";

    #[test]
    fn packets_are_shown_with_their_messages() {
        let payload = packet(&[b"bid", b"\x00\xFF"]);
        let expected = format!("{BEFORE}{GROUP} MoldUDP64 EQ 7..9: 2 messages\n  7: bid\n  8: 2 bytes 00ff\n");
        assert_eq!(printed(false, &payload, GROUP), expected);
        let object: Value = serde_json::from_str(&printed(true, &payload, GROUP)).unwrap();
        let expected = json!({
            "time_ns": 5, "offset": 100, "source": "10.1.0.5:40000", "destination": GROUP, "format": "MoldUDP64",
            "session": "EQ", "kind": "data", "first": 7, "count": 2, "messages": [{ "text": "bid" }, { "hex": "00ff" }],
        });
        assert_eq!(object, expected);
    }

    #[test]
    fn the_last_number_that_a_message_can_have_is_shown() {
        let mut payload = packet(&[b"bid"]);
        payload[10..18].copy_from_slice(&(u64::MAX - 1).to_be_bytes());
        assert!(printed(false, &payload, GROUP).ends_with("  18446744073709551614: bid\n"));
    }

    #[test]
    fn what_holds_no_messages_is_named() {
        let session: SessionId = "EQ".parse().unwrap();
        let shown =
            |payload: &[u8], to| printed(false, payload, to).trim_end().strip_prefix(BEFORE).unwrap().to_owned();
        let heartbeat = Header::heartbeat(session, 7).to_bytes();
        assert_eq!(shown(&heartbeat, GROUP), format!("{GROUP} MoldUDP64 EQ heartbeat, next 7"));
        let end = Header::end_of_session(session, 7).to_bytes();
        assert_eq!(shown(&end, GROUP), format!("{GROUP} MoldUDP64 EQ end of session, next 7"));
        let request = Request::new(session, SequenceRange::with_count(3, 2)).unwrap().to_bytes();
        assert_eq!(shown(&request, "10.1.0.5:30100"), "10.1.0.5:30100 MoldUDP64 EQ request for 3..5");
        let mut cut = packet(&[b"bid", b"ask"]);
        cut.pop();
        let expected = "malformed MoldUDP64 of 29 bytes: a message reaches past the end of the datagram, at byte 25 \
                        (byte 125 of the file)";
        assert_eq!(shown(&cut, GROUP), format!("{GROUP} {expected}"));
        let object: Value = serde_json::from_str(&printed(true, &cut, GROUP)).unwrap();
        assert_eq!((&object["reason"], &object["at"]), (&json!("truncated"), &json!(25)));
    }
}
