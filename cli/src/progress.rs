//! One line about long work on a terminal, rewritten a few times a second; nothing at all elsewhere. It has no colours.

use seqcast_recovery::{ImpairmentCounters, Nanos};
use std::io::{IsTerminal, StderrLock, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// How often the line is rewritten.
const INTERVAL: Nanos = Nanos::from_millis(250);

/// The terminal cuts what does not fit, instead of going on in the next line (DEC private mode 7).
const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";

/// Whether the line stands on the terminal; changed only while standard error is locked.
static IS_SHOWN: AtomicBool = AtomicBool::new(false);

/// Standard error, without the line: it comes back when it is rewritten.
pub fn stderr() -> StderrLock<'static> {
    let mut stderr = std::io::stderr().lock();
    if IS_SHOWN.swap(false, Ordering::Relaxed) {
        // A terminal that is gone is no reason to stop.
        let _ = write!(stderr, "\r\x1b[K").and_then(|()| stderr.flush());
    }
    stderr
}

/// The line.
#[derive(Debug)]
pub struct Progress {
    unit: &'static str,
    is_shown: bool,
    due: Nanos,
    last: Option<(Nanos, u64)>,
}

impl Progress {
    /// Counts messages; shows something only if standard error is a terminal.
    #[must_use]
    pub fn new() -> Self {
        Self::of("messages")
    }

    /// As [`Self::new`], but counts something else, named in the plural.
    #[must_use]
    pub fn of(unit: &'static str) -> Self {
        Self { unit, is_shown: std::io::stderr().is_terminal(), due: Nanos::ZERO, last: None }
    }

    /// Rewrites the line when it is time to: `count` is the number of messages or other things so far, from which the rate follows;
    /// `words` says the rest.
    pub fn update(&mut self, now: Nanos, count: u64, words: impl FnOnce() -> String) {
        if !self.is_shown || now < self.due {
            return;
        }
        self.due = now + INTERVAL;
        let (since, before) = self.last.unwrap_or((now, count));
        self.last = Some((now, count));
        let elapsed = (now - since).as_duration().as_secs_f64();
        let rate = if elapsed > 0.0 { (count.saturating_sub(before)) as f64 / elapsed } else { 0.0 };
        write(&format!("{} {}/s, {}", thousands(rate as u64), self.unit, words()));
    }

    /// Says something until it is cleared.
    pub fn say(&mut self, words: impl FnOnce() -> String) {
        if self.is_shown {
            write(&words());
        }
    }

    /// Removes the line, when the work is done.
    pub fn clear(&mut self) {
        drop(stderr());
    }
}

/// Writes the line.
fn write(words: &str) {
    let mut stderr = stderr();
    let _ = write!(stderr, "{NO_WRAP}{words}{WRAP}").and_then(|()| stderr.flush());
    IS_SHOWN.store(true, Ordering::Relaxed);
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

/// A number with its thousands apart: `1,234,567`.
#[must_use]
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things, in the singular where it is one: `1 gap`, `1,234 gaps`.
#[must_use]
pub fn count(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{} {thing}s", thousands(number)) }
}

/// What was done to datagrams on purpose, without what was not: `12 dropped, 3 reordered`.
#[must_use]
pub fn impairment_in_words(counters: &ImpairmentCounters) -> String {
    let kinds = [
        (counters.dropped, "dropped"),
        (counters.duplicated, "duplicated"),
        (counters.reordered, "reordered"),
        (counters.delayed, "delayed"),
        (counters.early, "let through early because too many were held"),
    ];
    let words: Vec<_> = kinds
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, kind)| format!("{} {kind}", thousands(*count)))
        .collect();
    if words.is_empty() { "nothing happened".to_owned() } else { words.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_kept_apart() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_000), "1,000");
        assert_eq!(thousands(1_234_567), "1,234,567");
        let counters = ImpairmentCounters { dropped: 1_000, reordered: 2, ..ImpairmentCounters::default() };
        assert_eq!(impairment_in_words(&counters), "1,000 dropped, 2 reordered");
        assert_eq!((count(1, "gap"), count(2_000, "gap")), ("1 gap".to_owned(), "2,000 gaps".to_owned()));
    }
}
