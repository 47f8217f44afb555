//! The counters of `seqcast subscribe`, as others see them while it runs, when it is stopped, and when it was killed.

mod support;

use seqcast_recovery::Nanos;
use seqcast_stats::{Snapshot, State, read_directory};
use std::fs;
use std::io::Read;
use std::process::Command;
use support::{Place, Running, is_bound, number, pause, wait_for};

/// The file of counters of the place's only subscriber, once it is there.
fn only(place: &Place) -> Option<Snapshot> {
    let mut found = read_directory(&place.stats()).unwrap();
    found.snapshots.retain(|snapshot| snapshot.role == "subscriber");
    assert!(found.others.is_empty() && found.snapshots.len() < 2, "{:?}", found.others);
    found.snapshots.pop()
}

/// Waits until the file says so much of a number.
#[track_caller]
fn wait_for_value(place: &Place, name: &str, least: u64) -> Snapshot {
    wait_for(name, || only(place).filter(|snapshot| snapshot.value(name, &[]).is_some_and(|value| value >= least)))
}

fn listening(place: &Place, running: Running) -> Running {
    wait_for("the subscriber's socket", || is_bound(place.line()).then_some(()));
    running
}

#[test]
fn counters_are_those_of_the_summary_and_go_with_the_command() {
    let place = Place::new("stats-summary");
    let input = place.generate("input", 20_000, 1);
    let output = place.path("output");
    let impaired = ["--impair", "loss=5%,seed=1", "--idle", "block", "--receive-buffer", "64KiB"];
    let mut subscriber = listening(&place, place.subscribe(&impaired).with("--output", &output).start());
    place.publish(&input, &["--pace", "50000/s"]).run().expect_code(0);
    subscriber.wait_for_words("has ended");
    let snapshot = wait_for_value(&place, "ended", 1);
    let facts = ["line_a", "idle", "gap_policy", "recover_from"].map(|name| snapshot.fact(name).unwrap());
    assert_eq!(facts, [&place.line().to_string(), "block", "wait:10s", &place.requests().to_string()]);
    assert!(snapshot.fact("command").unwrap().starts_with("subscribe --stats "), "{:?}", snapshot.facts);
    assert_eq!((snapshot.process, snapshot.state), (subscriber.id(), State::Live));
    assert_eq!(snapshot.value("receive_buffer_bytes", &[("line", "a")]), Some(64 << 10));
    subscriber.signal(libc::SIGINT);
    let summary = subscriber.wait().expect_code(0).json();
    for name in ["first", "next", "messages", "gaps", "recovered", "lost", "requests", "retransmissions"] {
        assert_eq!(snapshot.value(name, &[]), Some(number(&summary, name)), "{name}");
    }
    for (name, in_summary) in [("message_bytes", "bytes"), ("lost_ranges", "lost_range_count")] {
        assert_eq!(snapshot.value(name, &[]), Some(number(&summary, in_summary)), "{name}");
    }
    assert!(number(&summary, "gaps") > 0);
    let written = ["output_bytes", "output_time", "output_slowest"].map(|name| snapshot.value(name, &[]).unwrap());
    assert_eq!(written[0], fs::metadata(output).unwrap().len());
    assert!(0 < written[2] && written[2] <= written[1], "{written:?}");
    assert!(only(&place).is_none(), "the file went with the process");
}

#[test]
fn a_reader_of_the_output_that_is_slow_is_seen() {
    let place = Place::new("stats-slow");
    let input = place.generate("input", 20_000, 1);
    let mut subscriber = listening(&place, place.subscribe(&["--output", "-"]).with_output_pipe().start());
    let mut output = subscriber.take_output();
    let publisher = place.publish(&input, &["--pace", "50000/s"]).start();
    // The pipe is full soon, a twentieth of a second behind the first message, and nobody reads it for a while.
    wait_for_value(&place, "output_bytes", 1);
    let pause_time = Nanos::from_secs(1);
    pause(pause_time);
    let mut all = Vec::new();
    let reading = std::thread::spawn(move || output.read_to_end(&mut all).unwrap());
    let snapshot = wait_for_value(&place, "ended", 1);
    let [slowest, time] = ["output_slowest", "output_time"].map(|name| snapshot.value(name, &[]).unwrap());
    assert!(slowest >= pause_time.0 / 4 && time >= slowest, "{slowest} {time}");
    subscriber.signal(libc::SIGINT);
    subscriber.wait();
    reading.join().unwrap();
    publisher.wait().expect_code(0);
}

#[test]
fn one_that_is_stopped_is_stalled_and_one_that_was_killed_is_dead() {
    let place = Place::new("stats-dead");
    let mut subscriber = place.listen(&["--recover-from", "none"]).start();
    let state = || only(&place).map(|snapshot| snapshot.state);
    wait_for("a file", || (state() == Some(State::Live)).then_some(()));
    subscriber.signal(libc::SIGSTOP);
    wait_for("it to be stalled", || matches!(state(), Some(State::Stalled(_))).then_some(()));
    subscriber.signal(libc::SIGCONT);
    wait_for("it to live", || (state() == Some(State::Live)).then_some(()));
    subscriber.signal(libc::SIGKILL);
    wait_for("it to be dead", || (state() == Some(State::Dead)).then_some(()));
}

#[test]
fn a_directory_that_cannot_be_written_is_warned_of_and_none_is_not() {
    let place = Place::new("stats-refused");
    fs::write(place.stats(), b"").unwrap();
    let mut subscriber = place.subscribe(&["--until-end"]).start();
    subscriber.wait_for_words("counters cannot be kept in ");
    let mut subscriber = listening(&place, subscriber);
    place.publish(&place.write("input", b""), &[]).run().expect_code(0);
    subscriber.wait_for_words("has ended");
    subscriber.wait().expect_code(0);
    let line = place.line().to_string();
    let mut without = Command::new(env!("CARGO_BIN_EXE_seqcast"));
    let without = without.args(["subscribe", "--stats", "none", "--silent-after", "100ms", "--line-a", &line]);
    let ended = without.output().unwrap();
    assert_eq!(ended.status.code(), Some(4), "{ended:?}");
    assert!(!String::from_utf8_lossy(&ended.stderr).contains("counters"), "{ended:?}");
}
