//! What `seqcast explain` says of real processes on loopback that each of its causes happens to.

mod support;

use seqcast_recovery::Nanos;
use seqcast_stats::{Snapshot, read_directory};
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};
use support::{Place, Running, feed, pause, wait_for};

/// At this pace [`lasting_input`] takes 100 s to publish, longer than anything is waited for.
const LASTING: [&str; 2] = ["--pace", "1000/s"];

fn lasting_input(place: &Place) -> PathBuf {
    place.generate("input", 100_000, 1)
}

/// What is found of a place: the exit code, and the findings.
fn explain(place: &Place, arguments: &[&str]) -> (u64, Vec<Value>) {
    let ended = place.seqcast(&["explain", "--json"]).with("--stats", &place.stats()).and(arguments).run();
    let Value::Object(mut object) = ended.json() else { panic!("no object") };
    let code = object["exit_code"].as_u64().unwrap();
    assert_eq!(ended.status.code(), Some(code as i32), "{}", ended.errors);
    let Value::Array(findings) = object["findings"].take() else { panic!("no findings") };
    (code, findings)
}

/// Waits until a finding has this cause, and says all of these words.
#[track_caller]
fn wait_for_cause(place: &Place, cause: &str, words: &[&str]) -> Value {
    let mut last = Vec::new();
    let end = seqcast_transport::Clock::now() + support::PATIENCE;
    loop {
        let (_, findings) = explain(place, &[]);
        let mut named = findings.iter().filter(|finding| finding["cause"] == cause);
        if let Some(found) = named.find(|finding| words.iter().all(|word| finding.to_string().contains(word))) {
            return found.clone();
        }
        assert!(seqcast_transport::Clock::now() < end, "no {cause} with {words:?} in {last:#?}");
        last = findings;
    }
}

/// The file of the only subscriber of a place, once it is there.
fn subscriber(place: &Place) -> Option<Snapshot> {
    let found = read_directory(&place.stats()).unwrap();
    found.snapshots.into_iter().find(|snapshot| snapshot.role == "subscriber")
}

/// Waits until a subscriber's counter says so much.
#[track_caller]
fn wait_for_value(place: &Place, name: &str, least: u64) {
    wait_for(name, || subscriber(place).filter(|snapshot| snapshot.sum(name) >= least).map(drop));
}

/// Waits until a subscriber is open: its file is made last.
fn listening(place: &Place, running: Running) -> Running {
    wait_for("the subscriber's file", || subscriber(place).map(drop));
    running
}

/// A second group of the same port.
fn line_b(place: &Place) -> String {
    let [_, _, third, fourth] = place.line().ip().octets();
    format!("239.255.{}.{fourth}:{}", third.wrapping_add(1), place.line().port())
}

#[test]
fn loss_on_line_a_only_needs_no_request() {
    let place = Place::new("explain-one");
    let (input, line_b) = (place.generate("input", 20_000, 1), line_b(&place));
    let both = ["--line-b", &line_b];
    let subscriber = place.subscribe(&both).and(&["--impair", "a:loss=5%,seed=3"]).start();
    let mut subscriber = listening(&place, subscriber);
    let _publisher = place.publish(&input, &["--pace", "50000/s"]).and(&both).start();
    subscriber.wait_for_words("has ended");
    wait_for_cause(&place, "lost_on_one_line", &["line A lost ", "line B carried", "--impair dropped "]);
    let (code, findings) = explain(&place, &[&subscriber.id().to_string()]);
    let is_bad = |finding: &Value| finding["level"] == "problem";
    assert!(!findings.iter().any(is_bad) && code != 1, "{findings:#?}");
}

#[test]
fn loss_on_both_lines_is_told_with_the_life_of_its_gaps() {
    let place = Place::new("explain-both");
    let (input, line_b) = (place.generate("input", 20_000, 1), line_b(&place));
    let both = ["--line-b", &line_b];
    let impaired = ["--impair", "a:loss=10%,seed=1", "--impair", "b:loss=10%,seed=2"];
    let subscriber = listening(&place, place.subscribe(&both).and(&impaired).start());
    let _publisher = place.publish(&input, &["--pace", "50000/s"]).and(&both).start();
    wait_for_value(&place, "ended", 1);
    let finding = wait_for_cause(&place, "lost_on_the_way", &["lost on both lines", "answers brought all of it"]);
    assert_eq!(finding["level"], "warning");
    // One of its gaps, by a number of it.
    let latest = finding["evidence"].as_array().unwrap().iter().find_map(|words| words.as_str()?.split_once("ago: "));
    let number = latest.unwrap().1.split_once("..").unwrap().0.to_owned();
    let (id, stats) = (subscriber.id().to_string(), place.stats());
    let life = place.seqcast(&["explain", &id, "--gap", &number]).with("--stats", &stats).run().expect_code(3);
    let words = String::from_utf8(life.output).unwrap();
    for expected in [
        format!("gap {number}.."),
        "that showed a number beyond".to_owned(),
        "from answers".to_owned(),
        "recovered after ".to_owned(),
        "lost on both lines".to_owned(),
    ] {
        assert!(words.contains(&expected), "{expected:?} in {words}");
    }
    // And a number that was never missing, as nobody has it.
    let (code, findings) = explain(&place, &[&id, "--gap", "9999999"]);
    assert_eq!((code, findings.len()), (0, 0));
}

