//! The life of a gap, decided without sockets, clocks or threads.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod impairment;
mod random;
mod ring;
mod time;

pub use impairment::*;
pub use random::Random;
pub use ring::*;
pub use time::Nanos;
