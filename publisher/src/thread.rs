//! A retransmitter on a thread of its own.

use crate::retransmitter::{Retransmitter, RetransmitterCounters};
use seqcast_transport::wait_readable;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// What the thread and its owner share.
#[derive(Debug, Default)]
struct Shared {
    abort: AtomicBool,
    counters: Mutex<RetransmitterCounters>,
}

/// A retransmitter on a thread of its own; dropping it ends the thread without another word on the wire.
#[derive(Debug)]
pub(crate) struct RetransmitterThread {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl RetransmitterThread {
    /// Starts the thread; `prepare` runs on it first, and its error is returned from here.
    pub(crate) fn spawn<E: Send + 'static>(
        mut retransmitter: Retransmitter,
        prepare: impl FnOnce() -> Result<(), E> + Send + 'static,
    ) -> std::io::Result<Result<Self, E>> {
        let shared = Arc::new(Shared::default());
        let (outcome, prepared) = std::sync::mpsc::sync_channel(1);
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("retransmitter".to_owned()).spawn(move || {
            let result = prepare();
            let go_on = result.is_ok();
            // The receiver waits for just this word.
            let _ = outcome.send(result);
            if go_on {
                run(&mut retransmitter, &theirs);
            }
        })?;
        let result = prepared.recv().unwrap_or(Ok(()));
        Ok(result.map(|()| Self { shared, thread: Some(thread) }))
    }

    pub(crate) fn counters(&self) -> RetransmitterCounters {
        *self.shared.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for RetransmitterThread {
    fn drop(&mut self) {
        self.shared.abort.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It holds nothing that could be poisoned for others.
            let _ = thread.join();
        }
    }
}

fn run(retransmitter: &mut Retransmitter, shared: &Shared) {
    while !shared.abort.load(Ordering::Relaxed) && !retransmitter.is_finished() {
        if retransmitter.do_work() > 0 {
            *shared.counters.lock().unwrap_or_else(PoisonError::into_inner) = retransmitter.counters();
            continue;
        }
        let timeout = Some(retransmitter.timeout());
        let waited = match retransmitter.request_fd() {
            Some(fd) => wait_readable(&[fd], timeout),
            None => wait_readable(&[], timeout),
        };
        if let Err(error) = waited {
            tracing::error!(%error, "the retransmitter cannot wait for requests and ends");
            return;
        }
    }
}
