//! What was missing when it should have come: dropped by the kernel here, lost on one line, lost on the way.

use super::busy::{Holder, cycle_before_drops, holder};
use super::finding::Finding;
use super::gaps::{latest, lost, messages, settled};
use super::host::{Host, Process, total};
use crate::check::{receive_buffer, truesize};
use crate::doctor::finding::Level;
use crate::doctor::host::held;
use crate::progress::{count, thousands};
use crate::times;
use seqcast_recovery::{GapOrigin, GapRecord, Line, MAX_DATAGRAM_BYTES, Nanos, Source};

/// The largest receive buffer that the kernel can be asked for: it counts the double in an `int` (socket(7)).
const MOST_BUFFER_BYTES: u64 = 1 << 30;

/// Why numbers were missing, as one word.
pub(super) fn origin(gap: &GapRecord) -> &'static str {
    match gap.origin {
        GapOrigin::KernelDrop(_) => "kernel_overrun",
        GapOrigin::Deferred => "deferred",
        GapOrigin::LateJoin => "late_join",
        GapOrigin::Unknown if gap.lost.is_none() && gap.by_answers == 0 => "filled_by_line",
        GapOrigin::Unknown => "lost_on_the_way",
    }
}

pub(super) fn findings(host: &Host, process: &Process) -> Vec<Finding> {
    let gaps = settled(process);
    let of = |cause: &str| gaps.iter().filter(|gap| origin(gap) == cause).copied().collect::<Vec<_>>();
    let found = [
        overrun(host, process, &of("kernel_overrun")),
        on_the_way(host, process, &of("lost_on_the_way")),
        deferred(process, &of("deferred")),
        filled_by_line(process, &of("filled_by_line")),
    ];
    found.into_iter().flatten().chain(on_one_line(process)).collect()
}

/// `3 gaps (48 messages)`
fn gaps_in_words(gaps: &[GapRecord]) -> String {
    let messages = messages(gaps.iter().map(|gap| gap.range));
    format!("{} ({})", count(gaps.len() as u64, "gap"), count(messages, "message"))
}

/// The receive buffer was full.
fn overrun(host: &Host, process: &Process, gaps: &[GapRecord]) -> Option<Finding> {
    let drops = process.kernel_drops();
    if drops == 0 && gaps.is_empty() {
        return None;
    }
    let dropped_on = |line: &Line| process.queue(*line).is_some_and(|queue| queue.drops > 0);
    let opened_by = |line: &Line| gaps.iter().any(|gap| gap.opened_by == Source::Line(*line));
    let line = process.lines().find(dropped_on).or_else(|| process.lines().find(opened_by)).unwrap_or(Line::A);
    let is_lost = gaps.iter().any(|gap| gap.lost.is_some());
    let what = format!("the kernel dropped {} here: the receive buffer was full", count(drops, "datagram"));
    let sockets = process.lines().filter_map(|line| {
        let queue = process.queue(line)?;
        Some(format!("line {line:?}: {}", thousands(queue.drops)))
    });
    let sockets: Vec<_> = sockets.collect();
    let by_socket = (sockets.len() > 1).then(|| format!("dropped by the sockets of its lines: {}", sockets.join(", ")));
    let is_read = process.stalled().is_none();
    let why = match (holder(process), cycle_before_drops(process)) {
        _ if !is_read => "it does not read its lines now, told of by itself".to_owned(),
        (Some(Holder::Output(words)), _) => {
            format!("it did not read its lines, because its output held it up: {words}")
        }
        (_, Some(cycle)) => format!("it did not read its lines in time: {cycle}"),
        (_, None) => {
            "a burst came that is longer than the buffer, or it was stopped or kept from its core while it had \
                      nothing to do; the counters do not tell which"
                .to_owned()
        }
    };
    let (room, mend) = if is_read { buffer(host, process, line, gaps, drops) } else { (None, Vec::new()) };
    let shown = (!gaps.is_empty()).then(|| format!("it showed as {}", gaps_in_words(gaps)));
    let rate = process.session().and_then(|session| host.publisher(session)).map_or(0.0, |sender| sender.rate("next"));
    let longest = gaps.iter().map(|gap| gap.range.count()).max().filter(|_| rate > 0.0).map(|messages| {
        let time = times::in_words(Nanos((messages as f64 / rate * 1e9) as u64));
        format!("the longest of them is {time} of what is published, at the present rate")
    });
    Some(
        Finding::new(if is_lost { Level::Problem } else { Level::Warning }, "kernel_overrun", process, what)
            .why(why)
            .evidence(shown)
            .evidence(latest(process, gaps))
            .evidence(longest)
            .evidence(by_socket)
            .evidence(room)
            .mend(mend),
    )
}

