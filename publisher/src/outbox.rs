//! Answers on their way out: what goes to one client leaves with as few system calls as it takes.

use seqcast_recovery::{MAX_DATAGRAM_BYTES, MAX_RUN_BYTES, MAX_RUN_PACKETS, Run};
use seqcast_transport::{UnicastSocket, can_segment};
use std::io;
use std::net::SocketAddrV4;
use std::os::fd::AsRawFd;

/// How many runs leave with one system call: what the transport takes at once.
const RUNS: usize = 8;

/// Some answers to one client, one behind the other.
#[derive(Clone, Copy, Debug)]
struct Pending {
    client: SocketAddrV4,
    start: usize,
    end: usize,
    packet_bytes: usize,
}

impl Pending {
    fn run<'b>(&self, bytes: &'b [u8]) -> Run<'b> {
        Run::new(&bytes[self.start..self.end], self.packet_bytes)
    }

    /// Whether a packet of so many bytes can follow: all are of one length but the last.
    fn takes(&self, client: SocketAddrV4, bytes: usize) -> bool {
        let length = self.end - self.start;
        let is_open = length.is_multiple_of(self.packet_bytes) && length / self.packet_bytes < MAX_RUN_PACKETS;
        self.client == client && is_open && bytes <= self.packet_bytes && length + bytes <= MAX_RUN_BYTES
    }
}

/// Collects answers, up to one send of the longest packet, and sends them.
#[derive(Debug)]
pub(crate) struct Outbox {
    bytes: Box<[u8]>,
    used: usize,
    pending: Vec<Pending>,
    /// Whether the kernel cuts runs into datagrams.
    segments: bool,
    /// Answers that the kernel refused.
    pub(crate) refused: u64,
}

impl Outbox {
    pub(crate) fn new(socket: Option<&UnicastSocket>, segmentation: bool) -> Self {
        let segments = segmentation && socket.is_some_and(|socket| can_segment(socket.as_raw_fd()));
        // A value other than zero, so that the pages are touched now.
        let bytes = vec![1; MAX_DATAGRAM_BYTES].into_boxed_slice();
        Self { bytes, used: 0, pending: Vec::with_capacity(RUNS), segments, refused: 0 }
    }

    /// Takes one more, and sends those before it if it would be too many.
    pub(crate) fn push(&mut self, client: SocketAddrV4, packet: &[u8], socket: &UnicastSocket) {
        let joins = self.segments && self.pending.last().is_some_and(|last| last.takes(client, packet.len()));
        if self.used + packet.len() > self.bytes.len() || (self.pending.len() == RUNS && !joins) {
            self.send(socket);
        }
        let (start, end) = (self.used, self.used + packet.len());
        self.bytes[start..end].copy_from_slice(packet);
        self.used = end;
        match self.pending.last_mut() {
            Some(last) if joins => last.end = end,
            _ => self.pending.push(Pending { client, start, end, packet_bytes: packet.len() }),
        }
    }

    /// Sends what was taken.
    pub(crate) fn send(&mut self, socket: &UnicastSocket) {
        let mut sent = 0;
        while let [first, others @ ..] = &self.pending[sent..] {
            let run = first.run(&self.bytes);
            let result = if others.is_empty() && run.count() == 1 {
                socket.send_to(run.bytes(), first.client).map(|()| 1)
            } else {
                socket
                    .send_runs_to(self.pending[sent..].iter().map(|pending| (pending.run(&self.bytes), pending.client)))
            };
            match result {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let is_full = matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS));
                    if run.count() == 1 || is_full {
                        self.refused += run.count() as u64;
                    } else {
                        let refused = run.packets().filter(|packet| socket.send_to(packet, first.client).is_err());
                        let refused = refused.count();
                        self.refused += refused as u64;
                        // If its packets pass, it is the run that does not.
                        self.segments = self.segments && refused == run.count();
                    }
                    sent += 1;
                }
            }
        }
        self.pending.clear();
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const ANY_PORT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);

    fn socket() -> UnicastSocket {
        UnicastSocket::open(ANY_PORT, Some(1 << 20)).unwrap()
    }

    fn heard(socket: &UnicastSocket) -> Vec<Vec<u8>> {
        let mut buffer = [0; 65_536];
        let next = || socket.recv(&mut buffer).unwrap().map(|length| buffer[..length].to_vec());
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn every_client_gets_its_answers_in_order_whatever_their_lengths() {
        for segmentation in [true, false] {
            let (server, clients) = (socket(), [socket(), socket(), socket()]);
            let mut outbox = Outbox::new(Some(&server), segmentation);
            let mut expected = [const { Vec::new() }; 3];
            for number in 0..2_000usize {
                // Several in a row for one client, of lengths that often are the same; more than fits at once.
                let client = number / 7 % 3;
                let packet = vec![number as u8; [700, 700, 700, 30, 1_400][number % 5]];
                outbox.push(clients[client].local_address(), &packet, &server);
                expected[client].push(packet);
                if number % 100 == 99 {
                    outbox.send(&server);
                    for (client, expected) in clients.iter().zip(&mut expected) {
                        assert_eq!(heard(client), std::mem::take(expected), "up to {number}");
                    }
                }
            }
            assert_eq!((outbox.refused, outbox.segments), (0, segmentation));
        }
    }

    #[test]
    fn what_the_kernel_does_not_take_is_counted() {
        let server = socket();
        let mut outbox = Outbox::new(Some(&server), true);
        // From loopback no way leads there.
        let elsewhere = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 1), 9);
        for _ in 0..5 {
            outbox.push(elsewhere, &[7; 100], &server);
        }
        outbox.push(server.local_address(), b"tick", &server);
        outbox.send(&server);
        assert_eq!((outbox.refused, outbox.segments), (5, true));
        assert_eq!(heard(&server), [b"tick"]);
    }
}
