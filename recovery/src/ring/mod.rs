//! # The retained ring: the publisher's memory of recent messages
//!
//! One writer, any number of readers, no locks. The writer never waits for a reader; a reader that is overtaken is told
//! so, and never gets a byte that was not published. The ring lives in one region of 64-bit atomic words that the
//! caller owns (heap, anonymous mapping, file) and that holds no addresses: another process may read it elsewhere.
//!
//! ## R1. Layout, in words
//!
//! | words | what |
//! |---|---|
//! | 0..8 | magic, layout version, session (2 words), data words, index entries, most bytes of a packet's blocks, checksum |
//! | 8..16 | `oldest`: the first number still retained; moves once per eighth of the ring |
//! | 16..24 | `next`: the number after the last retained; `packets`: how many were ever retained |
//! | 24..32 | `sent`: the number after the last that was offered to every line; `state`: live or ended; `sending`: as `sent`, with what is being offered now |
//! | then 2 per entry | the index: entry `k mod index entries` is packet `k`'s first number and data position |
//! | then data words | the records, at positions that only grow; word = position mod data words |
//!
//! Each line of 8 words is a cache line if the region begins at one and the index has four entries or more. Lines 0 and 1
//! are nearly constant, lines 2 and 3 change with every packet: a prefetcher that takes lines in pairs does not drag the one
//! pair along with the other.
//!
//! ## R2. Record
//!
//! A commit word, `first << 33 | bytes << 16 | messages`, never zero, with the lower 31 bits of the number of the first
//! message, so that no other record is taken for this one; then `ceil(bytes / 8)` words of message blocks as they stand on the
//! wire behind the packet's header (W1), in the byte order of memory, the last word padded with ones, which begin no message
//! that fits; then whatever stood there, to the end of the line. The word after the newest record is zero: whoever follows
//! record by record, without index or marks, waits there for the next commit word. Records wrap at the end of the data at any
//! line.
//!
//! Each record begins a line: the fewer lines pass from core to core, the sooner a packet is there. Where records stand close
//! together, a short one lies in two lines as often as not, which makes its round trip about a quarter longer (`seqcast-bench
//! latency --systems bare-memory,seqcast-ring`).
//!
//! ## R3. Order of the writer's stores
//!
//! 1. only when room is short: `oldest` past everything in the way, in whole packets, then a release fence;
//! 2. zero into the word after the record, and the blocks (relaxed, in any order);
//! 3. the commit word (release): whoever follows has the packet;
//! 4. the index entry (relaxed), then `packets` and `next` (release): whoever looks it up finds it. A writer that goes on where
//!    another died between these two steps writes the entry.
//!
//! ## R4. Why a reader can trust what it returns
//!
//! Let packet `k` hold the numbers `f(k)..f(k+1)`. The writer stores into a word of packet `k`, of its record or its
//! entry, for the sake of a later packet only after it has stored an `oldest >= f(k+1)` and fenced (R3).
//!
//! A reader loads `next` (acquire), so that it sees every packet below it in full, or something later; copies words;
//! then fences (acquire); then loads `oldest`. If one copied word came from such a later store, the two fences
//! synchronize, and the load returns at least `f(k+1)`. Hence
//!
//! ```text
//! oldest <= f(k), loaded after the fence   =>   no copied word of packet k, record or entry, was overwritten
//! ```
//!
//! This one mark is enough for data and index alike: it is a number, not a position; whichever of the two is short,
//! both are given up by moving it; and it only grows. It stands between packets, so `oldest <= n` for any number `n` of
//! a packet means that the whole packet is there.
//!
//! Until that check, what was copied is only a guess: each length is compared with its limit before it is followed,
//! each position is masked.
//!
//! ## R5. Why the search finds the right packet
//!
//! A read from number `s < next` looks for the packet `j` with `f(j) <= s < f(j+1)` among the last `E` (the index
//! entries) of `P = packets`, which is loaded after `next`, so that `j < P`. The entry of packet `k` reads as `f(k)`
//! or, overwritten, as some `f(k + m E) >= f(P)`: larger than `s`, and larger than the newest, `f(P-1)`. By the latter
//! an overwritten entry is recognised. If `s` is still retained, such a `k` is below `j`, and the search goes up from it.
//! (If the newest entry was itself overwritten, nothing below `f(P)` is retained, nor is `s`.)
//!
//! The search ends at an entry that reads as `f(k) <= s` and so is genuine, beside one that reads as larger than `s`.
//! `oldest <= f(k)` (R4) then says that packet `k` and all later ones are there, the neighbour's entry included: `k` is
//! `j`. If the check fails, or no such entry is left, then `oldest > s`: "overwritten" is never a false alarm either,
//! and nothing is ever tried twice.
//!
//! ## R6. Limits
//!
//! A search reads at most `2 * log2(index entries) + 2` entries. A read ends with its range, with `next` as first
//! loaded, with the buffer, or after 0xFFFE messages. Positions and numbers are 64 bits wide and are taken never to
//! overflow: at 10^9 words per second that takes 584 years.

mod follower;
mod layout;
mod reader;
mod span;
pub(crate) mod sync;
#[cfg(all(test, not(loom)))]
mod tests;
mod writer;

pub use follower::{Followed, RingFollower};
pub use layout::{MAX_BLOCKS_BYTES, RingError, RingSize};
pub use reader::{RingRead, RingReadError, RingReader};
pub use span::RingSpan;
pub use writer::{RetainError, RingWriter};
