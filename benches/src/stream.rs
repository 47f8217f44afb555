//! One way: a load that is sent at its pace, or as fast as it goes, and held against what arrives.
//!
//! Messages are due at even distances from the start, whatever became of those before: what a stall delays counts as late.
//! What is due at once is offered together, and flushed when nothing more is due.

use crate::figures::Samples;
use crate::listener::{Heard, Listener, QUIET};
use crate::messages::Messages;
use crate::stage::{Common, Gate};
use crate::system::{Receiver, Sender, Setup, System};
use seqcast_recovery::Nanos;
use seqcast_transport::Clock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A run that takes longer than its schedule and this has hung; what is given up takes 10 s.
const PATIENCE: Nanos = Nanos::from_secs(30);

/// The receivers spin for so long before the first message is due.
const SETTLING: Nanos = Nanos::from_millis(2);

/// The most messages between two looks at the clock.
const BATCH: usize = 1_024;

/// How often a receiver looks for nothing before it looks whether the run is over.
const SPINS: u64 = 1_024;

/// What is carried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load<'a> {
    pub(crate) common: &'a Common,
    pub(crate) setup: Setup,
    pub(crate) messages: &'a Messages,
    pub(crate) count: usize,
    /// How many of them come before the first that counts for a time.
    pub(crate) warm_up: usize,
    /// Messages per second; as fast as it goes without.
    pub(crate) per_second: Option<f64>,
    pub(crate) receivers: usize,
    /// Threads that poll them: the first on the subscriber's core, the second on the publisher's.
    pub(crate) threads: usize,
    /// Whether it is noted when each message arrived, which takes a reading of the clock for each.
    pub(crate) keeps_times: bool,
}

impl Load<'_> {
    /// When the message with this index is due.
    pub(crate) fn due_at(&self, started: Nanos, index: usize) -> Nanos {
        self.per_second.map_or(started, |rate| due_at(started, rate, index))
    }
}

/// What one run showed.
#[derive(Debug)]
pub(crate) struct Streamed {
    /// When the first message was due.
    pub(crate) started: Nanos,
    /// From then until the last one was handed over.
    pub(crate) published_in: Nanos,
    /// From then until the last one had been delivered by the last receiver.
    pub(crate) delivered_in: Nanos,
    /// By all receivers together.
    pub(crate) lost: u64,
    pub(crate) requests: u64,
    /// What it took to offer and flush what was due at once.
    pub(crate) sends: Samples,
    /// When each message arrived, by receiver; 0 if it did not.
    pub(crate) arrivals: Vec<Vec<Nanos>>,
}

impl Streamed {
    /// Whether everything came by the first way.
    pub(crate) fn is_clean(&self) -> bool {
        self.lost == 0 && self.requests == 0
    }
}

/// What the threads tell each other.
#[derive(Debug, Default)]
struct Progress {
    /// Receivers that spin.
    ready: AtomicUsize,
    complete: AtomicUsize,
    is_sent: AtomicBool,
}

