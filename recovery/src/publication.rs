//! One publisher's side of one session: messages become packets in a staging buffer, packets are retained, then sent.
//!
//! The staging buffer is at most one send long (64 KiB), so that it stays in cache; what is in it is not part of the
//! session yet. [`Publication::flush`] stores it in the retained ring and then hands it out.

use crate::ring::sync::AtomicU64;
use crate::{MAX_RUN_BYTES, MAX_RUN_PACKETS, RingWriter, Run};
use alloc::{boxed::Box, vec, vec::Vec};
use core::fmt;
use core::ops::{Deref, DerefMut};
use seqcast_protocol::{HEADER_BYTES, Header, LENGTH_BYTES, MAX_MESSAGES, SequenceNumber, SequenceRange, SessionId};

/// A packet is full before it has more messages than one can have.
const _: () = assert!(MAX_DATAGRAM_BYTES / LENGTH_BYTES <= MAX_MESSAGES as usize);

/// The longest UDP payload over IPv4, in bytes: 65,535 − 20 − 8.
pub const MAX_DATAGRAM_BYTES: usize = 65_507;

/// The shortest limit of a datagram: a header and one message of 42 bytes. Arbitrary.
pub const MIN_DATAGRAM_BYTES: usize = 64;

/// The length of the staging buffer: one send of the longest packet, and the space of the next one's header behind it.
const STAGING_BYTES: usize = MAX_DATAGRAM_BYTES + HEADER_BYTES;

/// The most runs that are handed out at once: a system call for 8 is hardly dearer than its eighth of a call for one, and a
/// second line, which has its turn behind the first, is no further behind than that.
const RUNS: usize = 8;

/// Why there is no space for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimError {
    /// The message does not fit into a packet of its own.
    TooLong {
        /// Its length in bytes.
        bytes: usize,
        /// The longest that fits.
        limit: usize,
    },
    /// The staging buffer is full: flush first.
    Full,
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes, limit } => {
                write!(
                    f,
                    "a message of {bytes} bytes does not fit into a packet, the longest is {limit} (max_datagram)"
                )
            }
            Self::Full => f.write_str("the staging buffer is full, flush first"),
        }
    }
}

impl core::error::Error for ClaimError {}

/// The state machine of a publisher: numbering, packing, retaining.
///
/// Invariants: `staging[..open_start]` is whole packets, described by `sealed`; behind it lies the packet being filled, a
/// header's space and `open_count` blocks, up to `used`. `open_limit <= max_datagram`.
#[derive(Debug)]
pub struct Publication<M> {
    ring: RingWriter<M>,
    max_datagram: usize,
    /// The most packets of a run; 1 keeps each to itself.
    run_packets: usize,
    staging: Box<[u8]>,
    sealed: Vec<Sealed>,
    /// The run that the last sealed packet belongs to.
    run: OpenRun,
    /// The longest that the packet being filled becomes, if its first message is no longer than that: as long as the run, while
    /// it may join one, for a shorter packet would be its last, and a longer one begins another.
    open_limit: usize,
    /// Up to where its messages may go: that limit, or nowhere when there is no room for it ([`Publication::has_room_at`]).
    open_end: usize,
    open_start: usize,
    open_count: u16,
    used: usize,
    /// The number of the first message of the packet being filled.
    open_first: SequenceNumber,
}

/// A packet that waits in the staging buffer.
#[derive(Clone, Copy, Debug)]
struct Sealed {
    end: usize,
    count: u16,
    /// Whether a run begins with it.
    leads: bool,
}

/// What the next packet needs for joining the run: a length of at most `packet_bytes`, and that `room` is left.
#[derive(Clone, Copy, Debug)]
struct OpenRun {
    packet_bytes: usize,
    room: usize,
}

impl<M: AsRef<[AtomicU64]>> Publication<M> {
    /// Goes on where `ring` ends, in packets of at most `max_datagram` bytes, `64..=65507`; a limit outside is moved in.
    ///
    /// # Panics
    ///
    /// When the ring was made for smaller packets, or has ended.
    #[must_use]
    pub fn new(ring: RingWriter<M>, max_datagram: usize) -> Self {
        let max_datagram = max_datagram.clamp(MIN_DATAGRAM_BYTES, MAX_DATAGRAM_BYTES);
        let max_blocks_bytes = max_datagram - HEADER_BYTES;
        assert!(max_blocks_bytes <= ring.size().max_blocks_bytes, "the ring is made for smaller packets");
        Self {
            max_datagram,
            run_packets: MAX_RUN_PACKETS,
            // A value other than zero, so that the pages are touched now.
            staging: vec![1; STAGING_BYTES].into_boxed_slice(),
            sealed: touched(STAGING_BYTES / (HEADER_BYTES + LENGTH_BYTES), Sealed { end: 1, count: 1, leads: true }),
            run: OpenRun { packet_bytes: 0, room: 0 },
            open_limit: max_datagram,
            open_end: max_datagram,
            open_start: 0,
            open_count: 0,
            used: HEADER_BYTES,
            open_first: ring.next(),
            ring,
        }
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.ring.session()
    }

