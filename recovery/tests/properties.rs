//! What holds for all operations: the gap set and the reorder window against naive models, and the subscription under
//! datagrams that no honest publisher sends, in any order of calls that its driving contract allows.

use proptest::prelude::*;
use seqcast_protocol::{Header, LENGTH_BYTES, PacketWriter, SequenceRange, SessionId};
use seqcast_recovery::{
    Event, GapPolicy, GapSet, Line, Nanos, ReorderWindow, RequestConfig, RewindPolicy, SessionChoice, Source, Start,
    Subscription, SubscriptionConfig,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow::{Break, Continue};

fn range(start: u64, end: u64) -> SequenceRange {
    SequenceRange::new(start, end)
}

/// The runs of consecutive numbers of a set.
fn runs(set: &BTreeSet<u64>) -> Vec<SequenceRange> {
    let mut runs: Vec<SequenceRange> = vec![];
    for &number in set {
        match runs.last_mut() {
            Some(last) if last.end() == number => *last = range(last.start(), number + 1),
            _ => runs.push(range(number, number + 1)),
        }
    }
    runs
}

#[derive(Clone, Debug)]
enum OnGaps {
    /// Skip so many numbers above all, then miss so many.
    Open(u64, u64),
    /// Fill a range; pieces whose start is a multiple of the last number are not kept.
    Fill(u64, u64, u64),
    ForgetBelow(u64),
}

fn on_gaps() -> impl Strategy<Value = OnGaps> {
    prop_oneof![
        3 => (0..4u64, 0..9u64).prop_map(|(skip, count)| OnGaps::Open(skip, count)),
        3 => (0..80u64, 0..20u64, 2..9u64).prop_map(|(start, count, refuse)| OnGaps::Fill(start, start + count, refuse)),
        1 => (0..60u64).prop_map(OnGaps::ForgetBelow),
    ]
}

/// Fills piece by piece, as the documentation says.
fn naive_fill(model: &mut BTreeSet<u64>, capacity: usize, filled: SequenceRange, keep: impl Fn(u64) -> bool) -> u64 {
    let mut count = 0;
    for run in runs(model) {
        let piece = run.intersection(filled);
        let splits = run.start() < piece.start() && piece.end() < run.end();
        if piece.is_empty() || (splits && runs(model).len() == capacity) || !keep(piece.start()) {
            continue;
        }
        count += piece.count();
        model.retain(|&number| !piece.contains(number));
    }
    count
}

proptest! {
    #[test]
    fn a_gap_set_is_a_set_of_numbers(
        capacity in 1..6usize,
        operations in prop::collection::vec(on_gaps(), 0..60),
    ) {
        let (mut gaps, mut model, mut top) = (GapSet::new(capacity), BTreeSet::new(), 1);
        for operation in operations {
            match operation {
                OnGaps::Open(skip, count) => {
                    let new = range(top + skip, top + skip + count);
                    let adjoins = model.last().is_some_and(|&last| last + 1 == new.start());
                    let has_room = count == 0 || adjoins || runs(&model).len() < capacity;
                    prop_assert_eq!(gaps.open(new), has_room);
                    if has_room {
                        model.extend(new.start()..new.end());
                        top = new.end();
                    }
                }
                OnGaps::Fill(start, end, refuse) => {
                    let keep = |start: u64| !start.is_multiple_of(refuse);
                    let filled = gaps.fill(range(start, end), |piece| keep(piece.start()));
                    prop_assert_eq!(filled, naive_fill(&mut model, capacity, range(start, end), keep));
                }
                OnGaps::ForgetBelow(number) => {
                    let before = model.len();
                    model.retain(|&missing| missing >= number);
                    prop_assert_eq!(gaps.forget_below(number), (before - model.len()) as u64);
                }
            }
            prop_assert_eq!(gaps.iter().collect::<Vec<_>>(), runs(&model));
            prop_assert!(gaps.len() <= capacity);
            prop_assert_eq!(gaps.is_empty(), model.is_empty());
            for start in 0..top {
                let within = range(start, start + 7);
                let first = runs(&model).into_iter().map(|run| run.intersection(within)).find(|run| !run.is_empty());
                prop_assert_eq!(gaps.first_within(within), first);
                prop_assert_eq!(gaps.count_within(within), model.range(start..start + 7).count() as u64);
            }
        }
    }

    #[test]
    fn a_reorder_window_gives_back_what_it_took(
        messages in 1..40usize,
        bytes in 0..400usize,
        operations in prop::collection::vec((any::<bool>(), 0..50u64, prop::collection::vec(0..60usize, 1..6)), 0..80),
    ) {
        let mut window = ReorderWindow::new(messages, bytes, true);
        let capacity = messages.next_power_of_two() as u64;
        prop_assert_eq!(window.message_capacity(), capacity);
        let (mut model, mut expected) = (BTreeMap::<u64, Vec<u8>>::new(), 1u64);
        for (is_insert, ahead, sizes) in operations {
            if is_insert {
                let first = expected + ahead;
                let numbers = first..first + sizes.len() as u64;
                if numbers.clone().any(|number| model.contains_key(&number)) {
                    continue;
                }
                let bodies: Vec<Vec<u8>> = sizes.iter().zip(numbers.clone()).map(|(&n, fill)| vec![fill as u8; n]).collect();
                let blocks = bodies.iter().flat_map(|body| [&(body.len() as u16).to_be_bytes()[..], body].concat());
                let blocks: Vec<u8> = blocks.collect();
                let is_kept = window.insert(expected, first, sizes.len() as u64, &blocks, Some(Nanos(first)));
                let fits = numbers.end - expected <= capacity && blocks.len() <= bytes;
                prop_assert!(!is_kept || fits);
                prop_assert!(is_kept || !fits || !model.is_empty(), "an empty window takes what fits");
                if is_kept {
                    model.extend(numbers.zip(bodies));
                }
            } else {
                let to = expected + ahead;
                window.release(expected, to);
                expected = to;
                model = model.split_off(&expected);
            }
            prop_assert_eq!(window.len(), model.len());
            prop_assert!(model.values().map(|body| LENGTH_BYTES + body.len()).sum::<usize>() <= bytes);
            let (mut number, mut found) = (expected, 0);
            while number < expected + capacity {
                let Some(held) = window.get(number) else {
                    number += 1;
                    continue;
                };
                let bodies: Vec<&[u8]> = held.messages().collect();
                prop_assert_eq!(bodies.len() as u64, held.count);
                for body in bodies {
                    prop_assert_eq!(Some(body), model.get(&number).map(Vec::as_slice));
                    // The time says the number of the first that came together.
                    let Some(Nanos(first)) = held.received_at else { panic!("it was kept") };
                    prop_assert!(first <= number && number - first < 6);
                    (number, found) = (number + 1, found + 1);
                }
            }
            prop_assert_eq!(found, model.len());
        }
        window.clear();
        prop_assert!(window.is_empty() && window.get(expected).is_none());
    }
}

/// A number where something may go wrong: small, in the middle, or at the end of all numbers.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0..60u64, 1 => any::<u64>(), 2 => u64::MAX - 20..=u64::MAX]
}

