//! What every run needs: a session on loopback, threads on their cores, and an end in any case.

use seqcast_protocol::SessionId;
use seqcast_publisher::{Line, LineDestination, Publisher, PublisherBuilder};
use seqcast_recovery::Nanos;
use seqcast_subscriber::{ImpairmentConfig, LineSource, SessionChoice, Subscriber, SubscriberBuilder};
use seqcast_transport::{Clock, LineAddress, MulticastAddress, pin_to_core};
use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// The interface of every line and request address.
pub(crate) const INTERFACE: &str = "127.0.0.1";

/// The group that the publisher sends to, and the one that carries what the relay lets through.
const GROUPS: [Ipv4Addr; 2] = [Ipv4Addr::new(239, 255, 77, 88), Ipv4Addr::new(239, 255, 77, 89)];

/// Those of a publisher that shares nothing with the first.
const OTHER_GROUPS: [Ipv4Addr; 2] = [Ipv4Addr::new(239, 255, 77, 92), Ipv4Addr::new(239, 255, 77, 93)];

/// What all commands have in common.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Common {
    /// How often everything is measured
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) rounds: u16,
    /// The core that the publishing thread is pinned to
    #[arg(long, value_name = "CORE", default_value_t = 0)]
    pub(crate) publisher_core: usize,
    /// The core that the subscribing thread is pinned to
    #[arg(long, value_name = "CORE", default_value_t = 1)]
    pub(crate) subscriber_core: usize,
    /// Write the result there as JSON, HdrHistogram logs and a page with plots of all results in it
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// A share of datagrams to lose, written as for an impairment; above 0, so that there is something to repair.
pub(crate) fn parse_loss(text: &str) -> Result<f64, String> {
    parse_share(text).and_then(|loss| if loss > 0.0 { Ok(loss) } else { Err("a loss is a share above 0".to_owned()) })
}

/// A share of datagrams to lose, written as for an impairment.
pub(crate) fn parse_share(text: &str) -> Result<f64, String> {
    let config: ImpairmentConfig = format!("loss={text}").parse().map_err(words)?;
    let is_only_loss = config == ImpairmentConfig { loss: config.loss, ..ImpairmentConfig::default() };
    if is_only_loss { Ok(config.loss) } else { Err("a loss is a share, and nothing else".to_owned()) }
}

/// A number per second, from one to a thousand million.
pub(crate) fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (1.0..=1e9).contains(rate));
    rate.ok_or_else(|| "a rate is a number from 1 to 1e9".to_owned())
}

/// Turns any error into the words that a failed run ends with.
pub(crate) fn words(error: impl Display) -> String {
    error.to_string()
}

/// One session and the addresses of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stage {
    session: SessionId,
    groups: [Ipv4Addr; 2],
    port: u16,
}

impl Stage {
    /// A new session on a port that is free.
    pub(crate) fn new() -> Result<Self, String> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(words)?;
        let port = socket.local_addr().map_err(words)?.port();
        Ok(Self { session: SessionId::from_number(Clock::unix_micros()), groups: GROUPS, port })
    }

    /// As [`Self::new`], and on groups that no other stage has: nobody there hears anything of that one.
    pub(crate) fn elsewhere() -> Result<Self, String> {
        Ok(Self { groups: OTHER_GROUPS, ..Self::new()? })
    }

    /// The session.
    pub(crate) fn session(&self) -> SessionId {
        self.session
    }

    /// The line that the publisher sends on.
    pub(crate) fn line(&self) -> MulticastAddress {
        self.address(self.groups[0])
    }

    /// The line behind the relay.
    pub(crate) fn relayed_line(&self) -> MulticastAddress {
        self.address(self.groups[1])
    }

    /// A publisher with default settings that answers requests.
    pub(crate) fn publisher(&self) -> PublisherBuilder {
        let requests = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        Publisher::builder(self.session).line(Line::A, destination(self.line())).requests(requests)
    }

    /// A subscriber with default settings on `line`, which asks `publisher` for what it misses.
    pub(crate) fn subscriber(
        &self,
        line: MulticastAddress,
        publisher: &Publisher,
    ) -> Result<SubscriberBuilder, String> {
        let requests = publisher.request_address().ok_or("the publisher has no request address")?;
        Ok(self.subscriber_of(line, requests))
    }

    /// As [`Self::subscriber`], of a publisher that answers at `requests`.
    pub(crate) fn subscriber_of(&self, line: MulticastAddress, requests: SocketAddrV4) -> SubscriberBuilder {
        Subscriber::builder(SessionChoice::Only(self.session)).line(Line::A, source(line)).recover_from(requests)
    }

    fn address(&self, group: Ipv4Addr) -> MulticastAddress {
        MulticastAddress::new(group, self.port, Some(INTERFACE))
            .expect("a group, the port of a socket and an interface")
    }
}

