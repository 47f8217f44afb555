//! The counters that `seqcast publish` and `seqcast retransmit` keep for others to see: while they run, when they are stopped, and
//! when they are killed.

#[path = "support/metrics.rs"]
mod metrics;
#[path = "support/prometheus.rs"]
mod prometheus;
mod support;

use metrics::{scrape, serve};
use seqcast_stats::{Snapshot, State, read_directory};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ChildStdin;
use support::{Place, Running, blocks, feed, number, wait_for};

/// The only file of this role.
fn snapshot(place: &Place, role: &str) -> Option<Snapshot> {
    let found = read_directory(&place.stats()).unwrap();
    assert!(found.others.is_empty(), "{:?}", found.others);
    let mut snapshots = found.snapshots.into_iter().filter(|snapshot| snapshot.role == role);
    snapshots.next().filter(|_| snapshots.next().is_none())
}

fn value(snapshot: &Snapshot, name: &str) -> u64 {
    snapshot.value(name, &[]).unwrap()
}

/// A publisher that has been given two messages and waits for more, and what its counters say then.
fn publisher(place: &Place, arguments: &[&str]) -> (Running, ChildStdin, Snapshot) {
    let publish = place.publish(Path::new("-"), &["--format", "blocks"]).and(arguments);
    let mut publisher = publish.with_input_pipe().start();
    let mut pipe = publisher.take_input();
    pipe.write_all(&blocks([&b"one"[..], b"two"])).unwrap();
    let snapshot = wait_for("two messages", || {
        snapshot(place, "publisher").filter(|it| value(it, "next") == 3 && value(it, "messages") == 2)
    });
    (publisher, pipe, snapshot)
}

fn session(snapshot: &Snapshot) -> String {
    let table = snapshot.table("session").unwrap();
    table.session(&table.rows[0], "session").unwrap().to_string()
}

#[test]
fn a_publisher_that_is_killed_stays_to_be_seen_and_the_retransmitter_beside_it_lives() {
    let place = Place::new("stats-killed");
    let (ring, requests) = (place.path("ring"), place.requests().to_string());
    let arguments = ["--session", "KILLED", "--ring", ring.to_str().unwrap()];
    let serve = ["retransmit", "--requests", &requests];
    let retransmitter = place.seqcast(&serve).with("--ring", &ring).start();
    let publish = ["publish", "--requests", "none", "--line-a", "none", "--format", "blocks", "--input", "-"];
    let mut killed = place.seqcast(&publish).and(&arguments).with_input_pipe().start();
    let mut pipe = killed.take_input();
    pipe.write_all(&blocks([&b"one"[..], b"two"])).unwrap();
    for role in ["publisher", "retransmitter"] {
        let seen = wait_for(role, || snapshot(&place, role).filter(|seen| value(seen, "next") == 3));
        assert_eq!((session(&seen).as_str(), seen.state), ("KILLED", State::Live), "{role}");
        assert_eq!(seen.fact("ring"), ring.to_str());
    }
    let seen = snapshot(&place, "publisher").unwrap();
    assert!(seen.fact("command").unwrap().contains(" --line-a none --format blocks --input - --session KILLED "));
    assert_eq!(snapshot(&place, "retransmitter").unwrap().fact("requests"), Some(requests.as_str()));
    // Killed before its input ends, and with it the session.
    drop(killed);
    drop(pipe);
    wait_for("the dead", || snapshot(&place, "publisher").filter(|seen| seen.state == State::Dead));
    // Nothing has to be cleared before it goes on.
    let again = place.seqcast(&publish).and(&arguments).with_input_pipe().start();
    wait_for("another one beside it", || {
        let snapshots = read_directory(&place.stats()).unwrap().snapshots;
        let states: Vec<_> = snapshots.iter().filter(|it| it.role == "publisher").map(|it| it.state).collect();
        (states.len() == 2 && states.contains(&State::Dead) && states.contains(&State::Live)).then_some(())
    });
    drop(again);
    assert_eq!(snapshot(&place, "retransmitter").unwrap().state, State::Live);
    let mut retransmitter = retransmitter;
    retransmitter.signal(libc::SIGINT);
    retransmitter.wait().expect_code(0);
    assert!(snapshot(&place, "retransmitter").is_none());
}

