//! Network interfaces, found by name or by IPv4 address.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::Ipv4Addr;

use crate::enumeration::{self, Entry};

/// An interface that is up, with the one IPv4 address that is used on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The device's name, such as `eth0`.
    pub name: String,
    /// The kernel's index of the device, greater than 0.
    pub index: u32,
    /// The address that datagrams leave with.
    pub address: Ipv4Addr,
    /// How many leading bits of the address name the network it is on, 0..=32; 32 on a point-to-point link.
    pub prefix_length: u8,
    /// The largest IP packet in bytes; a UDP payload is 28 bytes smaller.
    pub mtu: u32,
    /// Whether this is the loopback device, so that nothing leaves the host.
    pub is_loopback: bool,
    /// Whether the device has the MULTICAST flag. Loopback lacks it by default and carries multicast all the same.
    pub is_multicast: bool,
    /// Whether the device is up.
    pub is_up: bool,
}

/// Why no interface could be used; the text says what would mend it.
#[derive(Debug)]
#[non_exhaustive]
pub enum InterfaceError {
    /// No interface has this name or address.
    Unknown {
        /// What was asked for.
        text: String,
        /// The interfaces there are, each with an address where it has one.
        present: Vec<String>,
    },
    /// The name has several IPv4 addresses, or the address is on several interfaces.
    Ambiguous {
        /// What was asked for.
        text: String,
        /// What it could mean, as `ADDRESS on NAME`.
        choices: Vec<String>,
    },
    /// The interface has no IPv4 address.
    NoAddress {
        /// The device's name.
        name: String,
    },
    /// The interface is down.
    Down {
        /// The device's name.
        name: String,
    },
    /// The interface is not loopback and has no MULTICAST flag.
    NoMulticast {
        /// The device's name.
        name: String,
    },
    /// The kernel would not describe its interfaces.
    Unreadable(io::Error),
}

impl fmt::Display for InterfaceError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { text, present } => {
                write!(out, "no interface has the name or IPv4 address `{text}`; there are: {}", present.join(", "))
            }
            Self::Ambiguous { text, choices } => {
                write!(out, "`{text}` is ambiguous: {}; name one of them by ", choices.join(", "))?;
                out.write_str(if text.parse::<Ipv4Addr>().is_ok() { "interface" } else { "address" })
            }
            Self::NoAddress { name } => {
                write!(
                    out,
                    "interface {name} has no IPv4 address; give it one: `ip address add ADDRESS/PREFIX dev {name}`"
                )
            }
            Self::Down { name } => write!(out, "interface {name} is down; bring it up: `ip link set dev {name} up`"),
            Self::NoMulticast { name } => {
                write!(
                    out,
                    "interface {name} is without multicast; switch it on: `ip link set dev {name} multicast on`"
                )
            }
            Self::Unreadable(_) => out.write_str("the kernel would not describe its interfaces"),
        }
    }
}

impl Error for InterfaceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unreadable(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for InterfaceError {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

impl Interface {
    /// Finds the interface that `text` names, by device name (`eth0`, `lo`), by the label of an address (`eth0:1`), or
    /// by IPv4 address; any address in 127.0.0.0/8 is on loopback.
    ///
    /// # Errors
    ///
    /// Returns an [`InterfaceError`] when no interface or more than one is meant, or when the interface is down or has no
    /// IPv4 address.
    pub fn resolve(text: &str) -> Result<Self, InterfaceError> {
        let (entry, address) = select(&enumeration::entries()?, text)?;
        let name = entry.device().to_owned();
        let index = enumeration::index(&name)?;
        let mtu = enumeration::mtu(&name)?;
        Ok(Self {
            name,
            index,
            address,
            prefix_length: entry.prefix_length,
            mtu,
            is_loopback: entry.has(libc::IFF_LOOPBACK),
            is_multicast: entry.has(libc::IFF_MULTICAST),
            is_up: entry.has(libc::IFF_UP),
        })
    }

    /// Checks that it carries multicast, as loopback always does.
    ///
    /// # Errors
    ///
    /// Returns [`InterfaceError::NoMulticast`] if it does not.
    pub fn require_multicast(&self) -> Result<(), InterfaceError> {
        if self.is_multicast || self.is_loopback {
            Ok(())
        } else {
            Err(InterfaceError::NoMulticast { name: self.name.clone() })
        }
    }
}

/// Written as `NAME ADDRESS`.
impl fmt::Display for Interface {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.name, self.address)
    }
}

