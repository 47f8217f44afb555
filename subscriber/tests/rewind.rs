//! Numbers that begin again within one session while answers to requests from before lie unread.

use seqcast_protocol::{PacketWriter, Request};
use seqcast_recovery::Nanos;
use seqcast_subscriber::{Event, Line, LineSource, Subscriber};
use seqcast_transport::Clock;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// When a test gives up.
const PATIENCE: Nanos = Nanos::from_secs(30);

const SESSION: &str = "AGAIN";

/// Messages `first..end`, each of its number and its `life`.
fn packet(first: u64, end: u64, life: u8) -> Vec<u8> {
    let mut buffer = [0; 1_472];
    let mut writer = PacketWriter::new(&mut buffer, SESSION.parse().unwrap(), first);
    (first..end).for_each(|number| writer.push(&[number as u8, life]).unwrap());
    writer.finish().to_vec()
}

/// A line and a request address, both in the test's hands.
struct Stage {
    line: UdpSocket,
    server: UdpSocket,
    subscriber: Subscriber,
    told: Vec<[u8; 2]>,
}

impl Stage {
    fn open() -> Self {
        let line = UdpSocket::bind("127.0.0.1:0").unwrap();
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let source: LineSource = address.to_string().parse().unwrap();
        let SocketAddr::V4(requests) = server.local_addr().unwrap() else { unreachable!() };
        let subscriber = Subscriber::builder(SESSION.parse().unwrap()).line(Line::A, source).recover_from(requests);
        let subscriber = subscriber.open().unwrap();
        line.connect(address).unwrap();
        Self { line, server, subscriber, told: vec![] }
    }

    fn send(&self, packet: &[u8]) {
        self.line.send(packet).unwrap();
    }

    /// Polls until so many messages were delivered since the last call, and returns them.
    fn take(&mut self, count: usize) -> Vec<[u8; 2]> {
        let start = Clock::now();
        while self.told.len() < count {
            self.poll();
            assert!(Clock::now() < start + PATIENCE, "{:?} {:?}", self.told, self.subscriber.counters());
        }
        std::mem::take(&mut self.told)
    }

    fn poll(&mut self) {
        let told = &mut self.told;
        self.subscriber.poll(
            |event| {
                if let Event::Message(message) = event {
                    told.push([message.payload[0], message.payload[1]]);
                }
            },
            64,
        );
    }

    /// Polls until somebody asks for numbers from `first` on, and returns who.
    fn asked_for(&mut self, first: u64) -> SocketAddr {
        self.poll();
        let mut request = [0; 100];
        loop {
            let (length, client) = self.server.recv_from(&mut request).unwrap();
            if Request::parse(&request[..length]).unwrap().range().start() == first {
                return client;
            }
        }
    }

    /// Answers `client` with messages `first..end`, each in a packet of its own.
    fn answer_singly(&self, client: SocketAddr, first: u64, end: u64, life: u8) {
        for number in first..end {
            self.server.send_to(&packet(number, number + 1, life), client).unwrap();
        }
    }
}

fn messages(first: u8, end: u8, life: u8) -> Vec<[u8; 2]> {
    (first..end).map(|number| [number, life]).collect()
}

#[test]
fn an_answer_that_lies_unread_when_the_numbers_begin_again_is_none_of_the_new_ones() {
    let mut stage = Stage::open();
    stage.send(&packet(1, 11, 0));
    assert_eq!(stage.take(10), messages(1, 11, 0));
    stage.send(&packet(12, 13, 0));
    let client = stage.asked_for(11);
    stage.server.send_to(&packet(11, 12, 0), client).unwrap();
    assert_eq!(stage.take(2), messages(11, 13, 0));
    // A second answer, such as a retry brings: nobody looks for it.
    stage.server.send_to(&packet(11, 12, 0), client).unwrap();
    stage.send(&packet(1, 4, 1));
    stage.send(&packet(4, 8, 1));
    assert_eq!(stage.take(7), messages(1, 8, 1));
    stage.send(&packet(12, 13, 1));
    let client = stage.asked_for(8);
    stage.server.send_to(&packet(8, 11, 1), client).unwrap();
    stage.server.send_to(&packet(11, 12, 1), client).unwrap();
    assert_eq!(stage.take(5), messages(8, 13, 1));
}

#[test]
fn however_many_answers_lie_unread_when_the_numbers_begin_again_none_is_of_the_new_ones() {
    let mut stage = Stage::open();
    stage.send(&packet(1, 11, 0));
    assert_eq!(stage.take(10), messages(1, 11, 0));
    stage.send(&packet(211, 212, 0));
    let client = stage.asked_for(11);
    stage.server.send_to(&packet(11, 211, 0), client).unwrap();
    assert_eq!(stage.take(201), messages(11, 212, 0));
    // Second answers, more than three times what one duty cycle takes.
    stage.answer_singly(client, 11, 211, 0);
    // The new numbers have a gap at once, so that it is asked for in the duty cycle in which they begin again.
    stage.send(&packet(1, 4, 1));
    stage.send(&packet(4, 8, 1));
    stage.send(&packet(211, 212, 1));
    assert_eq!(stage.take(7), messages(1, 8, 1));
    let client = stage.asked_for(8);
    // A packet that held several would be delivered as a whole, whatever had come before it.
    stage.answer_singly(client, 8, 211, 1);
    assert_eq!(stage.take(204), messages(8, 212, 1));
}
