//! What was found, in words and as JSON.

use super::comparison::ComparisonCounters;
use super::numbers::NumberCounters;
use super::sessions::{FrameCounters, LineState, MalformedAt, SessionState, Sessions};
use super::timing::{Burst, Timing, receive_buffer};
use crate::feed::StreamId;
use crate::outcome::{Condition, Outcome};
use crate::progress::{count, thousands};
use crate::times::{self, utc};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::net::SocketAddrV4;

/// Everything that was found.
#[derive(Debug)]
pub struct Report {
    sessions: Vec<SessionReport>,
    frames: FrameCounters,
    malformed: u64,
    malformed_list: Vec<MalformedAt>,
    files: Vec<String>,
}

#[derive(Debug)]
struct SessionReport {
    stream: StreamId,
    lines: Vec<LineReport>,
    comparison: Option<ComparisonCounters>,
    answers: u64,
    answered_messages: u64,
}

#[derive(Debug)]
struct LineReport {
    /// A or B, if it is compared.
    name: Option<char>,
    file: usize,
    destination: SocketAddrV4,
    packets: u64,
    bytes: u64,
    heartbeats: u64,
    ends: u64,
    first: u64,
    next: u64,
    numbers: NumberCounters,
    timing: Timing,
}

impl Report {
    pub(super) fn new(sessions: Sessions, files: Vec<String>) -> Self {
        let Sessions { sessions, counters, malformed, malformed_list, .. } = sessions;
        let sessions = sessions.into_iter().map(SessionReport::new).collect();
        Self { sessions, frames: counters, malformed, malformed_list, files }
    }

    /// Whether there was no packet at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// What was found that is not as it should be.
    #[must_use]
    pub fn judge(&self) -> Outcome {
        let mut outcome = Outcome::default();
        let lines = || self.sessions.iter().flat_map(|session| &session.lines).map(|line| &line.numbers);
        let compared = || self.sessions.iter().filter_map(|session| session.comparison.as_ref());
        let findings = [
            (lines().map(|numbers| numbers.missing).fold(0, u64::saturating_add), "message", "missing on a line"),
            (compared().map(|compared| compared.differing).sum(), "message", "with other bytes on line B"),
            (lines().map(|numbers| numbers.conflicting).sum(), "message", "with other bytes under the same number"),
            (lines().map(|numbers| numbers.rewinds).sum(), "time", "the numbers began again"),
            (self.malformed, "malformed packet", "on a line"),
            (self.frames.unfollowed, "packet", "of more lines than can be followed"),
        ];
        for (number, thing, what) in findings.into_iter().filter(|(number, ..)| *number > 0) {
            outcome.add(Condition::Incomplete(format!("{} {what}", count(number, thing))));
        }
        outcome
    }

    /// All of it in words, a line for each thing.
    #[must_use]
    pub fn in_words(&self) -> Vec<String> {
        let mut words = Vec::new();
        for session in &self.sessions {
            words.push(format!("session {} ({})", session.stream, session.stream.format()));
            for line in &session.lines {
                line.say(&self.files, &mut words);
            }
            if let Some(comparison) = &session.comparison {
                say_comparison(comparison, &mut words);
            }
            if session.answers > 0 {
                let messages = count(session.answered_messages, "message");
                words.push(format!("  to single hosts: {} with {messages}", count(session.answers, "packet")));
            }
        }
        for MalformedAt { file, offset, malformed } in &self.malformed_list {
            let place = offset + malformed.at as u64;
            words
                .push(format!("malformed {}: {malformed}, at byte {place} of {}", malformed.format, self.files[*file]));
        }
        let FrameCounters { frames, requests, other_udp, unfollowed, not_udp, fragments, cut } = self.frames;
        let rest = [
            (requests, "request"),
            (self.malformed, "malformed packet"),
            (other_udp, "other UDP datagram"),
            (unfollowed, "packet of more lines"),
            (not_udp, "frame without UDP over IPv4"),
            (fragments, "fragment"),
            (cut, "cut frame"),
        ];
        let rest = rest.into_iter().filter(|(number, _)| *number > 0);
        let rest: String = rest.map(|(number, thing)| format!(", {}", count(number, thing))).collect();
        words.push(format!("{}{rest}", count(frames, "frame")));
        words
    }

