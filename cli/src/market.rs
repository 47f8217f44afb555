//! Invented market data: the messages of one trading day as Nasdaq TotalView-ITCH 5.0 would carry it.
//!
//! The messages follow from a consistent order book: what they refer to exists, nobody executes or cancels more than
//! remains, executions take the oldest order at the best price, and bids stay below offers. The mix, the bursts of the
//! times and the walk of the prices are like a real feed's; the symbols are made up, with a `Z` in front as Nasdaq's own
//! test securities have it.
//!
//! The same seed gives the same bytes on every machine and, unless the golden test says otherwise, in every version.
//! Memory is fixed: at most [`MAX_ORDERS`] orders rest in the book; nothing is allocated after [`MarketData::new`].
//!
//! The day: system events O and S, directory, orders that build up the book before the open, system event Q, opening
//! crosses, then the market without end. Time stands still from 16:00 on, after some 500 million messages.

mod book;
mod message;
#[cfg(test)]
mod tests;
mod trading;

use book::{Book, Side};
use message::Writer;
use seqcast_recovery::Random;

pub use book::MAX_ORDERS;

/// How many symbols are traded.
pub const SYMBOLS: u16 = 50;

/// The length of the buffer that [`MarketData::write_next`] wants; no message is longer than 44 bytes.
pub const BUFFER_BYTES: usize = 64;

/// Orders that rest in the book when the market opens.
const OPENING_ORDERS: u32 = 50 * SYMBOLS as u32;

const SECOND_NS: u64 = 1_000_000_000;
const START_OF_MESSAGES_NS: u64 = 11_100 * SECOND_NS;
const START_OF_SYSTEM_NS: u64 = 14_400 * SECOND_NS;
const BUILD_UP_NS: u64 = 34_199 * SECOND_NS;
const OPEN_NS: u64 = 34_200 * SECOND_NS;
const CLOSE_NS: u64 = 57_600 * SECOND_NS;

/// Makes the messages of a trading day, one after the other.
#[derive(Clone, Debug)]
pub struct MarketData {
    market: Market,
    buffer: [u8; BUFFER_BYTES],
}

impl MarketData {
    /// The day that `seed` stands for, before its first message.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { market: Market::new(seed), buffer: [0; BUFFER_BYTES] }
    }

    /// The next message.
    pub fn next_message(&mut self) -> &[u8] {
        let length = self.market.write_next(&mut self.buffer);
        &self.buffer[..length]
    }

    /// Writes the next message to the beginning of `buffer` and tells its length, 12 to 44 bytes.
    pub fn write_next(&mut self, buffer: &mut [u8; BUFFER_BYTES]) -> usize {
        self.market.write_next(buffer)
    }
}

#[derive(Clone, Debug)]
struct Market {
    random: Random,
    book: Book,
    stage: Stage,
    now_ns: u64,
    /// Bursts are about one symbol each.
    burst: Burst,
    last_reference: u64,
    last_match: u64,
    /// The price of tick 0 of each symbol, in cents.
    base_cents: Vec<u32>,
}

/// How far the day has come.
#[derive(Clone, Copy, Debug)]
enum Stage {
    StartOfMessages,
    Directory { symbol: u16 },
    StartOfSystem,
    BuildUp { orders: u32 },
    StartOfMarket,
    Crosses { symbol: u16 },
    Open,
}

#[derive(Clone, Copy, Debug)]
struct Burst {
    symbol: u16,
    messages_left: u32,
    /// An order that takes from this side of the book goes on for so many executions.
    sweep: Option<(Side, u32)>,
}

/// What happens next in the open market.
enum Event {
    Add,
    Delete,
    Replace,
    Execute,
    Cancel,
    Trade,
}

impl Event {
    /// The mix of an ordinary day, from ten random bits. More is added than leaves, so that the book fills up to its
    /// limit, from where on an addition too many is a deletion.
    fn of(dice: u64) -> Self {
        match dice & 1023 {
            0..460 => Self::Add,
            460..856 => Self::Delete,
            856..964 => Self::Replace,
            964..992 => Self::Execute,
            992..1014 => Self::Cancel,
            _ => Self::Trade,
        }
    }
}

