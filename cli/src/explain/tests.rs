//! Each cause is named by what shows it, and what is not shown is not claimed.

use super::explain;
use super::finding::Finding;
use super::life;
use super::testing::{ASKER, Fake, GAP, Gap, NO_ANSWER, OVERWRITTEN, SKIPPED, before, host};
use crate::doctor::finding::Level;
use seqcast_recovery::Nanos;

/// The causes of what is found, the worst first.
fn causes(processes: impl IntoIterator<Item = Fake>) -> Vec<(Level, &'static str)> {
    explain(&host(processes)).iter().map(|finding| (finding.level, finding.cause)).collect()
}

/// The finding of this cause.
#[track_caller]
fn found(cause: &str, processes: impl IntoIterator<Item = Fake>) -> Finding {
    let mut found = explain(&host(processes));
    let causes: Vec<_> = found.iter().map(|finding| finding.cause).collect();
    let index = causes.iter().position(|other| *other == cause).unwrap_or_else(|| panic!("{cause} in {causes:?}"));
    found.swap_remove(index)
}

/// Asserts that a finding says something.
#[track_caller]
fn assert_says(finding: &Finding, words: &[&str]) {
    let all = super::finding::in_words(std::slice::from_ref(finding));
    for word in words {
        assert!(all.contains(word), "{word:?} in:\n{all}");
    }
}

fn subscriber() -> Fake {
    Fake::subscriber(4712).queue("a", 0, 0)
}

fn publisher() -> Fake {
    Fake::publisher(4711)
}

#[test]
fn nothing_wrong_says_so_with_numbers() {
    let found = explain(&host([publisher(), subscriber()]));
    let all: Vec<_> = found.iter().map(|finding| (finding.level, finding.process.as_str())).collect();
    assert_eq!(all, [(Level::Ok, "publisher 4711"), (Level::Ok, "subscriber 4712")]);
    assert_says(&found[0], &["next 10,001", "retains 2,000 messages, 1.00 s at the present rate"]);
    assert_says(&found[1], &["keeps up, next 10,001", "10,000 messages", "receive buffer 0 % full, 0 dropped"]);
}

#[test]
fn lost_on_one_line_is_told_from_lost_on_both() {
    let both = subscriber().with_line_b().queue("b", 0, 0);
    let alone = both.clone().line("line_missed", "a", 50).line("line_late", "a", 10);
    let finding = found("lost_on_one_line", [alone.clone()]);
    assert_eq!(finding.level, Level::Note);
    assert_says(
        &finding,
        &[
            "line A lost 40 messages; line B carried them, no request was needed",
            "the kernel here dropped none",
            "do: seqcast doctor --line-a 239.1.1.1:30001@127.0.0.1",
        ],
    );
    let impaired = found("lost_on_one_line", [alone.clone().set("impaired_dropped", 4)]);
    assert_says(&impaired, &["on purpose (--impair)", "--impair dropped 4 datagrams", "do: leave out --impair"]);

    let missed = alone.line("line_missed", "b", 10).set("gaps", 1).set("recovered", 10).gap(GAP);
    assert_eq!(causes([missed.clone()]), [(Level::Warning, "lost_on_the_way"), (Level::Note, "lost_on_one_line")]);
    assert_says(&found("lost_on_one_line", [missed.clone()]), &["line B carried all but at most 10"]);
    let finding = found("lost_on_the_way", [missed]);
    assert_says(
        &finding,
        &[
            "1 gap (10 messages) lost on both lines, on the way here",
            "the latest, 10.0 s ago: 101..111",
            "do: seqcast doctor --line-a 239.1.1.1:30001@127.0.0.1 --line-b 239.1.2.1:30001@127.0.0.1",
        ],
    );
}