/// Carries the load by `system`.
///
/// # Errors
///
/// Any violation: a message altered, twice, out of order, or missing without being told lost.
pub(crate) fn carry<S: System>(system: &S, load: &Load<'_>) -> Result<Streamed, String> {
    let opening = Gate::new(PATIENCE);
    let open = || system.open(&load.setup, load.receivers);
    let opened = std::thread::scope(|scope| {
        scope.spawn(|| opening.run(Some(load.common.publisher_core), open)).join().ok().flatten()
    });
    let (sender, receivers) = opening.finish(opened)?;
    if receivers.len() != load.receivers {
        return Err(format!("{} receivers were opened instead of {}", receivers.len(), load.receivers));
    }
    let mut shares: Vec<Vec<Listener<'_, S::Receiver>>> = (0..load.threads).map(|_| Vec::new()).collect();
    for (index, receiver) in receivers.into_iter().enumerate() {
        shares[index % load.threads].push(Listener::new(receiver, load, system.repairs_loss()));
    }
    let scheduled = load.per_second.map_or(0.0, |rate| load.count as f64 * 1e9 / rate);
    let gate = Gate::new(Nanos(scheduled as u64) + PATIENCE);
    let progress = Progress::default();
    let cores = [load.common.subscriber_core, load.common.publisher_core];
    let results = std::thread::scope(|scope| {
        let (gate, progress) = (&gate, &progress);
        let sending = scope.spawn(|| gate.run(Some(load.common.publisher_core), || send(sender, load, progress, gate)));
        let listen = |(share, core)| scope.spawn(move || gate.run(Some(core), || listen(share, progress, gate)));
        let listening: Vec<_> = shares.into_iter().zip(cores.into_iter().cycle()).map(listen).collect();
        let heard: Option<Vec<_>> = listening.into_iter().map(|thread| thread.join().ok()?).collect();
        Some((sending.join().ok()??, heard?))
    });
    let ((started, sent_at, sends), heard) = gate.finish(results)?;
    let heard: Vec<Heard> = heard.into_iter().flatten().collect();
    Ok(Streamed {
        started,
        published_in: sent_at - started,
        delivered_in: heard.iter().map(|heard| heard.last_at).fold(sent_at, Nanos::max) - started,
        lost: heard.iter().map(|heard| heard.lost).sum(),
        requests: heard.iter().map(|heard| heard.requests).sum(),
        sends,
        arrivals: heard.into_iter().map(|heard| heard.arrivals).collect(),
    })
}

/// Returns when the first message was due, when the last one had been handed over, and what each sending took.
fn send(
    mut sender: impl Sender,
    load: &Load<'_>,
    progress: &Progress,
    gate: &Gate,
) -> Result<(Nanos, Nanos, Samples), String> {
    while progress.ready.load(Ordering::Acquire) < load.receivers {
        gate.check(Clock::now())?;
        sender.tend()?;
    }
    let mut sends = Samples::new();
    let started = Clock::now() + SETTLING;
    let (mut sent, mut flushed, mut from) = (0, 0, started);
    let mut next = load.messages.from(0);
    while flushed < load.count {
        let now = Clock::now();
        let due = due(load, started, now);
        if sent < due {
            if sent == flushed {
                from = now;
            }
            let until = due.min(sent + BATCH);
            while sent < until {
                if sender.offer(next.message())? {
                    sent += 1;
                    next.advance();
                } else {
                    gate.check(Clock::now())?;
                    sender.tend()?;
                }
            }
        } else if flushed < sent {
            sender.flush()?;
            flushed = sent;
            if load.keeps_times && flushed > load.warm_up {
                sends.record(Clock::now() - from);
            }
        } else {
            gate.check(now)?;
            sender.tend()?;
        }
    }
    let sent_at = Clock::now();
    progress.is_sent.store(true, Ordering::Release);
    while progress.complete.load(Ordering::Acquire) < load.receivers {
        gate.check(Clock::now())?;
        sender.tend()?;
    }
    Ok((started, sent_at, sends))
}

/// How many messages are due.
#[inline]
fn due(load: &Load<'_>, started: Nanos, now: Nanos) -> usize {
    match load.per_second {
        _ if now < started => 0,
        None => load.count,
        Some(rate) => (((now - started).0 as f64 * (rate / 1e9)) as usize + 1).min(load.count),
    }
}

/// When the message with this index is due at a pace.
pub(crate) fn due_at(started: Nanos, per_second: f64, index: usize) -> Nanos {
    started + Nanos((index as f64 * (1e9 / per_second)) as u64)
}

