//! What was asked for and not answered: overwritten, refused, or nobody there.

use super::busy::{Holder, holder};
use super::clients::Client;
use super::finding::Finding;
use super::gaps::{Lost, ago, latest, lost, messages, open, settled};
use super::host::{Host, Process};
use crate::doctor::finding::Level;
use crate::progress::{count, thousands};
use crate::times;
use seqcast_recovery::{LossCause, Nanos};

/// A gap that is open for longer waits for somebody who does not answer: a thousand round trips of a local network.
const UNANSWERED_AFTER: Nanos = Nanos::from_secs(1);

pub(super) fn findings(host: &Host, process: &Process) -> Vec<Finding> {
    let lost = lost(process);
    let of = |cause| lost.iter().filter(|lost| lost.cause == cause).copied().collect::<Vec<_>>();
    let unanswered = unanswered(host, process, &of(LossCause::NoAnswer));
    let refused = if unanswered.is_none() { refused_but_answered(host, process) } else { None };
    let found = [
        overwritten(host, process, &of(LossCause::Overwritten)),
        unanswered,
        refused,
        given_up(process, &of(LossCause::Skipped), "skipped", "skipped: its gap policy is to skip", "--gap wait"),
        given_up(
            process,
            &of(LossCause::Ended),
            "ended",
            "its session was left before they came",
            "--gap wait:DURATION, longer",
        ),
    ];
    found.into_iter().flatten().collect()
}

/// Why numbers were given up, as one word.
pub(super) fn cause(host: &Host, process: &Process, lost: LossCause) -> &'static str {
    match lost {
        LossCause::Overwritten => "overwritten",
        LossCause::NoAnswer => silence(host, process).cause,
        LossCause::Skipped => "skipped",
        LossCause::Ended => "ended",
    }
}

/// `3 ranges of 48 messages, the latest 1204..1219, 3.10 s ago`
fn ranges(process: &Process, lost: &[Lost]) -> Option<String> {
    let last = lost.last()?;
    let all = count(messages(lost.iter().map(|lost| lost.range)), "message");
    let remembered = messages(super::gaps::lost(process).iter().map(|lost| lost.range));
    let total = process.value("lost");
    let others =
        (total > remembered).then(|| format!("; {} lost in all, the latest are remembered", count(total, "message")));
    Some(format!(
        "{} of {all}, the latest {} {} ago{}",
        count(lost.len() as u64, "range"),
        last.range,
        ago(process, last.at),
        others.unwrap_or_default()
    ))
}

fn lost_in_words(lost: &[Lost]) -> String {
    count(messages(lost.iter().map(|lost| lost.range)), "message")
}

/// Nobody retained them any more.
fn overwritten(host: &Host, process: &Process, lost: &[Lost]) -> Option<Finding> {
    let worst = lost.iter().max_by_key(|lost| lost.range.count())?.range;
    let what = format!("{} lost: overwritten at the publisher before they were asked for", lost_in_words(lost));
    let why = match holder(process) {
        Some(Holder::Output(words)) => format!("it was that far behind because its output held it up: {words}"),
        Some(Holder::Handling(words)) => format!("it was that far behind; {words}"),
        None => "it was that far behind, or began that late; no slow duty cycle was seen here".to_owned(),
    };
    let finding = Finding::new(Level::Problem, "overwritten", process, what).why(why).evidence(ranges(process, lost));
    let too_few = format!("when it asked for {}, the ring began with {}", worst.start(), worst.end());
    let Some(server) = process
        .session()
        .and_then(|session| host.servers(session).find(|server| server.value("retained_messages") > 0))
    else {
        let needed = format!("at the publisher, retain at least {} more: --retain", count(worst.count(), "message"));
        return Some(finding.evidence([too_few]).mend([needed]));
    };
    let (retained, bytes) = (server.value("retained_messages"), server.value("retained_bytes"));
    let behind = retained.saturating_add(worst.count());
    let time = server.value("retained_time");
    // What one retains in a time is in proportion to the messages.
    let scaled =
        |value: u64| u64::try_from(u128::from(value) * u128::from(behind) / u128::from(retained)).unwrap_or(u64::MAX);
    let at_rate = |time: u64| {
        if time > 0 { format!(", {} at the present rate", times::in_words(Nanos(time))) } else { String::new() }
    };
    let retains = format!(
        "{} retains {} ({}{}); it was {} behind{}",
        server.name(),
        count(retained, "message"),
        count(bytes, "byte"),
        at_rate(time),
        thousands(behind),
        at_rate(scaled(time)),
    );
    let mib = scaled(bytes).saturating_mul(2).div_ceil(1 << 20);
    let mend = format!("--retain {mib}MiB at the publisher, twice what it needed");
    Some(finding.evidence([too_few, retains]).with([server.now.process]).mend([mend]))
}

