//! `seqcast stats`, `top` and `metrics`, beside processes that keep counters, and are killed.

#[path = "support/keeper.rs"]
mod keeper;
#[path = "support/metrics.rs"]
mod metrics;
#[path = "support/prometheus.rs"]
mod prometheus;
#[path = "support/pty.rs"]
mod pty;
mod support;

use keeper::{Keeper, litter};
use metrics::{scrape, serve};
use prometheus::Metrics;
use pty::Pty;
use seqcast_recovery::Nanos;
use seqcast_transport::Clock;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use support::{PATIENCE, Place, pause, wait_for};

/// The directory of [`keeper_process`].
const DIRECTORY: &str = "SEQCAST_TEST_KEEPER";

/// Not a test: the process that the others watch and kill. It publishes in one feed, and falls behind in it.
#[test]
fn keeper_process() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let publisher = Keeper::publisher(Path::new(&directory), "EQ20261121");
    let subscriber = Keeper::subscriber(Path::new(&directory), "EQ20261121");
    let end = Clock::now() + PATIENCE;
    while Clock::now() < end {
        publisher.add("messages", 1_000);
        publisher.write(&[]);
        subscriber.add("messages", 500);
        subscriber.add("lag_messages", 500);
        subscriber.write(&[("heard", 1), ("lag_time", 1_000_000_000)]);
        pause(Nanos::from_millis(10));
    }
}

/// A process that runs [`keeper_process`]; killed when it is dropped.
struct Kept(Child);

impl Kept {
    fn start(directory: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "keeper_process"]).env(DIRECTORY, directory).stdout(Stdio::null());
        let kept = Self(command.spawn().unwrap());
        wait_for("its files", || (files(directory) == 2).then_some(()));
        kept
    }

    /// As `kill -9` does.
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How many there are, without those that are being made.
fn files(directory: &Path) -> usize {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "stats")).count()
}

/// The place of a test and its directory of counters.
fn place(name: &str) -> (Place, String) {
    let place = Place::new(name);
    let directory = place.path("counters");
    fs::create_dir(&directory).unwrap();
    let text = directory.to_str().unwrap().to_owned();
    (place, text)
}

#[test]
fn a_process_that_is_killed_while_it_is_watched_is_shown_as_dead() {
    let (place, directory) = place("killed");
    let mut kept = Kept::start(Path::new(&directory));
    let watch = ["stats", "--stats", &directory, "--json", "--watch=20ms", "subscriber"];
    let mut watching = place.seqcast(&watch).with_output_pipe().start();
    let mut lines = BufReader::new(watching.take_output()).lines();
    let mut wait_for_state = |state: &str| {
        let end = Clock::now() + PATIENCE;
        loop {
            assert!(Clock::now() < end, "never {state}");
            let document: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            let processes = document["processes"].as_array().unwrap();
            assert_eq!((processes.len(), &processes[0]["role"]), (1, &Value::from("subscriber")));
            if processes[0]["state"] == state {
                return;
            }
        }
    };
    wait_for_state("live");
    kept.kill();
    wait_for_state("dead");
    watching.signal(libc::SIGINT);
    watching.wait().expect_code(0);
    let shown = place.seqcast(&["stats", "--stats", &directory, "EQ20261121"]).run().expect_code(0);
    let words = String::from_utf8(shown.output).unwrap();
    let process = kept.0.id();
    for role in ["publisher", "subscriber"] {
        assert!(words.contains(&format!("{role} EQ20261121, process {process}, dead, started ")), "{words}");
    }
    assert!(words.lines().any(|line| line.starts_with("  lag_time ") && line.ends_with(" 1.00 s")), "{words}");
    let cleared = place.seqcast(&["stats", "--stats", &directory, "--clear"]).run().expect_code(0);
    let words = String::from_utf8(cleared.output).unwrap();
    let removed =
        format!("removed subscriber EQ20261121, process {process}: {directory}/subscriber-{process}-0.stats\n");
    assert!(words.lines().count() == 2 && words.ends_with(&removed), "{words}");
    assert_eq!(files(Path::new(&directory)), 0);
}

#[test]
fn only_what_is_dead_is_cleared() {
    let (place, directory) = place("clear");
    let kept = Keeper::publisher(Path::new(&directory), "EQ20261121");
    Keeper::subscriber(Path::new(&directory), "EQ20261121").killed("subscriber-z.stats");
    let skipped = litter(Path::new(&directory));
    let before = files(Path::new(&directory));
    let cleared = place.seqcast(&["stats", "--stats", &directory, "--clear", "--json"]).run().expect_code(0).json();
    assert_eq!(cleared["removed"].as_array().unwrap().len(), 1);
    assert!(cleared["removed"][0]["file"].as_str().unwrap().ends_with("/subscriber-z.stats"));
    assert_eq!((files(Path::new(&directory)), skipped), (before - 1, 9));
    drop(kept);
}

