//! How the real command is used: what it refuses, with words that help, and what is documented of its help, its summaries and
//! its demonstration.

mod support;

use serde_json::Value;
use std::fs;
use std::io::Read;
use std::net::UdpSocket;
use std::path::Path;
use support::{Ended, LINGER, Place, assert_same, messages, number};

// What is refused.

#[track_caller]
fn assert_refused(ended: Ended, words: &[&str]) {
    let ended = ended.expect_code(2);
    for word in words {
        assert!(ended.errors.contains(word), "{word:?} in: {}", ended.errors);
    }
    assert!(ended.output.is_empty());
}

#[test]
fn wrong_usage_is_refused_with_exit_code_2() {
    let place = Place::new("usage");
    let input = place.write("in", b"one\n");
    for arguments in [
        &["--sesion", "A"][..],
        &["--pace", "fast"],
        &["--pace", "0/s"],
        &["--session", "any"],
        &["--session", "0000000000"],
        &["--session", "          "],
        &["--session", "ELEVENCHARS"],
        &["--retain", "much"],
        &["--linger", "5"],
        &["--max-datagram", "63"],
        &["--max-datagram", "65508"],
        &["--format", "xml"],
        &["--ttl", "256"],
    ] {
        assert_refused(place.publish(&input, arguments).run(), &[arguments[0]]);
    }
    for arguments in [
        &["--gap", "ignore"][..],
        &["--gap", "wait:soon"],
        &["--start", "0"],
        &["--start", "newest"],
        &["--output", "-", "--format", "xml"],
        &["--idle", "sleep"],
        &["--impair", "loss=200%"],
        &["--silent-after", "3"],
        &["--recover-from", "localhost"],
        &["--format", "blocks"],
    ] {
        let option = arguments[arguments.len() - 2];
        assert_refused(place.listen(arguments).run(), &[option]);
    }
    for arguments in [
        &[][..],
        &["publish"],
        &["subscrib"],
        &["generate", "--messages", "many", "--output", "-"],
        &["demo", "--seconds", "0"],
    ] {
        assert_refused(place.seqcast(arguments).run(), &[]);
    }
    for line in ["239.255.79.1", "10.0.0.1:30001", "239.255.79.1:99999"] {
        let input = input.to_str().unwrap();
        assert_refused(place.seqcast(&["publish", "--input", input, "--line-a", line]).run(), &["--line-a"]);
        assert_refused(place.seqcast(&["subscribe", "--line-a", line]).run(), &["--line-a"]);
    }
}

#[test]
fn an_address_in_use_names_the_option_and_the_mend() {
    let place = Place::new("in-use");
    let _owner = UdpSocket::bind(place.requests()).unwrap();
    let input = place.write("in", b"one\n");
    assert_refused(place.publish(&input, &[]).run(), &["--requests", "another port"]);
}

#[test]
fn an_interface_that_is_not_there_names_the_option_and_those_there_are() {
    let place = Place::new("interface");
    let input = place.write("in", b"one\n");
    let arguments = ["--interface", "no-such-if"];
    for ended in [place.publish(&input, &arguments).run(), place.listen(&arguments).run()] {
        assert_refused(ended, &["--interface", "no-such-if", "127.0.0.1"]);
    }
}

#[test]
fn an_input_that_is_not_there_and_an_output_that_cannot_be_fail_with_exit_code_1() {
    let place = Place::new("files");
    let missing = place.path("missing/file");
    for ended in [place.publish(&missing, &[]).run(), place.listen(&[]).with("--output", &missing).run()] {
        assert!(ended.expect_code(1).errors.contains("missing/file"));
    }
    let full = Path::new("/dev/full");
    if full.exists() {
        let ended = place.seqcast(&["generate", "--messages", "100000"]).with("--output", full).run().expect_code(1);
        assert!(ended.errors.contains("--output /dev/full"), "{}", ended.errors);
    }
}

// What is documented.

#[track_caller]
fn assert_counters(object: &Value, names: &[&str]) {
    for name in names {
        number(object, name);
    }
    assert!(object["elapsed_s"].is_f64(), "{object}");
    number(&object["lines"]["a"], "packets");
    number(&object["lines"]["a"], "bytes");
}