/// Nobody answered in time, or does.
fn unanswered(host: &Host, process: &Process, lost: &[Lost]) -> Option<Finding> {
    let waiting: Vec<_> =
        open(process).into_iter().filter(|gap| process.since(gap.opened_at) > UNANSWERED_AFTER).collect();
    let waits = waiting.first().filter(|_| !process.is_dead()).map(|gap| {
        format!("{} is open for {}, {} sent", gap.range, ago(process, gap.opened_at), count(gap.requests, "request"))
    });
    let (level, what) = match (lost.is_empty(), &waits) {
        (true, None) => return None,
        (true, Some(_)) => {
            let missing = messages(waiting.iter().map(|gap| gap.range));
            (Level::Warning, format!("{} not answered for yet", count(missing, "message")))
        }
        (false, _) => (Level::Problem, format!("{} lost: nobody answered in time", lost_in_words(lost))),
    };
    let Silence { cause, why, evidence, mend, server } = silence(host, process);
    let gaps: Vec<_> = settled(process).into_iter().filter(|gap| gap.lost == Some(LossCause::NoAnswer)).collect();
    Some(
        Finding::new(level, cause, process, what)
            .why(why)
            .evidence(ranges(process, lost))
            .evidence(latest(process, &gaps))
            .evidence(waits)
            .evidence(evidence)
            .with(server)
            .mend(mend),
    )
}

/// Why nobody answers, as far as it is known.
struct Silence {
    cause: &'static str,
    why: String,
    evidence: Vec<String>,
    mend: Vec<String>,
    /// Who should.
    server: Option<u32>,
}

impl Silence {
    fn new(cause: &'static str, why: impl Into<String>) -> Self {
        Self { cause, why: why.into(), evidence: Vec::new(), mend: Vec::new(), server: None }
    }

    fn evidence(mut self, evidence: impl IntoIterator<Item = String>) -> Self {
        self.evidence.extend(evidence);
        self
    }

    fn mend(mut self, mend: impl IntoIterator<Item = String>) -> Self {
        self.mend.extend(mend);
        self
    }
}

fn silence(host: &Host, process: &Process) -> Silence {
    let targets = process.targets();
    let Some(&(target, own)) = targets.first() else {
        return Silence::new("nobody_asked", "it has no request address, so nothing was asked for")
            .mend(["--recover-from ADDRESS:PORT, the publisher's --requests".to_owned()]);
    };
    let asked = format!("it sent {} to {target}", count(process.value("requests"), "request"));
    let nobody = process.value("requests_refused");
    let refused = (nobody > 0).then(|| format!("its host said {} that nobody listens there", count(nobody, "time")));
    let Some(server) = host.responder(target) else {
        let other = process
            .session()
            .and_then(|session| host.servers(session).find_map(|server| Some((server, server.requests()?))));
        return match (other, refused) {
            (Some((other, address)), refused) => {
                Silence::new("wrong_address", format!("{} answers at {address}, not at {target}", other.name()))
                    .evidence([asked])
                    .evidence(refused)
                    .mend([format!("--recover-from {address}")])
            }
            (None, Some(refused)) => Silence::new(
                "publisher_gone",
                "nobody listens at its request address: its publisher is gone, or answers elsewhere",
            )
            .evidence([asked, refused])
            .mend(revival(None)),
            (None, None) => Silence::new(
                "no_answer",
                format!(
                    "no counters on this host are of whoever answers at {target}: why it does not is not known here"
                ),
            )
            .evidence([asked])
            .mend([format!("seqcast explain    # on the host of {target}")]),
        };
    };
    let name = server.name();
    let client = own.and_then(|own| Client::of(server, own));
    let limited = client.as_ref().filter(|client| client.is_limited()).map(|client| client.in_words(server));
    let is_after = is_unanswered_after(process, server.now.written_at);
    let found = if server.is_dead() && is_after {
        Silence::new("publisher_gone", format!("{name}, which answered there, was killed"))
            .evidence(refused)
            .evidence(limited)
            .mend(revival(Some(server)))
    } else if server.stalled().is_some() && is_after {
        Silence::new("publisher_stopped", format!("{name}, which answers there, stands still; told of by itself"))
            .evidence(limited)
    } else {
        served(server, process, client)
    };
    Silence { server: Some(server.now.process), ..found }.evidence([asked])
}