/// What the buffer holds, what the longest burst was that overran it, and the buffer that would have held that.
fn buffer(host: &Host, process: &Process, line: Line, gaps: &[GapRecord], drops: u64) -> (Option<String>, Vec<String>) {
    let granted = process.of_line("receive_buffer_bytes", line).min(MOST_BUFFER_BYTES);
    let mean = process.mean_bytes(line).min(MAX_DATAGRAM_BYTES as u64) as usize;
    if granted == 0 || mean == 0 {
        return (None, Vec::new());
    }
    let holds = held(granted as usize, mean);
    // A batch that was sent as one may count as one, so what is missing is looked at, too.
    let packets = process.of_line("line_packets", line);
    let carried = process.value("messages").saturating_sub(process.value("recovered")).max(1);
    let missing = |gap: &GapRecord| gap.range.count().saturating_mul(packets) / carried;
    let counted = |gap: &GapRecord| match gap.origin {
        GapOrigin::KernelDrop(dropped) => u64::from(dropped),
        _ => 0,
    };
    let dropped = gaps.iter().map(|gap| missing(gap).max(counted(gap))).max();
    let burst = holds.saturating_add(dropped.unwrap_or(drops));
    let needed = receive_buffer(burst.saturating_mul(truesize(mean) as u64));
    let words = format!(
        "the buffer of line {line:?} ({}) holds {} of {}, the mean here; the burst was {} {}, which need {}",
        count(granted, "byte"),
        count(holds, "datagram"),
        count(mean as u64, "byte"),
        if dropped.is_none() { "at most" } else { "about" },
        thousands(burst),
        count(needed, "byte"),
    );
    if needed > MOST_BUFFER_BYTES {
        return (Some(words), vec!["no receive buffer holds that: mend what keeps it from reading".to_owned()]);
    }
    let asked = needed.next_power_of_two();
    let is_capped = host.rmem_max.is_none_or(|most| most < asked);
    let sysctl = is_capped.then(|| format!("sysctl -w net.core.rmem_max={asked}"));
    (Some(words), sysctl.into_iter().chain([format!("seqcast subscribe --receive-buffer {asked} ...")]).collect())
}

/// Messages that one line lost and the other one carried.
fn on_one_line(process: &Process) -> Vec<Finding> {
    if process.lines().count() < 2 {
        return Vec::new();
    }
    // What no line brought is missing on both.
    let gaps = settled(process);
    let both = if process.value("gaps") > gaps.len() as u64 {
        process.value("recovered").saturating_add(process.value("lost"))
    } else {
        messages(gaps.iter().map(|gap| gap.range)).saturating_sub(total(gaps.iter().flat_map(|gap| gap.by_lines)))
    };
    let of = |line: Line| {
        let other = Line::ALL[1 - line.index()];
        let lost = process.lost_on(line);
        let alone = lost.saturating_sub(both);
        if alone == 0 {
            return None;
        }
        let what = if both == 0 {
            format!(
                "line {line:?} lost {}; line {other:?} carried them, no request was needed",
                count(alone, "message")
            )
        } else {
            format!(
                "line {line:?} lost {}; line {other:?} carried all but at most {}, which were asked for",
                count(lost, "message"),
                thousands(both)
            )
        };
        let carried = format!(
            "line {line:?}: {}, {} lost on it; line {other:?}: {}, {} lost on it",
            count(process.of_line("line_packets", line), "packet"),
            thousands(lost),
            count(process.of_line("line_packets", other), "packet"),
            thousands(process.lost_on(other)),
        );
        let finding = Finding::new(Level::Note, "lost_on_one_line", process, what);
        Some(
            finding
                .why(way(process, &[line]))
                .evidence([carried])
                .evidence(impaired(process))
                .mend(look(process, &[line])),
        )
    };
    Line::ALL.into_iter().filter_map(of).collect()
}

