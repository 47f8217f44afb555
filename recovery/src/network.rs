//! Networks of IPv4 addresses, written `ADDRESS/PREFIX`.

use core::fmt;
use core::net::Ipv4Addr;
use core::str::FromStr;

/// The bits of an IPv4 address.
const ADDRESS_BITS: u8 = 32;

/// All addresses that begin with the same bits.
///
/// Invariant: `prefix_length <= 32`, and the bits of `address` behind the prefix are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network {
    address: Ipv4Addr,
    prefix_length: u8,
}

impl Network {
    /// The network that `address` is in, whose addresses share the first `prefix_length` bits.
    ///
    /// # Errors
    ///
    /// [`NetworkError::PrefixLength`] when `prefix_length` is above 32.
    pub const fn new(address: Ipv4Addr, prefix_length: u8) -> Result<Self, NetworkError> {
        if prefix_length > ADDRESS_BITS {
            return Err(NetworkError::PrefixLength);
        }
        let address = Ipv4Addr::from_bits(address.to_bits() & mask(prefix_length));
        Ok(Self { address, prefix_length })
    }

    /// Whether `address` is one of it.
    #[must_use]
    pub const fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix_length) == self.address.to_bits()
    }
}

const fn mask(prefix_length: u8) -> u32 {
    // A shift by all 32 bits leaves none.
    match u32::MAX.checked_shl((ADDRESS_BITS - prefix_length) as u32) {
        Some(mask) => mask,
        None => 0,
    }
}

/// Written as `ADDRESS/PREFIX`, with the network's first address.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_length)
    }
}

/// `ADDRESS/PREFIX`, with any address of the network.
impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix_length) = text.split_once('/').ok_or(NetworkError::Form)?;
        let address = address.parse().map_err(|_| NetworkError::Address)?;
        let is_number = prefix_length.bytes().all(|byte| byte.is_ascii_digit());
        let prefix_length = prefix_length.parse().ok().filter(|_| is_number).ok_or(NetworkError::PrefixLength)?;
        Self::new(address, prefix_length)
    }
}

/// Why text is not a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetworkError {
    /// There is no `/` in it.
    Form,
    /// What precedes the `/` is no IPv4 address.
    Address,
    /// What follows the `/` is no number of bits, `0..=32`.
    PrefixLength,
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "a network is ADDRESS/PREFIX, such as 10.1.0.0/16",
            Self::Address => "a network begins with an IPv4 address, such as 10.1.0.0",
            Self::PrefixLength => "a network's prefix is 0 to 32 bits",
        })
    }
}

impl core::error::Error for NetworkError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_network_is_read_from_any_of_its_addresses_and_written_with_its_first() {
        for (text, written) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("192.168.7.129/25", "192.168.7.128/25"),
            ("192.168.7.1/32", "192.168.7.1/32"),
            ("1.2.3.4/0", "0.0.0.0/0"),
        ] {
            let network: Network = text.parse().unwrap();
            assert_eq!(network.to_string(), written);
            assert_eq!(written.parse(), Ok(network));
        }
        for (text, error) in [
            ("", NetworkError::Form),
            ("10.0.0.0", NetworkError::Form),
            ("10.0.0/8", NetworkError::Address),
            ("::1/64", NetworkError::Address),
            ("/8", NetworkError::Address),
            ("10.0.0.0/", NetworkError::PrefixLength),
            ("10.0.0.0/33", NetworkError::PrefixLength),
            ("10.0.0.0/+8", NetworkError::PrefixLength),
            ("10.0.0.0/8/8", NetworkError::PrefixLength),
        ] {
            assert_eq!(text.parse::<Network>(), Err(error), "{text}");
            assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn a_network_ends_with_its_last_address() {
        for (network, inside, outside) in [
            ("127.0.0.0/8", ["127.0.0.0", "127.255.255.255"], ["126.255.255.255", "128.0.0.0"]),
            ("10.1.2.4/30", ["10.1.2.4", "10.1.2.7"], ["10.1.2.3", "10.1.2.8"]),
            ("10.1.2.4/32", ["10.1.2.4", "10.1.2.4"], ["10.1.2.3", "10.1.2.5"]),
        ] {
            let network: Network = network.parse().unwrap();
            assert!(inside.iter().all(|address| network.contains(address.parse().unwrap())), "{network}");
            assert!(!outside.iter().any(|address| network.contains(address.parse().unwrap())), "{network}");
        }
        let everything: Network = "0.0.0.0/0".parse().unwrap();
        assert!(everything.contains(Ipv4Addr::BROADCAST) && everything.contains(Ipv4Addr::UNSPECIFIED));
    }
}
