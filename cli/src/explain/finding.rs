//! What is said of a process: how bad it is, what happened, why, what shows it, and what to change.

use super::host::Process;
use crate::doctor::finding::Level;
use seqcast_protocol::SessionId;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// One thing that happened to a process, or that nothing did.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// The cause as one stable word.
    pub(super) cause: &'static str,
    /// Whom it is about: `subscriber 4712`.
    pub(super) process: String,
    pub(super) session: Option<SessionId>,
    /// The processes that it happened to, and those that it is read from.
    pub(super) ids: Vec<u32>,
    pub(super) what: String,
    pub(super) why: String,
    /// The numbers that show it.
    pub(super) evidence: Vec<String>,
    /// Commands and options that mend it.
    pub(super) mend: Vec<String>,
}

impl Finding {
    pub(super) fn new(level: Level, cause: &'static str, process: &Process, what: impl Into<String>) -> Self {
        Self {
            level,
            cause,
            process: process.name(),
            session: process.session(),
            ids: vec![process.now.process],
            what: what.into(),
            why: String::new(),
            evidence: Vec::new(),
            mend: Vec::new(),
        }
    }

    pub(super) fn why(self, why: impl Into<String>) -> Self {
        Self { why: why.into(), ..self }
    }

    pub(super) fn evidence(mut self, evidence: impl IntoIterator<Item = String>) -> Self {
        self.evidence.extend(evidence);
        self
    }

    pub(super) fn mend(mut self, mend: impl IntoIterator<Item = String>) -> Self {
        self.mend.extend(mend);
        self
    }

    /// It is about these processes, too.
    pub(super) fn with(mut self, others: impl IntoIterator<Item = u32>) -> Self {
        self.ids.extend(others);
        self
    }

    /// Whether it is about this session, or a process with this id.
    pub(super) fn is_about(&self, feed: &str) -> bool {
        let is_session = self.session.is_some_and(|session| session.to_string() == feed);
        is_session || self.ids.iter().any(|id| id.to_string() == feed)
    }
}

/// Everything that was found, to be read.
pub(super) fn in_words(findings: &[Finding]) -> String {
    /// The column behind the longest level.
    const LEVEL: usize = 9;
    let mut words = String::new();
    for Finding { level, process, session, what, why, evidence, mend, .. } in findings {
        let of = session.map_or_else(String::new, |session| format!(" of {session}"));
        // Writing to a string does not fail.
        let _ = writeln!(words, "{:LEVEL$}{process}{of}: {what}", level.name());
        if !why.is_empty() {
            let _ = writeln!(words, "{:LEVEL$}{why}", "");
        }
        for evidence in evidence {
            let _ = writeln!(words, "{:LEVEL$}- {evidence}", "");
        }
        for mend in mend {
            let _ = writeln!(words, "{:LEVEL$}do: {mend}", "");
        }
    }
    words
}

/// Everything that was found, as a list of objects.
pub(super) fn json(findings: &[Finding]) -> Value {
    let one = |finding: &Finding| {
        json!({
            "level": finding.level.name(),
            "cause": finding.cause,
            "process": finding.process,
            "session": finding.session.map(|session| session.to_string()),
            "ids": finding.ids,
            "what": finding.what,
            "why": finding.why,
            "evidence": finding.evidence,
            "mend": finding.mend,
        })
    };
    findings.iter().map(one).collect()
}
