//! The file of counters of a publisher and of a retransmitter, as others on the host read it.

use seqcast_protocol::{Packet, Request, SequenceRange, SessionId};
use seqcast_publisher::{
    ClientReport, Line, LineCounters, Nanos, Publisher, PublisherBuilder, PublisherCounters, Refusal,
    ResponderCounters, RetransmitterCounters,
};
use seqcast_stats::{LONGEST_PAUSE, Snapshot, State, Unit, read_directory};
use seqcast_transport::{Clock, wait_readable};
use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

/// No busy machine is as late.
const PATIENCE: Nanos = Nanos::from_secs(20);

/// The files of one test.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let place = std::env::temp_dir().join(format!("seqcast-publisher-stats-{name}-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        Self(place)
    }

    fn stats(&self) -> PathBuf {
        self.0.join("stats")
    }

    /// The files of counters of this role.
    fn snapshots(&self, role: &str) -> Vec<Snapshot> {
        let found = read_directory(&self.stats()).unwrap();
        assert!(found.others.is_empty(), "{:?}", found.others);
        found.snapshots.into_iter().filter(|snapshot| snapshot.role == role).collect()
    }

    /// The one of this role.
    fn snapshot(&self, role: &str) -> Snapshot {
        let mut snapshots = self.snapshots(role);
        assert_eq!(snapshots.len(), 1, "{snapshots:?}");
        snapshots.remove(0)
    }

    fn builder(&self, session: &str) -> PublisherBuilder {
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Publisher::builder(session.parse().unwrap())
            .line(Line::A, format!("239.255.78.108:{port}@127.0.0.1").parse().unwrap())
            .line(Line::B, format!("127.0.0.1:{port},127.0.0.2:{port}").parse().unwrap())
            .requests("127.0.0.1:0".parse().unwrap())
            .retain_bytes(1 << 20)
            .linger(Duration::from_millis(20))
            .stats(self.stats())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn publish(publisher: &mut Publisher, messages: u64) {
    for _ in 0..messages {
        publisher.publish(&[7; 1_000]).unwrap();
    }
    assert_eq!(publisher.flush().unwrap().refused, 0);
}

struct Client(UdpSocket);

impl Client {
    fn new(address: &str) -> Self {
        let socket = UdpSocket::bind((address, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE.as_duration())).unwrap();
        Self(socket)
    }

    fn ask(&self, address: impl Into<SocketAddr>, number: u64) {
        let request = Request::new(SessionId::UNKNOWN, SequenceRange::new(number, number + 1)).unwrap();
        self.0.send_to(&request.to_bytes(), address.into()).unwrap();
    }

    fn hear(&self, number: u64) {
        let mut buffer = [0; 2_000];
        let length = self.0.recv(&mut buffer).unwrap();
        assert_eq!(Packet::parse(&buffer[..length]).unwrap().sequence(), number);
    }
}

/// Looks again until it is so.
#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Clock::now() + PATIENCE;
    while !is_so() {
        assert!(Clock::now() < end, "waited in vain for {what}");
        wait_readable(&[], Some(Nanos::from_millis(1))).unwrap();
    }
}

/// What a file says of a retransmitter, as that says it itself.
fn retransmitter_counters(snapshot: &Snapshot) -> RetransmitterCounters {
    let value = |name| snapshot.value(name, &[]).unwrap();
    let responder = ResponderCounters {
        requests: value("requests"),
        retransmissions: value("retransmissions"),
        messages: value("retransmitted_messages"),
        overwritten: value("requests_overwritten"),
        bytes: value("retransmitted_bytes"),
        refused: Refusal::ALL.map(|it| snapshot.value("requests_refused", &[("reason", it.name())]).unwrap()),
    };
    RetransmitterCounters {
        responder,
        heartbeats: value("heartbeats"),
        ends_of_session: value("ends_of_session"),
        refused_sends: value("sends_refused"),
    }
}

fn counters(snapshot: &Snapshot) -> PublisherCounters {
    let lines = ["a", "b"].map(|line| {
        let value = |name| snapshot.value(name, &[("line", line)]).unwrap();
        LineCounters {
            packets: value("line_packets"),
            bytes: value("line_bytes"),
            refused: value("line_refused"),
            system_calls: value("line_system_calls"),
            segmentation_refused: value("line_segmentation_refused"),
        }
    });
    let messages = snapshot.value("messages", &[]).unwrap();
    PublisherCounters { messages, lines, retransmitter: retransmitter_counters(snapshot) }
}

