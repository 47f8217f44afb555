//! What the `seqcast` command is made of; a library only so that benches can use its parts.

pub mod check;
pub mod completions;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod dump;
pub mod explain;
pub mod feed;
pub mod generate;
pub mod headroom;
pub mod input;
pub mod interrupt;
pub mod live;
pub mod log;
pub mod market;
pub mod metrics;
pub mod options;
pub mod outcome;
pub mod output;
pub mod output_times;
pub mod pace;
pub mod progress;
pub mod publish;
pub mod record;
pub mod repair;
pub mod replay;
pub mod retransmit;
pub mod standard_input;
pub mod stats;
pub mod stats_option;
pub mod subscribe;
pub mod thread;
pub mod times;
pub mod top;

#[cfg(test)]
#[path = "../tests/support/keeper.rs"]
mod keeper;

#[cfg(test)]
#[path = "../tests/support/prometheus.rs"]
mod prometheus;

#[cfg(test)]
#[path = "../tests/support/pty.rs"]
mod pty;
