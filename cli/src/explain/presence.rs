//! Who is there: processes that were killed or stand still, publishers that nobody hears, lines that are silent.

use super::answers::revival;
use super::busy;
use super::finding::Finding;
use super::gaps::ago;
use super::host::{Host, Process};
use super::lines::look;
use crate::doctor::finding::Level;
use crate::progress::{count, thousands};
use crate::times;
use seqcast_recovery::{Line, Nanos};

pub(super) fn of_subscriber(host: &Host, process: &Process) -> Vec<Finding> {
    if process.is_dead() {
        let what = format!("was killed; its counters are those of {} ago", ago(process, process.now.written_at));
        let finding = Finding::new(Level::Warning, "subscriber_gone", process, what)
            .why("it ended without removing its file; what else is said of it is the last that is known")
            .evidence([counts(process)])
            .mend([clear(process)]);
        return vec![finding];
    }
    busy::stalled(process).into_iter().chain(silent(host, process)).chain(silent_lines(host, process)).collect()
}

/// Removes the files of processes that were killed, of its directory.
fn clear(process: &Process) -> String {
    let directory = process.now.path.parent().unwrap_or(&process.now.path);
    format!("seqcast stats --clear --stats {}", directory.display())
}

/// `1,000,000 messages up to 1,000,001, 3 gaps, 0 lost`
pub(super) fn counts(process: &Process) -> String {
    format!(
        "{}, next {}, {}, {} by answers, {} lost",
        count(process.value("messages"), "message"),
        thousands(process.value("next")),
        count(process.value("gaps"), "gap"),
        thousands(process.value("recovered")),
        thousands(process.value("lost")),
    )
}

/// For how long nothing was heard on any line; none if nothing ever was.
fn unheard_for(process: &Process) -> Option<Nanos> {
    Line::ALL.into_iter().filter_map(|line| process.heard_at(line)).max().map(|at| process.since(at))
}

/// Whether it waits for a publisher that it does not hear.
fn is_silent(process: &Process) -> bool {
    !process.is_dead() && process.stalled().is_none() && process.value("heard") == 0 && process.value("ended") == 0
}

/// Nothing is heard, and no publisher on this host tells why.
fn silent(host: &Host, process: &Process) -> Option<Finding> {
    if !is_silent(process) {
        return None;
    }
    let lines: Vec<_> = process.lines().collect();
    let set: Vec<_> =
        lines.iter().filter_map(|line| Some(format!("line {line:?} is {}", process.line(*line)?))).collect();
    let set = set.join(", ");
    let nobody = process.value("requests_refused");
    let nobody = (nobody > 0)
        .then(|| format!("the host of its request address said {} that nobody listens there", count(nobody, "time")));
    let Some(time) = unheard_for(process) else {
        let group = |process: &Process, line| process.line(line)?.split(['@', ',']).next().map(str::to_owned);
        let sender = host.processes.iter().find(|other| {
            let sends =
                |line| lines.iter().any(|&own| group(process, own).is_some_and(|own| group(other, line) == Some(own)));
            !other.is_subscriber() && !other.is_dead() && other.lines().any(sends)
        });
        let finding = Finding::new(Level::Problem, "never_heard", process, "has heard nothing on its lines so far");
        let (why, id) = match sender {
            Some(sender) => (
                format!("{} sends there, so it is lost between both: another interface, or a firewall", sender.name()),
                Some(sender.now.process),
            ),
            None => (
                "no publisher on this host that keeps counters sends there: none runs, or it is elsewhere".to_owned(),
                None,
            ),
        };
        return Some(finding.why(why).with(id).evidence([set]).evidence(nobody).mend(look(process, &lines)));
    };
    let publisher = process.session().and_then(|session| host.publisher(session));
    let what = format!("has heard nothing on any line for {}", times::in_words(time));
    let finding = |cause| Finding::new(Level::Problem, cause, process, what.clone()).evidence([set.clone()]);
    Some(match (publisher, nobody) {
        // Told of with its publisher.
        (Some(publisher), _) if publisher.is_dead() || publisher.stalled().is_some() => return None,
        (Some(publisher), nobody) => finding("unheard")
            .why(format!("{} runs, so it is lost between both", publisher.name()))
            .evidence(nobody)
            .with([publisher.now.process])
            .mend(look(process, &lines)),
        (None, Some(nobody)) => finding("publisher_gone")
            .why("its publisher is gone, or restarts: nothing is heard, and nobody listened at its request address")
            .evidence([nobody])
            .mend(revival(None)),
        (None, None) => finding("silent")
            .why("no counters on this host are of its publisher: whether that is gone or not heard is not known here")
            .mend(["seqcast explain    # on the publisher's host".to_owned()])
            .mend(look(process, &lines)),
    })
}

