//! Files of counters: written, read beside the writer, left by the dead, damaged.

use seqcast_protocol::SessionId;
use seqcast_recovery::Nanos;
use seqcast_stats::{
    Described, Description, Found, Kind, Mirror, ReadError, STALLED_AFTER, Snapshot, State, StatsFile, Unit, clear,
    read_directory,
};
use seqcast_transport::Clock;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// A directory of one test, removed at its end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let place = std::env::temp_dir().join(format!("seqcast-stats-{name}-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        Self(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Keeper {
    file: StatsFile,
    messages: Described,
    recovery: Described,
    gaps: Described,
}

fn keeper(directory: &Path) -> Keeper {
    let mut description = Description::new("subscriber");
    description.fact("line_a", "239.1.1.1:30001@lo");
    let messages = description.counter("messages", &Unit::count("messages"), &[("line", "a")]);
    let recovery = description.histogram("recovery", &Unit::Nanoseconds, &[]);
    let origin = Unit::one_of(&["unknown", "kernel"]);
    let gaps = description.table("gaps", 3, &[("session", Unit::Session), ("first", Unit::Number), ("origin", origin)]);
    Keeper { file: StatsFile::create(directory, description).unwrap(), messages, recovery, gaps }
}

fn session(name: &str) -> [u64; 2] {
    Unit::session_words(name.parse::<SessionId>().unwrap())
}

fn only(directory: &Path) -> Snapshot {
    let Found { mut snapshots, others } = read_directory(directory).unwrap();
    assert!(others.is_empty() && snapshots.len() == 1, "{snapshots:?} {others:?}");
    snapshots.remove(0)
}

#[test]
fn what_is_written_is_read_as_it_was_described() {
    let place = Place::new("written");
    let Keeper { file, messages, recovery, gaps } = keeper(&place.0);
    file.cell(messages).set(7);
    file.cell(messages).add(3);
    let histogram = file.histogram(recovery);
    (1..=100).for_each(|micros| histogram.record(micros * 1_000));
    let mut table = file.table(gaps);
    for first in 1..=5 {
        let [s1, s2] = session("EQ20261121");
        table.push(&[s1, s2, first * 10, first % 2]);
    }
    let now = Clock::now();
    file.note_written(now);
    let snapshot = only(&place.0);
    assert_eq!(
        (snapshot.role.as_str(), snapshot.process, snapshot.state),
        ("subscriber", std::process::id(), State::Live)
    );
    assert_eq!((snapshot.fact("line_a"), snapshot.written_at), (Some("239.1.1.1:30001@lo"), now));
    assert_eq!(snapshot.value("messages", &[("line", "a")]), Some(10));
    assert_eq!((snapshot.entries[0].kind, snapshot.value("messages", &[])), (Kind::Counter, None));
    let recovery = snapshot.histogram("recovery", &[]).unwrap();
    assert_eq!((recovery.count, recovery.sum, recovery.largest), (100, 5_050_000, 100_000));
    for (share, exact) in [(0.5, 50_000), (0.99, 99_000), (1.0, 100_000)] {
        let found = recovery.quantile(share).unwrap();
        assert!((exact..=exact + exact / 16).contains(&found), "{share}: {found}");
    }
    let table = snapshot.table("gaps").unwrap();
    let rows: Vec<_> = table.rows.iter().map(|row| (table.value(row, "first"), table.word(row, "origin"))).collect();
    assert_eq!(rows, [(Some(30), Some("kernel")), (Some(40), Some("unknown")), (Some(50), Some("kernel"))]);
    assert_eq!(table.session(&table.rows[0], "session").unwrap().to_string(), "EQ20261121");
}

#[test]
fn counters_that_are_kept_elsewhere_are_copied() {
    let place = Place::new("mirror");
    let mut description = Description::new("publisher");
    let mut mirror = Mirror::<[u64; 2]>::new();
    for line in 0..2 {
        let label = if line == 0 { "a" } else { "b" };
        mirror.counter(&mut description, "packets", &Unit::count("packets"), &[("line", label)], move |it| it[line]);
    }
    mirror.gauge(&mut description, "open", &Unit::Flag, &[], |it| u64::from(it[0] > it[1]));
    mirror.store(&[1, 2]);
    let file = StatsFile::create(&place.0, description).unwrap();
    mirror.attach(&file);
    mirror.store(&[9, 4]);
    let snapshot = only(&place.0);
    let values: Vec<_> = snapshot.entries.iter().map(|entry| entry.value).collect();
    assert_eq!((values, snapshot.sum("packets")), (vec![9, 4, 1], 13));
}

