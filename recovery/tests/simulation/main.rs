//! The deterministic simulation: one invented clock, one queue of happenings, real state machines on both sides of an
//! impaired network, and an oracle that looks after every step.
//!
//! [`plan`] says what a scenario is, [`network`] carries datagrams, [`source`] publishes and answers, [`client`] drives a
//! subscription by its contract, [`world`] runs them. [`oracle`], [`lines`], [`records`] and [`economy`] judge, by what a
//! [`view`] knows. [`scenarios`] are the requirements, one test each; [`swarm`] draws scenarios from a seed.

mod client;
mod economy;
mod lines;
mod network;
mod oracle;
mod plan;
mod records;
mod scenarios;
mod source;
mod swarm;
mod view;
mod world;