#[test]
fn the_summaries_hold_every_documented_name() {
    let place = Place::new("contract");
    let input = place.generate("in", 1_000, 1);
    let payload = messages(&fs::read(&input).unwrap()).iter().map(|message| message.len() as u64).sum::<u64>();
    let mut subscriber = place.subscribe(&["--until-end", "--output", "-"]).with_output_pipe().start();
    let mut reader = subscriber.take_output();
    let reading = std::thread::spawn(move || {
        let mut read = Vec::new();
        reader.read_to_end(&mut read).map(|_| read)
    });
    let published = place.publish(&input, &LINGER).and(&["--session", "CONTRACT"]).run().expect_code(0).json();
    let heard = subscriber.wait().expect_code(0).json_among_errors();
    assert_same(&reading.join().unwrap().unwrap(), &fs::read(&input).unwrap());

    let common = ["first", "next", "messages", "bytes", "requests", "retransmissions"];
    assert_counters(&published, &common);
    assert_counters(&heard, &common);
    assert_counters(&heard, &["gaps", "recovered", "lost", "duplicates", "malformed", "foreign"]);
    for summary in [&published, &heard] {
        assert_eq!(summary["session"].as_str(), Some("CONTRACT"));
        assert_eq!((number(summary, "first"), number(summary, "next")), (1, 1_001));
        assert_eq!((number(summary, "messages"), number(summary, "bytes")), (1_000, payload));
        assert!(number(&summary["lines"]["a"], "bytes") > payload, "headers and framing count");
    }
}

#[test]
fn the_demonstration_ends_with_nothing_lost_and_something_recovered() {
    let place = Place::new("demo");
    let ended = place.seqcast(&["demo", "--seconds", "1", "--impair", "loss=5%,seed=1"]).run().expect_code(0);
    let output = String::from_utf8(ended.output).unwrap();
    let line = output.lines().find(|line| line.starts_with("recovered ")).unwrap();
    assert!(line.ends_with("; 0 lost") && !line.starts_with("recovered  0 "), "{output}");
    assert!(output.contains("complete: all 100,000 messages arrived once, in order, unaltered"), "{output}");
    for words in ["median", "p99 ", "most", "recovery", "delivery"] {
        assert!(output.contains(words), "{words} in {output}");
    }
}

#[test]
fn help_names_every_option_of_the_contract_and_its_default() {
    let place = Place::new("help");
    let publish = [
        "--input",
        "--format",
        "blocks",
        "lines",
        "pcap",
        "--pace",
        "max",
        "recorded*X",
        "--session",
        "--line-a",
        "239.255.77.1:30001",
        "--interface",
        "127.0.0.1",
        "--ttl",
        "--requests",
        "127.0.0.1:30100",
        "none",
        "--retain",
        "64MiB",
        "--max-datagram",
        "1472",
        "--linger",
        "5s",
        "--core",
        "--json",
    ];
    let subscribe = [
        "--session",
        "any",
        "--line-a",
        "239.255.77.1:30001",
        "--interface",
        "--recover-from",
        "127.0.0.1:30100",
        "--start",
        "oldest|live|N",
        "--output",
        "--format",
        "blocks",
        "lines",
        "json",
        "none",
        "--until-end",
        "--gap",
        "wait[:DURATION]|skip|stop",
        "wait:10s",
        "--silent-after",
        "--core",
        "--idle",
        "backoff|spin|yield|block",
        "--impair",
        "loss=2%",
        "burst=",
        "duplicate=",
        "reorder=",
        "delay=",
        "seed=",
        "--json",
    ];
    let generate = ["--messages", "--seed", "--output"];
    let demo = ["--input", "--seconds", "--impair"];
    let all = [("publish", &publish[..]), ("subscribe", &subscribe), ("generate", &generate), ("demo", &demo)];
    for (command, words) in all {
        let ended = place.seqcast(&[command, "--help"]).run().expect_code(0);
        let help = String::from_utf8(ended.output).unwrap();
        for word in words {
            assert!(help.contains(word), "{word} in the help of {command}: {help}");
        }
    }
    let help = place.seqcast(&["--help"]).run().expect_code(0);
    let help = String::from_utf8(help.output).unwrap();
    for (command, _) in all {
        assert!(help.contains(command), "{help}");
    }
}
