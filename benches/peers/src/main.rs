//! The measuring harness of seqcast with Aeron beside it: the same commands, threads, messages and checks.

mod aeron;
mod media;
mod streams;

use aeron::Aeron;
use seqcast_bench::Subject;
use std::process::ExitCode;

fn main() -> ExitCode {
    seqcast_bench::run([Aeron::Multicast, Aeron::MulticastTuned, Aeron::Ipc].map(Subject::new).into())
}
