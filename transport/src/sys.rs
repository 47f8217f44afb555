//! System calls that neither the standard library nor `socket2` offers, each behind a safe function.

use std::io;
use std::mem::{self, size_of_val};
use std::net::Ipv4Addr;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr;

use libc::{c_int, c_void, pollfd, sched_param, sockaddr_in, sockaddr_storage, socklen_t, timespec};
use seqcast_recovery::Nanos;

/// `SO_MEMINFO` of the generic socket numbering (include/uapi/asm-generic/socket.h), which `libc` does not name.
const SO_MEMINFO: c_int = 55;

/// Words that `SO_MEMINFO` fills: `SK_MEMINFO_VARS` of include/uapi/linux/sock_diag.h.
const MEMINFO_WORDS: usize = 9;

fn check(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

pub(crate) fn monotonic_now() -> Nanos {
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live, writable timespec for the length of the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    debug_assert_eq!(result, 0, "CLOCK_MONOTONIC exists on every Linux");
    #[expect(clippy::cast_sign_loss, reason = "the monotonic clock counts from the machine's start")]
    Nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

fn set_bytes<T>(fd: RawFd, level: c_int, option: c_int, value: &T) -> io::Result<()> {
    #[expect(clippy::cast_possible_truncation, reason = "no value has more than 264 bytes")]
    let length = size_of_val(value) as socklen_t;
    // SAFETY: the pointer and the length are those of `value`, which outlives the call; the kernel only reads it.
    check(unsafe { libc::setsockopt(fd, level, option, ptr::from_ref(value).cast::<c_void>(), length) })
}

/// Fills `value` and returns how many of its bytes the kernel wrote.
fn read_bytes<const N: usize>(fd: RawFd, level: c_int, option: c_int, value: &mut [u32; N]) -> io::Result<usize> {
    #[expect(clippy::cast_possible_truncation, reason = "the values are of 4 and 36 bytes")]
    let mut length = size_of_val(value) as socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, the size of `value`, and any bytes make a valid u32.
    check(unsafe { libc::getsockopt(fd, level, option, value.as_mut_ptr().cast::<c_void>(), &raw mut length) })?;
    Ok(length as usize)
}

pub(crate) fn set_option(fd: RawFd, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    set_bytes(fd, level, option, &value)
}

pub(crate) fn option(fd: RawFd, level: c_int, option: c_int) -> io::Result<c_int> {
    let mut value = [0u32];
    read_bytes(fd, level, option, &mut value)?;
    Ok(value[0].cast_signed())
}

/// Sets `IP_MULTICAST_IF` by index and address; the index decides, the address becomes the default source.
pub(crate) fn set_multicast_interface(fd: RawFd, index: u32, address: Ipv4Addr) -> io::Result<()> {
    let request = libc::ip_mreqn {
        imr_multiaddr: libc::in_addr { s_addr: 0 },
        imr_address: libc::in_addr { s_addr: u32::from(address).to_be() },
        imr_ifindex: index.cast_signed(),
    };
    set_bytes(fd, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &request)
}

/// Joins `group` for the datagrams of `source` only, on the interface of this index (RFC 3678, section 5.1).
pub(crate) fn join_source(fd: RawFd, index: u32, group: Ipv4Addr, source: Ipv4Addr) -> io::Result<()> {
    let request =
        libc::group_source_req { gsr_interface: index, gsr_group: storage(group), gsr_source: storage(source) };
    set_bytes(fd, libc::IPPROTO_IP, libc::MCAST_JOIN_SOURCE_GROUP, &request)
}

fn storage(address: Ipv4Addr) -> sockaddr_storage {
    // SAFETY: all zeros is a valid sockaddr_storage.
    let mut storage: sockaddr_storage = unsafe { std::mem::zeroed() };
    let address = sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from(address).to_be() },
        sin_zero: [0; 8],
    };
    // SAFETY: a sockaddr_storage has the room and the alignment of any address.
    unsafe { (&raw mut storage).cast::<sockaddr_in>().write(address) };
    storage
}

/// Reads `SK_MEMINFO_DROPS`; `None` from a kernel that has no such word.
pub(crate) fn drop_count(fd: RawFd) -> io::Result<Option<u32>> {
    let mut words = [0u32; MEMINFO_WORDS];
    let written = read_bytes(fd, libc::SOL_SOCKET, SO_MEMINFO, &mut words)?;
    Ok((written >= size_of_val(&words)).then_some(words[libc::SK_MEMINFO_DROPS as usize]))
}

/// Waits for `set`; returns how many of its entries have something to say, 0 after the timeout.
pub(crate) fn poll(set: &mut [pollfd], timeout: Option<Nanos>) -> io::Result<usize> {
    let timeout = timeout.map(timespec_of);
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: pointer and count are those of `set`; `timeout` is null or points to a timespec that outlives the call;
    // a null signal mask leaves the mask alone.
    let ready = unsafe { libc::ppoll(set.as_mut_ptr(), set.len() as libc::nfds_t, timeout, ptr::null()) };
    usize::try_from(ready).map_err(|_| io::Error::last_os_error())
}

