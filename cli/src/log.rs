//! The log: all that a subcommand says on standard error, but for the line of its progress.
//!
//! One rule: everything is an event of `tracing`. What failed is an error; what may cost messages, and what was lost, a
//! warning; changes of state and summaries are information. The words of an event are complete; its fields say the same by
//! name. Text is the words, as one expects of a command; JSON is an object for each event with its time, its level, its
//! words and its fields. Unless a level is asked for, warnings of the libraries and information of the subcommand itself are
//! said. Nothing is said per message.

use crate::progress;
use serde_json::{Map, Value};
use std::fmt::{self, Debug, Write as _};
use std::io::{self, IsTerminal, Write};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, layer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// What the subcommands' own events come from; the libraries are `seqcast_publisher` and the like.
const OWN: &str = "seqcast::";

/// The options of the log, those of every subcommand.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct LogOptions {
    /// How much is said on standard error. Unless given, warnings, and information of the subcommand itself, such as its
    /// summary
    #[arg(long, value_name = "LEVEL", global = true, help_heading = "Log", display_order = 1_000)]
    log: Option<LogLevel>,
    /// How it is said
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        global = true,
        help_heading = "Log",
        display_order = 1_001
    )]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LogLevel {
    /// What failed
    Error,
    /// And what may cost messages, and what was lost
    Warn,
    /// And what has changed: opened with which settings, heard, silent, caught up, ended; the summary
    Info,
    /// And each gap
    Debug,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum LogFormat {
    /// Words
    #[default]
    Text,
    /// Each event as a JSON object on a line of its own: timestamp, level, message, and what it is about by name
    Json,
}

impl LogOptions {
    /// Says from now on what is to be said.
    pub fn start(self) {
        let written = layer().event_format(self.form()).with_writer(progress::stderr).log_internal_errors(false);
        tracing_subscriber::registry().with(written.with_filter(self.filter())).init();
    }

    fn filter(self) -> Targets {
        let level = match self.log {
            None => return Targets::new().with_default(LevelFilter::WARN).with_target(OWN, LevelFilter::INFO),
            Some(LogLevel::Error) => LevelFilter::ERROR,
            Some(LogLevel::Warn) => LevelFilter::WARN,
            Some(LogLevel::Info) => LevelFilter::INFO,
            Some(LogLevel::Debug) => LevelFilter::DEBUG,
        };
        Targets::new().with_default(level)
    }

    fn form(self) -> Form {
        match self.log_format {
            LogFormat::Text => Form::Text { is_colored: io::stderr().is_terminal() && !has_no_color() },
            LogFormat::Json => Form::Json,
        }
    }
}

/// Whether the user wants no colours (<https://no-color.org>).
fn has_no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// How events are written.
#[derive(Clone, Copy, Debug)]
enum Form {
    Text { is_colored: bool },
    Json,
}

impl<S, N> FormatEvent<S, N> for Form
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = *event.metadata().level();
        match *self {
            Self::Text { is_colored } => {
                // Red and yellow (ECMA-48).
                let (prefix, color) = match level {
                    tracing::Level::ERROR => ("seqcast: ", "\x1b[31m"),
                    tracing::Level::WARN => ("seqcast: warning: ", "\x1b[33m"),
                    _ => ("", ""),
                };
                let (color, reset) = if is_colored && !color.is_empty() { (color, "\x1b[0m") } else { ("", "") };
                writeln!(writer, "{color}{prefix}{reset}{}", fields.message)
            }
            Self::Json => {
                let mut time = String::new();
                SystemTime.format_time(&mut Writer::new(&mut time))?;
                let (level, message) = (level.as_str().to_lowercase(), Value::from(fields.message));
                write!(writer, "{{\"timestamp\":\"{time}\",\"level\":\"{level}\",\"message\":{message}")?;
                for (name, value) in fields.others {
                    write!(writer, ",\"{name}\":{value}")?;
                }
                writeln!(writer, "}}")
            }
        }
    }
}

/// What an event says.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn insert(&mut self, field: &Field, value: impl Into<Value>) {
        self.others.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            // Writing to a string does not fail.
            let _ = write!(self.message, "{value:?}");
        } else {
            self.insert(field, format!("{value:?}"));
        }
    }
}

/// Takes lines and says each as information of the subcommand, for summaries.
#[derive(Debug, Default)]
pub struct Words {
    line: Vec<u8>,
}

impl Write for Words {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend(piece);
            if let Some(line) = self.line.strip_suffix(b"\n") {
                tracing::info!("{}", String::from_utf8_lossy(line));
                self.line.clear();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written while `tell` runs.
    fn written(form: Form, level: Option<LogLevel>, tell: impl FnOnce()) -> String {
        let written = Written::default();
        let writer = written.clone();
        let options = LogOptions { log: level, log_format: LogFormat::Text };
        let layer = layer().event_format(form).with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(layer.with_filter(options.filter()));
        tracing::subscriber::with_default(subscriber, tell);
        String::from_utf8(written.0.lock().unwrap().clone()).unwrap()
    }

    fn tell_all() {
        tracing::error!("failed");
        tracing::warn!(target: "seqcast_publisher::builder", bytes = 7, "small");
        tracing::info!(target: "seqcast_publisher::builder", "open");
        let _ = writeln!(Words::default(), "one\ntwo {}", 3);
        tracing::debug!("gap");
    }

    #[test]
    fn text_is_the_words_and_colors_only_what_is_wrong() {
        let plain = written(Form::Text { is_colored: false }, None, tell_all);
        assert_eq!(plain, "seqcast: failed\nseqcast: warning: small\none\ntwo 3\n");
        let colored = written(Form::Text { is_colored: true }, None, tell_all);
        assert_eq!(colored, "\x1b[31mseqcast: \x1b[0mfailed\n\x1b[33mseqcast: warning: \x1b[0msmall\none\ntwo 3\n");
    }

    #[test]
    fn a_level_that_is_asked_for_holds_for_libraries_and_subcommands_alike() {
        let lines = |level| written(Form::Text { is_colored: false }, Some(level), tell_all).lines().count();
        let levels = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug];
        assert_eq!(levels.map(lines), [1, 2, 5, 6]);
    }

    #[test]
    fn json_has_the_time_the_level_the_words_and_the_fields() {
        let text = written(Form::Json, None, || {
            let line = Some("A");
            tracing::warn!(session = %"DAY", line, first = 7_u64, end = 9_u64, other = None::<u64>, "lost \"7..9\"");
        });
        let mut object: Map<String, Value> = serde_json::from_str(&text).unwrap();
        let time = object.remove("timestamp").unwrap();
        let time = time.as_str().unwrap();
        assert!(time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
        let expected = serde_json::json!({
            "level": "warn", "message": "lost \"7..9\"", "session": "DAY", "line": "A", "first": 7, "end": 9
        });
        assert_eq!(Value::Object(object), expected);
    }
}
