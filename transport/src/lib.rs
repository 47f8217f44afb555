//! What the publisher and the subscriber both need of the machine: sockets, interfaces, the clock, pinning, priority,
//! idling, waking.
//!
//! Linux and IPv4 only. Nothing here knows the wire format or decides anything. Every socket is non-blocking, never
//! lets a datagram be fragmented by IP, and reads back each option that a kernel could silently ignore. All system
//! calls that the standard library and `socket2` do not offer are in `sys`, `messages`, `arrival`, `enumeration`, `ethtool` and
//! `mapping`, the only unsafe code.

#![deny(unsafe_code)]

mod address;
mod address_error;
#[expect(unsafe_code, reason = "recvmsg takes raw pointers")]
mod arrival;
mod buffer;
mod clock;
mod connected;
mod drops;
#[expect(unsafe_code, reason = "getifaddrs hands out raw pointers")]
mod enumeration;
#[expect(unsafe_code, reason = "ioctl takes raw pointers")]
mod ethtool;
mod idle;
mod igmp;
mod inbox;
mod interface;
#[expect(unsafe_code, reason = "mapped memory is a raw pointer")]
mod mapping;
mod memory;
#[expect(unsafe_code, reason = "system calls that no safe interface offers")]
mod messages;
mod offload;
mod opening;
mod pin;
mod priority;
mod receiver;
mod sender;
mod shared_file;
mod socket_error;
#[expect(unsafe_code, reason = "system calls that no safe interface offers")]
mod sys;
mod ticker;
mod unicast;
mod unicast_sender;
mod wait;
mod waker;

pub use address::{LineAddress, MAX_UNICAST_ADDRESSES, MulticastAddress, UnicastAddresses};
pub use address_error::AddressError;
pub use arrival::{Arrival, StampedReceiver};
pub use buffer::BufferGrant;
pub use clock::Clock;
pub use connected::ConnectedSocket;
pub use drops::kernel_drops;
pub use ethtool::{Coalescing, Ethtool, ReceiveRing, Stamps};
pub use idle::{Idle, IdleStrategy, UnknownIdleStrategy};
pub use igmp::{IgmpListener, IgmpQuery};
pub use inbox::{Inbox, Place};
pub use interface::{Interface, InterfaceError};
pub use mapping::Mapping;
pub use memory::{LockError, lock_memory};
pub use offload::{BusyPollError, can_segment, is_busy_polled, set_busy_poll, set_coalescing, set_timestamps};
pub use pin::{PinError, pin_to_core};
pub use priority::{PriorityError, set_fifo_priority, set_short_slice};
pub use receiver::MulticastReceiver;
pub use sender::MulticastSender;
pub use shared_file::SharedFile;
pub use socket_error::SocketError;
pub use ticker::Ticker;
pub use unicast::UnicastSocket;
pub use unicast_sender::UnicastSender;
pub use wait::{WAIT_LIMIT, wait_readable};
pub use waker::Waker;

/// Bytes of a receive buffer that no datagram can overflow: an IPv4 UDP payload is at most 65,507 bytes.
pub const DATAGRAM_BUFFER_BYTES: usize = 65_536;

#[cfg(test)]
mod testing;
