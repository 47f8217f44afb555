//! The bare round trip that a repair is held against: plain unicast sockets, a datagram as long as a request, an answer as
//! long as a retransmission, both sides spinning.

use crate::stage::{Gate, words};
use seqcast_protocol::HEADER_BYTES;
use seqcast_recovery::Nanos;
use seqcast_transport::{Clock, ConnectedSocket, UnicastSocket};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, RawFd};

/// A request is as long as a header.
const REQUEST_BYTES: usize = HEADER_BYTES;

/// The side that answers.
#[derive(Debug)]
pub(crate) struct Echo {
    socket: UnicastSocket,
    answer: Vec<u8>,
}

impl Echo {
    /// Answers with `answer_bytes`, no fewer than a request has.
    pub(crate) fn open(answer_bytes: usize) -> Result<Self, String> {
        let socket = UnicastSocket::open(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), None).map_err(words)?;
        Ok(Self { socket, answer: vec![1; answer_bytes.max(REQUEST_BYTES)] })
    }

    /// Opens the side that asks.
    pub(crate) fn ping(&self) -> Result<Ping, String> {
        let socket = ConnectedSocket::open(Ipv4Addr::LOCALHOST, self.socket.local_address(), None).map_err(words)?;
        Ok(Ping { socket, request: [0; REQUEST_BYTES], answer: vec![1; self.answer.len() + 1] })
    }

    /// What to wait for.
    pub(crate) fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Answers what has arrived.
    #[inline]
    pub(crate) fn answer(&mut self) -> Result<(), String> {
        let request = &mut self.answer[..REQUEST_BYTES];
        if let Some((_, client)) = self.socket.recv_from(request).map_err(words)? {
            self.socket.send_to(&self.answer, client).map_err(words)?;
        }
        Ok(())
    }
}

/// The side that asks.
#[derive(Debug)]
pub(crate) struct Ping {
    socket: ConnectedSocket,
    request: [u8; REQUEST_BYTES],
    answer: Vec<u8>,
}

impl Ping {
    /// One round trip; `count` tells it from all others.
    #[inline]
    pub(crate) fn trip(&mut self, count: u64, gate: &Gate) -> Result<Nanos, String> {
        self.request[..8].copy_from_slice(&count.to_be_bytes());
        let from = Clock::now();
        self.socket.send(&self.request).map_err(words)?;
        loop {
            if let Some(length) = self.socket.recv(&mut self.answer).map_err(words)? {
                let until = Clock::now();
                let is_whole = length + 1 == self.answer.len() && self.answer[..REQUEST_BYTES] == self.request;
                return if is_whole { Ok(until - from) } else { Err("a round trip came back altered".to_owned()) };
            }
            gate.check(from)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_its_length_and_names_its_request() {
        let mut echo = Echo::open(86).unwrap();
        let mut ping = echo.ping().unwrap();
        let gate = Gate::new(Nanos::from_secs(10));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while gate.check(Clock::now()).is_ok() {
                    echo.answer().unwrap();
                }
            });
            for count in 0..3 {
                assert!(ping.trip(count, &gate).unwrap() > Nanos::ZERO);
            }
            gate.run(None, || Err::<(), _>("done".to_owned()));
        });
    }
}
