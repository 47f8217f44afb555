//! The command line completed by a feed of the file that `--config` names.

use super::commands::is_answer;
use super::{CONFIG, Commands, FEED, load};
use crate::config::Feed;
use crate::outcome::{Condition, Outcome};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use std::ffi::OsString;
use std::path::Path;

/// The arguments of this process, with what the feed of `--config` says behind them, but for options that are given: those of
/// the command line win.
///
/// # Errors
///
/// What is wrong with the file, or which feeds there are to choose from. Ends the process, as clap does, when what is given on
/// the command line cannot be understood.
pub fn complete(root: &Command, arguments: Vec<OsString>) -> Result<Vec<OsString>, Outcome> {
    let option = format!("--{CONFIG}");
    let names = |argument: &OsString| argument.to_str().is_some_and(|text| text.split('=').next() == Some(&option));
    if !arguments.iter().any(names) {
        return Ok(arguments);
    }
    let commands = Commands::new(root.clone());
    let given = match skeleton(&commands).try_get_matches_from(&arguments) {
        Ok(given) => given,
        // It is wrong, or asks for help: the command itself knows what to say.
        Err(error) => match root.clone().try_get_matches_from(&arguments) {
            Err(error) => error.exit(),
            Ok(_) => return Err(Outcome::failed(&error)),
        },
    };
    let Some((name, of_command)) = given.subcommand() else { return Ok(arguments) };
    let Some(file) = of_command.get_one::<OsString>(CONFIG).map(Path::new) else { return Ok(arguments) };
    let feeds = load(&commands, file)?;
    let feed = choose(&feeds, name, of_command.get_one::<OsString>(FEED))
        .map_err(|words| Condition::Settings(format!("--{CONFIG} {}: {words}", file.display())))?;
    let is_absent =
        |option: &Arg| ![&given, of_command].iter().any(|matches| is_given(matches, option.get_id().as_str()));
    let of_file = commands.arguments(feed, is_absent);
    Ok(arguments.into_iter().chain(of_file.into_iter().map(OsString::from)).collect())
}

fn is_given(matches: &ArgMatches, id: &str) -> bool {
    matches!(matches.try_contains_id(id), Ok(true)) && matches.value_source(id) == Some(ValueSource::CommandLine)
}

/// The feed of this command with this name, or the only one.
fn choose<'a>(feeds: &'a [Feed], command: &str, name: Option<&OsString>) -> Result<&'a Feed, String> {
    let feeds: Vec<_> = feeds.iter().filter(|feed| feed.command == command).collect();
    let names = || feeds.iter().map(|feed| feed.name.as_str()).collect::<Vec<_>>().join(", ");
    match (name, feeds.as_slice()) {
        (_, []) => Err(format!("there is no table [{command}.NAME]")),
        (None, [feed]) => Ok(feed),
        (None, _) => Err(format!("there are several feeds to {command}; choose with --{FEED}: {}", names())),
        (Some(name), _) => feeds
            .iter()
            .find(|feed| name == feed.name.as_str())
            .copied()
            .ok_or_else(|| format!("there is no [{command}.{}]; choose with --{FEED}: {}", name.display(), names())),
    }
}

/// The commands with the same options, which take any value and need no company: what is given is seen, whatever the file adds.
fn skeleton(commands: &Commands) -> Command {
    let bare = |command: &Command| {
        let options = command.get_arguments().filter(|option| !is_answer(option)).map(|option| {
            let mut bare = Arg::new(option.get_id().clone())
                .action(option.get_action().clone())
                .short(option.get_short())
                .global(option.is_global_set());
            if let Some(long) = option.get_long() {
                bare = bare.long(long.to_owned());
            }
            if option.get_action().takes_values() {
                bare = bare.value_parser(clap::value_parser!(OsString));
            }
            match option.get_num_args() {
                Some(range) => bare.num_args(range).require_equals(option.is_require_equals_set()),
                None => bare,
            }
        });
        Command::new(command.get_name().to_owned()).disable_help_flag(true).disable_version_flag(true).args(options)
    };
    bare(commands.root()).disable_help_subcommand(true).subcommands(commands.all().map(bare))
}
