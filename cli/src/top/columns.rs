//! The columns of the list: what each shows and how wide a screen must be for it.

use super::member::{Member, short, short_time};
use crate::progress::thousands;

/// What stands in a column.
type Text = fn(&Member<'_>) -> String;

/// A column.
pub(super) struct Column {
    title: &'static str,
    /// With a blank before it.
    width: usize,
    /// The narrowest screen that has it.
    from: usize,
    /// The widest screen that has it; another one takes its place beyond.
    to: usize,
    text: Text,
}

const ANY: usize = usize::MAX;

/// Where they begin: behind a mark, a letter for the role, and the longest process id.
const BEGIN: usize = 10;

const fn column(title: &'static str, width: usize, from: usize, text: Text) -> Column {
    Column { title, width, from, to: ANY, text }
}

/// Of publishers and retransmitters.
const PUBLISHER: &[Column] = &[
    column("STATE", 6, 0, |it| it.condition().word().to_owned()),
    column("MSG/S", 6, 0, |it| number(it.rate("messages"))),
    column("MB/S", 7, 0, |it| megabytes(it.rate("line_bytes"))),
    column("UNSENT", 7, 0, |it| number(it.sum("line_refused"))),
    column("RETAINED", 9, 0, |it| time(it.value("retained_time").filter(|&time| time > 0))),
    column("CLIENTS", 8, 0, |it| number(it.value("clients"))),
    column("REQ/S", 6, 0, |it| number(it.rate("requests"))),
    column("REFUSED", 8, 0, |it| number(it.sum("requests_refused"))),
    column("OVERWRITTEN", 12, 0, |it| number(it.value("requests_overwritten"))),
    column("NEXT", 16, 95, |it| exact(it.value("next"))),
    column("CYCLE", 7, 102, |it| time(it.value("longest_cycle"))),
];

/// Of subscribers.
const SUBSCRIBER: &[Column] = &[
    column("STATE", 6, 0, |it| it.condition().word().to_owned()),
    column("MSG/S", 6, 0, |it| number(it.rate("messages"))),
    Column { title: "NEXT", width: 6, from: 0, to: 108, text: |it| number(it.value("next")) },
    column("NEXT", 16, 109, |it| exact(it.value("next"))),
    column("LAG", 6, 0, |it| number(it.value("lag_messages"))),
    column("TIME", 6, 0, |it| time(it.value("lag_time"))),
    column("OPEN", 5, 0, |it| number(it.value("open_gaps"))),
    column("RECOV", 6, 0, |it| number(it.value("recovered"))),
    column("LOST", 6, 0, |it| number(it.value("lost"))),
    column("P50", 6, 0, |it| time(it.quantile("recovery", 0.5))),
    column("P99", 6, 0, |it| time(it.quantile("recovery", 0.99))),
    column("A%", 4, 0, |it| number(it.share_of_a())),
    Column { title: "MISSED", width: 7, from: 0, to: 86, text: |it| number(it.sum("line_missed")) },
    column("MISS A", 7, 87, |it| number(it.of_line("line_missed", "a"))),
    column("MISS B", 7, 87, |it| number(it.of_line("line_missed", "b"))),
    column("DELIV", 6, 99, |it| time(it.quantile("delivery", 0.99))),
    column("QUEUE", 6, 99, |it| it.queue_percent().map_or_else(none, |percent| format!("{percent}%"))),
    column("DROPS", 6, 115, |it| number(it.sum("line_kernel_drops"))),
    column("MB/S", 7, 122, |it| megabytes(it.rate("line_bytes"))),
];

/// What each letter stands for.
pub(super) const LEGEND: &[&str] = &[
    "P publisher, R retransmitter: MB/S on all lines, UNSENT packets that the",
    "  kernel did not take, RETAINED how far back can be asked for, REQ/S requests,",
    "  REFUSED and OVERWRITTEN requests without an answer, CYCLE longest duty cycle",
    "S subscriber: LAG messages that exist and are not delivered, TIME since when,",
    "  OPEN gaps, RECOV messages recovered, LOST messages, P50 P99 of a recovery,",
    "  A% first copies that line A brought, MISSED messages that a line did not",
    "  bring, DELIV p99 from the kernel to delivery, QUEUE how full the kernel's",
    "  receive queue is, DROPS datagrams that the kernel dropped",
    "STATE stall: does not write; queue: over half full; lag: falls behind;",
    "  quiet: hears nothing; ended: the session has; dead: was killed",
];

fn of(is_subscriber: bool, width: usize) -> impl Iterator<Item = &'static Column> {
    let columns = if is_subscriber { SUBSCRIBER } else { PUBLISHER };
    columns.iter().filter(move |column| (column.from..=column.to).contains(&width))
}

/// The head of the columns.
pub(super) fn head(is_subscriber: bool, width: usize) -> String {
    let name = if is_subscriber { "SUBSCRIBER" } else { "PUBLISHER" };
    of(is_subscriber, width)
        .fold(format!("{name:BEGIN$}"), |line, column| format!("{line}{:>1$}", column.title, column.width))
}

/// A process in its columns.
pub(super) fn row(member: &Member<'_>, width: usize) -> String {
    let role = member.process.snapshot.role.chars().next().map_or('?', |first| first.to_ascii_uppercase());
    let begin = format!(" {role} {:>7}", member.process.snapshot.process);
    of(member.is_subscriber(), width).fold(begin, |line, column| {
        let text = (column.text)(member);
        format!("{line}{text:>0$}", column.width)
    })
}

fn none() -> String {
    "-".to_owned()
}

fn number(value: Option<u64>) -> String {
    value.map_or_else(none, short)
}

fn exact(value: Option<u64>) -> String {
    value.map_or_else(none, thousands)
}

fn time(value: Option<u64>) -> String {
    value.map_or_else(none, short_time)
}

fn megabytes(value: Option<u64>) -> String {
    value.map_or_else(none, |bytes| match bytes as f64 / 1e6 {
        few if few < 10.0 => format!("{few:.2}"),
        some if some < 1_000.0 => format!("{some:.1}"),
        many => short(many as u64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_has_room_for_its_columns() {
        for width in 80..300 {
            for is_subscriber in [false, true] {
                let head = head(is_subscriber, width);
                assert!(head.len() <= width, "{width}: {head}");
            }
        }
        let lines = LEGEND.iter().filter(|line| line.len() > 78);
        assert_eq!(lines.count(), 0);
    }

    #[test]
    fn bytes_are_told_in_millions() {
        let texts = [0, 45_600, 45_600_000, 123_400_000, 12_345_000_000].map(|bytes| megabytes(Some(bytes)));
        assert_eq!(texts, ["0.00", "0.05", "45.6", "123.4", "12.3k"]);
    }
}
