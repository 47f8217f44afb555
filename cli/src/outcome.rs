//! How a command ended: what held, in words, and the exit code of the first that did.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

/// What can hold at the end of a command, in the order in which they decide the exit code.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// A setting cannot be had: exit code 2, as wrong usage.
    Settings(String),
    /// Something else failed: exit code 1.
    Failed(String),
    /// Nobody was heard for `--silent-after`: exit code 4.
    Unheard(String),
    /// Messages were lost, a gap was open, or the numbers began again and were not followed: exit code 3.
    Incomplete(String),
}

impl Condition {
    /// The exit code.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Settings(_) => 2,
            Self::Failed(_) => 1,
            Self::Unheard(_) => 4,
            Self::Incomplete(_) => 3,
        }
    }

    /// What happened, and what to do about it.
    #[must_use]
    pub fn text(&self) -> &str {
        let (Self::Settings(text) | Self::Failed(text) | Self::Unheard(text) | Self::Incomplete(text)) = self;
        text
    }
}

/// How a command ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    conditions: Vec<Condition>,
}

impl Outcome {
    /// A setting cannot be had.
    #[must_use]
    pub fn settings(error: &dyn Error) -> Self {
        Condition::Settings(chain(error)).into()
    }

    /// The setting of this option cannot be had.
    #[must_use]
    pub fn option(option: &str, error: &dyn Error) -> Self {
        Condition::Settings(format!("{option}: {}", chain(error))).into()
    }

    /// What this option names failed.
    #[must_use]
    pub fn option_failed(option: &str, error: &dyn Error) -> Self {
        Condition::Failed(format!("{option}: {}", chain(error))).into()
    }

    /// Something failed.
    #[must_use]
    pub fn failed(error: &dyn Error) -> Self {
        Condition::Failed(chain(error)).into()
    }

    /// The file of `--output` cannot be created or written.
    #[must_use]
    pub fn unwritable(path: &Path, error: &dyn Error) -> Self {
        Condition::Failed(format!("--output {}: {}", path.display(), chain(error))).into()
    }

    /// Adds something that holds.
    pub fn add(&mut self, condition: Condition) {
        self.conditions.push(condition);
        self.conditions.sort();
    }

    /// Everything that holds, what decides first.
    #[must_use]
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// The exit code of what decides; 0 when nothing holds.
    #[must_use]
    pub fn code(&self) -> u8 {
        self.conditions.first().map_or(0, Condition::code)
    }

    /// Logs what holds, and returns the exit code.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        for condition in &self.conditions {
            tracing::error!("{}", condition.text());
        }
        ExitCode::from(self.code())
    }
}

impl From<Condition> for Outcome {
    fn from(condition: Condition) -> Self {
        Self { conditions: vec![condition] }
    }
}

/// An error with its sources, each once.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let words = error.to_string();
        if !text.ends_with(&words) {
            // Writing to a string does not fail.
            let _ = write!(text, ": {words}");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_holds_decides_and_all_are_named() {
        let mut outcome = Outcome::default();
        assert_eq!(outcome.code(), 0);
        outcome.add(Condition::Incomplete("lost".to_owned()));
        assert_eq!(outcome.code(), 3);
        outcome.add(Condition::Unheard("silent".to_owned()));
        assert_eq!(outcome.code(), 4);
        outcome.add(Condition::Failed("full".to_owned()));
        assert_eq!(outcome.code(), 1);
        outcome.add(Condition::Settings("wrong".to_owned()));
        assert_eq!(outcome.code(), 2);
        let texts: Vec<_> = outcome.conditions().iter().map(Condition::text).collect();
        assert_eq!(texts, ["wrong", "full", "silent", "lost"]);
    }
}
