//! What is wrong with the address of a line.

use std::error::Error;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::address::MAX_UNICAST_ADDRESSES;

/// Why a text is not the address of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressError {
    /// There is no `:PORT`.
    MissingPort {
        /// The text without a port.
        text: String,
    },
    /// What stands before the port is not an IPv4 address.
    NotIpv4 {
        /// The part before the port.
        address: String,
    },
    /// The port is not a number of 1..=65535.
    InvalidPort {
        /// The part after the colon.
        port: String,
    },
    /// Nothing follows the `@`.
    EmptyInterface,
    /// A comma follows the interface.
    InterfaceNotLast {
        /// The part after the `@`.
        interface: String,
    },
    /// The group is not in 224.0.0.0/4.
    NotMulticast {
        /// The address that was given as group.
        group: Ipv4Addr,
    },
    /// A multicast group stands in a list.
    GroupInList {
        /// The group.
        group: Ipv4Addr,
    },
    /// A unicast address is 0.0.0.0.
    Unspecified,
    /// A unicast address is 255.255.255.255.
    Broadcast,
    /// An address and port stands in a list twice.
    Repeated {
        /// The address and port.
        address: SocketAddrV4,
    },
    /// A list has more than [`MAX_UNICAST_ADDRESSES`].
    TooMany {
        /// The length of the list.
        count: usize,
    },
}

impl fmt::Display for AddressError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingPort { text } => {
                write!(
                    out,
                    "`{text}` has no port; expected GROUP:PORT[@INTERFACE], such as 239.255.77.1:30001, or unicast \
                     ADDRESS:PORT"
                )
            }
            Self::NotIpv4 { address } => write!(out, "`{address}` is not an IPv4 address"),
            Self::InvalidPort { port } => write!(out, "the port `{port}` is not a number from 1 to 65535"),
            Self::EmptyInterface => out.write_str("nothing follows the `@`; name an interface or leave the `@` out"),
            Self::InterfaceNotLast { interface } => {
                write!(out, "`{interface}` is no interface; one is named for the line, behind its last address")
            }
            Self::NotMulticast { group } => {
                write!(out, "{group} is not a multicast group; groups are 224.0.0.0 to 239.255.255.255")
            }
            Self::GroupInList { group } => {
                write!(out, "{group} is a multicast group, which cannot share a line with other addresses")
            }
            Self::Unspecified => out.write_str("0.0.0.0 is the address of no host; name that of one interface"),
            Self::Broadcast => out.write_str(
                "255.255.255.255 is a broadcast address, which disturbs every host; list the subscribers, or use a \
                 multicast group",
            ),
            Self::Repeated { address } => write!(out, "{address} is listed twice and would get every packet twice"),
            Self::TooMany { count } => write!(
                out,
                "{count} unicast addresses are listed, at most {MAX_UNICAST_ADDRESSES} may be: each costs a system call \
                 for every packet; use a multicast group"
            ),
        }
    }
}

impl Error for AddressError {}
