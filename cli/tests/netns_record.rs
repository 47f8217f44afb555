//! A recording from a real network: `scripts/netns-record.sh`, which says itself what it found.

use std::path::Path;
use std::process::Command;

/// The exit code of the script where namespaces or nftables are not to be had.
const UNABLE: i32 = 77;

#[test]
#[expect(clippy::print_stdout, reason = "cargo test shows what was skipped")]
fn check_finds_in_a_recording_exactly_what_nftables_dropped() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/netns-record.sh");
    let mut command = Command::new(script);
    command.env("MESSAGES", "50000").env("SEQCAST", env!("CARGO_BIN_EXE_seqcast"));
    let ended = command.output().unwrap();
    let [table, errors] = [ended.stdout, ended.stderr].map(|words| String::from_utf8(words).unwrap());
    if ended.status.code() == Some(UNABLE) {
        println!("{errors}");
        return;
    }
    assert!(ended.status.success(), "{}\n{table}{errors}", ended.status);
    println!("{table}");
}
