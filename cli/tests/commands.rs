//! What the `seqcast` command promises, asked of the real binary: whole sessions under loss, subscribers that fall behind,
//! ends of every kind with their exit codes, and the documented JSON.

mod support;

use flate2::{Compression, write::GzEncoder};
use seqcast::input::Input;
use seqcast_recovery::Nanos;
use seqcast_transport::Clock;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::{
    Ended, Observer, PATIENCE, Place, Running, assert_same, blocks, feed, is_bound, messages, number, pause,
    seconds_since, wait_for,
};

/// Longer than any test takes, because a machine may be busy; a linger ends a second after the last request.
const LINGER: [&str; 2] = ["--linger", "50s"];

/// Publishes and subscribes until the end, the subscriber first; both must exit with 0. Returns both summaries.
fn transfer(place: &Place, input: &Path, output: &Path, publish: &[&str], subscribe: &[&str]) -> (Value, Value) {
    let subscriber = place.subscribe(&["--until-end"]).with("--output", output);
    let subscriber = subscriber.and(subscribe).start();
    let published = place.publish(input, &LINGER).and(publish).run().expect_code(0);
    (published.json(), subscriber.wait().expect_code(0).json())
}

/// A publisher that is fed `first` and waits for more; `subscriber` has heard it.
fn publish_to_listener(place: &Place, subscriber: &mut Running, first: &[u8], arguments: &[&str]) -> (Running, Feed) {
    let publish = place.publish(Path::new("-"), &LINGER).and(&["--format", "blocks"]).and(arguments);
    let mut publisher = publish.with_input_pipe().start();
    let mut pipe = publisher.take_input();
    pipe.write_all(first).unwrap();
    subscriber.wait_for_words("is heard");
    (publisher, pipe)
}

type Feed = std::process::ChildStdin;

/// Waits until a subscriber has written just this: it may be caught up before, when a heartbeat came ahead of the messages.
#[track_caller]
fn wait_for_output(file: &Path, expected: &[u8]) {
    wait_for("the output", || fs::read(file).ok().filter(|written| written == expected));
}

fn lost_ranges(summary: &Value) -> Vec<(u64, u64, &str)> {
    let ranges = summary["lost_ranges"].as_array().unwrap();
    ranges
        .iter()
        .map(|range| (number(range, "first"), number(range, "next"), range["cause"].as_str().unwrap()))
        .collect()
}

// Whole sessions.

#[test]
fn the_same_seed_generates_the_same_messages_and_another_seed_others() {
    let place = Place::new("generate");
    let [first, again, other] = [("first", 7), ("again", 7), ("other", 8)]
        .map(|(name, seed)| fs::read(place.generate(name, 5_000, seed)).unwrap());
    assert_eq!(messages(&first).len(), 5_000);
    assert_same(&again, &first);
    assert!(first != other);
}

#[test]
fn a_hundred_thousand_messages_survive_loss_reordering_and_duplication() {
    let place = Place::new("lossy");
    let (input, output) = (place.generate("in", 100_000, 3), place.path("out"));
    let impairment = "loss=10%,reorder=2%,duplicate=2%,seed=5";
    let (published, heard) = transfer(&place, &input, &output, &[], &["--impair", impairment]);
    assert_same(&fs::read(&output).unwrap(), &fs::read(&input).unwrap());
    for summary in [&published, &heard] {
        assert_eq!((number(summary, "messages"), number(summary, "next")), (100_000, 100_001));
    }
    assert_eq!(published["session"], heard["session"]);
    assert!(number(&heard, "recovered") > 0 && number(&heard, "lost") == 0, "{heard}");
}

