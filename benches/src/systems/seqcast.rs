//! seqcast, over UDP multicast on loopback and over a ring in shared memory.

use crate::stage::{Stage, words};
use crate::system::{Receiver, Sender, Setup, System, offloads};
use seqcast_publisher::Publisher;
use seqcast_recovery::Nanos;
use seqcast_subscriber::{Event, ImpairmentConfig, Line, LineSource, SessionChoice, Subscriber};
use seqcast_transport::Clock;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many messages are delivered in one duty cycle. Arbitrary.
const MESSAGES_PER_POLL: usize = 4_096;

/// A publisher and its subscribers on one multicast line, with default settings otherwise: requests are answered by a thread
/// that sleeps until one arrives.
#[derive(Clone, Copy, Debug)]
pub struct SeqcastUdp;

impl System for SeqcastUdp {
    type Sender = Publishing;
    type Receiver = Subscribing;

    fn name(&self) -> &'static str {
        "seqcast"
    }

    fn describe(&self, setup: &Setup) -> String {
        format!(
            "UDP multicast on loopback, {} B datagrams, {}, {} MiB retained, {} MiB receive buffers; requests answered by a thread \
             that sleeps until one arrives",
            setup.datagram_bytes,
            offloads(setup.segmented),
            setup.retain_bytes >> 20,
            setup.receive_buffer_bytes >> 20
        )
    }

    fn repairs_loss(&self) -> bool {
        true
    }

    fn open(&self, setup: &Setup, receivers: usize) -> Result<(Publishing, Vec<Subscribing>), String> {
        let stage = Stage::new()?;
        let publisher = stage.publisher().max_datagram(setup.datagram_bytes).retain_bytes(setup.retain_bytes);
        let publisher = publisher.segmentation(setup.segmented).open().map_err(words)?;
        let subscribe = |index: usize| {
            let loss = ImpairmentConfig {
                loss: setup.loss,
                seed: setup.seed.wrapping_add(index as u64),
                ..ImpairmentConfig::default()
            };
            let subscriber = stage.subscriber(stage.line(), &publisher)?.impair(loss).seed(index as u64);
            let subscriber =
                subscriber.coalescing(setup.segmented).receive_buffer_bytes(Some(setup.receive_buffer_bytes));
            subscriber.open().map(Subscribing::new).map_err(words)
        };
        let subscribers = (0..receivers).map(subscribe).collect::<Result<_, _>>()?;
        Ok((Publishing { publisher, _ring: None }, subscribers))
    }
}

/// A publisher whose ring is a file in shared memory, and subscribers that follow it there: no line, no socket.
#[derive(Clone, Copy, Debug)]
pub struct SeqcastRing;

impl System for SeqcastRing {
    type Sender = Publishing;
    type Receiver = Subscribing;

    fn name(&self) -> &'static str {
        "seqcast-ring"
    }

    fn describe(&self, setup: &Setup) -> String {
        format!(
            "ring of {} MiB in shared memory, packets of up to {} B; no socket, no system call per message",
            setup.retain_bytes >> 20,
            setup.datagram_bytes
        )
    }

    fn refusal(&self, setup: &Setup) -> Option<String> {
        if setup.segmented {
            return Some("it sends no datagrams".to_owned());
        }
        (setup.loss > 0.0).then(|| "nothing is lost on the way".to_owned())
    }

    fn repairs_loss(&self) -> bool {
        true
    }

    fn open(&self, setup: &Setup, receivers: usize) -> Result<(Publishing, Vec<Subscribing>), String> {
        let ring = RingFile::unused();
        let session = Stage::new()?.session();
        let publisher = Publisher::builder(session).ring(&ring.0).max_datagram(setup.datagram_bytes);
        let publisher = publisher.retain_bytes(setup.retain_bytes).open().map_err(words)?;
        let subscribe = |_| {
            let subscriber = Subscriber::builder(SessionChoice::Only(session)).line(Line::A, LineSource::ring(&ring.0));
            subscriber.open().map(Subscribing::new).map_err(words)
        };
        let subscribers = (0..receivers).map(subscribe).collect::<Result<_, _>>()?;
        Ok((Publishing { publisher, _ring: Some(ring) }, subscribers))
    }
}

/// A file in shared memory that is removed when its publisher is gone.
#[derive(Debug)]
struct RingFile(PathBuf);

impl RingFile {
    /// A name that nothing has.
    fn unused() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let Nanos(now) = Clock::now();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(format!("/dev/shm/seqcast-bench-{}-{now}-{count}", std::process::id()).into())
    }
}

impl Drop for RingFile {
    fn drop(&mut self) {
        // Whatever is left lies in memory and bears this process's name.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A publisher.
#[derive(Debug)]
pub struct Publishing {
    publisher: Publisher,
    _ring: Option<RingFile>,
}

impl Sender for Publishing {
    #[inline]
    fn offer(&mut self, message: &[u8]) -> Result<bool, String> {
        self.publisher.publish(message).map(|_| true).map_err(words)
    }

    #[inline]
    fn flush(&mut self) -> Result<(), String> {
        // What the kernel refuses is asked for, and shows as requests.
        self.publisher.flush().map(|_| ()).map_err(words)
    }
}

/// A subscriber.
#[derive(Debug)]
pub struct Subscribing {
    subscriber: Subscriber,
    lost: u64,
}

impl Subscribing {
    fn new(subscriber: Subscriber) -> Self {
        Self { subscriber, lost: 0 }
    }
}

impl Receiver for Subscribing {
    #[inline]
    fn poll(&mut self, on_message: &mut impl FnMut(u64, &[u8])) -> Result<usize, String> {
        let (lost, mut count) = (&mut self.lost, 0);
        self.subscriber.poll(
            |event| match event {
                Event::Message(message) => {
                    on_message(message.number, message.payload);
                    count += 1;
                }
                Event::Lost(loss) => *lost += loss.range.count(),
                _ => {}
            },
            MESSAGES_PER_POLL,
        );
        Ok(count)
    }

    fn lost(&self) -> u64 {
        self.lost
    }

    fn requests(&self) -> u64 {
        self.subscriber.counters().subscription.requests
    }
}
