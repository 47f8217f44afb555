//! Peers that share no line of code with seqcast: a MoldUDP64 client and a MoldUDP64 publisher, written down here from the
//! table of the wire (session 10 bytes, sequence number 8, count 2, then blocks of 2-byte length and message; all
//! big-endian), complete a lossy session with the command, and the command with them.

#![expect(clippy::print_stdout, reason = "says when it was skipped")]

mod support;

use seqcast_recovery::Nanos;
use seqcast_transport::Clock;
use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use support::{Observer, PATIENCE, Place, assert_same, blocks, join, messages, number, wait_for};

const END_OF_SESSION: u16 = 0xFFFF;

/// The longest payload that our publisher sends.
const MAX_DATAGRAM: usize = 1_472;

/// Random enough for losses and payloads: Knuth's MMIX generator, of which the high bits are good.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// A downstream packet.
#[derive(Debug, PartialEq, Eq)]
struct Packet {
    session: [u8; 10],
    sequence: u64,
    count: u16,
    messages: Vec<Vec<u8>>,
}

impl Packet {
    fn take_apart(bytes: &[u8]) -> Self {
        let session = bytes[0..10].try_into().unwrap();
        let sequence = u64::from_be_bytes(bytes[10..18].try_into().unwrap());
        let count = u16::from_be_bytes(bytes[18..20].try_into().unwrap());
        let (mut at, mut messages) = (20, Vec::new());
        if count != END_OF_SESSION {
            for _ in 0..count {
                let length = usize::from(u16::from_be_bytes(bytes[at..at + 2].try_into().unwrap()));
                messages.push(bytes[at + 2..at + 2 + length].to_vec());
                at += 2 + length;
            }
        }
        assert_eq!(at, bytes.len(), "nothing behind the last block");
        Self { session, sequence, count, messages }
    }
}

fn header(session: &[u8], sequence: u64, count: u16) -> Vec<u8> {
    let mut bytes = vec![b' '; 20];
    bytes[..session.len()].copy_from_slice(session);
    bytes[10..18].copy_from_slice(&sequence.to_be_bytes());
    bytes[18..20].copy_from_slice(&count.to_be_bytes());
    bytes
}

/// A socket of a client; answers are waited for as long as `patience`.
fn client(patience: Duration) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(patience)).unwrap();
    socket
}

// A client of our publisher.

/// Hears a line and asks for one range at a time.
struct Client {
    line: UdpSocket,
    requests: UdpSocket,
    server: SocketAddrV4,
    chance: Chance,
    session: [u8; 10],
    /// The number up to which everything is there.
    next: u64,
    /// The number up to which everything is known to exist.
    known: u64,
    messages: BTreeMap<u64, Vec<u8>>,
    end: Option<u64>,
    dropped: u64,
    asked: u64,
    /// Every datagram of the publisher, as it came.
    heard: Vec<Vec<u8>>,
}

impl Client {
    fn new(place: &Place) -> Self {
        let line = join(place.line());
        line.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        Self {
            line,
            requests: client(Duration::from_millis(100)),
            server: place.requests(),
            chance: Chance(1),
            session: [0; 10],
            next: 1,
            known: 1,
            messages: BTreeMap::new(),
            end: None,
            dropped: 0,
            asked: 0,
            heard: Vec::new(),
        }
    }

    /// Goes on until the session is complete.
    fn run(&mut self) {
        let deadline = Clock::now() + PATIENCE;
        while self.end.is_none_or(|end| self.next < end) {
            assert!(Clock::now() < deadline, "complete up to {}, known up to {}", self.next, self.known);
            let mut bytes = [0; 65_536];
            if let Ok(length) = self.line.recv(&mut bytes) {
                self.heard.push(bytes[..length].to_vec());
                if self.chance.below(100) < 5 {
                    self.dropped += 1;
                } else {
                    self.take(Packet::take_apart(&bytes[..length]));
                }
            }
            if self.next < self.known {
                self.ask();
            }
        }
    }

    fn take(&mut self, packet: Packet) {
        self.session = packet.session;
        self.known = self.known.max(packet.sequence + packet.messages.len() as u64);
        if packet.count == END_OF_SESSION {
            self.end = Some(packet.sequence);
        }
        for (number, message) in (packet.sequence..).zip(packet.messages) {
            let known = self.messages.entry(number).or_insert_with(|| message.clone());
            assert_eq!(*known, message, "message {number} is the same in every packet");
        }
        while self.messages.contains_key(&self.next) {
            self.next += 1;
        }
    }

