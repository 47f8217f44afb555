//! `seqcast top`: all feeds of this host and their subscribers, live, in a terminal.

mod columns;
mod events;
mod member;
mod render;
mod screen;
mod terminal;
mod view;

#[cfg(test)]
mod tests;

use crate::interrupt::Interrupt;
use crate::options;
use crate::outcome::{Condition, Outcome};
use crate::stats::{Directory, LOOK, Reading};
use seqcast_transport::Clock;
use std::io::{self, IsTerminal};
use std::time::Duration;
use terminal::{Input, Terminal};
use view::{Readings, View};

/// Watch all feeds of this host and their subscribers in the terminal
///
/// Examples:
///   seqcast top
///   seqcast top --interval 250ms
///
/// Rates are those between two readings. In red: a process that does not write (stall), a subscriber whose receive queue in the
/// kernel is over half full (queue) or that falls further and further behind (lag). Dimmed: what was killed. With NO_COLOR
/// there is no colour; the words stay. The keys are on the screen.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Options {
    /// How long to wait between two readings
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = options::positive_duration)]
    interval: Duration,
    #[command(flatten)]
    directory: Directory,
}

/// Runs the subcommand.
#[must_use]
pub fn run(options: &Options) -> Outcome {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        let words = "top needs a terminal; seqcast stats --watch, or --watch --json, shows the same elsewhere";
        return Condition::Settings(words.to_owned()).into();
    }
    watch(options).err().unwrap_or_default()
}

fn watch(options: &Options) -> Result<(), Outcome> {
    let failed = |error: io::Error| Outcome::failed(&error);
    let interrupt = Interrupt::new().map_err(failed)?;
    let mut current = options.directory.read()?;
    let mut previous: Option<Reading> = None;
    let mut view = View::new(options.directory.path.clone());
    let mut terminal = Terminal::enter().map_err(failed)?;
    let mut due = Clock::now() + options.interval.into();
    let mut is_drawn = false;
    while !interrupt.is_raised() {
        let readings = Readings { current: &current, previous: previous.as_ref() };
        let size = Terminal::size().map_err(failed)?;
        if !is_drawn {
            terminal.draw(&render::screen(&view, readings, size)).map_err(failed)?;
        }
        let input = Terminal::wait((due - Clock::now()).min(LOOK)).map_err(failed)?;
        is_drawn = input.is_none();
        if let Some(Input::Key(key)) = input
            && !view.handle(key, readings, size)
        {
            return Ok(());
        }
        if Clock::now() >= due {
            due = Clock::now() + options.interval.into();
            if !view.is_paused {
                let reading = options.directory.read()?;
                previous = Some(std::mem::replace(&mut current, reading));
                is_drawn = false;
            }
        }
    }
    Ok(())
}
