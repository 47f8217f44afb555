//! The measuring harness of seqcast, with the systems that come with it.

use std::process::ExitCode;

fn main() -> ExitCode {
    seqcast_bench::run(Vec::new())
}
