//! Several datagrams with one system call: sendmmsg(2), recvmsg(2), recvmmsg(2), and the segments of udp(7).
//!
//! `UDP_SEGMENT` makes one send of a run of equal datagrams, `UDP_GRO` one receive of what arrived as such.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::RawFd;
use std::ptr;

use libc::{c_int, cmsghdr, iovec, mmsghdr, msghdr, sockaddr_in, timespec};
use seqcast_recovery::{Nanos, Run};

/// The most messages of one call: of 8 its fixed cost is hardly to be seen any more.
pub(crate) const MESSAGES: usize = 8;

/// An ancillary message that carries the length of a segment.
#[repr(C)]
#[derive(Clone, Copy)]
struct Segment {
    header: cmsghdr,
    bytes: u16,
}

/// Room for the ancillary messages of a datagram: a segment length and a time, and as much again.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; 128]);

/// What came in one message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    /// All bytes.
    pub(crate) length: usize,
    /// The length of each datagram in it but the last.
    pub(crate) datagram_bytes: usize,
    /// Whence it came.
    pub(crate) sender: SocketAddrV4,
    /// When the kernel took it in, by the system's clock since 1970, if it was asked to tell.
    pub(crate) received_at: Option<Nanos>,
}

impl Slot {
    pub(crate) const EMPTY: Self =
        Self { length: 0, datagram_bytes: 1, sender: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0), received_at: None };
}

/// Sends the runs, each to its destination or where the socket is connected to, the first 8 at the most; returns how many
/// left, counted from the first. An error says why the first did not.
pub(crate) fn send<'a>(fd: RawFd, runs: impl Iterator<Item = (Run<'a>, Option<SocketAddrV4>)>) -> io::Result<usize> {
    let mut names = [MaybeUninit::<sockaddr_in>::uninit(); MESSAGES];
    let mut vectors = [MaybeUninit::<iovec>::uninit(); MESSAGES];
    let mut segments = [MaybeUninit::<Segment>::uninit(); MESSAGES];
    let mut headers = [MaybeUninit::<mmsghdr>::uninit(); MESSAGES];
    let mut count = 0;
    for (run, destination) in runs.take(MESSAGES) {
        let bytes = run.bytes();
        let mut message = empty_message();
        message.msg_iov =
            vectors[count].write(iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() });
        message.msg_iovlen = 1;
        if let Some(destination) = destination {
            message.msg_name = ptr::from_mut(names[count].write(socket_address(destination))).cast();
            message.msg_namelen = size_of::<sockaddr_in>() as libc::socklen_t;
        }
        if run.count() > 1 {
            let header = cmsghdr {
                // SAFETY: CMSG_LEN only computes.
                cmsg_len: unsafe { libc::CMSG_LEN(size_of::<u16>() as u32) } as _,
                cmsg_level: libc::SOL_UDP,
                cmsg_type: libc::UDP_SEGMENT,
            };
            let segment = segments[count].write(Segment { header, bytes: run.packet_bytes() as u16 });
            message.msg_control = ptr::from_mut(segment).cast();
            message.msg_controllen = size_of::<Segment>() as _;
        }
        headers[count].write(mmsghdr { msg_hdr: message, msg_len: 0 });
        count += 1;
    }
    // SAFETY: the first `count` headers are written; what they point to is in arrays of this function and in the runs,
    // all of which outlive the call, and the kernel writes nothing but the headers' lengths.
    let sent = unsafe { libc::sendmmsg(fd, headers.as_mut_ptr().cast(), count as u32, 0) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Receives up to as many messages as there are `slots`, 8 at the most, without waiting: each into its own `stride` of
/// `bytes`, of which it takes `room` bytes at the most. Returns how many came, at least one.
pub(crate) fn receive(
    fd: RawFd,
    bytes: &mut [u8],
    (stride, room): (usize, usize),
    slots: &mut [Slot],
) -> io::Result<usize> {
    assert!(room <= stride && slots.len() <= MESSAGES && slots.len() * stride <= bytes.len());
    let mut names = [MaybeUninit::<sockaddr_in>::uninit(); MESSAGES];
    let mut vectors = [MaybeUninit::<iovec>::uninit(); MESSAGES];
    let mut controls = [MaybeUninit::<Control>::uninit(); MESSAGES];
    let mut headers = [MaybeUninit::<mmsghdr>::uninit(); MESSAGES];
    for (index, bytes) in bytes.chunks_mut(stride).take(slots.len()).enumerate() {
        let mut message = empty_message();
        message.msg_iov = vectors[index].write(iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: room });
        message.msg_iovlen = 1;
        message.msg_name = names[index].as_mut_ptr().cast();
        message.msg_namelen = size_of::<sockaddr_in>() as libc::socklen_t;
        message.msg_control = controls[index].as_mut_ptr().cast();
        message.msg_controllen = size_of::<Control>() as _;
        headers[index].write(mmsghdr { msg_hdr: message, msg_len: 0 });
    }
    let received = match &mut headers[..slots.len()] {
        [header] => {
            // SAFETY: it was written above.
            let header = unsafe { header.assume_init_mut() };
            // SAFETY: as below.
            let length = unsafe { libc::recvmsg(fd, &mut header.msg_hdr, libc::MSG_DONTWAIT) };
            header.msg_len = u32::try_from(length).map_err(|_| io::Error::last_os_error())?;
            1
        }
        headers => {
            let (count, flags) = (headers.len() as u32, libc::MSG_DONTWAIT);
            // SAFETY: these headers are written; what they point to is in arrays of this function and in `bytes`, all of which
            // outlive the call, as long as said, and nobody else's meanwhile; a null timeout is none.
            let received =
                unsafe { libc::recvmmsg(fd, headers.as_mut_ptr().cast(), count, flags as _, ptr::null_mut()) };
            usize::try_from(received).map_err(|_| io::Error::last_os_error())?
        }
    };
    for ((slot, header), name) in slots.iter_mut().zip(&headers[..received]).zip(&names) {
        // SAFETY: as many headers as were received, no more than were passed, are written.
        let header = unsafe { header.assume_init_ref() };
        let length = header.msg_len as usize;
        *slot = Slot { length, datagram_bytes: length.max(1), ..Slot::EMPTY };
        if header.msg_hdr.msg_namelen as usize == size_of::<sockaddr_in>() {
            // SAFETY: the kernel has written the whole address.
            let name = unsafe { name.assume_init_ref() };
            slot.sender = SocketAddrV4::new(u32::from_be(name.sin_addr.s_addr).into(), u16::from_be(name.sin_port));
        }
        read_control(&header.msg_hdr, slot);
    }
    Ok(received)
}

