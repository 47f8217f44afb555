//! The whole life of the gaps that hold a number.

use super::answers;
use super::finding::Finding;
use super::gaps::{ago, life, lost, open, settled};
use super::host::{Host, Process};
use super::lines;
use crate::progress::{count, thousands};
use crate::subscribe::cause_name;
use crate::subscribe::health::gap_json;
use seqcast_protocol::SequenceRange;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// What became of a number at one subscriber.
pub(super) struct Life {
    process: u32,
    title: String,
    /// What happened, in order.
    words: Vec<String>,
    /// The causes of findings that say why.
    causes: Vec<&'static str>,
    json: Value,
}

impl Life {
    /// Whether a finding is a cause of it.
    pub(super) fn is_explained_by(&self, finding: &Finding) -> bool {
        finding.ids.contains(&self.process) && self.causes.contains(&finding.cause)
    }

    pub(super) fn in_words(&self) -> String {
        let mut words = format!("{}\n", self.title);
        for line in &self.words {
            // Writing to a string does not fail.
            let _ = writeln!(words, "  {line}");
        }
        words.push('\n');
        words
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "process": self.process,
            "what": self.title,
            "words": self.words,
            "causes": self.causes,
            "gap": self.json,
        })
    }
}

/// What became of `number` at every subscriber, or at those of a feed.
pub(super) fn of(host: &Host, number: u64, feed: Option<&str>) -> Vec<Life> {
    let is_wanted = |process: &&Process| {
        let is_session = |feed: &str| process.session().is_some_and(|session| session.to_string() == feed);
        feed.is_none_or(|feed| is_session(feed) || process.now.process.to_string() == feed)
    };
    host.subscribers().filter(is_wanted).flat_map(|process| at(host, process, number)).collect()
}

fn title(process: &Process, range: SequenceRange) -> String {
    let of = process.session().map_or_else(String::new, |session| format!(" of {session}"));
    format!("gap {range}{of} at {} ({})", process.name(), count(range.count(), "message"))
}

fn at(host: &Host, process: &Process, number: u64) -> Vec<Life> {
    let mut lives: Vec<_> = settled(process)
        .iter()
        .filter(|gap| gap.range.contains(number))
        .map(|gap| {
            let lost = gap.lost.map(|lost| answers::cause(host, process, lost));
            let slow = ["slow_output", "slow_handling"];
            let is_slow = matches!(lines::origin(gap), "kernel_overrun") || lost == Some("overwritten");
            let causes = [lines::origin(gap)].into_iter().chain(lost).chain(slow.into_iter().filter(|_| is_slow));
            Life {
                process: process.now.process,
                title: title(process, gap.range),
                words: life(process, gap),
                causes: causes.collect(),
                json: gap_json(gap),
            }
        })
        .collect();
    lives.extend(open(process).iter().filter(|gap| gap.range.contains(number)).map(|gap| Life {
        process: process.now.process,
        title: title(process, gap.range),
        words: vec![
            format!("opened {} ago, and still open", ago(process, gap.opened_at)),
            format!("{} sent so far", count(gap.requests, "request")),
        ],
        causes: vec![answers::cause(host, process, seqcast_recovery::LossCause::NoAnswer)],
        json: json!({ "first": gap.range.start(), "next": gap.range.end(), "requests": gap.requests }),
    }));
    let given_up = lost(process).into_iter().filter(|lost| lost.range.contains(number));
    for lost in given_up {
        let words = format!("{} lost {} ago: {}", lost.range, ago(process, lost.at), cause_name(lost.cause));
        match lives.last_mut() {
            Some(life) => life.words.push(words),
            // Not a gap to those who joined late.
            None => lives.push(Life {
                process: process.now.process,
                title: title(process, lost.range),
                words: vec![words],
                causes: vec![answers::cause(host, process, lost.cause)],
                json: json!({ "first": lost.range.start(), "next": lost.range.end(), "lost": cause_name(lost.cause) }),
            }),
        }
    }
    if lives.is_empty() {
        lives.push(unremembered(host, process, number));
    }
    lives
}

/// No gap is remembered that holds it.
fn unremembered(host: &Host, process: &Process, number: u64) -> Life {
    let next = process.value("next");
    let gaps = settled(process);
    let mut words = vec![if number < next {
        format!("it has been delivered or told lost: the next one is {}", thousands(next))
    } else {
        format!("it has not been delivered: the next one is {}", thousands(next))
    }];
    let all = process.value("gaps");
    words.push(match gaps.first() {
        Some(first) if all > gaps.len() as u64 => {
            format!(
                "of {}, the latest {} are remembered, from {} on",
                count(all, "gap"),
                gaps.len(),
                first.range.start()
            )
        }
        Some(_) => format!("{}, none of which holds it", count(all, "gap")),
        None => "no gaps".to_owned(),
    });
    let servers = process.session().map(|session| host.servers(session).collect::<Vec<_>>()).unwrap_or_default();
    words.extend(
        servers
            .iter()
            .map(|server| format!("{} retains {}..{}", server.name(), server.value("oldest"), server.value("next"))),
    );
    Life {
        process: process.now.process,
        title: format!("number {} at {}: no gap is remembered that holds it", thousands(number), process.name()),
        words,
        causes: Vec::new(),
        json: Value::Null,
    }
}