/// As a publisher is told of it.
fn destination(line: MulticastAddress) -> LineDestination {
    LineAddress::Multicast(line).to_string().parse().expect("an address is read as it is written")
}

/// As a subscriber is told of it.
fn source(line: MulticastAddress) -> LineSource {
    LineAddress::Multicast(line).to_string().parse().expect("an address is read as it is written")
}

/// Ends all threads of a run when one of them fails or the time is over.
#[derive(Debug)]
pub(crate) struct Gate {
    deadline: Nanos,
    closed: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl Gate {
    /// A run of at most `limit` from now on.
    pub(crate) fn new(limit: Nanos) -> Self {
        Self { deadline: Clock::now() + limit, closed: AtomicBool::new(false), failure: Mutex::new(None) }
    }

    /// Runs `work` on the calling thread, pinned to `core` if there is one; its error is the run's unless there was one
    /// before.
    pub(crate) fn run<T>(&self, core: Option<usize>, work: impl FnOnce() -> Result<T, String>) -> Option<T> {
        let pinned = core.map_or(Ok(()), |core| pin_to_core(core).map_err(words));
        pinned.and_then(|()| work()).map_err(|error| self.fail(error)).ok()
    }

    /// To be asked once per duty cycle.
    ///
    /// # Errors
    ///
    /// When the run is to end.
    #[inline]
    pub(crate) fn check(&self, now: Nanos) -> Result<(), String> {
        if self.closed.load(Ordering::Relaxed) {
            return Err("another thread has failed".to_owned());
        }
        if now > self.deadline { Err("the run took too long".to_owned()) } else { Ok(()) }
    }

    /// What the threads of the run returned.
    ///
    /// # Errors
    ///
    /// The first failure of a thread.
    pub(crate) fn finish<T>(self, results: Option<T>) -> Result<T, String> {
        let failure = self.failure.into_inner().unwrap_or_else(PoisonError::into_inner);
        match (failure, results) {
            (None, Some(results)) => Ok(results),
            (failure, _) => Err(failure.unwrap_or_else(|| "a thread panicked".to_owned())),
        }
    }

    fn fail(&self, error: String) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.closed.store(true, Ordering::Relaxed);
    }
}

/// Runs a publishing and a subscribing thread, each pinned to its core, and returns what both do; nothing when one of them
/// failed, which the gate then tells.
pub(crate) fn run_pair<P: Send, S: Send>(
    common: &Common,
    gate: &Gate,
    publish: impl FnOnce() -> Result<P, String> + Send,
    subscribe: impl FnOnce() -> Result<S, String> + Send,
) -> Option<(P, S)> {
    std::thread::scope(|scope| {
        let publishing = scope.spawn(|| gate.run(Some(common.publisher_core), publish));
        let subscribing = scope.spawn(|| gate.run(Some(common.subscriber_core), subscribe));
        Some((publishing.join().ok()??, subscribing.join().ok()??))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMON: Common = Common { rounds: 1, publisher_core: 0, subscriber_core: 0, out: None };

    fn until_closed(gate: &Gate) -> Result<(), String> {
        loop {
            gate.check(Clock::now())?;
        }
    }

    #[test]
    fn a_stage_elsewhere_shares_no_group_with_another() {
        let lines = |stage: Stage| [stage.line(), stage.relayed_line()].map(|line| *line.socket_address().ip());
        let (here, elsewhere) = (lines(Stage::new().unwrap()), lines(Stage::elsewhere().unwrap()));
        assert!(here.iter().all(|group| !elsewhere.contains(group)), "{here:?} {elsewhere:?}");
    }

    #[test]
    fn a_loss_is_a_share_above_zero() {
        assert_eq!(["1%", "0.01"].map(parse_loss), [Ok(0.01), Ok(0.01)]);
        for wrong in ["0", "101%", "1,seed=2", "much"] {
            assert!(parse_loss(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_rate_is_neither_zero_nor_endless() {
        assert_eq!(parse_rate("5e5"), Ok(500_000.0));
        for wrong in ["0", "-1", "inf", "NaN", "fast"] {
            assert!(parse_rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn both_results_come_back() {
        let gate = Gate::new(Nanos::from_secs(10));
        let results = run_pair(&COMMON, &gate, || Ok(1), || Ok(2));
        assert_eq!(gate.finish(results), Ok((1, 2)));
    }

    #[test]
    fn one_failure_ends_both_and_is_the_one_that_is_told() {
        let gate = Gate::new(Nanos::from_secs(10));
        let results = run_pair(&COMMON, &gate, || until_closed(&gate), || Err::<(), _>("altered".to_owned()));
        assert_eq!(gate.finish(results), Err("altered".to_owned()));
    }

    #[test]
    fn no_run_outlasts_its_limit() {
        let gate = Gate::new(Nanos::from_millis(20));
        let results = run_pair(&COMMON, &gate, || until_closed(&gate), || until_closed(&gate));
        assert_eq!(gate.finish(results), Err("the run took too long".to_owned()));
    }
}