/// Reads the ancillary messages that came with a message.
fn read_control(message: &msghdr, slot: &mut Slot) {
    // SAFETY: the kernel has filled the control buffer that `message` points to, and says how far; it outlives this function.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: it is null or a header within that buffer.
    while let Some(&header) = unsafe { next.as_ref() } {
        // SAFETY: the data lies behind the header.
        let data = unsafe { libc::CMSG_DATA(next) };
        match (header.cmsg_level, header.cmsg_type) {
            (libc::SOL_UDP, libc::UDP_GRO) => {
                // SAFETY: the data of this kind is an int.
                let bytes = unsafe { data.cast::<c_int>().read_unaligned() };
                slot.datagram_bytes = usize::try_from(bytes).unwrap_or(0).max(1);
            }
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                // SAFETY: the data of this kind is a timespec.
                let time = unsafe { data.cast::<timespec>().read_unaligned() };
                slot.received_at = Some(Nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64));
            }
            _ => {}
        }
        // SAFETY: as for the first one.
        next = unsafe { libc::CMSG_NXTHDR(message, next) };
    }
}

fn empty_message() -> msghdr {
    // SAFETY: null pointers, and lengths of zero, are valid.
    unsafe { std::mem::zeroed() }
}

fn socket_address(address: SocketAddrV4) -> sockaddr_in {
    sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*address.ip()).to_be() },
        sin_zero: [0; 8],
    }
}
