//! How datagrams are taken from a line's socket: one by one, or together when they come faster than that.
//!
//! A plain receive is the quickest way to a single datagram. Behind some in a row the line is taken for busy: then each call
//! brings what is there, and the kernel hands over as one buffer what was sent as one. When nothing of that kind has come for a
//! while, it is back to single ones.

use seqcast_protocol::Packet;
use seqcast_recovery::Nanos;
use seqcast_transport::{Inbox, Place, set_coalescing, set_timestamps};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::RawFd;

/// A line is busy behind so many datagrams without a break: more than an answer, or the other packets of a burst, explain.
pub(crate) const BUSY_LINE: u32 = 16;

/// Likewise a request address, whose answers come together when there is much to repair.
pub(crate) const BUSY_ADDRESS: u32 = 4;

/// It is no more when so many have not come without a break for so long: a thousand times what it takes to switch and to switch
/// back.
const QUIET_AFTER: Nanos = Nanos::from_millis(1);

/// How many times longer that has to be when it was too short before. Arbitrary: 1 ms, 100 ms, 10 s.
const LONGER: u64 = 100;

/// The longest that it comes to, and how long it is remembered that it was too short. Arbitrary, so long that whoever is kept from
/// its core now and then, or hears a burst now and then, hardly ever switches; a single datagram takes little longer meanwhile.
const LONGEST_QUIET: Nanos = Nanos::from_secs(10);

/// How long the kernel may take from asking whether to join to laying down what it has joined; arbitrary, a hundred times what it
/// takes unless something interrupts it.
const SETTLES_AFTER: Nanos = Nanos::from_micros(100);

/// How a socket's datagrams are taken at present.
#[derive(Clone, Copy, Debug)]
enum Taking {
    Singly,
    Together {
        /// When the line was busy last.
        busy_at: Nanos,
    },
    /// Singly again, but the kernel may have joined datagrams before it was told not to, and says no more where.
    Leaving {
        since: Nanos,
    },
}

/// The sender where nobody asks for it.
const UNTOLD: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);

/// The way from a line's socket to its inbox.
#[derive(Debug)]
pub(crate) struct Intake {
    taking: Taking,
    /// How many datagrams came since it was looked for one in vain.
    in_a_row: u32,
    /// So many datagrams without a break are a reason to take them together.
    busy_after: u32,
    /// For how long it must not have been busy, so that they are taken singly again.
    quiet_after: Nanos,
    /// When they were taken together last.
    left_at: Nanos,
    /// Whether the kernel may join datagrams.
    coalesces: bool,
    /// Whether it tells when it took them in, which a plain receive does not say.
    tells_times: bool,
}

impl Intake {
    /// `coalescing` asks for joined datagrams, which not every kernel has; `tells_times` for the times at which they came.
    pub(crate) fn open(fd: RawFd, busy_after: u32, coalescing: bool, tells_times: bool) -> io::Result<Self> {
        if tells_times {
            set_timestamps(fd, true)?;
        }
        // The first time changes code of the kernel, which is best done now.
        let coalesces = coalescing && set_coalescing(fd, true).and_then(|()| set_coalescing(fd, false)).is_ok();
        let (quiet_after, left_at) = (Nanos::ZERO, Nanos::ZERO);
        let taking = Taking::Leaving { since: Nanos::ZERO };
        let mut intake = Self { taking, in_a_row: 0, busy_after, quiet_after, left_at, coalesces, tells_times };
        if tells_times {
            intake.join(Nanos::ZERO, fd);
        }
        Ok(intake)
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
        if let Some(place) = inbox.pop() {
            self.in_a_row = self.in_a_row.saturating_add(1);
            return Ok(Some((place, Some(inbox.sender()))));
        }
        if let Taking::Together { busy_at } = self.taking {
            return self.next_together(now, busy_at, fd, inbox);
        }
        let Some((length, sender)) = receive(inbox.spare())? else {
            self.in_a_row = 0;
            if let Taking::Leaving { since } = self.taking
                && now - since > SETTLES_AFTER
            {
                self.taking = Taking::Singly;
            }
            return Ok(None);
        };
        self.in_a_row += 1;
        let is_leaving = matches!(self.taking, Taking::Leaving { .. });
        if self.in_a_row >= self.busy_after {
            self.join(now, fd);
        }
        if is_leaving && let Some(packet_bytes) = joined(&inbox.spare()[..length]) {
            inbox.take_apart(length, packet_bytes, sender.unwrap_or(UNTOLD));
            return Ok(inbox.pop().map(|place| (place, Some(inbox.sender()))));
        }
        Ok(Some((inbox.spare_place(length), sender)))
    }

