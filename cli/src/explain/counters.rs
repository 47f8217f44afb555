//! Counters that alarm by themselves, and how those are doing of whom nothing is to be told.

use super::clients::Client;
use super::finding::Finding;
use super::gaps::settled;
use super::host::{Host, Process};
use super::presence::counts;
use crate::doctor::finding::Level;
use crate::progress::{count, thousands};
use crate::times;
use seqcast_recovery::{Line, Nanos};

/// A counter that should be 0.
struct Alarm {
    counter: &'static str,
    level: Level,
    what: &'static str,
    why: &'static str,
    mend: &'static str,
}

const ALARMS: [Alarm; 8] = [
    Alarm {
        counter: "differing",
        level: Level::Problem,
        what: "messages whose copies differ",
        why: "two publishers of one session that do not publish the same, or damage on the way",
        mend: "seqcast record both lines, and seqcast check",
    },
    Alarm {
        counter: "malformed",
        level: Level::Warning,
        what: "datagrams that are no packets",
        why: "somebody else sends to the group and port of a line",
        mend: "another port, or ,source=ADDRESS behind the line; seqcast record and seqcast dump show who",
    },
    Alarm {
        counter: "foreign",
        level: Level::Note,
        what: "packets of another session",
        why: "several publishers send to one group and port, or one was started anew and this waits for the session before",
        mend: "a port of its own for each session; --session any follows a new one",
    },
    Alarm {
        counter: "other_sources",
        level: Level::Note,
        what: "datagrams from another source than the one that was set",
        why: "somebody else sends to the group and port of a line; they were dropped",
        mend: "another port",
    },
    Alarm {
        counter: "socket_errors",
        level: Level::Warning,
        what: "errors of sockets",
        why: "an interface or a route went away for a while",
        mend: "seqcast doctor",
    },
    Alarm {
        counter: "line_refused",
        level: Level::Warning,
        what: "packets that the kernel refused to send",
        why: "the send buffer was full, or the interface was down: subscribers have to ask for them",
        mend: "sysctl -w net.core.wmem_max=4194304; a slower --pace",
    },
    Alarm {
        counter: "sends_refused",
        level: Level::Warning,
        what: "answers and heartbeats that the kernel refused to send",
        why: "the send buffer was full, or the interface was down: they have to be asked for again",
        mend: "sysctl -w net.core.wmem_max=4194304; --repair-budget, below what the network carries",
    },
    Alarm {
        counter: "requests_overwritten",
        level: Level::Note,
        what: "requests for what is no longer retained",
        why: "clients join late, which costs nothing, or are too far behind, which they tell of as lost",
        mend: "--retain, if they are to have it",
    },
];

/// What the counters say that should be 0.
pub(super) fn alarms(process: &Process) -> Vec<Finding> {
    let of = |Alarm { counter, level, what, why, mend }: &Alarm| {
        let number = process.now.sum(counter);
        let finding = Finding::new(*level, counter, process, format!("{} {what}", thousands(number)));
        (number > 0).then(|| finding.why(*why).mend([(*mend).to_owned()]))
    };
    ALARMS.iter().filter_map(of).collect()
}

/// Clients of a publisher or retransmitter that are refused, and do not tell of it themselves on this host.
pub(super) fn refused(host: &Host, server: &Process) -> Option<Finding> {
    let is_here = |client: &Client| {
        host.subscribers().any(|process| process.targets().iter().any(|(_, own)| *own == Some(client.address())))
    };
    let clients: Vec<_> =
        Client::all(server).into_iter().filter(|client| client.is_limited() && !is_here(client)).collect();
    let worst = clients.iter().max_by_key(|client| client.all_refused())?;
    let what = format!("refuses requests of {} that keep no counters here", count(clients.len() as u64, "client"));
    Some(
        Finding::new(Level::Warning, "refused", server, what)
            .why("a limit was reached; what they miss comes later for it, or not at all")
            .evidence([worst.in_words(server)])
            .mend(worst.mends(server)),
    )
}

/// A process of which there is nothing to tell: the numbers that show it.
pub(super) fn fine(process: &Process) -> Finding {
    if !process.is_subscriber() {
        let sent = Line::ALL.into_iter().filter_map(|line| {
            process.line(line)?;
            Some(format!("{} on line {line:?}", count(process.of_line("line_packets", line), "packet")))
        });
        let sent: Vec<_> = sent.collect();
        let retained = match process.value("retained_time") {
            0 => String::new(),
            time => format!(", {} at the present rate", times::in_words(Nanos(time))),
        };
        let refused = process.now.sum("requests_refused");
        return Finding::new(Level::Ok, "fine", process, format!("runs, next {}", thousands(process.value("next"))))
            .evidence((!sent.is_empty()).then(|| sent.join(", ")))
            .evidence([
                format!("retains {}{retained}", count(process.value("retained_messages"), "message")),
                format!(
                    "{} of {}, {} refused",
                    count(process.value("requests"), "request"),
                    count(process.value("clients"), "client"),
                    thousands(refused)
                ),
            ]);
    }
    let recovered = settled(process).iter().filter(|gap| gap.lost.is_none()).count();
    let state = if process.value("ended") == 1 { "has the whole session" } else { "keeps up" };
    let buffers = process.lines().filter_map(|line| {
        let (queue, percent) = (process.queue(line)?, process.fullness(line)?);
        Some(format!(
            "line {line:?}: receive buffer {percent} % full, {} dropped by the kernel",
            thousands(queue.drops)
        ))
    });
    Finding::new(Level::Ok, "fine", process, format!("{state}, next {}", thousands(process.value("next"))))
        .evidence([counts(process)])
        .evidence((recovered > 0).then(|| format!("{} of the latest gaps were recovered", thousands(recovered as u64))))
        .evidence(buffers)
}