    /// Asks for the first range that is missing, and waits for the answer, or 100 ms.
    fn ask(&mut self) {
        let end = self.messages.range(self.next..).next().map_or(self.known, |(&number, _)| number);
        let count = (end - self.next).min(0xFFFE) as u16;
        self.requests.send_to(&header(&self.session, self.next, count), self.server).unwrap();
        self.asked += 1;
        let mut bytes = [0; 65_536];
        let Ok((length, from)) = self.requests.recv_from(&mut bytes) else { return };
        assert_eq!(from, SocketAddr::V4(self.server));
        assert!(length <= MAX_DATAGRAM);
        self.heard.push(bytes[..length].to_vec());
        let packet = Packet::take_apart(&bytes[..length]);
        assert!(packet.count > 0 && packet.sequence >= 1 && packet.sequence + u64::from(packet.count) <= end);
        self.take(packet);
    }
}

#[test]
fn a_client_that_asks_one_range_at_a_time_completes_a_lossy_session_of_our_publisher() {
    const MESSAGES: u64 = 50_000;
    let place = Place::new("client");
    let input = place.generate("in", MESSAGES, 9);
    let mut client = Client::new(&place);
    let arguments = ["--session", "INDEP1", "--linger", "50s", "--pace", "50000/s"];
    let publisher = place.publish(&input, &arguments).start();
    client.run();
    assert_eq!(&client.session, b"INDEP1    ");
    assert_eq!((client.next, client.end), (MESSAGES + 1, Some(MESSAGES + 1)));
    assert_same(&blocks(client.messages.values().map(Vec::as_slice)), &fs::read(&input).unwrap());
    assert!(client.dropped > 0 && client.asked > 0);
    let published = publisher.wait().expect_code(0).json();
    assert_eq!(number(&published, "requests"), client.asked);
    assert_eq!(number(&published, "retransmissions"), client.asked);
    assert!(client.heard.iter().any(|datagram| datagram[18..20] == [0xFF; 2]), "the end of session was heard");
    assert_clean_under_tshark(&place.path("heard.pcap"), &client.heard);
}

/// Wireshark's own dissector finds a session, heartbeats, retransmissions and end included, well-formed.
fn assert_clean_under_tshark(path: &Path, datagrams: &[Vec<u8>]) {
    const PORT: u16 = 30_001;
    // A classic capture of raw IPv4 packets (link type 101), little-endian, all at time 0.
    let mut capture = [0xA1B2_C3D4, 0x0004_0002, 0, 0, 65_536, 101].map(u32::to_le_bytes).concat();
    for datagram in datagrams {
        let (udp_length, ip_length) = (datagram.len() as u16 + 8, datagram.len() as u16 + 28);
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 1, 17, 0, 0, 127, 0, 0, 1, 239, 255, 77, 1];
        packet[2..4].copy_from_slice(&ip_length.to_be_bytes());
        packet.extend([PORT, PORT, udp_length, 0].map(u16::to_be_bytes).concat());
        packet.extend(datagram);
        capture.extend([0, 0, packet.len() as u32, packet.len() as u32].map(u32::to_le_bytes).concat());
        capture.extend(packet);
    }
    fs::write(path, capture).unwrap();
    let tshark = |filter: &str| {
        let decode_as = format!("udp.port=={PORT},moldudp64");
        Command::new("tshark").arg("-r").arg(path).args(["-d", &decode_as, "-Y", filter]).output()
    };
    match tshark("moldudp64") {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("skipped: tshark is not installed");
        }
        decoded => {
            let lines = String::from_utf8(decoded.unwrap().stdout).unwrap().lines().count();
            assert_eq!(lines, datagrams.len(), "tshark takes every datagram for MoldUDP64");
            let wrong = tshark("moldudp64.count.invalid || moldudp64.msglen.invalid || _ws.malformed").unwrap();
            assert_eq!(String::from_utf8(wrong.stdout).unwrap(), "");
        }
    }
}

/// Asks `request`, which deserves no answer, and then something that does: one thread serves the requests in turn, so the
/// first answer to come is the second one's.
#[track_caller]
fn assert_silence(socket: &UdpSocket, server: SocketAddrV4, request: &[u8], sentinel: &[u8], answer: &Packet) {
    socket.send_to(request, server).unwrap();
    assert_eq!(ask(socket, server, sentinel), *answer, "after {request:?}");
}

