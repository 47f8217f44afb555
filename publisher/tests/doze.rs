//! A publisher that has long been idle.

use seqcast_protocol::{Packet, PacketKind, Request, SequenceRange, SessionId};
use seqcast_publisher::{Budget, Line, Nanos, Publisher, PublisherBuilder};
use seqcast_transport::Clock;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

/// Between two heartbeats, so that a missed wake-up shows.
const CEILING: Duration = Duration::from_secs(20);

/// The last heartbeats behind a message leave 1.024 s behind it, and 2.048 s.
const IDLE: Duration = Duration::from_millis(1_200);

/// No busy machine is as late, and no wake-up is missed within it.
const PROMPT: Nanos = Nanos::from_millis(300);

/// A publisher on a group of its own, and a socket that hears it.
fn idle_publisher(group: Ipv4Addr) -> (PublisherBuilder, UdpSocket) {
    let socket = UdpSocket::bind((group, 0)).unwrap();
    socket.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let line = format!("{group}:{}@127.0.0.1", socket.local_addr().unwrap().port()).parse().unwrap();
    let builder = Publisher::builder("DOZE".parse().unwrap())
        .line(Line::A, line)
        .requests("127.0.0.1:0".parse().unwrap())
        .retain_bytes(1 << 20)
        .heartbeat_ceiling(CEILING);
    (builder, socket)
}

fn publish(publisher: &mut Publisher, length: usize) {
    publisher.publish(&vec![7; length]).unwrap();
    assert_eq!(publisher.flush().unwrap().sent, 1);
}

/// Waits for a packet of this kind with this number.
fn hear(socket: &UdpSocket, kind: PacketKind, sequence: u64) -> Nanos {
    let mut buffer = [0; 2_000];
    loop {
        let length = socket.recv(&mut buffer).unwrap();
        let now = Clock::now();
        let packet = Packet::parse(&buffer[..length]).unwrap();
        if (packet.kind(), packet.sequence()) == (kind, sequence) {
            return now;
        }
    }
}

#[test]
fn the_first_heartbeat_behind_a_lone_message_is_prompt_and_so_is_the_end() {
    let (builder, socket) = idle_publisher(Ipv4Addr::new(239, 255, 78, 103));
    let mut publisher = builder.linger(Duration::ZERO).open().unwrap();
    for number in 1..=3 {
        std::thread::park_timeout(IDLE);
        let sent = Clock::now();
        publish(&mut publisher, 100);
        let heard = hear(&socket, PacketKind::Heartbeat, number + 1) - sent;
        assert!(heard >= Nanos::from_micros(500) && heard < PROMPT, "message {number}: after {heard:?}");
    }
    std::thread::park_timeout(IDLE);
    let ended = Clock::now();
    publisher.close().unwrap();
    assert!(hear(&socket, PacketKind::EndOfSession, 4) - ended < PROMPT);
}

#[test]
fn answers_that_wait_for_the_budget_leave_when_it_has_them_and_a_drop_ends_the_doze() {
    let (builder, _socket) = idle_publisher(Ipv4Addr::new(239, 255, 78, 104));
    // The longest packet each 14.72 ms.
    let budget = Budget { bytes_per_s: 100_000, burst_bytes: 0 };
    let mut publisher = builder.repair_budget(budget).open().unwrap();
    (1..=3).for_each(|_| publish(&mut publisher, 1_450));
    std::thread::park_timeout(IDLE);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let asked = Clock::now();
    for number in 1..=3 {
        let request = Request::new(SessionId::UNKNOWN, SequenceRange::new(number, number + 1)).unwrap();
        client.send_to(&request.to_bytes(), publisher.request_address().unwrap()).unwrap();
    }
    for number in 1..=3 {
        let answered = hear(&client, PacketKind::Data, number) - asked;
        let due = Nanos::from_micros(14_720 * (number - 1));
        assert!(due <= answered && answered < due + PROMPT, "{number}: after {answered:?}");
    }
    let dropped = Clock::now();
    drop(publisher);
    assert!(Clock::now() - dropped < PROMPT);
}
