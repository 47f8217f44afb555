use super::*;
use std::vec;

fn config(text: &str) -> ImpairmentConfig {
    text.parse().unwrap()
}

/// Sends datagrams 0..count, one each `interval`, and returns what comes through, and when.
fn run(path: &mut Impairment, count: u32, interval: Nanos) -> Vec<(Nanos, u32)> {
    let read = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
    let mut delivered = vec![];
    let mut now = Nanos::ZERO;
    for number in 0..count {
        while let Some(due) = path.next_due().filter(|&due| due < now) {
            delivered.push((due, read(path.pop(due).unwrap())));
        }
        if path.push(now, &number.to_be_bytes()) == Verdict::Deliver {
            delivered.push((now, number));
        }
        while let Some(bytes) = path.pop(now) {
            delivered.push((now, read(bytes)));
        }
        now = now + interval;
    }
    while let Some(due) = path.next_due() {
        delivered.push((due, read(path.pop(due).unwrap())));
    }
    delivered
}

fn numbers(delivered: &[(Nanos, u32)]) -> Vec<u32> {
    delivered.iter().map(|&(_, number)| number).collect()
}

/// The lengths of the runs of numbers below `count` that are missing.
fn bursts(delivered: &[(Nanos, u32)], count: u32) -> Vec<u32> {
    let mut bursts = vec![];
    let mut next = 0;
    for number in delivered.iter().map(|&(_, number)| number).chain([count]) {
        if number > next {
            bursts.push(number - next);
        }
        next = number + 1;
    }
    bursts
}

#[test]
fn losses_have_the_share_and_the_mean_burst_asked_for() {
    const COUNT: u32 = 200_000;
    for (loss, burst, expected_burst) in [
        (0.02, 4.0, 4.0),
        (0.10, 2.0, 2.0),
        (0.30, 10.0, 10.0),
        (0.01, 1.0, 1.0 / 0.99),
        (0.20, 1.0, 1.0 / 0.80),
        (0.60, 1.0, 1.0 / 0.40),
    ] {
        for seed in 0..4 {
            let config = ImpairmentConfig { loss, burst, seed, ..ImpairmentConfig::default() };
            let mut path = Impairment::new(&config, 1);
            let bursts = bursts(&run(&mut path, COUNT, Nanos(1)), COUNT);
            let lost: u32 = bursts.iter().sum();
            assert_eq!(u64::from(lost), path.counters().dropped);
            let share = f64::from(lost) / f64::from(COUNT);
            let mean = f64::from(lost) / bursts.len() as f64;
            assert!((share / loss - 1.0).abs() < 0.1, "{config}: lost {share}");
            assert!((mean / expected_burst - 1.0).abs() < 0.1, "{config}: mean burst {mean}");
        }
    }
}

#[test]
fn the_first_datagram_is_as_likely_lost_as_any_other() {
    let is_lost = |seed| {
        let config = ImpairmentConfig { seed, ..config("loss=10%,burst=100") };
        Impairment::new(&config, 0).push(Nanos::ZERO, b"first") == Verdict::Dropped
    };
    let lost = (0..10_000).filter(|&seed| is_lost(seed)).count();
    assert!((900..1_100).contains(&lost), "{lost} of 10000");
}

#[test]
fn everything_and_nothing_can_be_lost() {
    let mut path = Impairment::new(&config("loss=100%,burst=3"), 0);
    assert_eq!(run(&mut path, 1_000, Nanos(1)), []);
    let mut path = Impairment::new(&config("none"), 0);
    assert_eq!(numbers(&run(&mut path, 1_000, Nanos(1))), (0..1_000).collect::<Vec<_>>());
    assert_eq!(*path.counters(), ImpairmentCounters { datagrams: 1_000, ..ImpairmentCounters::default() });
}

#[test]
fn the_same_seed_and_stream_do_the_same_again_and_others_do_not() {
    let text = "loss=10%,burst=2,duplicate=5%,reorder=5%,delay=1us..9us";
    let deliver = |seed: u64, stream| {
        let config = ImpairmentConfig { seed, ..config(text) };
        run(&mut Impairment::new(&config, stream), 2_000, Nanos::from_micros(1))
    };
    assert_eq!(deliver(7, 0), deliver(7, 0));
    assert_ne!(deliver(7, 0), deliver(7, 1));
    assert_ne!(deliver(7, 0), deliver(8, 0));
    assert_ne!(deliver(7, 7), deliver(8, 8));
}

