//! Where a line's datagrams go: `GROUP:PORT[@INTERFACE]`, or where there is no multicast
//! `ADDRESS:PORT[,ADDRESS:PORT]...[@INTERFACE]`.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::str::FromStr;

use crate::address_error::AddressError;
use crate::interface::{Interface, InterfaceError};

/// The most unicast addresses of one line. Arbitrary: each costs a system call for every packet.
pub const MAX_UNICAST_ADDRESSES: usize = 32;

/// A multicast group and port, and the interface to use if one was named.
///
/// Invariant: group ∈ 224.0.0.0/4 ∧ port ∈ 1..=65535 ∧ interface ≠ "".
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MulticastAddress {
    group: Ipv4Addr,
    port: u16,
    interface: Option<String>,
}

impl MulticastAddress {
    /// Makes an address of its parts; `interface` is a name or an IPv4 address, as [`Interface::resolve`] takes it.
    ///
    /// # Errors
    ///
    /// Returns an [`AddressError`] for a group outside 224.0.0.0/4, port 0, or an empty interface.
    pub fn new(group: Ipv4Addr, port: u16, interface: Option<&str>) -> Result<Self, AddressError> {
        if !group.is_multicast() {
            return Err(AddressError::NotMulticast { group });
        }
        if port == 0 {
            return Err(AddressError::InvalidPort { port: port.to_string() });
        }
        if interface.is_some_and(str::is_empty) {
            return Err(AddressError::EmptyInterface);
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

    /// Whether the group is in 232.0.0.0/8, where a host joins a group of one source only (RFC 4607, section 1).
    #[must_use]
    pub const fn is_source_specific(&self) -> bool {
        self.group.octets()[0] == 232
    }
}

/// A list of unicast addresses and ports, and the interface to use if one was named.
///
/// Invariant: 1 ≤ count ≤ [`MAX_UNICAST_ADDRESSES`], all different, none of them a group, 0.0.0.0 or 255.255.255.255 or
/// with port 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnicastAddresses {
    addresses: Vec<SocketAddrV4>,
    interface: Option<String>,
}

impl UnicastAddresses {
    /// `addresses` is not empty and has no port 0, `interface` is not "".
    fn new(addresses: Vec<SocketAddrV4>, interface: Option<&str>) -> Result<Self, AddressError> {
        for (index, &address) in addresses.iter().enumerate() {
            let ip = *address.ip();
            if ip.is_multicast() {
                return Err(AddressError::GroupInList { group: ip });
            }
            if ip.is_unspecified() {
                return Err(AddressError::Unspecified);
            }
            if ip.is_broadcast() {
                return Err(AddressError::Broadcast);
            }
            if addresses[..index].contains(&address) {
                return Err(AddressError::Repeated { address });
            }
        }
        let count = addresses.len();
        if count > MAX_UNICAST_ADDRESSES {
            return Err(AddressError::TooMany { count });
        }
        Ok(Self { addresses, interface: interface.map(str::to_owned) })
    }

    /// The addresses and ports, as they were listed.
    #[must_use]
    pub fn socket_addresses(&self) -> &[SocketAddrV4] {
        &self.addresses
    }
}

/// The address of a line: a multicast group, or unicast addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LineAddress {
    /// `GROUP:PORT[@INTERFACE]`.
    Multicast(MulticastAddress),
    /// `ADDRESS:PORT[,ADDRESS:PORT]...[@INTERFACE]`.
    Unicast(UnicastAddresses),
}

impl LineAddress {
    /// The interface as it was written, if one was named.
    #[must_use]
    pub fn interface_name(&self) -> Option<&str> {
        match self {
            Self::Multicast(address) => address.interface.as_deref(),
            Self::Unicast(addresses) => addresses.interface.as_deref(),
        }
    }

    /// Resolves the interface that the address names, or else `default`. For a group it must carry multicast.
    ///
    /// # Errors
    ///
    /// Returns the [`InterfaceError`] of [`Interface::resolve`] or [`Interface::require_multicast`].
    pub fn interface(&self, default: &str) -> Result<Interface, InterfaceError> {
        let interface = Interface::resolve(self.interface_name().unwrap_or(default))?;
        if let Self::Multicast(_) = self {
            interface.require_multicast()?;
        }
        Ok(interface)
    }
}

impl FromStr for LineAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (addresses, interface) = match text.split_once('@') {
            Some((_, "")) => return Err(AddressError::EmptyInterface),
            Some((_, interface)) if interface.contains(',') => {
                return Err(AddressError::InterfaceNotLast { interface: interface.to_owned() });
            }
            Some((addresses, interface)) => (addresses, Some(interface)),
            None => (text, None),
        };
        let addresses = addresses.split(',').map(socket_address).collect::<Result<Vec<_>, _>>()?;
        match addresses[..] {
            [address] if address.ip().is_multicast() => {
                MulticastAddress::new(*address.ip(), address.port(), interface).map(Self::Multicast)
            }
            _ => UnicastAddresses::new(addresses, interface).map(Self::Unicast),
        }
    }
}

