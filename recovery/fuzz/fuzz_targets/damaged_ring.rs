//! No bytes of a ring's file panic or hold up those who look messages up, who follow, and who go on with it.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/ring_damage/visit.rs"]
mod visit;

fuzz_target!(|bytes: &[u8]| {
    let words = visit::words_of(bytes);
    // Refused or read.
    let _ = visit::visit(&words, |_, _| {});
    if let Some(words) = visit::with_header(words) {
        let _ = visit::visit(&words, |_, _| {});
    }
});
