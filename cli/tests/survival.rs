//! Sessions that survive: rings in files, publishers and subscribers that are killed, numbers that begin again.

mod support;

use seqcast_recovery::{Nanos, Random};
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::Command;
use support::{PATIENCE, Place, Running, assert_same, blocks, number, pause, wait_for};

/// How often the publisher is killed here; `scripts/survival.sh` does so a hundred times.
const KILLS: u64 = 5;

fn kills() -> u64 {
    std::env::var("SEQCAST_KILLS").map_or(KILLS, |text| text.parse().expect("SEQCAST_KILLS is a number"))
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn millis(random: &mut Random, from: u64, to: u64) -> Nanos {
    Nanos(from * 1_000_000 + random.below((to - from) * 1_000_000))
}

#[test]
fn a_publisher_that_is_killed_goes_on_in_its_session_and_nothing_that_was_retained_is_lost() {
    let place = Place::new("kill-publisher");
    let kills = kills();
    let count = 40_000 * (kills + 1);
    let input = place.generate("input", count, 1);
    let (ring, line, requests) = (place.path("ring"), place.line().to_string(), place.requests().to_string());
    let retransmitter = place
        .seqcast(&["retransmit", "--json", "--line-a", &line, "--requests", &requests])
        .with("--ring", &ring)
        .start();
    let over_the_network = place.subscribe(&["--until-end", "--impair", "a:loss=1%,seed=1"]);
    let over_the_network = over_the_network.with("--output", &place.path("network")).start();
    let on_the_ring = ["subscribe", "--json", "--until-end", "--recover-from", "none", "--line-a"];
    let on_the_ring = place.seqcast(&on_the_ring).and(&[&format!("ring:{}", path(&ring))]);
    let on_the_ring = on_the_ring.with("--output", &place.path("local")).start();

    let mut random = Random::new(7);
    let publish = || {
        let publish = ["publish", "--json", "--resume", "--pace", "200000/s", "--requests", "none", "--line-a", &line];
        place.seqcast(&publish).with("--input", &input).with("--ring", &ring).start()
    };
    for _ in 0..kills {
        let mut publisher = publish();
        pause(millis(&mut random, 20, 200));
        publisher.signal(libc::SIGKILL);
        drop(publisher);
        // Long enough for the retransmitter to notice.
        pause(millis(&mut random, 200, 300));
    }
    let last = publish().wait().expect_code(0).json();
    assert_eq!(number(&last, "next"), count + 1);
    for (subscriber, output) in [(over_the_network, "network"), (on_the_ring, "local")] {
        let summary = subscriber.wait().expect_code(0).json();
        assert_eq!(number(&summary, "lost"), 0);
        assert_same(&fs::read(place.path(output)).unwrap(), &fs::read(&input).unwrap());
    }
    let summary = interrupt(retransmitter);
    assert!(number(&summary, "retransmissions") > 0 && number(&summary, "heartbeats") > 0, "{summary}");
}

fn interrupt(mut running: Running) -> serde_json::Value {
    running.signal(libc::SIGINT);
    running.wait().expect_code(0).json()
}

#[test]
fn what_was_retained_is_answered_for_after_its_publisher_died() {
    let place = Place::new("dead-publisher");
    let input = place.generate("input", 5_000, 1);
    let (ring, line, requests) = (place.path("ring"), place.line().to_string(), place.requests().to_string());
    let publish = ["publish", "--pace", "5000/s", "--requests", "none", "--line-a", &line];
    let mut publisher = place.seqcast(&publish).with("--input", &input).with("--ring", &ring).start();
    wait_for("half of the messages", || ring_next(&ring).filter(|&next| next > 2_500));
    publisher.signal(libc::SIGKILL);
    drop(publisher);
    let next = ring_next(&ring).unwrap();
    let serve = ["retransmit", "--json", "--line-a", &line, "--requests", &requests];
    let retransmitter = place.seqcast(&serve).with("--ring", &ring).start();
    let subscriber = place.subscribe(&[]).with("--output", &place.path("output")).start();
    let expected = {
        let bytes = fs::read(&input).unwrap();
        blocks(support::messages(&bytes).into_iter().take(next as usize - 1))
    };
    wait_for("all that was retained", || (fs::read(place.path("output")).ok()? == expected).then_some(()));
    drop(subscriber);
    drop(retransmitter);
}

/// The number after the last one that a ring retains: word 16 of its header.
fn ring_next(ring: &Path) -> Option<u64> {
    let bytes = fs::read(ring).ok()?;
    Some(u64::from_ne_bytes(bytes.get(128..136)?.try_into().unwrap()))
}

#[test]
fn a_ring_that_cannot_be_continued_is_refused_with_the_reason_and_left_alone() {
    let place = Place::new("refusals");
    let input = place.generate("input", 1_000, 1);
    let ring = place.path("ring");
    let publish = |arguments: &[&str]| {
        let publish = place.seqcast(&["publish", "--requests", "none", "--line-a", "none"]);
        publish.with("--input", &input).with("--ring", &ring).and(arguments)
    };
    let refused = |arguments: &[&str], words: &[&str]| {
        let before = fs::read(&ring).unwrap();
        let errors = publish(arguments).run().expect_code(2).errors;
        for word in words {
            assert!(errors.contains(word), "{word} in {errors}");
        }
        assert!(fs::read(&ring).unwrap() == before, "the file was changed: {errors}");
    };
    publish(&["--session", "FIRST"]).run().expect_code(0);
    refused(&["--session", "FIRST"], &["FIRST", "has ended", "--session"]);
    refused(&[], &["FIRST", "has ended", "--session"]);
    let whole = fs::read(&ring).unwrap();
    // Number 7 is in the middle of a packet.
    publish(&["--session", "SECOND", "--pace", "max"]).run().expect_code(0);

    // The words of the header: the magic, the layout, the state, `oldest`. A live ring is looked at more closely.
    let (magic, layout, oldest, state) = (0..8, 8..16, 64..72, 200..208);
    let live = (state, 1u64);
    for (changes, words) in [
        (vec![(magic, 0)], "does not hold a retained ring"),
        (vec![(layout, 99)], "layout 99"),
        (vec![live.clone(), (oldest.clone(), u64::MAX)], "damaged"),
        (vec![live.clone(), (oldest, 7)], "damaged"),
    ] {
        let mut bytes = whole.clone();
        for (at, value) in changes {
            bytes[at].copy_from_slice(&value.to_ne_bytes());
        }
        fs::write(&ring, &bytes).unwrap();
        refused(&["--session", "FIRST"], &[words, "remove"]);
    }
    for foreign in [&b""[..], b"1234567", b"something else altogether, and long enough to be mapped"] {
        fs::write(&ring, foreign).unwrap();
        refused(&["--session", "THIRD"], &["--ring"]);
    }
    fs::remove_file(&ring).unwrap();
    let mut writer = publish(&["--session", "FOURTH", "--pace", "100/s"]).start();
    wait_for("a message", || ring_next(&ring).filter(|&next| next > 1));
    for session in ["FOURTH", "FIFTH"] {
        let errors = publish(&["--session", session]).run().expect_code(2).errors;
        assert!(errors.contains("another publisher is writing it"), "{errors}");
    }
    writer.signal(libc::SIGKILL);
    drop(writer);
    let errors = publish(&["--session", "FIFTH"]).run().expect_code(2).errors;
    assert!(errors.contains("FOURTH") && errors.contains("has not ended"), "{errors}");
    publish(&["--resume"]).run().expect_code(0);
}

#[test]
#[expect(clippy::print_stderr, reason = "whoever runs the tests should know what was skipped")]
fn a_full_file_system_is_an_error_when_the_ring_is_opened() {
    let place = Place::new("full");
    let mount = place.path("mount");
    fs::create_dir_all(&mount).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs", path(&mount)]).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no file system may be mounted here");
        return;
    }
    let input = place.generate("input", 10, 1);
    let publish = place.seqcast(&["publish", "--requests", "none", "--line-a", "none"]).with("--input", &input);
    let errors = publish.with("--ring", &mount.join("ring")).run().errors;
    let left = fs::read_dir(&mount).unwrap().count();
    Command::new("umount").arg(&mount).status().unwrap();
    assert!(errors.contains("--ring") && errors.contains("No space left"), "{errors}");
    assert_eq!(left, 0, "nothing is left there");
}