    /// The ring that retains what was flushed.
    #[must_use]
    pub fn ring(&self) -> &RingWriter<M> {
        &self.ring
    }

    /// The number that the next committed message will have.
    #[must_use]
    pub fn next(&self) -> SequenceNumber {
        self.open_first + u64::from(self.open_count)
    }

    /// How many packets may leave as one run, `1..=64`; with more than one, packets are filled so that they fit into runs. A
    /// number outside is moved in.
    pub fn set_run_packets(&mut self, packets: usize) {
        self.run_packets = packets.clamp(1, MAX_RUN_PACKETS);
        self.run.room = self.run.room.min(self.run_packets - 1);
        self.limit_open(self.limit());
    }

    /// The longest message, in bytes.
    #[must_use]
    pub fn max_message_bytes(&self) -> usize {
        self.max_datagram - HEADER_BYTES - LENGTH_BYTES
    }

    /// Hands out `bytes` of zeroed space for the next message.
    ///
    /// The space is aligned to nothing. Dropping or forgetting the claim consumes no number.
    ///
    /// # Errors
    ///
    /// When the message is too long, or when the staging buffer must be flushed first.
    #[inline]
    pub fn claim(&mut self, bytes: usize) -> Result<Claim<'_, M>, ClaimError> {
        self.make_space(bytes)?;
        let start = self.used + LENGTH_BYTES;
        self.staging[start..start + bytes].fill(0);
        Ok(Claim { publication: self, bytes })
    }

    /// Makes a copy of `message` the next message, and returns its number. It leaves with the next flush.
    ///
    /// # Errors
    ///
    /// As [`Self::claim`].
    #[inline]
    pub fn publish(&mut self, message: &[u8]) -> Result<SequenceNumber, ClaimError> {
        self.make_space(message.len())?;
        let start = self.used + LENGTH_BYTES;
        self.staging[start..start + message.len()].copy_from_slice(message);
        Ok(self.commit(message.len()))
    }

    /// Sees to it that there is space for `bytes` in the packet being filled.
    #[inline]
    fn make_space(&mut self, bytes: usize) -> Result<(), ClaimError> {
        match self.open_end.checked_sub(self.used + LENGTH_BYTES) {
            Some(room) if bytes <= room => Ok(()),
            _ => self.open_another(bytes),
        }
    }

    /// Begins another packet, if that makes space for `bytes`.
    #[inline(never)]
    fn open_another(&mut self, bytes: usize) -> Result<(), ClaimError> {
        let limit = self.max_message_bytes();
        if bytes > limit {
            return Err(ClaimError::TooLong { bytes, limit });
        }
        if !self.has_room_at(self.another_start()) {
            return Err(ClaimError::Full);
        }
        self.seal();
        if HEADER_BYTES + LENGTH_BYTES + bytes > self.open_limit {
            self.limit_open(self.max_datagram);
        }
        Ok(())
    }

    /// Makes the space of `bytes` a message, and returns its number.
    #[inline]
    fn commit(&mut self, bytes: usize) -> SequenceNumber {
        let number = self.next();
        let start = self.used;
        self.staging[start..start + LENGTH_BYTES].copy_from_slice(&(bytes as u16).to_be_bytes());
        self.used += LENGTH_BYTES + bytes;
        self.open_count += 1;
        number
    }

    /// Whether a message of so many bytes, no more than the longest, can be claimed without a flush.
    #[must_use]
    #[inline]
    pub fn has_room(&self, bytes: usize) -> bool {
        self.used + LENGTH_BYTES + bytes <= self.open_end || self.has_room_at(self.another_start())
    }

    /// Where a packet begins that follows the one being filled, or is that if it is empty.
    fn another_start(&self) -> usize {
        if self.open_count == 0 { self.open_start } else { self.used }
    }

    /// Whether a packet that begins there leaves with those before it, however long it becomes: none is begun that would have to
    /// be cut short for it.
    fn has_room_at(&self, start: usize) -> bool {
        start == 0 || start + self.max_datagram <= MAX_RUN_BYTES
    }

    /// Retains everything committed so far, then hands it to `send` in runs, up to 8 at a time, in order; they are
    /// marked as being sent before, and as sent when `send` returns. Returns the numbers.
    pub fn flush(&mut self, mut send: impl FnMut(&[Run<'_>])) -> SequenceRange {
        let first = self.ring.next();
        let open = (self.open_count > 0).then_some(Sealed { end: self.used, count: self.open_count, leads: false });
        let mut start = 0;
        for packet in self.sealed.iter().chain(&open) {
            let retained = self.ring.retain(packet.count, &self.staging[start + HEADER_BYTES..packet.end]);
            retained.expect("the packet is within the ring's limits, and only `end` ends the ring");
            start = packet.end;
        }
        // Whoever follows the ring waits for none of the rest.
        self.seal();
        let range = SequenceRange::new(first, self.open_first);
        let (mut next, mut start) = (range.start(), 0);
        let mut sealed = &self.sealed[..];
        while !sealed.is_empty() {
            let mut runs = [Run::EMPTY; RUNS];
            let mut count = 0;
            while count < RUNS
                && let Some((first, others)) = sealed.split_first()
            {
                let joined = others.iter().take_while(|packet| !packet.leads).count();
                let end = sealed[joined].end;
                runs[count] = Run::new(&self.staging[start..end], first.end - start);
                next += sealed[..=joined].iter().map(|packet| u64::from(packet.count)).sum::<u64>();
                (start, sealed, count) = (end, &others[joined..], count + 1);
            }
            self.ring.mark_sending(next);
            send(&runs[..count]);
            self.ring.mark_sent(next);
        }
        self.sealed.clear();
        (self.open_start, self.used) = (0, HEADER_BYTES);
        self.run.room = 0;
        self.limit_open(self.max_datagram);
        range
    }

    /// Flushes, and marks the session as complete.
    pub fn end(mut self, send: impl FnMut(&[Run<'_>])) -> SequenceRange {
        let range = self.flush(send);
        self.ring.mark_ended();
        range
    }

    fn seal(&mut self) {
        if self.open_count == 0 {
            return;
        }
        let header = Header::new(self.session(), self.open_first, self.open_count).to_bytes();
        self.staging[self.open_start..self.open_start + HEADER_BYTES].copy_from_slice(&header);
        let bytes = self.used - self.open_start;
        let leads = self.run.room == 0 || bytes > self.run.packet_bytes;
        if leads {
            self.run = OpenRun { packet_bytes: bytes, room: self.run_packets - 1 };
        } else {
            self.run.room = if bytes == self.run.packet_bytes { self.run.room - 1 } else { 0 };
        }
        self.sealed.push(Sealed { end: self.used, count: self.open_count, leads });
        self.open_first += u64::from(self.open_count);
        self.open_count = 0;
        self.open_start = self.used;
        self.used += HEADER_BYTES;
        self.limit_open(self.limit());
    }

    fn limit_open(&mut self, limit: usize) {
        self.open_limit = limit;
        self.open_end = if self.has_room_at(self.open_start) { self.open_start + limit } else { self.open_start };
    }

    fn limit(&self) -> usize {
        if self.run.room > 0 { self.run.packet_bytes } else { self.max_datagram }
    }
}

/// An empty vector whose memory has been written.
fn touched<T: Clone>(capacity: usize, filler: T) -> Vec<T> {
    let mut vector = vec![filler; capacity];
    vector.clear();
    vector
}

/// Space for one message, exclusively; [`Claim::commit`] makes it one.
#[derive(Debug)]
#[must_use = "a claim that is not committed is no message"]
pub struct Claim<'a, M> {
    publication: &'a mut Publication<M>,
    bytes: usize,
}

impl<M: AsRef<[AtomicU64]>> Claim<'_, M> {
    /// Makes the space a message and returns its number. It leaves with the next flush.
    #[inline]
    pub fn commit(self) -> SequenceNumber {
        self.publication.commit(self.bytes)
    }

    /// Gives the space back; the same as dropping the claim.
    pub fn abandon(self) {}
}

impl<M> Deref for Claim<'_, M> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let start = self.publication.used + LENGTH_BYTES;
        &self.publication.staging[start..start + self.bytes]
    }
}