#[track_caller]
fn ask(socket: &UdpSocket, server: SocketAddrV4, request: &[u8]) -> Packet {
    // Whoever asks for the same number again within 0.2 ms of the answer gets silence.
    std::thread::park_timeout(Duration::from_millis(1));
    socket.send_to(request, server).unwrap();
    let mut bytes = [0; 65_536];
    let (length, from) = socket.recv_from(&mut bytes).unwrap();
    assert_eq!(from, SocketAddr::V4(server));
    assert!(length <= MAX_DATAGRAM);
    Packet::take_apart(&bytes[..length])
}

#[test]
fn requests_get_one_packet_within_their_range_or_the_oldest_number_or_silence() {
    const MESSAGES: u64 = 20_000;
    let place = Place::new("responder");
    let input = fs::read(place.generate("in", MESSAGES, 9)).unwrap();
    let all = messages(&input);
    let observer = Observer::join(&place);
    let arguments = ["--session", "INDEP2", "--retain", "64KiB", "--format", "blocks", "--linger", "0s"];
    let mut publisher = place.publish(Path::new("-"), &arguments).with_input_pipe().start();
    let mut pipe = publisher.take_input();
    pipe.write_all(&input).unwrap();
    observer.wait_for_next(MESSAGES + 1);
    // Nothing is published any more, so what is retained stays as it is.

    let (socket, server) = (client(PATIENCE.as_duration()), place.requests());
    let ours = b"INDEP2    ";
    let oldest = ask(&socket, server, &header(ours, 1, 10));
    assert_eq!((oldest.session, oldest.count, oldest.messages.len()), (*ours, 0, 0), "a heartbeat of 20 bytes");
    let oldest = oldest.sequence;
    assert!(1 < oldest && oldest <= MESSAGES);

    let mut asked = 1;
    for first in [oldest, oldest + 1, (oldest + MESSAGES) / 2, MESSAGES] {
        for count in [1, 2, 7, 1_000, 0xFFFE, 0xFFFF] {
            let answer = ask(&socket, server, &header(ours, first, count));
            asked += 1;
            assert_eq!((answer.session, answer.sequence), (*ours, first));
            assert!(answer.count > 0 && answer.count <= count && first + u64::from(answer.count) <= MESSAGES + 1);
            let index = first as usize - 1;
            assert_eq!(answer.messages, all[index..index + usize::from(answer.count)]);
        }
    }

    let sentinel = header(ours, MESSAGES, 1);
    let answer = ask(&socket, server, &sentinel);
    let refused = [
        header(ours, oldest, 1)[..19].to_vec(),
        [header(ours, oldest, 1), vec![0]].concat(),
        Vec::new(),
        vec![0xFF; 1_400],
        header(ours, oldest, 0),
        header(ours, MESSAGES + 1, 1),
        // Past the last number there is.
        header(ours, u64::MAX, 0xFFFE),
        header(b"FOREIGN   ", oldest, 1),
        header(b"INDEP2\0\0\0\0", oldest, 1),
    ];
    for request in &refused {
        assert_silence(&socket, server, request, &sentinel, &answer);
    }
    // What is overwritten gets its one word each time, whatever range was asked for.
    for (first, count) in [(1, 1), (1, 0xFFFE), (oldest - 1, 1), (oldest - 1, 2)] {
        let word = ask(&socket, server, &header(ours, first, count));
        assert_eq!((word.sequence, word.count), (oldest, 0));
    }
    // A blank session is ours.
    let blank = ask(&socket, server, &header(&[0; 10], oldest, 3));
    assert_eq!((blank.session, blank.sequence, blank.count), (*ours, oldest, 3));
    // One answer each: nothing is left over.
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    socket.recv(&mut [0; 64]).unwrap_err();

    drop(pipe);
    let published = publisher.wait().expect_code(0).json();
    let silent = refused.len() as u64;
    assert_eq!(number(&published, "requests"), asked + 1 + 2 * silent + 4 + 1);
    assert_eq!((number(&published, "overwritten"), number(&published, "oldest")), (5, oldest));
    let reasons = &published["requests_refused"];
    let reasons = ["malformed", "not_yet", "foreign"].map(|reason| number(reasons, reason));
    assert_eq!(reasons, [6, 1, 2]);
}

// A publisher for our subscriber.

/// Publishes on a line of which it drops a part on purpose, and answers one packet a request.
struct Server<'a> {
    line: UdpSocket,
    group: SocketAddrV4,
    requests: UdpSocket,
    session: &'a [u8],
    messages: &'a [Vec<u8>],
    /// The number up to which the line has carried the session.
    next: u64,
    chance: Chance,
    dropped: u64,
    answered: u64,
}

