//! Every message is checked by a replayer that knows nothing of the generator.

use super::*;
use std::collections::{BTreeMap, HashMap};

/// An order book built from the messages alone.
#[derive(Default)]
struct Replayer {
    orders: HashMap<u64, Resting>,
    /// Per stock locate and side: how many shares at which price.
    depth: HashMap<(u16, u8), BTreeMap<u32, u64>>,
    last_reference: u64,
    last_match: u64,
    time_ns: u64,
    symbols: HashMap<u16, [u8; 8]>,
    kinds: BTreeMap<char, u64>,
    most_orders: usize,
}

#[derive(Clone, Copy)]
struct Resting {
    locate: u16,
    side: u8,
    shares: u32,
    price: u32,
}

fn field<const N: usize>(message: &[u8], at: usize) -> [u8; N] {
    message[at..at + N].try_into().unwrap()
}

fn u32_at(message: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(field(message, at))
}

fn u64_at(message: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(field(message, at))
}

impl Replayer {
    fn apply(&mut self, message: &[u8]) {
        let kind = message[0];
        let length = match kind {
            b'S' => 12,
            b'R' => 39,
            b'A' | b'C' => 36,
            b'F' | b'Q' => 40,
            b'E' => 31,
            b'X' => 23,
            b'D' => 19,
            b'U' => 35,
            b'P' => 44,
            _ => panic!("no message is of type {kind}"),
        };
        assert_eq!(message.len(), length, "{}", char::from(kind));
        *self.kinds.entry(char::from(kind)).or_default() += 1;
        let locate = u16::from_be_bytes(field(message, 1));
        let [a, b, c, d, e, f] = field(message, 5);
        let time_ns = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        assert!(self.time_ns <= time_ns && time_ns < 86_400_000_000_000);
        self.time_ns = time_ns;
        match kind {
            b'S' => assert_eq!(locate, 0),
            b'R' => assert_eq!(self.symbols.insert(locate, field(message, 11)), None),
            b'A' | b'F' => {
                assert_eq!(self.symbols[&locate], field(message, 24));
                let (side, shares, price) = (message[19], u32_at(message, 20), u32_at(message, 32));
                self.add(u64_at(message, 11), Resting { locate, side, shares, price });
            }
            b'E' | b'C' => {
                let reference = u64_at(message, 11);
                let order = self.orders[&reference];
                assert_eq!(order.price, self.best(locate, order.side).unwrap(), "executions take the best price");
                self.reduce(reference, locate, u32_at(message, 19));
                self.matched(u64_at(message, 23));
            }
            b'X' => {
                let (reference, shares) = (u64_at(message, 11), u32_at(message, 19));
                assert!(shares < self.orders[&reference].shares, "a cancel leaves something");
                self.reduce(reference, locate, shares);
            }
            b'D' => {
                let reference = u64_at(message, 11);
                self.reduce(reference, locate, self.orders[&reference].shares);
            }
            b'U' => {
                let old = u64_at(message, 11);
                let side = self.orders[&old].side;
                self.reduce(old, locate, self.orders[&old].shares);
                let (shares, price) = (u32_at(message, 27), u32_at(message, 31));
                self.add(u64_at(message, 19), Resting { locate, side, shares, price });
            }
            b'P' => {
                assert_eq!(self.symbols[&locate], field(message, 24));
                assert!(u32_at(message, 20) > 0 && u32_at(message, 32) > 0);
                self.matched(u64_at(message, 36));
            }
            _ => {
                assert_eq!(self.symbols[&locate], field(message, 19));
                self.matched(u64_at(message, 31));
            }
        }
        self.most_orders = self.most_orders.max(self.orders.len());
    }

    fn add(&mut self, reference: u64, order: Resting) {
        assert!(reference > self.last_reference, "references are new and increase");
        self.last_reference = reference;
        assert!(order.side == b'B' || order.side == b'S');
        assert!(order.shares > 0);
        assert!(order.price > 0 && order.price.is_multiple_of(100), "prices lie on the tick grid");
        *self.depth.entry((order.locate, order.side)).or_default().entry(order.price).or_default() +=
            u64::from(order.shares);
        self.orders.insert(reference, order);
        if let (Some(bid), Some(offer)) = (self.best(order.locate, b'B'), self.best(order.locate, b'S')) {
            assert!(bid < offer, "the book is crossed: {bid} {offer}");
        }
    }

