//! One publisher and one subscriber on loopback, each on a thread of its own, every message checked.

use seqcast::market::{BUFFER_BYTES, MarketData};
use seqcast::pace::{Pace, Schedule, wait_until};
use seqcast_protocol::SessionId;
use seqcast_publisher::{Line, Publisher, PublisherCounters};
use seqcast_recovery::Nanos;
use seqcast_subscriber::{Event, Idle, IdleStrategy, SessionChoice, Subscriber, SubscriberCounters};
use seqcast_transport::Clock;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;

/// How many messages are delivered between two looks at the clock for idling. Arbitrary.
const MESSAGES_PER_POLL: usize = 4_096;

/// Messages made beforehand, so that making them costs the publisher nothing while it is measured.
pub(crate) struct Messages {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Messages {
    /// Makes `count` messages of generated market data.
    pub(crate) fn generate(count: usize, seed: u64) -> Self {
        let mut data = MarketData::new(seed);
        let mut messages = Self { bytes: Vec::new(), ends: Vec::with_capacity(count) };
        let mut buffer = [0; BUFFER_BYTES];
        for _ in 0..count {
            let length = data.write_next(&mut buffer);
            messages.bytes.extend_from_slice(&buffer[..length]);
            messages.ends.push(messages.bytes.len());
        }
        messages
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.ends.len()
    }

    /// Their bytes in all.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        Some(&self.bytes[start..end])
    }
}

/// What one run showed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// From the first message published until the last delivered.
    pub(crate) elapsed: Nanos,
    /// From the first message published until the last one was handed to the kernel.
    pub(crate) published_in: Nanos,
    pub(crate) publisher: PublisherCounters,
    pub(crate) subscriber: SubscriberCounters,
}

/// Publishes all messages at `pace`, and delivers and compares them.
///
/// # Errors
///
/// Any violation: a message altered, out of order, or neither delivered nor told to be lost.
pub(crate) fn run(messages: &Arc<Messages>, pace: Pace) -> Result<Run, String> {
    let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
    let port = port.map_err(|error| error.to_string())?.port();
    let line = format!("239.255.77.88:{port}@127.0.0.1");
    let session = SessionId::from_number(Clock::unix_micros());
    let publisher = Publisher::builder(session)
        .line(Line::A, line.parse().map_err(|error| format!("{error}"))?)
        .requests(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))
        .open()
        .map_err(|error| error.to_string())?;
    let requests = publisher.request_address().ok_or("no request address")?;
    let mut subscriber = Subscriber::builder(SessionChoice::Only(session))
        .line(Line::A, line.parse().map_err(|error| format!("{error}"))?)
        .recover_from(requests)
        .open()
        .map_err(|error| error.to_string())?;
    let theirs = Arc::clone(messages);
    let feed = std::thread::spawn(move || publish(publisher, &theirs, pace));

    let mut next = 0;
    let mut violation = None;
    let mut is_open = true;
    let mut last_delivery = Clock::now();
    let mut idle = Idle::new(IdleStrategy::Spin);
    while is_open {
        let before = next;
        let work = subscriber.poll(
            |event| match event {
                Event::Message(message) => {
                    if message.number != next as u64 + 1 || messages.get(next) != Some(message.payload) {
                        violation.get_or_insert(format!("message {} is not what was published", message.number));
                    }
                    next += 1;
                }
                Event::Lost(loss) => {
                    if loss.range.start() != next as u64 + 1 {
                        violation.get_or_insert(format!("{} lost out of order", loss.range));
                    }
                    next = loss.range.end() as usize - 1;
                }
                Event::EndOfSession(_) => is_open = false,
                Event::Gap(_) | Event::Recovered(_) | Event::NewSession(_) | Event::Status(_) => {}
            },
            MESSAGES_PER_POLL,
        );
        if next != before {
            last_delivery = Clock::now();
        }
        if work == 0 && feed.is_finished() {
            break;
        }
        idle.idle(work);
    }
    let (started, published, publisher) = feed.join().map_err(|_| "the publisher panicked".to_owned())??;
    match violation {
        Some(violation) => Err(violation),
        None if next != messages.count() => Err(format!("{next} of {} messages delivered", messages.count())),
        None => Ok(Run {
            elapsed: last_delivery - started,
            published_in: published - started,
            publisher,
            subscriber: subscriber.counters(),
        }),
    }
}

fn publish(
    mut publisher: Publisher,
    messages: &Messages,
    pace: Pace,
) -> Result<(Nanos, Nanos, PublisherCounters), String> {
    let started = Clock::now();
    let mut schedule = Schedule::new(pace, started);
    let mut now = started;
    for index in 0..messages.count() {
        let due = schedule.next_due(None);
        if due > now {
            now = Clock::now();
            if due > now {
                let _ = publisher.flush().map_err(|error| error.to_string())?;
                now = wait_until(due, true, || true);
            }
        }
        publisher.publish(messages.get(index).unwrap_or_default()).map_err(|error| error.to_string())?;
    }
    let _ = publisher.flush().map_err(|error| error.to_string())?;
    let published = Clock::now();
    let counters = publisher.close().map_err(|error| error.to_string())?;
    Ok((started, published, counters))
}
