//! One way: a load that is sent at its pace, or as fast as it goes, and held against what arrives.
//!
//! Messages are due at even distances from the start, whatever became of those before: what a stall delays counts as late.
//! What is due at once is offered together, and flushed when nothing more is due.

use crate::figures::Samples;
use crate::messages::{Check, Messages};
use crate::stage::{Common, Gate};
use crate::system::{Receiver, Sender, Setup, System};
use seqcast_recovery::Nanos;
use seqcast_transport::Clock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A run that takes longer than its schedule and this has hung; what is given up takes 10 s.
const PATIENCE: Nanos = Nanos::from_secs(30);

/// The receivers spin for so long before the first message is due.
const SETTLING: Nanos = Nanos::from_millis(2);

/// After so long without a message nothing comes any more from what repairs nothing. Arbitrary, beyond most stalls.
const QUIET: Nanos = Nanos::from_millis(50);

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
    /// Messages per second; as fast as it goes without.
    pub(crate) per_second: Option<f64>,
    pub(crate) receivers: usize,
    /// Threads that poll them: the first on the subscriber's core, the second on the publisher's.
    pub(crate) threads: usize,
    /// Whether it is noted when each message arrived, which takes a reading of the clock for each.
    pub(crate) keeps_times: bool,
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

/// What a receiver saw.
struct Heard {
    lost: u64,
    requests: u64,
    last_at: Nanos,
    arrivals: Vec<Nanos>,
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
    let (sender, receivers) = system.open(&load.setup, load.receivers)?;
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
    while flushed < load.count {
        let now = Clock::now();
        let due = due(load, started, now);
        if sent < due {
            if sent == flushed {
                from = now;
            }
            let until = due.min(sent + BATCH);
            while sent < until {
                if sender.offer(load.messages.get(sent))? {
                    sent += 1;
                } else {
                    gate.check(Clock::now())?;
                    sender.tend()?;
                }
            }
        } else if flushed < sent {
            sender.flush()?;
            flushed = sent;
            if load.keeps_times {
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

/// When the message with this index is due.
pub(crate) fn due_at(started: Nanos, per_second: f64, index: usize) -> Nanos {
    started + Nanos((index as f64 * (1e9 / per_second)) as u64)
}

/// A receiver and what it heard.
struct Listener<'m, R> {
    receiver: R,
    check: Check<'m>,
    count: usize,
    repairs_loss: bool,
    keeps_times: bool,
    arrivals: Vec<Nanos>,
    last_at: Nanos,
    is_complete: bool,
}

impl<'m, R: Receiver> Listener<'m, R> {
    fn new(receiver: R, load: &Load<'m>, repairs_loss: bool) -> Self {
        Self {
            receiver,
            check: Check::new(load.messages),
            count: load.count,
            repairs_loss,
            keeps_times: load.keeps_times,
            arrivals: vec![Nanos::ZERO; if load.keeps_times { load.count } else { 0 }],
            last_at: Nanos::ZERO,
            is_complete: false,
        }
    }

    /// Takes what has arrived; returns whether anything had.
    #[inline]
    fn poll(&mut self) -> Result<bool, String> {
        let Self { receiver, check, keeps_times, arrivals, .. } = self;
        let count = if *keeps_times {
            receiver.poll(&mut |number, payload: &[u8]| {
                let now = Clock::now();
                check.take(number, payload);
                if let Some(arrival) = arrivals.get_mut(number as usize - 1) {
                    *arrival = now;
                }
            })?
        } else {
            receiver.poll(&mut |number, payload: &[u8]| check.take(number, payload))?
        };
        if count > 0 {
            self.check.so_far()?;
            self.last_at = Clock::now();
            self.is_complete = self.accounted() >= self.count;
        }
        Ok(count > 0)
    }

    /// What was delivered, and what was told lost with nothing behind it as yet.
    fn accounted(&self) -> usize {
        self.check.accounted() + self.receiver.lost().saturating_sub(self.check.skipped()) as usize
    }

    /// Whether nothing more will come of what was sent.
    fn is_over(&self, now: Nanos) -> bool {
        self.accounted() >= self.count || (!self.repairs_loss && now > self.last_at + QUIET)
    }

    fn finish(self) -> Result<Heard, String> {
        self.check.so_far()?;
        let missing = self.count.saturating_sub(self.check.accounted()) as u64;
        let (lost, told) = (self.check.skipped() + missing, self.receiver.lost());
        if self.check.accounted() > self.count {
            return Err(format!("{} messages arrived of {}", self.check.accounted(), self.count));
        }
        if self.repairs_loss && lost != told {
            return Err(format!("{lost} of {} messages did not arrive, {told} were told lost", self.count));
        }
        let requests = self.receiver.requests();
        Ok(Heard { lost, requests, last_at: self.last_at, arrivals: self.arrivals })
    }
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
    share.iter().map(|listener| listener.check.accounted().to_string()).collect::<Vec<_>>().join(", ")
}
