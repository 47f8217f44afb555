//! Publishes a quote a millisecond for ten seconds, on loopback. Run `book`, the subscriber's example, beside it.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use seqcast_publisher::{Line, Publisher};
use std::error::Error;
use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A quote as it stands in a message: big-endian, unaligned, 20 bytes.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Quote {
    instrument: U32,
    price: U64,
    size: U64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut publisher = Publisher::builder("QUOTES".parse()?)
        .line(Line::A, "239.255.77.2:30002@127.0.0.1".parse()?)
        .requests("127.0.0.1:30102".parse()?)
        .open()?;
    for tick in 0..10_000 {
        let mut quote = publisher.claim_as::<Quote>()?;
        quote.instrument.set(1);
        quote.price.set(1_000_000 + tick % 100);
        quote.size.set(100);
        quote.commit();
        let flushed = publisher.flush()?;
        if flushed.refused > 0 {
            println!("{}: the kernel refused a packet; whoever misses it will ask", flushed.range);
        }
        std::thread::park_timeout(std::time::Duration::from_millis(1));
    }
    println!("{:?}", publisher.close()?);
    Ok(())
}
