//! From two readings to a screen: a function without a clock and without a terminal.

use super::columns;
use super::events;
use super::member::{Condition, Member};
use super::screen::{Screen, Style};
use super::view::{Feed, Page, Readings, View};
use crate::progress::count;
use crate::stats::{block, title};
use crate::times;

/// Title and the heads of both kinds of rows.
const HEAD_ROWS: usize = 3;

/// Draws what the view shows on a screen of so many columns and rows.
pub(super) fn screen(view: &View, readings: Readings<'_>, (width, height): (usize, usize)) -> Screen {
    let mut screen = Screen::new(width, height);
    let feeds = view.feeds(readings);
    match view.page {
        Page::List => list(&mut screen, view, readings, &feeds),
        Page::Process(from) => {
            let lines = details(view, readings, &feeds);
            bar(&mut screen, lines.first().map_or("no process", String::as_str), readings, view);
            let from = from.min(furthest(lines.len(), height));
            for (row, line) in lines.iter().skip(1 + from).take(height.saturating_sub(2)).enumerate() {
                screen.put(row + 1, 0, Style::PLAIN, line);
            }
            keys(&mut screen, "q quit  up/down/j/k scroll  enter/esc back  p pause  ? help");
        }
        Page::Help => {
            bar(&mut screen, "help", readings, view);
            for (row, line) in HELP.iter().chain(columns::LEGEND).enumerate() {
                screen.put(row + 1, 1, Style::PLAIN, line);
            }
            keys(&mut screen, "any key: back");
        }
    }
    screen
}

/// The keys.
const HELP: &[&str] = &[
    "q, Ctrl-C        quit",
    "up, down, j, k   select a process, or scroll; also page up, page down, home, end",
    "enter            everything about the selected process; enter or esc: back",
    "s                sort by name, rate, lag, lost, state",
    "p                pause and go on; rates are those between the last two readings",
    "",
];

/// The last line from which the details of a process can be shown.
pub(super) fn last_line(view: &View, readings: Readings<'_>, (_, height): (usize, usize)) -> usize {
    furthest(details(view, readings, &view.feeds(readings)).len(), height)
}

fn furthest(lines: usize, height: usize) -> usize {
    // The first line is the title; the last row has the keys.
    lines.saturating_sub(height.max(2) - 1)
}

/// Everything about the selected process, its title first.
fn details(view: &View, readings: Readings<'_>, feeds: &[Feed<'_>]) -> Vec<String> {
    let Some(member) = feeds.iter().flat_map(|feed| &feed.members).nth(view.selected(feeds)) else { return Vec::new() };
    let (process, reading) = (member.process, readings.current);
    let gaps = events::latest([process], reading, usize::MAX).into_iter().map(|event| format!("  {}", event.text));
    let lines = std::iter::once(title(process, reading)).chain(block(process, reading, readings.previous));
    lines.chain(gaps).collect()
}

fn bar(screen: &mut Screen, words: &str, readings: Readings<'_>, view: &View) {
    let utc = times::utc(readings.current.unix);
    let paused = if view.is_paused { "PAUSED " } else { "" };
    let right = format!(" {paused}{} UTC ", utc.get(11..19).unwrap_or_default());
    screen.put(0, 0, Style::PLAIN, &format!(" {words}"));
    screen.put(0, screen.width().saturating_sub(right.len()), Style::PLAIN, &right);
    screen.fill(0, |_| Style::TITLE);
}

fn keys(screen: &mut Screen, words: &str) {
    let last = screen.height().saturating_sub(1);
    screen.fill(last, |_| Style::PLAIN);
    screen.put(last, 0, Style::DIM, &format!("{words:0$}", screen.width()));
}

/// A row of the list.
enum Row<'a> {
    Feed(&'a Feed<'a>),
    Member(&'a Member<'a>),
}

