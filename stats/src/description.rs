//! What a file will keep, named before it is made.

use crate::Unit;
use crate::cells::HISTOGRAM_WORDS;
use crate::unit::is_name;
use std::fmt::Write;

/// Where an entry's values will be in the file that is made from its description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Described {
    /// The first word, counted from the first word of the values on.
    pub(crate) at: usize,
    pub(crate) rows: usize,
    /// The words of a row's fields.
    pub(crate) width: usize,
}

/// What a file will keep. Entries are added, then the file is made ([`StatsFile::create`](crate::StatsFile::create)).
///
/// Names of entries, labels, fields and roles are lower-case words joined by underscores.
#[derive(Clone, Debug)]
pub struct Description {
    role: String,
    lines: Vec<String>,
    words: usize,
}

impl Description {
    /// Begins the description of what a process of this role keeps: `publisher`, `retransmitter`, `subscriber`.
    ///
    /// # Panics
    ///
    /// When the role is no name.
    #[must_use]
    pub fn new(role: &str) -> Self {
        assert!(is_name(role), "{role:?} is no name");
        Self { role: role.to_owned(), lines: vec![format!("role\t{role}")], words: 0 }
    }

    pub(crate) fn role(&self) -> &str {
        &self.role
    }

    /// Adds something that does not change. Control characters in `text` are left out.
    ///
    /// # Panics
    ///
    /// When `name` is no name.
    pub fn fact(&mut self, name: &str, text: &str) {
        assert!(is_name(name), "{name:?} is no name");
        let text: String = text.chars().filter(|character| !character.is_control()).collect();
        self.lines.push(format!("fact\t{name}\t{text}"));
    }

    /// Adds a number that only grows.
    ///
    /// # Panics
    ///
    /// When a name is none, or the unit is [`Unit::Session`].
    pub fn counter(&mut self, name: &str, unit: &Unit, labels: &[(&str, &str)]) -> Described {
        self.value("counter", name, unit, labels, 1)
    }

    /// Adds a number that goes up and down.
    ///
    /// # Panics
    ///
    /// As [`Self::counter`].
    pub fn gauge(&mut self, name: &str, unit: &Unit, labels: &[(&str, &str)]) -> Described {
        self.value("gauge", name, unit, labels, 1)
    }

    /// Adds a histogram.
    ///
    /// # Panics
    ///
    /// As [`Self::counter`].
    pub fn histogram(&mut self, name: &str, unit: &Unit, labels: &[(&str, &str)]) -> Described {
        self.value("histogram", name, unit, labels, HISTOGRAM_WORDS)
    }

    /// Adds a table of so many rows.
    ///
    /// # Panics
    ///
    /// When a name is none, or there are no rows.
    pub fn table(&mut self, name: &str, rows: usize, fields: &[(&str, Unit)]) -> Described {
        assert!(is_name(name) && rows > 0, "{name:?} is no name, or there are no rows");
        let mut line = format!("table\t{name}\t{rows}\t{}", self.words);
        for (field, unit) in fields {
            assert!(is_name(field), "{field:?} is no name");
            // Writing to a string does not fail.
            let _ = write!(line, "\t{field}:{unit}");
        }
        self.lines.push(line);
        let width = fields.iter().map(|(_, unit)| unit.words()).sum();
        self.take(rows, width, rows * (ROW_HEAD_WORDS + width))
    }

    fn value(&mut self, kind: &str, name: &str, unit: &Unit, labels: &[(&str, &str)], words: usize) -> Described {
        assert!(is_name(name) && *unit != Unit::Session, "{name:?} is no name, or of no unit for a value");
        let labels = match labels {
            [] => "-".to_owned(),
            _ => labels.iter().map(|(name, value)| label(name, value)).collect::<Vec<_>>().join(","),
        };
        self.lines.push(format!("{kind}\t{name}\t{unit}\t{labels}\t{}", self.words));
        self.take(1, 1, words)
    }

    fn take(&mut self, rows: usize, width: usize, words: usize) -> Described {
        let at = self.words;
        self.words += words;
        Described { at, rows, width }
    }

    /// The text, and how many words of values follow it.
    pub(crate) fn finish(self) -> (String, usize) {
        (self.lines.join("\n"), self.words)
    }
}

/// Words in front of a row's fields: its checksum and its number.
pub(crate) const ROW_HEAD_WORDS: usize = 2;

fn label(name: &str, value: &str) -> String {
    assert!(is_name(name), "{name:?} is no name");
    let is_plain = |character: &char| !character.is_control() && !matches!(character, ',' | '=');
    format!("{name}={}", value.chars().filter(is_plain).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_follow_each_other() {
        let mut description = Description::new("subscriber");
        description.fact("line_a", "239.1.1.1:30001\t@lo\n");
        let messages = description.counter("messages", &Unit::count("messages"), &[]);
        let recovery = description.histogram("recovery", &Unit::Nanoseconds, &[]);
        let gaps = description.table("gaps", 4, &[("session", Unit::Session), ("first", Unit::Number)]);
        let packets = description.gauge("packets", &Unit::count("packets"), &[("line", "a"), ("reason", "x,=y")]);
        assert_eq!((messages.at, recovery.at, gaps.at), (0, 1, 1 + HISTOGRAM_WORDS));
        assert_eq!(packets.at, gaps.at + 4 * 5);
        let (text, words) = description.finish();
        assert_eq!(words, packets.at + 1);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[..3],
            ["role\tsubscriber", "fact\tline_a\t239.1.1.1:30001@lo", "counter\tmessages\tmessages\t-\t0"]
        );
        assert_eq!(lines[4], format!("table\tgaps\t4\t{}\tsession:session\tfirst:number", gaps.at));
        assert_eq!(lines[5], format!("gauge\tpackets\tpackets\tline=a,reason=xy\t{}", packets.at));
    }
}
