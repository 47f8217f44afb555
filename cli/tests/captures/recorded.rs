//! Sessions of our own that were recorded.

use crate::reading::{Captured, assert_tshark_agrees, messages, packets, plant};
use crate::support::{Place, Running, blocks, is_bound, join, number, wait_for};
use seqcast_protocol::{Packet, PacketKind};
use seqcast_recovery::Random;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::thread::JoinHandle;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Starts to record, and waits until the lines are joined.
fn record(place: &Place, lines: &[&str], output: &Path, arguments: &[&str]) -> Running {
    let record = place.seqcast(&["record", "--json"]).and(lines).with("--output", output).and(arguments).start();
    // Files are created once the lines are open.
    wait_for("the recording", || {
        output.parent().unwrap().read_dir().unwrap().flatten().find_map(|entry| {
            let (name, stem) = (entry.file_name(), output.file_stem().unwrap());
            name.to_str().unwrap().starts_with(stem.to_str().unwrap()).then_some(())
        })
    });
    record
}

fn interrupt(mut running: Running, code: i32) -> Value {
    running.signal(libc::SIGINT);
    running.wait().expect_code(code).json()
}

fn check(place: &Place, arguments: &[&str], code: i32) -> Value {
    place.seqcast(&["check", "--json"]).and(arguments).run().expect_code(code).json()
}

/// Waits until the end of the session has been recorded on each of so many lines.
fn wait_for_ends(path: &Path, lines: usize) {
    wait_for("the end of the session on each line", || {
        let (packets, _) = packets(path);
        let ends = packets.iter().filter(|captured| captured.packet.kind == PacketKind::EndOfSession);
        let destinations: BTreeSet<_> = ends.map(|captured| captured.destination).collect();
        (destinations.len() == lines).then_some(())
    });
}

/// Hears a line, sends what it hears to two others, and drops some of it on each. Ends with the session, and returns the
/// numbers that it dropped.
fn relay(from: SocketAddrV4, to: [SocketAddrV4; 2]) -> JoinHandle<[BTreeSet<u64>; 2]> {
    let input = join(from);
    let output = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket2::SockRef::from(&output).set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
    std::thread::spawn(move || {
        let (mut random, mut buffer) = (Random::new(3), [0; 65_536]);
        let mut lost = [BTreeSet::new(), BTreeSet::new()];
        loop {
            let Ok(length) = input.recv(&mut buffer) else { continue };
            let packet = Packet::parse(&buffer[..length]).unwrap();
            for (line, lost) in to.iter().zip(&mut lost) {
                if packet.kind() == PacketKind::Data && random.below(100) < 5 {
                    lost.extend(packet.range().start()..packet.range().end());
                } else {
                    output.send_to(&buffer[..length], line).unwrap();
                }
            }
            if packet.kind() == PacketKind::EndOfSession {
                return lost;
            }
        }
    })
}

#[test]
fn check_finds_exactly_the_losses_that_were_made_and_a_planted_byte() {
    let (place, other, source) = (Place::new("losses-a"), Place::new("losses-b"), Place::new("losses-source"));
    let lines = [place.line(), SocketAddrV4::new(*other.line().ip(), place.line().port())];
    let [line_a, line_b] = lines.map(|line| line.to_string());
    let output = place.path("day.pcapng");
    let recording = record(&place, &[&line_a, &line_b], &output, &[]);
    let relay = relay(source.line(), lines);
    let total = 20_000;
    let input = source.generate("input", total, 1);
    source.publish(&input, &["--pace", "20000/s", "--linger", "0s"]).run().expect_code(0);
    let lost = relay.join().unwrap();
    wait_for_ends(&output, 2);
    let summary = interrupt(recording, 0);
    assert_eq!((number(&summary, "unwritten"), number(&summary, "kernel_drops")), (0, 0));

    let both = lost[0].intersection(&lost[1]).count() as u64;
    let [lost_a, lost_b] = lost.each_ref().map(|lost| lost.len() as u64);
    assert!(both > 0 && lost_a > both && lost_b > both, "{lost_a} {lost_b} {both}");
    let report = check(&place, &[text(&output)], 3);
    let session = &report["sessions"][0];
    for (line, lost) in session["lines"].as_array().unwrap().iter().zip([lost_a, lost_b]) {
        assert_eq!((number(line, "missing"), number(line, "messages")), (lost, total - lost), "{line}");
        assert_eq!(["late", "duplicates", "conflicting", "rewinds"].map(|name| number(line, name)), [0; 4], "{line}");
    }
    let first = lost[0].first().unwrap();
    assert_eq!(session["lines"][0]["missing_ranges"][0]["first"], json!(first));
    let comparison = json!({
        "compared": total - lost_a - lost_b + both,
        "differing": 0,
        "differing_numbers": [],
        "only_a": lost_b - both,
        "only_b": lost_a - both,
        "neither": both,
        "uncompared": 0,
    });
    assert_eq!(session["comparison"], comparison);
    assert_tshark_agrees(&output, lines[0].port());

    // A byte of the first message of a packet of line B that came on line A, too.
    let is_on_both = |captured: &&Captured| {
        let first = captured.packet.first;
        captured.destination == lines[1] && captured.packet.count > 0 && first > 9_000 && !lost[0].contains(&first)
    };
    let (packets, _) = packets(&output);
    let planted = packets.iter().find(is_on_both).unwrap();
    let copy = place.path("planted.pcapng");
    plant(&output, &copy, planted.payload_offset + 20 + 2);
    let report = check(&place, &[text(&copy)], 3);
    let found = &report["sessions"][0]["comparison"];
    assert_eq!((&found["differing"], &found["differing_numbers"]), (&json!(1), &json!([planted.packet.first])));

    // The same in two files of one line.
    let report = check(&place, &[text(&output), text(&copy), "--line", &line_b], 3);
    let found = &report["sessions"][0]["comparison"];
    assert_eq!(found["compared"], json!(total - lost_b));
    assert_eq!((&found["differing"], &found["differing_numbers"]), (&json!(1), &json!([planted.packet.first])));
}