#[test]
fn a_datagram_is_lost_or_not_whatever_else_is_set_and_whenever_it_comes() {
    let lost = |text: &str, interval| {
        let mut path = Impairment::new(&config(text), 3);
        let delivered = numbers(&run(&mut path, 2_000, interval));
        (0..2_000).filter(|number| !delivered.contains(number)).collect::<Vec<_>>()
    };
    let alone = lost("loss=5%,seed=7", Nanos(1));
    assert!(!alone.is_empty());
    assert_eq!(lost("loss=5%,seed=7,duplicate=50%,reorder=50%,delay=1us..1ms", Nanos(1)), alone);
    assert_eq!(lost("loss=5%,seed=7,duplicate=50%,reorder=50%", Nanos::from_millis(1)), alone);
}

#[test]
fn what_is_not_lost_comes_through_once_or_twice() {
    for text in [
        "duplicate=10%,reorder=20%",
        "duplicate=100%,reorder=100%",
        "duplicate=30%,reorder=30%,delay=0ns..3ms,seed=9",
        "loss=20%,burst=3,duplicate=30%,reorder=30%,delay=5us",
    ] {
        for interval in [Nanos::ZERO, Nanos::from_micros(3), Nanos::from_millis(2)] {
            let mut path = Impairment::new(&config(text), 0);
            let delivered = run(&mut path, 20_000, interval);
            let mut times = vec![0; 20_000];
            for &(_, number) in &delivered {
                times[number as usize] += 1;
            }
            let of = |wanted| times.iter().filter(|&&times| times == wanted).count() as u64;
            let counters = *path.counters();
            assert_eq!((counters.dropped, counters.duplicated), (of(0), of(2)), "{text} {interval:?}");
            assert_eq!(of(0) + of(1) + of(2), 20_000);
            assert_eq!(path.held(), 0);
            assert!(delivered.is_sorted_by_key(|&(at, _)| at), "{text} {interval:?}");
        }
    }
}

#[test]
fn a_second_copy_comes_right_behind_the_first() {
    let mut path = Impairment::new(&config("duplicate=100%"), 0);
    assert_eq!(numbers(&run(&mut path, 3, Nanos(1))), [0, 0, 1, 1, 2, 2]);
    let mut path = Impairment::new(&config("duplicate=100%,delay=1ms"), 0);
    assert_eq!(numbers(&run(&mut path, 3, Nanos(1))), [0, 0, 1, 1, 2, 2]);
}

#[test]
fn a_reordered_datagram_is_overtaken_by_one_to_four_others() {
    for text in ["reorder=1%", "reorder=1%,delay=200us"] {
        let mut path = Impairment::new(&config(text), 0);
        let delivered = numbers(&run(&mut path, 100_000, Nanos::from_micros(1)));
        let mut overtaken = [0; 6];
        for (place, &number) in delivered.iter().enumerate() {
            let count = delivered[..place].iter().rev().take(9).filter(|&&earlier| earlier > number).count();
            overtaken[count] += 1;
        }
        // Two neighbours that are both reordered may keep their order: of 1 % of them, 2.5 others.
        let (count, reordered) = (overtaken.iter().skip(1).sum::<u64>(), path.counters().reordered);
        assert!((900..1_100).contains(&reordered), "{text}");
        assert!((reordered * 97 / 100..=reordered).contains(&count), "{text}: {count} of {reordered}");
        assert!(overtaken[1..=4].iter().all(|&count| count > 150), "{text}: {overtaken:?}");
        assert_eq!(overtaken[5], 0);
    }
}

#[test]
fn a_reordered_datagram_that_nobody_overtakes_waits_a_millisecond() {
    let mut path = Impairment::new(&config("reorder=100%"), 0);
    assert_eq!(path.push(Nanos(5), b"last"), Verdict::Held);
    assert_eq!(path.next_due(), Some(Nanos(1_000_005)));
    assert_eq!(path.pop(Nanos(1_000_004)), None);
    assert_eq!(path.pop(Nanos(1_000_005)), Some(&b"last"[..]));
    assert_eq!(path.pop(Nanos::MAX), None);
    assert_eq!(path.next_due(), None);
}

