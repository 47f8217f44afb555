//! The measuring harness of seqcast.
//!
//! A library, so that systems which need more to build than Rust can be measured beside it: implement [`system::System`], and
//! hand it to [`run`].

mod bare;
mod chart;
mod crowd;
mod elsewhere;
mod fan_out;
mod feed;
mod figures;
mod floor;
mod hiccup;
mod interference;
mod last;
mod late_join;
mod latency;
mod listener;
mod machine;
mod messages;
mod page;
mod plots;
mod reception;
mod recovery;
mod report;
mod stage;
mod stalls;
mod stream;
mod subject;
pub mod system;
pub mod systems;
mod throughput;
mod trial;
mod trip;
mod trouble;
mod user_time;

pub use subject::Subject;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Measure seqcast on this machine, over multicast on loopback
///
/// Every figure comes from a run in which every message was checked: its number, its bytes, once. A run with a violation
/// fails, and gives none. Run nothing beside it: two threads fill two cores. A percentile is told only when ten samples lie
/// beyond it.
#[derive(Debug, Parser)]
#[command(name = "seqcast-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Hiccup(hiccup::Options),
    Latency(latency::Options),
    Throughput(throughput::Options),
    FanOut(fan_out::Options),
    Interference(interference::Options),
    Floor(floor::Options),
    UserTime(user_time::Options),
    Recovery(recovery::Options),
    Last(last::Options),
    LateJoin(late_join::Options),
    Crowd(crowd::Options),
}

/// Does what the command line says, with the systems that come with the harness and with `others`. What failed is told, and is
/// the exit code.
#[must_use]
pub fn run(others: Vec<Subject>) -> ExitCode {
    let all: Vec<_> = Subject::own().into_iter().chain(others).collect();
    let result = match Cli::parse().command {
        Command::Hiccup(options) => hiccup::run(&options),
        Command::Latency(options) => latency::run(&options, &all),
        Command::Throughput(options) => throughput::run(&options, &all),
        Command::FanOut(options) => fan_out::run(&options, &all),
        Command::Interference(options) => interference::run(&options),
        Command::Floor(options) => floor::run(&options),
        Command::UserTime(options) => user_time::run(&options),
        Command::Recovery(options) => recovery::run(&options),
        Command::Last(options) => last::run(&options),
        Command::LateJoin(options) => late_join::run(&options),
        Command::Crowd(options) => crowd::run(&options),
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