    fn next_together(
        &mut self,
        now: Nanos,
        busy_at: Nanos,
        fd: RawFd,
        inbox: &mut Inbox,
    ) -> io::Result<Option<(Place, Option<SocketAddrV4>)>> {
        let busy_at = if self.in_a_row < self.busy_after { busy_at } else { now };
        self.taking = Taking::Together { busy_at };
        if inbox.fill(fd)? {
            self.in_a_row = self.in_a_row.saturating_add(1);
        } else {
            self.in_a_row = 0;
            if !self.tells_times && now - busy_at > self.quiet_after {
                self.leave(now, fd);
            }
        }
        Ok(inbox.pop().map(|place| (place, Some(inbox.sender()))))
    }

    #[cold]
    fn join(&mut self, now: Nanos, fd: RawFd) {
        let before = if now - self.left_at > LONGEST_QUIET { 0 } else { self.quiet_after.0 };
        self.quiet_after = Nanos(before * LONGER).clamp(QUIET_AFTER, LONGEST_QUIET);
        self.taking = Taking::Together { busy_at: now };
        if self.coalesces {
            // An error changes nothing but the number of system calls.
            let _ = set_coalescing(fd, true);
        }
    }

    #[cold]
    fn leave(&mut self, now: Nanos, fd: RawFd) {
        self.left_at = now;
        if !self.coalesces || set_coalescing(fd, false).is_ok() {
            self.taking = Taking::Leaving { since: now };
        }
    }
}

