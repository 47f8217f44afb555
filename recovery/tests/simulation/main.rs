//! The deterministic simulation: one invented clock, one queue of happenings, real state machines on both sides of an
//! impaired network, and an oracle that looks after every step.
//!
//! [`plan`] says what a scenario is, [`network`] carries datagrams, a [`publisher`] of a [`source`] publishes and answers until
//! it is killed, and [`ring`] is how a subscriber beside it follows; a [`client`] drives a subscription by its contract until it
//! is killed; [`world`] runs them. [`oracle`], [`lines`], [`rewinds`], [`records`] and [`economy`] judge, by what a [`view`]
//! knows of the [`truth`]. [`scenarios`] are the requirements, one test each; [`swarm`] draws scenarios from a seed.

mod client;
mod economy;
mod lines;
mod network;
mod oracle;
mod plan;
mod publisher;
mod records;
mod rewinds;
mod ring;
mod scenarios;
mod source;
mod swarm;
mod truth;
mod view;
mod world;
