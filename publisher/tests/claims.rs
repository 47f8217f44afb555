//! Claims, as a caller sees them.

use seqcast_publisher::{ClaimError, Line, OpenError, PublishError, Publisher, PublisherBuilder};
use std::net::UdpSocket;
use std::time::Duration;
use zerocopy::byteorder::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Trade {
    size: U16,
    price: U32,
}

fn builder() -> PublisherBuilder {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let line = format!("239.255.78.101:{port}@127.0.0.1").parse().unwrap();
    Publisher::builder("CLAIMS".parse().unwrap()).line(Line::A, line).retain_bytes(1 << 20).linger(Duration::ZERO)
}

#[test]
fn a_value_is_filled_in_place_and_numbered_when_committed() {
    let mut publisher = builder().open().unwrap();
    let mut trade = publisher.claim_as::<Trade>().unwrap();
    assert_eq!((trade.size.get(), trade.price.get()), (0, 0), "zeroed");
    trade.price.set(7);
    trade.abandon();
    let mut trade = publisher.claim_as::<Trade>().unwrap();
    assert_eq!(trade.price.get(), 0, "what was abandoned left nothing");
    trade.size.set(1);
    assert_eq!(trade.commit(), 1);
    assert_eq!(publisher.publish(b"text").unwrap(), 2);
    let flushed = publisher.flush().unwrap();
    assert_eq!((flushed.range.start(), flushed.range.end(), flushed.sent, flushed.refused), (1, 3, 1, 0));
    assert_eq!(publisher.close().unwrap().messages, 2);
}

#[test]
fn a_full_buffer_is_flushed_by_the_next_claim() {
    let mut publisher = builder().open().unwrap();
    let longest = vec![7; publisher.max_message_bytes()];
    for number in 1..=200 {
        assert_eq!(publisher.publish(&longest).unwrap(), number);
    }
    assert!(publisher.counters().messages >= 100, "{:?}", publisher.counters());
    let error = publisher.publish(&vec![7; longest.len() + 1]).unwrap_err();
    assert!(
        matches!(error, PublishError::Claim(ClaimError::TooLong { limit, .. }) if limit == longest.len()),
        "{error}"
    );
    assert_eq!(publisher.close().unwrap().messages, 200);
}

#[test]
fn settings_that_cannot_be_had_are_named() {
    let error = builder().max_datagram(63).open().unwrap_err();
    assert!(matches!(error, OpenError::MaxDatagram(63)), "{error}");
    let error = builder().requests("0.0.0.0:30100".parse().unwrap()).open().unwrap_err();
    assert!(matches!(error, OpenError::UnspecifiedRequests(_)), "{error}");
    let error = Publisher::builder("NOLINE".parse().unwrap()).open().unwrap_err();
    assert!(matches!(error, OpenError::NoLine), "{error}");
    let first = builder().requests("127.0.0.1:0".parse().unwrap()).open().unwrap();
    let taken = first.request_address().unwrap();
    let error = builder().requests(taken).open().unwrap_err();
    assert!(matches!(error, OpenError::Requests(_)) && error.to_string().contains(&taken.to_string()), "{error}");
}
