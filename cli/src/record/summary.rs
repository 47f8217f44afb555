//! What was recorded, in words and as JSON.

use super::Heard;
use super::recorder::Recorded;
use crate::live::LiveLine;
use crate::log::Words;
use crate::outcome::{Condition, Outcome};
use crate::progress::{count, thousands};
use seqcast_recovery::Nanos;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;

/// What was recorded.
pub(super) struct Summary<'a> {
    /// The lines, as they were written.
    pub(super) names: &'a [String],
    pub(super) heard: &'a Heard,
    pub(super) recorded: Recorded,
    pub(super) elapsed: Nanos,
}

impl Summary<'_> {
    /// How many datagrams the kernel has dropped.
    fn kernel_drops(&self) -> u64 {
        match self.heard {
            Heard::Lines(lines) => lines.iter().map(LiveLine::kernel_drops).sum(),
            Heard::Subscriber(subscriber) => subscriber.counters().kernel_drops,
        }
    }

    /// What holds at the end.
    pub(super) fn judge(&self, output: &Path) -> Outcome {
        let Recorded { failure, unwritten, .. } = &self.recorded;
        let mut outcome = failure.as_ref().map_or_else(Outcome::default, |error| Outcome::unwritable(output, error));
        let mut incomplete = |number: u64, thing: &str, what: &str| {
            if number > 0 {
                outcome.add(Condition::Incomplete(format!("{} {what}", count(number, thing))));
            }
        };
        incomplete(*unwritten, "packet", "not recorded: the disk did not take them");
        match self.heard {
            Heard::Lines(_) => incomplete(self.kernel_drops(), "datagram", "not recorded: dropped by the kernel"),
            Heard::Subscriber(subscriber) => {
                incomplete(subscriber.counters().subscription.lost, "message", "lost");
                incomplete(subscriber.subscription().open_gaps() as u64, "gap", "open at the end");
            }
        }
        outcome
    }

    pub(super) fn print(&self) {
        let mut stderr = Words::default();
        let Recorded { files, datagrams, bytes, unwritten, .. } = &self.recorded;
        let names_of_files = match files.count {
            1 => files.first.display().to_string(),
            number => format!("{} to {}, {}", files.first.display(), files.last.display(), count(number, "file")),
        };
        // There is nobody to tell when standard error is gone.
        let _ = writeln!(
            stderr,
            "{} recorded in {:.3} s ({} of payload) in {names_of_files} ({}), {} left out",
            count(*datagrams, "packet"),
            self.elapsed.as_duration().as_secs_f64(),
            count(*bytes, "byte"),
            count(files.bytes, "byte"),
            thousands(*unwritten),
        );
        match self.heard {
            Heard::Lines(lines) => {
                for (name, line) in self.names.iter().zip(lines) {
                    let counters = line.counters();
                    let _ = writeln!(
                        stderr,
                        "{name}: {}, {} dropped by the kernel, {} from another source, {} without the kernel's time, {}",
                        count(counters.datagrams, "datagram"),
                        thousands(line.kernel_drops()),
                        thousands(counters.other_sources),
                        thousands(counters.unstamped),
                        count(counters.errors, "error"),
                    );
                }
            }
            Heard::Subscriber(subscriber) => {
                let counters = subscriber.counters().subscription;
                let _ = writeln!(
                    stderr,
                    "session {}: {}, {}, {} recovered by {}, {} lost",
                    subscriber.session().map_or_else(|| "none heard".to_owned(), |session| session.to_string()),
                    count(counters.messages, "message"),
                    count(counters.gaps, "gap"),
                    thousands(counters.recovered),
                    count(counters.requests, "request"),
                    thousands(counters.lost),
                );
            }
        }
    }

    pub(super) fn json(&self, exit_code: u8) -> Value {
        let Recorded { files, datagrams, bytes, unwritten, .. } = &self.recorded;
        let mut object = json!({
            "packets": datagrams,
            "bytes": bytes,
            "unwritten": unwritten,
            "kernel_drops": self.kernel_drops(),
            "first_file": files.first.display().to_string(),
            "last_file": files.last.display().to_string(),
            "file_count": files.count,
            "file_bytes": files.bytes,
            "elapsed_s": self.elapsed.as_duration().as_secs_f64(),
            "exit_code": exit_code,
        });
        match self.heard {
            Heard::Lines(lines) => {
                let line = |(name, line): (&String, &LiveLine)| {
                    let counters = line.counters();
                    json!({
                        "line": name,
                        "datagrams": counters.datagrams,
                        "kernel_drops": line.kernel_drops(),
                        "other_sources": counters.other_sources,
                        "unstamped": counters.unstamped,
                        "errors": counters.errors,
                    })
                };
                object["lines"] = self.names.iter().zip(lines).map(line).collect();
            }
            Heard::Subscriber(subscriber) => {
                let counters = subscriber.counters().subscription;
                object["session"] = json!(subscriber.session().map(|session| session.to_string()));
                object["messages"] = json!(counters.messages);
                object["gaps"] = json!(counters.gaps);
                object["recovered"] = json!(counters.recovered);
                object["lost"] = json!(counters.lost);
            }
        }
        object
    }
}
