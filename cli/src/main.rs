//! The `seqcast` command.

use clap::{CommandFactory, Parser, Subcommand};
use seqcast::config::{self, Configured};
use seqcast::log::LogOptions;
use seqcast::{
    check, completions, demo, doctor, dump, explain, generate, metrics, publish, record, retransmit, stats, subscribe,
    top,
};
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
/// found by doctor or explain; 4 nobody heard for --silent-after or by doctor, nobody for explain to
/// look at; 3 messages lost, a gap open at the end, something found by check, a warning of doctor or
/// explain, something not recorded by record; 0.
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
    Publish(Box<Configured<publish::Options>>),
    Subscribe(Box<Configured<subscribe::Options>>),
    Retransmit(Box<Configured<retransmit::Options>>),
    Record(Box<record::Options>),
    Dump(dump::Options),
    Check(check::Options),
    Doctor(Box<doctor::Options>),
    Config(config::Options),
    Run(config::RunOptions),
    Stats(stats::Options),
    Top(top::Options),
    Metrics(metrics::Options),
    Explain(explain::Options),
    Generate(generate::Options),
    Demo(demo::Options),
    Completions(completions::Options),
}

fn main() -> ExitCode {
    let cli = match config::complete(&Cli::command(), std::env::args_os().collect()) {
        Ok(arguments) => Cli::parse_from(arguments),
        Err(outcome) => {
            LogOptions::default().start();
            return outcome.report();
        }
    };
    cli.log.start();
    let outcome = match cli.command {
        Command::Publish(options) => publish::run(&options),
        Command::Subscribe(options) => subscribe::run(&options),
        Command::Retransmit(options) => retransmit::run(&options),
        Command::Record(options) => record::run(&options),
        Command::Dump(options) => dump::run(&options),
        Command::Check(options) => check::run(&options),
        Command::Doctor(options) => doctor::run(&options),
        Command::Config(options) => config::run(&options, &Cli::command()),
        Command::Run(options) => config::run_together(&options, &Cli::command()),
        Command::Stats(options) => stats::run(&options),
        Command::Top(options) => top::run(&options),
        Command::Metrics(options) => metrics::run(&options),
        Command::Explain(options) => explain::run(&options),
        Command::Generate(options) => generate::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Completions(options) => completions::run(options, Cli::command()),
    };
    outcome.report()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ArgAction;
    use clap::error::ErrorKind;
    use seqcast::config::{Commands, options};

    /// What some option can be set to; for each one the first that it takes and that is not its default.
    const SAMPLES: [&str; 12] = [
        "5",
        "10ms",
        "2MiB",
        "max",
        "skip",
        "stop",
        "spin",
        "1MB/s",
        "loss=1%",
        "10.0.0.0/8",
        "239.1.1.1:5",
        "127.0.0.1:5",
    ];

    #[test]
    fn every_option_of_a_feed_can_be_set_in_a_file_as_on_the_command_line() {
        let commands = Commands::new(Cli::command());
        let names: Vec<_> = commands.all().map(|command| command.get_name().to_owned()).collect();
        assert_eq!(names, ["publish", "subscribe", "retransmit"]);
        for command in commands.all() {
            for option in options(command) {
                let (name, key) = (command.get_name(), option.get_long().unwrap());
                let is_flag = matches!(option.get_action(), ArgAction::SetTrue);
                let is_taken = |sample: &&str| {
                    let lone = command.clone().mut_args(|option| option.required(false));
                    let taken = lone.try_get_matches_from([name, &format!("--{key}={sample}")]);
                    let is_default = option.get_default_values().iter().any(|default| default == sample);
                    !is_default && taken.err().is_none_or(|error| error.kind() == ErrorKind::MissingRequiredArgument)
                };
                let possible: Vec<_> =
                    option.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
                let samples = possible.iter().map(String::as_str).chain(SAMPLES);
                let (value, argument) = if is_flag {
                    ("true".to_owned(), format!("--{key}"))
                } else {
                    let sample =
                        samples.into_iter().find(is_taken).unwrap_or_else(|| panic!("a sample for {name} --{key}"));
                    (format!("{sample:?}"), format!("--{key}={sample}"))
                };
                for table in ["", ".command"] {
                    let text = format!("[{name}.day{table}]\n{key} = {value}\n");
                    let feeds =
                        commands.read(text.as_bytes()).unwrap_or_else(|problems| panic!("{text}: {}", problems[0]));
                    assert_eq!(commands.arguments(&feeds[0], |_| true), [argument.as_str()], "{text}");
                    let shown = commands.show(&feeds[0]);
                    let line = shown.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap();
                    assert!(line.contains(value.trim_matches('"')), "{line}");
                    assert_eq!(commands.show(&commands.read(shown.as_bytes()).unwrap()[0]), shown, "read back");
                }
            }
        }
    }

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