#[test]
fn a_real_exchange_feed_at_full_speed_arrives_byte_for_byte_under_loss() {
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/iex-tops16.pcap.gz");
    if !capture.exists() {
        skipped(&capture);
        return;
    }
    let mut expected = Vec::new();
    let mut input = Input::open(&capture, None).unwrap();
    while let Some(message) = input.next().unwrap() {
        expected.extend(blocks([message.payload]));
    }
    let place = Place::new("exchange");
    let output = place.path("out");
    let impairment = ["--impair", "loss=5%,reorder=2%,duplicate=2%"];
    let (published, heard) = transfer(&place, &capture, &output, &["--pace", "max"], &impairment);
    assert_same(&fs::read(&output).unwrap(), &expected);
    assert_eq!((number(&published, "messages"), number(&heard, "messages")), (57_674, 57_674));
}

#[expect(clippy::print_stdout, reason = "cargo test shows what was skipped")]
fn skipped(what: &Path) {
    println!("skipped: {} is absent", what.display());
}

#[test]
fn a_subscriber_that_comes_late_gets_everything_from_the_oldest_on() {
    let place = Place::new("late");
    let (input, output) = (place.generate("in", 20_000, 1), place.path("out"));
    let (feed_all, observer) = (fs::read(&input).unwrap(), Observer::join(&place));
    let mut publisher = place.publish(Path::new("-"), &LINGER).and(&["--format", "blocks"]).with_input_pipe().start();
    let pipe = feed(publisher.take_input(), feed_all.clone());
    observer.wait_for_next(20_001);
    let mut subscriber = place.subscribe(&["--until-end"]).with("--output", &output).start();
    subscriber.wait_for_words("caught up at 20001");
    drop(pipe.join().unwrap());
    let heard = subscriber.wait().expect_code(0).json();
    assert_same(&fs::read(&output).unwrap(), &feed_all);
    assert_eq!(number(&heard, "first"), 1);
    publisher.wait().expect_code(0);
}

#[test]
fn three_subscribers_with_losses_of_their_own_all_complete() {
    let place = Place::new("three");
    let input = place.generate("in", 50_000, 2);
    let outputs = [1, 2, 3].map(|seed| (seed, place.path(&format!("out{seed}"))));
    let subscribers = outputs.each_ref().map(|(seed, output)| {
        let impairment = format!("loss=5%,burst=3,reorder=1%,seed={seed}");
        place.subscribe(&["--until-end", "--impair", &impairment]).with("--output", output).start()
    });
    place.publish(&input, &LINGER).and(&["--pace", "50000/s"]).run().expect_code(0);
    let expected = fs::read(&input).unwrap();
    for (subscriber, (_, output)) in subscribers.into_iter().zip(&outputs) {
        let heard = subscriber.wait().expect_code(0).json();
        assert!(number(&heard, "recovered") > 0, "{heard}");
        assert_same(&fs::read(output).unwrap(), &expected);
    }
}

// Formats.

#[test]
fn lines_in_are_lines_out_even_when_compressed() {
    let place = Place::new("lines");
    let text = "first\n\nthird with ü\r\nlast".as_bytes();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    let input = place.write("in.gz", &encoder.finish().unwrap());
    let output = place.path("out");
    let (_, heard) = transfer(&place, &input, &output, &[], &["--format", "lines"]);
    assert_same(&fs::read(&output).unwrap(), &[text, b"\n"].concat());
    assert_eq!((number(&heard, "messages"), number(&heard, "bytes")), (4, text.len() as u64 - 3));
}

#[test]
fn json_output_says_number_session_and_text_or_hex() {
    let place = Place::new("json");
    let input = place.write("in", &blocks([&b"a \"quote\""[..], b"\xFF\x00", b""]));
    let output = place.path("out");
    let arguments = ["--format", "blocks", "--session", "JSON1"];
    transfer(&place, &input, &output, &arguments, &["--format", "json"]);
    let text = fs::read_to_string(&output).unwrap();
    let objects: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = [
        json!({ "sequence": 1, "session": "JSON1", "text": "a \"quote\"" }),
        json!({ "sequence": 2, "session": "JSON1", "hex": "ff00" }),
        json!({ "sequence": 3, "session": "JSON1", "text": "" }),
    ];
    assert_eq!(objects, expected);
}

