//! What a person looks at: the list, one process, or the help; and what keys do to it.

use super::member::{Condition, Member};
use super::render;
use crate::stats::Reading;
use std::path::PathBuf;

/// A key, as far as there is something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Escape,
    Character(char),
    /// Ctrl-C.
    Interrupt,
}

/// What decides the order of feeds, and of the subscribers of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    #[default]
    Name,
    Rate,
    Lag,
    Lost,
    State,
}

impl Sort {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Rate => "rate",
            Self::Lag => "lag",
            Self::Lost => "lost",
            Self::State => "state",
        }
    }

    const fn next(self) -> Self {
        match self {
            Self::Name => Self::Rate,
            Self::Rate => Self::Lag,
            Self::Lag => Self::Lost,
            Self::Lost => Self::State,
            Self::State => Self::Name,
        }
    }

    /// What is largest comes first.
    fn weight(self, member: &Member<'_>) -> u64 {
        match self {
            Self::Name => 0,
            Self::Rate => member.rate("messages").unwrap_or(0),
            Self::Lag => member.value("lag_messages").unwrap_or(0),
            Self::Lost => member.value("lost").unwrap_or(0),
            Self::State => Condition::Dead as u64 - member.condition() as u64,
        }
    }
}

/// What is on the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Page {
    #[default]
    List,
    /// The selected process, from this line on.
    Process(usize),
    Help,
}

/// Everything that keys change.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) directory: PathBuf,
    pub(super) page: Page,
    pub(super) sort: Sort,
    pub(super) is_paused: bool,
    /// The file of the selected process; the first one if there is no such.
    selected: Option<PathBuf>,
}

/// A session and its processes, publishers first.
#[derive(Debug)]
pub(super) struct Feed<'a> {
    pub(super) name: &'a str,
    pub(super) members: Vec<Member<'a>>,
}

/// Both readings, the later one and what was before it, if anything.
#[derive(Clone, Copy, Debug)]
pub(super) struct Readings<'a> {
    pub(super) current: &'a Reading,
    pub(super) previous: Option<&'a Reading>,
}

impl View {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, ..Self::default() }
    }

    /// All feeds in their order.
    pub(super) fn feeds<'a>(&self, readings: Readings<'a>) -> Vec<Feed<'a>> {
        let mut feeds: Vec<Feed<'a>> = Vec::new();
        for process in &readings.current.processes {
            let member = Member::new(process, readings.previous);
            match feeds.last_mut().filter(|feed| feed.name == process.feed()) {
                Some(feed) => feed.members.push(member),
                None => feeds.push(Feed { name: process.feed(), members: vec![member] }),
            }
        }
        let weight = |member: &Member<'_>| std::cmp::Reverse(self.sort.weight(member));
        for feed in &mut feeds {
            feed.members.sort_by_key(|member| (member.is_subscriber(), weight(member)));
        }
        feeds.sort_by_key(|feed| feed.members.iter().map(weight).min());
        feeds
    }

    /// Which of the processes in their order is selected.
    pub(super) fn selected(&self, feeds: &[Feed<'_>]) -> usize {
        let mut members = feeds.iter().flat_map(|feed| &feed.members);
        members.position(|member| Some(&member.process.snapshot.path) == self.selected.as_ref()).unwrap_or(0)
    }

    /// Does what a key asks for on a screen of this size; `false` to quit.
    pub(super) fn handle(&mut self, key: Key, readings: Readings<'_>, size: (usize, usize)) -> bool {
        if matches!(key, Key::Interrupt | Key::Character('q')) {
            return false;
        }
        if self.page == Page::Help {
            self.page = Page::List;
            return true;
        }
        match key {
            Key::Character('s') => self.sort = self.sort.next(),
            Key::Character('p') => self.is_paused = !self.is_paused,
            Key::Character('?') => self.page = Page::Help,
            Key::Escape => self.page = Page::List,
            Key::Enter => self.page = if self.page == Page::List { Page::Process(0) } else { Page::List },
            _ => self.travel(key, readings, size),
        }
        true
    }

    fn travel(&mut self, key: Key, readings: Readings<'_>, size: (usize, usize)) {
        let feeds = self.feeds(readings);
        let members: Vec<_> = feeds.iter().flat_map(|feed| &feed.members).collect();
        let (at, last, page) = match self.page {
            Page::Process(from) => {
                let last = render::last_line(self, readings, size);
                (from.min(last), last, size.1)
            }
            _ => (self.selected(&feeds), members.len().saturating_sub(1), size.1 / 2),
        };
        let to = match key {
            Key::Up | Key::Character('k') => at.saturating_sub(1),
            Key::Down | Key::Character('j') => at + 1,
            Key::PageUp => at.saturating_sub(page),
            Key::PageDown => at + page,
            Key::Home => 0,
            Key::End => last,
            _ => return,
        };
        let to = to.min(last);
        match &mut self.page {
            Page::Process(from) => *from = to,
            _ => self.selected = members.get(to).map(|member| member.process.snapshot.path.clone()),
        }
    }
}
