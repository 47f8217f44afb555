//! What the options of a feed mean: asked of the commands themselves, so that every option can be set, and each value is
//! read by the option's own parser.

use super::file::{self, Feed, Problem, Setting, Value};
use super::{CONFIG, FEED};
use clap::builder::PossibleValue;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command, Error};
use std::error::Error as _;
use std::fmt::Write as _;

/// The most problems of a file that are named. Arbitrary: nobody mends more at once.
const MOST_PROBLEMS: usize = 64;

/// The commands whose options can stand in a file: those with `--config`.
#[derive(Clone, Debug)]
pub struct Commands {
    root: Command,
}

impl Commands {
    /// Those among the subcommands of `root`.
    #[must_use]
    pub fn new(mut root: Command) -> Self {
        root.build();
        Self { root }
    }

    /// Everything, as clap has built it.
    pub(super) fn root(&self) -> &Command {
        &self.root
    }

    /// The commands.
    pub fn all(&self) -> impl Iterator<Item = &Command> {
        self.root.get_subcommands().filter(|command| command.get_arguments().any(|option| option.get_id() == CONFIG))
    }

    /// The feeds of a file.
    ///
    /// # Errors
    ///
    /// What is wrong, at most 64 problems, in the order of their lines.
    pub fn read(&self, bytes: &[u8]) -> Result<Vec<Feed>, Vec<Problem>> {
        let names: Vec<_> = self.all().map(Command::get_name).collect();
        let (feeds, mut problems) = file::parse(bytes, &names);
        let room = MOST_PROBLEMS.saturating_sub(problems.len());
        problems.extend(feeds.iter().flat_map(|feed| self.problems(feed)).take(room));
        problems.truncate(MOST_PROBLEMS);
        problems.sort_by_key(|problem| problem.line);
        if problems.is_empty() { Ok(feeds) } else { Err(problems) }
    }

    /// What is wrong with the values of a feed, one after the other, and then with all together.
    fn problems<'a>(&'a self, feed: &'a Feed) -> impl Iterator<Item = Problem> + 'a {
        let mut command = self.command(feed).clone().mut_args(|option| option.required(false));
        let settings = feed.settings.iter().filter_map(move |setting| {
            let words = problem(&mut command, setting)?;
            let key = setting.path.escape_debug().to_string();
            Some(Problem { line: setting.line, key, words })
        });
        let together = std::iter::once_with(|| self.conflict(feed)).flatten();
        settings.chain(together.map(|words| Problem { line: feed.line, key: feed.to_string(), words }))
    }

    /// Which options exclude each other, if they do.
    fn conflict(&self, feed: &Feed) -> Option<String> {
        let error = self.parse(feed).err().filter(|error| error.kind() == ErrorKind::ArgumentConflict)?;
        let options = [ContextKind::InvalidArg, ContextKind::PriorArg].map(|kind| texts(&error, kind).join(", "));
        Some(format!("{} and {} exclude each other", options[0], options[1]))
    }

    /// What a feed lacks that the command line has to give.
    #[must_use]
    pub fn needs(&self, feed: &Feed) -> Vec<String> {
        let error = self.parse(feed).err().filter(|error| error.kind() == ErrorKind::MissingRequiredArgument);
        error.map(|error| texts(&error, ContextKind::InvalidArg)).unwrap_or_default()
    }

    fn parse(&self, feed: &Feed) -> Result<(), Error> {
        let name = feed.command.clone();
        let arguments = std::iter::once(name).chain(self.arguments(feed, |_| true));
        self.command(feed).clone().try_get_matches_from(arguments).map(|_| ())
    }

    /// What a feed says as arguments of its command, but for options that are not `wanted`.
    pub fn arguments(&self, feed: &Feed, wanted: impl Fn(&Arg) -> bool) -> Vec<String> {
        let command = self.command(feed);
        let settings = feed.settings.iter().filter_map(|setting| {
            let option = option(command, &setting.key).filter(|option| wanted(option))?;
            arguments(option, &setting.value).ok()
        });
        settings.flatten().collect()
    }

    /// The effective values of a feed, as TOML that is read back as the same.
    #[must_use]
    pub fn show(&self, feed: &Feed) -> String {
        let mut text = format!("[{feed}]\n");
        let mut unset = Vec::new();
        for option in options(self.command(feed)) {
            let key = option.get_long().unwrap_or_default();
            let given = feed.settings.iter().find(|setting| setting.key == key);
            match given.map(|setting| setting.value.clone()).or_else(|| default(option)) {
                // Writing to a string does not fail.
                Some(value) => {
                    let _ = writeln!(text, "{key} = {}", toml(option, value));
                }
                None => unset.push(key),
            }
        }
        if !unset.is_empty() {
            let _ = writeln!(text, "# not set: {}", unset.join(", "));
        }
        text
    }

