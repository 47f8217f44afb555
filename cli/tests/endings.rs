//! How the real command ends: silence, gaps, signals, readers that have enough or have stalled; exit codes and words.

#[path = "support/listener.rs"]
mod listener;
mod support;

use listener::{Feed, lost_ranges, publish_to_listener};
use seqcast_recovery::Nanos;
use seqcast_transport::Clock;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use support::{
    Ended, LINGER, Observer, PATIENCE, Place, Running, assert_same, blocks, messages, number, pause, seconds_since,
    wait_for,
};

/// Waits until a subscriber has written just this: it may be caught up before, when a heartbeat came ahead of the messages.
#[track_caller]
fn wait_for_output(file: &Path, expected: &[u8]) {
    wait_for("the output", || fs::read(file).ok().filter(|written| written == expected));
}

// Silence, and failures.

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

// Gaps.

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

// Signals, readers, and the linger.

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
