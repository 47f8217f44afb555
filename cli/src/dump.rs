//! `seqcast dump`: the packets of a capture or of a line, decoded.

use crate::feed::{Content, FeedPacket, Malformed};
use crate::input::{Datagram, Frame, Frames, InputError};
use crate::interrupt::Interrupt;
use crate::live::{LIVE_FORM, Limit, LiveLine};
use crate::options;
use crate::outcome::{Condition, Outcome, chain};
use crate::output::buffered_standard_output;
use crate::progress::{Progress, count, thousands};
use crate::times::utc;
use seqcast_protocol::{PacketKind, Request};
use seqcast_recovery::Nanos;
use seqcast_subscriber::LineSource;
use seqcast_transport::{Clock, wait_readable};
use serde_json::{Map, Value, json};
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

/// Decode the packets of a capture, or of a line as they come: MoldUDP64 and IEX-TP
///
/// Examples:
///   seqcast dump feed.pcap.gz
///   seqcast dump day.pcapng --json --headers
///   seqcast dump 239.1.1.1:30001@eth1 --count 100 --time 10s
///
/// Captures are classic pcap or pcapng, gzip-compressed or not. What is malformed is shown with the reason and the place.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Options {
    /// A capture file, or a line to listen to: GROUP:PORT[@INTERFACE][,source=ADDRESS]|ADDRESS:PORT[,source=ADDRESS]
    #[arg(value_name = "FILE|LINE")]
    from: String,
    /// Print each packet as a JSON object on a line of its own
    #[arg(long)]
    json: bool,
    /// Leave the messages out
    #[arg(long)]
    headers: bool,
    /// End after so many packets
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Listen to a line for so long
    #[arg(long, value_name = "DURATION", value_parser = options::positive_duration)]
    time: Option<Duration>,
    /// The interface, by name or address, of a line that names none; 127.0.0.1 unless given
    #[arg(long, value_name = "INTERFACE")]
    interface: Option<String>,
}

/// Runs the subcommand.
#[must_use]
pub fn run(options: &Options) -> Outcome {
    match dump(options) {
        Ok(outcome) | Err(outcome) => outcome,
    }
}

fn dump(options: &Options) -> Result<Outcome, Outcome> {
    let interrupt = Interrupt::new().map_err(|error| Outcome::failed(&error))?;
    let path = Path::new(&options.from);
    let line = match options.from.parse::<LineSource>() {
        // What is there as a file is meant.
        Ok(line) if !path.exists() => Some(LiveLine::open(&line, options.interface.as_deref().unwrap_or("127.0.0.1"))),
        Err(error) if !path.exists() && options.from.contains(':') => {
            let words = format!("there is no such file, and it is no line ({LIVE_FORM}): {}", chain(&error));
            return Err(Condition::Settings(format!("{}: {words}", options.from)).into());
        }
        _ => None,
    };
    let writer = buffered_standard_output(&interrupt).map_err(|error| Outcome::failed(&error))?;
    let mut printer = Printer::new(writer, options.json, options.headers);
    let ended = match line {
        Some(line) => {
            let line = line.map_err(|error| Outcome::option(&options.from, &*error))?;
            dump_line(line, &mut printer, options, &interrupt)
        }
        None if options.time.is_some() || options.interface.is_some() => {
            let words = format!("{}: --time and --interface are for a line, not for a file", options.from);
            return Err(Condition::Settings(words).into());
        }
        None => dump_file(path, &mut printer, options.count, &interrupt),
    };
    let ended = ended.and_then(|()| printer.flush().map_err(Failure::Output));
    let mut outcome = Outcome::default();
    match ended {
        // A reader that has read enough, as `head`, is no failure, and hears no more words.
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => return Ok(outcome),
        Err(Failure::Output(error)) => outcome.add(Condition::Failed(format!("standard output: {error}"))),
        Err(Failure::Input(error)) => outcome.add(Condition::Failed(chain(&error))),
        Ok(()) => {}
    }
    if outcome.code() == 0 || printer.counts().frames > 0 {
        // There is nobody to tell when standard error is gone.
        let _ = writeln!(io::stderr().lock(), "{}", printer.counts().in_words());
    }
    Ok(outcome)
}

/// Why the packets cannot be shown on.
#[derive(Debug)]
enum Failure {
    Input(InputError),
    Output(io::Error),
}

fn dump_file(
    path: &Path,
    printer: &mut Printer<impl Write>,
    limit: Option<u64>,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let mut frames = Frames::open(path).map_err(Failure::Input)?;
    let mut progress = Progress::new();
    let limit = limit.unwrap_or(u64::MAX);
    let mut ended = Ok(());
    while printer.counts().frames < limit && !interrupt.is_raised() {
        match frames.next() {
            Ok(Some(frame)) => printer.frame(&frame).map_err(Failure::Output)?,
            Ok(None) => break,
            Err(error) => {
                // What comes before the damage is shown before the error.
                ended = Err(Failure::Input(error));
                break;
            }
        }
        let percent = frames.percent_read();
        progress.update(Clock::now(), printer.counts().messages, || format!("{} % read", percent.unwrap_or(0)));
    }
    progress.clear();
    printer.flush().map_err(Failure::Output)?;
    for warning in frames.warnings() {
        let _ = writeln!(io::stderr().lock(), "seqcast: warning: {warning}");
    }
    ended
}

fn dump_line(
    mut line: LiveLine,
    printer: &mut Printer<impl Write>,
    options: &Options,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let limit = Limit::new(options.count, options.time);
    while !interrupt.is_raised() && !limit.is_reached_by(printer.counts().frames) {
        let Some(timeout) = limit.wait() else { break };
        let is_empty = match line.receive() {
            Some((time, datagram)) => {
                printer.datagram(Some(time), None, &datagram).map_err(Failure::Output)?;
                false
            }
            None => true,
        };
        if is_empty {
            printer.flush().map_err(Failure::Output)?;
            // A socket that cannot be waited for can still be asked.
            if wait_readable(&[line.fd()], Some(timeout)).is_err() {
                std::thread::yield_now();
            }
        }
    }
    let drops = line.kernel_drops();
    if drops > 0 {
        let _ = writeln!(io::stderr().lock(), "seqcast: warning: {} dropped by the kernel", count(drops, "datagram"));
    }
    Ok(())
}

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
    fn in_words(&self) -> String {
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
