//! The path between two hosts: `doctor listen` on one, `doctor send` on the other.
//!
//! 1. The sender calls on the group, and at the unicast addresses it knows, until listeners answer or show themselves. A
//!    listener answers by multicast and by unicast, and shows itself on the group from time to time, so that each direction is
//!    found to pass or not on its own. What it has heard is in every answer, and what the sender has heard in every call: in the
//!    end both know the same, as far as anything passes.
//! 2. A packet of full size, and if it does not pass, the largest that does.
//! 3. A burst at a pace, of the largest size that passes.

mod endpoint;
mod listen;
mod probe;
mod send;
mod verdict;

pub(super) use listen::{ListenOptions, listen};
pub(super) use send::{SendOptions, send};

use super::finding::{Finding, Level, Section};
use super::firewall::{self, Traffic};
use crate::options;
use crate::outcome::{Condition, Outcome, chain};
use endpoint::Endpoint;
use seqcast_recovery::Line;
use seqcast_transport::{Clock, Interface, LineAddress, MulticastAddress};
use serde_json::Value;

/// The most senders a listener, and listeners a sender, keeps apart. Arbitrary.
const MAX_PEERS: usize = 8;

/// How a line is written.
const GROUP_FORM: &str = "GROUP:PORT[@INTERFACE]";

/// The lines to look at.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Lines {
    /// The group of line A
    #[arg(long, value_name = GROUP_FORM, default_value = options::DEFAULT_LINE_A, value_parser = group)]
    line_a: MulticastAddress,
    /// The group of line B
    #[arg(long, value_name = GROUP_FORM, value_parser = group)]
    line_b: Option<MulticastAddress>,
    /// The interface, by name or address, of lines that name none
    #[arg(long, value_name = "INTERFACE", default_value = "127.0.0.1")]
    interface: String,
}

impl Lines {
    pub(super) fn each(&self) -> impl Iterator<Item = (Line, &MulticastAddress)> {
        Line::ALL
            .into_iter()
            .zip([Some(&self.line_a), self.line_b.as_ref()])
            .filter_map(|(line, group)| Some((line, group?)))
    }

    /// The interface of a line, as it is written.
    pub(super) fn interface_name(&self, group: &MulticastAddress) -> String {
        let address = LineAddress::Multicast(group.clone());
        address.interface_name().unwrap_or(&self.interface).to_owned()
    }

    /// The interface of a line, which carries multicast.
    fn interface(&self, line: Line, group: &MulticastAddress) -> Result<Interface, Outcome> {
        let interface = LineAddress::Multicast(group.clone()).interface(&self.interface);
        interface.map_err(|error| Outcome::option(options::interface_or_line(line), &error))
    }
}

/// Reads a line that is a group which anybody may send to.
fn group(text: &str) -> Result<MulticastAddress, String> {
    match text.parse::<LineAddress>() {
        Ok(LineAddress::Multicast(group)) if group.is_source_specific() => {
            Err("a group of one source has only one direction; name one outside 232.0.0.0/8".to_owned())
        }
        Ok(LineAddress::Multicast(group)) => Ok(group),
        Ok(LineAddress::Unicast(_)) => Err(format!("it is not a multicast group ({GROUP_FORM})")),
        Err(error) => Err(chain(&error)),
    }
}

/// What was found on paths.
#[derive(Debug, Default)]
pub(super) struct Paths {
    pub(super) sections: Vec<Section>,
    /// Each path as an object.
    pub(super) json: Vec<Value>,
    /// Lines on which nobody was heard.
    pub(super) unheard: Vec<Condition>,
}

/// A number that names a run or a listener.
fn identity() -> u32 {
    // The lower half changes fastest, and two hosts seldom agree on it.
    (Clock::unix_micros() as u32) ^ std::process::id().rotate_left(16)
}

/// The name of a line and its group.
fn title(line: Line, group: &MulticastAddress) -> String {
    format!("line {line:?} {}", LineAddress::Multicast(group.clone()))
}

/// What stands in the way on this host.
fn obstacles(endpoint: &Endpoint, group: &MulticastAddress, interface: &Interface, is_inbound: bool) -> Vec<Finding> {
    let traffic = Traffic { interface: interface.name.clone(), destination: group.socket_address(), is_inbound };
    let mut findings = firewall::findings(&traffic);
    if let Some(refusal) = &endpoint.refusal {
        let what = format!("the kernel refused {} packets: {refusal}", endpoint.refused);
        let why = "a filter for outgoing packets, no route, or an interface that went down";
        findings
            .push(Finding::new(Level::Problem, "sending", what, why).mend("nft list ruleset; ip -4 route; ip link"));
    }
    findings
}
