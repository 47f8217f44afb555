//! No bytes panic the reader of requests, and what it accepts is read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use seqcast_protocol::Request;

fuzz_target!(|bytes: &[u8]| {
    let Ok(request) = Request::parse(bytes) else { return };
    assert!(request.range().start() >= 1 && (1..=0xFFFF).contains(&request.range().count()));
    assert_eq!(Request::parse(&request.to_bytes()), Ok(request));
});
