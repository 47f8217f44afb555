//! Those who make trouble: a storm of requests, a slow subscriber, a late joiner.

use crate::figures::Figure;
use crate::messages::{Check, Messages};
use crate::reception::Reception;
use crate::stage::{Stage, words};
use clap::ValueEnum;
use seqcast_protocol::{LENGTH_BYTES, Request, SequenceRange};
use seqcast_recovery::{Nanos, Random};
use seqcast_subscriber::{Event, Start, Subscriber, SubscriberBuilder};
use seqcast_transport::{Clock, wait_readable};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

/// The receive buffer of a slow subscriber: some dozens of packets.
const SLOW_BUFFER_BYTES: usize = 64 << 10;

/// What is asked for at once, in bytes: about a packet.
const REQUESTED_BYTES: usize = 1_400;

/// The kinds of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A client that asks for what it does not need
    Storm,
    /// A subscriber that hears half of what is sent
    Slow,
    /// A subscriber that begins at the oldest message
    Joiner,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Storm => "storm",
            Self::Slow => "slow subscriber",
            Self::Joiner => "late joiner",
        })
    }
}

/// Where the trouble is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene<'m> {
    pub(crate) stage: Stage,
    pub(crate) messages: &'m Messages,
    /// Where the publisher answers.
    pub(crate) requests: SocketAddrV4,
    pub(crate) bytes: usize,
    pub(crate) packets_per_second: f64,
    pub(crate) requests_per_second: f64,
}

/// One who makes trouble while it works, and none while it rests.
#[derive(Debug)]
pub(crate) struct Trouble<'m> {
    scene: Scene<'m>,
    kind: Kind,
    maker: Maker<'m>,
    /// Messages that it heard.
    heard: u64,
    requests: u64,
    /// How often it had caught up.
    joins: u64,
}