impl Market {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let base_cents = (0..SYMBOLS).map(|_| 300 + random.below(40_000) as u32).collect();
        Self {
            random,
            book: Book::new(SYMBOLS),
            stage: Stage::StartOfMessages,
            now_ns: START_OF_MESSAGES_NS,
            burst: Burst { symbol: 0, messages_left: 0, sweep: None },
            last_reference: 0,
            last_match: 0,
            base_cents,
        }
    }

    fn write_next(&mut self, buffer: &mut [u8; BUFFER_BYTES]) -> usize {
        match self.stage {
            Stage::StartOfMessages => {
                self.stage = Stage::Directory { symbol: 0 };
                Writer::new(buffer, b'S', None, self.now_ns).bytes(b"O").length()
            }
            Stage::Directory { symbol } => {
                self.stage =
                    if symbol + 1 < SYMBOLS { Stage::Directory { symbol: symbol + 1 } } else { Stage::StartOfSystem };
                self.now_ns += 1_000 + self.random.below(9_000);
                self.directory(buffer, symbol)
            }
            Stage::StartOfSystem => {
                self.stage = Stage::BuildUp { orders: 0 };
                self.now_ns = BUILD_UP_NS;
                Writer::new(buffer, b'S', None, START_OF_SYSTEM_NS).bytes(b"S").length()
            }
            Stage::BuildUp { orders } => {
                self.stage = if orders + 1 < OPENING_ORDERS {
                    Stage::BuildUp { orders: orders + 1 }
                } else {
                    Stage::StartOfMarket
                };
                self.now_ns += self.random.below(SECOND_NS / u64::from(OPENING_ORDERS));
                self.burst.symbol = (orders % u32::from(SYMBOLS)) as u16;
                let dice = self.random.next_u64();
                self.add(buffer, dice)
            }
            Stage::StartOfMarket => {
                self.stage = Stage::Crosses { symbol: 0 };
                self.now_ns = OPEN_NS;
                Writer::new(buffer, b'S', None, self.now_ns).bytes(b"Q").length()
            }
            Stage::Crosses { symbol } => {
                self.stage = if symbol + 1 < SYMBOLS { Stage::Crosses { symbol: symbol + 1 } } else { Stage::Open };
                self.now_ns += 500 + self.random.below(20_000);
                self.cross(buffer, symbol)
            }
            Stage::Open => self.trade_on(buffer),
        }
    }

    /// One message of the open market.
    fn trade_on(&mut self, buffer: &mut [u8; BUFFER_BYTES]) -> usize {
        let dice = self.random.next_u64();
        self.pass_time(dice);
        if let Some((side, executions)) = self.burst.sweep {
            self.burst.sweep = executions.checked_sub(1).map(|left| (side, left));
            if let Some(index) = self.book.first(self.burst.symbol, side) {
                return self.execute(buffer, index, dice);
            }
        }
        match Event::of(dice) {
            Event::Add if self.book.len() < MAX_ORDERS => self.add(buffer, dice),
            Event::Trade => self.trade(buffer, dice),
            Event::Execute => {
                let side = self.hit_side();
                let Some(index) = self.book.first(self.burst.symbol, side) else {
                    return self.trade(buffer, dice);
                };
                self.burst.sweep = (dice >> 24 & 7 | 8).trailing_zeros().checked_sub(1).map(|left| (side, left));
                self.execute(buffer, index, dice)
            }
            event => match self.book.pick(dice >> 16) {
                None => self.add(buffer, dice),
                Some(index) => match event {
                    Event::Replace => self.replace(buffer, index, dice),
                    Event::Cancel => self.cancel(buffer, index, dice),
                    _ => self.delete(buffer, index),
                },
            },
        }
    }

    /// Nanoseconds to some microseconds within a burst, up to 4 ms before the next one.
    fn pass_time(&mut self, dice: u64) {
        let mut step_ns = 40 + (dice >> 53);
        if self.burst.messages_left == 0 {
            let dice = self.random.next_u64();
            step_ns += dice >> 32 & ((1 << (10 + dice % 13)) - 1);
            // The product of two uniform numbers: a few symbols have most of the traffic.
            let symbols = u64::from(SYMBOLS);
            let symbol = self.random.below(symbols) * (1 + self.random.below(symbols)) / symbols;
            self.burst = Burst { symbol: symbol as u16, messages_left: 1 + (dice >> 8 & 15) as u32, sweep: None };
        }
        self.burst.messages_left -= 1;
        self.now_ns = (self.now_ns + step_ns).min(CLOSE_NS);
    }
}
