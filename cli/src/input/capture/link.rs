//! From a captured frame to its UDP datagram.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

/// The link types that can carry a market data feed, by their numbers in the registry of tcpdump.org.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::input) enum Link {
    /// 1.
    Ethernet,
    /// 12, 14, 101, and 228: an IP packet, nothing before it.
    RawIp,
    /// 0 and 108: an address family of four bytes, in the order of the capturing host or big-endian.
    Loopback,
    /// 113, Linux "any" interface.
    LinuxCooked,
    /// 276, its second version.
    LinuxCooked2,
}

/// A UDP datagram over IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub source: SocketAddrV4,
    /// Where to.
    pub destination: SocketAddrV4,
    /// Its bytes behind the UDP header.
    pub payload: &'a [u8],
}

/// Why a frame holds no UDP datagram for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// It is something other than UDP over IPv4.
    Other,
    /// IPv6, which market data do not use.
    Ipv6,
    /// A fragment of an IP packet: of UDP at most the beginning.
    Fragment,
    /// The capture holds only its first bytes.
    Cut,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Other => "no UDP over IPv4",
            Self::Ipv6 => "IPv6",
            Self::Fragment => "a fragment of an IP packet",
            Self::Cut => "only the first bytes of the frame were captured",
        })
    }
}

impl Link {
    /// The link type of this number, if it is known.
    pub(super) const fn new(number: u16) -> Option<Self> {
        Some(match number {
            1 => Self::Ethernet,
            12 | 14 | 101 | 228 => Self::RawIp,
            0 | 108 => Self::Loopback,
            113 => Self::LinuxCooked,
            276 => Self::LinuxCooked2,
            _ => return None,
        })
    }

    /// What is wrong with a number that has no link type.
    pub(super) fn unknown(number: u16) -> String {
        format!("link type {number} is not known; Ethernet, raw IP, loopback and Linux cooked captures are")
    }

    /// The UDP datagram in `frame`.
    pub(in crate::input) fn datagram(self, frame: &[u8]) -> Result<Datagram<'_>, Skipped> {
        udp_datagram(self.ip_packet(frame)?)
    }

    fn ip_packet(self, frame: &[u8]) -> Result<&[u8], Skipped> {
        match self {
            Self::Ethernet => by_ethertype(frame, 12, 14),
            Self::LinuxCooked => by_ethertype(frame, 14, 16),
            Self::LinuxCooked2 => by_ethertype(frame, 0, 20),
            Self::RawIp => Ok(frame),
            Self::Loopback => {
                let (family, packet) = frame.split_first_chunk::<4>().ok_or(Skipped::Cut)?;
                match u32::from_le_bytes(*family).min(u32::from_be_bytes(*family)) {
                    2 => Ok(packet),
                    10 | 24 | 28 | 30 => Err(Skipped::Ipv6),
                    _ => Err(Skipped::Other),
                }
            }
        }
    }
}

/// The IP packet behind a link header whose ethertype is at `type_at` and that ends at `end`; VLAN tags (802.1Q,
/// 802.1ad, and what QinQ used before) may follow it.
fn by_ethertype(frame: &[u8], type_at: usize, end: usize) -> Result<&[u8], Skipped> {
    let (header, mut rest) = frame.split_at_checked(end).ok_or(Skipped::Cut)?;
    let mut ethertype = [header[type_at], header[type_at + 1]];
    loop {
        match u16::from_be_bytes(ethertype) {
            0x0800 => return Ok(rest),
            0x86DD => return Err(Skipped::Ipv6),
            0x8100 | 0x88A8 | 0x9100 => {
                let (tag, inner) = rest.split_first_chunk::<4>().ok_or(Skipped::Cut)?;
                ethertype = [tag[2], tag[3]];
                rest = inner;
            }
            _ => return Err(Skipped::Other),
        }
    }
}

const UDP: u8 = 17;
const UDP_HEADER_BYTES: usize = 8;

/// The UDP datagram in an IPv4 packet (RFC 791, RFC 768); link padding after it is ignored.
fn udp_datagram(packet: &[u8]) -> Result<Datagram<'_>, Skipped> {
    match packet.first().ok_or(Skipped::Cut)? >> 4 {
        4 => {}
        6 => return Err(Skipped::Ipv6),
        _ => return Err(Skipped::Other),
    }
    let header = packet.first_chunk::<20>().ok_or(Skipped::Cut)?;
    if header[9] != UDP {
        return Err(Skipped::Other);
    }
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    let (more_fragments, fragment_offset) = (fragment & 0x2000 != 0, fragment & 0x1FFF);
    if more_fragments || fragment_offset != 0 {
        return Err(Skipped::Fragment);
    }
    let header_bytes = usize::from(header[0] & 0xF) * 4;
    let total_bytes = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header_bytes < header.len() || total_bytes < header_bytes + UDP_HEADER_BYTES {
        return Err(Skipped::Other);
    }
    let datagram = packet.get(header_bytes..total_bytes).ok_or(Skipped::Cut)?;
    let udp_bytes = usize::from(u16::from_be_bytes([datagram[4], datagram[5]]));
    if udp_bytes < UDP_HEADER_BYTES {
        return Err(Skipped::Other);
    }
    let address = |at: usize, port_at: usize| {
        let ip = Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
        SocketAddrV4::new(ip, u16::from_be_bytes([datagram[port_at], datagram[port_at + 1]]))
    };
    Ok(Datagram {
        source: address(12, 0),
        destination: address(16, 2),
        payload: datagram.get(UDP_HEADER_BYTES..udp_bytes).ok_or(Skipped::Other)?,
    })
}
