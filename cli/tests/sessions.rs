//! Whole sessions with the real command: under loss, from the start or later, in every format, beside subscribers that fall
//! behind.

#[path = "support/listener.rs"]
mod listener;
mod support;

use flate2::{Compression, write::GzEncoder};
use listener::{lost_ranges, publish_to_listener};
use seqcast::input::Input;
use seqcast_transport::Clock;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::{
    LINGER, Observer, Place, assert_same, blocks, feed, is_bound, messages, number, seconds_since, wait_for,
};

/// Publishes and subscribes until the end, the subscriber first; both must exit with 0. Returns both summaries.
fn transfer(place: &Place, input: &Path, output: &Path, publish: &[&str], subscribe: &[&str]) -> (Value, Value) {
    let subscriber = place.subscribe(&["--until-end"]).with("--output", output);
    let subscriber = subscriber.and(subscribe).start();
    let published = place.publish(input, &LINGER).and(publish).run().expect_code(0);
    (published.json(), subscriber.wait().expect_code(0).json())
}

// Complete, byte for byte.

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

// Which session, and from where.

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
