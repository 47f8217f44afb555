//! Where datagrams are received into: one at a time, or what one system call brings.

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::RawFd;

use seqcast_recovery::Nanos;

use crate::DATAGRAM_BUFFER_BYTES;
use crate::messages::{self, MESSAGES, Slot};
use crate::opening::received;

/// The distance of the slots: a datagram, and so much more that slots do not share the sets of a cache.
const STRIDE: usize = DATAGRAM_BUFFER_BYTES + 24 * 64;

/// About how many bytes a call should bring: what stays in a first or second level cache until it has been looked at.
const BYTES_PER_CALL: usize = 65_536;

/// Where in an [`Inbox`] a datagram lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    start: usize,
    length: usize,
}

/// The room for datagrams, and which of them have not been taken out.
///
/// Invariant: `slot <= count`; behind the last slot that a call fills lies one for a datagram that comes from elsewhere.
#[derive(Debug)]
pub struct Inbox {
    bytes: Box<[u8]>,
    slots: [Slot; MESSAGES],
    /// How many slots are filled.
    count: usize,
    /// The slot that is being taken out, and where in it the next datagram begins.
    slot: usize,
    offset: usize,
    /// How many slots the next call fills at the most: one as long as datagrams come singly, for it takes the kernel some 0.2 µs
    /// to find no second one.
    wanted: usize,
    /// How many slots were filled since a call filled none.
    in_a_row: usize,
    popped: Slot,
}

impl Inbox {
    /// Reserves and touches the room for what a system call brings: 590 KiB.
    #[must_use]
    pub fn several() -> Self {
        Self::with_slots(MESSAGES + 1)
    }

    /// Reserves and touches the room for one datagram, [`Self::spare`]; [`Self::fill`] brings none.
    #[must_use]
    pub fn single() -> Self {
        Self::with_slots(1)
    }

    fn with_slots(slots: usize) -> Self {
        Self {
            // A value other than zero, so that the pages are touched now.
            bytes: vec![1; slots * STRIDE].into_boxed_slice(),
            slots: [Slot::EMPTY; MESSAGES],
            count: 0,
            slot: 0,
            offset: 0,
            wanted: 1,
            in_a_row: 0,
            popped: Slot::EMPTY,
        }
    }

    /// Room for one datagram that comes from elsewhere; what has not been taken out stays.
    #[inline]
    pub fn spare(&mut self) -> &mut [u8] {
        let start = self.bytes.len() - STRIDE;
        &mut self.bytes[start..start + DATAGRAM_BUFFER_BYTES]
    }

    /// Where a datagram of this length lies that was put into [`Self::spare`].
    #[inline]
    #[must_use]
    pub fn spare_place(&self, length: usize) -> Place {
        Place { start: self.bytes.len() - STRIDE, length }
    }

    /// The datagram at this place.
    #[inline]
    #[must_use]
    pub fn datagram(&self, place: Place) -> &[u8] {
        &self.bytes[place.start..place.start + place.length]
    }

    /// Takes apart what was put into [`Self::spare`]: `length` bytes of datagrams of `datagram_bytes` each but the last, 1 at the
    /// least, from this sender. There must be none left to take out.
    pub fn take_apart(&mut self, length: usize, datagram_bytes: usize, sender: SocketAddrV4) {
        let Place { start, .. } = self.spare_place(length);
        // What is put there next would overwrite them.
        self.bytes.copy_within(start..start + length, 0);
        self.slots[0] = Slot { length, datagram_bytes, sender, ..Slot::EMPTY };
        (self.count, self.slot, self.offset) = (1, 0, 0);
    }

    /// Takes the next datagram out, if there is one.
    #[inline]
    pub fn pop(&mut self) -> Option<Place> {
        if self.slot == self.count {
            return None;
        }
        self.popped = self.slots[self.slot];
        let Slot { length, datagram_bytes, .. } = self.popped;
        let place = Place { start: self.slot * STRIDE + self.offset, length: datagram_bytes.min(length - self.offset) };
        self.offset += place.length;
        if self.offset == length {
            (self.slot, self.offset) = (self.slot + 1, 0);
        }
        Some(place)
    }

