//! Real networks: `scripts/netns.sh` in its short form, which says itself what it found.

use std::path::Path;
use std::process::Command;

/// The exit code of the script where namespaces, bridges or nftables are not to be had.
const UNABLE: i32 = 77;

#[test]
#[expect(clippy::print_stdout, reason = "cargo test shows what was skipped")]
fn three_hosts_on_two_networks_complete_under_loss_and_after_a_line_has_died() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/netns.sh");
    let mut command = Command::new(script);
    command.args(["loss:5", "dead-line"]).env("MESSAGES", "100000").env("SEQCAST", env!("CARGO_BIN_EXE_seqcast"));
    let ended = command.output().unwrap();
    let [table, errors] = [ended.stdout, ended.stderr].map(|words| String::from_utf8(words).unwrap());
    if ended.status.code() == Some(UNABLE) {
        println!("{errors}");
        return;
    }
    assert!(ended.status.success(), "{}\n{table}{errors}", ended.status);
    println!("{table}");
}
