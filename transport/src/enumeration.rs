//! The machine's interfaces and their IPv4 addresses, as the kernel lists them.

use std::ffi::{CStr, CString, c_int};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::ptr;

use socket2::{Domain, Socket, Type};

/// One line of the kernel's list: an interface has one without an address, and one more for each IPv4 address.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The address's label, `eth0` or `eth0:1`.
    pub(crate) label: String,
    pub(crate) address: Option<Ipv4Addr>,
    /// How many leading bits of the address name its network, 0..=32; 0 without an address.
    pub(crate) prefix_length: u8,
    pub(crate) flags: c_int,
}

impl Entry {
    /// The label without what an alias adds.
    pub(crate) fn device(&self) -> &str {
        self.label.split(':').next().unwrap_or_default()
    }

    /// Whether `other` is in the network of the entry's address.
    pub(crate) fn network_has(&self, other: Ipv4Addr) -> bool {
        let host_bits = 32 - u32::from(self.prefix_length);
        let differs = |address| (u32::from(address) ^ u32::from(other)).checked_shr(host_bits).unwrap_or(0) != 0;
        self.address.is_some_and(|address| !differs(address))
    }

    pub(crate) fn has(&self, flag: c_int) -> bool {
        self.flags & flag != 0
    }
}

/// The list that getifaddrs allocated, freed when dropped.
struct List(*mut libc::ifaddrs);

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: the pointer came from getifaddrs and is freed only here.
        unsafe { libc::freeifaddrs(self.0) };
    }
}

/// Lists every interface, with and without addresses.
pub(crate) fn entries() -> io::Result<Vec<Entry>> {
    let mut head = ptr::null_mut();
    // SAFETY: `head` is a live, writable pointer.
    if unsafe { libc::getifaddrs(&raw mut head) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let list = List(head);
    let mut found = Vec::new();
    let mut cursor = list.0;
    while !cursor.is_null() {
        // SAFETY: `cursor` is not null, so it points to an entry of the list, which lives until `list` is dropped.
        let entry = unsafe { &*cursor };
        cursor = entry.ifa_next;
        // SAFETY: getifaddrs gives every entry a name that ends in NUL.
        let label = unsafe { CStr::from_ptr(entry.ifa_name) }.to_string_lossy().into_owned();
        let address = ipv4(entry.ifa_addr);
        if address.is_some() || is_packet(entry.ifa_addr) {
            let prefix_length = ipv4(entry.ifa_netmask).map_or(0, |netmask| u32::from(netmask).leading_ones() as u8);
            found.push(Entry { label, address, prefix_length, flags: entry.ifa_flags.cast_signed() });
        }
    }
    Ok(found)
}

/// The family of an address out of the list, which may be null.
fn family(address: *const libc::sockaddr) -> Option<c_int> {
    if address.is_null() {
        return None;
    }
    // SAFETY: an address of the list that is not null begins with its family.
    Some(c_int::from(unsafe { (*address).sa_family }))
}

/// Whether this is the entry that stands for the interface itself.
fn is_packet(address: *const libc::sockaddr) -> bool {
    family(address).is_none_or(|family| family == libc::AF_PACKET)
}

fn ipv4(address: *const libc::sockaddr) -> Option<Ipv4Addr> {
    if family(address)? != libc::AF_INET {
        return None;
    }
    // SAFETY: an address whose family is AF_INET is a sockaddr_in.
    let address = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
    Some(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)))
}

/// The index of a device, greater than 0.
pub(crate) fn index(device: &str) -> io::Result<u32> {
    let name = CString::new(device)?;
    // SAFETY: `name` ends in NUL and outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// The largest IP packet that a device carries, in bytes.
pub(crate) fn mtu(device: &str) -> io::Result<u32> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    // SAFETY: all zeros is a valid ifreq: an empty name and an integer of 0.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // One byte less than the field has, so that the name ends in NUL.
    let room = request.ifr_name.len() - 1;
    if device.len() > room {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: SIOCGIFMTU reads the name of a live, writable ifreq and writes its integer.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFMTU, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: SIOCGIFMTU filled this member of the union.
    let mtu = unsafe { request.ifr_ifru.ifru_mtu };
    u32::try_from(mtu).map_err(io::Error::other)
}