#[test]
fn a_reordered_datagram_is_at_most_a_millisecond_later_than_its_delay() {
    let times = |text: &str| {
        let mut delivered = run(&mut Impairment::new(&config(text), 0), 10_000, Nanos::from_micros(20));
        delivered.sort_by_key(|&(_, number)| number);
        delivered.into_iter().map(|(at, _)| at)
    };
    let later = times("delay=0s..9ms,reorder=50%").zip(times("delay=0s..9ms")).map(|(at, before)| {
        assert!(at >= before);
        at - before
    });
    assert_eq!(later.max(), Some(Nanos::from_millis(1)));
}

#[test]
fn delays_stay_in_their_range_and_the_earliest_comes_first() {
    let mut path = Impairment::new(&config("delay=100us..2ms"), 0);
    let delivered = run(&mut path, 10_000, Nanos::from_micros(10));
    assert_eq!(path.counters().delayed, 10_000);
    let delays = || delivered.iter().map(|&(at, number)| at - Nanos::from_micros(10 * u64::from(number)));
    assert!(delays().all(|delay| (Nanos::from_micros(100)..=Nanos::from_millis(2)).contains(&delay)));
    assert!(delays().min() < Some(Nanos::from_micros(101)) && delays().max() > Some(Nanos::from_micros(1_999)));
}

#[test]
fn equal_delays_keep_the_order() {
    let mut path = Impairment::new(&config("delay=1ms"), 0);
    let delivered = run(&mut path, 5_000, Nanos::from_micros(1));
    let expected = (0..5_000).map(|number| (Nanos::from_micros(1_000 + u64::from(number)), number));
    assert_eq!(delivered, expected.collect::<Vec<_>>());
}

#[test]
fn nothing_overtakes_a_datagram_that_is_due() {
    let mut path = Impairment::new(&config("duplicate=100%"), 0);
    assert_eq!(path.push(Nanos(0), b"one"), Verdict::Deliver);
    assert_eq!(path.push(Nanos(0), b"two"), Verdict::Held, "the second copy of 'one' is due before it");
    let mut rest = vec![];
    while let Some(datagram) = path.pop(Nanos(0)) {
        rest.push(datagram.to_vec());
    }
    assert_eq!(rest, [b"one", b"two", b"two"]);
}

#[test]
fn more_than_the_limit_comes_early_and_in_order() {
    let count = Impairment::HELD_LIMIT as u32 + 100;
    let mut path = Impairment::new(&config("delay=1s"), 0);
    let delivered = run(&mut path, count, Nanos(1));
    assert_eq!(numbers(&delivered), (0..count).collect::<Vec<_>>());
    assert_eq!(path.counters().early, 100);
    assert_eq!(delivered.iter().filter(|&&(at, _)| at < Nanos::from_secs(1)).count(), 100);
}

#[test]
fn a_caller_that_never_pops_holds_no_more_than_the_limit() {
    let mut path = Impairment::new(&config("delay=1s,duplicate=100%"), 0);
    let verdicts = (0..Impairment::HELD_LIMIT).map(|_| path.push(Nanos::ZERO, b"datagram"));
    assert_eq!(verdicts.filter(|&verdict| verdict == Verdict::Deliver).count(), Impairment::HELD_LIMIT / 2 - 1);
    assert_eq!(path.held(), Impairment::HELD_LIMIT + 2);
}

#[test]
fn buffers_are_used_again() {
    let mut path = Impairment::new(&config("duplicate=40%,reorder=40%"), 0);
    run(&mut path, 100_000, Nanos(1));
    assert_eq!((path.buffers.len(), path.free.len()), (WAITING_LIMIT, WAITING_LIMIT));
    assert!(path.buffers.iter().all(|buffer| buffer.capacity() == FIRST_BUFFER_BYTES));
}

#[test]
#[should_panic(expected = "outside of its interval")]
fn a_value_outside_of_its_interval_is_refused() {
    let _ = Impairment::new(&ImpairmentConfig { loss: f64::NAN, ..ImpairmentConfig::default() }, 0);
}