#[test]
fn a_publisher_that_is_stopped_is_seen_to_be_and_its_counters_go_when_it_ends() {
    let place = Place::new("stats-stopped");
    let (mut publisher, pipe, seen) = publisher(&place, &["--linger", "0s"]);
    let line = seen.fact("line_a").unwrap();
    assert_eq!((line, seen.state), (place.line().to_string().as_str(), State::Live));
    assert_eq!(seen.value("line_bytes", &[("line", "a")]), Some(20 + 2 * 5));
    publisher.signal(libc::SIGSTOP);
    let stalled = |seen: &Snapshot| matches!(seen.state, State::Stalled(_));
    wait_for("the stopped", || snapshot(&place, "publisher").filter(stalled));
    publisher.signal(libc::SIGCONT);
    wait_for("it to go on", || snapshot(&place, "publisher").filter(|seen| seen.state == State::Live));
    drop(pipe);
    publisher.wait().expect_code(0);
    assert_eq!(fs::read_dir(place.stats()).unwrap().count(), 0);
}

#[test]
fn payload_and_how_late_packets_left_are_those_of_the_summary_and_shown() {
    let place = Place::new("stats-recorded");
    // Three messages of a byte, in two packets.
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/captures/two_lines");
    let mut publisher = place.publish(Path::new("-"), &["--linger", "0s"]).with_input_pipe().start();
    let open = feed(publisher.take_input(), fs::read(capture).unwrap()).join().unwrap();
    let seen = wait_for("two packets", || {
        let seen = snapshot(&place, "publisher").filter(|seen| value(seen, "next") == 4)?;
        (seen.histogram("pace_error", &[]).unwrap().count == 2).then_some(seen)
    });
    let (_serving, address) = serve(&place, place.stats().to_str().unwrap());
    let metrics = scrape(&address);
    let names = ["seqcast_publisher_message_bytes_total", "seqcast_publisher_pace_error_seconds_count"];
    assert_eq!(names.map(|name| metrics.value(name, &[]) as u64), [3, 2]);
    drop(open);
    let summary = publisher.wait().expect_code(0).json();
    assert_eq!((value(&seen, "message_bytes"), value(&seen, "messages")), (3, number(&summary, "messages")));
    assert_eq!(number(&summary, "bytes"), 3);
    let (errors, told) = (seen.histogram("pace_error", &[]).unwrap(), &summary["pace_error"]);
    // The summary keeps three digits.
    assert_eq!(errors.count, number(told, "count"));
    assert!(number(told, "max_ns").abs_diff(errors.largest) <= errors.largest / 500, "{told} {}", errors.largest);
}

#[test]
fn counters_are_left_alone_if_told_so_and_keep_nobody_from_publishing() {
    let place = Place::new("stats-none");
    let input = place.write("in", &blocks([&b"one"[..]]));
    let (input, line) = (input.to_str().unwrap(), place.line().to_string());
    let program = env!("CARGO_BIN_EXE_seqcast");
    let publish = ["publish", "--requests", "none", "--linger", "0s", "--line-a", &line, "--input", input, "--stats"];
    let ended = place.command(program, &publish).and(&["none"]).run().expect_code(0);
    assert!(!ended.errors.contains("counters"), "{}", ended.errors);
    assert!(!Path::new("none").exists());
    let ended = place.command(program, &publish).and(&[input]).run().expect_code(0);
    let words = format!("counters cannot be kept in {input}: ");
    assert!(ended.errors.contains(&words), "{}", ended.errors);
    assert!(ended.errors.contains("1 message published"), "{}", ended.errors);
}
