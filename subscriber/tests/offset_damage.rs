//! Files of offsets that are damaged: refused and left alone, or read; never a panic, never an offset that was not stored.

use seqcast_recovery::Random;
use seqcast_subscriber::{Offset, OffsetError, StoredOffset};
use std::fs;
use std::path::{Path, PathBuf};

/// A directory of one test, removed at its end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("offset-{name}-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        Self(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn offset(next: u64) -> Offset {
    Offset { session: "DAMAGE".parse().unwrap(), next, position: next << 20 }
}

/// Opens a file of these bytes; `None` when it is refused, and then it is still what it was.
fn open(file: &Path, bytes: &[u8]) -> Option<Option<Offset>> {
    fs::write(file, bytes).unwrap();
    match StoredOffset::open(file) {
        Ok(stored) => Some(stored.get()),
        Err(OffsetError::Damaged) => {
            assert!(fs::read(file).unwrap() == bytes, "the file was changed");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn what_is_damaged_is_refused_or_does_no_harm() {
    let place = Place::new("drawn");
    let file = place.0.join("offset");
    let mut random = Random::new(1);
    let (mut refused, mut read) = (0, 0);
    for stores in 0..4 {
        let _ = fs::remove_file(&file);
        let mut stored = StoredOffset::open(&file).unwrap();
        (1..=stores).for_each(|next| stored.store(offset(next)));
        let last = stored.get();
        drop(stored);
        let good = fs::read(&file).unwrap();
        for _ in 0..250 {
            let mut bytes = good.clone();
            for _ in 0..1 + random.below(4) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << random.below(8);
            }
            match random.below(10) {
                0 => bytes.truncate(random.below(bytes.len() as u64) as usize),
                1 => bytes.extend((0..random.below(50)).map(|_| random.next_u64() as u8)),
                _ => {}
            }
            match open(&file, &bytes) {
                Some(found) => {
                    assert_eq!(found, last);
                    read += 1;
                }
                None => refused += 1,
            }
        }
    }
    assert!(refused > 100 && read > 100, "{refused} refused, {read} read");
}

#[test]
fn the_fuzz_corpus_is_refused_or_read() {
    let place = Place::new("corpus");
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/damaged_offset");
    let (mut refused, mut read) = (0, 0);
    for file in fs::read_dir(corpus).unwrap() {
        match open(&place.0.join("offset"), &fs::read(file.unwrap().path()).unwrap()) {
            Some(_) => read += 1,
            None => refused += 1,
        }
    }
    assert!(refused >= 4 && read >= 3, "the corpus is in the repository");
}