#[test]
fn a_subscriber_that_is_killed_goes_on_behind_what_it_has_written() {
    let place = Place::new("kill-subscriber");
    let kills = 2 * kills();
    let count = 20_000 * (kills + 2);
    let input = place.generate("input", count, 1);
    let mut random = Random::new(8);
    let publisher = place.publish(&input, &["--pace", "100000/s", "--linger", "60s"]).start();
    let subscribe = || {
        let subscribe = place.subscribe(&["--until-end", "--impair", "a:loss=1%,seed=3"]);
        subscribe.with("--output", &place.path("output")).with("--offset", &place.path("offset")).start()
    };
    for _ in 0..kills {
        let mut subscriber = subscribe();
        pause(millis(&mut random, 50, 250));
        assert!(!subscriber.has_ended(), "{}", subscriber.errors());
        subscriber.signal(libc::SIGKILL);
        drop(subscriber);
    }
    let summary = subscribe().wait().expect_code(0).json();
    assert_eq!((number(&summary, "next"), number(&summary, "lost")), (count + 1, 0));
    assert_same(&fs::read(place.path("output")).unwrap(), &fs::read(&input).unwrap());
    publisher.wait().expect_code(0);
    // Whoever starts it once more gets nothing twice.
    fs::write(place.path("output"), b"cut").unwrap();
    let errors = subscribe().wait().expect_code(1).errors;
    assert!(errors.contains("3 bytes") && errors.contains("offset"), "{errors}");
    fs::remove_file(place.path("output")).unwrap();
    let errors = subscribe().wait().expect_code(1).errors;
    assert!(errors.contains("not there") && errors.contains("offset"), "{errors}");
}

