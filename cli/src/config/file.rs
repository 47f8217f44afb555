//! A configuration file as it is written: feeds and their settings, each with its line; what they mean is not looked at.

use std::borrow::Cow;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The largest file that is read. Arbitrary: a thousand times what a feed with every option takes.
const LARGEST_BYTES: u64 = 1 << 20;

/// The most feeds in a file. Arbitrary: more processes than a machine has cores.
pub const MOST_FEEDS: usize = 256;

/// The table within a feed's table that holds what only the command knows.
const COMMAND: &str = "command";

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, `1..`.
    pub line: usize,
    /// The key, with the tables that it is in; empty where there is none.
    pub key: String,
    /// What is wrong, and what would be right.
    pub words: String,
}

/// `LINE: KEY: WORDS`, as it follows the name of the file and a colon.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, key, words } = self;
        if key.is_empty() { write!(f, "{line}: {words}") } else { write!(f, "{line}: {key}: {words}") }
    }
}

/// The options of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// The command.
    pub command: String,
    /// Its name: letters, digits, `-` and `_`.
    pub name: String,
    /// The line where it begins.
    pub(super) line: usize,
    pub(super) settings: Vec<Setting>,
}

/// `COMMAND.NAME`, as the table is named.
impl fmt::Display for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.command, self.name)
    }
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) key: String,
    /// The key with the tables that it is in.
    pub(super) path: String,
    pub(super) line: usize,
    pub(super) value: Value,
}

/// A value, as far as an option can have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Flag(bool),
    /// A string, or a number in decimal digits.
    Text(String),
    Texts(Vec<String>),
}

/// Reads a file of at most 1 MiB.
///
/// # Errors
///
/// When it cannot be read, or is larger.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(LARGEST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_BYTES {
        let words = format!("larger than {LARGEST_BYTES} bytes, which no configuration is");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, words));
    }
    Ok(bytes)
}

/// The feeds of a file for these commands, in the order of the file, and what is wrong with its form.
pub(super) fn parse(bytes: &[u8], commands: &[&str]) -> (Vec<Feed>, Vec<Problem>) {
    let lines = Lines::new(bytes);
    let text = match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let words = "not UTF-8, so no TOML".to_owned();
            return (Vec::new(), vec![Problem { line: lines.at(error.valid_up_to()), key: String::new(), words }]);
        }
    };
    match DeTable::parse(text) {
        Ok(document) => {
            let mut reading = Reading { lines, feeds: Vec::new(), problems: Vec::new() };
            reading.document(document.get_ref(), commands);
            let Reading { mut feeds, mut problems, .. } = reading;
            feeds.sort_by_key(|feed| feed.line);
            if let Some(feed) = feeds.get(MOST_FEEDS) {
                let words = format!("more than {MOST_FEEDS} feeds");
                problems.push(Problem { line: feed.line, key: feed.to_string(), words });
                feeds.truncate(MOST_FEEDS);
            }
            (feeds, problems)
        }
        Err(error) => {
            let line = lines.at(error.span().map_or(0, |span| span.start));
            (Vec::new(), vec![Problem { line, key: String::new(), words: error.message().to_owned() }])
        }
    }
}

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &[u8]) -> Self {
        Self(text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect())
    }

    /// The number of the line that `at` is in.
    fn at(&self, at: usize) -> usize {
        1 + self.0.partition_point(|&begin| begin <= at)
    }
}

type Key<'a> = Spanned<Cow<'a, str>>;

struct Reading {
    lines: Lines,
    feeds: Vec<Feed>,
    problems: Vec<Problem>,
}

impl Reading {
    fn document(&mut self, document: &DeTable<'_>, commands: &[&str]) {
        for (command, value) in document {
            let name: &str = command.get_ref();
            match value.get_ref() {
                _ if !commands.contains(&name) => {
                    let words = format!("no such command; the tables are {}", tables(commands));
                    self.problem(command.span(), name, words);
                }
                DeValue::Table(feeds) => feeds.iter().for_each(|(feed, value)| self.feed(name, feed, value)),
                _ => self.problem(command.span(), name, format!("options stand in a table [{name}.NAME]")),
            }
        }
    }

    fn feed(&mut self, command: &str, name: &Key<'_>, value: &Spanned<DeValue<'_>>) {
        let (span, name) = (name.span(), name.get_ref().as_ref());
        let path = format!("{command}.{name}");
        let DeValue::Table(table) = value.get_ref() else {
            let words = format!("options stand in a table with the name of a feed, [{command}.NAME]");
            return self.problem(span, &path, words);
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if name.is_empty() || !name.bytes().all(is_plain) {
            let words = "the name of a feed has letters, digits, - and _".to_owned();
            return self.problem(span, &path, words);
        }
        let mut settings = Vec::new();
        let (own, command_table) = table.iter().partition::<Vec<_>, _>(|(key, value)| {
            key.get_ref() != COMMAND || !matches!(value.get_ref(), DeValue::Table(_))
        });
        for (key, value) in own {
            settings.extend(self.setting(&path, key, value));
        }
        let inner = command_table.first().and_then(|(_, value)| value.get_ref().as_table());
        for (key, value) in inner.into_iter().flatten() {
            if table.contains_key(key) {
                let words = format!("stands in [{path}] as well");
                self.problem(key.span(), &format!("{path}.{COMMAND}.{}", key.get_ref()), words);
            }
            settings.extend(self.setting(&format!("{path}.{COMMAND}"), key, value));
        }
        settings.sort_by_key(|setting| setting.line);
        let line = self.lines.at(span.start);
        self.feeds.push(Feed { command: command.to_owned(), name: name.to_owned(), line, settings });
    }

    fn setting(&mut self, table: &str, key: &Key<'_>, value: &Spanned<DeValue<'_>>) -> Option<Setting> {
        let path = format!("{table}.{}", key.get_ref());
        match read_value(value.get_ref()) {
            Ok(value) => {
                let line = self.lines.at(key.span().start);
                Some(Setting { key: key.get_ref().to_string(), path, line, value })
            }
            Err(words) => {
                self.problem(key.span(), &path, words.to_owned());
                None
            }
        }
    }

    fn problem(&mut self, span: Range<usize>, key: &str, words: String) {
        self.problems.push(Problem { line: self.lines.at(span.start), key: key.escape_debug().to_string(), words });
    }
}

/// Takes what an option can have: a boolean, a string, a whole number, or a list of the latter two.
fn read_value(value: &DeValue<'_>) -> Result<Value, &'static str> {
    match value {
        DeValue::Boolean(flag) => Ok(Value::Flag(*flag)),
        DeValue::Array(values) if values.is_empty() => Err("an empty list; without the key the default holds"),
        DeValue::Array(values) => {
            values.iter().map(|value| text(value.get_ref())).collect::<Result<_, _>>().map(Value::Texts)
        }
        value => text(value).map(Value::Text),
    }
}

fn text(value: &DeValue<'_>) -> Result<String, &'static str> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map(|number| number.to_string())
            .map_err(|_| "a number of more than 127 bits"),
        _ => Err("not a string, a whole number, true or false, or a list of strings and numbers"),
    }
}

/// `[publish.NAME], [subscribe.NAME]`.
fn tables(commands: &[&str]) -> String {
    commands.iter().map(|command| format!("[{command}.NAME]")).collect::<Vec<_>>().join(", ")
}