#[test]
fn a_newline_inside_a_message_fails_lines_and_suggests_blocks() {
    let place = Place::new("newline");
    let input = place.write("in", &blocks([&b"good"[..], b"a\nb"]));
    let subscriber =
        place.subscribe(&["--until-end", "--format", "lines"]).with("--output", &place.path("out")).start();
    let publisher = place.publish(&input, &["--format", "blocks"]).start();
    let ended = subscriber.wait().expect_code(1);
    assert!(ended.errors.contains("message 2") && ended.errors.contains("--format blocks"), "{}", ended.errors);
    assert_same(&fs::read(place.path("out")).unwrap(), b"good\n");
    publisher.wait().expect_code(0);
}

// Falling behind.

#[test]
fn a_stopped_subscriber_is_told_exactly_what_was_overwritten() {
    const MESSAGES: u64 = 400_000;
    let place = Place::new("lapped");
    let (input, output) = (fs::read(place.generate("in", MESSAGES, 4)).unwrap(), place.path("out"));
    let all = messages(&input);
    let begin = blocks(all[..1_000].iter().copied());
    let options = ["--until-end", "--receive-buffer", "256KiB"];
    let mut subscriber = place.subscribe(&options).with("--output", &output).start();
    let arguments = ["--retain", "256KiB"];
    let (publisher, pipe) = publish_to_listener(&place, &mut subscriber, &begin, &arguments);
    wait_for("the first messages", || (fs::read(&output).unwrap().len() == begin.len()).then_some(()));

    subscriber.signal(libc::SIGSTOP);
    let observer = Observer::join(&place);
    let pipe = feed(pipe, input[begin.len()..].to_vec());
    observer.wait_for_next(MESSAGES + 1);
    subscriber.signal(libc::SIGCONT);
    subscriber.wait_for_words("lost ");
    drop(pipe.join().unwrap());

    let oldest = number(&publisher.wait().expect_code(0).json(), "oldest");
    let ended = subscriber.wait().expect_code(3);
    let heard = ended.json();
    let lost = lost_ranges(&heard);
    // Most often one range; a packet that was small enough for the last bytes of the kernel's buffer splits it.
    assert!(lost.iter().all(|range| range.0 > 1_000 && range.2 == "overwritten"), "{heard}");
    assert_eq!(lost.last().unwrap().1, oldest);
    assert!(oldest <= MESSAGES, "{heard}");
    let kept = (1..).zip(&all).filter(|(number, _)| !lost.iter().any(|range| (range.0..range.1).contains(number)));
    assert_same(&fs::read(&output).unwrap(), &blocks(kept.map(|(_, message)| *message)));
    let count = lost.iter().map(|range| range.1 - range.0).sum::<u64>();
    assert_eq!((number(&heard, "lost"), number(&heard, "messages")), (count, MESSAGES - count));
    assert_eq!(number(&heard, "exit_code"), 3);
    assert!(ended.errors.contains("overwritten"), "{}", ended.errors);
}

#[test]
fn a_stalled_reader_delays_its_own_subscriber_and_nobody_else() {
    const MESSAGES: u64 = 200_000;
    let place = Place::new("stalled");
    let input = fs::read(place.generate("in", MESSAGES, 6)).unwrap();
    let (begin, rest) = input.split_at(blocks(messages(&input)[..10].iter().copied()).len());
    let output = place.path("neighbour");
    let mut neighbour = place.subscribe(&["--until-end"]).with("--output", &output).start();
    let mut stalled = place.subscribe(&["--until-end", "--output", "-"]).with_output_pipe().start();
    let mut reader = stalled.take_output();
    let started = Clock::now();
    let (publisher, pipe) = publish_to_listener(&place, &mut stalled, begin, &["--pace", "100000/s"]);
    neighbour.wait_for_words("is heard");
    let observer = Observer::join(&place);
    let pipe = feed(pipe, rest.to_vec());
    observer.wait_for_next(MESSAGES + 1);
    let seconds = seconds_since(started);
    assert!((1.9..30.0).contains(&seconds), "200,000 messages at 100,000/s took {seconds} s");
    wait_for("the neighbour's output", || (fs::read(&output).unwrap().len() == input.len()).then_some(()));
    assert!(!stalled.has_ended(), "its reader has not read anything yet");

    let count = Arc::new(AtomicUsize::new(0));
    let reading = std::thread::spawn({
        let count = Arc::clone(&count);
        move || {
            let (mut read, mut chunk) = (Vec::new(), [0; 65_536]);
            loop {
                let length = reader.read(&mut chunk).unwrap();
                if length == 0 {
                    return read;
                }
                read.extend(&chunk[..length]);
                count.fetch_add(length, Ordering::Relaxed);
            }
        }
    });
    wait_for("the stalled reader's messages", || (count.load(Ordering::Relaxed) == input.len()).then_some(()));
    drop(pipe.join().unwrap());
    let ended = stalled.wait().expect_code(0);
    assert_same(&reading.join().unwrap(), &input);
    assert_eq!(number(&ended.json_among_errors(), "messages"), MESSAGES);
    neighbour.wait().expect_code(0);
    assert_same(&fs::read(&output).unwrap(), &input);
    publisher.wait().expect_code(0);
}

