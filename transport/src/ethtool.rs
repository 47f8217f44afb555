//! What a network card's driver says of itself (`SIOCETHTOOL`): what ethtool(8) reads, without that program.

use std::ffi::c_char;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, RawFd};

use socket2::{Domain, Socket, Type};

/// `SIOCETHTOOL` of include/uapi/linux/sockios.h, which `libc` does not name for every platform.
const SIOCETHTOOL: libc::Ioctl = 0x8946;

// Commands and bits of include/uapi/linux/ethtool.h and include/uapi/linux/net_tstamp.h.
const GDRVINFO: u32 = 0x03;
const GCOALESCE: u32 = 0x0e;
const GRINGPARAM: u32 = 0x10;
const GGSO: u32 = 0x23;
const GFLAGS: u32 = 0x25;
const GGRO: u32 = 0x2b;
const GET_TS_INFO: u32 = 0x41;
const FLAG_LRO: u32 = 1 << 15;
const STAMPS_IN_HARDWARE: u32 = 1 << 2;
const STAMPS_IN_SOFTWARE: u32 = 1 << 3;
const FILTER_ALL: u32 = 1 << 1;

/// What the driver of an interface says; `None` is what it does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ethtool {
    /// The driver's name, such as `mlx5_core` or `veth`.
    pub driver: Option<String>,
    /// The ring that packets arrive in.
    pub receive_ring: Option<ReceiveRing>,
    /// When the card interrupts.
    pub coalescing: Option<Coalescing>,
    /// Whether the kernel merges packets that arrived together (GRO); of UDP only for sockets that ask.
    pub merges_in_software: Option<bool>,
    /// Whether the card merges packets that arrived together (LRO).
    pub merges_in_hardware: Option<bool>,
    /// Whether the kernel may hand over packets to be cut late (GSO).
    pub segments: Option<bool>,
    /// What can tell when a packet arrived.
    pub stamps: Option<Stamps>,
}

/// Descriptors of the ring that packets arrive in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveRing {
    /// As many as there are.
    pub packets: u32,
    /// As many as there may be.
    pub most: u32,
}

/// How long the card waits for more packets before it interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coalescing {
    /// Microseconds after the first packet.
    pub micros: u32,
    /// Whether the driver changes that by the load.
    pub is_adaptive: bool,
}

/// What can tell when a packet arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamps {
    /// The card, of every packet rather than of those of a clock protocol only.
    pub hardware: bool,
    /// The kernel.
    pub software: bool,
}

impl Ethtool {
    /// Asks the driver of the device; needs no privilege.
    #[must_use]
    pub fn read(device: &str) -> Self {
        let Ok(socket) = Socket::new(Domain::IPV4, Type::DGRAM, None) else { return Self::default() };
        let fd = socket.as_raw_fd();
        let flag = |command| ask::<2>(fd, device, command).ok().map(|[_, value]| value);
        // struct ethtool_drvinfo has 196 bytes, of which the driver's name is the 32 behind the command.
        let driver = ask::<49>(fd, device, GDRVINFO).ok().map(|words| text(&words[1..9]));
        let rings = ask::<9>(fd, device, GRINGPARAM).ok();
        let coalescing = ask::<23>(fd, device, GCOALESCE).ok();
        let stamps = ask::<11>(fd, device, GET_TS_INFO).ok();
        Self {
            driver: driver.filter(|driver| !driver.is_empty()),
            receive_ring: rings
                .map(|words| ReceiveRing { packets: words[5], most: words[1] })
                .filter(|ring| ring.most > 0),
            coalescing: coalescing.map(|words| Coalescing { micros: words[1], is_adaptive: words[10] != 0 }),
            merges_in_software: flag(GGRO).map(|value| value != 0),
            merges_in_hardware: flag(GFLAGS).map(|flags| flags & FLAG_LRO != 0),
            segments: flag(GGSO).map(|value| value != 0),
            stamps: stamps.map(|words| Stamps {
                hardware: words[1] & STAMPS_IN_HARDWARE != 0 && words[7] & FILTER_ALL != 0,
                software: words[1] & STAMPS_IN_SOFTWARE != 0,
            }),
        }
    }
}

/// The bytes of `words` up to the first NUL.
fn text(words: &[u32]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).take_while(|&byte| byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One command, whose structure has `N` words, the command first.
fn ask<const N: usize>(fd: RawFd, device: &str, command: u32) -> io::Result<[u32; N]> {
    let mut words = [0; N];
    words[0] = command;
    // SAFETY: all zeros is a valid ifreq: an empty name and a null pointer.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    // One byte less than the field has, so that the name ends in NUL.
    let room = request.ifr_name.len() - 1;
    if device.len() > room {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from as c_char;
    }
    request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
    // SAFETY: the request is live, its name ends in NUL, and its pointer is to `words`, which has the size of the command's
    // structure: the kernel writes no more.
    if unsafe { libc::ioctl(fd, SIOCETHTOOL, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_stamps_in_software_and_has_no_card() {
        let loopback = Ethtool::read("lo");
        assert_eq!(loopback.stamps, Some(Stamps { hardware: false, software: true }));
        assert_eq!((loopback.receive_ring, loopback.coalescing), (None, None));
        assert!(loopback.segments.is_some() && loopback.merges_in_software.is_some());
    }

    #[test]
    fn device_that_is_not_there_says_nothing() {
        for name in ["none-such0", "a-name-that-is-far-too-long", ""] {
            assert_eq!(Ethtool::read(name), Ethtool::default());
        }
    }

    #[test]
    fn names_end_at_their_first_nul() {
        let words = [u32::from_ne_bytes(*b"veth"), u32::from_ne_bytes(*b"\0abc")];
        assert_eq!(text(&words), "veth");
    }
}