/// Polls its share in turn until everything has arrived.
fn listen<R: Receiver>(
    mut share: Vec<Listener<'_, R>>,
    progress: &Progress,
    gate: &Gate,
) -> Result<Vec<Heard>, String> {
    progress.ready.fetch_add(share.len(), Ordering::AcqRel);
    let (mut spins, mut complete, mut sent_at) = (0u64, 0, None);
    while complete < share.len() {
        spins += 1;
        let looks = spins.is_multiple_of(SPINS);
        let now = if looks { Clock::now() } else { Nanos::ZERO };
        if looks {
            gate.check(now).map_err(|error| format!("{error}: {} messages delivered", delivered(&share)))?;
            if progress.is_sent.load(Ordering::Acquire) {
                sent_at.get_or_insert(now);
            }
        }
        for listener in &mut share {
            let was_complete = listener.is_complete;
            let has_heard = listener.poll()?;
            if looks && !has_heard && sent_at.is_some_and(|sent_at| now > sent_at + QUIET) {
                listener.is_complete |= listener.is_over(now);
            }
            complete += usize::from(listener.is_complete && !was_complete);
        }
    }
    progress.complete.fetch_add(share.len(), Ordering::AcqRel);
    share.into_iter().map(Listener::finish).collect()
}

fn delivered<R: Receiver>(share: &[Listener<'_, R>]) -> String {
    share.iter().map(|listener| listener.delivered().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::End;
    use crate::systems::{BareMemory, SeqcastUdp};
    use crate::trip::{Answerer, Answering, Asker, Asking};

    /// What a system does wrong.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Fault {
        None,
        Drops,
        Duplicates,
        Alters,
        Swaps,
        /// Says of what it drops that it is lost.
        DropsAndTells,
        /// Never delivers the last message.
        Stops,
    }

    /// Bare memory that does something wrong with one message.
    struct Faulty(Fault);

    /// The number of the message that it happens to.
    const WHICH: u64 = 70;

    struct FaultyReceiver<R> {
        fault: Fault,
        inner: R,
        kept: Option<Vec<u8>>,
        lost: u64,
    }

    impl System for Faulty {
        type Sender = <BareMemory as System>::Sender;
        type Receiver = FaultyReceiver<<BareMemory as System>::Receiver>;

        fn name(&self) -> &'static str {
            "faulty"
        }

        fn describe(&self, _: &Setup) -> String {
            format!("{:?}", self.0)
        }

        fn repairs_loss(&self) -> bool {
            self.0 != Fault::Stops
        }

        fn open(&self, setup: &Setup, receivers: usize) -> Result<(Self::Sender, Vec<Self::Receiver>), String> {
            let (sender, inner) = BareMemory.open(setup, receivers)?;
            let faulty = |inner| FaultyReceiver { fault: self.0, inner, kept: None, lost: 0 };
            Ok((sender, inner.into_iter().map(faulty).collect()))
        }
    }

    impl<R: Receiver> Receiver for FaultyReceiver<R> {
        fn poll(&mut self, on_message: &mut impl FnMut(u64, &[u8])) -> Result<usize, String> {
            let Self { fault, inner, kept, lost } = self;
            inner.poll(&mut |number, payload: &[u8]| match (*fault, number) {
                (Fault::Drops | Fault::Stops, WHICH) => {}
                (Fault::DropsAndTells, WHICH) => *lost += 1,
                (Fault::Duplicates, WHICH) => {
                    on_message(number, payload);
                    on_message(number, payload);
                }
                (Fault::Alters, WHICH) => {
                    let altered: Vec<u8> = payload.iter().map(|byte| byte ^ 1).collect();
                    on_message(number, &altered);
                }
                (Fault::Swaps, WHICH) => *kept = Some(payload.to_vec()),
                _ => {
                    on_message(number, payload);
                    if let Some(kept) = kept.take() {
                        on_message(WHICH, &kept);
                    }
                }
            })
        }

        fn lost(&self) -> u64 {
            self.lost
        }
    }

    const COMMON: Common = Common { rounds: 1, publisher_core: 0, subscriber_core: 0, out: None };

    fn run(system: &impl System, count: usize) -> Result<Streamed, String> {
        let messages = Messages::uniform(16, 1);
        let setup = Setup::new(16);
        carry(
            system,
            &Load {
                common: &COMMON,
                setup,
                messages: &messages,
                count,
                warm_up: 0,
                per_second: None,
                receivers: 1,
                threads: 1,
                keeps_times: true,
            },
        )
    }

    #[test]
    fn what_is_carried_well_is_clean_and_timed() {
        for run in [run(&Faulty(Fault::None), 100), run(&SeqcastUdp, 100)].map(Result::unwrap) {
            assert!(run.is_clean() && run.published_in <= run.delivered_in);
            assert_eq!(run.arrivals.len(), 1);
            assert!(run.arrivals[0].len() == 100 && run.arrivals[0].iter().all(|&arrival| arrival >= run.started));
        }
    }

    #[test]
    fn a_run_with_a_violation_has_no_figures() {
        let error = |fault| run(&Faulty(fault), 100).unwrap_err();
        assert_eq!(error(Fault::Drops), "1 of 100 messages did not arrive, 0 were told lost");
        assert_eq!(error(Fault::Alters), "message 70 is not what was published as 70");
        assert_eq!(error(Fault::Duplicates), "message 70 is not what was published as 71");
        assert_eq!(error(Fault::Swaps), "message 70 is not what was published as 72");
    }

    #[test]
    fn the_last_message_twice_is_a_violation_too() {
        let error = run(&Faulty(Fault::Duplicates), WHICH as usize).unwrap_err();
        assert_eq!(error, "message 70 is not what was published as 71");
    }

    #[test]
    fn what_is_told_lost_is_counted_and_not_clean() {
        let run = run(&Faulty(Fault::DropsAndTells), 100).unwrap();
        assert_eq!((run.lost, run.is_clean()), (1, false));
    }

    #[test]
    fn what_repairs_nothing_is_not_waited_for() {
        let run = run(&Faulty(Fault::Stops), WHICH as usize).unwrap();
        assert_eq!((run.lost, run.is_clean()), (1, false));
    }

    #[test]
    fn round_trips_find_the_same_violations() {
        for (fault, error) in [
            (Fault::None, None),
            (Fault::Alters, Some("message 70 is not what was published as 70")),
            (Fault::Duplicates, Some("message 70 is not what was published as 71")),
        ] {
            let messages = Messages::uniform(16, 1);
            let gate = Gate::new(Nanos::from_secs(10));
            let [here, there]: [End<Faulty>; 2] = Faulty(fault).open_both_ways(&Setup::new(16)).unwrap();
            let (mut asker, mut answerer) = (Asker::new(here, &messages), Answerer::new(there, &messages));
            let is_over = AtomicBool::new(false);
            let mut times = Vec::new();
            std::thread::scope(|scope| {
                let answering = scope.spawn(|| {
                    gate.run(None, || answerer.answer(&|| !is_over.load(Ordering::Relaxed), &gate));
                });
                gate.run(None, || asker.trips(100, &mut times, &gate));
                is_over.store(true, Ordering::Relaxed);
                answering.join().unwrap();
            });
            assert_eq!(gate.finish(Some(())).err().as_deref(), error, "{fault:?}");
            assert_eq!(times.len() == 100, fault == Fault::None);
        }
    }

    #[test]
    fn messages_are_due_at_even_distances_whatever_became_of_those_before() {
        let messages = Messages::uniform(16, 1);
        let setup = Setup::new(16);
        let load = Load {
            common: &COMMON,
            setup,
            messages: &messages,
            count: 10,
            warm_up: 0,
            per_second: Some(1e6),
            receivers: 1,
            threads: 1,
            keeps_times: true,
        };
        let started = Nanos(1_000_000);
        let due_then =
            [0, 1_000_000, 1_000_999, 1_001_000, 1_005_500, 9_000_000].map(|now| due(&load, started, Nanos(now)));
        assert_eq!(due_then, [0, 1, 1, 2, 6, 10]);
        assert_eq!(due_at(started, 1e6, 3), Nanos(1_003_000));
    }
}