    /// All of it as an object.
    #[must_use]
    pub fn json(&self, exit_code: u8) -> Value {
        let session = |session: &SessionReport| {
            json!({
                "session": session.stream.to_string(),
                "format": session.stream.format().to_string(),
                "lines": session.lines.iter().map(|line| line.json(&self.files)).collect::<Vec<_>>(),
                "comparison": session.comparison.as_ref().map(comparison_json),
                "answers": session.answers,
                "answered_messages": session.answered_messages,
            })
        };
        let malformed = |found: &MalformedAt| {
            json!({
                "file": self.files[found.file],
                "offset": found.offset + found.malformed.at as u64,
                "format": found.malformed.format.to_string(),
                "reason": found.malformed.reason.name(),
            })
        };
        let FrameCounters { frames, requests, other_udp, unfollowed, not_udp, fragments, cut } = self.frames;
        json!({
            "sessions": self.sessions.iter().map(session).collect::<Vec<_>>(),
            "frames": frames,
            "requests": requests,
            "malformed": self.malformed,
            "malformed_list": self.malformed_list.iter().map(malformed).collect::<Vec<_>>(),
            "other_udp": other_udp,
            "unfollowed": unfollowed,
            "not_udp": not_udp,
            "fragments": fragments,
            "cut": cut,
            "exit_code": exit_code,
        })
    }
}

impl SessionReport {
    fn new(mut session: SessionState) -> Self {
        let comparison = session.take_comparison();
        let SessionState { stream, lines, compared, answers, answered_messages, .. } = session;
        let name = |index| {
            let side = compared.iter().position(|compared| *compared == Some(index))?;
            comparison.is_some().then_some(['A', 'B'][side])
        };
        let lines = lines.into_iter().enumerate().map(|(index, line)| LineReport::new(line, name(index))).collect();
        Self { stream, lines, comparison, answers, answered_messages }
    }
}

impl LineReport {
    fn new(line: LineState, name: Option<char>) -> Self {
        let LineState { file, destination, packets, bytes, heartbeats, ends, numbers, mut timing, .. } = line;
        timing.finish();
        let (first, next) = (numbers.first(), numbers.next());
        let numbers = numbers.finish();
        Self { name, file, destination, packets, bytes, heartbeats, ends, first, next, numbers, timing }
    }

    fn say(&self, files: &[String], words: &mut Vec<String>) {
        let name = self.name.map_or_else(|| "line".to_owned(), |name| format!("line {name}"));
        let file = if files.len() > 1 { format!(" in {}", files[self.file]) } else { String::new() };
        let NumberCounters { messages, gaps, missing, missing_ranges, late, duplicates, conflicting, rewinds } =
            &self.numbers;
        words.push(format!(
            "  {name} {}{file}: {} with {} ({}), numbers {}..{}",
            self.destination,
            count(self.packets, "packet"),
            count(*messages, "message"),
            count(self.bytes, "byte"),
            self.first,
            self.next,
        ));
        let ranges: Vec<_> = missing_ranges.iter().map(|(start, end)| format!("{start}..{end}")).collect();
        let ranges = match ranges.len() {
            0 => String::new(),
            listed if listed as u64 == *gaps => format!(" ({})", ranges.join(", ")),
            _ => format!(" ({}, …)", ranges.join(", ")),
        };
        words.push(format!(
            "    {}, {} missing{ranges}, {} late, {} duplicate, {} with other bytes, {}",
            count(*gaps, "gap"),
            count(*missing, "message"),
            thousands(*late),
            thousands(*duplicates),
            thousands(*conflicting),
            count(*rewinds, "new beginning"),
        ));
        words.push(format!(
            "    {}, {} of session; from one heartbeat to the next: {}",
            count(self.heartbeats, "heartbeat"),
            count(self.ends, "end"),
            times::distribution(&self.timing.heartbeats),
        ));
        let Burst { packets, bytes, truesize, end } = self.timing.largest;
        words.push(format!("    from one packet to the next: {}", times::distribution(&self.timing.distances)));
        let per_ms = &self.timing.per_ms;
        words.push(format!(
            "    largest burst in 1 ms: {} ({}), needs a receive buffer of {}, until {}; per ms: {}",
            count(packets, "packet"),
            count(bytes, "byte"),
            count(receive_buffer(truesize), "byte"),
            utc(end),
            per_ms_in_words(per_ms),
        ));
    }

