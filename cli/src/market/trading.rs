//! What happens in the market, each as one message: the book changes, and the message says how.

use super::book::{LAST_TICK, Order, OrderIndex, Side};
use super::message::Writer;
use super::{BUFFER_BYTES, Market};

impl Market {
    /// The side that the next execution takes from: the bids the more, the higher the price, so that it never leaves the
    /// ticks that there are.
    pub(super) fn hit_side(&mut self) -> Side {
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

    pub(super) fn directory(&self, buffer: &mut [u8; BUFFER_BYTES], symbol: u16) -> usize {
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

    pub(super) fn cross(&mut self, buffer: &mut [u8; BUFFER_BYTES], symbol: u16) -> usize {
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

    pub(super) fn add(&mut self, buffer: &mut [u8; BUFFER_BYTES], dice: u64) -> usize {
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

    pub(super) fn execute(&mut self, buffer: &mut [u8; BUFFER_BYTES], index: OrderIndex, dice: u64) -> usize {
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
    pub(super) fn cancel(&mut self, buffer: &mut [u8; BUFFER_BYTES], index: OrderIndex, dice: u64) -> usize {
        let order = self.book.order(index);
        if order.shares == 1 {
            return self.delete(buffer, index);
        }
        let shares = 1 + (dice >> 40) as u32 % (order.shares - 1);
        self.book.reduce(index, shares);
        Writer::new(buffer, b'X', Some(order.symbol), self.now_ns).u64(order.reference).u32(shares).length()
    }

    pub(super) fn delete(&mut self, buffer: &mut [u8; BUFFER_BYTES], index: OrderIndex) -> usize {
        let order = self.book.remove(index);
        Writer::new(buffer, b'D', Some(order.symbol), self.now_ns).u64(order.reference).length()
    }

    pub(super) fn replace(&mut self, buffer: &mut [u8; BUFFER_BYTES], index: OrderIndex, dice: u64) -> usize {
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
    pub(super) fn trade(&mut self, buffer: &mut [u8; BUFFER_BYTES], dice: u64) -> usize {
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
