//! `seqcast config`, and `--config` of the commands whose options can stand in a file.
//!
//! A file is TOML, with a table for each feed: `[publish.NAME]`, `[subscribe.NAME]`, `[retransmit.NAME]`. Its keys are the
//! long options of the command, its values strings as on the command line, or whole numbers, `true` and `false`, and lists for
//! options that may be repeated. Options that only the command knows may stand in a table `[publish.NAME.command]`, which the
//! library skips when a program reads the same feed.

mod arguments;
mod commands;
mod file;
mod together;

use crate::outcome::{Condition, Outcome, chain};
pub use arguments::complete;
use clap::{Arg, ArgMatches, Args, FromArgMatches, Id};
pub use commands::{Commands, options};
pub use file::{Feed, MOST_FEEDS, Problem};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::Deref;
use std::path::{Path, PathBuf};
pub use together::{Options as RunOptions, run as run_together};

/// The option that names a file.
const CONFIG: &str = "config";

/// The option that names a feed in it.
const FEED: &str = "feed";

/// The options of a command that can stand in a file, too: with `--config` and `--feed`, which [`complete`] reads.
#[derive(Clone, Debug)]
pub struct Configured<O>(O);

impl<O> Deref for Configured<O> {
    type Target = O;

    fn deref(&self) -> &O {
        &self.0
    }
}

fn own_options() -> [Arg; 2] {
    let path = clap::value_parser!(OsString);
    [
        Arg::new(CONFIG)
            .long(CONFIG)
            .value_name("FILE")
            .value_parser(path.clone())
            .help("Take the options that are not given from this file: see seqcast config --help"),
        Arg::new(FEED)
            .long(FEED)
            .value_name("NAME")
            .value_parser(path)
            .requires(CONFIG)
            .help("Which feed of the file; needed if there are several for this command"),
    ]
}

impl<O: Args> Args for Configured<O> {
    fn group_id() -> Option<Id> {
        O::group_id()
    }

    fn augment_args(command: clap::Command) -> clap::Command {
        O::augment_args(command).args(own_options())
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        O::augment_args_for_update(command).args(own_options())
    }
}

impl<O: FromArgMatches> FromArgMatches for Configured<O> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        O::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

/// Check and show configurations: the options of publish, subscribe and retransmit in a file
///
/// A file is TOML, with a table for each feed. Keys are the long options of the command; values are
/// strings as on the command line, whole numbers, true or false, or lists where an option may be
/// repeated. What is given on the command line wins.
///
///   [publish.equities]
///   input = "equities.pcap.gz"
///   pace = "recorded*10"
///   line-a = "239.1.1.1:30001@eth1"
///   requests = "10.1.0.5:30100"
///
///   [subscribe.equities]
///   line-a = "239.1.1.1:30001@eth1"
///   recover-from = ["10.1.0.5:30100", "10.1.0.6:30100"]
///   until-end = true
///
/// Examples:
///   seqcast config check day.toml
///   seqcast publish --config day.toml --feed equities --pace max
///   seqcast run day.toml
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Say what is wrong with a file, each problem with its line, key, and the allowed values
    ///
    /// Examples:
    ///   seqcast config check day.toml
    #[command(verbatim_doc_comment)]
    Check {
        /// The configuration
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Print the effective values of its feeds, with the defaults, as a configuration
    ///
    /// Examples:
    ///   seqcast config show day.toml
    ///   seqcast config show day.toml --feed equities
    #[command(verbatim_doc_comment)]
    Show {
        /// The configuration
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Only the feeds with this name
        #[arg(long, value_name = "NAME")]
        feed: Option<String>,
    },
}

/// Runs the subcommand; `root` is the whole command.
#[must_use]
pub fn run(options: &Options, root: &clap::Command) -> Outcome {
    let commands = Commands::new(root.clone());
    let text = match &options.command {
        Command::Check { file } => check(&commands, file),
        Command::Show { file, feed } => show(&commands, file, feed.as_deref()),
    };
    match text {
        Ok(text) => match write!(std::io::stdout().lock(), "{text}") {
            Ok(()) => Outcome::default(),
            Err(error) => Outcome::failed(&error),
        },
        Err(outcome) => outcome,
    }
}

fn check(commands: &Commands, file: &Path) -> Result<String, Outcome> {
    let feeds = load(commands, file)?;
    let names: Vec<_> = feeds.iter().map(Feed::to_string).collect();
    let mut text = format!("{}: ok: {}\n", file.display(), names.join(", "));
    for feed in &feeds {
        let needs = commands.needs(feed);
        if !needs.is_empty() {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{feed} needs, on the command line: {}", needs.join(", "));
        }
    }
    Ok(text)
}

fn show(commands: &Commands, file: &Path, name: Option<&str>) -> Result<String, Outcome> {
    let feeds = load(commands, file)?;
    let shown: Vec<_> = feeds.iter().filter(|feed| name.is_none_or(|name| feed.name == name)).collect();
    if shown.is_empty() {
        let names: Vec<_> = feeds.iter().map(Feed::to_string).collect();
        let words = format!("{}: no such feed; there are {}", file.display(), names.join(", "));
        return Err(Condition::Settings(words).into());
    }
    Ok(shown.into_iter().map(|feed| commands.show(feed)).collect::<Vec<_>>().join("\n"))
}

/// The feeds of a file, at least one.
fn load(commands: &Commands, path: &Path) -> Result<Vec<Feed>, Outcome> {
    let name = path.display();
    let bytes = file::read(path).map_err(|error| Condition::Settings(format!("{name}: {}", chain(&error))))?;
    let words = match commands.read(&bytes) {
        Ok(feeds) if feeds.is_empty() => format!("{name}: no feeds"),
        Ok(feeds) => return Ok(feeds),
        Err(problems) => {
            let problems: Vec<_> = problems.iter().map(|problem| format!("\n{name}:{problem}")).collect();
            format!("{name} cannot be used:{}", problems.concat())
        }
    };
    Err(Condition::Settings(words).into())
}