    fn reduce(&mut self, reference: u64, locate: u16, shares: u32) {
        let order = self.orders.get_mut(&reference).expect("the order rests");
        assert_eq!(order.locate, locate);
        assert!(0 < shares && shares <= order.shares, "{shares} of {}", order.shares);
        order.shares -= shares;
        let depth = self.depth.get_mut(&(locate, order.side)).unwrap();
        let at_price = depth.get_mut(&order.price).unwrap();
        *at_price -= u64::from(shares);
        if *at_price == 0 {
            depth.remove(&order.price);
        }
        if order.shares == 0 {
            self.orders.remove(&reference);
        }
    }

    fn best(&self, locate: u16, side: u8) -> Option<u32> {
        let depth = self.depth.get(&(locate, side))?;
        let best = if side == b'B' { depth.last_key_value() } else { depth.first_key_value() };
        best.map(|(&price, _)| price)
    }

    fn matched(&mut self, number: u64) {
        assert!(number > self.last_match, "match numbers increase");
        self.last_match = number;
    }
}

#[test]
fn every_message_is_consistent_with_those_before_it() {
    for seed in [0, 1, u64::MAX] {
        let mut market = MarketData::new(seed);
        let mut replayer = Replayer::default();
        for _ in 0..400_000 {
            replayer.apply(market.next_message());
        }
        assert!(replayer.most_orders <= MAX_ORDERS);
        assert_eq!(replayer.symbols.len(), usize::from(SYMBOLS));
    }
}

#[test]
fn the_mix_is_that_of_an_ordinary_day_even_when_the_book_is_full() {
    let mut market = MarketData::new(7);
    let mut replayer = Replayer::default();
    for _ in 0..2_000_000 {
        replayer.apply(market.next_message());
    }
    assert_eq!(replayer.most_orders, MAX_ORDERS, "long enough to fill the book");
    replayer.kinds.clear();
    for _ in 0..100_000 {
        replayer.apply(market.next_message());
    }
    let percent = |kinds: &str| kinds.chars().map(|kind| replayer.kinds.get(&kind).unwrap_or(&0)).sum::<u64>() / 1_000;
    assert!((38..=46).contains(&percent("AF")), "{:?}", replayer.kinds);
    assert!((35..=43).contains(&percent("D")), "{:?}", replayer.kinds);
    assert!((8..=12).contains(&percent("U")), "{:?}", replayer.kinds);
    assert!((3..=8).contains(&percent("EC")), "{:?}", replayer.kinds);
    assert!((1..=4).contains(&percent("X")), "{:?}", replayer.kinds);
    assert!(replayer.kinds.keys().eq(&['A', 'C', 'D', 'E', 'F', 'P', 'U', 'X']), "{:?}", replayer.kinds);
}

#[test]
fn the_day_begins_with_events_directory_orders_and_crosses() {
    let mut market = MarketData::new(3);
    let mut kinds = String::new();
    for _ in 0..3 + 2 * u32::from(SYMBOLS) + OPENING_ORDERS {
        let message = market.next_message();
        let kind = match message[0] {
            b'S' => char::from(message[11]).to_ascii_lowercase(),
            b'F' => 'A',
            kind => char::from(kind),
        };
        if !kinds.ends_with(kind) {
            kinds.push(kind);
        }
    }
    assert_eq!(kinds, "oRsAqQ");
}

#[test]
fn both_ways_to_ask_give_the_same_messages_and_seeds_differ() {
    let (mut one, mut other, mut third) = (MarketData::new(5), MarketData::new(5), MarketData::new(6));
    let mut buffer = [0xFF; BUFFER_BYTES];
    let mut is_different = false;
    for _ in 0..5_000 {
        let length = other.write_next(&mut buffer);
        assert_eq!(one.next_message(), &buffer[..length]);
        is_different |= third.next_message() != &buffer[..length];
    }
    assert!(is_different);
}

#[test]
fn time_never_passes_the_close() {
    let mut market = MarketData::new(9);
    for _ in 0..10_000 {
        market.next_message();
    }
    market.market.now_ns = CLOSE_NS - 10;
    let mut replayer = Replayer::default();
    for _ in 0..1_000 {
        let message = market.next_message();
        let [a, b, c, d, e, f] = field(message, 5);
        replayer.time_ns = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        assert!(replayer.time_ns <= CLOSE_NS);
    }
    assert_eq!(replayer.time_ns, CLOSE_NS);
}

#[test]
fn the_first_messages_of_a_seed_never_change() {
    let mut market = MarketData::new(1);
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    let mut bytes = 0;
    for _ in 0..10_000 {
        let message = market.next_message();
        bytes += message.len();
        for &byte in message {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }
    assert_eq!(
        (bytes, hash),
        (310_262, 14_165_736_522_353_432_158),
        "FNV-1a; a change here changes everybody's seeded runs"
    );
}