#[test]
fn a_reader_that_has_read_enough_ends_its_subscriber_quietly() {
    let place = Place::new("head");
    let input = place.generate("in", 100_000, 1);
    let mut subscriber = place.subscribe(&["--output", "-", "--format", "json"]).with_output_pipe().start();
    let mut reader = subscriber.take_output();
    let publisher = place.publish(&input, &LINGER).start();
    let mut head = [0; 100];
    reader.read_exact(&mut head).unwrap();
    drop(reader);
    let ended = subscriber.wait().expect_code(0);
    assert!(number(&ended.json_among_errors(), "messages") > 0, "the summary that was asked for is there");
    for line in ended.errors.lines().filter(|line| !line.starts_with('{')) {
        for word in ["seqcast:", "error", "cannot", "pipe", "panicked"] {
            assert!(!line.contains(word), "{}", ended.errors);
        }
    }
    publisher.wait().expect_code(0);
}

// Exit codes and words.

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

#[test]
fn nobody_there_is_silence_and_exit_code_4() {
    let place = Place::new("nobody");
    let ended = place.subscribe(&["--silent-after", "300ms"]).run().expect_code(4);
    assert!(ended.errors.contains("silent") && ended.errors.contains("--silent-after"), "{}", ended.errors);
    let heard = ended.json();
    assert_eq!((&heard["session"], &heard["first"], &heard["next"]), (&Value::Null, &Value::Null, &Value::Null));
    assert_eq!((number(&heard, "messages"), number(&heard, "exit_code")), (0, 4));
}

#[test]
fn a_killed_publisher_is_silence_and_exit_code_4_when_told_to() {
    let place = Place::new("killed");
    let output = place.path("out");
    let mut strict = place.subscribe(&["--until-end", "--silent-after", "2s"]).with("--output", &output).start();
    let other_output = place.path("other");
    let mut patient = place.subscribe(&["--until-end"]).with("--output", &other_output).start();
    let begin = blocks([&b"one"[..], b"two"]);
    let (mut publisher, _pipe) = publish_to_listener(&place, &mut strict, &begin, &[]);
    for output in [&output, &other_output] {
        wait_for_output(output, &begin);
    }
    publisher.signal(libc::SIGKILL);
    let ended = strict.wait().expect_code(4);
    assert!(
        ended.errors.contains("silent: session ") && ended.errors.contains("was not heard for"),
        "{}",
        ended.errors
    );
    assert_same(&fs::read(&output).unwrap(), &begin);
    assert_eq!(number(&ended.json(), "lost"), 0);
    patient.wait_for_words("silent");
    assert!(!patient.has_ended(), "it goes on waiting unless told otherwise");
    patient.signal(libc::SIGTERM);
    patient.wait().expect_code(0);
}

