//! The `seqcast` command.

use clap::{Parser, Subcommand};
use seqcast::{
    check, demo, doctor, dump, explain, generate, metrics, publish, record, retransmit, stats, subscribe, top,
};
use std::io::IsTerminal;
use std::process::ExitCode;

/// Brokerless, low-latency UDP multicast messaging for market data
///
/// Publishers multicast numbered packets straight to subscribers; what a subscriber misses it asks for, and the
/// publisher answers from memory.
///
/// Exit codes, the first that holds: 2 usage or settings; 1 anything else that failed, a problem found by doctor or explain; 4 nobody
/// heard for --silent-after or by doctor; 3 messages lost, a gap open at the end, something found by check, a warning of
/// doctor, something not recorded by record; 0.
#[derive(Debug, Parser)]
#[command(name = "seqcast", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Publish(Box<publish::Options>),
    Subscribe(Box<subscribe::Options>),
    Retransmit(Box<retransmit::Options>),
    Record(Box<record::Options>),
    Dump(dump::Options),
    Check(check::Options),
    Doctor(Box<doctor::Options>),
    Stats(stats::Options),
    Top(top::Options),
    Metrics(metrics::Options),
    Explain(explain::Options),
    Generate(generate::Options),
    Demo(demo::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .with_max_level(tracing::Level::WARN)
        .init();
    let outcome = match cli.command {
        Command::Publish(options) => publish::run(&options),
        Command::Subscribe(options) => subscribe::run(&options),
        Command::Retransmit(options) => retransmit::run(&options),
        Command::Record(options) => record::run(&options),
        Command::Dump(options) => dump::run(&options),
        Command::Check(options) => check::run(&options),
        Command::Doctor(options) => doctor::run(&options),
        Command::Stats(options) => stats::run(&options),
        Command::Top(options) => top::run(&options),
        Command::Metrics(options) => metrics::run(&options),
        Command::Explain(options) => explain::run(&options),
        Command::Generate(options) => generate::run(&options),
        Command::Demo(options) => demo::run(&options),
    };
    outcome.report()
}