#[test]
fn receive_buffer_that_a_stopped_subscriber_overran_is_named() {
    let place = Place::new("explain-overrun");
    let input = lasting_input(&place);
    let small = ["--receive-buffer", "16KiB"];
    let mut subscriber = listening(&place, place.subscribe(&small).start());
    let _publisher = place.publish(&input, &LASTING).start();
    wait_for_value(&place, "messages", 100);
    subscriber.signal(libc::SIGSTOP);
    pause(Nanos::from_millis(300));
    subscriber.signal(libc::SIGCONT);
    wait_for_value(&place, "kernel_drops", 1);
    let finding = wait_for_cause(&place, "kernel_overrun", &["it showed as ", "the burst was about "]);
    assert!(finding["what"].as_str().unwrap().contains("the receive buffer was full"), "{finding:#}");
    assert!(finding["evidence"].to_string().contains("(16,384 bytes) holds "), "{finding:#}");
    let option = finding["mend"].as_array().unwrap().last().unwrap().as_str().unwrap();
    assert!(option.starts_with("seqcast subscribe --receive-buffer "), "{option}");
}

#[test]
fn processes_that_are_stopped_are_told_with_the_signal_that_lets_them_go_on() {
    let place = Place::new("explain-stopped");
    let input = lasting_input(&place);
    let mut subscriber = listening(&place, place.subscribe(&[]).start());
    let mut publisher = place.publish(&input, &LASTING).start();
    wait_for_value(&place, "messages", 100);
    for (running, cause) in [(&mut subscriber, "stopped"), (&mut publisher, "publisher_stopped")] {
        running.signal(libc::SIGSTOP);
        let finding = wait_for_cause(&place, cause, &["by a signal or a debugger"]);
        assert_eq!(
            (&finding["level"], &finding["mend"][0]),
            (&"problem".into(), &format!("kill -CONT {}", running.id()).into())
        );
        running.signal(libc::SIGCONT);
    }
}

#[test]
fn ring_that_was_overwritten_is_told_with_the_size_that_would_have_done() {
    let place = Place::new("explain-overwritten");
    let input = std::fs::read(place.generate("input", 200_000, 1)).unwrap();
    let options = ["--retain", "64KiB", "--format", "blocks"];
    let mut publisher = place.publish(Path::new("-"), &options).with_input_pipe().start();
    let open = feed(publisher.take_input(), input).join().unwrap();
    wait_for("all to be published", || {
        let found = read_directory(&place.stats()).unwrap().snapshots.pop()?;
        (found.value("next", &[])? > 200_000).then_some(())
    });
    // A late one, that asks for what is long gone.
    let _subscriber = place.subscribe(&["--start", "1"]).start();
    let words = ["overwritten at the publisher", "when it asked for 1, the ring began with ", "--retain "];
    let finding = wait_for_cause(&place, "overwritten", &words);
    assert!(finding["evidence"].to_string().contains(&format!("publisher {} retains ", publisher.id())), "{finding:#}");
    drop(open);
}

#[test]
fn quota_that_refused_requests_is_named_with_its_option() {
    let place = Place::new("explain-quota");
    let input = lasting_input(&place);
    let impaired = ["--impair", "a:loss=30%,seed=5", "--gap", "wait:300ms"];
    let _subscriber = listening(&place, place.subscribe(&impaired).start());
    // One answer, which is covered as the longest packet is, and no other for as many seconds as it has bytes: each answer
    // would put off the time at which gaps are given up.
    let budget = ["--client-budget", "1B/s,burst=1B"];
    let _publisher = place.publish(&input, &LASTING).and(&budget).start();
    let finding = wait_for_cause(&place, "refused", &["lost: nobody answered in time", "refused: client_budget"]);
    assert_eq!(finding["level"], "problem");
    assert!(finding["mend"][0].as_str().unwrap().contains("raise --client-budget"), "{finding:#}");
}

#[test]
fn network_that_is_not_answered_is_named_with_its_option() {
    let place = Place::new("explain-network");
    let input = lasting_input(&place);
    let impaired = ["--impair", "a:loss=5%,seed=5", "--gap", "wait:200ms"];
    let _subscriber = listening(&place, place.subscribe(&impaired).start());
    let _publisher = place.publish(&input, &LASTING).and(&["--allow-requests", "10.0.0.0/8"]).start();
    wait_for_cause(&place, "refused", &["lost: nobody answered in time", "refused: network", "--allow-requests"]);
}