fn list(screen: &mut Screen, view: &View, readings: Readings<'_>, feeds: &[Feed<'_>]) {
    bar(screen, &summary(feeds), readings, view);
    for (row, is_subscriber) in [(1, false), (2, true)] {
        screen.put(row, 0, Style::BOLD, &columns::head(is_subscriber, screen.width()));
    }
    let rows: Vec<_> = feeds
        .iter()
        .flat_map(|feed| std::iter::once(Row::Feed(feed)).chain(feed.members.iter().map(Row::Member)))
        .collect();
    let events_rows = events_rows(screen.height());
    let space = screen.height().saturating_sub(HEAD_ROWS + events_rows + 2);
    let is_member = |row: &Row<'_>| matches!(row, Row::Member(_));
    let indices: Vec<_> = rows.iter().enumerate().filter(|(_, row)| is_member(row)).map(|(index, _)| index).collect();
    let selected = indices.get(view.selected(feeds)).copied().unwrap_or(0);
    let from = selected.saturating_sub(space / 2).min(rows.len().saturating_sub(space));
    for (at, (index, row)) in rows.iter().enumerate().skip(from).take(space).enumerate() {
        let at = HEAD_ROWS + at;
        match row {
            Row::Feed(feed) => screen.put(at, 0, Style::BOLD, &heading(feed)),
            Row::Member(member) => {
                let style = member.condition().style();
                screen.put(at, 0, style, &columns::row(member, screen.width()));
                if index == selected {
                    screen.put(at, 0, style, ">");
                    screen.fill(at, |style| Style { is_reversed: true, ..style });
                }
            }
        }
    }
    if rows.is_empty() {
        let words = format!("no process keeps counters in {}", view.directory.display());
        screen.put(HEAD_ROWS + 1, 1, Style::PLAIN, &words);
    }
    let below = HEAD_ROWS + space;
    let shown = if rows.len() > space && space > 0 {
        format!("rows {} to {} of {} ", from + 1, from + space, rows.len())
    } else {
        String::new()
    };
    screen.put(below, 0, Style::BOLD, &format!("GAPS, latest first{shown:>0$}", screen.width().saturating_sub(18)));
    let mut events = events::latest(&readings.current.processes, readings.current, events_rows);
    if let Some((path, error)) = readings.current.skipped.first() {
        let others = readings.current.skipped.len() as u64 - 1;
        let others = if others > 0 { format!("; so are {}", count(others, "other")) } else { String::new() };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // It takes the place of the oldest of the gaps.
        events.truncate(events_rows.saturating_sub(1));
        screen.put(below + 1 + events.len(), 0, Style::DIM, &format!("{name} is skipped: {error}{others}"));
    }
    for (row, event) in events.iter().enumerate() {
        screen.put(below + 1 + row, 0, event.style, &event.text);
    }
    keys(screen, &format!("q quit  up/down/j/k select  enter details  s sort: {}  p pause  ? help", view.sort.word()));
}

/// How many gaps are shown: a quarter of the screen, 2 to 10.
fn events_rows(height: usize) -> usize {
    (height.saturating_sub(HEAD_ROWS + 2) / 4).clamp(2, 10)
}

fn summary(feeds: &[Feed<'_>]) -> String {
    let members: Vec<_> = feeds.iter().flat_map(|feed| &feed.members).collect();
    let subscribers = members.iter().filter(|member| member.is_subscriber()).count();
    let mut words = vec![
        count(feeds.len() as u64, "feed"),
        count((members.len() - subscribers) as u64, "publisher"),
        count(subscribers as u64, "subscriber"),
    ];
    let conditions: Vec<_> = members.iter().map(|member| member.condition()).collect();
    let ill = [
        (&[Condition::Queue, Condition::Lag][..], "slow"),
        (&[Condition::Stalled], "stalled"),
        (&[Condition::Dead], "dead"),
    ];
    for (of, word) in ill {
        match conditions.iter().filter(|condition| of.contains(condition)).count() {
            0 => {}
            count => words.push(format!("{count} {word}")),
        }
    }
    words.join(", ")
}

/// The session, and where it goes.
fn heading(feed: &Feed<'_>) -> String {
    let fact = |name| feed.members.iter().find_map(|member| member.process.snapshot.fact(name));
    let lines = [("A", fact("line_a")), ("B", fact("line_b"))].into_iter();
    let lines = lines.filter_map(|(line, address)| Some(format!("{line} {}", address?)));
    std::iter::once(feed.name.to_owned()).chain(lines).collect::<Vec<_>>().join("  ")
}