#[derive(Debug)]
enum Maker<'m> {
    Storm { socket: UdpSocket, random: Random, worked: Nanos },
    Slow(Option<(Subscriber, Check<'m>)>),
    Joiner(Option<Reception<'m>>),
}

impl<'m> Trouble<'m> {
    pub(crate) fn new(kind: Kind, scene: Scene<'m>, seed: u64) -> Result<Self, String> {
        let maker = match kind {
            Kind::Storm => {
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(words)?;
                socket.connect(scene.requests).map_err(words)?;
                socket.set_nonblocking(true).map_err(words)?;
                Maker::Storm { socket, random: Random::new(seed), worked: Nanos::ZERO }
            }
            Kind::Slow => Maker::Slow(None),
            Kind::Joiner => Maker::Joiner(None),
        };
        Ok(Self { scene, kind, maker, heard: 0, requests: 0, joins: 0 })
    }

    /// Makes trouble, until `until` at the latest.
    pub(crate) fn work(&mut self, until: Nanos, published: u64) -> Result<(), String> {
        let scene = self.scene;
        match &mut self.maker {
            Maker::Storm { socket, random, worked } => {
                *worked = *worked + (until - Clock::now());
                let due = (scene.requests_per_second * worked.as_duration().as_secs_f64()) as u64;
                for _ in self.requests..due {
                    scene.ask(socket, random, published)?;
                }
                self.requests = due;
                Ok(())
            }
            Maker::Slow(subscriber) => {
                if subscriber.is_none() {
                    let builder = scene.subscriber().start(Start::Live).receive_buffer_bytes(Some(SLOW_BUFFER_BYTES));
                    *subscriber = Some((builder.open().map_err(words)?, Check::new(scene.messages)));
                }
                let Some((subscriber, check)) = subscriber else { return Ok(()) };
                let half = scene.packets_per_second / 2.0 * (until - Clock::now()).as_duration().as_secs_f64();
                let heard = &mut self.heard;
                subscriber.poll(
                    |event| {
                        if let Event::Message(message) = event {
                            check.take(message.number, message.payload);
                            *heard += 1;
                        }
                    },
                    half as usize,
                );
                check.so_far()
            }
            Maker::Joiner(_) => self.join(until),
        }
    }

    fn join(&mut self, until: Nanos) -> Result<(), String> {
        let Self { scene, maker: Maker::Joiner(joiner), .. } = self else { return Ok(()) };
        if joiner.is_none() {
            let builder = scene.subscriber().start(Start::Oldest);
            *joiner = Some(Reception::new(builder.open().map_err(words)?, scene.messages));
        }
        let Some(reception) = joiner else { return Ok(()) };
        loop {
            let now = Clock::now();
            if now >= until {
                return Ok(());
            }
            let work = reception.poll(now, |_| {})?;
            if reception.subscriber().subscription().is_caught_up() {
                self.joins += 1;
                self.rest();
                return Ok(());
            }
            if work == 0 {
                let wait = reception.subscriber().timeout().map_or(Nanos::MAX, Nanos::from);
                wait_readable(reception.subscriber().fds(), Some(wait.min(until - now))).map_err(words)?;
            }
        }
    }

    /// Is gone until it works again.
    pub(crate) fn rest(&mut self) {
        match &mut self.maker {
            Maker::Storm { .. } => {}
            Maker::Slow(slow) => {
                if let Some((subscriber, _)) = slow.take() {
                    self.requests += subscriber.counters().subscription.requests;
                }
            }
            Maker::Joiner(joiner) => {
                if let Some(reception) = joiner.take() {
                    self.requests += reception.subscriber().counters().subscription.requests;
                    self.heard += reception.check().accounted() as u64;
                }
            }
        }
    }

    /// What it did, having worked for so many seconds.
    pub(crate) fn figures(&self, seconds: f64) -> Vec<Figure> {
        let figure = |what: &str, count: u64, unit| {
            Figure::single(&format!("{}: {what}", self.kind), count as f64 / seconds, unit)
        };
        let mut figures = vec![figure("its requests", self.requests, "a second")];
        if self.kind != Kind::Storm {
            figures.push(figure("messages that it heard", self.heard, "a second"));
        }
        if self.kind == Kind::Joiner {
            figures.push(figure("joins", self.joins, "a second"));
        }
        figures
    }
}

impl Scene<'_> {
    fn subscriber(&self) -> SubscriberBuilder {
        self.stage.subscriber_of(self.stage.line(), self.requests)
    }

    /// Asks for about a packet of the messages that were published.
    fn ask(&self, socket: &UdpSocket, random: &mut Random, published: u64) -> Result<(), String> {
        let about_a_packet = (REQUESTED_BYTES / (self.bytes + LENGTH_BYTES)).max(1) as u64;
        let first = 1 + random.below(published.saturating_sub(about_a_packet).max(1));
        let range = SequenceRange::with_count(first, about_a_packet);
        let request = Request::new(self.stage.session(), range).map_err(words)?;
        socket.send(&request.to_bytes()).map(|_| ()).map_err(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seqcast_publisher::Publisher;

    fn scene<'m>(stage: Stage, publisher: &Publisher, messages: &'m Messages) -> Scene<'m> {
        let requests = publisher.request_address().unwrap();
        Scene { stage, messages, requests, bytes: 64, packets_per_second: 1e4, requests_per_second: 1e4 }
    }

    /// Lets this kind work beside a publisher with a backlog of 1,000 messages until `is_enough`.
    fn trouble_of(kind: Kind, mut is_enough: impl FnMut(&Trouble<'_>, &Publisher) -> bool) -> Vec<Figure> {
        let (stage, messages) = (Stage::new().unwrap(), Messages::uniform(64, 1));
        let mut publisher = stage.publisher().open().unwrap();
        let mut trouble = Trouble::new(kind, scene(stage, &publisher, &messages), 1).unwrap();
        let deadline = Clock::now() + Nanos::from_secs(10);
        let mut published = 0;
        while !is_enough(&trouble, &publisher) {
            assert!(Clock::now() < deadline, "{kind:?} did not get there");
            for _ in 0..1_000 {
                publisher.publish(messages.get(published)).unwrap();
                let _ = publisher.flush().unwrap();
                published += 1;
            }
            // Long enough for a loaded machine to take what was published.
            trouble.work(Clock::now() + Nanos::from_millis(20), published as u64).unwrap();
        }
        trouble.rest();
        trouble.figures(1.0)
    }

    #[test]
    fn storm_is_answered() {
        trouble_of(Kind::Storm, |_, publisher| publisher.counters().retransmitter.responder.retransmissions > 0);
    }

    #[test]
    fn slow_subscriber_misses_what_it_asks_for() {
        let figures = trouble_of(Kind::Slow, |trouble, publisher| {
            trouble.heard > 0 && publisher.counters().retransmitter.responder.retransmissions > 0
        });
        assert!(figures[0].values[0].1 > 0.0, "{figures:?}");
    }

    #[test]
    fn joiner_catches_up_by_asking() {
        let mut publishes = 0;
        let figures = trouble_of(Kind::Joiner, |trouble, _| {
            publishes += 1;
            trouble.joins > 0
        });
        assert!(publishes > 1 && figures.iter().all(|figure| figure.values[0].1 > 0.0), "{figures:?}");
    }
}
