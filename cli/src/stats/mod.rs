//! `seqcast stats`: the counters of all processes of this host, from their files.

pub(crate) mod kernel;
