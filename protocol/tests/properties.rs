//! What holds for all bytes: nothing panics, what is written is read back, and a packet is accepted exactly when a naive
//! validator, written from the table in the crate's documentation, accepts it.

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use seqcast_protocol::{
    Blocks, Header, Packet, PacketError, PacketKind, PacketWriter, Request, RequestError, SequenceRange, SessionId,
};
use std::fs;
use std::path::Path;

/// A packet as the naive validator reads it.
#[derive(Debug, PartialEq)]
struct Naive {
    session: [u8; 10],
    sequence: u64,
    kind: PacketKind,
    messages: Vec<Vec<u8>>,
}

/// Reads a packet one byte at a time, in 128-bit arithmetic.
fn naive_packet(bytes: &[u8]) -> Option<Naive> {
    let mut rest = bytes.iter().copied();
    let mut number = |bytes: usize| -> Option<u128> {
        let mut value = 0;
        for _ in 0..bytes {
            value = value * 256 + u128::from(rest.next()?);
        }
        Some(value)
    };
    let session = number(10)?.to_be_bytes()[6..].try_into().unwrap();
    let sequence = number(8)?;
    let (kind, count) = match number(2)? {
        0 => (PacketKind::Heartbeat, 0),
        0xFFFF => (PacketKind::EndOfSession, 0),
        count => (PacketKind::Data, count),
    };
    let mut messages = vec![];
    for _ in 0..count {
        let length = number(2)?;
        messages.push((0..length).map(|_| number(1).map(|byte| byte as u8)).collect::<Option<_>>()?);
    }
    let is_numbered = count == 0 || (sequence >= 1 && sequence + count <= u128::from(u64::MAX));
    let is_whole = rest.next().is_none();
    (is_numbered && is_whole).then_some(Naive { session, sequence: sequence as u64, kind, messages })
}

/// Reads everything that a packet has.
fn packet(bytes: &[u8]) -> Result<Naive, PacketError> {
    let packet = Packet::parse(bytes)?;
    let messages: Vec<Vec<u8>> = packet.messages().map(<[u8]>::to_vec).collect();
    assert_eq!(packet.message_count() as usize, messages.len());
    assert_eq!(packet.range(), SequenceRange::new(packet.sequence(), packet.sequence() + messages.len() as u64));
    assert_eq!(packet.blocks(), &bytes[20..]);
    let mut blocks = Blocks::new(packet.blocks());
    assert_eq!(blocks.by_ref().count(), messages.len());
    assert_eq!(blocks.rest(), []);
    let _ = (packet.session().to_string(), format!("{packet:?}"));
    Ok(Naive { session: *packet.session().as_bytes(), sequence: packet.sequence(), kind: packet.kind(), messages })
}

/// Whatever the bytes are, both readers agree about them.
fn check(bytes: &[u8]) {
    let naive = naive_packet(bytes);
    match packet(bytes) {
        Ok(packet) => assert_eq!(Some(packet), naive),
        Err(error) => {
            assert_eq!(naive, None, "refused: {error}");
            assert_eq!(error == PacketError::TooShort, bytes.len() < 20);
        }
    }
    match Request::parse(bytes) {
        Ok(request) => {
            assert_eq!(bytes.len(), 20);
            let range = request.range();
            assert!(range.start() >= 1 && (1..=0xFFFF).contains(&range.count()));
            assert_eq!(Request::new(request.session(), range), Ok(request));
            let cut = range.end() == u64::MAX;
            assert!(cut || request.to_bytes() == bytes, "only a range that leaves the numbers is altered");
        }
        Err(RequestError::Length) => assert_ne!(bytes.len(), 20),
        Err(RequestError::SequenceZero) => assert_eq!(bytes[10..18], [0; 8]),
        Err(RequestError::CountZero) => assert!(bytes[18..] == [0; 2] || bytes[10..18] == [0xFF; 8]),
    }
    let mut blocks = Blocks::new(bytes);
    let used: usize = blocks.by_ref().map(|message| 2 + message.len()).sum();
    assert_eq!(blocks.rest(), &bytes[used..]);
}

fn messages() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let message = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..60),
        1 => Just(vec![]),
        1 => prop::collection::vec(any::<u8>(), 200..700),
    ];
    prop::collection::vec(message, 0..20)
}

/// Numbers at the edges as well as anywhere.
fn sequence() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), 0..3u64, u64::MAX - 20..=u64::MAX]
}

