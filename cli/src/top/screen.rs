//! A screen before it is drawn: characters and how they look.

/// How a character looks. What is an alarm is red where there is colour, and is said in words, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) is_bold: bool,
    pub(super) is_dim: bool,
    pub(super) is_alarm: bool,
    pub(super) is_reversed: bool,
}

impl Style {
    pub(super) const PLAIN: Self = Self { is_bold: false, is_dim: false, is_alarm: false, is_reversed: false };
    pub(super) const BOLD: Self = Self { is_bold: true, ..Self::PLAIN };
    pub(super) const DIM: Self = Self { is_dim: true, ..Self::PLAIN };
    pub(super) const ALARM: Self = Self { is_alarm: true, ..Self::PLAIN };
    pub(super) const TITLE: Self = Self { is_reversed: true, ..Self::PLAIN };
}

/// Rows of characters. What does not fit is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Screen {
    width: usize,
    cells: Vec<(char, Style)>,
}

impl Screen {
    /// An empty one.
    pub(super) fn new(width: usize, height: usize) -> Self {
        Self { width, cells: vec![(' ', Style::PLAIN); width * height] }
    }

    pub(super) const fn width(&self) -> usize {
        self.width
    }

    pub(super) fn height(&self) -> usize {
        self.cells.len().checked_div(self.width).unwrap_or(0)
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &[(char, Style)]> {
        self.cells.chunks(self.width.max(1))
    }

    /// Writes a text from a column on, in characters of one column each.
    pub(super) fn put(&mut self, row: usize, column: usize, style: Style, text: &str) {
        if row < self.height() && column < self.width {
            let cells = &mut self.cells[row * self.width..][column..self.width];
            cells.iter_mut().zip(text.chars()).for_each(|(cell, character)| *cell = (plain(character), style));
        }
    }

    /// Gives a whole row a look, whatever is in it.
    pub(super) fn fill(&mut self, row: usize, look: impl Fn(Style) -> Style) {
        if row < self.height() {
            let cells = &mut self.cells[row * self.width..][..self.width];
            cells.iter_mut().for_each(|(_, style)| *style = look(*style));
        }
    }
}

/// What takes one column on any terminal and does nothing to it stays.
const fn plain(character: char) -> char {
    if matches!(character, ' '..='~' | 'µ') { character } else { '?' }
}

#[cfg(test)]
impl Screen {
    /// The rows as text, without blanks at their ends.
    pub(super) fn lines(&self) -> Vec<String> {
        let text = |row: &[(char, Style)]| row.iter().map(|(character, _)| character).collect::<String>();
        self.rows().map(|row| text(row).trim_end().to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_left_out_and_nothing_reaches_the_terminal_that_moves_it() {
        let mut screen = Screen::new(5, 2);
        screen.put(0, 1, Style::ALARM, "\x1b[2Jlong");
        screen.put(1, 4, Style::BOLD, "µs");
        screen.put(1, 5, Style::BOLD, "x");
        screen.put(2, 0, Style::BOLD, "x");
        assert_eq!(screen.lines(), [" ?[2J", "    µ"]);
        assert_eq!(screen.rows().next().map(|row| row[1].1), Some(Style::ALARM));
        let mut nothing = Screen::new(0, 0);
        nothing.put(0, 0, Style::PLAIN, "x");
        nothing.fill(0, |style| style);
        assert_eq!((nothing.height(), nothing.rows().count()), (0, 0));
    }
}
