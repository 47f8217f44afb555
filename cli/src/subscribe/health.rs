//! How the lines and the recovery are doing, in words and as JSON.

use super::summary::cause_name;
use crate::progress::{count, thousands};
use crate::times::{self, distribution};
use seqcast_subscriber::{GapOrigin, GapRecord, Line, Source, Subscriber};
use serde_json::{Value, json};

/// How many of the latest gaps are told in words. Arbitrary.
const GAPS_IN_WORDS: usize = 5;

/// Where a packet came from.
pub(crate) fn source_in_words(source: Source) -> String {
    match source {
        Source::Line(line) => format!("line {line:?}"),
        Source::RequestTarget(_) => "an answer".to_owned(),
    }
}

/// The lines of the summary.
pub(super) fn in_words(subscriber: &Subscriber) -> Vec<String> {
    let mut words = Vec::new();
    let (subscription, histograms) = (subscriber.subscription(), subscriber.histograms());
    if !histograms.recovery.is_empty() {
        words.push(format!("recovery took {}", distribution(&histograms.recovery)));
    }
    let lines = subscription.counters().lines;
    // A line alone is the summary itself.
    if lines.iter().all(|line| line.packets > 0) {
        for line in Line::ALL {
            let (counters, lead) = (lines[line.index()], &histograms.leads[line.index()]);
            let behind = match subscription.line_behind(line) {
                0 => String::new(),
                behind => format!(", {} behind at the end", count(behind, "message")),
            };
            words.push(format!(
                "line {line:?}: {}, first with {} (ahead by: {}), {} lost on it{behind}",
                count(counters.packets, "packet"),
                count(counters.first, "message"),
                distribution(lead),
                count(counters.missed - counters.late, "message"),
            ));
        }
    }
    if subscription.counters().differing > 0 {
        words.push(format!("{} whose copies differ", count(subscription.counters().differing, "message")));
    }
    let records = subscription.records();
    if records.len() > 0 {
        let shown = records.len().min(GAPS_IN_WORDS);
        words.push(format!("the latest {}, newest first:", count(shown as u64, "gap")));
        words.extend(records.rev().take(shown).map(gap_in_words));
    }
    words
}

/// `  1204..1219, found on line A: 15 messages from answers to 1 request sent after 0 ns, recovered after 41.2 µs`
pub(crate) fn gap_in_words(record: &GapRecord) -> String {
    let origin = match record.origin {
        GapOrigin::KernelDrop(dropped) => format!("{} dropped by the kernel, ", count(u64::from(dropped), "datagram")),
        GapOrigin::Deferred => "no room in the reorder window, ".to_owned(),
        GapOrigin::Unknown | GapOrigin::LateJoin => String::new(),
    };
    let mut filled = Vec::new();
    for line in Line::ALL {
        let by_line = record.by_lines[line.index()];
        if by_line > 0 {
            filled.push(format!("{} from line {line:?}", thousands(by_line)));
        }
    }
    match (record.asked_after, record.by_answers) {
        (Some(after), by_answers) => filled.push(format!(
            "{} from answers to {} (the first after {})",
            thousands(by_answers),
            count(u64::from(record.requests), "request"),
            times::in_words(after)
        )),
        // Answers to requests for other gaps, such as a foreign server gives.
        (None, by_answers) if by_answers > 0 => filled.push(format!("{} from answers", thousands(by_answers))),
        (None, _) => filled.push("nothing asked for".to_owned()),
    }
    let outcome = match record.lost {
        None => "recovered".to_owned(),
        Some(cause) => format!("lost, {}", cause_name(cause)),
    };
    format!(
        "  {} ({}), {origin}shown by {}: {}; {outcome} after {}",
        record.range,
        count(record.range.count(), "message"),
        source_in_words(record.opened_by),
        filled.join(", "),
        times::in_words(record.elapsed),
    )
}

/// One line, for `lines`.
pub(super) fn line(subscriber: &Subscriber, line: Line) -> Value {
    let counters = subscriber.subscription().counters().lines[line.index()];
    json!({
        "packets": counters.packets,
        "bytes": counters.bytes,
        "first": counters.first,
        "lost": counters.missed - counters.late,
        "late": counters.late,
        "behind": subscriber.subscription().line_behind(line),
        "lead": times::json(&subscriber.histograms().leads[line.index()]),
    })
}

/// The latest gaps, the oldest first.
pub(super) fn gap_log(subscriber: &Subscriber) -> Vec<Value> {
    subscriber.subscription().records().map(gap_json).collect()
}

/// The life of a gap.
pub(crate) fn gap_json(record: &GapRecord) -> Value {
    let opened_by = match record.opened_by {
        Source::Line(Line::A) => "line_a",
        Source::Line(Line::B) => "line_b",
        Source::RequestTarget(_) => "answer",
    };
    let origin = match record.origin {
        GapOrigin::Unknown => "unknown",
        GapOrigin::KernelDrop(_) => "kernel_drop",
        GapOrigin::LateJoin => "late_join",
        GapOrigin::Deferred => "deferred",
    };
    json!({
        "session": record.session.to_string(),
        "first": record.range.start(),
        "next": record.range.end(),
        "origin": origin,
        "opened_by": opened_by,
        "asked_after_ns": record.asked_after.map(|after| after.0),
        "requests": record.requests,
        "by_line_a": record.by_lines[Line::A.index()],
        "by_line_b": record.by_lines[Line::B.index()],
        "by_answers": record.by_answers,
        "lost": record.lost.map(cause_name),
        "elapsed_ns": record.elapsed.0,
    })
}
