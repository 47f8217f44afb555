//! The `seqcast` command.

use clap::{CommandFactory, Parser, Subcommand};
use seqcast::log::LogOptions;
use seqcast::{check, completions, demo, doctor, dump, generate, publish, record, retransmit, subscribe};
use std::process::ExitCode;

/// What `--version` says; `-V` leaves all but the version itself out.
const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    env!("SEQCAST_COMMIT"),
    "\n",
    env!("SEQCAST_RUSTC"),
    "\n",
    env!("SEQCAST_TARGET")
);

/// Brokerless, low-latency UDP multicast messaging for market data
///
/// Publishers multicast numbered packets straight to subscribers; what a subscriber misses it asks
/// for, and the publisher answers from memory.
///
/// Examples:
///   seqcast demo                                # see it work
///   seqcast subscribe --output copy.blocks      # in one terminal
///   seqcast publish --input day.blocks          # in another
///   seqcast doctor --interface eth1             # before it goes over a network
///
/// Exit codes, the first that holds: 2 usage or settings; 1 anything else that failed, a problem
/// found by doctor; 4 nobody heard for --silent-after or by doctor; 3 messages lost, a gap open at
/// the end, something found by check, a warning of doctor, something not recorded by record; 0.
#[derive(Debug, Parser)]
#[command(name = "seqcast", version, long_version = LONG_VERSION, propagate_version = true, verbatim_doc_comment)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: LogOptions,
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
    Generate(generate::Options),
    Demo(demo::Options),
    Completions(completions::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    cli.log.start();
    let outcome = match cli.command {
        Command::Publish(options) => publish::run(&options),
        Command::Subscribe(options) => subscribe::run(&options),
        Command::Retransmit(options) => retransmit::run(&options),
        Command::Record(options) => record::run(&options),
        Command::Dump(options) => dump::run(&options),
        Command::Check(options) => check::run(&options),
        Command::Doctor(options) => doctor::run(&options),
        Command::Generate(options) => generate::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Completions(options) => completions::run(options, Cli::command()),
    };
    outcome.report()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What fits where the width is not known (clap).
    const COLUMNS: usize = 100;

    fn assert_is_explained(command: &clap::Command, name: &str) {
        let about = command.get_long_about().map(ToString::to_string).unwrap_or_default();
        assert!(about.contains("\nExamples:\n  "), "{name} has no examples: {about}");
        for line in about.lines() {
            assert!(line.chars().count() < COLUMNS, "{name}: too long: {line}");
        }
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            assert!(argument.get_help().is_some(), "{name}: nothing explains {argument}");
        }
        for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
            assert_is_explained(subcommand, &format!("{name} {}", subcommand.get_name()));
        }
    }

    #[test]
    fn every_subcommand_has_examples_and_explains_every_option() {
        let mut command = Cli::command();
        command.build();
        assert_is_explained(&command, "seqcast");
    }

    #[test]
    fn options_of_the_log_go_before_and_behind_the_subcommand() {
        for arguments in [["--log", "info", "publish"], ["publish", "--log", "info"]] {
            let all = ["seqcast"].into_iter().chain(arguments).chain(["--input", "-", "--log-format", "json"]);
            assert!(Cli::try_parse_from(all).is_ok(), "{arguments:?}");
        }
    }
}