#[test]
fn publisher_that_was_killed_is_told_with_the_command_that_goes_on() {
    let place = Place::new("explain-killed");
    let input = lasting_input(&place);
    let mut subscriber = listening(&place, place.subscribe(&[]).start());
    let ring = place.path("ring");
    let mut publisher = place.publish(&input, &LASTING).with("--ring", &ring).start();
    wait_for_value(&place, "messages", 100);
    publisher.signal(libc::SIGKILL);
    let last = format!("subscriber {} heard the last ", subscriber.id());
    let finding = wait_for_cause(&place, "publisher_gone", &["was killed", &last]);
    assert_eq!((&finding["level"], explain(&place, &[]).0), (&"problem".into(), 1));
    let mends = finding["mend"].as_array().unwrap();
    assert!(mends[0].as_str().unwrap().contains(" --resume "), "{finding:#}");
    assert!(mends[1].as_str().unwrap().contains(&format!("retransmit --ring {}", ring.display())), "{finding:#}");
    subscriber.signal(libc::SIGKILL);
    wait_for_cause(&place, "subscriber_gone", &["seqcast stats --clear"]);
}

#[test]
fn publisher_that_left_no_file_is_told_by_the_host_that_refuses_requests() {
    let place = Place::new("explain-nobody");
    let input = lasting_input(&place);
    let stats = place.path("elsewhere");
    // What it misses at the end stays open, as nobody listens any more.
    let impaired = ["--impair", "loss=20%,seed=5", "--gap", "wait:60s"];
    let mut subscriber = listening(&place, place.subscribe(&impaired).start());
    let line = place.line().to_string();
    let publish = place.command(env!("CARGO_BIN_EXE_seqcast"), &["publish", "--line-a", &line, "--requests", "none"]);
    let mut publisher = publish.and(&LASTING).with("--stats", &stats).with("--input", &input).start();
    // Before it hears anything it asks, too.
    wait_for_value(&place, "open_gaps", 1);
    wait_for_value(&place, "requests_refused", 1);
    publisher.signal(libc::SIGKILL);
    wait_for_cause(&place, "publisher_gone", &["nobody listens at its request address", "is open for "]);
    assert!(!subscriber.has_ended());
}

#[test]
fn output_that_is_read_slowly_is_named_as_what_holds_it_up() {
    let place = Place::new("explain-output");
    let input = place.generate("input", 500_000, 1);
    let options = ["--output", "-", "--receive-buffer", "64KiB"];
    let mut subscriber = listening(&place, place.subscribe(&options).with_output_pipe().start());
    let mut output = subscriber.take_output();
    let reader = std::thread::spawn(move || {
        let mut chunk = [0; 1 << 14];
        while output.read(&mut chunk).is_ok_and(|bytes| bytes > 0) {
            pause(Nanos::from_millis(50));
        }
    });
    let _publisher = place.publish(&input, &["--pace", "100000/s", "--retain", "1MiB"]).start();
    let finding = wait_for_cause(&place, "slow_output", &["too slow because its output was", "the kernel dropped "]);
    assert!(finding["evidence"].to_string().contains("writing its output took "), "{finding:#}");
    // It reads no more, and is told of while it waits for that.
    drop(subscriber);
    reader.join().unwrap();
}

#[test]
fn output_that_nobody_reads_is_told_while_it_is_waited_for() {
    let place = Place::new("explain-unread");
    let input = place.generate("input", 500_000, 1);
    let mut subscriber = listening(&place, place.subscribe(&["--output", "-"]).with_output_pipe().start());
    let _output = subscriber.take_output();
    let _publisher = place.publish(&input, &["--pace", "50000/s"]).start();
    let finding = wait_for_cause(&place, "slow_output", &["has waited for its output for "]);
    assert_eq!(finding["level"], "problem");
}

#[test]
fn subscriber_that_hears_nothing_is_told_who_sends_there() {
    let place = Place::new("explain-deaf");
    let _subscriber = listening(&place, place.subscribe(&[]).start());
    wait_for_cause(&place, "never_heard", &["no publisher on this host", &place.line().to_string()]);
}

#[test]
fn all_is_well_is_said_with_numbers_and_in_words() {
    let place = Place::new("explain-fine");
    let input = std::fs::read(place.generate("input", 1_000, 1)).unwrap();
    let _subscriber = listening(&place, place.subscribe(&[]).start());
    let options = ["--session", "FINE", "--format", "blocks"];
    let mut publisher = place.publish(Path::new("-"), &options).with_input_pipe().start();
    let open = feed(publisher.take_input(), input).join().unwrap();
    wait_for_value(&place, "messages", 1_000);
    let ended = place.seqcast(&["explain", "FINE"]).with("--stats", &place.stats()).run().expect_code(0);
    let words = String::from_utf8(ended.output).unwrap();
    assert!(words.contains("of FINE: keeps up, next 1,001"), "{words}");
    assert!(words.contains("of FINE: runs, next 1,001"), "{words}");
    let nobody = place.seqcast(&["explain", "OTHER"]).with("--stats", &place.stats()).run().expect_code(4);
    assert!(nobody.errors.contains("nobody of OTHER keeps counters in "), "{}", nobody.errors);
    drop(open);
}
