//! The terminal: taken over, drawn on, and given back however the command ends.

use super::screen::{Screen, Style};
use super::view::Key;
use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::style::{Attribute, Color, Print, SetAttribute, SetForegroundColor};
use crossterm::terminal::{self, ClearType};
use crossterm::{cursor, execute, queue};
use seqcast_recovery::Nanos;
use std::io::{self, Stdout, Write};
use std::{env, panic};

/// The terminal of the process; given back when it is dropped, and before a panic is told.
pub(super) struct Terminal {
    output: Stdout,
    has_colour: bool,
}

/// What came from it.
pub(super) enum Input {
    Key(Key),
    /// It has another size, or shows what was not drawn.
    Changed,
}

impl Terminal {
    pub(super) fn enter() -> io::Result<Self> {
        let told = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            restore();
            told(panic);
        }));
        terminal::enable_raw_mode()?;
        // From here on it is given back if something fails.
        let has_colour = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let mut terminal = Self { output: io::stdout(), has_colour };
        execute!(terminal.output, terminal::EnterAlternateScreen, terminal::DisableLineWrap, cursor::Hide)?;
        Ok(terminal)
    }

    /// Columns and rows.
    pub(super) fn size() -> io::Result<(usize, usize)> {
        let (width, height) = terminal::size()?;
        Ok((width.into(), height.into()))
    }

    /// Waits so long for a key that does something, or another size.
    pub(super) fn wait(time: Nanos) -> io::Result<Option<Input>> {
        if !event::poll(time.as_duration())? {
            return Ok(None);
        }
        Ok(match event::read()? {
            Event::Key(key) if key.kind != KeyEventKind::Release => self::key(key).map(Input::Key),
            Event::Resize(..) => Some(Input::Changed),
            _ => None,
        })
    }

    pub(super) fn draw(&mut self, screen: &Screen) -> io::Result<()> {
        queue!(self.output, terminal::BeginSynchronizedUpdate)?;
        for (row, cells) in screen.rows().enumerate() {
            queue!(self.output, cursor::MoveTo(0, u16::try_from(row).unwrap_or(u16::MAX)))?;
            for run in cells.chunk_by(|(_, a), (_, b)| a == b) {
                self.look(run[0].1)?;
                queue!(self.output, Print(run.iter().map(|(character, _)| character).collect::<String>()))?;
            }
        }
        queue!(self.output, SetAttribute(Attribute::Reset), terminal::Clear(ClearType::FromCursorDown))?;
        queue!(self.output, terminal::EndSynchronizedUpdate)?;
        self.output.flush()
    }

    fn look(&mut self, style: Style) -> io::Result<()> {
        // Reset takes the colour back, too.
        queue!(self.output, SetAttribute(Attribute::Reset))?;
        let attributes = [
            (style.is_bold || style.is_alarm, Attribute::Bold),
            (style.is_dim, Attribute::Dim),
            (style.is_reversed, Attribute::Reverse),
        ];
        for (_, attribute) in attributes.into_iter().filter(|(is_set, _)| *is_set) {
            queue!(self.output, SetAttribute(attribute))?;
        }
        if style.is_alarm && self.has_colour {
            queue!(self.output, SetForegroundColor(Color::Red))?;
        }
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back; more than once does no harm.
fn restore() {
    // Nothing is left to be done if it is gone.
    let _ = execute!(io::stdout(), cursor::Show, terminal::EnableLineWrap, terminal::LeaveAlternateScreen);
    let _ = terminal::disable_raw_mode();
}

fn key(key: KeyEvent) -> Option<Key> {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        KeyCode::Char('c') if is_control => Key::Interrupt,
        KeyCode::Char(character) if !is_control => Key::Character(character),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pty::Pty;
    use std::process::Command;

    /// Not a test: the process that panics.
    #[test]
    fn panicking_process() {
        if env::var_os("SEQCAST_TEST_PANIC").is_some() {
            let _terminal = Terminal::enter().unwrap();
            panic!("for the test");
        }
    }

    #[test]
    fn a_panic_gives_the_terminal_back_before_it_is_told() {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "top::terminal::tests::panicking_process", "--nocapture"]);
        command.env("SEQCAST_TEST_PANIC", "1").stderr(std::process::Stdio::null());
        let (status, output) = Pty::start(command).wait();
        assert!(!status.success() && output.contains("FAILED"), "{output:?}");
    }
}
