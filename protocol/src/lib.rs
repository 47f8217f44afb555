//! # The wire of seqcast: MoldUDP64, exactly
//!
//! All integers are unsigned and big-endian. One UDP payload is one packet or one request.
//!
//! ## W1. Downstream packet (publisher to subscribers, multicast; a retransmission is the same, unicast)
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 10 | session |
//! | 10 | 8 | sequence number of the first message |
//! | 18 | 2 | message count: 0 heartbeat, 0xFFFF end of session, else 1..=0xFFFE |
//! | 20 | – | count × (2-byte length, not counting itself; that many bytes), no padding; length 0 is legal |
//!
//! ## W2. Heartbeat and end of session
//!
//! A header alone. Both carry the NEXT number of the session and consume none.
//!
//! ## W3. Request (subscriber to the request address, unicast)
//!
//! Exactly 20 bytes: session 10, first wanted number 8, count 2. The answer is at most one packet, never past the range.
//!
//! ## W4. Nothing below
//!
//! The answer to a request for numbers that are no longer retained: one heartbeat, unicast, whose number is the oldest
//! still retained.
//!
//! ## What this crate promises
//!
//! [`Packet::parse`] and [`Request::parse`] look at every byte once; what they return cannot fail or panic afterwards.
//! Nothing here allocates, and nothing here is `unsafe`. Numbers count messages; the first is 1.
#![no_std]
#![forbid(unsafe_code)]

mod error;
mod header;
mod packet;
mod request;
mod sequence;
mod session;
mod writer;

pub use error::{PacketError, PacketFull, RequestError, SessionIdError};
pub use header::{END_OF_SESSION, HEADER_BYTES, HEARTBEAT, Header, LENGTH_BYTES, MAX_MESSAGES};
pub use packet::{Blocks, Packet, PacketKind};
pub use request::Request;
pub use sequence::{SequenceNumber, SequenceRange};
pub use session::{SESSION_BYTES, SessionId};
pub use writer::{MAX_MESSAGE_BYTES, PacketWriter};
