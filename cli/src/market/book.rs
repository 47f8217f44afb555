//! The order books of all symbols: price and time priority in constant memory and constant time.

/// The most orders that rest at once; arbitrary, some hundred for each symbol, and small enough for a cache.
pub const MAX_ORDERS: usize = 32_768;

/// Prices are ticks `0..=LAST_TICK` of one cent above a symbol's base; bids are below the last, offers above 0.
pub(super) const LAST_TICK: u16 = TICKS as u16 - 1;

const TICKS: usize = 1_024;
const WORDS: usize = TICKS / 64;

/// Orders added lately are picked more often: three times of four one of so many.
const RECENT: u64 = 2_048;

/// The end of a list.
const NONE: u32 = u32::MAX;

/// A side of the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Buy,
    Sell,
}

impl Side {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }

    /// As ITCH writes it.
    pub(super) const fn letter(self) -> &'static [u8; 1] {
        match self {
            Self::Buy => b"B",
            Self::Sell => b"S",
        }
    }
}

/// An order that rests in the book.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) reference: u64,
    pub(super) symbol: u16,
    pub(super) side: Side,
    pub(super) tick: u16,
    pub(super) shares: u32,
}

/// Where an order is stored, as long as it rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OrderIndex(u32);

#[derive(Clone, Copy, Debug)]
struct Entry {
    order: Order,
    /// The neighbours at the same price.
    earlier: u32,
    later: u32,
    /// Where `resting` names this entry.
    place: u32,
}

/// The orders at one price, the oldest first.
#[derive(Clone, Copy, Debug)]
struct Level {
    first: u32,
    last: u32,
}

const EMPTY: Level = Level { first: NONE, last: NONE };

/// One bit for each tick with orders.
type Ticks = [u64; WORDS];

/// One symbol. Both sides share the levels: as bids are below offers, a tick has orders of one side only.
#[derive(Clone, Debug)]
struct SymbolBook {
    levels: [Level; TICKS],
    bids: Ticks,
    offers: Ticks,
}

impl SymbolBook {
    fn ticks_mut(&mut self, side: Side) -> &mut Ticks {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.offers,
        }
    }
}

/// All books.
///
/// Invariants: `resting` names every entry in use once, `free` all others; at each symbol the highest bid is below the
/// lowest offer; every resting order has shares.
#[derive(Clone, Debug)]
pub(super) struct Book {
    entries: Vec<Entry>,
    resting: Vec<u32>,
    free: Vec<u32>,
    symbols: Vec<SymbolBook>,
}

impl Book {
    pub(super) fn new(symbols: u16) -> Self {
        let order = Order { reference: 0, symbol: 0, side: Side::Buy, tick: 0, shares: 0 };
        let entry = Entry { order, earlier: NONE, later: NONE, place: 0 };
        let book = SymbolBook { levels: [EMPTY; TICKS], bids: [0; WORDS], offers: [0; WORDS] };
        Self {
            entries: vec![entry; MAX_ORDERS],
            resting: Vec::with_capacity(MAX_ORDERS),
            free: (0..MAX_ORDERS as u32).rev().collect(),
            symbols: vec![book; usize::from(symbols)],
        }
    }

    /// How many orders rest.
    pub(super) fn len(&self) -> usize {
        self.resting.len()
    }

    pub(super) fn order(&self, index: OrderIndex) -> Order {
        self.entries[index.0 as usize].order
    }

    /// The highest bid or the lowest offer.
    pub(super) fn best(&self, symbol: u16, side: Side) -> Option<u16> {
        let book = &self.symbols[usize::from(symbol)];
        let tick = match side {
            Side::Buy => {
                let word = book.bids.iter().rposition(|&word| word != 0)?;
                word * 64 + 63 - book.bids[word].leading_zeros() as usize
            }
            Side::Sell => {
                let word = book.offers.iter().position(|&word| word != 0)?;
                word * 64 + book.offers[word].trailing_zeros() as usize
            }
        };
        Some(tick as u16)
    }

    /// The order that an execution takes first: the oldest at the best price.
    pub(super) fn first(&self, symbol: u16, side: Side) -> Option<OrderIndex> {
        let tick = self.best(symbol, side)?;
        Some(OrderIndex(self.symbols[usize::from(symbol)].levels[usize::from(tick)].first))
    }

    /// Some resting order, rather a recent one.
    pub(super) fn pick(&self, dice: u64) -> Option<OrderIndex> {
        let count = self.resting.len() as u64;
        let among = if dice & 3 == 0 { count } else { count.min(RECENT) };
        let back = ((dice >> 2 & 0xFFFF_FFFF) * among) >> 32;
        self.resting.iter().nth_back(back as usize).map(|&index| OrderIndex(index))
    }

    /// Puts an order behind all others at its price. There is room when fewer than [`MAX_ORDERS`] rest.
    pub(super) fn insert(&mut self, order: Order) {
        let index = self.free.pop().expect("the caller keeps below the limit");
        let book = &mut self.symbols[usize::from(order.symbol)];
        let tick = usize::from(order.tick);
        let level = &mut book.levels[tick];
        let earlier = level.last;
        level.last = index;
        if earlier == NONE {
            level.first = index;
            book.ticks_mut(order.side)[tick / 64] |= 1 << (tick % 64);
        } else {
            self.entries[earlier as usize].later = index;
        }
        let place = self.resting.len() as u32;
        self.resting.push(index);
        self.entries[index as usize] = Entry { order, earlier, later: NONE, place };
    }

    /// Takes `shares`, at most those that remain, off an order; without any left it is gone.
    pub(super) fn reduce(&mut self, index: OrderIndex, shares: u32) {
        let order = &mut self.entries[index.0 as usize].order;
        order.shares -= shares;
        if order.shares == 0 {
            self.remove(index);
        }
    }

    /// Takes an order out of the book.
    pub(super) fn remove(&mut self, index: OrderIndex) -> Order {
        let Entry { order, earlier, later, place } = self.entries[index.0 as usize];
        let book = &mut self.symbols[usize::from(order.symbol)];
        let tick = usize::from(order.tick);
        let level = &mut book.levels[tick];
        match earlier {
            NONE => level.first = later,
            earlier => self.entries[earlier as usize].later = later,
        }
        match later {
            NONE => level.last = earlier,
            later => self.entries[later as usize].earlier = earlier,
        }
        if level.first == NONE {
            book.ticks_mut(order.side)[tick / 64] &= !(1 << (tick % 64));
        }
        self.resting.swap_remove(place as usize);
        if let Some(&moved) = self.resting.get(place as usize) {
            self.entries[moved as usize].place = place;
        }
        self.free.push(index.0);
        order
    }
}
