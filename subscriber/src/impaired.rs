//! An impairment, and what it is put on, as text.

use seqcast_recovery::{ImpairmentConfig, ImpairmentError, Line};
use std::error::Error;
use std::fmt;
use std::str::FromStr;

/// What an impairment is put on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImpairedPath {
    /// Every datagram.
    #[default]
    All,
    /// Those of one line.
    Line(Line),
    /// The answers to requests.
    Answers,
}

/// An impairment of a path: `[a:|b:|answers:]IMPAIRMENT`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PathImpairment {
    /// What it is put on.
    pub path: ImpairedPath,
    /// What happens there.
    pub impairment: ImpairmentConfig,
}

impl FromStr for PathImpairment {
    type Err = PathImpairmentError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (path, impairment) = match text.split_once(':') {
            None => (ImpairedPath::All, text),
            Some(("a", impairment)) => (ImpairedPath::Line(Line::A), impairment),
            Some(("b", impairment)) => (ImpairedPath::Line(Line::B), impairment),
            Some(("answers", impairment)) => (ImpairedPath::Answers, impairment),
            Some((path, _)) => return Err(PathImpairmentError::Path { path: path.to_owned() }),
        };
        Ok(Self { path, impairment: impairment.parse().map_err(PathImpairmentError::Impairment)? })
    }
}

/// Written as it is read.
impl fmt::Display for PathImpairment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.path {
            ImpairedPath::All => "",
            ImpairedPath::Line(Line::A) => "a:",
            ImpairedPath::Line(Line::B) => "b:",
            ImpairedPath::Answers => "answers:",
        })?;
        self.impairment.fmt(f)
    }
}

/// Why text is no impairment of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathImpairmentError {
    /// There is no such path.
    Path {
        /// What stands in front of the colon.
        path: String,
    },
    /// What should happen there is not known.
    Impairment(ImpairmentError),
}

impl fmt::Display for PathImpairmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path { path } => write!(f, "'{path}' is not a, b or answers"),
            Self::Impairment(error) => error.fmt(f),
        }
    }
}

impl Error for PathImpairmentError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impairment_names_its_path_or_is_on_all() {
        for (text, path) in [
            ("loss=2%", ImpairedPath::All),
            ("a:loss=2%", ImpairedPath::Line(Line::A)),
            ("b:loss=2%", ImpairedPath::Line(Line::B)),
            ("answers:loss=2%", ImpairedPath::Answers),
        ] {
            let read: PathImpairment = text.parse().unwrap();
            assert_eq!((read.path, read.impairment.loss, read.to_string().as_str()), (path, 0.02, text));
        }
        for (text, words) in [("c:loss=2%", "'c' is not a, b or answers"), ("a:", "'' is not an impairment")] {
            let error = text.parse::<PathImpairment>().unwrap_err().to_string();
            assert!(error.starts_with(words), "{error}");
        }
    }
}
