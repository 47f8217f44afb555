//! What was found: how bad it is, why it matters, and the command that mends it.

use crate::outcome::{Condition, Outcome};
use crate::progress::count;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// How bad a finding is, what is best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// It could not be seen: a file that this kernel lacks, a permission.
    Unseen,
    /// Could be better, or is good to know.
    Note,
    /// Costs messages or time under load.
    Warning,
    /// Does not work like this.
    Problem,
}

impl Level {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unseen => "unseen",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// What was looked at, in a word or two.
    pub(super) subject: &'static str,
    pub(super) what: String,
    /// Why it matters.
    pub(super) why: String,
    /// The command that mends it, or that shows what could not be seen.
    pub(super) mend: Option<String>,
}

impl Finding {
    pub(super) fn ok(subject: &'static str, what: impl Into<String>) -> Self {
        Self { level: Level::Ok, subject, what: what.into(), why: String::new(), mend: None }
    }

    pub(super) fn unseen(subject: &'static str, what: impl Into<String>) -> Self {
        Self { level: Level::Unseen, ..Self::ok(subject, what) }
    }

    pub(super) fn new(level: Level, subject: &'static str, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { level, why: why.into(), ..Self::ok(subject, what) }
    }

    pub(super) fn mend(self, command: impl Into<String>) -> Self {
        Self { mend: Some(command.into()), ..self }
    }
}

/// Findings about one thing: the host, an interface, a line.
#[derive(Clone, Debug)]
pub(super) struct Section {
    pub(super) title: String,
    pub(super) findings: Vec<Finding>,
}

/// Everything that was found, to be read.
pub(super) fn in_words(sections: &[Section]) -> String {
    /// The column of what was found, behind the longest level and the longest subject.
    const LEVEL: usize = 8;
    const SUBJECT: usize = 20;
    let mut words = String::new();
    for Section { title, findings } in sections {
        // Writing to a string does not fail.
        let _ = writeln!(words, "{title}");
        for Finding { level, subject, what, why, mend } in findings {
            let _ = writeln!(words, "  {:LEVEL$} {subject:SUBJECT$} {what}", level.name());
            let indent = LEVEL + SUBJECT + 4;
            if !why.is_empty() {
                let _ = writeln!(words, "{:indent$}{why}", "");
            }
            if let Some(mend) = mend {
                let _ = writeln!(words, "{:indent$}$ {mend}", "");
            }
        }
    }
    words
}

/// Everything that was found, as a list of objects.
pub(super) fn json(sections: &[Section]) -> Value {
    let of = |section: &Section| {
        let title = section.title.clone();
        let one = move |finding: Finding| {
            json!({
                "about": title,
                "subject": finding.subject,
                "level": finding.level.name(),
                "what": finding.what,
                "why": finding.why,
                "mend": finding.mend,
            })
        };
        section.findings.clone().into_iter().map(one)
    };
    sections.iter().flat_map(of).collect()
}

/// The outcome of the worst that was found: problems have failed, warnings were found as by a check.
pub(crate) fn judge(levels: &[Level]) -> Outcome {
    let number = |level| levels.iter().filter(|found| **found == level).count() as u64;
    let mut outcome = Outcome::default();
    let (problems, warnings) = (number(Level::Problem), number(Level::Warning));
    if problems > 0 {
        outcome.add(Condition::Failed(count(problems, "problem")));
    }
    if warnings > 0 {
        outcome.add(Condition::Incomplete(count(warnings, "warning")));
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(levels: &[Level]) -> [Section; 1] {
        let finding = |&level| Finding::new(level, "clock source", "hpet", "it is slow").mend("mend it");
        [Section { title: "host".to_owned(), findings: levels.iter().map(finding).collect() }]
    }

    #[test]
    fn the_worst_decides_the_exit_code() {
        assert_eq!(judge(&[Level::Ok, Level::Unseen, Level::Note]).code(), 0);
        assert_eq!(judge(&[Level::Note, Level::Warning]).code(), 3);
        assert_eq!(judge(&[Level::Warning, Level::Problem, Level::Ok]).code(), 1);
    }

    #[test]
    fn findings_are_told_in_words_and_as_json() {
        let words = in_words(&section(&[Level::Warning]));
        let lines: Vec<_> = words.lines().map(str::trim).collect();
        assert_eq!(lines, ["host", "warning  clock source         hpet", "it is slow", "$ mend it"]);
        let found = json(&section(&[Level::Unseen]));
        assert_eq!((&found[0]["level"], &found[0]["mend"]), (&json!("unseen"), &json!("mend it")));
    }
}
