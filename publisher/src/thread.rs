//! A retransmitter on a thread of its own.

use crate::alarm::Alarm;
use crate::retransmitter::{Retransmitter, RetransmitterCounters};
use seqcast_recovery::{ClientReport, Nanos};
use seqcast_transport::{Clock, set_short_slice, wait_readable};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::thread::JoinHandle;

/// The shortest time between two reports: a hundred a second suit whoever watches. Arbitrary.
const REPORT_INTERVAL: Nanos = Nanos::from_millis(10);

/// What the thread has done, as of its latest report.
#[derive(Debug, Default)]
struct Report {
    counters: RetransmitterCounters,
    clients: Vec<ClientReport>,
}

impl Report {
    fn update(&mut self, retransmitter: &Retransmitter) {
        self.counters = retransmitter.counters();
        self.clients.clear();
        self.clients.extend(retransmitter.clients());
    }
}

/// What the thread and its owner share.
#[derive(Debug)]
struct Shared {
    abort: AtomicBool,
    report: Mutex<Report>,
}

/// The thread; dropping it ends the thread without another word on the wire.
#[derive(Debug)]
pub(crate) struct RetransmitterThread {
    shared: Arc<Shared>,
    alarm: Arc<Alarm>,
    thread: Option<JoinHandle<()>>,
}

impl RetransmitterThread {
    /// Starts the thread, which `alarm` wakes; `prepare` runs on it first, and its error is returned from here.
    pub(crate) fn spawn<E: Send + 'static>(
        mut retransmitter: Retransmitter,
        alarm: Arc<Alarm>,
        client_limit: usize,
        prepare: impl FnOnce() -> Result<(), E> + Send + 'static,
    ) -> std::io::Result<Result<Self, E>> {
        let report = Report { clients: Vec::with_capacity(client_limit), ..Report::default() };
        let shared = Arc::new(Shared { abort: AtomicBool::new(false), report: Mutex::new(report) });
        let (outcome, prepared) = std::sync::mpsc::sync_channel(1);
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("retransmitter".to_owned()).spawn(move || {
            // Without it answers wait until whoever spins on this core has used up a slice.
            let _ = set_short_slice();
            let result = prepare();
            let go_on = result.is_ok();
            // The receiver waits for just this word.
            let _ = outcome.send(result);
            if go_on {
                run(&mut retransmitter, &theirs);
                theirs.report.lock().unwrap_or_else(PoisonError::into_inner).update(&retransmitter);
            }
        })?;
        let result = prepared.recv().unwrap_or(Ok(()));
        Ok(result.map(|()| Self { shared, alarm, thread: Some(thread) }))
    }

    pub(crate) fn counters(&self) -> RetransmitterCounters {
        self.shared.report.lock().unwrap_or_else(PoisonError::into_inner).counters
    }

    pub(crate) fn clients(&self) -> Vec<ClientReport> {
        self.shared.report.lock().unwrap_or_else(PoisonError::into_inner).clients.clone()
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for RetransmitterThread {
    fn drop(&mut self) {
        self.shared.abort.store(true, Ordering::Release);
        self.alarm.waker.wake();
        if let Some(thread) = self.thread.take() {
            // It holds nothing that could be poisoned for others.
            let _ = thread.join();
        }
    }
}

fn run(retransmitter: &mut Retransmitter, shared: &Shared) {
    let fds = retransmitter.fds();
    let (mut has_news, mut report_at) = (false, Nanos::ZERO);
    while !retransmitter.is_finished() {
        let work = retransmitter.do_work();
        // Behind the duty cycle, which may have taken the wake-up that came with it.
        if shared.abort.load(Ordering::Acquire) {
            return;
        }
        has_news |= work > 0;
        let mut timeout = retransmitter.timeout();
        if has_news && timeout > Nanos::ZERO {
            let now = Clock::now();
            if now < report_at {
                timeout = timeout.min(report_at - now);
            } else if report(retransmitter, shared) {
                (has_news, report_at) = (false, now + REPORT_INTERVAL);
            }
        }
        if let Err(error) = wait_readable(&fds, Some(timeout)) {
            tracing::error!(%error, "the retransmitter cannot wait for requests and ends: {error}");
            return;
        }
    }
}

/// Reports, unless somebody is reading just now: nobody makes a client wait for its answer.
fn report(retransmitter: &Retransmitter, shared: &Shared) -> bool {
    let mut report = match shared.report.try_lock() {
        Ok(report) => report,
        Err(TryLockError::Poisoned(error)) => error.into_inner(),
        Err(TryLockError::WouldBlock) => return false,
    };
    report.update(retransmitter);
    true
}