#[test]
fn a_publisher_that_fails_does_not_announce_an_end() {
    let place = Place::new("failing");
    let output = place.path("out");
    let input = place.write("in", &blocks([&b"good"[..], &[7; 200]]));
    let subscriber = place.subscribe(&["--until-end", "--silent-after", "2s"]).with("--output", &output).start();
    let arguments = ["--format", "blocks", "--max-datagram", "100", "--linger", "1s"];
    let failed = place.publish(&input, &arguments).start().wait().expect_code(1);
    assert!(failed.errors.contains("message 2") && failed.errors.contains("--max-datagram"), "{}", failed.errors);
    subscriber.wait().expect_code(4);
    assert_same(&fs::read(&output).unwrap(), &blocks([&b"good"[..]]));
}

#[test]
fn skipped_gaps_are_losses_with_exit_code_3() {
    let place = Place::new("skip");
    let output = place.path("out");
    let arguments = ["--until-end", "--gap", "skip", "--impair", "loss=20%,seed=2"];
    let mut subscriber = place.listen(&["--recover-from", "none"]).and(&arguments).with("--output", &output).start();
    let input = fs::read(place.generate("in", 20_000, 1)).unwrap();
    let all = messages(&input);
    let (begin, rest) = input.split_at(blocks(all[..1].iter().copied()).len());
    let (publisher, mut pipe) = publish_to_listener(&place, &mut subscriber, begin, &["--pace", "50000/s"]);
    pipe.write_all(rest).unwrap();
    drop(pipe);
    publisher.wait().expect_code(0);
    let ended = subscriber.wait().expect_code(3);
    let heard = ended.json();
    assert!(number(&heard, "lost") > 0 && number(&heard, "recovered") == 0, "{heard}");
    assert_eq!(number(&heard, "next") - number(&heard, "first"), number(&heard, "messages") + number(&heard, "lost"));
    assert!(lost_ranges(&heard).iter().all(|range| range.2 == "skipped"), "{heard}");
    assert!(ended.errors.contains("--gap skip"), "{}", ended.errors);
    let output = fs::read(&output).unwrap();
    let mut input = all.iter();
    assert!(messages(&output).iter().all(|delivered| input.any(|message| message == delivered)), "in order, unaltered");
    assert_eq!(messages(&output).len() as u64, number(&heard, "messages"));
}

/// A subscriber whose line loses half of its packets, after the publisher has sent everything.
fn holed(place: &Place, arguments: &[&str]) -> (Running, Running, Feed) {
    let impaired = ["--recover-from", "none", "--impair", "loss=50%,seed=3"];
    let mut subscriber = place.listen(&impaired).and(arguments).start();
    let observer = Observer::join(place);
    let (publisher, mut pipe) = publish_to_listener(place, &mut subscriber, &blocks([&b"begin"[..]]), &[]);
    for number in 0..100_u8 {
        // A pause between two messages puts each in a packet of its own.
        pipe.write_all(&blocks([&[number][..]])).unwrap();
        pause(Nanos::from_millis(2));
    }
    observer.wait_for_next(102);
    (subscriber, publisher, pipe)
}

#[test]
fn an_interrupt_with_an_open_gap_is_exit_code_3() {
    let place = Place::new("open-gap");
    let (mut subscriber, publisher, pipe) = holed(&place, &["--gap", "wait:50s"]);
    // Until a heartbeat has got through.
    pause(Nanos::from_millis(500));
    subscriber.signal(libc::SIGINT);
    let ended = subscriber.wait().expect_code(3);
    assert!(ended.errors.contains("open at the end"), "{}", ended.errors);
    let heard = ended.json();
    assert_eq!((number(&heard, "lost"), number(&heard, "exit_code")), (0, 3));
    drop(pipe);
    publisher.wait().expect_code(0);
}

#[test]
fn a_gap_stops_a_subscriber_that_was_told_so() {
    let place = Place::new("stop");
    let (subscriber, publisher, pipe) = holed(&place, &["--gap", "stop"]);
    let ended = subscriber.wait().expect_code(3);
    assert!(ended.errors.contains("stopped at") && ended.errors.contains("--gap stop"), "{}", ended.errors);
    assert_eq!(number(&ended.json(), "lost"), 0);
    drop(pipe);
    publisher.wait().expect_code(0);
}

