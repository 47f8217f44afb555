use super::*;
use crate::{RingSize, RingWriter};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::{sync::Arc, vec::Vec};
use core::net::Ipv4Addr;
use seqcast_protocol::{Packet, PacketKind, SessionId};

type Memory = Arc<[AtomicU64]>;

const LINGER: Nanos = Nanos::from_micros(200);

/// A responder for the numbers `1..=messages`, of 100 bytes each; twelve make a packet of 1,244 bytes.
fn responder(messages: u64, config: ResponderConfig) -> Responder<Memory> {
    let (mut ring, reader) = ring(1 << 20);
    publish(&mut ring, messages);
    Responder::new(reader, 1_260, config)
}

fn ring(bytes: usize) -> (RingWriter<Memory>, RingReader<Memory>) {
    let size = RingSize::for_bytes(bytes, 1_240);
    let memory: Memory = (0..size.words()).map(|_| AtomicU64::new(0)).collect();
    let ring = RingWriter::create(memory, size, SessionId::UNKNOWN).unwrap();
    let reader = ring.reader();
    (ring, reader)
}

fn publish(ring: &mut RingWriter<Memory>, messages: u64) {
    let mut block = [7; 102];
    block[..2].copy_from_slice(&100u16.to_be_bytes());
    for _ in 0..messages {
        let sent = ring.retain(1, &block).unwrap().end();
        ring.mark_sent(sent);
    }
}

fn client(number: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, number)
}

fn ask(responder: &mut Responder<Memory>, now: Nanos, number: u16, first: u64, count: u64) -> Result<(), Refusal> {
    let request = Request::new(SessionId::UNKNOWN, SequenceRange::with_count(first, count)).unwrap();
    responder.handle_request(now, client(number), &request.to_bytes())
}

/// Whom the next answer is for, and the numbers in it; none when it says that they are overwritten.
fn answer(responder: &mut Responder<Memory>, now: Nanos) -> Option<(u16, SequenceRange)> {
    let (client, packet) = responder.poll_answer(now)?;
    Some((client.port(), Packet::parse(packet).unwrap().range()))
}

fn answers(responder: &mut Responder<Memory>, now: Nanos) -> Vec<(u16, u64)> {
    core::iter::from_fn(|| answer(responder, now)).map(|(client, range)| (client, range.start())).collect()
}

fn refused(counters: &ResponderCounters, refusal: Refusal) -> u64 {
    counters.refused[refusal as usize]
}

fn report(responder: &Responder<Memory>, number: u16) -> Option<ClientReport> {
    responder.clients().find(|report| report.address == client(number)).copied()
}

/// Sums never shrink: every request has become an answer or a refusal, or waits.
fn check_sums(responder: &Responder<Memory>) {
    let settled = |counters: &ResponderCounters| {
        counters.retransmissions + counters.overwritten + counters.refused.iter().sum::<u64>()
    };
    let mut waiting = 0;
    for report in responder.clients() {
        waiting += report.counters.requests - settled(&report.counters);
    }
    let counters = responder.counters();
    assert_eq!(counters.requests, settled(counters) + waiting);
    assert_eq!(waiting > 0, responder.next_answer_at().is_some());
}

#[test]
fn who_asks_for_one_packet_waits_for_one_turn_of_each_other_client() {
    let mut responder = responder(2_000, ResponderConfig { requests_per_client: 64, ..Default::default() });
    let now = Nanos(1);
    for first in 1..=64 {
        ask(&mut responder, now, 1, first, 1).unwrap();
        ask(&mut responder, now, 2, 100 + first, 1_000).unwrap();
    }
    assert_eq!(ask(&mut responder, now, 1, 65, 1), Err(Refusal::Queue));
    assert_eq!(answer(&mut responder, now), Some((1, SequenceRange::new(1, 2))));
    ask(&mut responder, now, 3, 1, 1).unwrap();
    let served: Vec<u16> = answers(&mut responder, now).iter().map(|&(client, _)| client).collect();
    assert_eq!((&served[..6], served.len()), (&[2, 1, 3, 2, 1, 2][..], 128));
    assert_eq!(responder.counters().bytes, 65 * (20 + 102) + 64 * (20 + 12 * 102));
    check_sums(&responder);
}