/// One line is silent while the other is heard.
fn silent_lines(host: &Host, process: &Process) -> Vec<Finding> {
    let of = |line: Line| {
        let other = Line::ALL[1 - line.index()];
        let is_alone = process.of_line("line_silent", line) == 1 && process.value("heard") == 1;
        if !is_alone || process.line(other).is_none() {
            return None;
        }
        let since = process.heard_at(line).map(|at| format!("for {}", ago(process, at)));
        let since = since.unwrap_or_else(|| "so far".to_owned());
        let publisher = process.session().and_then(|session| host.publisher(session)).filter(|it| !it.is_dead());
        let why = match publisher {
            None => "whether it is sent is not known here: no counters on this host are of its publisher".to_owned(),
            Some(publisher) if publisher.line(line).is_none() => format!("{} has no line {line:?}", publisher.name()),
            Some(publisher) => format!(
                "{} has sent {} on it, so they are lost on the way",
                publisher.name(),
                count(publisher.of_line("line_packets", line), "packet")
            ),
        };
        let what = format!("line {line:?} is silent {since}; line {other:?} alone carries the session");
        let finding = Finding::new(Level::Warning, "line_silent", process, what).why(why);
        Some(finding.with(publisher.map(|publisher| publisher.now.process)).mend(look(process, &[line])))
    };
    Line::ALL.into_iter().filter_map(of).collect()
}

/// A publisher or retransmitter that was killed, or stands still.
pub(super) fn of_server(host: &Host, process: &Process) -> Option<Finding> {
    let session = process.session();
    let subscribers: Vec<_> =
        host.subscribers().filter(|other| !other.is_dead() && other.session() == session).collect();
    let waits = |other: &&Process| other.value("ended") == 0;
    let heard = subscribers.iter().copied().filter(waits).map(|other| {
        let last = unheard_for(other).map_or_else(
            || "has heard nothing".to_owned(),
            |time| format!("heard the last {} ago", times::in_words(time)),
        );
        format!("{} {last}, next {}", other.name(), thousands(other.value("next")))
    });
    let ids = subscribers.iter().map(|other| other.now.process);
    if process.is_dead() {
        let successor = session.and_then(|session| {
            host.servers(session).find(|other| !other.is_dead() && other.now.role == process.now.role)
        });
        let what = format!("was killed; its counters are those of {} ago", ago(process, process.now.written_at));
        if let Some(successor) = successor {
            let finding = Finding::new(Level::Note, "replaced", process, what)
                .why(format!("{} has taken its place", successor.name()));
            return Some(finding.mend([clear(process)]));
        }
        if !subscribers.is_empty() && subscribers.iter().all(|other| other.value("ended") == 1) {
            let finding = Finding::new(Level::Note, "killed_after_end", process, what);
            let finding =
                finding.why("it had announced the end of its session, and every subscriber here has all of it");
            return Some(finding.with(ids).mend([clear(process)]));
        }
        let retained = format!(
            "it retained {} up to {}",
            count(process.value("retained_messages"), "message"),
            thousands(process.value("next"))
        );
        let cause = if process.now.role == "publisher" { "publisher_gone" } else { "retransmitter_gone" };
        let answering = session.and_then(|session| {
            let mut others = host.servers(session).filter(|other| !other.is_dead());
            others.find_map(|other| Some(format!("{} answers at {}", other.name(), other.requests()?)))
        });
        let why = match &answering {
            Some(words) => format!("it ended without announcing it; {words}, so what it retained is not lost"),
            None => {
                "it ended without announcing it: nothing more is sent or answered until it is started again".to_owned()
            }
        };
        let finding = Finding::new(Level::Problem, cause, process, what).why(why).evidence([retained]);
        return Some(finding.evidence(heard).with(ids).mend(revival(Some(process))));
    }
    let time = times::in_words(process.stalled()?);
    let (what, why, mend) = match process.thread.state {
        Some('T' | 't') => (
            format!("stopped {time} ago by a signal or a debugger"),
            "it sends and answers nothing until it goes on",
            format!("kill -CONT {}", process.now.process),
        ),
        Some('R') => (
            format!("has not come round for {time}, and its main thread would run"),
            "it is kept from its core; the counters do not tell by whom",
            "--answer-core N, --answer-priority 50; seqcast doctor says what is in its way".to_owned(),
        ),
        _ => (
            format!("has not come round for {time}"),
            "it was not stopped by a signal; what it waits for is not known",
            format!("cat /proc/{}/stack    # as root", process.now.process),
        ),
    };
    let cause = if process.now.role == "publisher" { "publisher_stopped" } else { "retransmitter_stopped" };
    Some(Finding::new(Level::Problem, cause, process, what).why(why).evidence(heard).with(ids).mend([mend]))
}