#[test]
fn a_subscriber_s_recording_is_repaired_and_played_again() {
    let (place, again) = (Place::new("repaired"), Place::new("again"));
    let input = place.generate("input", 5_000, 2);
    let (line, requests, output) = (place.line().to_string(), place.requests().to_string(), place.path("day.pcapng"));
    let arguments = ["--recover-from", &requests, "--until-end"];
    // What was published before it began is fetched.
    let publisher = place.publish(&input, &["--pace", "50000/s", "--linger", "30s"]).start();
    wait_for("the publisher", || is_bound(place.requests()).then_some(()));
    let summary = record(&place, &[&line], &output, &arguments).wait().expect_code(0).json();
    assert_eq!((number(&summary, "messages"), number(&summary, "lost")), (5_000, 0));
    drop(publisher);
    assert_eq!(check(&place, &[text(&output)], 0)["sessions"][0]["lines"][0]["messages"], json!(5_000));
    assert_tshark_agrees(&output, place.line().port());
    let recorded = messages(&output);
    assert_eq!(blocks(recorded.iter().map(Vec::as_slice)), fs::read(&input).unwrap());

    // Each packet leaves as one.
    let line = again.line().to_string();
    let replayed = again.path("again.pcapng");
    let recording = record(&again, &[&line], &replayed, &[]);
    let played = again.publish(&output, &["--pace", "recorded*2", "--linger", "0s"]).run().expect_code(0);
    wait_for_ends(&replayed, 1);
    interrupt(recording, 0);
    let data = |path: &Path| {
        let (packets, _) = packets(path);
        let data = packets.into_iter().map(|captured| (captured.packet.first, captured.packet.count));
        data.filter(|(_, count)| *count > 0).collect::<Vec<_>>()
    };
    assert_eq!(data(&replayed), data(&output));
    assert_eq!(number(&played.json()["pace_error"], "count") as usize, data(&output).len());
    assert!(played.errors.contains("later than recorded: median"), "{}", played.errors);
}

#[test]
fn files_are_rotated_without_a_loss_and_never_overwritten() {
    let place = Place::new("rotation");
    let (line, output) = (place.line().to_string(), place.path("day.pcapng"));
    let recording = record(&place, &[&line], &output, &["--rotate-bytes", "1MiB"]);
    let count = 60_000;
    let input = place.generate("input", count, 3);
    place.publish(&input, &["--pace", "60000/s", "--linger", "0s"]).run().expect_code(0);
    let name = |index: usize| place.path(&format!("day-{index:05}.pcapng"));
    let last = || (1..).take_while(|&index| name(index).exists()).last().unwrap();
    wait_for("the end", || {
        let (packets, _) = packets(&name(last()));
        packets.iter().any(|captured| captured.packet.kind == PacketKind::EndOfSession).then_some(())
    });
    let summary = interrupt(recording, 0);
    let files = last();
    assert!(files > 2, "{files}");
    assert_eq!((number(&summary, "file_count"), summary["last_file"].as_str()), (files as u64, name(files).to_str()));
    let mut next = 1;
    for index in 1..=files {
        assert!(fs::metadata(name(index)).unwrap().len() <= 1 << 20);
        for Captured { packet, .. } in packets(&name(index)).0 {
            if packet.kind == PacketKind::Data {
                assert_eq!(packet.first, next);
                next = packet.next();
            }
        }
        assert_tshark_agrees(&name(index), place.line().port());
    }
    assert_eq!(next, count + 1);

    let before = fs::read(name(1)).unwrap();
    let refused = place.seqcast(&["record", &line, "--time", "1s"]).with("--output", &name(1)).run().expect_code(1);
    assert!(refused.errors.contains("exists"), "{}", refused.errors);
    assert_eq!(fs::read(name(1)).unwrap(), before);
}