#[test]
fn interrupt_and_terminate_end_both_sides_with_their_summaries() {
    for (name, signal) in [("interrupt", libc::SIGINT), ("terminate", libc::SIGTERM)] {
        let place = Place::new(name);
        let mut subscriber = place.subscribe(&["--until-end"]).start();
        let output = place.path("out");
        let mut follower = place.subscribe(&[]).with("--output", &output).start();
        let begin = blocks([&b"one"[..]]);
        let (mut publisher, _pipe) = publish_to_listener(&place, &mut subscriber, &begin, &[]);
        wait_for_output(&output, &begin);
        follower.signal(signal);
        let ended = follower.wait().expect_code(0);
        assert_eq!(number(&ended.json(), "messages"), 1);
        assert!(ended.errors.contains("1 message ("), "{}", ended.errors);
        publisher.signal(signal);
        let ended = publisher.wait().expect_code(0);
        assert_eq!(number(&ended.json(), "messages"), 1);
        assert!(ended.errors.contains("1 message published"), "{}", ended.errors);
        // The publisher has said that the session ends there.
        assert_eq!(number(&subscriber.wait().expect_code(0).json(), "next"), 2);
    }
}

#[test]
fn a_publisher_that_waits_for_its_first_input_can_be_interrupted() {
    let place = Place::new("no-input");
    for begin in ["", "half a line"] {
        let mut publisher = place.publish(Path::new("-"), &[]).with_input_pipe().start();
        let mut pipe = publisher.take_input();
        pipe.write_all(begin.as_bytes()).unwrap();
        // Long enough for it to have begun to wait.
        pause(Nanos::from_secs(1));
        publisher.signal(libc::SIGINT);
        publisher.wait().expect_code(0);
    }
}

/// Sends one signal, which must be enough for a prompt end with exit code 1 and a reason.
#[track_caller]
fn end_with_one_signal(mut running: Running, signal: i32) -> Ended {
    let started = Clock::now();
    running.signal(signal);
    let ended = running.wait().expect_code(1);
    let seconds = seconds_since(started);
    assert!(seconds < 5.0, "{seconds} s");
    assert!(ended.errors.contains("--output") && ended.errors.contains("interrupted"), "{}", ended.errors);
    ended
}

#[test]
fn a_subscriber_whose_reader_has_stalled_ends_at_one_signal() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let place = Place::new("stalled-interrupt");
        let input = place.generate("in", 20_000, 1);
        let fifo = place.path("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        // Open for both, so that nobody waits for the other to open it.
        let _reader = File::options().read(true).write(true).open(&fifo).unwrap();
        let by_path = place.subscribe(&["--until-end"]).with("--output", &fifo).start();
        let mut piped = place.subscribe(&["--until-end", "--output", "-"]).with_output_pipe().start();
        let _pipe = piped.take_output();
        place.publish(&input, &LINGER).run().expect_code(0);
        let ended = end_with_one_signal(piped, signal);
        assert!(ended.errors.contains("messages ("), "{}", ended.errors);
        assert_eq!(number(&ended.json_among_errors(), "exit_code"), 1);
        assert_eq!(number(&end_with_one_signal(by_path, signal).json(), "exit_code"), 1);
    }
}

#[test]
fn a_generator_whose_reader_has_stalled_ends_at_one_signal() {
    let place = Place::new("stalled-generate");
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // Before it stalls, perhaps, and after.
        for delay in [Nanos::ZERO, Nanos::from_secs(1)] {
            let arguments = ["generate", "--messages", "1000000000", "--output", "-"];
            let mut generator = place.seqcast(&arguments).with_output_pipe().start();
            let mut reader = generator.take_output();
            // What writes counts signals already.
            reader.read_exact(&mut [0]).unwrap();
            pause(delay);
            end_with_one_signal(generator, signal);
        }
    }
}

