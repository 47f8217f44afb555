//! Counters that are kept elsewhere anyway, copied into a file now and then.

use crate::{Cell, Described, Description, StatsFile, Unit};
use std::fmt;

/// How a value is found in what is mirrored.
type Read<S> = Box<dyn Fn(&S) -> u64 + Send>;

/// Counters and gauges of a file whose values are found in an `S`.
pub struct Mirror<S: ?Sized> {
    described: Vec<(Described, Read<S>)>,
    cells: Vec<Cell>,
}

impl<S: ?Sized> Mirror<S> {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self { described: Vec::new(), cells: Vec::new() }
    }

    /// Adds a number that only grows; see [`Description::counter`].
    pub fn counter(
        &mut self,
        description: &mut Description,
        name: &str,
        unit: &Unit,
        labels: &[(&str, &str)],
        read: impl Fn(&S) -> u64 + Send + 'static,
    ) {
        self.described.push((description.counter(name, unit, labels), Box::new(read)));
    }

    /// Adds a number that goes up and down; see [`Description::gauge`].
    pub fn gauge(
        &mut self,
        description: &mut Description,
        name: &str,
        unit: &Unit,
        labels: &[(&str, &str)],
        read: impl Fn(&S) -> u64 + Send + 'static,
    ) {
        self.described.push((description.gauge(name, unit, labels), Box::new(read)));
    }

    /// Says which file the values go to: the one that was made from the description.
    pub fn attach(&mut self, file: &StatsFile) {
        self.cells = self.described.iter().map(|&(described, _)| file.cell(described)).collect();
    }

    /// Copies all values; nothing before it is attached.
    pub fn store(&self, source: &S) {
        for (cell, (_, read)) in self.cells.iter().zip(&self.described) {
            cell.set(read(source));
        }
    }
}

impl<S: ?Sized> Default for Mirror<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: ?Sized> fmt::Debug for Mirror<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mirror({} values)", self.described.len())
    }
}
