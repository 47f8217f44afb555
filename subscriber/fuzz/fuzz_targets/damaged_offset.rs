//! No bytes of an offset's file panic whoever opens it; what is refused is left alone, and what is taken can be stored over.
#![no_main]

use libfuzzer_sys::fuzz_target;
use seqcast_subscriber::{Offset, StoredOffset};
use std::fs;

fuzz_target!(|bytes: &[u8]| {
    let file = std::env::temp_dir().join(format!("seqcast-fuzz-offset-{}", std::process::id()));
    fs::write(&file, bytes).expect("the file can be written");
    match StoredOffset::open(&file) {
        Ok(mut stored) => {
            let offset = Offset { session: "FUZZ".parse().expect("a name"), next: 7, position: 8 };
            stored.store(offset);
            drop(stored);
            assert_eq!(StoredOffset::open(&file).expect("it was stored").get(), Some(offset));
        }
        Err(_) => assert_eq!(fs::read(&file).expect("it is there"), bytes),
    }
    fs::remove_file(&file).expect("it is there");
});