#[test]
fn a_second_interrupt_skips_the_linger() {
    let place = Place::new("linger-skipped");
    let input = place.write("in", b"one\n");
    let mut publisher = place.publish(&input, &LINGER).start();
    // Somebody asks again and again, so the linger goes on.
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let request = [&[0; 10][..], &1_u64.to_be_bytes(), &1_u16.to_be_bytes()].concat();
    let started = Clock::now();
    let mut interrupts = 0;
    while !publisher.has_ended() {
        assert!(Clock::now() - started < PATIENCE);
        // Refused until it listens, and after its end.
        let _ = client.send_to(&request, place.requests());
        pause(Nanos::from_millis(100));
        if interrupts == 0 && seconds_since(started) > 3.0 {
            publisher.signal(libc::SIGINT);
            interrupts = 1;
        } else if interrupts == 1 && seconds_since(started) > 4.5 {
            assert!(!publisher.has_ended());
            publisher.signal(libc::SIGINT);
            interrupts = 2;
        }
    }
    let seconds = seconds_since(started);
    assert!(interrupts > 0 && seconds < 30.0, "{interrupts} interrupts, {seconds} s");
    assert_eq!(number(&publisher.wait().expect_code(0).json(), "messages"), 1);
}

#[test]
fn the_linger_ends_a_second_after_the_last_request() {
    let place = Place::new("linger-short");
    let input = place.write("in", b"one\n");
    let started = Clock::now();
    place.publish(&input, &LINGER).run().expect_code(0);
    let seconds = seconds_since(started);
    assert!((1.0..20.0).contains(&seconds), "{seconds} s");
}

// Sessions.

#[test]
fn a_subscriber_follows_from_one_session_to_the_next() {
    let place = Place::new("follow");
    let output = place.path("out");
    let mut subscriber = place.subscribe(&["--format", "lines"]).with("--output", &output).start();
    for (session, next) in [("ONE", 3), ("TWO", 3)] {
        let input = place.write(session, format!("{session} first\n{session} second\n").as_bytes());
        place.publish(&input, &LINGER).and(&["--session", session]).run().expect_code(0);
        subscriber.wait_for_words(&format!("session {session} has ended at {next}"));
    }
    subscriber.signal(libc::SIGINT);
    let ended = subscriber.wait().expect_code(0);
    assert!(ended.errors.contains("session ONE ended, following TWO"), "{}", ended.errors);
    assert_eq!(fs::read_to_string(&output).unwrap(), "ONE first\nONE second\nTWO first\nTWO second\n");
    let heard = ended.json();
    assert_eq!((heard["session"].as_str(), number(&heard, "first"), number(&heard, "next")), (Some("TWO"), 1, 3));
}

#[test]
fn a_subscriber_of_one_session_counts_the_others_as_foreign() {
    let place = Place::new("foreign");
    let output = place.path("out");
    let subscriber =
        place.subscribe(&["--session", "TWO", "--until-end", "--format", "lines"]).with("--output", &output).start();
    wait_for("the subscriber's socket", || is_bound(place.line()).then_some(()));
    for session in ["ONE", "TWO"] {
        let input = place.write(session, format!("{session}\n").as_bytes());
        place.publish(&input, &LINGER).and(&["--session", session]).run().expect_code(0);
    }
    let heard = subscriber.wait().expect_code(0).json();
    assert_eq!(fs::read_to_string(&output).unwrap(), "TWO\n");
    assert!(number(&heard, "foreign") > 0, "{heard}");
    assert_eq!(heard["session"].as_str(), Some("TWO"));
}

#[test]
fn a_subscriber_begins_at_the_number_it_is_told() {
    let place = Place::new("start-at");
    let input = place.write("in", b"one\ntwo\nthree\n");
    let (_, heard) = transfer(&place, &input, &place.path("out"), &[], &["--start", "3", "--format", "lines"]);
    assert_eq!(fs::read_to_string(place.path("out")).unwrap(), "three\n");
    assert_eq!((number(&heard, "first"), number(&heard, "messages"), number(&heard, "lost")), (3, 1, 0));
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