#[test]
fn the_same_first_number_is_answered_again_after_the_linger() {
    let mut responder = responder(100, ResponderConfig::default());
    let start = Nanos::from_secs(1);
    ask(&mut responder, start, 1, 1, 50).unwrap();
    assert_eq!(ask(&mut responder, start, 1, 1, 50), Err(Refusal::Linger), "it waits already");
    assert_eq!(answer(&mut responder, start), Some((1, SequenceRange::new(1, 13))));
    assert_eq!(ask(&mut responder, start, 1, 1, 40), Err(Refusal::Linger), "the answer would be the same");
    ask(&mut responder, start, 1, 13, 38).expect("the remainder is another range");
    ask(&mut responder, start, 2, 1, 50).expect("another client has not been answered");
    assert_eq!(answers(&mut responder, start), [(1, 13), (2, 1)]);
    assert_eq!(ask(&mut responder, start + LINGER - Nanos(1), 1, 1, 50), Err(Refusal::Linger));
    ask(&mut responder, start + LINGER, 1, 1, 50).unwrap();
    assert_eq!(answers(&mut responder, start + LINGER), [(1, 1)]);
    assert_eq!(refused(&report(&responder, 1).unwrap().counters, Refusal::Linger), 3);
    check_sums(&responder);
}

#[test]
fn the_word_that_numbers_are_overwritten_lingers_and_is_charged() {
    let (mut ring, reader) = ring(1);
    publish(&mut ring, 1_000);
    let oldest = ring.oldest();
    let client_budget = Some(Budget { bytes_per_s: 1_000_000, burst_bytes: 1_260 + 19 });
    let mut responder = Responder::new(reader, 1_260, ResponderConfig { client_budget, ..Default::default() });
    let start = Nanos(1);
    ask(&mut responder, start, 1, 1, 50).unwrap();
    let (_, packet) = responder.poll_answer(start).unwrap();
    assert_eq!(packet, Header::heartbeat(SessionId::UNKNOWN, oldest).to_bytes());
    assert_eq!(ask(&mut responder, start, 1, 1, 50), Err(Refusal::Linger));
    ask(&mut responder, start, 1, 2, 50).unwrap();
    assert_eq!(answer(&mut responder, start), None, "19 bytes above a packet were left");
    let counters = report(&responder, 1).unwrap().counters;
    assert_eq!((counters.overwritten, counters.bytes, refused(&counters, Refusal::ClientBudget)), (1, 20, 1));
    check_sums(&responder);
}

#[test]
fn who_is_over_its_own_budget_takes_nothing_from_others() {
    let budget = Some(Budget { bytes_per_s: 1_000_000, burst_bytes: 20_000 });
    let client_budget = Some(Budget { bytes_per_s: 100_000, burst_bytes: 2_000 });
    let mut responder = responder(5_000, ResponderConfig { budget, client_budget, ..Default::default() });
    let now = Nanos(1);
    for first in 1..=60 {
        ask(&mut responder, now, 1, 20 * first, 20).unwrap();
    }
    for number in 2..=10 {
        ask(&mut responder, now, number, 1, 20).unwrap();
    }
    let served: Vec<u16> = answers(&mut responder, now).iter().map(|&(client, _)| client).collect();
    assert_eq!(served, (1..=10).collect::<Vec<_>>(), "one packet each, and 20,000 - 10 * 1,244 bytes are left");
    assert_eq!(responder.next_answer_at(), None, "nobody is held up");
    assert_eq!(refused(responder.counters(), Refusal::ClientBudget), 59);
    ask(&mut responder, now + Nanos::from_millis(6), 1, 7, 20).expect("what got no answer does not linger");
    assert_eq!(answers(&mut responder, now + Nanos::from_millis(6)), [(1, 7)], "1,244 - 740 bytes are refilled");
    check_sums(&responder);
}

#[test]
fn who_asks_most_often_gets_no_more_of_the_overall_budget() {
    // A packet of 1,244 bytes each 1.244 ms, a request of the one each 0.1 ms, of the others each 10 ms.
    let budget = Some(Budget { bytes_per_s: 1_000_000, burst_bytes: 0 });
    let config = ResponderConfig { budget, requests_per_client: 64, ..Default::default() };
    let mut responder = responder(4_000, config);
    let mut served = [0; 4];
    let mut refused_budget = 0;
    for tick in 1..=10_000 {
        let now = Nanos::from_micros(100 * tick);
        if ask(&mut responder, now, 0, tick % 3_000 + 1, 20) == Err(Refusal::Budget) {
            refused_budget += 1;
        }
        if tick % 100 == 1 {
            (1..4).for_each(|number| ask(&mut responder, now, number, tick % 3_000 + 1, 20).unwrap());
        }
        while let Some((client, _)) = answer(&mut responder, now) {
            served[usize::from(client)] += 1;
        }
    }
    // A packet each 13 ticks: what a tick brings beyond the longest packet is lost.
    assert_eq!(served, [470, 100, 100, 100], "the others in their turn, it what they leave");
    assert_eq!(refused_budget, refused(responder.counters(), Refusal::Budget));
    assert!(refused_budget > 8_000, "{refused_budget}");
    check_sums(&responder);
}