impl<'a> Server<'a> {
    fn new(place: &Place, session: &'a [u8], messages: &'a [Vec<u8>]) -> Self {
        let line = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket2::SockRef::from(&line).set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
        line.set_multicast_loop_v4(true).unwrap();
        let requests = UdpSocket::bind(place.requests()).unwrap();
        requests.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let (group, chance) = (place.line(), Chance(2));
        Self { line, group, requests, session, messages, next: 1, chance, dropped: 0, answered: 0 }
    }

    /// As many of `first..end` as fit into a packet.
    fn packet(&self, first: u64, end: u64) -> (u64, Vec<u8>) {
        let mut packet = header(self.session, first, 0);
        let mut number = first;
        for message in &self.messages[first as usize - 1..end as usize - 1] {
            if packet.len() + 2 + message.len() > MAX_DATAGRAM {
                break;
            }
            packet.extend(blocks([message.as_slice()]));
            number += 1;
        }
        packet[18..20].copy_from_slice(&((number - first) as u16).to_be_bytes());
        (number, packet)
    }

    /// Sends the next packet, of a random number of messages; drops 5 % of them instead.
    fn publish(&mut self) {
        let end = (self.next + 1 + self.chance.below(60)).min(self.end());
        let (next, packet) = self.packet(self.next, end);
        self.next = next;
        if self.chance.below(100) < 5 {
            self.dropped += 1;
        } else {
            self.line.send_to(&packet, self.group).unwrap();
        }
    }

    fn announce(&self, count: u16) {
        self.line.send_to(&header(self.session, self.next, count), self.group).unwrap();
    }

    /// Answers the requests that come until there is none for a millisecond.
    fn serve(&mut self) {
        let mut request = [0; 64];
        while let Ok((length, from)) = self.requests.recv_from(&mut request) {
            assert_eq!(length, 20, "a request is 20 bytes");
            let mut session = [b' '; 10];
            session[..self.session.len()].copy_from_slice(self.session);
            assert_eq!(&request[..10], session);
            let first = u64::from_be_bytes(request[10..18].try_into().unwrap());
            let count = u16::from_be_bytes(request[18..20].try_into().unwrap());
            assert!(first >= 1 && count > 0 && count < END_OF_SESSION);
            assert!(first < self.next, "nothing is asked for that the line has not shown");
            let (_, packet) = self.packet(first, (first + u64::from(count)).min(self.next));
            self.requests.send_to(&packet, from).unwrap();
            self.answered += 1;
        }
    }

    fn end(&self) -> u64 {
        self.messages.len() as u64 + 1
    }
}

#[test]
fn our_subscriber_completes_a_session_of_a_publisher_that_drops_packets_and_answers_one_a_request() {
    const HEARTBEAT: Nanos = Nanos::from_millis(50);
    let place = Place::new("server");
    let mut chance = Chance(3);
    let messages: Vec<Vec<u8>> = (0..30_000)
        .map(|_| {
            let length = chance.below(70);
            (0..length).map(|_| chance.below(256) as u8).collect()
        })
        .collect();
    let output = place.path("out");
    let mut subscriber = place.subscribe(&["--until-end"]).with("--output", &output).start();
    let mut server = Server::new(&place, b"0000000042", &messages);
    let mut heartbeat = Clock::now();
    let deadline = heartbeat + PATIENCE;
    wait_for("the subscriber", || {
        server.announce(0);
        subscriber.errors().contains("session 0000000042 is heard").then_some(())
    });
    while !subscriber.has_ended() {
        assert!(Clock::now() < deadline, "not complete: {}", subscriber.errors());
        for _ in 0..4 {
            if server.next < server.end() {
                server.publish();
            }
        }
        let now = Clock::now();
        if now >= heartbeat {
            heartbeat = now + HEARTBEAT;
            server.announce(if server.next == server.end() { END_OF_SESSION } else { 0 });
        }
        server.serve();
    }
    let heard = subscriber.wait().expect_code(0).json();
    assert_same(&fs::read(&output).unwrap(), &blocks(messages.iter().map(Vec::as_slice)));
    assert_eq!((number(&heard, "messages"), number(&heard, "next")), (30_000, 30_001));
    assert!(server.dropped > 0 && server.answered > 0 && number(&heard, "recovered") > 0, "{heard}");
    assert_eq!(heard["session"].as_str(), Some("0000000042"));
}
