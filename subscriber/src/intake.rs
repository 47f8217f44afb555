//! How datagrams are taken from a line's socket: one by one, or together when they come faster than that.
//!
//! A plain receive is the quickest way to a single datagram. Behind some in a row the line is taken for busy: then each call
//! brings what is there, and the kernel hands over as one buffer what was sent as one. When nothing of that kind has come for a
//! while, it is back to single ones.

use seqcast_recovery::Nanos;
use seqcast_transport::{Inbox, Place, set_coalescing};
use std::io;
use std::net::SocketAddrV4;
use std::os::fd::RawFd;

/// A line is busy behind so many datagrams without a break: more than an answer, or the other packets of a burst, explain.
const BUSY_AFTER: u32 = 16;

/// It is no more when several datagrams have not come together for so long. Switching back and forth costs two system calls
/// each, so less than a thousandth of the time.
const QUIET_AFTER: Nanos = Nanos::from_millis(1);

/// How a socket's datagrams are taken at present.
#[derive(Clone, Copy, Debug)]
enum Taking {
    Singly {
        in_a_row: u32,
    },
    Together {
        /// When several came last.
        several_at: Nanos,
    },
    /// Until the socket has been empty: what waits there may still be joined.
    TogetherYet,
}

/// The way from a line's socket to its inbox.
#[derive(Debug)]
pub(crate) struct Intake {
    taking: Taking,
    /// Whether the kernel may join datagrams.
    coalesces: bool,
}

impl Intake {
    /// `coalescing` asks for joined datagrams, which not every kernel has.
    pub(crate) fn new(fd: RawFd, coalescing: bool) -> Self {
        // The first time changes code of the kernel, which is best done now.
        let coalesces = coalescing && set_coalescing(fd, true).and_then(|()| set_coalescing(fd, false)).is_ok();
        Self { taking: Taking::Singly { in_a_row: 0 }, coalesces }
    }

    /// Takes the next datagram; `receive` is the socket's way to receive one, and to tell its length and, if that matters,
    /// its sender. Those that come together tell it in any case.
    #[inline]
    pub(crate) fn next(
        &mut self,
        now: Nanos,
        fd: RawFd,
        inbox: &mut Inbox,
        receive: impl Fn(&mut [u8]) -> io::Result<Option<(usize, Option<SocketAddrV4>)>>,
    ) -> io::Result<Option<(Place, Option<SocketAddrV4>)>> {
        let Taking::Singly { in_a_row } = &mut self.taking else {
            return Ok(self.next_together(now, fd, inbox)?.map(|place| (place, Some(inbox.sender()))));
        };
        let Some((length, sender)) = receive(inbox.spare())? else {
            *in_a_row = 0;
            return Ok(None);
        };
        *in_a_row += 1;
        if *in_a_row == BUSY_AFTER {
            self.taking = Taking::Together { several_at: now };
            self.coalesce(fd, true);
        }
        Ok(Some((inbox.spare_place(length), sender)))
    }

    fn next_together(&mut self, now: Nanos, fd: RawFd, inbox: &mut Inbox) -> io::Result<Option<Place>> {
        if let Some(place) = inbox.pop() {
            return Ok(Some(place));
        }
        let has_come = inbox.fill(fd)?;
        match &mut self.taking {
            Taking::Together { several_at } if inbox.holds_several() => *several_at = now,
            Taking::Together { several_at } if !has_come && now - *several_at > QUIET_AFTER => {
                self.taking = Taking::TogetherYet;
                self.coalesce(fd, false);
            }
            Taking::TogetherYet if !has_come => self.taking = Taking::Singly { in_a_row: 0 },
            _ => {}
        }
        Ok(inbox.pop())
    }

    /// An error changes nothing but the number of system calls.
    #[cold]
    fn coalesce(&self, fd: RawFd, coalesces: bool) {
        if self.coalesces {
            let _ = set_coalescing(fd, coalesces);
        }
    }
}