#[derive(Clone, Debug)]
enum Input {
    Packet { session: u8, source: u8, first: u64, sizes: Vec<usize> },
    Header { session: u8, source: u8, number: u64, count: u16 },
    Mutated { source: u8, first: u64, flips: Vec<(usize, u8)>, cut: usize },
    Pass(u64),
    KernelDrops(u32),
}

fn input() -> impl Strategy<Value = Input> {
    let sizes = prop::collection::vec(0..30usize, 1..8);
    let count = prop_oneof![Just(0u16), Just(0xFFFF), any::<u16>()];
    let flips = prop::collection::vec((0..60usize, any::<u8>()), 0..4);
    prop_oneof![
        8 => (0..2u8, 0..4u8, number(), sizes)
            .prop_map(|(session, source, first, sizes)| Input::Packet { session, source, first, sizes }),
        4 => (0..2u8, 0..4u8, number(), count)
            .prop_map(|(session, source, number, count)| Input::Header { session, source, number, count }),
        1 => (0..4u8, number(), flips, 0..70usize)
            .prop_map(|(source, first, flips, cut)| Input::Mutated { source, first, flips, cut }),
        6 => (0..3_000_000u64).prop_map(Input::Pass),
        1 => (0..30_000_000_000u64).prop_map(Input::Pass),
        1 => (0..3u32).prop_map(Input::KernelDrops),
    ]
}

impl Input {
    fn datagram(&self) -> Option<(Source, Vec<u8>)> {
        let source = |index: u8| match index {
            0 => Source::Line(Line::A),
            1 => Source::Line(Line::B),
            index => Source::RequestTarget(usize::from(index) - 2),
        };
        let session = |index: u8| SessionId::from_number(1 + u64::from(index));
        let packet = |session, first, sizes: &[usize]| {
            let mut buffer = [0; 300];
            let mut writer = PacketWriter::new(&mut buffer, session, first);
            for &bytes in sizes {
                writer.push(&[7; 30][..bytes]).expect("it fits");
            }
            writer.finish().to_vec()
        };
        match self {
            Self::Packet { session: index, source: from, first, sizes } => {
                Some((source(*from), packet(session(*index), *first, sizes)))
            }
            Self::Header { session: index, source: from, number, count } => {
                Some((source(*from), Header::new(session(*index), *number, *count).to_bytes().to_vec()))
            }
            Self::Mutated { source: from, first, flips, cut } => {
                let mut bytes = packet(session(0), *first, &[3, 0, 9]);
                for &(at, flip) in flips {
                    let at = at % bytes.len();
                    bytes[at] ^= flip;
                }
                bytes.truncate(*cut);
                Some((source(*from), bytes))
            }
            Self::Pass(_) | Self::KernelDrops(_) => None,
        }
    }
}

