//! No configuration makes its reader panic or run away; what is wrong has a line, and what is right is read back as shown.
#![no_main]

use clap::{Args, Command};
use libfuzzer_sys::fuzz_target;
use seqcast::config::{Commands, Configured};
use seqcast::{publish, retransmit, subscribe};
use std::sync::LazyLock;

static COMMANDS: LazyLock<Commands> = LazyLock::new(|| {
    let root = Command::new("seqcast")
        .subcommand(Configured::<publish::Options>::augment_args(Command::new("publish")))
        .subcommand(Configured::<subscribe::Options>::augment_args(Command::new("subscribe")))
        .subcommand(Configured::<retransmit::Options>::augment_args(Command::new("retransmit")));
    Commands::new(root)
});

fuzz_target!(|bytes: &[u8]| {
    match COMMANDS.read(bytes) {
        Ok(feeds) => {
            for feed in &feeds {
                let shown = COMMANDS.show(feed);
                let again = COMMANDS.read(shown.as_bytes()).expect("what is shown can be read");
                assert_eq!(COMMANDS.show(&again[0]), shown);
                assert_eq!(COMMANDS.needs(&again[0]), COMMANDS.needs(feed));
            }
        }
        Err(problems) => {
            let last_line = 1 + bytes.iter().filter(|byte| **byte == b'\n').count();
            assert!((1..=64).contains(&problems.len()));
            assert!(problems.iter().all(|problem| (1..=last_line).contains(&problem.line)));
        }
    }
});
