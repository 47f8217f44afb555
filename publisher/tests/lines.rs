//! Unicast lines of a publisher, as whoever listens there sees them.

use seqcast_publisher::{Line, OpenError, Publisher, PublisherBuilder};
use std::net::UdpSocket;
use std::time::Duration;

fn builder(line: &str) -> PublisherBuilder {
    Publisher::builder("UNICAST".parse().unwrap())
        .line(Line::A, line.parse().unwrap())
        .retain_bytes(1 << 20)
        .linger(Duration::from_millis(20))
}

fn listener() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

/// The sequence number and the message count of the next packet.
fn header(socket: &UdpSocket) -> (u64, u16) {
    let mut packet = [0; 2_048];
    let length = socket.recv(&mut packet).unwrap();
    assert!(length >= 20, "{length} bytes");
    (u64::from_be_bytes(packet[10..18].try_into().unwrap()), u16::from_be_bytes([packet[18], packet[19]]))
}

#[test]
fn each_destination_gets_every_packet_heartbeat_and_end_of_session() {
    let listeners = [listener(), listener()];
    // In the middle of the list, one where nobody listens any more.
    let addresses = [&listeners[0], &listener(), &listeners[1]].map(|socket| socket.local_addr().unwrap().to_string());
    let mut publisher = builder(&addresses.join(",")).open().unwrap();
    publisher.publish(b"first").unwrap();
    let flushed = publisher.flush().unwrap();
    assert_eq!((flushed.sent, flushed.refused), (3, 0), "a copy for each destination");
    for listener in &listeners {
        while header(listener) != (1, 1) {}
        assert_eq!(header(listener), (2, 0), "a heartbeat");
    }
    publisher.publish(b"second").unwrap();
    let flushed = publisher.flush().unwrap();
    assert_eq!((flushed.sent, flushed.refused), (3, 0), "the absent one has been told of by now");
    let counters = publisher.close().unwrap();
    for listener in &listeners {
        while header(listener) != (2, 1) {}
        while header(listener) != (3, 0xFFFF) {}
    }
    let retransmitter = counters.retransmitter;
    let packets = counters.lines.map(|line| (line.packets, line.refused));
    assert_eq!((packets, retransmitter.refused_sends), ([(6, 0), (0, 0)], 0));
    assert!(retransmitter.heartbeats >= 3 && retransmitter.heartbeats.is_multiple_of(3), "{retransmitter:?}");
    assert!(retransmitter.ends_of_session >= 3, "{retransmitter:?}");
}

#[test]
fn destination_that_loopback_cannot_reach_is_refused_with_line_and_mend() {
    // 198.51.100.0/24 is for documentation (RFC 5737).
    let error = builder("127.0.0.1:9,198.51.100.1:9").open().unwrap_err();
    assert!(matches!(error, OpenError::Line(Line::A, _)), "{error}");
    let text = error.to_string();
    assert!(text.starts_with("line A: 198.51.100.1:9 from 127.0.0.1: cannot connect: "), "{text}");
}

#[test]
fn every_time_to_live_but_0_is_taken_by_a_unicast_line() {
    for ttl in [1, 255] {
        builder("127.0.0.1:9").ttl(ttl).open().unwrap();
    }
    let error = builder("127.0.0.1:9").ttl(0).open().unwrap_err();
    assert!(error.to_string().contains("set 1 or more"), "{error}");
    builder("239.255.78.103:9").ttl(0).open().unwrap();
}