#[test]
fn lost_on_the_only_line_is_the_network_unless_a_kernel_says_otherwise() {
    let one = subscriber().set("gaps", 1).gap(GAP);
    assert_says(&found("lost_on_the_way", [one.clone()]), &["on its only line", "a card, a switch"]);
    let refused = found("lost_on_the_way", [publisher().line("line_refused", "a", 3), one.clone()]);
    assert_says(&refused, &["the kernel of publisher 4711 refused to send 3 packets"]);
    let dropped = found("lost_on_the_way", [one.queue("a", 0, 9)]);
    assert_says(
        &dropped,
        &["on the way or here", "the kernel here dropped 9 datagrams", "some of these may be of them"],
    );
}

#[test]
fn full_receive_buffer_is_named_with_the_one_that_holds_the_burst() {
    let gap = Gap { range: (1_001, 15_611), kernel_drops: 1_461, by_answers: 14_610, ..GAP };
    let fake = Fake::subscriber(4712).queue("a", 0, 1_461).set("gaps", 1).gap(gap);
    let finding = found("kernel_overrun", [fake.clone()]);
    assert_eq!(finding.level, Level::Warning);
    // 184 and 1,461 datagrams of 2,304 bytes each, of which the kernel gives the double.
    assert_says(
        &finding,
        &[
            "the kernel dropped 1,461 datagrams here: the receive buffer was full",
            "the buffer of line A (212,992 bytes) holds 184 datagrams of 1,400 bytes, the mean here; the burst was about 1,645, \
             which need 1,895,040 bytes",
            "the counters do not tell which",
            "do: sysctl -w net.core.rmem_max=2097152",
            "do: seqcast subscribe --receive-buffer 2097152",
        ],
    );
    assert_eq!(finding.mend.len(), 2);
    assert_eq!(causes([fake.gap(Gap { lost: 1, ..gap })])[0], (Level::Problem, "kernel_overrun"));
}

#[test]
fn drops_that_no_gap_showed_are_told_too() {
    let finding = found("kernel_overrun", [Fake::subscriber(4712).queue("a", 0, 5)]);
    assert_says(&finding, &["dropped 5 datagrams", "the burst was at most 189"]);
}

#[test]
fn more_than_any_buffer_holds_is_not_mended_by_one() {
    let gap = Gap { kernel_drops: 2_000_000, ..GAP };
    let finding = found("kernel_overrun", [Fake::subscriber(4712).queue("a", 0, 2_000_000).gap(gap)]);
    assert_eq!(finding.mend, ["no receive buffer holds that: mend what keeps it from reading"]);
}

#[test]
fn slow_output_is_named_when_its_writes_took_the_time() {
    let gap = Gap { kernel_drops: 100, ..GAP };
    let slow = Fake::subscriber(4712)
        .queue("a", 0, 100)
        .gap(gap)
        .slow_cycle(Nanos::from_millis(14_500), Nanos::from_millis(4_500))
        .set("output_time", 5_000_000_000)
        .set("output_slowest", 4_400_000_000);
    let all = causes([slow.clone()]);
    assert_eq!(all, [(Level::Warning, "slow_output"), (Level::Warning, "kernel_overrun")]);
    assert_says(
        &found("slow_output", [slow.clone()]),
        &[
            "writing its output took 5.00 s of 100 s (5 %), the slowest write 4.40 s; the longest duty cycle took 4.50 s",
            "the kernel dropped 100 datagrams here",
            "a duty cycle of 4.50 s came before what was dropped 10.0 s ago",
            "do: let what reads its output read faster",
        ],
    );
    assert_says(&found("kernel_overrun", [slow.clone()]), &["because its output held it up"]);
    let sender = publisher().set("next", 10_100).after(publisher());
    let told = found("kernel_overrun", [sender, slow.clone()]);
    assert_says(&told, &["the longest of them is 25.3 ms of what is published, at the present rate"]);
    // The same long cycle with short writes is its own handling, or its core.
    let handling = slow.set("output_time", 1_000_000).set("output_slowest", 2_000);
    let finding = found("slow_handling", [handling]);
    assert_says(
        &finding,
        &["not because of its output", "the counters do not tell which", "the longest duty cycle took 4.50 s"],
    );
}