    fn json(&self, files: &[String]) -> Value {
        let NumberCounters { messages, gaps, missing, missing_ranges, late, duplicates, conflicting, rewinds } =
            &self.numbers;
        let Burst { packets, bytes, truesize, end } = self.timing.largest;
        let range = |(start, end): &(u64, u64)| json!({ "first": start, "next": end });
        let per_ms = &self.timing.per_ms;
        json!({
            "line": self.name.map(String::from),
            "destination": self.destination.to_string(),
            "file": files[self.file],
            "packets": self.packets,
            "bytes": self.bytes,
            "messages": messages,
            "first": self.first,
            "next": self.next,
            "gaps": gaps,
            "missing": missing,
            "missing_ranges": missing_ranges.iter().map(range).collect::<Vec<_>>(),
            "late": late,
            "duplicates": duplicates,
            "conflicting": conflicting,
            "rewinds": rewinds,
            "heartbeats": self.heartbeats,
            "ends_of_session": self.ends,
            "heartbeat_intervals": times::json(&self.timing.heartbeats),
            "inter_arrival": times::json(&self.timing.distances),
            "largest_burst": {
                "packets": packets,
                "bytes": bytes,
                "receive_buffer_bytes": receive_buffer(truesize),
                "end_ns": end.0,
            },
            "packets_per_ms": {
                "count": per_ms.len(),
                "p50": per_ms.value_at_quantile(0.5),
                "p99": per_ms.value_at_quantile(0.99),
                "max": per_ms.max(),
            },
        })
    }
}

fn per_ms_in_words(per_ms: &Histogram<u64>) -> String {
    let [median, p99] = [0.5, 0.99].map(|quantile| thousands(per_ms.value_at_quantile(quantile)));
    format!("median {median}, p99 {p99}, most {}", thousands(per_ms.max()))
}

fn say_comparison(comparison: &ComparisonCounters, words: &mut Vec<String>) {
    let ComparisonCounters { compared, differing, differing_numbers, only: [only_a, only_b], neither, uncompared } =
        comparison;
    let numbers: Vec<_> = differing_numbers.iter().map(ToString::to_string).collect();
    let more = if numbers.len() as u64 == *differing { "" } else { ", …" };
    let numbers = if numbers.is_empty() { String::new() } else { format!(" ({}{more})", numbers.join(", ")) };
    words.push(format!(
        "  A and B: {} compared, {} with other bytes{numbers}, {} only on A, {} only on B, {} on neither, {} too far apart \
         to compare",
        count(*compared, "message"),
        thousands(*differing),
        thousands(*only_a),
        thousands(*only_b),
        thousands(*neither),
        thousands(*uncompared),
    ));
}

fn comparison_json(comparison: &ComparisonCounters) -> Value {
    json!({
        "compared": comparison.compared,
        "differing": comparison.differing,
        "differing_numbers": comparison.differing_numbers,
        "only_a": comparison.only[0],
        "only_b": comparison.only[1],
        "neither": comparison.neither,
        "uncompared": comparison.uncompared,
    })
}
