//! Recordings that are killed.

use crate::reading::{assert_tshark_agrees, packets, say};
use crate::support::{Place, pause, wait_for};
use seqcast::input::Warning;
use seqcast_protocol::PacketKind;
use seqcast_recovery::{Nanos, Random};
use std::fs;

/// How often it is killed here; `scripts/captures.sh` does so fifty times.
const KILLS: u64 = 5;

fn kills() -> u64 {
    std::env::var("SEQCAST_KILLS").map_or(KILLS, |text| text.parse().expect("SEQCAST_KILLS is a number"))
}

#[test]
fn a_recording_that_is_killed_is_readable_to_its_last_whole_block() {
    let place = Place::new("kill-record");
    let (line, kills) = (place.line().to_string(), kills());
    // Half a second for each.
    let input = place.generate("input", 30_000 * kills, 1);
    let publisher = place.publish(&input, &["--pace", "60000/s", "--linger", "60s"]).start();
    let mut random = Random::new(9);
    let name = |kill| place.path(&format!("killed-{kill}.pcapng"));
    for kill in 0..kills {
        let mut recording = place.seqcast(&["record", &line]).with("--output", &name(kill)).start();
        wait_for("the recording", || name(kill).exists().then_some(()));
        pause(Nanos(random.below(200_000_000)));
        recording.signal(libc::SIGKILL);
        let _ = recording.wait();
    }
    drop(publisher);

    let (mut with_packets, mut cut) = (0, 0);
    for kill in 0..kills {
        let (recorded, warnings) = packets(&name(kill));
        assert!(warnings.iter().all(|warning| matches!(warning, Warning::Truncated { .. })), "{warnings:?}");
        cut += warnings.len();
        with_packets += usize::from(!recorded.is_empty());
        // Nothing is missing before the end.
        let data: Vec<_> = recorded.iter().filter(|captured| captured.packet.kind == PacketKind::Data).collect();
        let is_whole = data.windows(2).all(|pair| pair[0].packet.next() == pair[1].packet.first);
        assert!(is_whole, "{:?}", name(kill));
        assert_tshark_agrees(&name(kill), place.line().port());
    }
    say(&format!("{kills} recordings killed: {with_packets} with packets, {cut} with a cut last block"));
    assert!(with_packets > 0);

    // Wherever it is cut, everything before is read.
    let longest = (0..kills).map(name).max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(&longest).unwrap();
    let (whole, warnings) = packets(&longest);
    // Up to its last whole block, for it may have been killed within another one.
    bytes.truncate(cut_at(&warnings).unwrap_or(bytes.len()));
    let copy = place.path("cut.pcapng");
    for cut in [1, 3, 4, 31, 60, 61] {
        fs::write(&copy, &bytes[..bytes.len() - cut]).unwrap();
        let (recorded, warnings) = packets(&copy);
        assert!(recorded.len() < whole.len() && recorded.len() + 3 > whole.len());
        assert!(cut_at(&warnings).is_none_or(|offset| offset < bytes.len() - cut));
        assert_tshark_agrees(&copy, place.line().port());
    }
}

/// Where the block begins that is not whole, if there is one.
fn cut_at(warnings: &[Warning]) -> Option<usize> {
    warnings.iter().find_map(|warning| match warning {
        Warning::Truncated { offset } => Some(*offset as usize),
        _ => None,
    })
}