/// Messages that every line lost.
fn on_the_way(host: &Host, process: &Process, gaps: &[GapRecord]) -> Option<Finding> {
    if gaps.is_empty() {
        return None;
    }
    let lines: Vec<_> = process.lines().collect();
    let on = if lines.len() == 2 { "on both lines" } else { "on its only line" };
    let place = if process.kernel_drops() == 0 { "on the way here" } else { "on the way or here" };
    let what = format!("{} lost {on}, {place}", gaps_in_words(gaps));
    let (all, remembered) = (process.value("gaps"), settled(process).len());
    let remembered = (all > remembered as u64)
        .then(|| format!("of {} in all, the latest {remembered} are remembered", count(all, "gap")));
    let sender = process.session().and_then(|session| host.publisher(session));
    let refused = sender.and_then(|sender| {
        let refused = sender.now.sum("line_refused");
        let name = sender.name();
        (refused > 0).then(|| {
            format!("the kernel of {name} refused to send {}: its send buffer was full", count(refused, "packet"))
        })
    });
    let recovery = process.now.histogram("recovery", &[]).filter(|histogram| histogram.count > 0).map(|histogram| {
        let [median, most] =
            [histogram.quantile(0.5).unwrap_or(0), histogram.largest].map(|ns| times::in_words(Nanos(ns)));
        format!("recovery took {median} (median), {most} at most")
    });
    let is_lost = lost(process).iter().any(|lost| gaps.iter().any(|gap| gap.range.contains(lost.range.start())));
    let repaired = if is_lost { "some was lost for good, told of by itself" } else { "answers brought all of it" };
    Some(
        Finding::new(Level::Warning, "lost_on_the_way", process, what)
            .why(way(process, &lines))
            .evidence(latest(process, gaps))
            .evidence([repaired.to_owned()])
            .evidence(remembered)
            .evidence(recovery)
            .evidence(refused)
            .evidence(impaired(process))
            .mend(look(process, &lines)),
    )
}

/// Where what did not come on these lines was lost.
fn way(process: &Process, lines: &[Line]) -> String {
    let dropped = total(lines.iter().filter_map(|line| process.queue(*line)).map(|queue| queue.drops));
    let is_impaired = process.value("impaired_dropped") > 0;
    match (is_impaired, process.kernel_drops()) {
        (true, _) => "it drops datagrams on purpose (--impair); what else was lost cannot be told from that".to_owned(),
        (false, 0) => {
            "the kernel here dropped none: a card, a switch, or the way out of the publisher's host lost them"
                .to_owned()
        }
        (false, all) => format!(
            "the kernel here dropped {}, told of by itself; some of these may be of them",
            count(if dropped > 0 { dropped } else { all }, "datagram")
        ),
    }
}

fn impaired(process: &Process) -> Option<String> {
    let dropped = process.value("impaired_dropped");
    (dropped > 0).then(|| format!("--impair dropped {} so far", count(dropped, "datagram")))
}

/// How to look at the way to these lines; nothing for rings, which have none.
pub(super) fn look(process: &Process, lines: &[Line]) -> Vec<String> {
    let option = |line: &Line| {
        let address = process.line(*line)?.split(',').next()?;
        let name = if *line == Line::A { "--line-a" } else { "--line-b" };
        (!address.starts_with("ring:")).then(|| format!(" {name} {address}"))
    };
    let options: String = lines.iter().filter_map(option).collect();
    let unimpaired = (process.value("impaired_dropped") > 0).then(|| "leave out --impair".to_owned());
    let doctor = (!options.is_empty()).then(|| format!("seqcast doctor{options}"));
    unimpaired.into_iter().chain(doctor).collect()
}

fn deferred(process: &Process, gaps: &[GapRecord]) -> Option<Finding> {
    let what = format!("{} came while a gap before was open, and had no room beyond it", gaps_in_words(gaps));
    let finding = Finding::new(Level::Note, "deferred", process, what)
        .why("the reorder window was full, so they were asked for again; what opened the gap before is told of by itself")
        .evidence(latest(process, gaps));
    (!gaps.is_empty()).then_some(finding)
}

fn filled_by_line(process: &Process, gaps: &[GapRecord]) -> Option<Finding> {
    let what = format!("{} filled by a line before any answer came", gaps_in_words(gaps));
    let finding = Finding::new(Level::Note, "filled_by_line", process, what)
        .why("they were late on one line: overtaken on the way, or lost on it while the other one was behind")
        .evidence(latest(process, gaps));
    (!gaps.is_empty()).then_some(finding)
}