/// Makes an eventfd that is at 0, does not block, and is closed on exec.
pub(crate) fn event() -> io::Result<OwnedFd> {
    // SAFETY: eventfd takes no pointer.
    let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
    check(fd)?;
    // SAFETY: the kernel has just made `fd`, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes a timer by the monotonic clock that stands still, does not block, and is closed on exec.
pub(crate) fn timer() -> io::Result<OwnedFd> {
    // SAFETY: timerfd_create takes no pointer.
    let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) };
    check(fd)?;
    // SAFETY: the kernel has just made `fd`, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Has a timer expire each `interval` from now on; 0: not at all.
pub(crate) fn set_timer(fd: RawFd, interval: Nanos) -> io::Result<()> {
    let interval = timespec_of(interval);
    let setting = libc::itimerspec { it_interval: interval, it_value: interval };
    // SAFETY: `setting` outlives the call, and a null old value is not written.
    check(unsafe { libc::timerfd_settime(fd, 0, &raw const setting, ptr::null_mut()) })
}

fn timespec_of(Nanos(nanos): Nanos) -> timespec {
    timespec {
        tv_sec: libc::time_t::try_from(nanos / 1_000_000_000).unwrap_or(libc::time_t::MAX),
        tv_nsec: (nanos % 1_000_000_000) as libc::c_long,
    }
}

/// The number that stands for the calling thread in sched_setscheduler(2) and its kin.
const THIS_THREAD: libc::pid_t = 0;

/// Sets the policy and the priority of the calling thread.
pub(crate) fn set_scheduling(policy: c_int, priority: c_int) -> io::Result<()> {
    let parameters = sched_param { sched_priority: priority };
    // SAFETY: `parameters` outlives the call; the kernel only reads it.
    check(unsafe { libc::sched_setscheduler(THIS_THREAD, policy, &raw const parameters) })
}

/// Reads the policy and the priority of the calling thread.
pub(crate) fn scheduling() -> io::Result<(c_int, c_int)> {
    let mut parameters = sched_param { sched_priority: 0 };
    // SAFETY: sched_getscheduler takes no pointer.
    let policy = unsafe { libc::sched_getscheduler(THIS_THREAD) };
    check(policy)?;
    // SAFETY: `parameters` is live and writable for the length of the call.
    check(unsafe { libc::sched_getparam(THIS_THREAD, &raw mut parameters) })?;
    Ok((policy, parameters.sched_priority))
}

/// Asks for slices of so many nanoseconds for the calling thread, whose policy and niceness stay as they are.
pub(crate) fn set_slice(slice: Nanos) -> io::Result<()> {
    const NO_FLAGS: libc::c_uint = 0;
    let size = size_of::<libc::sched_attr>() as libc::c_uint;
    // SAFETY: a sched_attr is plain numbers, for which zeros are valid.
    let mut attributes: libc::sched_attr = unsafe { mem::zeroed() };
    // SAFETY: `attributes` is live and writable for the length of the call, and as long as said.
    let result = unsafe { libc::syscall(libc::SYS_sched_getattr, THIS_THREAD, &raw mut attributes, size, NO_FLAGS) };
    check(result as c_int)?;
    attributes.sched_runtime = slice.0;
    // SAFETY: `attributes` outlives the call; the kernel only reads it.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, THIS_THREAD, &raw const attributes, NO_FLAGS) } as c_int)
}

/// Locks all memory of the process, present and future.
pub(crate) fn lock_memory() -> io::Result<()> {
    // SAFETY: mlockall takes no pointer, and changes no memory.
    check(unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) })
}

#[cfg(test)]
pub(crate) fn unlock_memory() -> io::Result<()> {
    // SAFETY: munlockall takes no pointer, and changes no memory.
    check(unsafe { libc::munlockall() })
}

/// The lock of the whole file of an open file description (`F_OFD_SETLK`).
fn whole_file_lock() -> libc::flock {
    // SAFETY: a flock is plain numbers, for which zeros are valid: from the beginning, to the end, however long it gets.
    let mut lock: libc::flock = unsafe { mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock
}

/// Takes the write lock of a file's open file description; `false` when another one has it.
pub(crate) fn lock(fd: RawFd) -> io::Result<bool> {
    let lock = whole_file_lock();
    // SAFETY: `lock` outlives the call; the kernel only reads it.
    match check(unsafe { libc::fcntl(fd, libc::F_OFD_SETLK, &raw const lock) }) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether another open file description has a lock that stands in the way of a write lock.
pub(crate) fn is_locked(fd: RawFd) -> io::Result<bool> {
    let mut lock = whole_file_lock();
    // SAFETY: `lock` is live and writable for the length of the call.
    check(unsafe { libc::fcntl(fd, libc::F_OFD_GETLK, &raw mut lock) })?;
    Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
}

/// Gives a file room for so many bytes, and that length.
pub(crate) fn allocate(fd: RawFd, bytes: usize) -> io::Result<()> {
    let bytes = libc::off_t::try_from(bytes).map_err(|_| io::ErrorKind::FileTooLarge)?;
    // SAFETY: posix_fallocate takes no pointer.
    match unsafe { libc::posix_fallocate(fd, 0, bytes) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}