impl<M> DerefMut for Claim<'_, M> {
    fn deref_mut(&mut self) -> &mut [u8] {
        let start = self.publication.used + LENGTH_BYTES;
        &mut self.publication.staging[start..start + self.bytes]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RingReader, RingSize};
    use alloc::sync::Arc;

    type Memory = Arc<[AtomicU64]>;

    fn publication(max_datagram: usize) -> (Publication<Memory>, RingReader<Memory>) {
        let size = RingSize::for_bytes(1 << 20, max_datagram - HEADER_BYTES);
        let memory: Memory = (0..size.words()).map(|_| AtomicU64::new(0)).collect();
        let ring = RingWriter::create(memory, size, "TEST".parse().unwrap()).unwrap();
        let reader = ring.reader();
        (Publication::new(ring, max_datagram), reader)
    }

    #[test]
    fn the_longest_message_fits_and_one_byte_more_does_not() {
        for max_datagram in [MIN_DATAGRAM_BYTES, 1_472, 65_488, MAX_DATAGRAM_BYTES] {
            let (mut publication, _) = publication(max_datagram);
            let longest = publication.max_message_bytes();
            for _ in 0..3 {
                if !publication.has_room(longest) {
                    publication.flush(|_| {});
                }
                publication.claim(longest).unwrap().commit();
            }
            publication.flush(|runs| assert!(packets(runs).all(|packet| packet.len() == max_datagram)));
            let error = publication.claim(longest + 1).unwrap_err();
            assert_eq!(error, ClaimError::TooLong { bytes: longest + 1, limit: longest });
        }
    }

    fn packets<'a>(runs: &'a [Run<'a>]) -> impl Iterator<Item = &'a [u8]> {
        runs.iter().flat_map(Run::packets)
    }

    /// Publishes messages of these lengths at once; returns the lengths of the packets, by run.
    fn runs(publication: &mut Publication<Memory>, messages: impl IntoIterator<Item = usize>) -> Vec<Vec<usize>> {
        for bytes in messages {
            publication.claim(bytes).unwrap().commit();
        }
        let mut lengths = Vec::new();
        publication.flush(|runs| lengths.extend(runs.iter().map(|run| run.packets().map(<[u8]>::len).collect())));
        lengths
    }

    #[test]
    fn equal_messages_make_one_run_and_the_last_packet_may_be_shorter() {
        let (mut publication, _) = publication(1_472);
        // 14 messages of 100 bytes fill a packet: 20 + 14 × 102.
        let lengths = runs(&mut publication, core::iter::repeat_n(100, 14 * 20 + 3));
        assert_eq!(lengths, [[vec![1_448; 20], vec![20 + 3 * 102]].concat()]);
    }

    #[test]
    fn a_packet_behind_a_shorter_one_begins_a_run_and_those_before_leave_room_for_none() {
        let (mut publication, _) = publication(100);
        // Packets of at most 80 bytes of blocks; the second is cut to the length of the first, the third is not.
        assert_eq!(runs(&mut publication, [70, 30, 30, 30, 30, 20]), [[92, 84], [84, 42]]);
        assert_eq!(runs(&mut publication, [10, 70, 10, 30, 30]), [vec![32], vec![92, 64], vec![52]]);
        publication.set_run_packets(1);
        assert_eq!(runs(&mut publication, [70, 70, 70]), [[92], [92], [92]]);
    }

    #[test]
    fn a_full_staging_buffer_is_full_packets_that_leave_as_one_run() {
        for (max_datagram, bytes, packets) in [(8_192, 32, vec![8_180; 8]), (1_472, 100, vec![1_448; 45])] {
            let (mut publication, _) = publication(max_datagram);
            let mut committed = 0;
            while publication.has_room(bytes) {
                publication.claim(bytes).unwrap().commit();
                committed += 1;
            }
            assert_eq!(publication.claim(bytes).unwrap_err(), ClaimError::Full);
            let messages = |packet: &usize| (packet - HEADER_BYTES) / (LENGTH_BYTES + bytes);
            assert_eq!(committed, packets.iter().map(messages).sum::<usize>());
            assert!(packets.iter().sum::<usize>() <= MAX_RUN_BYTES);
            assert_eq!(runs(&mut publication, []), [packets]);
        }
    }

    #[test]
    fn a_run_has_64_packets_at_the_most_and_runs_leave_eight_at_a_time() {
        let (mut publication, ring) = publication(64);
        let lengths = runs(&mut publication, core::iter::repeat_n(42, 600));
        assert_eq!(lengths.iter().map(Vec::len).collect::<Vec<_>>(), [[64; 9].to_vec(), vec![24]].concat());
        for _ in 0..600 {
            publication.claim(42).unwrap().commit();
        }
        let mut sent = Vec::new();
        publication.flush(|runs| sent.push((runs.len(), ring.sending(), ring.sent())));
        assert_eq!(sent, [(8, 601 + 8 * 64, 601), (2, 1_201, 601 + 8 * 64)]);
    }

    #[test]
    fn an_abandoned_claim_consumes_no_number_and_leaves_no_bytes() {
        let (mut publication, _) = publication(1_472);
        publication.claim(3).unwrap().copy_from_slice(b"abc");
        publication.claim(2).unwrap().abandon();
        let claim = publication.claim(3).unwrap();
        assert_eq!(*claim, [0, 0, 0]);
        assert_eq!(claim.commit(), 1);
    }

    #[test]
    fn what_was_only_committed_is_not_in_the_ring() {
        let (mut publication, ring) = publication(1_472);
        publication.claim(3).unwrap().commit();
        assert_eq!((publication.next(), ring.next(), ring.sent()), (2, 1, 1));
        publication.flush(|_| {
            assert_eq!((ring.next(), ring.sending(), ring.sent()), (2, 2, 1), "retained first, then sent");
        });
        assert_eq!((ring.next(), ring.sent()), (2, 2));
    }
}
