//! `seqcast run`: every feed of a file, each in a process of its own.

use super::{CONFIG, Commands, FEED, Feed, load};
use crate::interrupt::Interrupt;
use crate::outcome::{Condition, Outcome};
use seqcast_recovery::Nanos;
use seqcast_transport::wait_readable;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

/// How often processes that have ended, and signals that came just before a wait, are seen.
const LONGEST_WAIT: Nanos = Nanos::from_millis(50);

/// Run every feed of a configuration, each as a command of its own
///
/// Each runs as seqcast COMMAND --config FILE --feed NAME would, with this one's standard input and
/// outputs. One that fails stops no other. Ctrl-C and TERM are passed on, and the feeds end with this
/// process, however it ends. The exit code is the first that holds for any of them.
///
/// Examples:
///   seqcast run day.toml
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Options {
    /// The configuration: see seqcast config --help
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Runs the subcommand; `root` is the whole command.
#[must_use]
pub fn run(options: &Options, root: &clap::Command) -> Outcome {
    match together(&options.file, &Commands::new(root.clone())) {
        Ok(outcome) | Err(outcome) => outcome,
    }
}

fn together(file: &Path, commands: &Commands) -> Result<Outcome, Outcome> {
    let feeds = load(commands, file)?;
    for feed in &feeds {
        let needs = commands.needs(feed);
        if !needs.is_empty() {
            let words = format!("{}: {feed} needs {}", file.display(), needs.join(", "));
            return Err(Condition::Settings(words).into());
        }
    }
    let interrupt = Interrupt::new().map_err(|error| Outcome::failed(&error))?;
    let (mut running, mut outcome) = (Vec::new(), Outcome::default());
    for feed in &feeds {
        match start(file, feed) {
            Ok(child) => running.push((feed, child)),
            Err(error) => outcome.add(Condition::Failed(format!("{feed}: cannot be started: {error}"))),
        }
    }
    let mut passed_on = 0;
    while !running.is_empty() {
        while passed_on < interrupt.count() {
            passed_on += 1;
            running.iter().for_each(|(_, child)| terminate(child));
        }
        running.retain_mut(|(feed, child)| match child.try_wait() {
            Ok(None) => true,
            Ok(Some(status)) => {
                judge(feed, status).into_iter().for_each(|condition| outcome.add(condition));
                false
            }
            Err(error) => {
                outcome.add(Condition::Failed(format!("{feed}: {error}")));
                false
            }
        });
        wait_readable(&[], Some(LONGEST_WAIT)).map_err(|error| Outcome::failed(&error))?;
    }
    Ok(outcome)
}

/// What its end means for all.
fn judge(feed: &Feed, status: ExitStatus) -> Option<Condition> {
    let words = match (status.code(), status.signal()) {
        (Some(code), _) => format!("{feed} ended with exit code {code}"),
        (None, signal) => format!("{feed} was killed by signal {}", signal.unwrap_or_default()),
    };
    match status.code() {
        Some(0) => None,
        Some(2) => Some(Condition::Settings(words)),
        Some(3) => Some(Condition::Incomplete(words)),
        Some(4) => Some(Condition::Unheard(words)),
        _ => Some(Condition::Failed(words)),
    }
}

/// Starts a feed in a process group of its own, so that a Ctrl-C of the terminal comes once, from here.
#[expect(unsafe_code, reason = "to be told of the parent's end takes a call between fork and exec")]
fn start(file: &Path, feed: &Feed) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(&feed.command).arg(format!("--{CONFIG}")).arg(file).args([format!("--{FEED}"), feed.name.clone()]);
    let end_with_parent = || {
        // SAFETY: prctl with these arguments takes plain numbers, and is async-signal-safe.
        match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes one system call, and touches no memory but errno.
    unsafe { command.process_group(0).pre_exec(end_with_parent) }.spawn()
}

#[expect(unsafe_code, reason = "the standard library only kills")]
fn terminate(child: &Child) {
    // SAFETY: kill takes plain numbers, and the process is a child that has not been waited for. It may have ended, which is
    // no failure.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGTERM) };
}