/// A packet of messages, each with the life it belongs to.
fn packet(session: &[u8; 10], first: u64, end: u64, life: u64) -> Vec<u8> {
    let mut packet = session.to_vec();
    packet.extend(first.to_be_bytes());
    packet.extend(((end - first) as u16).to_be_bytes());
    for number in first..end {
        let message = format!("life {life} message {number}");
        packet.extend((message.len() as u16).to_be_bytes());
        packet.extend(message.as_bytes());
    }
    packet
}

#[test]
fn a_session_that_begins_again_at_one_eleven_times_is_told_of_each_time_and_never_mixed() {
    let place = Place::new("rewound");
    let output = place.path("output");
    let mut subscriber =
        place.listen(&["--recover-from", "none", "--format", "lines"]).with("--output", &output).start();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket2::SockRef::from(&socket).set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
    let send = |packet: &[u8]| assert_eq!(socket.send_to(packet, place.line()).unwrap(), packet.len());
    wait_for("the subscriber", || {
        send(&packet(b"VENUE     ", 1, 2, 0));
        subscriber.errors().contains("is heard").then_some(())
    });
    let mut expected = String::new();
    for life in 0..12 {
        // Of other lengths, so that packets cover each other's numbers.
        let (end, step) = (60 + 7 * life, 3 + life % 4);
        let mut first = 1;
        while first < end {
            let next = (first + step).min(end);
            send(&packet(b"VENUE     ", first, next, life));
            first = next;
        }
        expected.extend((1..end).map(|number| format!("life {life} message {number}\n")));
        wait_for("what was sent", || (fs::read_to_string(&output).ok()? == expected).then_some(()));
    }
    let told = subscriber.errors().matches("has begun again at 1, behind").count();
    subscriber.signal(libc::SIGINT);
    let summary = subscriber.wait().expect_code(0).json();
    assert_eq!((told, number(&summary, "lost")), (11, 0));
}

#[test]
fn a_subscriber_that_is_to_stop_where_numbers_begin_again_is_not_complete() {
    let place = Place::new("rewind-stop");
    let output = place.path("output");
    let options = ["--recover-from", "none", "--format", "lines", "--rewind", "stop"];
    let subscriber = place.listen(&options).with("--output", &output).start();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket2::SockRef::from(&socket).set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
    let send = |packet: &[u8]| assert_eq!(socket.send_to(packet, place.line()).unwrap(), packet.len());
    wait_for("the subscriber", || {
        send(&packet(b"VENUE     ", 1, 2, 0));
        subscriber.errors().contains("is heard").then_some(())
    });
    send(&packet(b"VENUE     ", 2, 60, 0));
    send(&packet(b"VENUE     ", 1, 5, 1));
    send(&packet(b"VENUE     ", 5, 9, 1));
    let ended = subscriber.wait().expect_code(3);
    assert!(ended.errors.contains("--rewind stop"), "{}", ended.errors);
    let expected: String = (1..60).map(|number| format!("life 0 message {number}\n")).collect();
    assert_eq!(fs::read_to_string(&output).unwrap(), expected);
}

