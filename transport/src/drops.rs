//! The kernel's own count of datagrams that a socket lost.

use std::os::fd::RawFd;

use crate::sys;

/// Reads how many datagrams the kernel dropped on this socket since it was opened, most often for want of receive
/// buffer; wraps at 2³². A segmented batch may count as one.
///
/// One system call, and none on the receiving path: it is asked when a gap shows. `None` when `fd` is no socket, or
/// the kernel (before 4.12) does not count.
#[must_use]
pub fn kernel_drops(fd: RawFd) -> Option<u32> {
    sys::drop_count(fd).ok().flatten()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::testing::{group, loopback, next_datagram};
    use crate::{MulticastReceiver, MulticastSender};

    #[test]
    fn what_overflows_the_receive_buffer_is_counted() {
        let address = group(31);
        let receiver = MulticastReceiver::open(&address, &loopback(), Some(16_384)).unwrap();
        let sender = MulticastSender::open(&address, &loopback(), 1, None).unwrap();
        assert_eq!(kernel_drops(receiver.as_raw_fd()), Some(0));
        let sent = 500;
        for _ in 0..sent {
            sender.send(&[0; 1_400]).unwrap();
        }
        let heard = std::iter::from_fn(|| next_datagram(&receiver)).count();
        let dropped = kernel_drops(receiver.as_raw_fd()).unwrap();
        assert!(dropped > 0);
        assert_eq!(heard + dropped as usize, sent);
    }

    #[test]
    fn what_is_no_socket_has_no_count() {
        assert_eq!(kernel_drops(-1), None);
    }
}