#[test]
fn output_that_harms_nobody_is_only_noted() {
    let busy = subscriber().set("output_time", 60_000_000_000);
    assert_eq!(causes([busy.clone()]), [(Level::Note, "slow_output"), (Level::Ok, "fine")]);
    assert_eq!(causes([busy.set("output_time", 40_000_000_000)]), [(Level::Ok, "fine")]);
}

#[test]
fn subscriber_that_falls_behind_is_told_by_both_sides() {
    let at = |publisher_next, next| [publisher().set("next", publisher_next), subscriber().set("highest", next)];
    let between = |before: [Fake; 2], now: [Fake; 2]| {
        let mut processes: Vec<_> = now.into_iter().zip(before).map(|(now, before)| now.after(before)).collect();
        processes.reverse();
        processes
    };
    // 100,000/s: 10,000 of them are the tenth of a second that both files may be apart.
    let falling = found("behind", between(at(100_000, 98_000), at(125_000, 110_000)));
    assert_eq!(falling.level, Level::Warning);
    assert_says(&falling, &["it is 15,000 messages behind publisher 4711", "100,000/s are published, 48,000/s read"]);
    let fine = [(Level::Ok, "fine"), (Level::Ok, "fine")];
    assert_eq!(causes(between(at(100_000, 98_000), at(125_000, 115_001))), fine, "as far as files may be apart");
    assert_eq!(causes(between(at(100_000, 50_000), at(125_000, 80_000))), fine, "it catches up");
}

#[test]
fn full_receive_queue_is_told_before_it_overflows() {
    let finding = found("behind", [Fake::subscriber(4712).queue("a", 300_000, 0)]);
    assert_says(&finding, &["its receive buffer of line A is 70 % full"]);
    assert_eq!(causes([Fake::subscriber(4712).queue("a", 200_000, 0)]), [(Level::Ok, "fine")]);
}

#[test]
fn overwritten_ring_is_named_with_the_size_that_would_have_done() {
    let late = subscriber().lost(1_001, 5_001, OVERWRITTEN).lost(5_001, 6_001, OVERWRITTEN);
    let finding = found("overwritten", [publisher(), late.clone()]);
    assert_eq!(finding.level, Level::Problem);
    // 5,000 messages behind the first of the 2,000 that 200,000 bytes retain.
    assert_says(
        &finding,
        &[
            "5,000 messages lost: overwritten at the publisher",
            "when it asked for 1001, the ring began with 6001",
            "publisher 4711 retains 2,000 messages (200,000 bytes, 1.00 s at the present rate); it was 7,000 behind, 3.50 s",
            "do: --retain 2MiB at the publisher",
        ],
    );
    let elsewhere = found("overwritten", [late]);
    assert_says(&elsewhere, &["at the publisher, retain at least 5,000 messages more"]);
}

#[test]
fn quota_is_named_by_its_reason_and_option() {
    let lost = subscriber().set("requests", 20).gap(Gap { lost: 2, by_answers: 0, ..GAP }).lost(101, 111, NO_ANSWER);
    for (reason, option) in [
        ("client_budget", "raise --client-budget at the publisher (now 1kB/s)"),
        ("budget", "raise --repair-budget"),
        ("queue", "--answer-core N"),
        ("clients", "raise --client-limit"),
        ("network", "--allow-requests"),
        ("linger", "shorten --answer-linger"),
    ] {
        let server = publisher().fact("client_budget", "1kB/s").client(reason, 15);
        let finding = found("refused", [server.clone(), lost.clone()]);
        assert_eq!(finding.level, Level::Problem);
        let counts = format!("of client {ASKER}: 20 requests, 5 answers, 15 refused: {reason}");
        assert_says(&finding, &["10 messages lost: nobody answered in time", &counts, option]);
        assert_eq!(found("refused", [server.clone(), subscriber()]).level, Level::Warning, "nothing lost");
        // Without the subscriber's counters its publisher tells.
        assert_says(&found("refused", [server]), &["publisher 4711", "1 client that keep no counters here", &counts]);
    }
    let fine = [(Level::Ok, "fine"), (Level::Ok, "fine")];
    assert_eq!(causes([publisher().client("linger", 2), subscriber()]), fine, "most were answered");
}

