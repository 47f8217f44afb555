//! A subscriber that is kept from its lines: stopped, held up by its output, or by its own handling.

use super::finding::Finding;
use super::gaps::{ago, lost, settled};
use super::host::{Host, Process, percent};
use crate::doctor::finding::Level;
use crate::progress::{count, thousands};
use crate::times;
use seqcast_recovery::{GapOrigin, LossCause, Nanos};
use seqcast_stats::Snapshot;

/// How far a subscriber may be behind its publisher: five times what lies between the writings of both files, and the readings of
/// them.
const BEHIND: Nanos = Nanos::from_millis(100);

/// When what the kernel dropped during a duty cycle shows at the latest, once that is over: what is still in the buffer comes first.
/// Arbitrary, what fills the largest buffer on a slow machine.
const SHOWN_AFTER: Nanos = Nanos::from_millis(100);

/// What holds a subscriber up, as far as it is known, and what shows it.
pub(super) enum Holder {
    /// The writes of its output.
    Output(String),
    /// Long duty cycles, and not their writes.
    Handling(String),
}

/// What holds a subscriber up when it is slow.
pub(super) fn holder(process: &Process) -> Option<Holder> {
    let longest = Nanos(process.value("longest_cycle"));
    let output = process.now.value("output_time", &[]).map(Nanos);
    let slowest = Nanos(process.value("output_slowest"));
    let time = output.unwrap_or_default();
    let is_most = process.life > Nanos::ZERO && time.0 >= process.life.0 / 2;
    let cycles = process.now.table("slow_cycles").map_or(0, |table| table.rows.len() as u64);
    let of_longest = format!("the longest duty cycle took {}", times::in_words(longest));
    if is_most || (cycles > 0 && slowest.0 >= longest.0 / 2) {
        return Some(Holder::Output(format!(
            "writing its output took {} of {} ({} %), the slowest write {}; {of_longest}",
            times::in_words(time),
            times::in_words(process.life),
            percent(time.0, process.life.0),
            times::in_words(slowest),
        )));
    }
    let writes = output
        .filter(|time| *time > Nanos::ZERO)
        .map(|time| format!(", the slowest write {}, all writes {}", times::in_words(slowest), times::in_words(time)));
    (cycles > 0).then(|| Holder::Handling(format!("{of_longest}{}", writes.unwrap_or_default())))
}

/// A subscriber that does not write its file: stopped, or kept from its core, or from its poll.
pub(super) fn stalled(process: &Process) -> Option<Finding> {
    let time = times::in_words(process.stalled()?);
    let (state, waits_in) = (process.thread.state, process.thread.waits_in.as_deref());
    let pid = process.now.process;
    let finding = |cause, what: String| Finding::new(Level::Problem, cause, process, what);
    let waits = waits_in.map(|function| format!("its main thread waits in the kernel's {function}"));
    let finding = match (state, waits_in) {
        (Some('T' | 't'), _) => finding("stopped", format!("stopped {time} ago by a signal or a debugger"))
            .why("it takes nothing from its lines while it is stopped; the kernel keeps what fits and drops the rest")
            .mend([format!("kill -CONT {pid}")]),
        (_, Some(function)) if is_output(process, function) => {
            finding("slow_output", format!("has waited for its output for {time}"))
                .why("whoever reads its output does not: it takes nothing from its lines meanwhile")
                .evidence(waits)
                .mend(output_mends())
        }
        (Some('R'), _) => finding("stalled", format!("has not come round for {time}, and its main thread would run"))
            .why(
                "it is kept from its core by others, or its own handling takes so long; the counters do not tell which",
            )
            .mend([format!("top -H -p {pid}"), "give it a core of its own: --core N".to_owned()]),
        _ => finding("stalled", format!("has not come round for {time}"))
            .why("it was not stopped by a signal; what it waits for is not known")
            .evidence(waits)
            .mend([format!("cat /proc/{pid}/stack    # as root"), format!("strace -f -p {pid}")]),
    };
    Some(finding.evidence(backlog(process)))
}

/// Whether a thread that waits in this function of the kernel waits for room in its output: in a write, or, as the command does, in
/// poll(2), where it waits for nothing else for as long as that.
fn is_output(process: &Process, function: &str) -> bool {
    let writes = ["pipe_write", "sock_alloc_send_pskb", "sk_stream_wait_memory", "n_tty_write"];
    let is_command = process.now.value("output_bytes", &[]).is_some();
    writes.iter().any(|name| function.contains(name)) || (is_command && function.starts_with("poll_schedule_timeout"))
}

fn output_mends() -> [String; 2] {
    [
        "let what reads its output read faster, or write to a file in memory: --output /dev/shm/FILE".to_owned(),
        "--format blocks, which is the shortest; nothing is formatted".to_owned(),
    ]
}

