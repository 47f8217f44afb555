//! Answers requests, sends heartbeats and announces the end of session, reading the retained ring: the publishing thread
//! has no part in it.

use crate::RingMemory;
use crate::line::{LineSender, Sent};
use seqcast_protocol::HEADER_BYTES;
use seqcast_recovery::{Heartbeat, Nanos, Responder, ResponderCounters};
use seqcast_transport::{Clock, UnicastSocket, wait_readable};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// The most requests answered in one duty cycle, so that heartbeats leave on time: 64 answers take well under 1 ms.
const REQUESTS_PER_CYCLE: usize = 64;

/// The longest that the thread sleeps while data is sent: half of the first heartbeat's distance, because nothing wakes it
/// when data was sent. 2,000 wake-ups a second take some per cent of a core.
const BUSY_WAIT: Nanos = Nanos::from_micros(500);

/// The longest that it sleeps when nothing has been sent for [`IDLE_AFTER`]: a tenth of those wake-ups. The first heartbeat
/// behind the first data after such a pause is late by so much at the most.
const IDLE_WAIT: Nanos = Nanos::from_millis(5);
const IDLE_AFTER: Nanos = Nanos::from_secs(1);

/// Bytes of the buffer for a request: one more than a request has, so that longer datagrams are seen to be malformed.
const REQUEST_BUFFER_BYTES: usize = HEADER_BYTES + 1;

/// What a retransmitter has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetransmitterCounters {
    /// Requests and answers.
    pub responder: ResponderCounters,
    /// Heartbeats sent, on all lines together.
    pub heartbeats: u64,
    /// End-of-session packets sent, on all lines together.
    pub ends_of_session: u64,
    /// Answers, heartbeats and ends of session that the kernel refused.
    pub refused_sends: u64,
}

/// The serving half of a publisher. It has its own sockets and only reads the ring.
///
/// Call [`Self::do_work`] until [`Self::is_finished`], at the latest after [`Self::timeout`]. A publisher does so on a
/// thread of its own unless told otherwise.
#[derive(Debug)]
pub struct Retransmitter {
    pub(crate) responder: Responder<RingMemory>,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) socket: Option<UnicastSocket>,
    pub(crate) lines: Vec<LineSender>,
    pub(crate) counters: RetransmitterCounters,
}

impl Retransmitter {
    /// One duty cycle: answers the requests that have arrived, and sends a heartbeat or an end of session when it is due.
    /// Returns how many datagrams it took and sent.
    pub fn do_work(&mut self) -> usize {
        let now = Clock::now();
        self.answer_requests(now) + self.send_heartbeat(now)
    }

    /// How long the next duty cycle may be put off when no request arrives.
    #[must_use]
    pub fn timeout(&self) -> Nanos {
        let now = Clock::now();
        let longest = if self.heartbeat.idle_for(now) < IDLE_AFTER { BUSY_WAIT } else { IDLE_WAIT };
        (self.heartbeat.due() - now).min(longest)
    }

    /// Whether the end of session has been announced for as long as it should be.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.heartbeat.is_finished(Clock::now())
    }

    /// The request socket, to wait for; `None` when no requests are answered.
    #[must_use]
    pub fn request_fd(&self) -> Option<RawFd> {
        self.socket.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// What it has done so far.
    #[must_use]
    pub fn counters(&self) -> RetransmitterCounters {
        RetransmitterCounters { responder: *self.responder.counters(), ..self.counters }
    }

    fn answer_requests(&mut self, now: Nanos) -> usize {
        let Some(socket) = &self.socket else { return 0 };
        let mut buffer = [0; REQUEST_BUFFER_BYTES];
        for count in 0..REQUESTS_PER_CYCLE {
            // An error here is one that an earlier answer has met; the socket goes on.
            let Ok(Some((length, client))) = socket.recv_from(&mut buffer) else { return count };
            if self.responder.handle_request(now, client, &buffer[..length]).is_ok() {
                self.heartbeat.handle_request(now);
            }
            while let Some((client, packet)) = self.responder.poll_answer(now) {
                if socket.send_to(packet, client).is_err() {
                    self.counters.refused_sends += 1;
                }
            }
        }
        REQUESTS_PER_CYCLE
    }

    fn send_heartbeat(&mut self, now: Nanos) -> usize {
        let ring = self.responder.ring();
        // The state first: once it says that the session has ended, `sent` is final.
        let ended = ring.is_ended();
        let Some(header) = self.heartbeat.poll(now, ring.sent(), ended) else { return 0 };
        let packet = header.to_bytes();
        for line in &self.lines {
            match line.send(&packet) {
                Sent::Yes if ended => self.counters.ends_of_session += 1,
                Sent::Yes => self.counters.heartbeats += 1,
                Sent::Refused | Sent::TooLong => self.counters.refused_sends += 1,
            }
        }
        self.lines.len()
    }
}

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
