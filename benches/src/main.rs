//! The measuring harness of seqcast.

mod environment;
mod pace;
mod rig;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Measure seqcast on this machine, over multicast on loopback
///
/// Every figure comes from a run in which every message was checked; a run with a violation gives none. Run nothing
/// beside it: two threads fill two cores.
#[derive(Debug, Parser)]
#[command(name = "seqcast-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Pace(pace::Options),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Pace(options) => pace::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The exit code says the same if nobody reads this.
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("FAIL: {error}\n"));
            ExitCode::FAILURE
        }
    }
}