/// Whether something was not answered for since a moment.
fn is_unanswered_after(process: &Process, at: Nanos) -> bool {
    let waits = !process.is_dead() && !open(process).is_empty();
    waits || lost(process).iter().any(|lost| lost.cause == LossCause::NoAnswer && lost.at >= at)
}

/// What a responder says of a client.
fn served(server: &Process, process: &Process, client: Option<Client>) -> Silence {
    let name = server.name();
    let Some(client) = client else {
        return Silence::new(
            "requests_lost",
            format!("{name} answers there, and knows nothing of this client: its requests do not arrive"),
        )
        .evidence([format!(
            "{name} knows {}, and took {}",
            count(server.value("clients"), "client"),
            count(server.value("requests"), "request")
        )])
        .mend(["seqcast doctor: a firewall or a route between both".to_owned()]);
    };
    if client.is_limited() {
        return Silence::new("refused", format!("{name} refused its requests"))
            .evidence([client.in_words(server)])
            .mend(client.mends(server));
    }
    let why = format!("{name} answered it, and what it sent did not arrive in time or was not enough");
    Silence::new("answers_lost", why)
        .evidence([
            client.in_words(server),
            format!("{} arrived here", count(process.value("retransmissions"), "answer")),
        ])
        .mend(["seqcast doctor: the way back from the publisher".to_owned()])
}

/// How to go on without a publisher, or whoever answered for it.
pub(super) fn revival(server: Option<&Process>) -> Vec<String> {
    let command = server.and_then(|server| server.now.fact("command")).unwrap_or("publish ...");
    let Some((server, ring)) = server.and_then(|server| Some((server, server.now.fact("ring")?))) else {
        return vec![format!(
            "seqcast {command} --ring FILE    # a new session; with a ring it can go on the next time, with --resume"
        )];
    };
    if server.now.role == "retransmitter" {
        return vec![format!("seqcast {command}")];
    }
    let resume = if command.contains("--resume") { "" } else { " --resume" };
    let requests = server.requests().map_or_else(String::new, |address| format!(" --requests {address}"));
    vec![
        format!("seqcast {command}{resume}    # goes on in the same session"),
        format!("seqcast retransmit --ring {ring}{requests}    # answers meanwhile, from a terminal of its own"),
    ]
}

/// Requests were refused, and nothing was lost for it.
fn refused_but_answered(host: &Host, process: &Process) -> Option<Finding> {
    let (server, client) = process.targets().into_iter().find_map(|(target, own)| {
        let server = host.responder(target)?;
        Some((server, Client::of(server, own?).filter(Client::is_limited)?))
    })?;
    let all = count(client.all_refused(), "request");
    let what = format!("{} refused {all} of it, so that it had to ask again", server.name());
    Some(
        Finding::new(Level::Warning, "refused", process, what)
            .why("a limit of whoever answers was reached; what it misses comes later for it")
            .evidence([client.in_words(server)])
            .with([server.now.process])
            .mend(client.mends(server)),
    )
}

fn given_up(process: &Process, lost: &[Lost], cause: &'static str, why: &str, mend: &str) -> Option<Finding> {
    let what = format!("{} lost: {why}", lost_in_words(lost));
    let finding =
        Finding::new(Level::Problem, cause, process, what).evidence(ranges(process, lost)).mend([mend.to_owned()]);
    (!lost.is_empty()).then_some(finding)
}
