//! The exact bytes of every packet kind, both ways: what is written is this, and this is read as what was written.
//! Each test names its place in the crate's documentation, W1 to W4.

use seqcast_protocol::{
    Header, Packet, PacketError, PacketKind, PacketWriter, Request, RequestError, SequenceRange, SessionId,
};

/// The session `EQ2026`, padded on the right with spaces.
const SESSION: SessionId = SessionId::from_bytes(*b"EQ2026    ");

/// Writes a packet of these messages into a buffer that holds bytes of an earlier packet.
fn write(first: u64, messages: &[&[u8]]) -> Vec<u8> {
    let mut buffer = [0xAA; 256];
    let mut writer = PacketWriter::new(&mut buffer, SESSION, first);
    for message in messages {
        writer.push(message).unwrap();
    }
    writer.finish().to_vec()
}

/// Reads a packet as its kind, its first number and its messages.
fn read(bytes: &[u8]) -> (PacketKind, u64, Vec<&[u8]>) {
    let packet = Packet::parse(bytes).unwrap();
    assert_eq!(packet.session(), SESSION);
    (packet.kind(), packet.sequence(), packet.messages().collect())
}

#[test]
fn w1_a_packet_of_one_message() {
    #[rustfmt::skip]
    let golden = [
        b'E', b'Q', b'2', b'0', b'2', b'6', b' ', b' ', b' ', b' ', // session
        0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, // number of the first message
        0x00, 0x01, // message count
        0x00, 0x05, b'h', b'e', b'l', b'l', b'o',
    ];
    assert_eq!(write(0x0102_0304_0506_0708, &[b"hello"]), golden);
    assert_eq!(read(&golden), (PacketKind::Data, 0x0102_0304_0506_0708, vec![&b"hello"[..]]));
}

#[test]
fn w1_a_packet_of_three_messages_one_of_them_empty() {
    #[rustfmt::skip]
    let golden = [
        b'E', b'Q', b'2', b'0', b'2', b'6', b' ', b' ', b' ', b' ', // session
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, // number of the first message
        0x00, 0x03, // message count
        0x00, 0x02, 0xCA, 0xFE,
        0x00, 0x00,
        0x00, 0x01, 0xFF,
    ];
    assert_eq!(write(1, &[&[0xCA, 0xFE], &[], &[0xFF]]), golden);
    assert_eq!(read(&golden), (PacketKind::Data, 1, vec![&[0xCA, 0xFE][..], &[], &[0xFF]]));
    let packet = Packet::parse(&golden).unwrap();
    assert_eq!((packet.range(), packet.message_count()), (SequenceRange::new(1, 4), 3));
    assert_eq!(packet.blocks(), &golden[20..]);
}

#[test]
fn w1_a_message_longer_than_255_bytes_has_its_length_big_endian() {
    let message = [7; 0x102];
    let mut buffer = [0; 300];
    let mut writer = PacketWriter::new(&mut buffer, SESSION, 1);
    writer.push(&message).unwrap();
    let bytes = writer.finish();
    assert_eq!(bytes[20..22], [0x01, 0x02]);
    assert_eq!(read(bytes), (PacketKind::Data, 1, vec![&message[..]]));
}

#[test]
fn w2_a_heartbeat() {
    #[rustfmt::skip]
    let golden = [
        b'E', b'Q', b'2', b'0', b'2', b'6', b' ', b' ', b' ', b' ', // session
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x01, // next number
        0x00, 0x00, // heartbeat
    ];
    assert_eq!(Header::heartbeat(SESSION, 4097).to_bytes(), golden);
    assert_eq!(write(4097, &[]), golden, "a packet without messages is a heartbeat");
    assert_eq!(read(&golden), (PacketKind::Heartbeat, 4097, vec![]));
    assert_eq!(Packet::parse(&golden).unwrap().range(), SequenceRange::new(4097, 4097));
}

#[test]
fn w2_an_end_of_session() {
    #[rustfmt::skip]
    let golden = [
        b'E', b'Q', b'2', b'0', b'2', b'6', b' ', b' ', b' ', b' ', // session
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x01, // one past the last number
        0xFF, 0xFF, // end of session
    ];
    assert_eq!(Header::end_of_session(SESSION, 4097).to_bytes(), golden);
    assert_eq!(read(&golden), (PacketKind::EndOfSession, 4097, vec![]));
    assert_eq!(Packet::parse(&golden).unwrap().message_count(), 0);
}

#[test]
fn w2_nothing_follows_a_heartbeat_or_an_end_of_session() {
    for header in [Header::heartbeat(SESSION, 9), Header::end_of_session(SESSION, 9)] {
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend([0, 0]);
        assert_eq!(Packet::parse(&bytes).unwrap_err(), PacketError::TrailingBytes);
    }
}

#[test]
fn w3_a_request() {
    #[rustfmt::skip]
    let golden = [
        b'E', b'Q', b'2', b'0', b'2', b'6', b' ', b' ', b' ', b' ', // session
        0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x02, // first wanted number
        0x01, 0x03, // how many
    ];
    let request = Request::new(SESSION, SequenceRange::with_count(0x1_0002, 0x103)).unwrap();
    assert_eq!(request.to_bytes(), golden);
    assert_eq!(Request::parse(&golden), Ok(request));
    assert_eq!((request.session(), request.range()), (SESSION, SequenceRange::new(0x1_0002, 0x1_0105)));
}

#[test]
fn w3_a_request_of_a_stranger_with_a_zeroed_session_and_the_most_messages() {
    #[rustfmt::skip]
    let golden = [
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // no session
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, // first wanted number
        0xFF, 0xFF, // how many
    ];
    let request = Request::parse(&golden).unwrap();
    assert_eq!((request.session(), request.range()), (SessionId::UNKNOWN, SequenceRange::new(1, 0x1_0000)));
    assert!(request.session().is_blank());
    assert_eq!(Request::new(SessionId::UNKNOWN, SequenceRange::new(1, u64::MAX)).unwrap().to_bytes(), golden);
}

#[test]
fn w3_a_request_is_exactly_20_bytes_and_asks_for_something() {
    let bytes = Request::new(SESSION, SequenceRange::new(1, 2)).unwrap().to_bytes();
    assert_eq!(Request::parse(&bytes[..19]), Err(RequestError::Length));
    assert_eq!(Request::parse(&[&bytes[..], &[0]].concat()), Err(RequestError::Length));
    assert_eq!(Request::parse(&Header::heartbeat(SESSION, 1).to_bytes()), Err(RequestError::CountZero));
    assert_eq!(Request::parse(&Header::new(SESSION, 0, 1).to_bytes()), Err(RequestError::SequenceZero));
}

#[test]
fn w4_a_trailing_edge_heartbeat() {
    #[rustfmt::skip]
    let golden = [
        b'E', b'Q', b'2', b'0', b'2', b'6', b' ', b' ', b' ', b' ', // session
        0x00, 0x00, 0x00, 0x00, 0x00, 0x0F, 0x42, 0x40, // oldest number still retained
        0x00, 0x00, // heartbeat
    ];
    assert_eq!(Header::heartbeat(SESSION, 1_000_000).to_bytes(), golden);
    assert_eq!(read(&golden), (PacketKind::Heartbeat, 1_000_000, vec![]));
    let request = Request::new(SESSION, SequenceRange::new(5, 9)).unwrap();
    assert_eq!(golden.len(), request.to_bytes().len(), "the answer cannot amplify");
}