fn write(session: [u8; 10], first: u64, messages: &[Vec<u8>]) -> Vec<u8> {
    let mut buffer = vec![0xAA; 20 + messages.iter().map(|message| 2 + message.len()).sum::<usize>()];
    let mut writer = PacketWriter::new(&mut buffer, SessionId::from_bytes(session), first);
    for message in messages {
        writer.push(message).unwrap();
    }
    writer.finish().to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_written_is_read_back(
        session in any::<[u8; 10]>(),
        first in 1..u64::MAX - 20,
        messages in messages(),
    ) {
        let bytes = write(session, first, &messages);
        let kind = if messages.is_empty() { PacketKind::Heartbeat } else { PacketKind::Data };
        prop_assert_eq!(packet(&bytes), Ok(Naive { session, sequence: first, kind, messages }));
    }

    #[test]
    fn a_writer_takes_what_fits_and_nothing_else(limit in 20..600usize, messages in messages()) {
        let mut buffer = vec![0; limit];
        let mut writer = PacketWriter::new(&mut buffer, SessionId::from_bytes(*b"PROPERTIES"), 1);
        let mut used = 20;
        let mut taken = vec![];
        for message in messages {
            let fits = used + 2 + message.len() <= limit;
            prop_assert_eq!(writer.push(&message).is_ok(), fits);
            if fits {
                used += 2 + message.len();
                taken.push(message);
            }
            prop_assert_eq!(writer.range(), SequenceRange::with_count(1, taken.len() as u64));
        }
        let bytes = writer.finish();
        prop_assert_eq!(bytes.len(), used);
        prop_assert_eq!(packet(bytes).unwrap().messages, taken);
    }

    #[test]
    fn a_request_is_read_back(session in any::<[u8; 10]>(), first in sequence(), count in any::<u64>()) {
        let range = SequenceRange::with_count(first, count);
        match Request::new(SessionId::from_bytes(session), range) {
            Ok(request) => {
                prop_assert_eq!(Request::parse(&request.to_bytes()), Ok(request));
                prop_assert_eq!(request.range(), SequenceRange::with_count(first, range.count().min(0xFFFF)));
            }
            Err(_) => prop_assert!(first == 0 || range.is_empty()),
        }
    }

    #[test]
    fn arbitrary_bytes_are_read_as_the_naive_validator_reads_them(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        check(&bytes);
    }

    #[test]
    fn arbitrary_headers_are_read_as_the_naive_validator_reads_them(
        session in any::<[u8; 10]>(),
        sequence in sequence(),
        count in prop_oneof![0..4u16, 0xFFFD..=0xFFFFu16, any::<u16>()],
        blocks in prop::collection::vec(0..3u8, 0..12),
    ) {
        let header = Header::new(SessionId::from_bytes(session), sequence, count).to_bytes();
        check(&[&header[..], &blocks].concat());
    }

    #[test]
    fn mutated_packets_are_read_as_the_naive_validator_reads_them(
        sequence in sequence(),
        messages in messages(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
        extra in prop::collection::vec(any::<u8>(), 0..3),
    ) {
        let mut bytes = write(*b"PROPERTIES", sequence, &messages);
        check(&bytes);
        for (index, value) in changes {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        check(&bytes);
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        bytes.extend(extra);
        check(&bytes);
    }
}

#[test]
fn every_number_of_messages_up_to_the_most_is_written_and_read() {
    for count in [1, 2, 0xFFFD, 0xFFFE] {
        let bytes = write(*b"PROPERTIES", 1, &vec![vec![]; count]);
        assert_eq!(packet(&bytes).unwrap().messages.len(), count);
        check(&bytes);
    }
    let mut buffer = vec![0; 20 + 2 * 0xFFFF];
    let mut writer = PacketWriter::new(&mut buffer, SessionId::from_bytes(*b"PROPERTIES"), 1);
    assert_eq!((0..0xFFFF).filter(|_| writer.push(&[]).is_ok()).count(), 0xFFFE, "0xFFFF is an end of session");
}

#[test]
fn the_fuzz_corpus_is_read_as_the_naive_validator_reads_it() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut replayed = 0;
    for target in ["parse_packet", "parse_request"] {
        for file in fs::read_dir(corpus.join(target)).unwrap() {
            check(&fs::read(file.unwrap().path()).unwrap());
            replayed += 1;
        }
    }
    assert!(replayed >= 10, "the corpus is in the repository");
}