#[test]
fn a_file_goes_with_its_writer_and_the_file_of_the_dead_stays_until_it_is_cleared() {
    let place = Place::new("dead");
    let first = keeper(&place.0);
    let second = keeper(&place.0);
    assert_ne!(first.file.path(), second.file.path(), "two of a process stand side by side");
    // A copy is what a process that was killed leaves: nobody holds it.
    fs::copy(first.file.path(), place.0.join("subscriber-1-0.stats")).unwrap();
    drop(second);
    let snapshots = read_directory(&place.0).unwrap().snapshots;
    assert_eq!(snapshots.iter().map(|it| it.state).collect::<Vec<_>>(), [State::Dead, State::Live]);
    assert_eq!(clear(&place.0).unwrap().len(), 1);
    assert_eq!(only(&place.0).path, first.file.path());
    drop(first);
    assert_eq!(fs::read_dir(&place.0).unwrap().count(), 0);
    assert!(read_directory(&place.0.join("nowhere")).unwrap().snapshots.is_empty());
}

#[test]
fn what_was_left_under_the_same_process_id_is_in_nobodys_way() {
    let place = Place::new("left");
    let path = keeper(&place.0).file.path().to_owned();
    fs::write(&path, vec![7; 4_096]).unwrap();
    let keeper = keeper(&place.0);
    assert_eq!(keeper.file.path(), path);
    assert_eq!(only(&place.0).state, State::Live);
}

#[test]
fn a_process_that_does_not_write_is_stalled() {
    let place = Place::new("stalled");
    let keeper = keeper(&place.0);
    let long_ago = Clock::now() - STALLED_AFTER - Nanos::from_millis(1);
    keeper.file.note_written(long_ago);
    assert!(matches!(only(&place.0).state, State::Stalled(quiet) if quiet > STALLED_AFTER));
}

#[test]
fn a_row_is_read_whole_or_not_at_all_while_it_is_written() {
    let place = Place::new("row");
    let Keeper { file, gaps, .. } = keeper(&place.0);
    let mut table = file.table(gaps);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                table.push(&[number, number, number, 0]);
            }
        });
        let mut seen = 0;
        while seen < 1_000 {
            let snapshot = only(&place.0);
            let table = snapshot.table("gaps").unwrap();
            for row in &table.rows {
                let first = table.value(row, "first").unwrap();
                assert_eq!(table.value(row, "session"), Some(first));
                assert_eq!(row.number, first);
                seen += 1;
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn foreign_long_and_cut_files_are_skipped_with_a_reason() {
    let place = Place::new("foreign");
    let keeper = keeper(&place.0);
    let whole = fs::read(keeper.file.path()).unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(place.0.join(name), bytes).unwrap();
    write("a.stats", b"");
    write("b.stats", b"what is this, and who put it here? It is longer than the header of a file of counters.");
    write("c.stats", &whole[..whole.len() - 8]);
    write("d.stats", &[&whole[..8], &9u64.to_ne_bytes(), &whole[16..]].concat());
    write("readme.txt", b"left out without a word");
    fs::File::create(place.0.join("e.stats")).unwrap().set_len(1 << 40).unwrap();
    fs::create_dir(place.0.join("f.stats")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", place.0.join("g.stats")).unwrap();
    let Found { snapshots, others } = read_directory(&place.0).unwrap();
    assert_eq!(snapshots.len(), 1);
    let reasons: Vec<_> = others.iter().map(|(_, error)| error).collect();
    use ReadError::{Foreign, TooLong, Truncated, Version};
    assert!(
        matches!(reasons[..], [Foreign, Foreign, Truncated, Version(9), TooLong(_), Foreign, Foreign]),
        "{reasons:?}"
    );
    assert!(clear(&place.0).unwrap().is_empty(), "they are nobody's to clear");
}

#[test]
fn no_damage_to_any_word_panics_or_changes_the_description() {
    let place = Place::new("damage");
    let keeper = keeper(&place.0);
    let bytes = fs::read(keeper.file.path()).unwrap();
    let words: Vec<_> = bytes.chunks(8).map(|chunk| u64::from_ne_bytes(chunk.try_into().unwrap())).collect();
    let undamaged = Snapshot::parse(&words).unwrap();
    for index in 0..words.len() {
        for damage in [0, 1, u64::MAX, words[index] ^ 1 << 40, words[index].wrapping_add(1)] {
            let mut damaged = words.clone();
            damaged[index] = damage;
            if let Ok(snapshot) = Snapshot::parse(&damaged) {
                assert_eq!((snapshot.role, snapshot.facts), (undamaged.role.clone(), undamaged.facts.clone()));
                assert_eq!(snapshot.entries.len(), undamaged.entries.len());
                for histogram in &snapshot.histograms {
                    let _ = histogram.quantile(0.5);
                }
            }
        }
        let _ = Snapshot::parse(&words[..index]);
    }
}

#[test]
fn a_directory_that_cannot_be_had_is_an_error_that_names_it() {
    let place = Place::new("refused");
    fs::write(place.0.join("file"), b"").unwrap();
    let error = StatsFile::create(&place.0.join("file"), Description::new("publisher")).unwrap_err();
    assert!(error.to_string().contains("/file"), "{error}");
}