#[test]
fn answers_leave_at_the_time_that_was_named() {
    let budget = Some(Budget { bytes_per_s: 1_000_000, burst_bytes: 0 });
    let mut responder = responder(100, ResponderConfig { budget, ..Default::default() });
    assert_eq!(responder.next_answer_at(), None);
    let mut now = Nanos(1);
    (1..=5).for_each(|first| ask(&mut responder, now, 1, first, 1).unwrap());
    for first in 1..=5 {
        assert_eq!(answer(&mut responder, now).map(|(_, range)| range.start()), Some(first));
        if let Some(next) = responder.next_answer_at() {
            assert_eq!(next, now + Nanos::from_micros(20 + 102));
            assert_eq!(answer(&mut responder, next - Nanos(1)), None);
            now = next;
        }
    }
    assert_eq!(responder.next_answer_at(), None);
}

#[test]
fn who_has_been_idle_for_longest_is_forgotten_first_and_its_counts_remain() {
    let mut responder = responder(100, ResponderConfig { client_limit: 3, ..Default::default() });
    let now = Nanos(1);
    (1..=3).for_each(|number| ask(&mut responder, now, number, 1, 1).unwrap());
    assert_eq!(ask(&mut responder, now, 4, 1, 1), Err(Refusal::Clients), "all wait");
    assert_eq!(answer(&mut responder, now).map(|(client, _)| client), Some(1));
    ask(&mut responder, now, 4, 1, 1).expect("1 is idle");
    assert_eq!(responder.clients().map(|report| report.address.port()).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(answers(&mut responder, now).len(), 3);
    responder.handle_request(now, client(2), b"what").unwrap_err();
    ask(&mut responder, now, 1, 1, 1).expect("3 is idle for longest, and the linger for 1 is forgotten");
    assert_eq!(responder.clients().map(|report| report.address.port()).collect::<Vec<_>>(), [1, 2, 4]);
    assert_eq!(report(&responder, 1).unwrap().counters.requests, 1, "it begins anew");
    assert_eq!((responder.counters().requests, responder.counters().retransmissions), (7, 4));
    check_sums(&responder);
}

#[test]
fn strangers_are_counted_and_push_nobody_out() {
    let networks = Vec::from(["127.0.0.0/30", "10.0.0.0/8"].map(|network| network.parse().unwrap()));
    let mut responder = responder(100, ResponderConfig { networks, client_limit: 2, ..Default::default() });
    let request = Request::new(SessionId::UNKNOWN, SequenceRange::new(1, 2)).unwrap().to_bytes();
    let stranger = |last| SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, last), 9);
    for last in 4..=6 {
        assert_eq!(responder.handle_request(Nanos(last.into()), stranger(last), &request), Err(Refusal::Network));
    }
    assert_eq!(refused(responder.counters(), Refusal::Network), 3);
    let known: Vec<_> = responder.clients().map(|report| (report.address, report.last_heard)).collect();
    assert_eq!(known, [(stranger(4), Nanos(4)), (stranger(5), Nanos(5))]);
    assert_eq!(responder.next_answer_at(), None);
    (1..=2).for_each(|number| ask(&mut responder, Nanos(9), number, 1, 1).expect("a client pushes strangers out"));
    assert_eq!(answers(&mut responder, Nanos(9)), [(1, 1), (2, 1)]);
    responder.handle_request(Nanos(9), stranger(4), &request).unwrap_err();
    assert_eq!(responder.clients().map(|report| report.address.port()).collect::<Vec<_>>(), [1, 2]);
}

/// Who waits for what, in turn, and who is idle, as one would write it down without a thought for its cost.
#[derive(Default)]
struct Model {
    waiting: VecDeque<(u16, VecDeque<u64>)>,
    idle: VecDeque<u16>,
}

impl Model {
    fn ask(&mut self, number: u16, first: u64, client_limit: usize, queue_length: usize) -> Result<(), Refusal> {
        if let Some((_, queue)) = self.waiting.iter_mut().find(|(client, _)| *client == number) {
            if queue.contains(&first) {
                return Err(Refusal::Linger);
            }
            if queue.len() == queue_length {
                return Err(Refusal::Queue);
            }
            queue.push_back(first);
            return Ok(());
        }
        if let Some(place) = self.idle.iter().position(|client| *client == number) {
            self.idle.remove(place);
        } else if self.waiting.len() + self.idle.len() == client_limit && self.idle.pop_front().is_none() {
            return Err(Refusal::Clients);
        }
        self.waiting.push_back((number, [first].into()));
        Ok(())
    }

    fn answer(&mut self) -> Option<(u16, u64)> {
        let (number, mut queue) = self.waiting.pop_front()?;
        let first = queue.pop_front()?;
        if queue.is_empty() {
            self.idle.push_back(number);
        } else {
            self.waiting.push_back((number, queue));
        }
        Some((number, first))
    }
}

