//! `--stats`: where a process keeps its counters for others to see.

use seqcast_stats::DEFAULT_DIRECTORY;
use std::path::{Path, PathBuf};

/// The option of every subcommand that keeps counters.
#[derive(Debug, clap::Args)]
pub struct StatsOption {
    /// Keep counters in a file in this directory, for others on this host to see, or none. The file goes with the process
    #[arg(long, value_name = "DIR|none", default_value = DEFAULT_DIRECTORY)]
    stats: PathBuf,
}

impl StatsOption {
    /// The directory, if counters are kept.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        (self.stats.as_os_str() != "none").then_some(&self.stats)
    }
}