#[test]
fn publisher_that_was_killed_is_named_with_the_way_to_go_on() {
    let silent = subscriber().set("heard", 0).line("line_heard_at", "a", before(Nanos::from_secs(20)));
    let finding = found("publisher_gone", [publisher().killed(), silent.clone()]);
    assert_eq!((finding.level, finding.process.as_str()), (Level::Problem, "publisher 4711"));
    assert_says(&finding, &["was killed", "subscriber 4712 heard the last 20.0 s ago, next 10,001", "--ring FILE"]);
    assert!(finding.is_about("4712") && finding.is_about(super::testing::SESSION) && !finding.is_about("4713"));
    assert_eq!(causes([publisher().killed(), silent.clone()]).len(), 2, "the subscriber repeats nothing but is shown");

    let ring = publisher().fact("ring", "/dev/shm/eq").fact("command", "publish --ring /dev/shm/eq").killed();
    let ring = found("publisher_gone", [ring, silent.clone()]);
    assert_says(
        &ring,
        &[
            "do: seqcast publish --ring /dev/shm/eq --resume    # goes on in the same session",
            "do: seqcast retransmit --ring /dev/shm/eq --requests 127.0.0.1:30100",
        ],
    );
    let whole = subscriber().set("heard", 0).set("ended", 1);
    let all = [(Level::Note, "killed_after_end"), (Level::Ok, "fine")];
    assert_eq!(causes([publisher().killed(), whole]), all, "nobody waits for it");

    let waiting = silent.clone().open_gap(10_001, 10_011, Nanos::from_secs(5));
    let unanswered = explain(&host([publisher().killed(), waiting]));
    let unanswered = unanswered.iter().find(|finding| finding.process == "subscriber 4712").unwrap();
    assert_eq!((unanswered.level, unanswered.cause), (Level::Warning, "publisher_gone"));
    assert_says(
        unanswered,
        &["10001..10011 is open for 5.00 s, 7 requests sent", "publisher 4711, which answered there, was killed"],
    );

    let elsewhere = silent.clone().set("requests_refused", 3);
    assert_says(
        &found("publisher_gone", [elsewhere]),
        &["nothing on any line for 20.0 s", "said 3 times that nobody listens there"],
    );
    assert_says(&found("silent", [silent.clone()]), &["is not known here", "on the publisher's host"]);
    assert_says(&found("unheard", [publisher(), silent]), &["publisher 4711 runs, so it is lost between both"]);
}

#[test]
fn killed_publisher_that_was_replaced_is_only_noted() {
    let successor = Fake::publisher(4713);
    assert_eq!(causes([publisher().killed(), successor]), [(Level::Note, "replaced"), (Level::Ok, "fine")]);
}

#[test]
fn subscriber_that_never_heard_anything_is_told_who_sends_there() {
    let deaf = subscriber().set("heard", 0).line("line_heard_at", "a", 0);
    assert_says(
        &found("never_heard", [publisher(), deaf.clone()]),
        &["publisher 4711 sends there", "another interface"],
    );
    assert_says(&found("never_heard", [deaf]), &["no publisher on this host", "line A is 239.1.1.1:30001@127.0.0.1"]);
}

#[test]
fn process_that_was_stopped_is_told_from_one_that_waits() {
    let stopped = found("publisher_stopped", [publisher().stalled('T', "do_signal_stop"), subscriber()]);
    assert_says(&stopped, &["stopped 20.0 s ago by a signal", "do: kill -CONT 4711", "subscriber 4712 heard the last"]);
    assert_says(&found("publisher_stopped", [publisher().stalled('R', "")]), &["kept from its core"]);
    assert_says(&found("stopped", [subscriber().stalled('T', "do_signal_stop")]), &["do: kill -CONT 4712"]);
    let output = found("slow_output", [subscriber().stalled('S', "anon_pipe_write")]);
    assert_eq!(output.level, Level::Problem);
    assert_says(&output, &["has waited for its output for 20.0 s", "anon_pipe_write"]);
    let polls = subscriber().stalled('S', "poll_schedule_timeout.constprop.0");
    assert_says(&found("slow_output", [polls.clone().set("output_bytes", 1)]), &["has waited for its output"]);
    assert_says(&found("stalled", [polls]), &["what it waits for is not known"]);
    let other = found("stalled", [subscriber().stalled('S', "futex_wait_queue")]);
    assert_says(&other, &["what it waits for is not known", "futex_wait_queue"]);
    assert_says(&found("stalled", [subscriber().stalled('R', "")]), &["do not tell which"]);
}