/// By address, as [`Publisher::clients`].
fn clients(snapshot: &Snapshot) -> Vec<ClientReport> {
    let table = snapshot.table("clients").unwrap();
    let mut clients: Vec<_> = table
        .rows
        .iter()
        .map(|row| {
            let value = |field: &str| table.value(row, field).unwrap();
            let counters = ResponderCounters {
                requests: value("requests"),
                retransmissions: value("retransmissions"),
                messages: value("messages"),
                overwritten: value("overwritten"),
                bytes: value("bytes"),
                refused: Refusal::ALL.map(|refusal| value(&format!("refused_{}", refusal.name()))),
            };
            let address = table.address(row, "address").unwrap();
            ClientReport { address, last_heard: Nanos(value("last_heard")), counters }
        })
        .collect();
    clients.sort_by_key(|client| client.address);
    clients
}

fn session(snapshot: &Snapshot) -> Option<SessionId> {
    let table = snapshot.table("session").unwrap();
    table.session(table.rows.first()?, "session")
}

#[test]
fn a_publisher_and_those_who_ask_are_seen_as_it_sees_them_itself() {
    for inline in [false, true] {
        let place = Place::new(if inline { "inline" } else { "thread" });
        let mut publisher =
            place.builder("SEEN").requests_inline(inline).stats_fact("command", "publish everything").open().unwrap();
        let address = publisher.request_address().unwrap();
        publish(&mut publisher, 100);
        let (one, other) = (Client::new("127.0.0.1"), Client::new("127.0.0.2"));
        (1..=10).for_each(|number| one.ask(address, number));
        other.ask(address, 11);
        other.ask(address, 101);
        other.0.send_to(b"no request", address).unwrap();
        wait_until("thirteen requests, and all of them told", || {
            while publisher.do_work() > 0 {}
            let (snapshot, own) = (place.snapshot("publisher"), publisher.counters());
            own.retransmitter.responder.requests == 13
                && own.retransmitter.heartbeats > 0
                && counters(&snapshot) == own
                && clients(&snapshot) == publisher.clients()
        });
        (1..=10).for_each(|number| one.hear(number));
        other.hear(11);
        let snapshot = place.snapshot("publisher");
        let own = counters(&snapshot);
        assert_eq!((own.messages, own.lines[0].packets, own.lines[1].packets), (100, 100, 200));
        let refused = |client: &ClientReport| client.counters.refused;
        let told = clients(&snapshot);
        assert_eq!(told.len(), 2);
        assert_eq!(
            (refused(&told[1])[Refusal::NotYet as usize], refused(&told[1])[Refusal::Malformed as usize]),
            (1, 1)
        );
        let value = |name| snapshot.value(name, &[]).unwrap();
        assert_eq!((value("next"), value("oldest"), value("clients"), value("ring_bytes")), (101, 1, 2, 1 << 20));
        let retained = publisher.retained();
        assert_eq!((value("retained_messages"), value("retained_bytes")), (retained.messages, retained.bytes));
        assert!(value("longest_cycle") > 0 && value("request_buffer_bytes") > 0);
        assert_eq!(session(&snapshot), Some(publisher.session()));
        let facts = ["requests", "max_datagram", "client_limit", "command"].map(|name| snapshot.fact(name).unwrap());
        assert_eq!(facts, [&address.to_string(), "1472", "1024", "publish everything"]);
        assert!(snapshot.fact("line_a").unwrap().starts_with("239.255.78.108:") && snapshot.fact("line_b").is_some());
        assert!(snapshot.fact("ring").is_none() && snapshot.fact("client_budget").is_none());
        publisher.close().unwrap();
        assert_eq!(fs::read_dir(place.stats()).unwrap().count(), 0, "it goes with the publisher");
    }
}

#[test]
fn the_request_socket_is_the_one_that_the_kernel_tells_of() {
    let place = Place::new("socket");
    let publisher = place.builder("SOCKET").open().unwrap();
    let inode = place.snapshot("publisher").value("request_socket_inode", &[]).unwrap();
    let sockets = fs::read_to_string("/proc/self/net/udp").unwrap();
    let port = format!(":{:04X}", publisher.request_address().unwrap().port());
    let line = sockets.lines().find(|line| line.split_whitespace().nth(9) == Some(&inode.to_string()));
    assert!(line.is_some_and(|line| line.split_whitespace().nth(1).unwrap().ends_with(&port)), "{inode} in {sockets}");
}

#[test]
fn numbers_of_the_application_s_own_are_in_the_file() {
    let place = Place::new("own");
    let builder = place.builder("OWN").stats_counter("quotes", Unit::count("quotes"));
    let publisher = builder.stats_histogram("delay", Unit::Nanoseconds).open().unwrap();
    let (quotes, delay) = (publisher.stats_cell("quotes").unwrap(), publisher.stats_histogram("delay").unwrap());
    quotes.add(3);
    [7, 1_000].into_iter().for_each(|delay_ns| delay.record(delay_ns));
    let snapshot = place.snapshot("publisher");
    assert_eq!(snapshot.value("quotes", &[]), Some(3));
    let delays = snapshot.histogram("delay", &[]).unwrap();
    assert_eq!((delays.count, delays.largest), (2, 1_000));
    assert!(publisher.stats_cell("delay").is_none() && publisher.stats_histogram("quotes").is_none());
}

