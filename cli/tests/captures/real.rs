//! The real capture of IEX: checked, shown, and played again through a subscriber. Said to be skipped where it is absent.

use crate::reading::{messages, packets, real, say};
use crate::support::{Place, number, wait_for};
use seqcast::times;
use seqcast_protocol::PacketKind;
use seqcast_recovery::Nanos;
use serde_json::{Value, json};

const IEX: &str = "iex-tops16.pcap.gz";
const MESSAGES: u64 = 57_674;
const PACKETS: usize = 12_785;
const HEARTBEATS: u64 = 237;

#[test]
fn the_iex_capture_is_whole() {
    let Some(path) = real(IEX) else { return };
    let place = Place::new("iex-check");
    let report = place.seqcast(&["check", "--json", path.to_str().unwrap()]).run().expect_code(0).json();
    let line = &report["sessions"][0]["lines"][0];
    let found = ["messages", "packets", "heartbeats", "gaps", "missing", "duplicates"].map(|name| number(line, name));
    assert_eq!(found, [MESSAGES, PACKETS as u64, HEARTBEATS, 0, 0, 0]);
    assert_eq!(number(&report, "malformed"), 0);
    // It sends one each second.
    let interval = number(&line["heartbeat_intervals"], "p50_ns");
    assert!((990_000_000..1_010_000_000).contains(&interval), "{interval}");

    let shown = place.seqcast(&["dump", "--json", path.to_str().unwrap()]).run().expect_code(0).output;
    let shown = String::from_utf8(shown).unwrap();
    let objects: Vec<Value> = shown.lines().map(|object| serde_json::from_str(object).unwrap()).collect();
    let of_kind = |kind: &str| objects.iter().filter(|object| object["kind"] == json!(kind)).count();
    assert_eq!((of_kind("data"), of_kind("heartbeat"), objects.len()), (PACKETS, 237, 13_022));
    let shown: usize = objects.iter().filter_map(|object| object["messages"].as_array()).map(Vec::len).sum();
    assert_eq!(shown as u64, MESSAGES);
}

#[test]
fn the_iex_capture_is_played_again_at_twenty_times_its_pace() {
    const FACTOR: u64 = 20;
    let Some(path) = real(IEX) else { return };
    let place = Place::new("iex-replay");
    let (line, requests) = (place.line().to_string(), place.requests().to_string());
    let [as_it_comes, delivered] = ["line.pcapng", "delivered.pcapng"].map(|name| place.path(name));
    let mut recording = place.seqcast(&["record", "--json", &line]).with("--output", &as_it_comes).start();
    let subscriber = place.seqcast(&["record", "--json", &line, "--recover-from", &requests, "--until-end"]);
    let subscriber = subscriber.with("--output", &delivered).start();
    wait_for("the recordings", || (as_it_comes.exists() && delivered.exists()).then_some(()));
    let pace = format!("recorded*{FACTOR}");
    let published = place.publish(&path, &["--pace", &pace]).run().expect_code(0).json();
    let summary = subscriber.wait().expect_code(0).json();
    recording.signal(libc::SIGINT);
    recording.wait().expect_code(0);

    assert_eq!((number(&summary, "messages"), number(&summary, "lost")), (MESSAGES, 0));
    assert!(messages(&delivered) == messages(&path), "the messages are the same");
    assert_eq!(number(&published["pace_error"], "count") as usize, PACKETS);

    // One packet of the replay for each of the capture, as far apart, divided by the factor.
    let data = |path| {
        let (packets, _) = packets(path);
        packets.into_iter().filter(|captured| captured.packet.kind == PacketKind::Data).collect::<Vec<_>>()
    };
    let (original, replayed) = (data(&path), data(&as_it_comes));
    assert_eq!((original.len(), replayed.len()), (PACKETS, PACKETS));
    let mut errors = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).unwrap();
    for (original, replayed) in original.windows(2).zip(replayed.windows(2)) {
        assert_eq!(
            (original[0].packet.first, original[0].packet.count),
            (replayed[0].packet.first, replayed[0].packet.count)
        );
        let intended = (original[1].time_ns - original[0].time_ns) / FACTOR;
        let found = replayed[1].time_ns - replayed[0].time_ns;
        errors.saturating_record(found.abs_diff(intended));
    }
    say(&format!(
        "IEX at recorded*{FACTOR}, error of the distance between two packets: {}",
        times::distribution(&errors)
    ));
    // Two cores shared with others keep no pace to the microsecond, but the whole takes its time.
    let whole = replayed[PACKETS - 1].time_ns - replayed[0].time_ns;
    let intended = (original[PACKETS - 1].time_ns - original[0].time_ns) / FACTOR;
    assert!(whole.abs_diff(intended) < Nanos::from_secs(2).0, "{whole} instead of {intended}");
}