/// Reads `ADDRESS:PORT`, the port in 1..=65535.
fn socket_address(text: &str) -> Result<SocketAddrV4, AddressError> {
    let Some((address, port)) = text.rsplit_once(':') else {
        return Err(AddressError::MissingPort { text: text.to_owned() });
    };
    let is_digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let number = port.parse().ok().filter(|port| is_digits && *port != 0);
    let ip = address.parse().map_err(|_| AddressError::NotIpv4 { address: address.to_owned() })?;
    let port = number.ok_or_else(|| AddressError::InvalidPort { port: port.to_owned() })?;
    Ok(SocketAddrV4::new(ip, port))
}

/// Written as it is parsed.
impl fmt::Display for LineAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Multicast(address) => address.socket_address().fmt(out)?,
            Self::Unicast(UnicastAddresses { addresses, .. }) => {
                for (index, address) in addresses.iter().enumerate() {
                    out.write_str(if index == 0 { "" } else { "," })?;
                    address.fmt(out)?;
                }
            }
        }
        self.interface_name().map_or(Ok(()), |interface| write!(out, "@{interface}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> AddressError {
        text.parse::<LineAddress>().unwrap_err()
    }

    #[test]
    fn address_is_written_as_it_was_read() {
        for text in ["239.255.77.1:30001", "239.1.1.1:1@10.1.0.5", "224.0.0.1:65535@eth0:1"] {
            let address: LineAddress = text.parse().unwrap();
            assert!(matches!(address, LineAddress::Multicast(_)), "{text}");
            assert_eq!(address.to_string(), text);
        }
        for text in ["10.1.0.9:30001", "10.1.0.9:1,10.1.0.9:2,10.1.0.8:1@eth0:1"] {
            let address: LineAddress = text.parse().unwrap();
            assert!(matches!(address, LineAddress::Unicast(_)), "{text}");
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn each_mistake_is_named() {
        let port = |port: &str| AddressError::InvalidPort { port: port.to_owned() };
        assert_eq!(refusal("239.255.77.1"), AddressError::MissingPort { text: "239.255.77.1".to_owned() });
        assert_eq!(refusal("10.0.0.1:9,"), AddressError::MissingPort { text: String::new() });
        assert_eq!(refusal("[ff02::1]:9"), AddressError::NotIpv4 { address: "[ff02::1]".to_owned() });
        assert_eq!(refusal("239.255.77.1:9@"), AddressError::EmptyInterface);
        assert_eq!(refusal("0.0.0.0:9"), AddressError::Unspecified);
        assert_eq!(refusal("10.0.0.1:9,255.255.255.255:9"), AddressError::Broadcast);
        for text in ["0", "", "65536", "+9", "x"] {
            assert_eq!(refusal(&format!("239.255.77.1:{text}")), port(text));
            assert_eq!(refusal(&format!("10.0.0.1:{text}")), port(text));
        }
        let group = Ipv4Addr::new(10, 0, 0, 1);
        assert_eq!(MulticastAddress::new(group, 9, None), Err(AddressError::NotMulticast { group }));
    }

    #[test]
    fn a_group_stands_alone() {
        let group = Ipv4Addr::new(239, 1, 1, 1);
        for text in ["239.1.1.1:9,10.0.0.1:9", "10.0.0.1:9,239.1.1.1:9", "239.1.1.1:9,239.1.2.1:9"] {
            assert_eq!(refusal(text), AddressError::GroupInList { group });
        }
    }

    #[test]
    fn interface_is_named_once_behind_the_last_address() {
        let text = "eth0,10.0.0.2:9@eth1";
        assert_eq!(
            refusal(&format!("10.0.0.1:9@{text}")),
            AddressError::InterfaceNotLast { interface: text.to_owned() }
        );
    }

    #[test]
    fn list_is_bounded_and_names_nobody_twice() {
        let list = |count: usize| {
            let addresses: Vec<String> = (1..=count).map(|port| format!("10.0.0.1:{port}")).collect();
            addresses.join(",")
        };
        assert!(list(MAX_UNICAST_ADDRESSES).parse::<LineAddress>().is_ok());
        let count = MAX_UNICAST_ADDRESSES + 1;
        assert_eq!(refusal(&list(count)), AddressError::TooMany { count });
        let address = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 2);
        assert_eq!(refusal(&format!("{},10.0.0.1:2", list(3))), AddressError::Repeated { address });
    }

    #[test]
    fn named_interface_goes_before_the_default() {
        for address in ["239.255.77.1:9", "127.0.0.9:9"] {
            let named: LineAddress = format!("{address}@127.0.0.3").parse().unwrap();
            assert_eq!(named.interface("127.0.0.1").unwrap().address, Ipv4Addr::new(127, 0, 0, 3));
            let unnamed: LineAddress = address.parse().unwrap();
            assert_eq!(unnamed.interface("127.0.0.1").unwrap().address, Ipv4Addr::LOCALHOST);
        }
    }

    #[test]
    fn groups_of_one_source_are_told_from_others() {
        let is_source_specific =
            |group: [u8; 4]| MulticastAddress::new(group.into(), 9, None).unwrap().is_source_specific();
        assert!(is_source_specific([232, 0, 0, 0]) && is_source_specific([232, 255, 255, 255]));
        assert!(!is_source_specific([231, 255, 255, 255]) && !is_source_specific([233, 0, 0, 0]));
    }
}
