//! What the `seqcast` command is made of; a library only so that benches can use its parts.

pub mod input;
pub mod market;
pub mod output;
