//! Captures with the real command: recorded, checked, shown, played again; killed, cut, and written to a disk that is full.

mod hostile;
mod kills;
mod reading;
mod real;
mod recorded;
#[path = "../support/mod.rs"]
mod support;