#[test]
fn either_half_keeps_the_file_there() {
    let place = Place::new("split");
    let (mut publisher, mut retransmitter) = place.builder("SPLIT").open_split().unwrap();
    publish(&mut publisher, 10);
    wait_until("the messages", || {
        retransmitter.do_work();
        place.snapshot("publisher").value("messages", &[]) == Some(10)
    });
    drop(publisher);
    assert_eq!(place.snapshots("publisher").len(), 1);
    drop(retransmitter);
    assert!(place.snapshots("publisher").is_empty());
    let (publisher, retransmitter) = place.builder("SPLIT").open_split().unwrap();
    drop(retransmitter);
    assert_eq!(place.snapshots("publisher").len(), 1);
    drop(publisher);
    assert!(place.snapshots("publisher").is_empty());
}

#[test]
fn two_at_once_are_told_apart() {
    let place = Place::new("two");
    let one = place.builder("ONE").open().unwrap();
    let other = place.builder("OTHER").requests_inline(true).open().unwrap();
    let snapshots = place.snapshots("publisher");
    let sessions: BTreeSet<_> = snapshots.iter().map(|snapshot| session(snapshot).unwrap()).collect();
    assert!(sessions.into_iter().eq([one.session(), other.session()]));
    drop(one);
    assert_eq!(session(&place.snapshot("publisher")), Some(other.session()));
}

#[test]
fn a_retransmitter_of_its_own_is_seen_beside_the_publisher_and_with_the_session_that_it_serves() {
    let place = Place::new("retransmitter");
    let ring = place.0.join("ring");
    let mut publisher = place.builder("FIRST").ring(&ring).open().unwrap();
    publish(&mut publisher, 100);
    let mut retransmitter = place.builder("NONE").ring(&ring).client_limit(7).open_retransmitter().unwrap();
    let client = Client::new("127.0.0.1");
    let address: SocketAddr = place.snapshot("retransmitter").fact("requests").unwrap().parse().unwrap();
    client.ask(address, 5);
    client.ask(address, 105);
    wait_until("both requests, and both told", || {
        retransmitter.do_work();
        let snapshot = place.snapshot("retransmitter");
        retransmitter_counters(&snapshot).responder.requests == 2
            && retransmitter_counters(&snapshot) == retransmitter.counters()
            && clients(&snapshot).iter().eq(retransmitter.clients())
    });
    client.hear(5);
    let snapshot = place.snapshot("retransmitter");
    assert_eq!((session(&snapshot), snapshot.value("next", &[])), (Some(publisher.session()), Some(101)));
    assert_eq!((snapshot.fact("ring"), snapshot.fact("client_limit")), (ring.to_str(), Some("7")));
    assert!(snapshot.value("messages", &[]).is_none() && snapshot.value("line_packets", &[("line", "a")]).is_none());
    assert_eq!(place.snapshot("publisher").fact("ring"), ring.to_str());
    publisher.close().unwrap();
    let second = place.builder("SECOND").ring(&ring).open().unwrap();
    wait_until("the other session", || {
        retransmitter.do_work();
        session(&place.snapshot("retransmitter")) == Some(second.session())
    });
    drop(retransmitter);
    assert!(place.snapshots("retransmitter").is_empty());
}

#[test]
fn a_publisher_that_has_long_been_idle_is_still_seen_to_run() {
    let place = Place::new("idle");
    // Heartbeats leave 1.024 s behind the opening, then 2.048 s.
    let _publisher = place.builder("IDLE").heartbeat_ceiling(Duration::from_secs(60)).open().unwrap();
    let idle = Clock::now() + Nanos::from_millis(2_600);
    let mut longest = Nanos::ZERO;
    while Clock::now() < idle {
        let snapshot = place.snapshot("publisher");
        assert_eq!(snapshot.state, State::Live);
        longest = longest.max(snapshot.read_at - snapshot.written_at);
        wait_readable(&[], Some(Nanos::from_millis(5))).unwrap();
    }
    assert!(longest > Nanos::from_millis(200) && longest < LONGEST_PAUSE + Nanos::from_millis(500), "{longest:?}");
}

#[test]
fn a_directory_that_cannot_be_had_keeps_nobody_from_publishing() {
    let place = Place::new("refused");
    fs::write(place.stats(), b"no directory").unwrap();
    let mut publisher = place.builder("REFUSED").open().unwrap();
    publish(&mut publisher, 10);
    assert_eq!(publisher.close().unwrap().messages, 10);
    assert_eq!(fs::read(place.stats()).unwrap(), b"no directory");
}