/// The length of each packet but the last, if these bytes are several of one length one behind the other.
#[cold]
fn joined(bytes: &[u8]) -> Option<usize> {
    let (_, rest) = Packet::split_first(bytes).ok().filter(|(_, rest)| !rest.is_empty())?;
    let packet_bytes = bytes.len() - rest.len();
    bytes.chunks(packet_bytes).all(|packet| Packet::parse(packet).is_ok()).then_some(packet_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use seqcast_protocol::{Header, SessionId};
    use seqcast_recovery::Run;
    use seqcast_transport::{Interface, LineAddress, MulticastReceiver, MulticastSender};
    use std::os::fd::AsRawFd;

    struct Line {
        sender: MulticastSender,
        receiver: MulticastReceiver,
        intake: Intake,
        inbox: Inbox,
    }

    impl Line {
        fn open() -> Self {
            let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let LineAddress::Multicast(group) = format!("239.255.78.121:{port}").parse().unwrap() else {
                unreachable!()
            };
            let interface = Interface::resolve("127.0.0.1").unwrap();
            let receiver = MulticastReceiver::open(&group, &interface, Some(1 << 20)).unwrap();
            let sender = MulticastSender::open(&group, &interface, 1, None).unwrap();
            let intake = Intake::open(receiver.as_raw_fd(), BUSY_LINE, true, false).unwrap();
            let mut line = Self { sender, receiver, intake, inbox: Inbox::several() };
            assert_eq!(line.take(MILLI), []);
            assert!(line.takes_singly());
            line
        }

        /// The lengths of the datagrams that have come.
        fn take(&mut self, now: Nanos) -> Vec<usize> {
            let Self { receiver, intake, inbox, .. } = self;
            let receive = |buffer: &mut [u8]| Ok(receiver.recv(buffer)?.map(|length| (length, None)));
            let mut lengths = Vec::new();
            while let Some((place, _)) = intake.next(now, receiver.as_raw_fd(), inbox, receive).unwrap() {
                lengths.push(inbox.datagram(place).len());
            }
            lengths
        }

        fn send(&self, run: Run<'_>) {
            assert_eq!(self.sender.send_runs(&[run]).unwrap(), 1);
        }

        fn takes_singly(&self) -> bool {
            matches!(self.intake.taking, Taking::Singly)
        }
    }

    const MILLI: Nanos = Nanos::from_millis(1);
    const MICRO: Nanos = Nanos::from_micros(1);
    const NANO: Nanos = Nanos(1);

    #[test]
    fn a_burst_is_taken_singly_and_many_without_a_break_together() {
        let mut line = Line::open();
        let bytes = [7; 1_500];
        for _ in 0..3 {
            line.send(Run::new(&bytes, 100));
            assert_eq!(line.take(MILLI), [100; 15]);
            assert!(line.takes_singly());
        }
        line.send(Run::new(&bytes, 100));
        line.send(Run::new(&bytes, 100));
        assert_eq!(line.take(MILLI), [100; 30]);
        assert!(!line.takes_singly());
        for _ in 0..3 {
            // An empty datagram is one, too.
            line.send(Run::new(&bytes, 400));
            line.sender.send(&[]).unwrap();
            line.send(Run::new(&bytes, 500));
            assert_eq!(line.take(MILLI), [400, 400, 400, 300, 0, 500, 500, 500]);
        }
    }

    #[test]
    fn behind_a_quiet_time_they_are_taken_singly_again_and_none_is_left_joined() {
        let mut line = Line::open();
        let bytes = [7; 2_000];
        line.send(Run::new(&bytes, 100));
        assert_eq!(line.take(MILLI), [100; 20]);
        line.send(Run::new(&bytes, 100));
        let mut now = MILLI + MILLI;
        assert_eq!(line.take(now), [100; 20]);
        line.send(Run::new(&bytes, 400));
        assert_eq!(line.take(now + MICRO), [400; 5], "too few to be busy");
        now = now + QUIET_AFTER;
        assert_eq!(line.take(now), []);
        assert!(matches!(line.intake.taking, Taking::Together { .. }), "not behind the time, but beyond it");
        now = now + NANO;
        assert_eq!(line.take(now), []);
        assert!(matches!(line.intake.taking, Taking::Leaving { .. }));
        let packets = Header::heartbeat(SessionId::UNKNOWN, 1).to_bytes().repeat(3);
        for (bytes, packet_bytes, taken) in [(&packets[..], 20, &[20, 20, 20][..]), (&bytes, 700, &[2_000])] {
            // As what the kernel was laying down when it was told to join no more.
            set_coalescing(line.receiver.as_raw_fd(), true).unwrap();
            line.send(Run::new(bytes, packet_bytes));
            set_coalescing(line.receiver.as_raw_fd(), false).unwrap();
            assert_eq!(line.take(now + SETTLES_AFTER), taken, "only packets tell where they end");
        }
        assert!(!line.takes_singly());
        assert_eq!(line.take(now + SETTLES_AFTER + NANO), []);
        assert!(line.takes_singly());
        line.send(Run::new(&bytes, 700));
        assert_eq!(line.take(now), [700, 700, 600]);
    }

    #[test]
    fn a_line_that_is_not_busy_is_taken_singly_again_however_little_it_rests() {
        let mut line = Line::open();
        line.send(Run::new(&[7; 1_600], 100));
        assert_eq!(line.take(MILLI), [100; 16]);
        assert!(!line.takes_singly());
        let end = MILLI + QUIET_AFTER + SETTLES_AFTER + MICRO + MICRO;
        let mut now = MILLI;
        while now < end {
            now = now + MICRO;
            line.sender.send(b"tick").unwrap();
            assert_eq!(line.take(now), [4]);
        }
        assert!(line.takes_singly());
    }

    #[test]
    fn a_quiet_time_that_was_too_short_is_longer_the_next_time_until_that_is_long_ago() {
        let mut line = Line::open();
        let mut now = MILLI;
        let mut stay = |pause: Nanos| {
            now = now + pause;
            line.send(Run::new(&[7; 1_600], 100));
            assert_eq!(line.take(now), [100; 16]);
            let quiet_after = line.intake.quiet_after;
            assert_eq!(line.take(now + quiet_after), []);
            assert!(matches!(line.intake.taking, Taking::Together { .. }));
            now = now + quiet_after + NANO;
            assert_eq!(line.take(now), []);
            assert_eq!(line.take(now + SETTLES_AFTER + NANO), []);
            assert!(line.takes_singly());
            quiet_after
        };
        let longer = Nanos(QUIET_AFTER.0 * LONGER);
        assert_eq!([MILLI; 4].map(&mut stay), [QUIET_AFTER, longer, LONGEST_QUIET, LONGEST_QUIET]);
        assert_eq!([LONGEST_QUIET, LONGEST_QUIET + NANO].map(stay), [LONGEST_QUIET, QUIET_AFTER]);
    }
}