#[test]
fn everybody_says_how_far_behind_one_can_be() {
    let place = Place::new("headroom");
    let input = place.generate("input", 20_000, 1);
    let (ring, line, requests) = (place.path("ring"), place.line().to_string(), place.requests().to_string());
    let serve = ["retransmit", "--json", "--requests", &requests];
    let retransmitter = place.seqcast(&serve).with("--ring", &ring).start();
    let on_ring = ["subscribe", "--json", "--until-end", "--recover-from", "none", "--line-a"];
    let on_ring = place.seqcast(&on_ring).and(&[&format!("ring:{}", path(&ring))]).start();
    let over_the_network = place.subscribe(&["--until-end"]).start();
    let publish =
        ["publish", "--json", "--pace", "20000/s", "--requests", "none", "--retain", "4MiB", "--line-a", &line];
    let published = place.seqcast(&publish).with("--input", &input).with("--ring", &ring).run().expect_code(0);
    let (followed, heard) = (on_ring.wait().expect_code(0), over_the_network.wait().expect_code(0));
    let (retained, headroom) = (published.json()["retained"].clone(), followed.json()["headroom"].clone());
    // It has all, and seven eighths of the ring are kept for sure.
    assert!(number(&headroom, "bytes") == 7 << 19 && number(&headroom, "messages") > 20_000, "{headroom}");
    assert_eq!(number(&retained, "messages"), 20_000);
    let (time, whole) = (number(&retained, "time_ns"), number(&headroom, "time_ns"));
    assert!((500_000_000..10_000_000_000).contains(&time), "20,000 messages at 20,000/s: {time} ns");
    assert!(whole > 500_000_000, "{whole} ns");
    assert!(followed.errors.contains("headroom"), "{}", followed.errors);
    assert!(published.errors.contains("1..20001 retained"), "{}", published.errors);
    assert!(heard.json()["headroom"].is_null(), "nobody tells over the network");
    let served = interrupt(retransmitter)["retained"].clone();
    assert_eq!((&served["messages"], &served["bytes"]), (&retained["messages"], &retained["bytes"]));
}

#[test]
fn a_hot_pair_is_one_session_whichever_of_the_two_is_killed() {
    let pair = ["hot-pair-a", "hot-pair-b"].map(Place::new);
    // Twenty of a hundred.
    let kills = (kills() / 5).max(4);
    let count = 20_000 * (kills + 2);
    let input = pair[0].generate("input", count, 1);
    let subscriber = pair[0].subscribe(&["--until-end", "--line-b", &pair[1].line().to_string()]);
    let subscriber = subscriber.and(&["--recover-from", &pair[1].requests().to_string()]);
    // Whoever hears nothing asks once for the number it expects: before either of the two lives.
    let asked = UdpSocket::bind(pair[0].requests()).unwrap();
    asked.set_read_timeout(Some(PATIENCE.as_duration())).unwrap();
    let subscriber = subscriber.with("--output", &pair[0].path("output")).start();
    assert_eq!(asked.recv(&mut [0; 64]).unwrap(), 20);
    drop(asked);
    let publish = |place: &Place| {
        let publish = place.publish(&input, &["--session", "PAIR", "--resume", "--pace", "30000/s"]);
        publish.with("--ring", &place.path("ring")).start()
    };
    let mut random = Random::new(9);
    let mut publishers = [publish(&pair[0]), publish(&pair[1])];
    for kill in 0..kills as usize {
        pause(millis(&mut random, 200, 500));
        let killed = &mut publishers[kill % 2];
        killed.signal(libc::SIGKILL);
        pause(millis(&mut random, 50, 200));
        *killed = publish(&pair[kill % 2]);
    }
    for publisher in publishers {
        publisher.wait().expect_code(0);
    }
    let summary = subscriber.wait().expect_code(0).json();
    let counts = ["requests", "gaps", "lost"].map(|name| number(&summary, name));
    assert_eq!(counts, [1, 0, 0], "{summary}");
    assert_same(&fs::read(pair[0].path("output")).unwrap(), &fs::read(&input).unwrap());
}