    fn command(&self, feed: &Feed) -> &Command {
        self.root.find_subcommand(&feed.command).expect("feeds are read for these commands")
    }
}

/// The options of a command that can stand in a file: all but those for help and version, and those that name the file.
pub fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|option| {
        option.get_long().is_some() && !is_answer(option) && option.get_id() != CONFIG && option.get_id() != FEED
    })
}

/// Whether an option asks for words about the command instead of running it.
pub(super) fn is_answer(option: &Arg) -> bool {
    use ArgAction::{Help, HelpLong, HelpShort, Version};
    matches!(option.get_action(), Help | HelpShort | HelpLong | Version)
}

fn option<'a>(command: &'a Command, key: &str) -> Option<&'a Arg> {
    options(command).find(|option| option.get_long() == Some(key))
}

/// A setting as arguments; an error says what the option takes.
fn arguments(option: &Arg, value: &Value) -> Result<Vec<String>, String> {
    let key = option.get_long().unwrap_or_default();
    let one = |text: &String| format!("--{key}={text}");
    match (option.get_action(), value) {
        (ArgAction::SetTrue, Value::Flag(flag)) => Ok(flag.then(|| format!("--{key}")).into_iter().collect()),
        (ArgAction::SetTrue, _) => Err("true or false".to_owned()),
        (_, Value::Flag(_)) => Err(format!("a value, {}", allowed(option))),
        (_, Value::Text(text)) => Ok(vec![one(text)]),
        (ArgAction::Append, Value::Texts(texts)) => Ok(texts.iter().map(one).collect()),
        (_, Value::Texts(_)) => Err("one value, not a list".to_owned()),
    }
}

/// What is wrong with a setting by itself.
fn problem(command: &mut Command, setting: &Setting) -> Option<String> {
    let name = command.get_name().to_owned();
    let Some(option) = option(command, &setting.key).cloned() else {
        return Some(unknown(command, &setting.key));
    };
    let arguments = match arguments(&option, &setting.value) {
        Ok(arguments) => arguments,
        Err(takes) => return Some(format!("takes {takes}")),
    };
    let error = command.try_get_matches_from_mut(std::iter::once(name).chain(arguments)).err()?;
    match error.kind() {
        // By itself it may lack the company of others.
        ErrorKind::MissingRequiredArgument => None,
        _ => {
            let value = texts(&error, ContextKind::InvalidValue).concat();
            let reason = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            Some(format!("cannot be {value:?}{reason}; allowed: {}", allowed(&option)))
        }
    }
}

/// What to say about a key that is no option.
fn unknown(command: &mut Command, key: &str) -> String {
    let name = command.get_name().to_owned();
    let error = command.try_get_matches_from_mut([name.clone(), format!("--{key}=")]).err();
    let near = error.map(|error| texts(&error, ContextKind::SuggestedArg)).unwrap_or_default();
    // What is suggested may be an option that cannot stand in a file.
    let near = near.iter().map(|near| near.trim_start_matches('-')).find(|near| option(command, near).is_some());
    match near {
        Some(near) => format!("{name} has no such option; did you mean {near}?"),
        None => {
            let all: Vec<_> = options(command).filter_map(Arg::get_long).collect();
            format!("{name} has no such option; it has {}", all.join(", "))
        }
    }
}

/// The values that an option can have, in words.
fn allowed(option: &Arg) -> String {
    let possible = option.get_possible_values();
    if !possible.is_empty() {
        return possible.iter().map(PossibleValue::get_name).collect::<Vec<_>>().join(", ");
    }
    option.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn texts(error: &Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}

/// The value of an option that is not given.
fn default(option: &Arg) -> Option<Value> {
    if matches!(option.get_action(), ArgAction::SetTrue) {
        return Some(Value::Flag(false));
    }
    let text = option.get_default_values().first()?;
    Some(Value::Text(text.to_string_lossy().into_owned()))
}

/// A value as TOML; what an option reads as a whole number is written as one, if that is how it stands.
fn toml(option: &Arg, value: Value) -> toml::Value {
    let text = |text: String| match text.parse::<i64>() {
        Ok(number) if is_number(option) && number.to_string() == text => toml::Value::Integer(number),
        _ => toml::Value::String(text),
    };
    match value {
        Value::Flag(flag) => toml::Value::Boolean(flag),
        Value::Text(one) if matches!(option.get_action(), ArgAction::Append) => toml::Value::Array(vec![text(one)]),
        Value::Text(one) => text(one),
        Value::Texts(all) => toml::Value::Array(all.into_iter().map(text).collect()),
    }
}

fn is_number(option: &Arg) -> bool {
    use std::any::TypeId;
    let numbers =
        [TypeId::of::<u8>(), TypeId::of::<u16>(), TypeId::of::<u32>(), TypeId::of::<u64>(), TypeId::of::<usize>()];
    numbers.iter().any(|number| option.get_value_parser().type_id() == *number)
}