#[test]
fn turns_and_clients_are_those_of_a_naive_model() {
    for seed in 0..50 {
        let mut random = crate::Random::new(seed);
        let (client_limit, queue_length) = (1 + random.below(6) as usize, 1 + random.below(5) as usize);
        let linger = Nanos::ZERO;
        let config = ResponderConfig { client_limit, requests_per_client: queue_length, linger, ..Default::default() };
        let (mut responder, mut model) = (responder(100, config), Model::default());
        let answer_in = 1 + random.below(4);
        for step in 0..2_000 {
            let now = Nanos(step);
            if random.below(answer_in) == 0 {
                let (number, first) = (random.below(10) as u16, 1 + random.below(8));
                let expected = model.ask(number, first, client_limit, queue_length);
                assert_eq!(ask(&mut responder, now, number, first, 1), expected, "seed {seed}, step {step}");
            } else {
                let served = answer(&mut responder, now).map(|(client, range)| (client, range.start()));
                assert_eq!(served, model.answer(), "seed {seed}, step {step}");
            }
            check_sums(&responder);
            let known: Vec<u16> = responder.clients().map(|report| report.address.port()).collect();
            let waiting = model.waiting.iter().map(|(client, _)| client);
            let mut expected: Vec<u16> = model.idle.iter().chain(waiting).copied().collect();
            expected.sort_unstable();
            assert_eq!(known, expected, "seed {seed}, step {step}");
        }
    }
}

#[test]
fn whatever_arrives_the_rules_and_the_budgets_hold() {
    let mut seen = [0; 2];
    for seed in 0..50 {
        let mut random = crate::Random::new(seed);
        let mut draw_budget = |rate: u64| {
            let budget = Budget { bytes_per_s: rate / 10 + random.below(rate), burst_bytes: random.below(9_000) };
            (random.below(3) > 0).then_some(budget)
        };
        let (budget, client_budget) = (draw_budget(10_000_000), draw_budget(2_000_000));
        let (mut writer, reader) = ring(1);
        let config = ResponderConfig { budget, client_budget, client_limit: 5, ..Default::default() };
        let mut responder = Responder::new(reader, 1_260, config);
        let mut asked: BTreeMap<(u16, u64), u64> = BTreeMap::new();
        let mut taken: BTreeMap<Option<u16>, Vec<(Nanos, u64)>> = BTreeMap::new();
        let mut now = Nanos::ZERO;
        for _ in 0..1_000 {
            now = now + Nanos(random.below(200_000));
            publish(&mut writer, random.below(4));
            for _ in 0..random.below(6) {
                let number = random.below(4) as u16;
                let first = writer.oldest().saturating_sub(3) + random.below(writer.next() - writer.oldest() + 5);
                let count = random.below(80);
                let mut datagram = Header::new(SessionId::UNKNOWN, first, count as u16).to_bytes();
                if random.below(20) == 0 {
                    datagram[random.below(20) as usize] = random.below(256) as u8;
                }
                let length = if random.below(20) == 0 { random.below(21) as usize } else { 20 };
                if responder.handle_request(now, client(number), &datagram[..length]).is_ok() {
                    let request = Request::parse(&datagram[..length]).unwrap();
                    asked.insert((number, request.range().start()), request.range().end());
                }
            }
            for _ in 0..random.below(6) {
                let Some((client, bytes)) = responder.poll_answer(now) else { break };
                let (number, packet) = (client.port(), Packet::parse(bytes).unwrap());
                for key in [None, Some(number)] {
                    taken.entry(key).or_default().push((now, bytes.len() as u64));
                }
                if packet.kind() == PacketKind::Heartbeat {
                    assert_eq!((packet.sequence(), bytes.len()), (writer.oldest(), HEADER_BYTES));
                    continue;
                }
                let range = packet.range();
                assert!(range.start() >= writer.oldest() && range.end() <= writer.sent());
                assert!(range.end() <= asked[&(number, range.start())], "{range} was not asked for");
            }
            check_sums(&responder);
        }
        let counters = responder.counters();
        seen = [seen[0] + counters.retransmissions, seen[1] + counters.overwritten];
        for (key, taken) in &taken {
            let Some(budget) = (if key.is_some() { client_budget } else { budget }) else { continue };
            let burst = budget.burst_bytes.max(1_260);
            for (index, &(since, _)) in taken.iter().enumerate() {
                let mut sum = 0;
                for &(until, bytes) in &taken[index..] {
                    sum += bytes;
                    let refill = u128::from(budget.bytes_per_s) * u128::from((until - since).0);
                    assert!(u128::from(sum - burst.min(sum)) * 1_000_000_000 <= refill, "{key:?} of {budget:?}");
                }
            }
        }
    }
    assert!(seen.iter().all(|&answers| answers > 1_000), "{seen:?} retransmissions and words of overwritten numbers");
}
