//! What is set before a publisher's file is made, and what the publisher has of it.

use seqcast_stats::{Cell, Description, Histogram, StatsFile, Unit};
use std::path::PathBuf;

/// Where the file is made, and what is in it of the application's own, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct StatsSettings {
    pub(crate) directory: Option<PathBuf>,
    pub(crate) facts: Vec<(String, String)>,
    pub(crate) counters: Vec<(String, Unit)>,
    pub(crate) histograms: Vec<(String, Unit)>,
}

impl StatsSettings {
    /// Adds the application's own numbers to a description; to be called with the file that is made of it.
    pub(super) fn describe_own(&self, description: &mut Description) -> impl FnOnce(StatsFile) -> Kept + use<> {
        let counters = self.counters.iter();
        let counters: Vec<_> =
            counters.map(|(name, unit)| (name.clone(), description.counter(name, unit, &[]))).collect();
        let histograms = self.histograms.iter();
        let histograms: Vec<_> =
            histograms.map(|(name, unit)| (name.clone(), description.histogram(name, unit, &[]))).collect();
        |file| Kept {
            counters: counters.into_iter().map(|(name, described)| (name, file.cell(described))).collect(),
            histograms: histograms.into_iter().map(|(name, described)| (name, file.histogram(described))).collect(),
            _file: file,
        }
    }
}

/// The file, which is there for as long as this, and the words of the application's own in it.
#[derive(Debug)]
pub(crate) struct Kept {
    counters: Vec<(String, Cell)>,
    histograms: Vec<(String, Histogram)>,
    _file: StatsFile,
}

impl Kept {
    pub(crate) fn cell(&self, name: &str) -> Option<Cell> {
        find(&self.counters, name)
    }

    pub(crate) fn histogram(&self, name: &str) -> Option<Histogram> {
        find(&self.histograms, name)
    }
}

fn find<T: Clone>(own: &[(String, T)], name: &str) -> Option<T> {
    own.iter().find(|(known, _)| known == name).map(|(_, words)| words.clone())
}