/// Picks the one entry that `text` means, and the address to use on it.
fn select(entries: &[Entry], text: &str) -> Result<(Entry, Ipv4Addr), InterfaceError> {
    let matching: Vec<(&Entry, Option<Ipv4Addr>)> = match text.parse::<Ipv4Addr>() {
        Ok(asked) => by_address(entries, asked),
        Err(_) => {
            let named = entries.iter().filter(|entry| entry.device() == text || entry.label == text);
            named.map(|entry| (entry, entry.address)).collect()
        }
    };
    let Some((first, _)) = matching.first() else {
        return Err(InterfaceError::Unknown { text: text.to_owned(), present: present(entries) });
    };
    let name = first.device().to_owned();
    let mut usable = matching.iter().filter_map(|(entry, address)| Some((*entry, (*address)?)));
    match (usable.next(), usable.next()) {
        (Some(_), Some(_)) => {
            let addressed = matching.iter().filter_map(|(entry, address)| Some((entry.device(), (*address)?)));
            let choices = addressed.map(|(device, address)| format!("{address} on {device}")).collect();
            Err(InterfaceError::Ambiguous { text: text.to_owned(), choices })
        }
        _ if !first.has(libc::IFF_UP) => Err(InterfaceError::Down { name }),
        (Some((entry, address)), None) => Ok((entry.clone(), address)),
        (None, _) => Err(InterfaceError::NoAddress { name }),
    }
}

/// The entries that hold the address; of a 127.0.0.0/8 address that is on no list, the loopback device's entry whose
/// network it is in.
fn by_address(entries: &[Entry], asked: Ipv4Addr) -> Vec<(&Entry, Option<Ipv4Addr>)> {
    let exact: Vec<_> = entries.iter().filter(|entry| entry.address == Some(asked)).collect();
    let found = if exact.is_empty() && asked.is_loopback() {
        let loopback = entries.iter().filter(|entry| entry.has(libc::IFF_LOOPBACK));
        loopback.max_by_key(|entry| entry.network_has(asked)).into_iter().collect()
    } else {
        exact
    };
    found.into_iter().map(|entry| (entry, Some(asked))).collect()
}

