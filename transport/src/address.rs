//! Where a line's datagrams go: `GROUP:PORT[@INTERFACE]`.

use std::error::Error;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::str::FromStr;

use crate::interface::{Interface, InterfaceError};

/// A multicast group and port, and the interface to use if one was named.
///
/// Invariant: group ∈ 224.0.0.0/4 ∧ port ∈ 1..=65535 ∧ interface ≠ "".
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MulticastAddress {
    group: Ipv4Addr,
    port: u16,
    interface: Option<String>,
}

/// What is wrong with a multicast address.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MulticastAddressError {
    /// There is no `:PORT`.
    MissingPort {
        /// The whole text.
        text: String,
    },
    /// The part before the port is not an IPv4 address.
    InvalidGroup {
        /// The part before the port.
        group: String,
    },
    /// The group is not in 224.0.0.0/4.
    NotMulticast {
        /// The address that was given as group.
        group: Ipv4Addr,
    },
    /// The port is not a number of 1..=65535.
    InvalidPort {
        /// The part after the colon.
        port: String,
    },
    /// Nothing follows the `@`.
    EmptyInterface,
}

impl fmt::Display for MulticastAddressError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingPort { text } => {
                write!(out, "`{text}` has no port; expected GROUP:PORT[@INTERFACE], such as 239.255.77.1:30001")
            }
            Self::InvalidGroup { group } => write!(out, "the group `{group}` is not an IPv4 address"),
            Self::NotMulticast { group } => {
                write!(out, "{group} is not a multicast group; groups are 224.0.0.0 to 239.255.255.255")
            }
            Self::InvalidPort { port } => write!(out, "the port `{port}` is not a number from 1 to 65535"),
            Self::EmptyInterface => out.write_str("nothing follows the `@`; name an interface or leave the `@` out"),
        }
    }
}

impl Error for MulticastAddressError {}

impl MulticastAddress {
    /// Makes an address of its parts; `interface` is a name or an IPv4 address, as [`Interface::resolve`] takes it.
    ///
    /// # Errors
    ///
    /// Returns a [`MulticastAddressError`] for a group outside 224.0.0.0/4, port 0, or an empty interface.
    pub fn new(group: Ipv4Addr, port: u16, interface: Option<&str>) -> Result<Self, MulticastAddressError> {
        if !group.is_multicast() {
            return Err(MulticastAddressError::NotMulticast { group });
        }
        if port == 0 {
            return Err(MulticastAddressError::InvalidPort { port: port.to_string() });
        }
        if interface.is_some_and(str::is_empty) {
            return Err(MulticastAddressError::EmptyInterface);
        }
        Ok(Self { group, port, interface: interface.map(str::to_owned) })
    }

    /// The group.
    #[must_use]
    pub const fn group(&self) -> Ipv4Addr {
        self.group
    }

    /// The port, 1..=65535.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The group and the port.
    #[must_use]
    pub const fn socket_address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.group, self.port)
    }

    /// The interface as it was written, if one was named.
    #[must_use]
    pub fn interface_name(&self) -> Option<&str> {
        self.interface.as_deref()
    }

    /// Resolves the interface that the address names, or else `default`.
    ///
    /// # Errors
    ///
    /// Returns the [`InterfaceError`] of [`Interface::resolve`].
    pub fn interface(&self, default: &str) -> Result<Interface, InterfaceError> {
        Interface::resolve(self.interface_name().unwrap_or(default))
    }
}

impl FromStr for MulticastAddress {
    type Err = MulticastAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, interface) = match text.split_once('@') {
            Some((address, interface)) => (address, Some(interface)),
            None => (text, None),
        };
        let Some((group, port)) = address.rsplit_once(':') else {
            return Err(MulticastAddressError::MissingPort { text: text.to_owned() });
        };
        let invalid_group = || MulticastAddressError::InvalidGroup { group: group.to_owned() };
        let invalid_port = || MulticastAddressError::InvalidPort { port: port.to_owned() };
        let group = group.parse().map_err(|_| invalid_group())?;
        let is_digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| is_digits).ok_or_else(invalid_port)?;
        Self::new(group, port, interface)
    }
}

/// Written as it is parsed: `GROUP:PORT[@INTERFACE]`.
impl fmt::Display for MulticastAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.group, self.port)?;
        self.interface.as_ref().map_or(Ok(()), |interface| write!(out, "@{interface}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> MulticastAddressError {
        text.parse::<MulticastAddress>().unwrap_err()
    }

    #[test]
    fn address_is_written_as_it_was_read() {
        for text in ["239.255.77.1:30001", "239.1.1.1:1@10.1.0.5", "224.0.0.1:65535@eth0:1"] {
            assert_eq!(text.parse::<MulticastAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn each_mistake_is_named() {
        let port = |port: &str| MulticastAddressError::InvalidPort { port: port.to_owned() };
        assert_eq!(refusal("239.255.77.1"), MulticastAddressError::MissingPort { text: "239.255.77.1".to_owned() });
        assert_eq!(refusal("[ff02::1]:9"), MulticastAddressError::InvalidGroup { group: "[ff02::1]".to_owned() });
        assert_eq!(refusal("10.0.0.1:9"), MulticastAddressError::NotMulticast { group: Ipv4Addr::new(10, 0, 0, 1) });
        assert_eq!(refusal("239.255.77.1:9@"), MulticastAddressError::EmptyInterface);
        for text in ["0", "", "65536", "+9", "x"] {
            assert_eq!(refusal(&format!("239.255.77.1:{text}")), port(text));
        }
    }

    #[test]
    fn named_interface_goes_before_the_default() {
        let named: MulticastAddress = "239.255.77.1:9@127.0.0.3".parse().unwrap();
        assert_eq!(named.interface("127.0.0.1").unwrap().address, Ipv4Addr::new(127, 0, 0, 3));
        let unnamed: MulticastAddress = "239.255.77.1:9".parse().unwrap();
        assert_eq!(unnamed.interface("127.0.0.1").unwrap().address, Ipv4Addr::LOCALHOST);
    }
}