/// What waits in the receive buffers of its lines.
fn backlog(process: &Process) -> Vec<String> {
    let of = |line| {
        let full = process.fullness(line).filter(|full| *full >= 50)?;
        Some(format!("its receive buffer of line {line:?} is {full} % full"))
    };
    process.lines().filter_map(of).collect()
}

/// A subscriber that falls, or fell, behind because it is slow.
pub(super) fn slow(host: &Host, process: &Process) -> Option<Finding> {
    if process.stalled().is_some() {
        return None;
    }
    let mut harm: Vec<_> = behind(host, process).into_iter().collect();
    if !process.is_dead() {
        harm.extend(backlog(process));
    }
    let is_late = !harm.is_empty();
    let drops = process.kernel_drops();
    if drops > 0 {
        harm.push(format!("the kernel dropped {} here", count(drops, "datagram")));
    }
    let overwritten = lost(process).iter().any(|lost| lost.cause == LossCause::Overwritten);
    if overwritten {
        harm.push("messages were overwritten at the publisher before it asked for them".to_owned());
    }
    let has_lost =
        settled(process).iter().any(|gap| gap.lost.is_some() && matches!(gap.origin, GapOrigin::KernelDrop(_)));
    let level = if overwritten || has_lost { Level::Problem } else { Level::Warning };
    let holder = holder(process);
    let cycles = cycle_before_drops(process);
    if harm.is_empty() {
        let Holder::Output(words) = holder? else { return None };
        let share = percent(process.value("output_time"), process.life.0.max(1));
        let what = format!("spends {share} % of its time in writing its output");
        return (share >= 50).then(|| {
            Finding::new(Level::Note, "slow_output", process, what)
                .why("nothing was late or lost for it so far")
                .evidence([words])
                .mend(output_mends())
        });
    }
    Some(match holder {
        Some(Holder::Output(words)) => Finding::new(level, "slow_output", process, "too slow because its output was")
            .why("it takes nothing from its lines while a write waits; the kernel keeps what fits and drops the rest")
            .evidence([words])
            .evidence(harm)
            .evidence(cycles)
            .mend(output_mends()),
        Some(Holder::Handling(words)) if is_late || overwritten || cycles.is_some() => {
            Finding::new(level, "slow_handling", process, "too slow, and not because of its output")
                .why(
                    "its own handling took so long, or it was stopped or kept from its core meanwhile; \
                     the counters do not tell which",
                )
                .evidence([words])
                .evidence(harm)
                .evidence(cycles)
                .mend([
                    "do less while handling an event, or hand over to another thread".to_owned(),
                    "--core N, a core of its own; seqcast doctor says what is in its way".to_owned(),
                ])
        }
        // Without a slow duty cycle near them, drops speak of bursts, which are told of as such.
        _ if !is_late => return None,
        _ => Finding::new(level, "behind", process, "falls behind")
            .why("no slow duty cycle and no slow output was seen: each takes too long by a little, or it lacks a core")
            .evidence(harm)
            .mend(["--core N, a core of its own; seqcast doctor says what is in its way".to_owned()]),
    })
}

/// How far what it has read is behind its publisher on this host, if it falls further behind.
fn behind(host: &Host, process: &Process) -> Option<String> {
    let publisher =
        host.publisher(process.session()?).filter(|publisher| !publisher.is_dead() && !process.is_dead())?;
    let between = |publisher: &Snapshot, subscriber: &Snapshot| {
        publisher.value("next", &[])?.checked_sub(subscriber.value("highest", &[])?)
    };
    let before = between(publisher.before.as_ref()?, process.before.as_ref()?)?;
    let now = between(&publisher.now, &process.now)?;
    let rate = publisher.rate("next");
    let is_behind = now > before && now as f64 > rate * BEHIND.as_duration().as_secs_f64();
    is_behind.then(|| {
        format!(
            "it is {} behind {} and falls further behind: {}/s are published, {}/s read",
            count(now, "message"),
            publisher.name(),
            thousands(rate as u64),
            thousands(process.rate("highest") as u64)
        )
    })
}

/// The longest slow duty cycle that a drop of the kernel followed.
pub(super) fn cycle_before_drops(process: &Process) -> Option<String> {
    let table = process.now.table("slow_cycles")?;
    let gaps = settled(process);
    let drops = gaps.iter().filter(|gap| matches!(gap.origin, GapOrigin::KernelDrop(_)));
    let cycle = |at: Nanos| {
        let cycles = table.rows.iter().filter_map(|row| {
            let (begin, duration) = (Nanos(table.value(row, "at")?), Nanos(table.value(row, "duration")?));
            (at >= begin && at < begin + duration + SHOWN_AFTER).then_some(duration)
        });
        cycles.max()
    };
    let (duration, at) = drops.filter_map(|gap| Some((cycle(gap.opened_at)?, gap.opened_at))).max()?;
    Some(format!("a duty cycle of {} came before what was dropped {} ago", times::in_words(duration), ago(process, at)))
}