/// Every interface once for each of its addresses, or once without.
fn present(entries: &[Entry]) -> Vec<String> {
    let has_address = |device| entries.iter().any(|entry| entry.device() == device && entry.address.is_some());
    let listed = entries.iter().filter_map(|entry| match entry.address {
        Some(address) => Some(format!("{} {address}", entry.device())),
        None if has_address(entry.device()) => None,
        None => Some(format!("{} without an IPv4 address", entry.device())),
    });
    listed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: i32 = libc::IFF_UP | libc::IFF_LOOPBACK;
    const ETHERNET: i32 = libc::IFF_UP | libc::IFF_MULTICAST;

    fn entry(label: &str, address: Option<[u8; 4]>, flags: i32) -> Entry {
        let prefix_length = address.map_or(0, |address| if address[0] == 127 { 8 } else { 24 });
        Entry { label: label.to_owned(), address: address.map(Ipv4Addr::from), prefix_length, flags }
    }

    fn machine() -> Vec<Entry> {
        vec![
            entry("lo", None, LOOPBACK),
            entry("eth0", None, ETHERNET),
            entry("eth1", None, ETHERNET),
            entry("tun0", None, libc::IFF_UP),
            entry("off0", None, libc::IFF_MULTICAST),
            entry("bare0", None, ETHERNET),
            entry("lo", Some([127, 0, 0, 1]), LOOPBACK),
            entry("eth0", Some([10, 1, 0, 5]), ETHERNET),
            entry("eth1", Some([10, 2, 0, 5]), ETHERNET),
            entry("eth1:1", Some([10, 2, 0, 6]), ETHERNET),
            entry("tun0", Some([10, 3, 0, 5]), libc::IFF_UP),
            entry("off0", Some([10, 4, 0, 5]), libc::IFF_MULTICAST),
        ]
    }

    fn chosen(text: &str) -> (String, Ipv4Addr) {
        let (entry, address) = select(&machine(), text).unwrap();
        (entry.device().to_owned(), address)
    }

    fn refusal(text: &str) -> String {
        select(&machine(), text).unwrap_err().to_string()
    }

    #[test]
    fn name_label_and_address_find_the_interface() {
        assert_eq!(chosen("eth0"), ("eth0".to_owned(), Ipv4Addr::new(10, 1, 0, 5)));
        assert_eq!(chosen("10.2.0.6"), ("eth1".to_owned(), Ipv4Addr::new(10, 2, 0, 6)));
        assert_eq!(chosen("eth1:1"), ("eth1".to_owned(), Ipv4Addr::new(10, 2, 0, 6)));
    }

    #[test]
    fn every_loopback_address_is_on_the_loopback_device() {
        assert_eq!(chosen("127.0.0.1"), ("lo".to_owned(), Ipv4Addr::LOCALHOST));
        assert_eq!(chosen("127.9.8.7"), ("lo".to_owned(), Ipv4Addr::new(127, 9, 8, 7)));
    }

    #[test]
    fn address_that_no_list_holds_is_in_the_network_of_loopback() {
        let mut entries = machine();
        let service = entry("lo:1", Some([10, 9, 9, 9]), LOOPBACK);
        entries.insert(0, service.clone());
        entries.push(service);
        let (entry, _) = select(&entries, "127.9.8.7").unwrap();
        assert_eq!((entry.label.as_str(), entry.prefix_length), ("lo", 8));
    }

    #[test]
    fn loopback_that_is_down_is_refused_with_the_mend() {
        let refusal = select(&[entry("lo", None, libc::IFF_LOOPBACK)], "127.0.0.1").unwrap_err().to_string();
        assert!(refusal.ends_with("`ip link set dev lo up`"), "{refusal}");
    }

    #[test]
    fn name_with_several_addresses_is_refused_with_its_choices() {
        assert_eq!(
            refusal("eth1"),
            "`eth1` is ambiguous: 10.2.0.5 on eth1, 10.2.0.6 on eth1; name one of them by address"
        );
    }

    #[test]
    fn unknown_interface_lists_those_there_are() {
        assert_eq!(
            refusal("eth9"),
            "no interface has the name or IPv4 address `eth9`; there are: bare0 without an IPv4 address, \
             lo 127.0.0.1, eth0 10.1.0.5, eth1 10.2.0.5, eth1 10.2.0.6, tun0 10.3.0.5, off0 10.4.0.5"
        );
    }

    #[test]
    fn unusable_interface_is_refused_with_the_mend() {
        assert!(refusal("off0").ends_with("`ip link set dev off0 up`"));
        assert!(refusal("bare0").ends_with("`ip address add ADDRESS/PREFIX dev bare0`"));
    }

    #[test]
    fn only_an_interface_that_carries_multicast_serves_a_group() {
        let loopback = Interface::resolve("127.0.0.1").unwrap();
        loopback.require_multicast().unwrap();
        let tunnel = Interface { name: "tun0".to_owned(), is_loopback: false, is_multicast: false, ..loopback };
        let refusal = tunnel.require_multicast().unwrap_err().to_string();
        assert!(refusal.ends_with("`ip link set dev tun0 multicast on`"), "{refusal}");
        Interface { is_multicast: true, ..tunnel }.require_multicast().unwrap();
    }

    #[test]
    fn loopback_of_this_machine_resolves_by_address() {
        let interface = Interface::resolve("127.0.0.1").unwrap();
        assert_eq!((interface.address, interface.prefix_length), (Ipv4Addr::LOCALHOST, 8));
        assert!(interface.is_loopback && interface.is_up && interface.index > 0 && interface.mtu >= 1_500);
        let other = Interface::resolve("127.0.0.77").unwrap();
        assert_eq!((other.index, other.prefix_length), (interface.index, 8));
        assert_eq!(other.address, Ipv4Addr::new(127, 0, 0, 77));
    }
}