#[test]
fn silent_line_is_told_while_the_other_one_is_heard() {
    let silent = subscriber().with_line_b().line("line_silent", "b", 1);
    let without = found("line_silent", [publisher(), silent.clone()]);
    assert_says(&without, &["line B is silent for 5.00 ms; line A alone", "publisher 4711 has no line B"]);
    let sent = publisher().fact("line_b", "239.1.2.1:30001@127.0.0.1").line("line_packets", "b", 900);
    assert_says(&found("line_silent", [sent, silent]), &["has sent 900 packets on it, so they are lost on the way"]);
}

#[test]
fn unanswered_requests_are_told_apart_by_who_is_there() {
    let lost = subscriber().set("requests", 4).set("retransmissions", 2).lost(101, 111, NO_ANSWER);
    let nobody = lost.clone().without_targets();
    assert_says(&found("nobody_asked", [publisher(), nobody]), &["it has no request address", "--recover-from"]);
    assert_says(&found("no_answer", [lost.clone()]), &["is not known here", "it sent 4 requests to 127.0.0.1:30100"]);
    let other = publisher().fact("requests", "127.0.0.1:30200");
    assert_says(&found("wrong_address", [other, lost.clone()]), &["do: --recover-from 127.0.0.1:30200"]);
    assert_says(&found("requests_lost", [publisher(), lost.clone()]), &["its requests do not arrive"]);
    let answered = found("answers_lost", [publisher().client("none", 0), lost.clone()]);
    assert_says(&answered, &["20 requests, 5 answers", "2 answers arrived here"]);
    assert_says(&found("publisher_stopped", [publisher().stalled('T', ""), lost.clone()]), &["kill -CONT"]);
    // It was lost 9 s ago, and its publisher lived until 20 s ago, or longer.
    let limited = publisher().client("budget", 15);
    let gone = explain(&host([limited.clone().killed(), lost.clone()]));
    let gone = gone.iter().find(|finding| finding.process == "subscriber 4712").unwrap();
    assert_eq!(gone.cause, "publisher_gone");
    assert_says(gone, &["15 refused: budget"]);
    let before = explain(&host([limited.killed(), lost.lost_at(Nanos::from_secs(30), NO_ANSWER)]));
    assert!(before.iter().any(|finding| finding.cause == "refused" && finding.process == "subscriber 4712"));
}

#[test]
fn policies_and_windows_are_told_as_such() {
    let skipped = subscriber().lost(101, 111, SKIPPED);
    assert_says(&found("skipped", [skipped]), &["10 messages lost: skipped: its gap policy", "do: --gap wait"]);
    let deferred = subscriber().gap(Gap { is_deferred: true, ..GAP });
    assert_eq!(causes([deferred]), [(Level::Note, "deferred"), (Level::Ok, "fine")]);
    let late = subscriber().gap(Gap { asked: false, requests: 0, by_answers: 0, by_line_b: 10, ..GAP });
    assert_eq!(causes([late]), [(Level::Note, "filled_by_line"), (Level::Ok, "fine")]);
}

#[test]
fn counters_that_should_be_zero_alarm() {
    let strange = subscriber().set("differing", 1).set("malformed", 2).set("foreign", 3);
    let all = [(Level::Problem, "differing"), (Level::Warning, "malformed"), (Level::Note, "foreign")];
    assert_eq!(causes([strange]), all);
    assert_eq!(causes([publisher().line("line_refused", "a", 1)]), [(Level::Warning, "line_refused")]);
}