#[test]
fn a_recording_ends_when_told_to() {
    let place = Place::new("bounded");
    let (line, counted, timed) = (place.line().to_string(), place.path("counted.pcapng"), place.path("timed.pcapng"));
    let ended = record(&place, &[&line], &timed, &["--time", "200ms"]).wait().expect_code(0).json();
    assert_eq!((number(&ended, "packets"), packets(&timed).0.len()), (0, 0));
    let recording = record(&place, &[&line], &counted, &["--count", "7", "--time", "50s"]);
    let input = place.generate("input", 1_000, 6);
    place.publish(&input, &["--pace", "10000/s", "--linger", "0s"]).run().expect_code(0);
    assert_eq!(number(&recording.wait().expect_code(0).json(), "packets"), 7);
    assert_eq!(packets(&counted).0.len(), 7);
}

/// A file that may not grow stands for a disk that is full.
#[test]
fn what_the_disk_does_not_take_is_told_and_the_file_stays_whole() {
    let place = Place::new("full");
    let (line, output) = (place.line().to_string(), place.path("day.pcapng"));
    let limited = "trap '' XFSZ; ulimit -f 2048; exec \"$@\"";
    let record = [env!("CARGO_BIN_EXE_seqcast"), "record", &line, "--json", "--output", text(&output)];
    let recording = place.command("sh", &[&["-c", limited, "sh"], &record[..]].concat()).start();
    wait_for("the recording", || output.exists().then_some(()));
    let input = place.generate("input", 50_000, 4);
    place.publish(&input, &["--pace", "50000/s", "--linger", "0s"]).run().expect_code(0);
    let ended = recording.wait().expect_code(1);
    let summary = ended.json();
    let (whole, warnings) = packets(&output);
    assert_eq!((whole.len() as u64, warnings), (number(&summary, "packets"), vec![]));
    assert!(number(&summary, "unwritten") > 0 && number(&summary, "packets") > 0, "{summary}");
    assert!(ended.errors.contains("not recorded: the disk did not take them"), "{}", ended.errors);
}

#[test]
fn a_line_is_shown_as_it_comes_and_malformed_packets_with_their_reason() {
    let place = Place::new("dump");
    let line = place.line();
    let dump = place.seqcast(&["dump", &line.to_string(), "--json", "--count", "3", "--time", "50s"]).start();
    wait_for("the line", || is_bound(line).then_some(()));
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket2::SockRef::from(&socket).set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
    let packet = b"DUMP      \0\0\0\0\0\0\0\x07\0\x01\0\x05hello";
    for payload in [&packet[..], &packet[..22], b"?"] {
        // Again until the line is joined, not only bound.
        socket.send_to(payload, line).unwrap();
    }
    let ended = wait_for_output(dump, &socket, line);
    let objects: Vec<Value> = ended.lines().map(|object| serde_json::from_str(object).unwrap()).collect();
    assert_eq!(objects.len(), 3);
    for object in &objects {
        let expected = match object["kind"].as_str().unwrap() {
            "data" => json!([{ "text": "hello" }]),
            "malformed" => Value::Null,
            other => panic!("{other}"),
        };
        assert_eq!(object["messages"], expected);
        assert_eq!(object["destination"], json!(line.to_string()));
    }
}

/// Sends on until the command has seen enough; what was sent before it joined is not heard.
fn wait_for_output(mut dump: Running, socket: &UdpSocket, line: SocketAddrV4) -> String {
    wait_for("three datagrams", || {
        let _ = socket.send_to(b"?", line);
        dump.has_ended().then_some(())
    });
    String::from_utf8(dump.wait().expect_code(0).output).unwrap()
}

#[test]
fn a_capture_of_any_size_is_checked_in_the_same_memory() {
    let place = Place::new("memory");
    let small = place.path("small.pcapng");
    let line = place.line().to_string();
    let recording = record(&place, &[&line], &small, &[]);
    let input = place.generate("input", 2_000, 5);
    place.publish(&input, &["--pace", "20000/s", "--linger", "0s"]).run().expect_code(0);
    wait_for_ends(&small, 1);
    interrupt(recording, 0);
    // The same session over and over: what follows the first is duplicate.
    let bytes = fs::read(&small).unwrap();
    let times = (256 << 20) / bytes.len();
    let large = place.path("large.pcapng.gz");
    let mut encoder = flate2::write::GzEncoder::new(fs::File::create(&large).unwrap(), flate2::Compression::fast());
    for _ in 0..times {
        encoder.write_all(&bytes).unwrap();
    }
    encoder.finish().unwrap();
    // In KiB; the command and its libraries take a part of it.
    let limited = "ulimit -v 65536; exec \"$@\"";
    let check = [env!("CARGO_BIN_EXE_seqcast"), "check", "--json", text(&large)];
    let ended = place.command("sh", &[&["-c", limited, "sh"], &check[..]].concat()).run().expect_code(0);
    let report = ended.json();
    let found = &report["sessions"][0]["lines"][0];
    assert_eq!((number(found, "messages"), number(found, "missing")), (2_000, 0));
    assert_eq!(number(found, "duplicates"), 2_000 * (times as u64 - 1));
}
