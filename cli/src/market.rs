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

use book::{Book, LAST_TICK, Order, OrderIndex, Side};
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
                match self.book.first(self.burst.symbol, side) {
                    Some(index) => {
                        self.burst.sweep =
                            (dice >> 24 & 7 | 8).trailing_zeros().checked_sub(1).map(|left| (side, left));
                        self.execute(buffer, index, dice)
                    }
                    None => self.add(buffer, dice),
                }
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

    /// The side that the next execution takes from: the bids the more, the higher the price, so that it never leaves the
    /// ticks that there are.
    fn hit_side(&mut self) -> Side {
        let tick = self.book.best(self.burst.symbol, Side::Buy).unwrap_or(LAST_TICK / 2);
        let hits_bids = self.random.below(u64::from(LAST_TICK)) < u64::from(tick);
        if hits_bids { Side::Buy } else { Side::Sell }
    }

    /// A tick for a new order: mostly a bit behind the best price of its side, else inside the spread, the further the
    /// wider that is, and never across the other side's best.
    fn tick(&self, symbol: u16, side: Side, dice: u64) -> u16 {
        let other = self.book.best(symbol, side.other()).map(i32::from);
        let better = if side == Side::Buy { 1 } else { -1 };
        let best = match (self.book.best(symbol, side), other) {
            (Some(best), _) => i32::from(best),
            (None, Some(other)) => other - 2 * better,
            (None, None) => i32::from(LAST_TICK) / 2 - better,
        };
        let depth = ((dice >> 32 & 31).min(dice >> 37 & 31)) as i32;
        let spread = other.map_or(0, |other| (other - best).abs());
        let is_better = dice >> 42 & 7 == 0;
        let wanted = if is_better { best + better * (1 + spread / 4) } else { best - better * depth };
        let last = i32::from(LAST_TICK);
        let tick = match side {
            Side::Buy => wanted.min(other.unwrap_or(last) - 1).max(0),
            Side::Sell => wanted.max(other.unwrap_or(0) + 1).min(last),
        };
        tick as u16
    }

    /// Mostly a round lot, seldom a block or an odd lot.
    fn shares(dice: u64) -> u32 {
        let size = (dice >> 8 & 255) as u32;
        match dice & 7 {
            0..5 => 100,
            5 => 100 * (2 + size % 9),
            6 => 1 + size % 99,
            _ => 1_000 + 100 * size,
        }
    }

    /// In the unit of ITCH, 1/10,000 dollar.
    fn price(&self, symbol: u16, tick: u16) -> u32 {
        (self.base_cents[usize::from(symbol)] + u32::from(tick)) * 100
    }

    fn next_reference(&mut self, dice: u64) -> u64 {
        self.last_reference += 1 + (dice >> 61);
        self.last_reference
    }

    fn next_match(&mut self) -> u64 {
        self.last_match += 1;
        self.last_match
    }

    fn directory(&self, buffer: &mut [u8; BUFFER_BYTES], symbol: u16) -> usize {
        let category = b"QGSNP"[usize::from(symbol % 5)];
        Writer::new(buffer, b'R', Some(symbol), self.now_ns)
            .stock(symbol)
            .bytes(&[category, b'N'])
            .u32(100)
            .bytes(b"NCZ PN 1N")
            .u32(0)
            .bytes(b"N")
            .length()
    }

    fn cross(&mut self, buffer: &mut [u8; BUFFER_BYTES], symbol: u16) -> usize {
        let shares = 100 * (1 + self.random.below(5_000));
        let tick = self.book.best(symbol, Side::Buy).unwrap_or(LAST_TICK / 2);
        let price = self.price(symbol, tick);
        let match_number = self.next_match();
        Writer::new(buffer, b'Q', Some(symbol), self.now_ns)
            .u64(shares)
            .stock(symbol)
            .u32(price)
            .u64(match_number)
            .bytes(b"O")
            .length()
    }

    fn add(&mut self, buffer: &mut [u8; BUFFER_BYTES], dice: u64) -> usize {
        let symbol = self.burst.symbol;
        let side = if dice >> 60 & 1 == 0 { Side::Buy } else { Side::Sell };
        let tick = self.tick(symbol, side, dice);
        let (reference, shares) = (self.next_reference(dice), Self::shares(dice >> 16));
        self.book.insert(Order { reference, symbol, side, tick, shares });
        let price = self.price(symbol, tick);
        let is_attributed = dice >> 46 & 15 == 0;
        let message = Writer::new(buffer, if is_attributed { b'F' } else { b'A' }, Some(symbol), self.now_ns)
            .u64(reference)
            .bytes(side.letter())
            .u32(shares)
            .stock(symbol)
            .u32(price);
        if is_attributed {
            let participants: [&[u8; 4]; 4] = [b"ZAAA", b"ZBBB", b"ZCCC", b"ZDDD"];
            message.bytes(participants[(dice >> 50 & 3) as usize]).length()
        } else {
            message.length()
        }
    }

    fn execute(&mut self, buffer: &mut [u8; BUFFER_BYTES], index: OrderIndex, dice: u64) -> usize {
        let order = self.book.order(index);
        let shares = if dice >> 28 & 3 == 0 { Self::shares(dice >> 30).min(order.shares) } else { order.shares };
        self.book.reduce(index, shares);
        let match_number = self.next_match();
        let is_price_told = dice >> 46 & 15 == 0;
        let message = Writer::new(buffer, if is_price_told { b'C' } else { b'E' }, Some(order.symbol), self.now_ns)
            .u64(order.reference)
            .u32(shares)
            .u64(match_number);
        if is_price_told {
            message.bytes(b"Y").u32(self.price(order.symbol, order.tick)).length()
        } else {
            message.length()
        }
    }

    /// Takes shares off an order, but never all of them.
    fn cancel(&mut self, buffer: &mut [u8; BUFFER_BYTES], index: OrderIndex, dice: u64) -> usize {
        let order = self.book.order(index);
        if order.shares == 1 {
            return self.delete(buffer, index);
        }
        let shares = 1 + (dice >> 40) as u32 % (order.shares - 1);
        self.book.reduce(index, shares);
        Writer::new(buffer, b'X', Some(order.symbol), self.now_ns).u64(order.reference).u32(shares).length()
    }

    fn delete(&mut self, buffer: &mut [u8; BUFFER_BYTES], index: OrderIndex) -> usize {
        let order = self.book.remove(index);
        Writer::new(buffer, b'D', Some(order.symbol), self.now_ns).u64(order.reference).length()
    }

    fn replace(&mut self, buffer: &mut [u8; BUFFER_BYTES], index: OrderIndex, dice: u64) -> usize {
        let old = self.book.remove(index);
        let dice = dice.rotate_left(7);
        let new = Order {
            reference: self.next_reference(dice),
            shares: Self::shares(dice),
            tick: self.tick(old.symbol, old.side, dice),
            ..old
        };
        self.book.insert(new);
        let price = self.price(new.symbol, new.tick);
        Writer::new(buffer, b'U', Some(new.symbol), self.now_ns)
            .u64(old.reference)
            .u64(new.reference)
            .u32(new.shares)
            .u32(price)
            .length()
    }

    /// An execution against an order that the book does not show; its reference is 0 and its side B, as the
    /// specification has it.
    fn trade(&mut self, buffer: &mut [u8; BUFFER_BYTES], dice: u64) -> usize {
        let symbol = self.burst.symbol;
        let tick = self.book.best(symbol, Side::Buy).unwrap_or(LAST_TICK / 2);
        let price = self.price(symbol, tick);
        let match_number = self.next_match();
        Writer::new(buffer, b'P', Some(symbol), self.now_ns)
            .u64(0)
            .bytes(b"B")
            .u32(Self::shares(dice >> 16))
            .stock(symbol)
            .u32(price)
            .u64(match_number)
            .length()
    }
}