#[test]
fn a_dead_subscriber_is_the_last_that_is_known_of_it() {
    let dead = Fake::subscriber(4712).gap(GAP).set("gaps", 1).killed();
    assert_eq!(causes([dead.clone()]), [(Level::Warning, "subscriber_gone"), (Level::Warning, "lost_on_the_way")]);
    assert_says(&found("subscriber_gone", [dead]), &["was killed", "20.0 s ago", "seqcast stats --clear"]);
}

#[test]
fn the_life_of_a_gap_is_told_with_its_cause() {
    let gap = Gap { kernel_drops: 16, lost: 1 + NO_ANSWER, by_answers: 3, ..GAP };
    let processes = [Fake::subscriber(4712).queue("a", 0, 16).gap(gap).lost(104, 111, NO_ANSWER)];
    let host = host(processes);
    let lives = life::of(&host, 105, None);
    let [life] = &lives[..] else { panic!("one gap") };
    let words = [
        "gap 101..111 of EQ20261121 at subscriber 4712 (10 messages)",
        "  opened 10.0 s ago by a packet of line A that showed a number beyond",
        "  the kernel dropped 16 datagrams here: the receive buffer was full",
        "  left alone for 300 µs, then asked for with 1 request",
        "  3 messages from answers",
        "  some or all lost after 5.00 ms: no_answer",
        "  104..111 lost 9.00 s ago: no_answer",
        "",
    ];
    assert_eq!(life.in_words().lines().collect::<Vec<_>>(), words);
    let explained: Vec<_> =
        explain(&host).into_iter().filter(|it| life.is_explained_by(it)).map(|finding| finding.cause).collect();
    assert_eq!(explained, ["kernel_overrun", "no_answer"]);
    assert_eq!(life::of(&host, 105, Some("4712")).len(), 1);
    assert_eq!(life::of(&host, 105, Some("4713")).len(), 0);
}

#[test]
fn a_number_that_no_gap_holds_is_told_as_such() {
    let fake = subscriber().gap(GAP).set("gaps", 1);
    let host = host([publisher(), fake.open_gap(10_001, 10_011, Nanos::from_secs(1))]);
    let words = |number| life::of(&host, number, None)[0].in_words();
    assert!(words(50).contains("it has been delivered or told lost: the next one is 10,001"), "{}", words(50));
    assert!(words(50).contains("publisher 4711 retains 8001..10001"), "{}", words(50));
    assert!(words(20_000).contains("it has not been delivered"), "{}", words(20_000));
    assert!(words(10_005).contains("opened 1.00 s ago, and still open"), "{}", words(10_005));
}

#[test]
fn files_that_say_anything_are_explained_without_a_panic() {
    for number in [0, 1, u64::MAX / 2, u64::MAX] {
        let row = |fake: Fake| fake.gap(Gap { kernel_drops: 1, ..GAP }).lost(1, 2, OVERWRITTEN).lost(9, 10, NO_ANSWER);
        let strange = row(subscriber().with_line_b()).open_gap(1, 2, Nanos::ZERO).slow_cycle(Nanos::ZERO, Nanos::ZERO);
        let strange = strange.clone().after(strange.clone()).with_everything(number);
        let server = publisher().client("queue", 1).with_everything(number).after(publisher());
        let host = host([
            strange.clone(),
            strange.clone().stalled('S', ""),
            strange.killed(),
            server.clone(),
            server.killed(),
        ]);
        let found = explain(&host);
        assert!(!super::finding::in_words(&found).is_empty());
        life::of(&host, 1, None).iter().for_each(|life| assert!(!life.in_words().is_empty()));
    }
    // Words that are true beside those that are not.
    let mixed = Fake::publisher(4711).set("retained_messages", 1).set("retained_bytes", u64::MAX);
    assert_says(&found("overwritten", [mixed, subscriber().lost(1, u64::MAX, OVERWRITTEN)]), &["do: --retain "]);
    let mixed = subscriber().line("line_packets", "a", 1).line("line_bytes", "a", u64::MAX).queue("a", 1, u64::MAX);
    assert_says(&found("kernel_overrun", [mixed]), &["no receive buffer holds that"]);
}