    /// Whether a datagram has not been taken out.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.slot == self.count
    }

    /// Whence the datagram came that was popped last.
    #[must_use]
    pub const fn sender(&self) -> SocketAddrV4 {
        self.popped.sender
    }

    /// When the kernel took in the datagram that was popped last, by the system's clock since 1970, if it was asked to tell.
    #[must_use]
    pub const fn received_at(&self) -> Option<Nanos> {
        self.popped.received_at
    }

    /// Receives from a socket what is there: up to 8 datagrams, or buffers of several that arrived together, as far as they
    /// stay in cache; one alone where they come singly. Returns whether anything came. It never waits; what was not popped is forgotten.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error, such as `ENETDOWN` when the interface went down.
    pub fn fill(&mut self, fd: RawFd) -> io::Result<bool> {
        (self.count, self.slot, self.offset) = (0, 0, 0);
        let most = self.bytes.len() / STRIDE - 1;
        let wanted = self.wanted.min(most);
        let (bytes, slots, layout) = (&mut self.bytes, &mut self.slots[..wanted], (STRIDE, DATAGRAM_BUFFER_BYTES));
        self.count = received(|| messages::receive(fd, bytes, layout, slots))?.unwrap_or(0);
        if self.count > 0 {
            self.in_a_row += self.count;
            let bytes: usize = self.slots[..self.count].iter().map(|slot| slot.length).sum();
            self.wanted = (BYTES_PER_CALL * self.count / bytes.max(1)).clamp(1, MESSAGES);
        } else if std::mem::take(&mut self.in_a_row) == 1 {
            self.wanted = 1;
        }
        Ok(self.count > 0)
    }

    /// Whether the last call brought as many messages as one can: there are likely to be more.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.count == MESSAGES
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use seqcast_recovery::{Nanos, Run};

    use super::*;
    use crate::testing::{group, loopback};
    use crate::{Clock, MulticastReceiver, MulticastSender, set_coalescing, set_timestamps, wait_readable};

    fn popped(inbox: &mut Inbox) -> Vec<Vec<u8>> {
        let mut datagrams = Vec::new();
        while let Some(place) = inbox.pop() {
            datagrams.push(inbox.datagram(place).to_vec());
        }
        datagrams
    }

    /// Fills until `count` datagrams were popped; returns them, and how many calls brought some.
    fn take(receiver: &MulticastReceiver, inbox: &mut Inbox, count: usize) -> (Vec<Vec<u8>>, usize) {
        let (mut taken, mut calls) = (Vec::new(), 0);
        while taken.len() < count {
            assert!(wait_readable(&[receiver.as_raw_fd()], Some(Nanos::from_secs(5))).unwrap(), "{taken:?}");
            calls += usize::from(inbox.fill(receiver.as_raw_fd()).unwrap());
            taken.extend(popped(inbox));
        }
        assert!(!inbox.fill(receiver.as_raw_fd()).unwrap() && inbox.is_empty());
        (taken, calls)
    }

    #[test]
    fn datagrams_of_any_length_come_one_by_one_and_in_order() {
        let address = group(71);
        let receiver = MulticastReceiver::open(&address, &loopback(), Some(1 << 20)).unwrap();
        let sender = MulticastSender::open(&address, &loopback(), 1, None).unwrap();
        let sent: Vec<Vec<u8>> = (0..40usize).map(|number| vec![number as u8; number * 37 % 1_500]).collect();
        sent.iter().for_each(|datagram| sender.send(datagram).unwrap());
        let (taken, calls) = take(&receiver, &mut Inbox::several(), sent.len());
        assert_eq!(taken, sent);
        assert_eq!(calls, 6, "one, and then 8 at a time");
    }

    #[test]
    fn what_is_sent_as_one_run_is_taken_apart_where_it_was_joined() {
        let address = group(72);
        let receiver = MulticastReceiver::open(&address, &loopback(), Some(1 << 20)).unwrap();
        let sender = MulticastSender::open(&address, &loopback(), 1, None).unwrap();
        let bytes: Vec<u8> = (0..6_400u32).map(|index| (index / 150) as u8).collect();
        let run = Run::new(&bytes, 150);
        for coalesces in [false, true] {
            set_coalescing(receiver.as_raw_fd(), coalesces).unwrap();
            assert_eq!(sender.send_runs(&[run, run]).unwrap(), 2);
            let (taken, calls) = take(&receiver, &mut Inbox::several(), 2 * run.count());
            let sent: Vec<_> = run.packets().chain(run.packets()).collect();
            assert_eq!(taken, sent);
            assert_eq!(calls == 2, coalesces, "{calls} calls, where one of the two comes first");
        }
    }

    #[test]
    fn the_time_and_the_sender_are_told() {
        let address = group(73);
        let receiver = MulticastReceiver::open(&address, &loopback(), None).unwrap();
        set_timestamps(receiver.as_raw_fd(), true).unwrap();
        let sender = MulticastSender::open(&address, &loopback(), 1, None).unwrap();
        let mut inbox = Inbox::several();
        let before = Clock::unix_micros();
        sender.send(b"tick").unwrap();
        take(&receiver, &mut inbox, 1);
        let at = inbox.received_at().unwrap();
        assert!(before <= at.0 / 1_000 && at.0 / 1_000 <= Clock::unix_micros(), "{before:?} {at:?}");
        assert_eq!(inbox.sender(), sender.local_address().unwrap());
    }

    #[test]
    fn what_came_from_elsewhere_is_taken_apart_and_stays_when_more_comes() {
        let mut inbox = Inbox::several();
        let sender = SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 9);
        inbox.spare()[..5].copy_from_slice(b"aabbc");
        inbox.take_apart(5, 2, sender);
        inbox.spare()[..5].fill(7);
        assert_eq!(popped(&mut inbox), [&b"aa"[..], b"bb", b"c"]);
        assert_eq!(inbox.sender(), sender);
    }

    #[test]
    fn the_spare_room_leaves_alone_what_was_not_popped() {
        let address = group(74);
        let receiver = MulticastReceiver::open(&address, &loopback(), None).unwrap();
        let sender = MulticastSender::open(&address, &loopback(), 1, None).unwrap();
        let mut inbox = Inbox::several();
        (0..3).for_each(|number| sender.send(&[number; 9]).unwrap());
        assert!(inbox.fill(receiver.as_raw_fd()).unwrap());
        assert_eq!(popped(&mut inbox), [[0; 9]]);
        assert!(inbox.fill(receiver.as_raw_fd()).unwrap());
        inbox.spare().fill(99);
        let place = inbox.spare_place(3);
        assert_eq!(inbox.datagram(place), [99; 3]);
        assert_eq!(popped(&mut inbox), [[1; 9], [2; 9]]);
    }
}