fn config() -> impl Strategy<Value = SubscriptionConfig> {
    let start = prop_oneof![Just(Start::Oldest), Just(Start::Live), number().prop_map(Start::At)];
    let policy = prop_oneof![
        4 => (0..5_000_000_000u64).prop_map(|give_up| GapPolicy::Wait { give_up: Nanos(give_up) }),
        1 => Just(GapPolicy::Skip),
        1 => Just(GapPolicy::Stop),
    ];
    let session = prop_oneof![Just(SessionChoice::Any), Just(SessionChoice::Only(SessionId::from_number(1)))];
    let sizes = (1..20usize, 0..300usize, 1..6usize, 0..5usize);
    (start, policy, session, sizes, 0..3u64).prop_map(|(start, gap_policy, session, sizes, delay)| SubscriptionConfig {
        session,
        start,
        resume: (sizes.1 % 5 == 0).then(|| (SessionId::from_number(1), 1 + sizes.1 as u64)),
        gap_policy,
        rewind_policy: if sizes.0 % 2 == 0 { RewindPolicy::Stop } else { RewindPolicy::StartOver },
        lines: [true, sizes.0 % 2 == 0],
        request_targets: 2,
        receive_times: false,
        compare_copies: sizes.0 % 3 == 0,
        line_behind_after: Nanos::from_millis(100),
        request: RequestConfig { delay: Nanos::from_millis(delay), in_flight: sizes.3, ..RequestConfig::default() },
        trust_oldest: true,
        silent_after: Nanos::from_secs(3),
        window_messages: sizes.0,
        window_bytes: sizes.1,
        gap_capacity: sizes.2,
        seed: 0,
    })
}

/// Checks the order of the events of one subscription in itself.
#[derive(Default)]
struct Stream {
    next: Option<u64>,
    gaps: Vec<SequenceRange>,
    is_ended: bool,
}

impl Stream {
    fn take(&mut self, event: &Event<'_>) {
        match event {
            Event::Message(message) => self.pass(range(message.number, message.number + 1)),
            Event::Lost(loss) => self.pass(loss.range),
            Event::Gap(gap) => {
                assert!(!gap.range.is_empty() && self.gaps.last().is_none_or(|last| last.end() <= gap.range.start()));
                self.gaps.push(gap.range);
            }
            Event::Recovered(recovered) => {
                assert!(self.gaps.contains(&recovered.range), "{recovered:?} was not raised");
                self.gaps.retain(|gap| gap.start() > recovered.range.start());
            }
            Event::NewSession(_) | Event::Rewound(_) => *self = Self::default(),
            Event::EndOfSession(_) => assert!(!std::mem::replace(&mut self.is_ended, true), "ended twice"),
            Event::Status(_) => {}
        }
    }

    fn pass(&mut self, passed: SequenceRange) {
        assert!(
            !passed.is_empty() && self.next.is_none_or(|next| next == passed.start()),
            "{passed} at {:?}",
            self.next
        );
        self.next = Some(passed.end());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_datagrams_make_a_subscription_panic_repeat_or_leave_out(
        config in config(),
        limit in prop_oneof![Just(1usize), Just(2), Just(usize::MAX)],
        inputs in prop::collection::vec(input(), 0..80),
    ) {
        let mut now = Nanos::ZERO;
        let mut subscription = Subscription::new(config, now);
        let mut stream = Stream::default();
        for input in inputs {
            let mut left = limit;
            let mut sink = |event: Event<'_>| {
                stream.take(&event);
                left = left.checked_sub(1).filter(|&left| left > 0).unwrap_or(limit);
                if left == limit { Break(()) } else { Continue(()) }
            };
            match &input {
                Input::Pass(nanos) => now = now + Nanos(*nanos),
                Input::KernelDrops(count) => subscription.note_kernel_drops(*count),
                _ => {
                    let (source, datagram) = input.datagram().expect("it is one");
                    let mut flow = subscription.handle_datagram(now, source, &datagram, &mut sink);
                    while flow.is_break() {
                        flow = subscription.resume(&datagram, &mut sink);
                    }
                    continue;
                }
            }
            while subscription.advance(now, &mut sink).is_break() {}
            let mut requests = 0;
            while let Some(request) = subscription.poll_request(now) {
                requests += 1;
                prop_assert!(requests <= config.in_flight_limit() && request.target < 2);
                prop_assert!(subscription.next().is_none_or(|next| request.request.range().start() >= next));
            }
            if let (Some(next), Some(told)) = (subscription.next(), stream.next) {
                prop_assert_eq!(next, told);
            }
            prop_assert!(subscription.open_gaps() <= config.gap_capacity);
            prop_assert!(subscription.window_messages() <= config.window_messages.next_power_of_two());
        }
    }
}

/// What the settings come to.
trait Limits {
    fn in_flight_limit(&self) -> usize;
}

impl Limits for SubscriptionConfig {
    fn in_flight_limit(&self) -> usize {
        self.request.in_flight.max(1)
    }
}