#[test]
fn whatever_lies_in_the_directory_is_skipped_with_a_word() {
    let (place, directory) = place("litter");
    let _kept = Kept::start(Path::new(&directory));
    let skipped = litter(Path::new(&directory));
    let shown = place.seqcast(&["stats", "--stats", &directory, "--json"]).run().expect_code(0);
    assert_eq!(shown.errors.lines().count(), skipped, "{}", shown.errors);
    let damaged = format!("seqcast: warning: {directory}/damaged.stats is skipped: it is damaged\n");
    assert!(shown.errors.contains(&damaged), "{}", shown.errors);
    let document = shown.json();
    assert_eq!(document["processes"].as_array().unwrap().len(), 2);
    assert_eq!(document["skipped"].as_array().unwrap().len(), skipped);
    // It is told once, however long it is watched.
    let mut watching = place.seqcast(&["stats", "--stats", &directory, "--watch=10ms"]).with_output_pipe().start();
    let lines = BufReader::new(watching.take_output()).lines();
    assert!(lines.map(Result::unwrap).filter(|line| line.starts_with("publisher EQ20261121")).nth(5).is_some());
    // Nobody reads it any more.
    let ended = watching.wait().expect_code(0);
    assert_eq!(ended.errors.lines().count(), skipped, "{}", ended.errors);
}

#[test]
fn a_directory_that_is_not_there_has_no_processes_and_a_file_is_none() {
    let (place, directory) = place("nowhere");
    let nowhere = format!("{directory}/nowhere");
    let shown = place.seqcast(&["stats", "--stats", &nowhere]).run().expect_code(0);
    assert_eq!(String::from_utf8(shown.output).unwrap(), format!("no process keeps counters in {nowhere}\n"));
    place.write("counters/file", b"");
    let file = format!("{directory}/file");
    for arguments in [&["stats"][..], &["stats", "--clear"], &["metrics", "--listen", "127.0.0.1:0"]] {
        let ended = place.seqcast(arguments).and(&["--stats", &file]).run().expect_code(1);
        assert!(ended.errors.starts_with(&format!("seqcast: --stats {file}: ")), "{}", ended.errors);
    }
}

#[test]
fn a_scrape_shows_who_lives_and_who_was_killed() {
    let (place, directory) = place("scrape");
    let mut kept = Kept::start(Path::new(&directory));
    let skipped = litter(Path::new(&directory));
    let (mut serving, address) = serve(&place, &directory);
    let of = |metrics: &Metrics, name: &str| metrics.value(name, &[("session", "EQ20261121"), ("role", "subscriber")]);
    let first = scrape(&address);
    pause(Nanos::from_millis(100));
    let second = scrape(&address);
    let messages = [&first, &second].map(|metrics| of(metrics, "seqcast_subscriber_messages_total"));
    assert!(messages[0] > 0.0 && messages[0] < messages[1], "{messages:?}");
    assert_eq!(of(&second, "seqcast_up"), 1.0);
    assert_eq!(second.value("seqcast_skipped_files", &[]), skipped as f64);
    // One that hangs holds up neither another one nor the end.
    let mut hanging = TcpStream::connect(&address).unwrap();
    hanging.write_all(b"GET /metrics").unwrap();
    kept.kill();
    assert_eq!(scrape(&address).value("seqcast_up", &[("role", "subscriber"), ("state", "dead")]), 0.0);
    let begin = Clock::now();
    serving.signal(libc::SIGINT);
    let ended = serving.wait().expect_code(0);
    assert!(Clock::now() - begin < Nanos::from_secs(4), "before the one that hangs is given up");
    assert_eq!(ended.errors.lines().count(), 1 + skipped, "each is told once: {}", ended.errors);
}

#[test]
fn an_address_that_is_taken_is_an_error_that_names_it() {
    let (place, directory) = place("taken");
    let (_serving, address) = serve(&place, &directory);
    let ended = place.seqcast(&["metrics", "--stats", &directory, "--listen", &address]).run().expect_code(2);
    assert!(ended.errors.starts_with(&format!("seqcast: --listen {address}: ")), "{}", ended.errors);
}

#[test]
fn top_without_a_terminal_names_what_works_without_one() {
    let (place, directory) = place("noterminal");
    let ended = place.seqcast(&["top", "--stats", &directory]).run().expect_code(2);
    assert!(ended.errors.contains("top needs a terminal; seqcast stats --watch"), "{}", ended.errors);
}

fn top(directory: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seqcast"));
    command.args(["top", "--stats", directory, "--interval", "50ms"]).env_remove("NO_COLOR");
    command
}

#[test]
fn top_gives_the_terminal_back_however_it_is_ended() {
    let (_place, directory) = place("ended");
    for end in ["q", "\x03", "TERM"] {
        let mut pty = Pty::start(top(&directory));
        pty.wait_for("no process keeps counters in ");
        if end == "TERM" {
            let killed = Command::new("kill").arg(pty.id().to_string()).status().unwrap();
            assert!(killed.success());
        } else {
            pty.press(end);
        }
        let (status, _) = pty.wait();
        assert_eq!(status.code(), Some(0), "{end:?}");
    }
}

/// How red begins (ECMA-48, SGR 38;5;9).
const RED: &str = "\x1b[38;5;9m";

#[test]
fn top_shows_a_slow_subscriber_in_red_unless_there_shall_be_no_colour_and_then_that_it_was_killed() {
    let (_place, directory) = place("red");
    let mut kept = Kept::start(Path::new(&directory));
    let mut plain = top(&directory);
    plain.env("NO_COLOR", "1");
    let mut plain = Pty::start(plain);
    plain.wait_for(", 1 slow");
    plain.press("jq");
    let (_, output) = plain.wait();
    assert!(output.contains("  lag ") && !output.contains(RED), "{output:?}");
    let mut pty = Pty::start(top(&directory));
    pty.wait_for(RED);
    kept.kill();
    pty.wait_for(", 2 dead");
    pty.press("\r");
    pty.wait_for("publisher EQ20261121, process");
    pty.press("q");
    assert_eq!(pty.wait().0.code(), Some(0));
}
